/* SPDX-License-Identifier: Apache-2.0 */
/* Streams over one channel: two ends that do what the input says never take each other for hostile and lose
 * no byte; a third one is fed the input itself, once whole and once in pieces. */
#include "common/err.h"
#include "common/mux.h"
#include "fuzz.h"

#define IDS   8u
#define CHUNK 4200u

struct end {
    struct pt_mux *mux;
    size_t sent[2 + IDS], got[2 + IDS], unread[2 + IDS]; /* bytes of each stream */
    struct pt_buf log;
    bool logs;
};

static unsigned index_of(uint32_t stream)
{
    return stream < 2 ? stream : 2 + (stream - PT_MUX_FIRST) % IDS;
}

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    struct end *e = arg;
    pt_put_u32(&e->log, stream);
    pt_put_u8(&e->log, kind);
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    struct end *e = arg;
    for (size_t i = 0; i < n && e->logs; i++) {
        pt_put_u32(&e->log, stream);
        pt_put_u8(&e->log, ((const uint8_t *)data)[i]);
    }
    e->got[index_of(stream)] += n;
    e->unread[index_of(stream)] += n;
}

static void on_closed(void *arg, uint32_t stream)
{
    struct end *e = arg;
    pt_put_u32(&e->log, stream);
}

static const struct pt_mux_callbacks callbacks = {on_opened, on_data, on_closed};

static bool begin(struct end *e, bool logs)
{
    struct pt_err err = PT_ERR_INIT;
    *e = (struct end){.logs = logs};
    e->mux = pt_mux_create(&callbacks, e, &err);
    return e->mux != NULL;
}

static void finish(struct end *e)
{
    pt_mux_destroy(e->mux);
    pt_buf_fini(&e->log);
}

/* --- two ends --- */

static void bring(struct end *from, struct end *to, size_t most)
{
    struct pt_buf wire = {0};
    struct pt_err err = PT_ERR_INIT;
    bool ready = pt_mux_ready(from->mux);
    pt_mux_pull(from->mux, &wire, most);
    FUZZ_CHECK(ready || wire.len == 0 || fuzz_starved());
    if (!wire.bad && !fuzz_starved())
        FUZZ_CHECK(pt_mux_feed(to->mux, wire.data, wire.len, &err) == 0 || fuzz_starved());
    pt_buf_clear(&to->log);
    pt_buf_fini(&wire);
}

static void send_some(struct end *e, uint32_t stream, size_t n, const uint8_t *zeros)
{
    struct pt_buf *queue = n % 2 ? pt_mux_queue(e->mux, stream) : NULL;
    if (queue) {
        pt_buf_append(queue, zeros, n);
        e->sent[index_of(stream)] += queue->bad ? 0 : n;
    } else if (pt_mux_send(e->mux, stream, zeros, n) == 0) {
        e->sent[index_of(stream)] += n;
    }
    pt_mux_stalled(e->mux, stream);
    FUZZ_CHECK(pt_mux_pulled(e->mux, stream) + pt_mux_queued(e->mux, stream) <= e->sent[index_of(stream)]);
}

static void talk(struct fuzz_parts *in, struct end ends[2])
{
    static const uint8_t zeros[256 * CHUNK];
    uint32_t opened = 0;
    for (int ops = 0; in->left > 0 && ops < 64 && !fuzz_starved(); ops++) {
        uint8_t op = fuzz_byte(in), arg = fuzz_byte(in);
        struct end *e = &ends[op >> 7];
        uint32_t id = op >> 3 & 15, stream = id < 2 ? id : PT_MUX_FIRST + id % IDS;
        if (op % 8 == 0 && opened < IDS)
            FUZZ_CHECK(pt_mux_open(ends[0].mux, PT_MUX_FIRST + opened++, arg) == 0 || fuzz_starved());
        else if (op % 8 == 1)
            pt_mux_close(e->mux, stream);
        else if (op % 8 == 2 && e->unread[index_of(stream)]) {
            pt_mux_credit(e->mux, stream, e->unread[index_of(stream)]);
            e->unread[index_of(stream)] = 0;
        } else if (op % 8 < 5)
            send_some(e, stream, (size_t)arg * CHUNK, zeros);
        else
            bring(e, &ends[!(op >> 7)], (size_t)arg * CHUNK);
    }
    for (int i = 0; i < 2 && !fuzz_starved(); i++)
        bring(&ends[i], &ends[!i], SIZE_MAX);
    for (unsigned k = 0; k < 2 + IDS && !fuzz_starved(); k++)
        FUZZ_CHECK(ends[0].got[k] <= ends[1].sent[k] && ends[1].got[k] <= ends[0].sent[k]);
    FUZZ_CHECK(pt_mux_open(ends[0].mux, 3, 1) < 0 && pt_mux_send(ends[0].mux, 99, zeros, 1) < 0);
}

/* --- a hostile peer --- */

static void feed(const uint8_t *data, size_t size)
{
    struct end whole, parts;
    struct pt_err one = PT_ERR_INIT, two = PT_ERR_INIT;
    bool made = begin(&whole, true), both = made && begin(&parts, true);
    if (both) {
        int rc = pt_mux_feed(whole.mux, data, size, &one), again = 0;
        for (size_t at = 0, n; at < size && again == 0; at += n) {
            n = 1 + data[at] % 13;
            n = n < size - at ? n : size - at;
            again = pt_mux_feed(parts.mux, data + at, n, &two);
        }
        FUZZ_CHECK(fuzz_starved() || (rc == again && strcmp(one.msg, two.msg) == 0));
        FUZZ_CHECK(fuzz_starved() ||
                   (whole.log.len == parts.log.len &&
                    (whole.log.len == 0 || memcmp(whole.log.data, parts.log.data, whole.log.len) == 0)));
    }
    if (both)
        finish(&parts);
    if (made)
        finish(&whole);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct end ends[2];
    if (fuzz_byte(&in) % 2) {
        feed(in.p, in.left);
        return;
    }
    bool made = begin(&ends[0], false), both = made && begin(&ends[1], false);
    if (both)
        talk(&in, ends);
    if (both)
        finish(&ends[1]);
    if (made)
        finish(&ends[0]);
    pt_mux_destroy(NULL);
}
