/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes to a run's door, with the run around it played here; links, TLS and sockets are the real ones. */
#include "common/auto.h"
#include "common/loop.h"
#include "run_parts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUN         "20261121-abc"
#define DEADLINE_MS 60000

static struct pt_options opts;
static struct pt_run run;
static struct pt_run_host at[2];
static struct pt_host hosts[2];
static struct pt_err err = {0};

/* --- the run's other files --- */

bool pt_run_away_expects(const struct pt_run_host *h, const struct pt_hello *hello)
{
    (void)h, (void)hello;
    return false;
}

void pt_run_away_back(struct pt_run_host *h, struct pt_link *link, uint64_t got)
{
    (void)h, (void)link, (void)got;
}

void pt_run_check(struct pt_run *of)
{
    (void)of;
}

void pt_run_host_set(struct pt_run_host *h, enum pt_host_state state)
{
    h->state = state;
}

void pt_run_host_show(struct pt_run_host *h, const char *state)
{
    (void)h, (void)state;
}

void pt_run_host_begin(struct pt_run_host *h)
{
    (void)h;
}

int pt_run_message(struct pt_run_host *h, uint8_t type, struct pt_reader *body, struct pt_err *why)
{
    (void)h, (void)type, (void)body, (void)why;
    return 0;
}

void pt_run_deal(struct pt_run *of)
{
    (void)of;
}

void pt_run_commit_soon(struct pt_run *of)
{
    (void)of;
}

void pt_lane_end_workers(struct pt_lane *lane, uint32_t grace_ms)
{
    (void)lane, (void)grace_ms;
}

/* --- the lab --- */

static void begin(void)
{
    char role[32];
    run = (struct pt_run){.opts = &opts, .at = at, .hosts = {.items = hosts, .n = 2}};
    snprintf(run.id, sizeof(run.id), "%s", RUN);
    cr_assert_not_null(run.loop = pt_loop_create(&err));
    cr_assert_not_null(run.ca = pt_tls_ca_create(RUN, 600, &err), "%s", err.msg);
    cr_assert_eq(pt_tls_ca_issue(run.ca, "master", &run.identity, &err), 0);
    for (uint32_t i = 0; i < 2; i++) {
        at[i] = (struct pt_run_host){.run = &run,
                                     .number = i,
                                     .host = &hosts[i],
                                     .state = PT_HOST_LAUNCHING,
                                     .launches = 1,
                                     .launch_slots = 1};
        snprintf(role, sizeof(role), "host/%u/worker", i);
        cr_assert_eq(pt_tls_ca_issue(run.ca, role, &at[i].identity, &err), 0);
    }
}

static void end(void)
{
    pt_run_links_fini(&run);
    for (size_t i = 0; i < 2; i++) {
        pt_link_destroy(at[i].link);
        pt_tls_identity_fini(&at[i].identity);
    }
    pt_tls_identity_fini(&run.identity);
    pt_tls_ca_destroy(run.ca);
    pt_loop_destroy(run.loop);
}

/* One that says nothing; what is left at this end. */
static int silent(long host)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    pt_run_link(&run, ends[0], host);
    return ends[1];
}

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

struct worker {
    int fd;
    struct pt_tls *tls;
    struct pt_buf wire, plain;
};

/* Says HELLO of the first launch with the identity of one host, and the number of another. */
static void worker_start(struct worker *w, uint32_t identity, uint32_t number, long way)
{
    struct pt_buf b = {0};
    *w = (struct worker){.fd = silent(way)};
    cr_assert_not_null(w->tls = pt_tls_create(&at[identity].identity, 0, RUN, "master", &err));
    size_t mark = pt_frame_begin(&b, PT_L_HELLO);
    pt_put_u32(&b, PT_PROTOCOL);
    pt_put_str(&b, RUN);
    pt_put_u32(&b, number);
    pt_put_u32(&b, 1);
    pt_put_u32(&b, 1);
    pt_put_u64(&b, 0);
    pt_put_u64(&b, 0);
    pt_frame_end(&b, mark);
    cr_assert_eq(pt_tls_send(w->tls, b.data, b.len, &err), 0);
    pt_buf_fini(&b);
}

static void worker_step(struct worker *w)
{
    char buf[16384];
    pt_tls_pull(w->tls, &w->wire);
    ssize_t n = w->wire.len ? send(w->fd, w->wire.data, w->wire.len, MSG_NOSIGNAL) : 0;
    if (n > 0)
        pt_buf_consume(&w->wire, (size_t)n);
    cr_assert_eq(pt_loop_step(run.loop, 1), 0);
    n = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0)
        pt_tls_feed(w->tls, buf, (size_t)n, &w->plain, &err);
}

static void worker_end(struct worker *w)
{
    pt_tls_destroy(w->tls);
    pt_buf_fini(&w->wire);
    pt_buf_fini(&w->plain);
    close(w->fd);
}

/* --- */

Test(run_links, a_worker_gets_through_a_flood_of_silent_ones)
{
    enum { FLOOD = 300, BETWEEN = 20 };
    int flood[FLOOD + BETWEEN * 50];
    size_t n = 0;
    struct worker w;
    begin();
    while (n < FLOOD)
        flood[n++] = silent(-1);
    cr_expect_eq(run.nguests, PT_RUN_GUESTS);
    cr_expect(is_closed(flood[0]), "the oldest is closed");
    cr_expect_not(is_closed(flood[FLOOD - 1]));
    worker_start(&w, 1, 1, -1);
    int64_t until = pt_now_ms() + DEADLINE_MS;
    while (!at[1].link && pt_now_ms() < until) {
        for (size_t i = 0; i < BETWEEN && n < sizeof(flood) / sizeof(*flood); i++)
            flood[n++] = silent(-1);
        for (size_t i = 0; i < n; i++) /* so that descriptors last */
            if (flood[i] >= 0 && is_closed(flood[i])) {
                close(flood[i]);
                flood[i] = -1;
            }
        worker_step(&w);
    }
    cr_expect_not_null(at[1].link);
    cr_expect_eq(at[1].state, PT_HOST_JOINED);
    cr_expect_leq(run.nguests, PT_RUN_GUESTS);
    worker_end(&w);
    for (size_t i = 0; i < n; i++)
        if (flood[i] >= 0)
            close(flood[i]);
    end();
}

Test(run_links, a_host_that_floods_shuts_nobody_else_out)
{
    int flood[2 * PT_RUN_GUESTS];
    begin();
    int other = silent(-1);
    struct worker w;
    worker_start(&w, 0, 0, 0);
    for (size_t i = 0; i < 2 * PT_RUN_GUESTS; i++)
        flood[i] = silent(1);
    cr_expect_not(is_closed(other));
    int64_t until = pt_now_ms() + DEADLINE_MS;
    while (!at[0].link && pt_now_ms() < until)
        worker_step(&w);
    cr_expect_not_null(at[0].link);
    for (size_t i = 0; i < 2 * PT_RUN_GUESTS; i++)
        close(flood[i]);
    close(other);
    worker_end(&w);
    end();
}

/* The certificate is good, and it is not that of the host whose way it came, or says to be another. */
Test(run_links, who_comes_with_another_hosts_certificate_does_not_join)
{
    static const struct {
        uint32_t identity, number;
        long way;
    } cases[] = {{0, 1, -1}, {1, 0, -1}, {0, 0, 1}, {0, 1, 1}, {1, 0, 1}};
    begin();
    for (size_t i = 0; i < PT_COUNT(cases); i++) {
        struct worker w;
        worker_start(&w, cases[i].identity, cases[i].number, cases[i].way);
        int64_t until = pt_now_ms() + DEADLINE_MS;
        while (run.nguests && pt_now_ms() < until)
            worker_step(&w);
        cr_expect_eq(run.nguests, 0);
        cr_expect(!at[0].link && !at[1].link, "case %zu joined", i);
        worker_end(&w);
    }
    end();
}

/* A certificate is good for the whole run, a launch is not: once joined, nobody joins in its place. */
Test(run_links, who_comes_again_is_refused)
{
    begin();
    struct worker w;
    struct worker again;
    worker_start(&w, 0, 0, 0);
    int64_t until = pt_now_ms() + DEADLINE_MS;
    while (!at[0].link && pt_now_ms() < until)
        worker_step(&w);
    struct pt_link *link = at[0].link;
    cr_assert_not_null(link);
    worker_start(&again, 0, 0, -1);
    while (!again.plain.len && pt_now_ms() < until)
        worker_step(&again);
    cr_expect_eq(at[0].link, link);
    cr_assert_gt(again.plain.len, PT_FRAME_HEAD - 1);
    cr_expect_eq(again.plain.data[4], PT_L_REFUSED);
    worker_end(&again);
    worker_end(&w);
    end();
}
