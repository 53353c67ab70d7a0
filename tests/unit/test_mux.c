/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "common/mux.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS 64

/* One end, with what it heard. */
struct end {
    struct pt_mux *mux;
    struct pt_buf got[STREAMS];
    int opened[STREAMS], closed[STREAMS];
    uint8_t kind[STREAMS];
    bool greedy; /* gives credit for all it takes */
};

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    struct end *e = arg;
    if (stream < STREAMS) {
        e->opened[stream]++;
        e->kind[stream] = kind;
    }
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    struct end *e = arg;
    if (stream < STREAMS)
        pt_buf_append(&e->got[stream], data, n);
    if (e->greedy)
        pt_mux_credit(e->mux, stream, n);
}

static void on_closed(void *arg, uint32_t stream)
{
    struct end *e = arg;
    if (stream < STREAMS)
        e->closed[stream]++;
}

static const struct pt_mux_callbacks callbacks = {.opened = on_opened, .data = on_data, .closed = on_closed};

static void end_init(struct end *e, bool greedy)
{
    *e = (struct end){.greedy = greedy};
    e->mux = pt_mux_create(&callbacks, e, NULL);
    cr_assert_not_null(e->mux);
}

static void end_fini(struct end *e)
{
    pt_mux_destroy(e->mux);
    for (size_t i = 0; i < STREAMS; i++)
        pt_buf_fini(&e->got[i]);
}

/* What one end has to say reaches the other, in pieces of `piece` bytes. How many bytes that were. */
static size_t carry(struct end *from, struct end *to, size_t piece)
{
    struct pt_buf wire = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_mux_pull(from->mux, &wire, SIZE_MAX);
    for (size_t at = 0; at < wire.len; at += piece) {
        size_t n = wire.len - at < piece ? wire.len - at : piece;
        cr_assert_eq(pt_mux_feed(to->mux, wire.data + at, n, &err), 0, "%s", err.msg);
    }
    size_t n = wire.len;
    pt_buf_fini(&wire);
    return n;
}

static void settle(struct end *a, struct end *b, size_t piece)
{
    while (carry(a, b, piece) + carry(b, a, piece))
        ;
}

static unsigned char *pattern(size_t n, unsigned salt)
{
    unsigned char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 7 + i / 255 + salt);
    return p;
}

static int feed_head(struct end *e, uint8_t kind, uint32_t stream, uint32_t value, size_t body)
{
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_put_u8(&b, kind);
    pt_put_u32(&b, stream);
    pt_put_u32(&b, value);
    for (size_t i = 0; i < body; i++)
        pt_put_u8(&b, 'x');
    int rc = pt_mux_feed(e->mux, b.data, b.len, &err);
    cr_expect(rc == 0 || err.msg[0] != '\0');
    pt_buf_fini(&b);
    return rc;
}

enum { OPEN = 1, DATA, CREDIT, CLOSE };

Test(mux, streams_keep_their_bytes_apart)
{
    static const size_t pieces[] = {1, 7, 4096, 1u << 20};
    for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
        struct end agent, master;
        size_t n = pieces[k] == 1 ? 20000 : 3u << 20;
        unsigned char *x = pattern(n, 1), *y = pattern(n, 2);
        end_init(&agent, true);
        end_init(&master, true);
        cr_assert_eq(pt_mux_open(agent.mux, 16, PT_MUX_KIND_LINK), 0);
        pt_mux_send(agent.mux, 16, x, n);
        pt_mux_send(master.mux, PT_MUX_BULK, y, n);
        pt_mux_send(master.mux, PT_MUX_CONTROL, "ping", 4);
        settle(&agent, &master, pieces[k]);
        cr_expect(master.opened[16] == 1 && master.kind[16] == PT_MUX_KIND_LINK);
        cr_expect(master.got[16].len == n && memcmp(master.got[16].data, x, n) == 0);
        cr_expect(agent.got[1].len == n && memcmp(agent.got[1].data, y, n) == 0);
        cr_expect(agent.got[0].len == 4 && memcmp(agent.got[0].data, "ping", 4) == 0);
        free(x);
        free(y);
        end_fini(&agent);
        end_fini(&master);
    }
}

Test(mux, who_does_not_read_stops_only_its_own_stream)
{
    struct end agent, master;
    unsigned char *x = pattern(3u << 20, 1);
    end_init(&agent, true);
    end_init(&master, false);
    pt_mux_open(agent.mux, 16, PT_MUX_KIND_LINK);
    pt_mux_open(agent.mux, 17, PT_MUX_KIND_LINK);
    pt_mux_send(agent.mux, 16, x, 3u << 20);
    settle(&agent, &master, 65536);
    cr_expect_eq(master.got[16].len, PT_MUX_WINDOW);
    cr_expect_eq(pt_mux_queued(agent.mux, 16), (3u << 20) - PT_MUX_WINDOW);
    pt_mux_send(agent.mux, 17, "report", 6);
    settle(&agent, &master, 65536);
    cr_expect_eq(master.got[17].len, 6);
    pt_mux_credit(master.mux, 16, PT_MUX_WINDOW);
    settle(&agent, &master, 65536);
    cr_expect_eq(master.got[16].len, 2 * PT_MUX_WINDOW);
    free(x);
    end_fini(&agent);
    end_fini(&master);
}

Test(mux, control_goes_before_bulk)
{
    struct end a, b;
    unsigned char *x = pattern(900000, 1);
    struct pt_buf wire = {0};
    struct pt_err err = PT_ERR_INIT;
    end_init(&a, true);
    end_init(&b, true);
    pt_mux_send(a.mux, PT_MUX_BULK, x, 900000);
    pt_mux_send(a.mux, PT_MUX_CONTROL, "now", 3);
    pt_mux_pull(a.mux, &wire, 1);
    cr_assert_eq(pt_mux_feed(b.mux, wire.data, wire.len, &err), 0);
    cr_expect_eq(b.got[0].len, 3);
    cr_expect_eq(b.got[1].len, 0);
    cr_expect(pt_mux_ready(a.mux));
    pt_buf_fini(&wire);
    free(x);
    end_fini(&a);
    end_fini(&b);
}

/* What waits is counted, and so is what went: of 5 MiB, what the peer takes without a word. */
Test(mux, appending_to_the_queue)
{
    struct end a, b;
    size_t n = 5u << 20;
    unsigned char *x = pattern(n, 1);
    end_init(&a, true);
    end_init(&b, false);
    cr_assert_null(pt_mux_queue(a.mux, 20));
    for (size_t at = 0; at < n; at += n / 5)
        pt_buf_append(pt_mux_queue(a.mux, PT_MUX_BULK), x + at, n / 5);
    cr_expect_eq(pt_mux_queued(a.mux, PT_MUX_BULK), n);
    cr_expect_not(pt_mux_stalled(a.mux, PT_MUX_BULK));
    settle(&a, &b, 70000);
    cr_expect_eq(pt_mux_pulled(a.mux, PT_MUX_BULK), PT_MUX_BULK_WINDOW);
    cr_expect_eq(pt_mux_queued(a.mux, PT_MUX_BULK), n - PT_MUX_BULK_WINDOW);
    cr_expect(pt_mux_stalled(a.mux, PT_MUX_BULK));
    pt_buf_append(pt_mux_queue(a.mux, PT_MUX_BULK), "end", 3);
    pt_mux_credit(b.mux, PT_MUX_BULK, PT_MUX_BULK_WINDOW);
    settle(&a, &b, 70000);
    cr_expect_eq(pt_mux_pulled(a.mux, PT_MUX_BULK), n + 3);
    cr_expect_not(pt_mux_stalled(a.mux, PT_MUX_BULK));
    cr_expect(b.got[1].len == n + 3 && memcmp(b.got[1].data, x, n) == 0);
    cr_expect(memcmp(b.got[1].data + n, "end", 3) == 0);
    free(x);
    end_fini(&a);
    end_fini(&b);
}

/* Bytes are handed on as they come, and not first when their frame is whole. */
Test(mux, a_frame_in_pieces)
{
    struct end e;
    end_init(&e, false);
    cr_assert_eq(feed_head(&e, DATA, PT_MUX_BULK, 1000, 10), 0);
    cr_expect_eq(e.got[1].len, 10);
    unsigned char rest[990];
    memset(rest, DATA, sizeof(rest));
    cr_assert_eq(pt_mux_feed(e.mux, rest, sizeof(rest), NULL), 0);
    cr_expect_eq(e.got[1].len, 1000);
    cr_assert_eq(feed_head(&e, DATA, PT_MUX_CONTROL, 0, 0), 0);
    cr_assert_eq(feed_head(&e, DATA, PT_MUX_CONTROL, 1, 1), 0);
    cr_expect_eq(e.got[0].len, 1);
    end_fini(&e);
}

Test(mux, pull_stays_near_its_limit)
{
    struct end a;
    unsigned char *x = pattern(900000, 1);
    struct pt_buf wire = {0};
    end_init(&a, true);
    pt_mux_send(a.mux, PT_MUX_BULK, x, 900000);
    pt_mux_pull(a.mux, &wire, 100000);
    cr_expect(wire.len >= 100000 && wire.len <= 100000 + PT_MUX_CHUNK + 9);
    pt_buf_fini(&wire);
    free(x);
    end_fini(&a);
}

Test(mux, close_comes_after_the_bytes_and_ends_both_ways)
{
    struct end agent, master;
    end_init(&agent, true);
    end_init(&master, true);
    pt_mux_open(agent.mux, 20, PT_MUX_KIND_COLLECT);
    pt_mux_send(agent.mux, 20, "last", 4);
    pt_mux_close(agent.mux, 20);
    cr_expect_eq(pt_mux_send(agent.mux, 20, "x", 1), -1);
    settle(&agent, &master, 3);
    cr_expect_eq(master.got[20].len, 4);
    cr_expect_eq(master.closed[20], 1);
    cr_expect_eq(agent.closed[20], 0);
    pt_mux_send(master.mux, 20, "answer", 6);
    pt_mux_close(master.mux, 20);
    settle(&agent, &master, 3);
    cr_expect_eq(agent.got[20].len, 6);
    cr_expect_eq(agent.closed[20], 1);
    cr_expect_eq(pt_mux_send(agent.mux, 20, "x", 1), -1, "the stream is gone");
    cr_expect_not(pt_mux_ready(agent.mux));
    end_fini(&agent);
    end_fini(&master);
}

/* --- violations --- */

Test(mux, violations)
{
    static const struct {
        const char *what;
        uint8_t kind;
        uint32_t stream, value;
        size_t body;
    } bad[] = {
        {"unknown kind", 0, 0, 0, 0},
        {"unknown kind", 5, 0, 0, 0},
        {"data on a stream that is not open", DATA, 16, 1, 1},
        {"data longer than a chunk", DATA, 0, PT_MUX_CHUNK + 1, 0},
        {"opening a stream that is always there", OPEN, PT_MUX_BULK, 1, 0},
        {"opening below the first", OPEN, PT_MUX_FIRST - 1, 1, 0},
        {"a kind of more than a byte", OPEN, PT_MUX_FIRST, 256, 0},
        {"closing what is not open", CLOSE, 16, 0, 0},
        {"more credit than a window", CREDIT, 0, 1, 0},
        {"more credit than a window", CREDIT, 1, 0xffffffffu, 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct end e;
        end_init(&e, false);
        cr_expect_eq(feed_head(&e, bad[i].kind, bad[i].stream, bad[i].value, bad[i].body), -1, "%s",
                     bad[i].what);
        end_fini(&e);
    }
}

Test(mux, credit_for_a_stream_that_just_closed_is_no_violation)
{
    struct end e;
    end_init(&e, false);
    cr_expect_eq(feed_head(&e, CREDIT, 99, 5, 0), 0);
    end_fini(&e);
}

Test(mux, overrun_of_credit)
{
    struct end e;
    end_init(&e, false);
    for (uint32_t sent = 0; sent < PT_MUX_BULK_WINDOW; sent += PT_MUX_CHUNK)
        cr_assert_eq(feed_head(&e, DATA, PT_MUX_BULK, PT_MUX_CHUNK, PT_MUX_CHUNK), 0);
    cr_expect_eq(feed_head(&e, DATA, PT_MUX_BULK, 1, 1), -1);
    end_fini(&e);
    end_init(&e, false);
    for (uint32_t sent = 0; sent < PT_MUX_WINDOW; sent += PT_MUX_CHUNK)
        cr_assert_eq(feed_head(&e, DATA, PT_MUX_CONTROL, PT_MUX_CHUNK, PT_MUX_CHUNK), 0);
    cr_expect_eq(feed_head(&e, DATA, PT_MUX_CONTROL, 1, 1), -1);
    end_fini(&e);
}

Test(mux, data_after_close)
{
    struct end e;
    end_init(&e, false);
    cr_assert_eq(feed_head(&e, OPEN, 16, 1, 0), 0);
    cr_assert_eq(feed_head(&e, CLOSE, 16, 0, 0), 0);
    cr_expect_eq(e.closed[16], 1);
    cr_expect_eq(feed_head(&e, DATA, 16, 1, 1), -1);
    end_fini(&e);
}

Test(mux, too_many_streams)
{
    struct end e;
    end_init(&e, false);
    uint32_t id = PT_MUX_FIRST;
    while (id < PT_MUX_FIRST + PT_MUX_STREAMS - 2)
        cr_assert_eq(feed_head(&e, OPEN, id++, 1, 0), 0);
    cr_expect_eq(feed_head(&e, OPEN, id, 1, 0), -1);
    cr_expect_eq(pt_mux_open(e.mux, id, 1), -1);
    end_fini(&e);
}

/* Random bytes, and random but well-formed heads: refused or taken, never harm. */
Test(mux, garbage)
{
    uint32_t seed = 3;
    for (int round = 0; round < 2000; round++) {
        struct end e;
        struct pt_err err = PT_ERR_INIT;
        end_init(&e, round % 3 == 0);
        for (int i = 0, rc = 0; i < 50 && rc == 0; i++) {
            unsigned char raw[64];
            for (size_t k = 0; k < sizeof(raw); k++)
                raw[k] = (unsigned char)((seed = seed * 1664525u + 1013904223u) >> 24);
            if (round % 2) {
                raw[0] = raw[0] % 5;
                memset(raw + 1, 0, 3);
                raw[4] %= 32;
                memset(raw + 5, 0, 3);
                raw[8] = raw[0] == DATA ? (unsigned char)(raw[8] % 55) : raw[8] % 4;
            }
            rc = pt_mux_feed(e.mux, raw, raw[0] == DATA && round % 2 ? 9u + raw[8] : 9u + raw[9] % 55, &err);
            struct pt_buf out = {0};
            pt_mux_pull(e.mux, &out, 4096);
            pt_buf_fini(&out);
        }
        end_fini(&e);
    }
}
