/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mux.h"

#include "common/auto.h"
#include "common/err.h"

#include <string.h>

enum { OPEN = 1, DATA = 2, CREDIT = 3, CLOSE = 4 };

struct stream {
    uint32_t id;
    size_t window;      /* most credit either side has */
    size_t send_credit; /* what the peer still takes */
    size_t recv_credit; /* what we said we would still take */
    size_t give;        /* credit to announce */
    struct pt_buf out;
    size_t sent;     /* bytes of out already pulled */
    uint64_t pulled; /* in all */
    bool close_wanted, close_sent, close_seen;
};

struct pt_mux {
    struct pt_mux_callbacks cb;
    void *arg;
    struct stream *streams;
    size_t n, cap;
    unsigned char head[PT_MUX_HEAD]; /* of the frame that comes */
    size_t head_len;
    uint32_t data_id;     /* stream of the DATA frame that comes */
    size_t data_left;     /* bytes of it that have not come */
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
    size_t window = id == PT_MUX_BULK ? PT_MUX_BULK_WINDOW : PT_MUX_WINDOW;
    *s = (struct stream){.id = id, .window = window, .send_credit = window, .recv_credit = window};
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
    pt_buf_fini(&mux->urgent);
    free(mux);
}

/* The head of a DATA frame. */
static int on_data(struct pt_mux *mux, uint32_t id, size_t n, struct pt_err *err)
{
    struct stream *s = find(mux, id);
    if (n > PT_MUX_CHUNK)
        return pt_err_set(err, "stream %u: frame of %zu bytes", id, n);
    if (!s || s->close_seen)
        return pt_err_set(err, "data on stream %u, which is not open", id);
    if (n > s->recv_credit)
        return pt_err_set(err, "stream %u sent %zu bytes and may send %zu", id, n, s->recv_credit);
    s->recv_credit -= n;
    mux->data_id = id;
    mux->data_left = n;
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
        if (s && value > s->window - s->send_credit)
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

/* Complete the head with bytes of data; how many it took. */
static size_t feed_head(struct pt_mux *mux, const unsigned char *data, size_t n)
{
    size_t want = PT_MUX_HEAD - mux->head_len;
    want = want < n ? want : n;
    memcpy(mux->head + mux->head_len, data, want);
    mux->head_len += want;
    return want;
}

static int take_head(struct pt_mux *mux, struct pt_err *err)
{
    struct pt_reader r = {.p = mux->head, .left = PT_MUX_HEAD};
    uint8_t kind = pt_get_u8(&r);
    uint32_t id = pt_get_u32(&r);
    uint32_t value = pt_get_u32(&r);
    mux->head_len = 0;
    return kind == DATA ? on_data(mux, id, value, err) : on_frame(mux, kind, id, value, err);
}

int pt_mux_feed(struct pt_mux *mux, const void *data, size_t n, struct pt_err *err)
{
    const unsigned char *p = data;
    while (n) {
        size_t took = mux->data_left < n ? mux->data_left : n;
        if (took) {
            mux->data_left -= took;
            mux->cb.data(mux->arg, mux->data_id, p, took);
        } else {
            took = feed_head(mux, p, n);
            if (mux->head_len == PT_MUX_HEAD && take_head(mux, err) < 0)
                return -1;
        }
        p += took;
        n -= took;
    }
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
    if (!pt_buf_reserve(&mux->urgent, PT_MUX_HEAD)) { /* what stands there is whole */
        mux->urgent.bad = false;
        return -1;
    }
    if (stream < PT_MUX_FIRST || !add(mux, stream))
        return -1;
    put_head(&mux->urgent, OPEN, stream, kind);
    return 0;
}

int pt_mux_send(struct pt_mux *mux, uint32_t stream, const void *data, size_t n)
{
    struct stream *s = find(mux, stream);
    if (!s || s->close_wanted)
        return -1;
    pt_buf_append(&s->out, data, n);
    return s->out.bad ? -1 : 0;
}

struct pt_buf *pt_mux_queue(struct pt_mux *mux, uint32_t stream)
{
    struct stream *s = find(mux, stream);
    return s && !s->close_wanted ? &s->out : NULL;
}

uint64_t pt_mux_pulled(const struct pt_mux *mux, uint32_t stream)
{
    const struct stream *s = find(mux, stream);
    return s ? s->pulled : 0;
}

bool pt_mux_stalled(const struct pt_mux *mux, uint32_t stream)
{
    const struct stream *s = find(mux, stream);
    return s && s->out.len > s->sent && !s->send_credit;
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
    return s->give >= PT_MUX_WINDOW / 4 || (s->give && s->recv_credit < s->window / 2);
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
    s->pulled += n;
    s->send_credit -= n;
    /* What moves to the front is little beside what went. */
    if (s->sent == s->out.len || (s->sent >= PT_MUX_WINDOW && s->out.len - s->sent <= s->sent / 4)) {
        pt_buf_consume(&s->out, s->sent);
        s->sent = 0;
    }
}

static void pull_stream(struct stream *s, struct pt_buf *out)
{
    if (gift_due(s)) {
        size_t gift = s->give < s->window ? s->give : s->window;
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
