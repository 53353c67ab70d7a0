/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/frames.h"

#include "common/err.h"
#include "common/message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (64u << 10)

void pt_frames_fini(struct pt_frames *f)
{
    pt_buf_fini(&f->in);
    f->used = 0;
}

/* How much to read: the rest of a large frame and no more, so that nothing has to be moved after it. */
static size_t missing(const struct pt_frames *f)
{
    struct pt_reader r = {.p = f->in.data, .left = f->in.len};
    uint64_t whole = 4 + (uint64_t)pt_get_u32(&r);
    return r.bad || whole < f->in.len + READ_SIZE ? READ_SIZE : (size_t)(whole - f->in.len);
}

static int more(struct pt_frames *f, struct pt_err *err)
{
    size_t wanted = missing(f);
    void *room = pt_buf_reserve(&f->in, wanted);
    if (!room)
        return pt_err_set(err, "out of memory");
    ssize_t n;
    do
        n = read(f->fd, room, wanted);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "the connection failed: %s", strerror(errno));
    if (n == 0 && f->in.len == 0)
        return 0;
    if (n == 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "the connection ended within a message");
    f->in.len += (size_t)n;
    return 1;
}

int pt_frames_next(struct pt_frames *f, uint8_t *type, struct pt_reader *body, struct pt_err *err)
{
    pt_buf_consume(&f->in, f->used);
    f->used = 0;
    for (;;) {
        int rc = pt_frame_next(f->in.data, f->in.len, PT_MAX_FRAME, type, body, &f->used);
        if (rc < 0)
            return pt_err_set_kind(err, PT_ERR_INFRA, "a message has an impossible length");
        if (rc > 0)
            return 1;
        f->used = 0;
        if ((rc = more(f, err)) <= 0)
            return rc;
    }
}

bool pt_frames_idle(const struct pt_frames *f, int ms)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    return f->in.len == f->used && poll(&p, 1, ms) == 0;
}

int pt_frames_send(struct pt_frames *f, struct pt_buf *b, struct pt_err *err)
{
    size_t done = 0;
    if (b->bad)
        return pt_err_set(err, "out of memory");
    while (done < b->len) {
        ssize_t n = send(f->fd, b->data + done, b->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK)
            n = write(f->fd, b->data + done, b->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pt_err_set_kind(err, PT_ERR_INFRA, "the connection failed: %s", strerror(errno));
        done += (size_t)n;
    }
    pt_buf_clear(b);
    return 0;
}
