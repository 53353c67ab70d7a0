/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent and then the master say to rank 0, in pieces: the key, WELCOME or REFUSED, frames. Nothing
 * is heard before a WELCOME, that comes once, and nothing after the end. TLS is as if it were not there, and
 * an address leads nowhere else. The input: how things are; then what comes. */
#include "fuzz.h"

#include "common/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

struct pt_tls {
    bool ended;
};

static struct pt_tls *any_tls(const struct pt_tls_identity *id, int server, const char *run, const char *role,
                              struct pt_err *err);
static int any_feed(struct pt_tls *tls, const void *data, size_t n, struct pt_buf *plain, struct pt_err *err);
static int any_send(struct pt_tls *tls, const void *data, size_t n, struct pt_err *err);
static void any_pull(struct pt_tls *tls, struct pt_buf *wire);
static void any_close(struct pt_tls *tls);
static int any_address(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
static int any_socket(void);
#define pt_tls_create(...)  any_tls(__VA_ARGS__)
#define pt_tls_feed(...)    any_feed(__VA_ARGS__)
#define pt_tls_send(...)    any_send(__VA_ARGS__)
#define pt_tls_pull(...)    any_pull(__VA_ARGS__)
#define pt_tls_close(...)   any_close(__VA_ARGS__)
#define pt_tls_destroy(tls) free(tls)
#define getaddrinfo(...)    any_address(__VA_ARGS__)
#define freeaddrinfo(found) ((void)(found))
#define socket(family, ...) ((void)(family), any_socket())
#define connect(fd, ...)    ((void)(fd), lab.refuses ? (errno = ENETUNREACH, -1) : (errno = EINPROGRESS, -1))

static struct {
    int agent, master; /* the other ends */
    struct pt_buf said;
    bool refuses, no_tls, nowhere, alone;
    int ends; /* TLS: 1 closed, -1 broken, at the next bytes */
    unsigned welcomes, closes, frames;
} lab;

#include "remote/worker/uplink.c"

#include "fuzz_loop.h"

/* --- TLS, addresses, sockets --- */

static struct pt_tls *any_tls(const struct pt_tls_identity *id, int server, const char *run, const char *role,
                              struct pt_err *err)
{
    FUZZ_CHECK(id->cert_pem && id->key_pem && id->ca_pem && run && !server && strcmp(role, "master") == 0);
    struct pt_tls *tls = lab.no_tls ? NULL : calloc(1, sizeof(*tls));
    if (!tls)
        pt_err_set(err, "no TLS");
    return tls;
}

static int any_feed(struct pt_tls *tls, const void *data, size_t n, struct pt_buf *plain, struct pt_err *err)
{
    int rc = lab.ends;
    FUZZ_CHECK(tls);
    pt_buf_append(plain, data, n);
    if (plain->bad)
        return pt_err_set(err, "TLS: out of memory");
    return rc < 0 ? pt_err_set(err, "TLS: broken") : rc;
}

static int any_send(struct pt_tls *tls, const void *data, size_t n, struct pt_err *err)
{
    if (tls->ended)
        return pt_err_set(err, "TLS: closed");
    pt_buf_append(&lab.said, data, n);
    return lab.said.bad ? pt_err_set(err, "TLS: out of memory") : 0;
}

static void any_pull(struct pt_tls *tls, struct pt_buf *wire)
{
    (void)tls;
    pt_buf_append(wire, lab.said.data, lab.said.len);
    pt_buf_clear(&lab.said);
}

static void any_close(struct pt_tls *tls)
{
    tls->ended = true;
}

static int any_address(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    static struct sockaddr_in address = {.sin_family = AF_INET};
    static struct addrinfo one = {
        .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&address, .ai_addrlen = sizeof(address)};
    FUZZ_CHECK(name && port && hints->ai_socktype == SOCK_STREAM && !strchr(port, ':'));
    *found = &one;
    return lab.nowhere ? EAI_NONAME : 0;
}

static int pair(int *other)
{
    int ends[2];
    if (*other >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -1;
    *other = ends[1];
    return ends[0];
}

static int any_socket(void)
{
    return pair(&lab.master);
}

int pt_local_path(char out[PT_LOCAL_PATH], const char *dir, const char *name, struct pt_err *err)
{
    (void)err;
    snprintf(out, PT_LOCAL_PATH, "%s/%s", dir, name);
    return 0;
}

int pt_local_connect(const char *path, int wait_ms, struct pt_err *err)
{
    (void)path, (void)wait_ms;
    return lab.alone ? pt_err_set(err, "nobody is there") : pair(&lab.agent);
}

int pt_local_check_peer(int fd, struct pt_err *err)
{
    (void)fd;
    return lab.refuses && lab.nowhere ? pt_err_set(err, "another user's") : 0;
}

/* --- what is heard --- */

static void on_welcome(void *arg, uint64_t acked)
{
    (void)arg, (void)acked;
    FUZZ_CHECK(++lab.welcomes == 1 && !lab.closes && !lab.frames);
}

static void on_frame(void *arg, struct pt_frame *frame)
{
    (void)arg;
    FUZZ_CHECK(lab.welcomes == 1 && !lab.closes && frame->len <= PT_MAX_FRAME + PT_FRAME_HEAD);
    FUZZ_CHECK(frame->body.left == frame->len - PT_FRAME_HEAD);
    lab.frames++;
}

static void on_closed(void *arg, const char *why)
{
    (void)arg;
    FUZZ_CHECK(++lab.closes == 1 && (!why || why[0]));
}

static void on_sent(void *arg)
{
    (void)arg;
    FUZZ_CHECK(lab.welcomes == 1 && !lab.closes);
}

/* --- what happens --- */

static void come(struct fuzz_parts *in, int fd)
{
    struct fuzz_parts part = fuzz_part(in);
    if (fd >= 0)
        (void)!send(fd, part.p, part.left, MSG_NOSIGNAL | MSG_DONTWAIT);
    loop_poll();
}

static void step(struct pt_uplink *link, struct fuzz_parts *in)
{
    static const char words[100000];
    uint8_t what = fuzz_byte(in);
    int *other = lab.master >= 0 ? &lab.master : &lab.agent;
    switch (what % 8) {
    case 0:
    case 1:
    case 2:
        come(in, *other);
        break;
    case 3:
        pt_uplink_send(link, words, what & 128 ? sizeof(words) : what);
        FUZZ_CHECK(pt_uplink_queued(link) < 64u << 20);
        break;
    case 4:
        loop_pass();
        break;
    case 5:
        lab.ends = what & 64 ? -1 : 1;
        come(in, *other);
        break;
    case 6:
        if (what & 64)
            pt_uplink_close(link);
        else if (what & 128 && *other >= 0)
            shutdown(*other, SHUT_WR);
        loop_poll();
        break;
    default: /* the other end reads */
        while (*other >= 0 && recv(*other, (char[4096]){0}, 4096, MSG_DONTWAIT) > 0)
            ;
        loop_poll();
    }
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static const struct pt_uplink_callbacks callbacks = {on_welcome, on_frame, on_closed, on_sent};
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    uint8_t how = fuzz_byte(&in);
    memset(&lab, 0, sizeof(lab));
    lab.agent = lab.master = -1;
    lab.refuses = how & 1;
    lab.no_tls = how & 2;
    lab.nowhere = how & 4;
    lab.alone = how & 8;
    loop_begin();
    const struct pt_uplink_config config = {.run_dir = "/run", .host = 1, .launch = 2, .slots = 4};
    struct pt_uplink *link = pt_uplink_create(NULL, &config, &callbacks, NULL, &err);
    FUZZ_CHECK(link || err.msg[0]);
    for (int i = 0; link && i < 200 && in.left > 0; i++) {
        step(link, &in);
        FUZZ_CHECK(pt_uplink_linger(link) == link->linger_ms);
    }
    pt_uplink_destroy(link);
    pt_buf_fini(&lab.said);
    if (lab.agent >= 0)
        close(lab.agent);
    if (lab.master >= 0)
        close(lab.master);
    loop_end();
}
