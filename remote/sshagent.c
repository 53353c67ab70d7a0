/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/sshagent.h"

#include "common/auto.h"
#include "common/loop.h"
#include "common/wire.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MAX_MESSAGE (256u << 10)
#define MAX_KEYS    1024
#define SIGN_MS     60000

enum { FAILURE = 5, REQUEST_IDENTITIES = 11, IDENTITIES_ANSWER = 12, SIGN_REQUEST = 13 };

int pt_agent_connect(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path)
        path = getenv("SSH_AUTH_SOCK");
    if (!path || !*path || !strcmp(path, "none") || strlen(path) >= sizeof(to.sun_path))
        return -1;
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strcpy(to.sun_path, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return -1;
    return pt_steal_fd(&fd);
}

/* --- messages: u32 length, u8 type, fields --- */

static bool ready(int fd, short events, const struct pt_limit *limit)
{
    struct pollfd p = {.fd = fd, .events = events};
    int left;
    while ((left = pt_limit_left(limit)) > 0 && !pt_limit_cancelled(limit, NULL))
        if (poll(&p, 1, left) > 0)
            return true;
    return false;
}

static bool send_all(int fd, const unsigned char *data, size_t n, const struct pt_limit *limit)
{
    while (n) {
        ssize_t put = send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) {
            data += put;
            n -= (size_t)put;
        } else if (errno != EAGAIN || !ready(fd, POLLOUT, limit)) {
            return false;
        }
    }
    return true;
}

static bool receive_all(int fd, unsigned char *data, size_t n, const struct pt_limit *limit)
{
    while (n) {
        ssize_t got = recv(fd, data, n, MSG_DONTWAIT);
        if (got > 0) {
            data += got;
            n -= (size_t)got;
        } else if (got == 0 || errno != EAGAIN || !ready(fd, POLLIN, limit)) {
            return false;
        }
    }
    return true;
}

/* body: type and fields. */
static bool send_message(int fd, const struct pt_buf *body, const struct pt_limit *limit)
{
    unsigned char head[4] = {(unsigned char)(body->len >> 24), (unsigned char)(body->len >> 16),
                             (unsigned char)(body->len >> 8), (unsigned char)body->len};
    return !body->bad && body->len <= MAX_MESSAGE && send_all(fd, head, 4, limit) &&
           send_all(fd, body->data, body->len, limit);
}

static bool receive_message(int fd, struct pt_buf *body, const struct pt_limit *limit)
{
    unsigned char head[4];
    pt_buf_clear(body);
    if (!receive_all(fd, head, 4, limit))
        return false;
    size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    void *room = n && n <= MAX_MESSAGE ? pt_buf_reserve(body, n) : NULL;
    if (!room || !receive_all(fd, room, n, limit))
        return false;
    body->len = n;
    return true;
}

static bool call(int fd, struct pt_buf *body, const struct pt_limit *limit)
{
    return send_message(fd, body, limit) && receive_message(fd, body, limit);
}

static int decode_list(const struct pt_buf *body, struct pt_agentkeys *out)
{
    struct pt_reader r = {.p = body->data, .left = body->len};
    uint8_t type = pt_get_u8(&r);
    uint32_t count = pt_get_u32(&r);
    if (r.bad || type != IDENTITIES_ANSWER || count > MAX_KEYS)
        return -1;
    out->items = calloc(count ? count : 1, sizeof(*out->items));
    for (uint32_t i = 0; out->items && i < count; i++) {
        size_t n, comment;
        const void *blob = pt_get_bytes(&r, &n);
        pt_get_bytes(&r, &comment);
        if (r.bad || pt_blob_set(&out->items[out->n], blob, n) < 0)
            return -1;
        out->n++;
    }
    return out->items && pt_get_end(&r) ? 0 : -1;
}

int pt_agent_list(int fd, const struct pt_limit *limit, struct pt_agentkeys *out)
{
    struct pt_buf body = {0};
    *out = (struct pt_agentkeys){0};
    pt_put_u8(&body, REQUEST_IDENTITIES);
    int rc = call(fd, &body, limit) ? decode_list(&body, out) : -1;
    if (rc < 0)
        pt_agentkeys_fini(out);
    pt_buf_fini(&body);
    return rc;
}

/* --- the stand-in --- */

struct pt_standin {
    pthread_t thread;
    int agent, here;
    const atomic_int *cancel;
    struct pt_blob *offers, *helds;
    size_t n;
};

static void standin_free(struct pt_standin *s)
{
    for (size_t i = 0; i < s->n; i++) {
        pt_blob_fini(&s->offers[i]);
        pt_blob_fini(&s->helds[i]);
    }
    free(s->offers);
    free(s->helds);
    if (s->agent >= 0)
        close(s->agent);
    if (s->here >= 0)
        close(s->here);
    free(s);
}

static void answer_list(const struct pt_standin *s, struct pt_buf *body)
{
    pt_buf_clear(body);
    pt_put_u8(body, IDENTITIES_ANSWER);
    pt_put_u32(body, (uint32_t)s->n);
    for (size_t i = 0; i < s->n; i++) {
        pt_put_bytes(body, s->offers[i].data, s->offers[i].n);
        pt_put_str(body, "");
    }
}

/* Have the agent sign, under the name by which it knows the key. */
static void answer_sign(const struct pt_standin *s, struct pt_buf *body)
{
    struct pt_reader r = {.p = body->data, .left = body->len};
    struct pt_blob asked = {0}, data = {0};
    struct pt_limit limit = {.end_ms = pt_now_ms() + SIGN_MS, .cancel = s->cancel};
    struct pt_buf out = {0};
    size_t at = 0;
    pt_get_u8(&r);
    asked.data = (unsigned char *)(uintptr_t)pt_get_bytes(&r, &asked.n);
    data.data = (unsigned char *)(uintptr_t)pt_get_bytes(&r, &data.n);
    uint32_t flags = pt_get_u32(&r);
    bool whole = pt_get_end(&r);
    while (whole && at < s->n && !pt_blob_equal(&s->offers[at], &asked))
        at++;
    if (whole && at < s->n) {
        pt_put_u8(&out, SIGN_REQUEST);
        pt_put_bytes(&out, s->helds[at].data, s->helds[at].n);
        pt_put_bytes(&out, data.data, data.n);
        pt_put_u32(&out, flags);
    }
    pt_buf_clear(body);
    if (!whole || at == s->n || !call(s->agent, &out, &limit))
        pt_put_u8(body, FAILURE);
    else
        pt_buf_append(body, out.data, out.len);
    pt_buf_fini(&out);
}

static void *standin_thread(void *arg)
{
    struct pt_standin *s = arg;
    struct pt_buf body = {0};
    struct pt_limit limit = {.end_ms = INT64_MAX, .cancel = s->cancel};
    while (receive_message(s->here, &body, &limit)) {
        if (body.data[0] == REQUEST_IDENTITIES) {
            answer_list(s, &body);
        } else if (body.data[0] == SIGN_REQUEST) {
            answer_sign(s, &body);
        } else {
            pt_buf_clear(&body);
            pt_put_u8(&body, FAILURE);
        }
        if (!send_message(s->here, &body, &limit))
            break;
    }
    pt_buf_fini(&body);
    shutdown(s->here, SHUT_RDWR); /* the library waits for answers without a limit */
    return NULL;
}

static int standin_keys(struct pt_standin *s, const struct pt_sshkeys *keys)
{
    s->offers = calloc(keys->n + 1, sizeof(*s->offers));
    s->helds = calloc(keys->n + 1, sizeof(*s->helds));
    if (!s->offers || !s->helds)
        return -1;
    for (size_t i = 0; i < keys->n; i++) {
        const struct pt_sshkey *key = &keys->items[i];
        if (!key->in_agent)
            continue;
        size_t at = s->n++;
        if (pt_blob_set(&s->offers[at], key->offer.data, key->offer.n) < 0 ||
            pt_blob_set(&s->helds[at], key->held.data, key->held.n) < 0)
            return -1;
    }
    return 0;
}

struct pt_standin *pt_agent_standin(int agent_fd, const struct pt_sshkeys *keys, const atomic_int *cancel,
                                    int *fd)
{
    struct pt_standin *s = calloc(1, sizeof(*s));
    int ends[2] = {-1, -1};
    if (!s) {
        close(agent_fd);
        return NULL;
    }
    s->agent = agent_fd;
    s->here = -1;
    s->cancel = cancel;
    if (standin_keys(s, keys) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        goto error;
    s->here = ends[0];
    if (pthread_create(&s->thread, NULL, standin_thread, s))
        goto error;
    *fd = ends[1];
    return s;
error:
    if (ends[1] >= 0)
        close(ends[1]);
    standin_free(s);
    return NULL;
}

void pt_agent_standin_stop(struct pt_standin *standin)
{
    if (!standin)
        return;
    shutdown(standin->here, SHUT_RDWR);
    pthread_join(standin->thread, NULL);
    standin_free(standin);
}
