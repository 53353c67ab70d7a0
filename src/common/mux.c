/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mux.h"

#include "common/auto.h"
#include "common/err.h"

#include <string.h>

enum { OPEN = 1, DATA = 2, CREDIT = 3, CLOSE = 4 };

#define HEAD                                                                                                 \
    9 /* u8 kind, u32 stream, u32 length (DATA), credit (CREDIT), stream kind (OPEN) or 0 (CLOSE)            \
       */

struct stream {
    uint32_t id;
    size_t send_credit; /* what the peer still takes */
    size_t recv_credit; /* what we said we would still take */
    size_t give;        /* credit to announce */
    struct pt_buf out;
    size_t sent; /* bytes of out already pulled */
    bool close_wanted, close_sent, close_seen;
};

struct pt_mux {
    struct pt_mux_callbacks cb;
    void *arg;
    struct stream *streams;
    size_t n, cap;
    struct pt_buf in;
    struct pt_buf urgent; /* OPEN frames */
    size_t turn;
};

static struct stream *find(const struct pt_mux *mux, uint32_t id)
{
    for (size_t i = 0; i < mux->n; i++)
        if (mux->streams[i].id == id)
            return &mux->streams[i];
    return NULL;
}

static struct stream *add(struct pt_mux *mux, uint32_t id)
{
    if (mux->n >= PT_MUX_STREAMS || find(mux, id))
        return NULL;
    if (mux->n == mux->cap) {
        size_t cap = mux->cap ? mux->cap * 2 : 8;
        struct stream *p = realloc(mux->streams, cap * sizeof(*p));
        if (!p)
            return NULL;
        mux->streams = p;
        mux->cap = cap;
    }
    struct stream *s = &mux->streams[mux->n++];
    *s = (struct stream){.id = id, .send_credit = PT_MUX_WINDOW, .recv_credit = PT_MUX_WINDOW};
    return s;
}

static void drop_dead(struct pt_mux *mux)
{
    for (size_t i = 0; i < mux->n;) {
        struct stream *s = &mux->streams[i];
        if (s->close_sent && s->close_seen) {
            pt_buf_fini(&s->out);
            memmove(s, s + 1, (mux->n - i - 1) * sizeof(*s));
            mux->n--;
        } else {
            i++;
        }
    }
}

struct pt_mux *pt_mux_create(const struct pt_mux_callbacks *cb, void *arg, struct pt_err *err)
{
    struct pt_mux *mux = calloc(1, sizeof(*mux));
    if (!mux || !add(mux, PT_MUX_CONTROL) || !add(mux, PT_MUX_BULK)) {
        pt_err_set(err, "streams: out of memory");
        pt_mux_destroy(mux);
        return NULL;
    }
    mux->cb = *cb;
    mux->arg = arg;
    return mux;
}

void pt_mux_destroy(struct pt_mux *mux)
{
    if (!mux)
        return;
    for (size_t i = 0; i < mux->n; i++)
        pt_buf_fini(&mux->streams[i].out);
    free(mux->streams);
    pt_buf_fini(&mux->in);
    pt_buf_fini(&mux->urgent);
    free(mux);
}

static int on_data(struct pt_mux *mux, uint32_t id, const void *data, size_t n, struct pt_err *err)
{
    struct stream *s = find(mux, id);
    if (!s || s->close_seen)
        return pt_err_set(err, "data on stream %u, which is not open", id);
    if (n > s->recv_credit)
        return pt_err_set(err, "stream %u sent %zu bytes and may send %zu", id, n, s->recv_credit);
    s->recv_credit -= n;
    mux->cb.data(mux->arg, id, data, n);
    return 0;
}

static int on_frame(struct pt_mux *mux, uint8_t kind, uint32_t id, uint32_t value, struct pt_err *err)
{
    struct stream *s = find(mux, id);
    switch (kind) {
    case OPEN:
        if (id < PT_MUX_FIRST || s || value > UINT8_MAX || !add(mux, id))
            return pt_err_set(err, "stream %u cannot be opened", id);
        mux->cb.opened(mux->arg, id, (uint8_t)value);
        return 0;
    case CREDIT: /* credit for a stream that just closed may be under way */
        if (s && value > PT_MUX_WINDOW - (s->send_credit < PT_MUX_WINDOW ? s->send_credit : PT_MUX_WINDOW))
            return pt_err_set(err, "stream %u was given too much credit", id);
        if (s)
            s->send_credit += value;
        return 0;
    case CLOSE:
        if (!s || s->close_seen)
            return pt_err_set(err, "stream %u closed and is not open", id);
        s->close_seen = true;
        mux->cb.closed(mux->arg, id);
        drop_dead(mux);
        return 0;
    default:
        return pt_err_set(err, "unknown frame kind %u", kind);
    }
}

int pt_mux_feed(struct pt_mux *mux, const void *data, size_t n, struct pt_err *err)
{
    pt_buf_append(&mux->in, data, n);
    if (mux->in.bad)
        return pt_err_set(err, "streams: out of memory");
    size_t used = 0;
    while (mux->in.len - used >= HEAD) {
        struct pt_reader r = {.p = mux->in.data + used, .left = mux->in.len - used};
        uint8_t kind = pt_get_u8(&r);
        uint32_t id = pt_get_u32(&r);
        uint32_t value = pt_get_u32(&r);
        size_t body = kind == DATA ? value : 0;
        if (body > PT_MUX_CHUNK)
            return pt_err_set(err, "stream %u: frame of %zu bytes", id, body);
        if (r.left < body)
            break;
        if ((kind == DATA ? on_data(mux, id, r.p, body, err) : on_frame(mux, kind, id, value, err)) < 0)
            return -1;
        used += HEAD + body;
    }
    pt_buf_consume(&mux->in, used);
    return 0;
}

void pt_mux_credit(struct pt_mux *mux, uint32_t stream, size_t n)
{
    struct stream *s = find(mux, stream);
    if (s)
        s->give += n;
}

static void put_head(struct pt_buf *out, uint8_t kind, uint32_t id, uint32_t value)
{
    pt_put_u8(out, kind);
    pt_put_u32(out, id);
    pt_put_u32(out, value);
}

int pt_mux_open(struct pt_mux *mux, uint32_t stream, uint8_t kind)
{
    if (stream < PT_MUX_FIRST || !add(mux, stream))
        return -1;
    put_head(&mux->urgent, OPEN, stream, kind);
    return mux->urgent.bad ? -1 : 0;
}

int pt_mux_send(struct pt_mux *mux, uint32_t stream, const void *data, size_t n)
{
    struct stream *s = find(mux, stream);
    if (!s || s->close_wanted)
        return -1;
    pt_buf_append(&s->out, data, n);
    return s->out.bad ? -1 : 0;
}

size_t pt_mux_queued(const struct pt_mux *mux, uint32_t stream)
{
    const struct stream *s = find(mux, stream);
    return s ? s->out.len - s->sent : 0;
}

void pt_mux_close(struct pt_mux *mux, uint32_t stream)
{
    struct stream *s = find(mux, stream);
    if (s)
        s->close_wanted = true;
}

/* Small gifts wait until they are worth a frame, unless the peer is about to run dry. */
static bool gift_due(const struct stream *s)
{
    return s->give >= PT_MUX_WINDOW / 4 || (s->give && s->recv_credit < PT_MUX_WINDOW / 2);
}

static bool has_data(const struct stream *s)
{
    return s->out.len > s->sent && s->send_credit;
}

static bool close_due(const struct stream *s)
{
    return s->close_wanted && !s->close_sent && s->out.len == s->sent;
}

static void pull_data(struct stream *s, struct pt_buf *out)
{
    size_t n = s->out.len - s->sent;
    n = n > PT_MUX_CHUNK ? PT_MUX_CHUNK : n;
    n = n > s->send_credit ? s->send_credit : n;
    put_head(out, DATA, s->id, (uint32_t)n);
    pt_buf_append(out, s->out.data + s->sent, n);
    s->sent += n;
    s->send_credit -= n;
    if (s->sent == s->out.len) {
        pt_buf_clear(&s->out);
        s->sent = 0;
    } else if (s->sent >= PT_MUX_WINDOW) {
        pt_buf_consume(&s->out, s->sent);
        s->sent = 0;
    }
}

static void pull_stream(struct stream *s, struct pt_buf *out)
{
    if (gift_due(s)) {
        size_t gift = s->give < PT_MUX_WINDOW ? s->give : PT_MUX_WINDOW;
        put_head(out, CREDIT, s->id, (uint32_t)gift);
        s->recv_credit += gift;
        s->give -= gift;
    }
    if (has_data(s))
        pull_data(s, out);
    if (close_due(s)) {
        put_head(out, CLOSE, s->id, 0);
        s->close_sent = true;
    }
}

static bool due(const struct stream *s)
{
    return gift_due(s) || has_data(s) || close_due(s);
}

/* Control first, then the others in turn, bulk when nothing else has anything to say. */
static struct stream *next_due(struct pt_mux *mux)
{
    struct stream *control = find(mux, PT_MUX_CONTROL);
    if (control && due(control))
        return control;
    for (size_t i = 0; i < mux->n; i++) {
        struct stream *s = &mux->streams[(mux->turn + i) % mux->n];
        if (s->id >= PT_MUX_FIRST && due(s)) {
            mux->turn = (mux->turn + i + 1) % mux->n;
            return s;
        }
    }
    struct stream *bulk = find(mux, PT_MUX_BULK);
    return bulk && due(bulk) ? bulk : NULL;
}

void pt_mux_pull(struct pt_mux *mux, struct pt_buf *out, size_t max)
{
    size_t start = out->len;
    pt_buf_append(out, mux->urgent.data, mux->urgent.len);
    pt_buf_clear(&mux->urgent);
    struct stream *s;
    while (out->len - start < max && (s = next_due(mux)))
        pull_stream(s, out);
    drop_dead(mux);
}

bool pt_mux_ready(const struct pt_mux *mux)
{
    if (mux->urgent.len)
        return true;
    for (size_t i = 0; i < mux->n; i++)
        if (due(&mux->streams[i]))
            return true;
    return false;
}
