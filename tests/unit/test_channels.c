/* SPDX-License-Identifier: Apache-2.0 */
/* A lane's channels on one side, an agent's mux on the other, and the run's ends of the descriptors. */
#include "channels.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/mux.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define STREAMS 1040 /* noted by the number of the stream, less 16 */

struct lab {
    struct pt_mux *agent, *master;
    struct pt_channels *channels;
    int run[STREAMS];           /* the run's ends; -1 when there is none */
    struct pt_buf got[STREAMS]; /* what came to the agent */
    int agent_closed[STREAMS];
    int refused;
    bool stingy; /* the agent gives no credit */
};

static size_t at(uint32_t stream)
{
    return (stream - PT_MUX_FIRST) % STREAMS;
}

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    struct lab *lab = arg;
    cr_expect_eq(kind, PT_MUX_KIND_LINK);
    lab->run[at(stream)] = pt_channels_add(lab->channels, stream);
    if (lab->run[at(stream)] < 0) {
        lab->refused++;
        pt_mux_close(lab->master, stream);
    }
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    pt_channels_data(((struct lab *)arg)->channels, stream, data, n);
}

static void on_closed(void *arg, uint32_t stream)
{
    pt_channels_closed(((struct lab *)arg)->channels, stream);
}

static void at_agent(void *arg, uint32_t stream, const void *data, size_t n)
{
    struct lab *lab = arg;
    pt_buf_append(&lab->got[at(stream)], data, n);
    if (!lab->stingy)
        pt_mux_credit(lab->agent, stream, n);
}

static void closed_at_agent(void *arg, uint32_t stream)
{
    ((struct lab *)arg)->agent_closed[at(stream)]++;
}

static const struct pt_mux_callbacks master_callbacks = {
    .opened = on_opened, .data = on_data, .closed = on_closed};
static const struct pt_mux_callbacks agent_callbacks = {.data = at_agent, .closed = closed_at_agent};

static struct lab *lab_create(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab *lab = calloc(1, sizeof(*lab));
    lab->master = pt_mux_create(&master_callbacks, lab, &err);
    lab->agent = pt_mux_create(&agent_callbacks, lab, &err);
    lab->channels = pt_channels_create(lab->master, &err);
    cr_assert(lab->master && lab->agent && lab->channels, "%s", err.msg);
    for (size_t i = 0; i < STREAMS; i++)
        lab->run[i] = -1;
    return lab;
}

static void hang_up(struct lab *lab, uint32_t stream)
{
    close(lab->run[at(stream)]);
    lab->run[at(stream)] = -1;
}

static void lab_destroy(struct lab *lab)
{
    pt_channels_destroy(lab->channels);
    pt_mux_destroy(lab->agent);
    pt_mux_destroy(lab->master);
    for (size_t i = 0; i < STREAMS; i++) {
        pt_buf_fini(&lab->got[i]);
        if (lab->run[i] >= 0)
            close(lab->run[i]);
    }
    free(lab);
}

static size_t carry(struct pt_mux *from, struct pt_mux *to)
{
    struct pt_buf wire = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_mux_pull(from, &wire, 256u << 10);
    cr_assert_eq(pt_mux_feed(to, wire.data, wire.len, &err), 0, "%s", err.msg);
    size_t n = wire.len;
    pt_buf_fini(&wire);
    return n;
}

/* One turn of a lane. Was there anything to do? */
static bool turn(struct lab *lab)
{
    struct pollfd fds[PT_CHANNELS_MAX];
    size_t n = pt_channels_polls(lab->channels, fds);
    int ready = poll(fds, n, 0);
    cr_assert_geq(ready, 0);
    pt_channels_move(lab->channels, fds, n);
    size_t moved = carry(lab->agent, lab->master);
    moved += carry(lab->master, lab->agent);
    return ready > 0 || moved > 0;
}

/* Until nobody has anything to do any more. */
static void settle(struct lab *lab)
{
    for (size_t turns = 0; turn(lab); turns++)
        cr_assert_lt(turns, 1000000);
}

static void open_stream(struct lab *lab, uint32_t stream)
{
    cr_assert_eq(pt_mux_open(lab->agent, stream, PT_MUX_KIND_LINK), 0);
    settle(lab);
}

static unsigned char pattern(size_t i, unsigned salt)
{
    return (unsigned char)(i * 7 + i / 255 + salt);
}

static unsigned char *make(size_t n, unsigned salt)
{
    unsigned char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = pattern(i, salt);
    return p;
}

/* Read from the run's end until n bytes came or nothing moves any more; gives how many. */
static size_t drain(struct lab *lab, uint32_t stream, size_t n, size_t from, unsigned salt)
{
    unsigned char buf[4096];
    size_t got = 0;
    for (int idle = 0; got < n && idle < 10;) {
        ssize_t k = read(lab->run[at(stream)], buf, sizeof(buf));
        for (ssize_t i = 0; i < k; i++)
            cr_assert_eq(buf[i], pattern(from + got + (size_t)i, salt));
        got += k > 0 ? (size_t)k : 0;
        idle = turn(lab) || k > 0 ? 0 : idle + 1;
    }
    return got;
}

static void run_writes(struct lab *lab, uint32_t stream, const unsigned char *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = send(lab->run[at(stream)], data + done, n - done, MSG_NOSIGNAL);
        done += k > 0 ? (size_t)k : 0;
        cr_assert(turn(lab) || k > 0, "stuck at %zu", done);
    }
}

/* Is there an end to be read on the run's side? */
static bool run_sees_end(const struct lab *lab, uint32_t stream)
{
    char c;
    return recv(lab->run[at(stream)], &c, 1, MSG_DONTWAIT) == 0;
}

Test(channels, bytes_go_both_ways)
{
    enum { BYTES = 5 << 20 };
    struct lab *lab = lab_create();
    unsigned char *x = make(BYTES, 1), *y = make(BYTES, 2);
    open_stream(lab, 16);
    cr_assert_geq(lab->run[0], 0);
    cr_assert_eq(pt_mux_send(lab->agent, 16, x, BYTES), 0);
    cr_expect_eq(drain(lab, 16, BYTES, 0, 1), BYTES);
    run_writes(lab, 16, y, BYTES);
    settle(lab);
    cr_expect(lab->got[0].len == BYTES && memcmp(lab->got[0].data, y, BYTES) == 0);
    free(x);
    free(y);
    lab_destroy(lab);
}

Test(channels, streams_are_kept_apart)
{
    struct lab *lab = lab_create();
    for (uint32_t s = 16; s < 48; s++)
        open_stream(lab, s);
    for (uint32_t s = 16; s < 48; s++) {
        unsigned char *x = make(5000, s);
        pt_mux_send(lab->agent, s, x, 5000);
        run_writes(lab, s, x, 5000);
        free(x);
    }
    settle(lab);
    for (uint32_t s = 16; s < 48; s++) {
        cr_expect_eq(drain(lab, s, 5000, 0, s), 5000);
        cr_assert_eq(lab->got[at(s)].len, 5000);
        for (size_t i = 0; i < 5000; i++)
            cr_assert_eq(lab->got[at(s)].data[i], pattern(i, s));
    }
    lab_destroy(lab);
}

/* A run that does not read stops that one stream, at the agent, and nothing else. */
Test(channels, a_slow_reader_stops_its_own_stream)
{
    enum { BYTES = 8 << 20 };
    struct lab *lab = lab_create();
    unsigned char *x = make(BYTES, 3);
    open_stream(lab, 16);
    open_stream(lab, 17);
    pt_mux_send(lab->agent, 16, x, BYTES);
    settle(lab);
    size_t stuck = pt_mux_queued(lab->agent, 16);
    cr_expect_geq(stuck, (size_t)BYTES - 2 * PT_MUX_WINDOW, "%zu bytes wait at the agent", stuck);
    pt_mux_send(lab->agent, 17, x, BYTES);
    cr_expect_eq(drain(lab, 17, BYTES, 0, 3), BYTES);
    cr_expect_eq(pt_mux_queued(lab->agent, 16), stuck);
    cr_expect_eq(drain(lab, 16, BYTES, 0, 3), BYTES);
    cr_expect_eq(pt_mux_queued(lab->agent, 16), 0);
    free(x);
    lab_destroy(lab);
}

/* A host that does not read stops the run's writing, not the lane's memory. */
Test(channels, a_slow_host_stops_the_run)
{
    struct lab *lab = lab_create();
    unsigned char *x = make(64 << 10, 4);
    size_t sent = 0;
    lab->stingy = true;
    open_stream(lab, 16);
    for (int idle = 0; idle < 10;) {
        ssize_t k = send(lab->run[0], x, 64 << 10, MSG_NOSIGNAL);
        sent += k > 0 ? (size_t)k : 0;
        cr_assert_lt(sent, 16u << 20);
        idle = turn(lab) || k > 0 ? 0 : idle + 1;
    }
    cr_expect_eq(lab->got[0].len, PT_MUX_WINDOW);
    cr_expect_leq(pt_mux_queued(lab->master, 16), PT_MUX_WINDOW + (64u << 10));
    lab->stingy = false;
    pt_mux_credit(lab->agent, 16, PT_MUX_WINDOW);
    settle(lab);
    cr_expect_eq(lab->got[0].len, sent);
    free(x);
    lab_destroy(lab);
}

Test(channels, the_hosts_end_is_seen_after_its_last_byte)
{
    enum { BYTES = 3 << 20 };
    struct lab *lab = lab_create();
    unsigned char *x = make(BYTES, 5);
    open_stream(lab, 16);
    pt_mux_send(lab->agent, 16, x, BYTES);
    pt_mux_close(lab->agent, 16);
    settle(lab);
    cr_expect_eq(drain(lab, 16, BYTES, 0, 5), BYTES);
    settle(lab);
    cr_expect(run_sees_end(lab, 16));
    run_writes(lab, 16, x, 1000); /* the other way is still open */
    settle(lab);
    cr_expect_eq(lab->got[0].len, 1000);
    hang_up(lab, 16);
    settle(lab);
    cr_expect_eq(lab->agent_closed[0], 1);
    cr_expect_eq(pt_mux_send(lab->agent, 16, "x", 1), -1, "the stream is gone");
    free(x);
    lab_destroy(lab);
}

Test(channels, the_runs_end_is_told_after_its_last_byte)
{
    enum { BYTES = 200000 };
    struct lab *lab = lab_create();
    unsigned char *x = make(BYTES, 6);
    open_stream(lab, 16);
    run_writes(lab, 16, x, BYTES);
    shutdown(lab->run[0], SHUT_WR);
    settle(lab);
    cr_expect_eq(lab->got[0].len, BYTES);
    cr_expect_eq(lab->agent_closed[0], 1);
    pt_mux_send(lab->agent, 16, x, BYTES); /* half closed: still heard */
    cr_expect_eq(drain(lab, 16, BYTES, 0, 6), BYTES);
    pt_mux_close(lab->agent, 16);
    settle(lab);
    cr_expect(run_sees_end(lab, 16));
    free(x);
    lab_destroy(lab);
}

/* What comes for an end that is gone is swallowed, with its credit, until the host closes too. */
Test(channels, a_host_may_talk_to_an_end_that_is_gone)
{
    enum { BYTES = 6 << 20 };
    struct lab *lab = lab_create();
    unsigned char *x = make(BYTES, 7);
    open_stream(lab, 16);
    hang_up(lab, 16);
    pt_mux_send(lab->agent, 16, x, BYTES);
    settle(lab);
    cr_expect_eq(pt_mux_queued(lab->agent, 16), 0);
    cr_expect_eq(lab->agent_closed[0], 1);
    pt_mux_close(lab->agent, 16);
    settle(lab);
    struct pollfd fds[PT_CHANNELS_MAX];
    cr_expect_eq(pt_channels_polls(lab->channels, fds), 0);
    free(x);
    lab_destroy(lab);
}

/* The run's end goes while bytes wait for it. */
Test(channels, an_end_may_go_with_bytes_before_it)
{
    enum { BYTES = 6 << 20 };
    struct lab *lab = lab_create();
    unsigned char *x = make(BYTES, 8);
    open_stream(lab, 16);
    pt_mux_send(lab->agent, 16, x, BYTES);
    settle(lab);
    hang_up(lab, 16);
    settle(lab);
    cr_expect_eq(pt_mux_queued(lab->agent, 16), 0);
    cr_expect_eq(lab->agent_closed[0], 1);
    free(x);
    lab_destroy(lab);
}

Test(channels, a_thousand_come_and_go)
{
    struct lab *lab = lab_create();
    struct pollfd fds[PT_CHANNELS_MAX];
    char buf[8];
    int first = -1;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t stream = PT_MUX_FIRST + i;
        lab->agent_closed[at(stream)] = 0;
        pt_buf_clear(&lab->got[at(stream)]);
        open_stream(lab, stream);
        cr_assert_geq(lab->run[at(stream)], 0, "stream %u", stream);
        first = first < 0 ? lab->run[at(stream)] : first;
        cr_assert_eq(lab->run[at(stream)], first, "no descriptor is left over");
        pt_mux_send(lab->agent, stream, "ping", 4);
        settle(lab);
        cr_assert_eq(read(lab->run[at(stream)], buf, sizeof(buf)), 4);
        run_writes(lab, stream, (const unsigned char *)"pong", 4);
        if (i % 2) { /* either side goes first */
            hang_up(lab, stream);
            settle(lab);
            pt_mux_close(lab->agent, stream);
        } else {
            pt_mux_close(lab->agent, stream);
            settle(lab);
            hang_up(lab, stream);
        }
        settle(lab);
        cr_assert_eq(lab->got[at(stream)].len, 4);
        cr_assert_eq(lab->agent_closed[at(stream)], 1);
        cr_assert_eq(pt_channels_polls(lab->channels, fds), 0);
    }
    lab_destroy(lab);
}

Test(channels, there_are_so_many_and_no_more)
{
    struct lab *lab = lab_create();
    for (uint32_t i = 0; i < PT_CHANNELS_MAX + 3; i++)
        open_stream(lab, PT_MUX_FIRST + i);
    cr_expect_eq(lab->refused, 3);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect_eq(lab->agent_closed[PT_CHANNELS_MAX + i], 1, "a refused stream is closed");
    pt_mux_close(lab->agent, PT_MUX_FIRST + 5);
    hang_up(lab, PT_MUX_FIRST + 5);
    settle(lab);
    open_stream(lab, PT_MUX_FIRST + PT_CHANNELS_MAX + 10);
    cr_expect_eq(lab->refused, 3, "there is room again");
    lab_destroy(lab);
}

Test(channels, foreign_streams_are_ignored_and_their_credit_given_back)
{
    struct lab *lab = lab_create();
    unsigned char *x = make(4 << 20, 9);
    pt_channels_closed(lab->channels, 99);
    pt_mux_send(lab->agent, PT_MUX_CONTROL, x, 4 << 20);
    settle(lab);
    cr_expect_eq(pt_mux_queued(lab->agent, PT_MUX_CONTROL), 0);
    free(x);
    lab_destroy(lab);
}

Test(channels, destroy_closes_all_ends)
{
    struct lab *lab = lab_create();
    for (uint32_t s = 16; s < 24; s++)
        open_stream(lab, s);
    pt_channels_destroy(lab->channels);
    lab->channels = NULL;
    for (uint32_t s = 16; s < 24; s++)
        cr_expect(run_sees_end(lab, s));
    pt_channels_destroy(NULL);
    lab_destroy(lab);
}
