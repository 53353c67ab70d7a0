/* SPDX-License-Identifier: Apache-2.0 */
/* Key files, certificates beside them, and what an ssh-agent answers. The input: four parts (a key, its .pub,
 * its -cert.pub, a certificate the configuration names), then the agent's answer. */
#include "common/loop.h"
#include "fuzz.h"
#include "remote/sshagent.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *name, struct fuzz_parts part)
{
    if (part.left)
        fuzz_file(name, part.p, part.left);
    else
        unlink(fuzz_path(name));
}

/* Everything it will ever say lies in the socket; then it is gone. */
static int list_agent(struct fuzz_parts in, uint8_t how, struct pt_agentkeys *out)
{
    struct pt_limit limit = {.end_ms = pt_now_ms() + 10000};
    int ends[2];
    char request[16];
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    unsigned char head[4] = {0, 0, (unsigned char)(in.left >> 8), (unsigned char)in.left};
    if (how & 1)
        FUZZ_CHECK(write(ends[1], head, sizeof(head)) == sizeof(head));
    FUZZ_CHECK(in.left == 0 || write(ends[1], in.p, in.left) == (ssize_t)in.left);
    shutdown(ends[1], SHUT_WR);
    int rc = pt_agent_list(ends[0], &limit, out);
    FUZZ_CHECK(recv(ends[1], request, sizeof(request), MSG_DONTWAIT) == 5 || fuzz_starved());
    close(ends[0]);
    close(ends[1]);
    return rc;
}

static void plan(const struct pt_agentkeys *agent, uint8_t how)
{
    char key[300], cert[300];
    snprintf(key, sizeof(key), "%s", fuzz_path("key"));
    snprintf(cert, sizeof(cert), "%s", fuzz_path("cert"));
    char *keys[] = {key}, *certs[] = {cert};
    struct pt_sshconfig conf = {.identity_files = {keys, 1},
                                .certificate_files = {certs, how & 2 ? 1 : 0},
                                .identities_only = (how & 4) != 0};
    struct pt_sshkeys out;
    int rc = pt_sshkeys_plan(&conf, how & 8 ? agent : NULL, &out);
    FUZZ_CHECK(rc == 0 || fuzz_starved());
    for (size_t i = 0; i < out.n; i++) {
        const struct pt_sshkey *k = &out.items[i];
        FUZZ_CHECK((k->path || k->in_agent) && (!k->in_agent || (k->held.n > 0 && k->offer.n > 0)));
    }
    pt_sshkeys_fini(&out);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_agentkeys agent;
    struct pt_keytext text;
    struct pt_blob plain = {0};
    uint8_t how = fuzz_byte(&in);
    put("key", fuzz_part(&in));
    put("key.pub", fuzz_part(&in));
    put("key-cert.pub", fuzz_part(&in));
    put("cert", fuzz_part(&in));
    chmod(fuzz_path("key"), how & 16 ? 0644 : 0600);
    if (in.left > 60000)
        in.left = 60000;
    int rc = list_agent(in, how, &agent);
    FUZZ_CHECK(rc == 0 || agent.n == 0);
    plan(&agent, how);
    if (pt_keyfile_load(fuzz_path("key-cert.pub"), &text) == 0 && pt_cert_key(&text.public, &plain))
        FUZZ_CHECK(plain.n > 0);
    pt_blob_fini(&plain);
    pt_keyfile_fini(&text);
    pt_agentkeys_fini(&agent);
}
