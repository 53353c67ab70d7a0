/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys are offered, in which order, and key files that are not what they should be. */
#include "remote/sshkeys.h"

#include "common/wire.h"
#include "remote/sshagent.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64];
static struct pt_sshconfig conf;
static struct pt_agentkeys agent;

__attribute__((format(printf, 1, 2))) static void run(const char *fmt, ...)
{
    char command[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    cr_assert_eq(system(command), 0, "%s", command);
}

static void init(void)
{
    strcpy(dir, "/tmp/pt-keys-XXXXXX");
    cr_assert(mkdtemp(dir));
    if (access("/usr/bin/ssh-keygen", X_OK) < 0)
        cr_skip_test("no ssh-keygen");
    run("cd %s && for k in a b c ca; do ssh-keygen -q -t ed25519 -N '' -f $k; done && "
        "ssh-keygen -q -s ca -I me -n me a.pub && ssh-keygen -q -s ca -I me -n me b.pub && mv b-cert.pub "
        "cert_of_b.pub",
        dir);
}

static void fini(void)
{
    pt_sshconfig_fini(&conf);
    pt_agentkeys_fini(&agent);
    run("rm -rf %s", dir);
}

TestSuite(sshkeys, .init = init, .fini = fini, .timeout = 100);

static const char *at(const char *name)
{
    static char paths[4][128];
    static size_t i;
    i = (i + 1) % 4;
    snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, name);
    return paths[i];
}

static void identity(const char *name)
{
    cr_assert_eq(pt_strings_add(&conf.identity_files, at(name)), 0);
}

/* The agent holds what is in this public key file. */
static void agent_holds(const char *name)
{
    struct pt_keytext key;
    cr_assert_eq(pt_keyfile_load(at(name), &key), 0);
    agent.items = realloc(agent.items, (agent.n + 1) * sizeof(*agent.items));
    agent.items[agent.n] = (struct pt_blob){0};
    cr_assert_eq(pt_blob_set(&agent.items[agent.n++], key.public.data, key.public.n), 0);
    pt_keyfile_fini(&key);
}

/* One word a key: the public file it equals, + when the agent signs, ? when no file has the private key. */
static void planned(const char *want)
{
    static const char *const names[] = {"a", "b", "c", "a-cert", "cert_of_b"};
    struct pt_sshkeys keys;
    char got[512] = "";
    cr_assert_eq(pt_sshkeys_plan(&conf, &agent, &keys), 0);
    for (size_t i = 0; i < keys.n; i++)
        for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
            struct pt_keytext public;
            char file[32];
            snprintf(file, sizeof(file), "%s.pub", names[k]);
            cr_assert_eq(pt_keyfile_load(at(file), &public), 0);
            if (pt_blob_equal(&public.public, &keys.items[i].offer))
                snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s%s ", names[k],
                         keys.items[i].in_agent ? "+" : "", keys.items[i].path ? "" : "?");
            pt_keyfile_fini(&public);
        }
    cr_assert_str_eq(got, want);
    pt_sshkeys_fini(&keys);
}

Test(sshkeys, files_in_order_with_certificates)
{
    identity("missing");
    identity("b");
    identity("a");
    planned("b a a-cert ");
}

Test(sshkeys, agent_keys_that_are_named_come_first)
{
    identity("a");
    identity("b");
    agent_holds("c.pub");
    agent_holds("b.pub");
    planned("b+ c+? a a-cert ");
    conf.identities_only = 1;
    planned("b+ a a-cert ");
}

Test(sshkeys, public_file_names_a_key_of_the_agent)
{
    run("rm %s/a %s/b %s/a-cert.pub.x 2>/dev/null; true", dir, dir, dir);
    conf.identities_only = 1;
    identity("b"); /* only b.pub is there */
    identity("a.pub");
    agent_holds("a.pub");
    agent_holds("b.pub");
    agent_holds("c.pub");
    planned("a+? b+? ");
}

Test(sshkeys, certificates_that_are_named_come_before_all)
{
    cr_assert_eq(pt_strings_add(&conf.certificate_files, at("cert_of_b.pub")), 0);
    identity("a");
    identity("b");
    planned("cert_of_b a b ");
    agent_holds("b.pub");
    planned("cert_of_b+ b+ a ");
}

Test(sshkeys, certificate_without_its_key_is_left_out)
{
    cr_assert_eq(pt_strings_add(&conf.certificate_files, at("cert_of_b.pub")), 0);
    identity("a");
    planned("a ");
}

Test(sshkeys, certificate_that_the_agent_holds)
{
    cr_assert_eq(pt_strings_add(&conf.certificate_files, at("cert_of_b.pub")), 0);
    agent_holds("cert_of_b.pub");
    agent_holds("b.pub");
    planned("cert_of_b+? b+? ");
}

Test(sshkeys, strange_types_of_the_agent_are_left_out)
{
    struct pt_buf b = {0};
    pt_put_str(&b, "ssh-of-tomorrow");
    agent.items = calloc(3, sizeof(*agent.items));
    agent.n = 3;
    cr_assert_eq(pt_blob_set(&agent.items[0], b.data, b.len), 0);
    cr_assert_eq(pt_blob_set(&agent.items[1], "", 0), 0);
    cr_assert_eq(pt_blob_set(&agent.items[2], "\0\0\0\xff", 4), 0);
    planned("");
    pt_buf_fini(&b);
}

Test(sshkeys, key_open_to_others_is_told)
{
    struct pt_sshkeys keys;
    chmod(at("a"), 0640);
    identity("a");
    cr_assert_eq(pt_sshkeys_plan(&conf, NULL, &keys), 0);
    cr_assert_eq(keys.n, 0);
    cr_assert(strstr(keys.skipped, "chmod 600"));
    pt_sshkeys_fini(&keys);
}

static struct pt_keytext load(const char *name)
{
    struct pt_keytext key;
    cr_assert_eq(pt_keyfile_load(at(name), &key), 0);
    return key;
}

Test(sshkeys, kinds_of_files)
{
    run("cd %s && ssh-keygen -q -t ed25519 -N secret -f e && ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f p "
        "&& "
        "ssh-keygen -q -t rsa -b 2048 -m PEM -N secret -f pe && ssh-keygen -q -t ecdsa -m PKCS8 -N secret -f "
        "p8 && "
        "rm e.pub p.pub",
        dir);
    static const struct {
        const char *name;
        enum pt_keyfile kind;
        bool encrypted, public;
    } all[] = {{"a", PT_KEYFILE_PRIVATE, false, true}, {"a.pub", PT_KEYFILE_PUBLIC, false, true},
               {"e", PT_KEYFILE_PRIVATE, true, true},  {"p", PT_KEYFILE_PRIVATE, false, false},
               {"pe", PT_KEYFILE_PRIVATE, true, true}, {"p8", PT_KEYFILE_PRIVATE, true, true}};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        struct pt_keytext key = load(all[i].name);
        cr_assert_eq(key.kind, all[i].kind, "%s", all[i].name);
        cr_assert_eq(key.encrypted, all[i].encrypted, "%s", all[i].name);
        cr_assert_eq(key.public.n != 0, all[i].public, "%s", all[i].name);
        pt_keyfile_fini(&key);
    }
    struct pt_keytext none;
    cr_assert_eq(pt_keyfile_load(dir, &none), -1);
    pt_keyfile_fini(&none);
}

Test(sshkeys, every_prefix_of_a_key_file)
{
    struct pt_keytext whole = load("a"), part;
    for (size_t n = 0; n < whole.n; n++) {
        FILE *f = fopen(at("part"), "w");
        cr_assert_eq(fwrite(whole.text, 1, n, f), n);
        fclose(f);
        if (pt_keyfile_load(at("part"), &part) == 0)
            cr_assert(part.kind == PT_KEYFILE_PRIVATE && (n > whole.n - 40 || part.public.n == 0), "%zu", n);
        pt_keyfile_fini(&part);
    }
    pt_keyfile_fini(&whole);
}

Test(sshkeys, every_prefix_of_a_certificate)
{
    struct pt_keytext cert = load("a-cert.pub"), key = load("a.pub");
    struct pt_blob got = {0};
    cr_assert(pt_cert_key(&cert.public, &got));
    cr_assert(pt_blob_equal(&got, &key.public));
    cr_assert(!pt_cert_key(&key.public, &got));
    for (size_t n = 0; n < cert.public.n; n++) {
        struct pt_blob part = {0};
        cr_assert_eq(pt_blob_set(&part, cert.public.data, n), 0);
        if (pt_cert_key(&part, &got)) /* the key stands in the front */
            cr_assert(pt_blob_equal(&got, &key.public));
        pt_blob_fini(&part);
    }
    pt_blob_fini(&got);
    pt_keyfile_fini(&cert);
    pt_keyfile_fini(&key);
}

/* An agent that answers with the first n bytes of an answer and hangs up. */
static int list_from(const unsigned char *answer, size_t n)
{
    int ends[2];
    struct pt_agentkeys keys;
    struct pt_limit limit = pt_limit_after(5000, NULL);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    if (n)
        cr_assert_eq(write(ends[1], answer, n), (ssize_t)n);
    shutdown(ends[1], SHUT_WR);
    int rc = pt_agent_list(ends[0], &limit, &keys);
    pt_agentkeys_fini(&keys);
    close(ends[0]);
    close(ends[1]);
    return rc;
}

Test(sshkeys, every_prefix_of_an_agents_answer)
{
    struct pt_buf b = {0};
    pt_put_u32(&b, 0);
    pt_put_u8(&b, 12);
    pt_put_u32(&b, 2);
    for (int i = 0; i < 2; i++) {
        pt_put_str(&b, "a key");
        pt_put_str(&b, "a comment");
    }
    pt_set_u32(&b, 0, (uint32_t)b.len - 4);
    for (size_t n = 0; n < b.len; n++)
        cr_assert_eq(list_from(b.data, n), -1, "%zu", n);
    cr_assert_eq(list_from(b.data, b.len), 0);
    for (size_t cut = 1; cut < b.len - 4; cut++) { /* a whole message whose end is missing */
        pt_set_u32(&b, 0, (uint32_t)(b.len - 4 - cut));
        cr_assert_eq(list_from(b.data, b.len - cut), -1, "%zu", cut);
    }
    static const unsigned char huge[] = {0xff, 0xff, 0xff, 0xff, 12},
                               many[] = {0, 0, 0, 5, 12, 0xff, 0, 0, 0};
    cr_assert_eq(list_from(huge, sizeof(huge)), -1);
    cr_assert_eq(list_from(many, sizeof(many)), -1);
    pt_buf_fini(&b);
}
