/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn in what a run keeps while it goes on: what was collected, said, shown,
 * logged, and the streams to a host. What could not be kept is told, and leaves no half of an entry. */
#include "allocations.h"
#include "allocations_dir.h"

#include "across.h"
#include "backlog.h"
#include "collect_ask.h"
#include "collect_said.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/mux.h"
#include "interned.h"
#include "json.h"
#include "logs.h"
#include "run_nodes.h"
#include "status.h"
#include "suite.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(allocations_run, .timeout = 110);

enum { MANY = 150 };

/* --- what was collected --- */

static bool suite(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    char text[32];
    bool all = true;
    (void)arg;
    struct pt_suite *s = pt_suite_create(&err);
    if (!s)
        return allocations_told(-1, &err);
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t files = pt_suite_files(s), tests = pt_suite_tests(s);
        snprintf(text, sizeof(text), "f%u.py", i / 2);
        uint32_t file = pt_suite_file(s, text);
        cr_assert(file != PT_NONE || pt_suite_files(s) == files);
        snprintf(text, sizeof(text), "f%u.py::t%u", i / 2, i);
        uint32_t test = file == PT_NONE ? PT_NONE : pt_suite_add(s, file, text, 0);
        cr_assert(test == PT_NONE ? pt_suite_tests(s) == tests : test == tests);
        all = all && test != PT_NONE;
    }
    for (uint32_t i = 0; i < pt_suite_tests(s); i++) /* without memory for an index, too */
        cr_assert_eq(pt_suite_find(s, pt_suite_get(s, i)->nodeid, 0), i);
    all = !allocations_stop() && all;
    for (uint32_t i = 0; i < pt_suite_files(s); i++)
        cr_assert_eq(pt_suite_file(s, pt_suite_path(s, i)), i);
    pt_suite_destroy(s);
    return all;
}

static bool interned(void *arg)
{
    struct pt_interned t = {0};
    char text[16];
    bool all = true;
    (void)arg;
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "%u", i);
        uint32_t n = t.n, at = pt_interned_add(&t, text);
        cr_assert(at == PT_NONE ? t.n == n && pt_interned_find(&t, text) == PT_NONE : at == n);
        all = all && at != PT_NONE;
    }
    for (uint32_t i = 0; i < t.n; i++)
        cr_assert_eq(pt_interned_find(&t, t.text[i]), i);
    pt_interned_fini(&t);
    return all;
}

/* What was not kept is taken for news by the next collector. */
static bool said(void *arg)
{
    struct pt_said s = {0};
    char text[16];
    int before = 0, kept = 0;
    (void)arg;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(text, sizeof(text), "%d", i);
            int rc = pt_said_now(&s, strdup(text));
            before += round && rc == 1;
            kept += !round && rc == 0;
        }
        if (!round)
            pt_said_expect_again(&s);
    }
    pt_said_fini(&s);
    cr_assert_leq(before, kept);
    return before == MANY;
}

Test(allocations_run, collected)
{
    ALLOCATIONS_CHECK("suite", suite, 150);
    ALLOCATIONS_CHECK("interned", interned, 150);
    ALLOCATIONS_CHECK("collect_said", said, 150);
}

/* --- what is told --- */

static void put_frame(struct pt_buf *b, uint8_t type, size_t n)
{
    size_t mark = pt_frame_begin(b, type);
    while (n--)
        pt_put_u8(b, type);
    pt_frame_end(b, mark);
}

static bool backlog(void *arg)
{
    struct pt_backlog log = {0};
    struct pt_buf b = {0};
    uint64_t kept = 0;
    bool ok = true;
    (void)arg;
    for (uint8_t i = 0; i < 20; i++) {
        pt_buf_clear(&b);
        put_frame(&b, i, 100);
        bool added = pt_backlog_add(&log, &b) == 0;
        kept += added;
        cr_assert_eq(log.said, kept, "what is not kept was not said");
        ok = ok && added;
    }
    cr_assert_eq(pt_backlog_got(&log, kept + 1), -1);
    cr_assert_eq(pt_backlog_got(&log, kept), 0);
    cr_assert_eq(log.frames.len, 0);
    pt_buf_fini(&b);
    pt_backlog_fini(&log);
    return ok;
}

static bool ask(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ask a;
    static char line[4096];
    bool ok = true;
    (void)arg;
    memset(line, 'x', sizeof(line));
    struct pt_loop *loop = pt_loop_create(&err);
    if (!loop)
        return false;
    pt_ask_init(&a, loop);
    int fd = pt_ask_open(&a, &err);
    cr_assert_geq(fd, 0);
    for (int i = 0; i < 200 && ok; i++) /* more than a socket holds */
        ok = pt_ask_put(&a, line, sizeof(line)) == 0;
    cr_assert(!ok || a.waiting || a.fd < 0, "who waits for the rest gets it, or hears of the end");
    ok = ok && a.fd >= 0;
    pt_ask_fini(&a);
    close(fd);
    pt_loop_destroy(loop);
    return ok;
}

static bool status(void *arg)
{
    static const struct pt_status_host hosts[] = {{.name = "h1", .state = "working", .slots = 2}};
    struct pt_status *s = pt_status_create();
    bool ok = s && pt_status_set(s, 0, 1, "a.py::x", 1000) == 0;
    (void)arg;
    ok = ok && pt_status_set_group(s, 0, 2, 4, 7, "a.py::y", 1000) == 0;
    ok = ok && pt_status_set(s, 3, 0, "a.py::z", 1000) == 0;
    bool stopped = allocations_stop();
    if (s) {
        FILE *out = fopen("/dev/null", "w");
        pt_status_print(s, hosts, 1, 7, 2000, out);
        fclose(out);
        pt_status_lost(s, 0);
    }
    pt_status_destroy(s);
    return ok && !stopped;
}

Test(allocations_run, told)
{
    ALLOCATIONS_CHECK("backlog", backlog, 4);
    ALLOCATIONS_CHECK("collect_ask", ask, 10);
    ALLOCATIONS_CHECK("status", status, 7);
}

/* --- logs --- */

static void count(void *arg, uint32_t node, const char *nodeid, const char *line, size_t n)
{
    (void)node, (void)nodeid, (void)line, (void)n;
    ++*(int *)arg;
}

/* Whoever is kept after a failure is kept whole: the heading of its test stands before what it wrote. */
static bool logs(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    char command[128];
    int lines = 0;
    (void)arg;
    struct pt_logs *l = pt_logs_create(dir, "r1", &err);
    if (!l)
        return allocations_told(-1, &err);
    uint32_t first = pt_logs_member(l, "h1", 1, 0), second = pt_logs_member(l, "h1", 1, 1);
    int rc = pt_logs_add(l, 0, "h1", "a.py::t", "words\n", 6, &err);
    bool ok = allocations_told(rc, &err) && first != PT_NONE && second != PT_NONE;
    ok = pt_logs_lines(l, 0, "a.py::t", "words\nmore", 10, count, &lines) == 0 && ok;
    pt_logs_flush(l, 0, count, &lines);
    ok = ok && lines == 2;
    if (allocations_stop()) {
        cr_assert_neq(pt_logs_member(l, "h1", 1, 2), PT_NONE);
        cr_assert_neq(pt_logs_member(l, "h1", 1, 1), PT_NONE);
        struct pt_err later = PT_ERR_INIT;
        if (rc < 0 && pt_logs_add(l, 0, "h1", "a.py::t", "words\n", 6, &later) == 0 && pt_logs_folder(l))
            cr_assert(holds("logs/r1/gw0.log", "=== gw0 on h1\n=== a.py::t\nwords\n"));
    } else {
        cr_assert(holds("logs/r1/gw0.log", "=== gw0 on h1\n=== a.py::t\nwords\n"));
    }
    pt_logs_destroy(l);
    snprintf(command, sizeof(command), "rm -rf %s/logs", dir);
    cr_assert_eq(system(command), 0);
    return ok;
}

Test(allocations_run, logs)
{
    make_dir();
    allocations_check("logs", logs, NULL, ALLOCATIONS_BORNE, 20); /* old folders stay when memory ends */
    cr_assert_eq(rmdir(dir), 0);
}

/* --- streams --- */

static void opened(void *arg, uint32_t stream, uint8_t kind)
{
    (void)stream, (void)kind;
    ++*(int *)arg;
}

static void came(void *arg, uint32_t stream, const void *data, size_t n)
{
    (void)arg, (void)stream, (void)data, (void)n;
}

static void closed(void *arg, uint32_t stream)
{
    (void)arg, (void)stream;
}

/* What was opened comes to the peer as whole frames; what was not is unknown to both. */
static bool mux(void *arg)
{
    static const struct pt_mux_callbacks cb = {opened, came, closed};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf wire = {0};
    int there = 0, here = 0;
    bool ok = true;
    (void)arg;
    struct pt_mux *a = pt_mux_create(&cb, &here, &err), *b = a ? pt_mux_create(&cb, &there, &err) : NULL;
    if (!b) {
        pt_mux_destroy(a);
        return allocations_told(-1, &err);
    }
    for (uint32_t i = 0; i < 60; i++) {
        bool open = pt_mux_open(a, PT_MUX_FIRST + i, PT_MUX_KIND_LINK) == 0;
        bool sent = pt_mux_send(a, PT_MUX_FIRST + i, "words", 5) == 0;
        cr_assert(open || !sent);
        here += open;
        ok = ok && sent;
    }
    pt_mux_pull(a, &wire, 1 << 20);
    ok = ok && !wire.bad;
    if (!wire.bad && pt_mux_feed(b, wire.data, wire.len, &err) < 0) {
        cr_assert(strstr(err.msg, "cannot be opened"), "%s", err.msg);
        ok = false;
    } else if (!wire.bad) {
        cr_assert_eq(there, here);
    }
    pt_buf_fini(&wire);
    pt_mux_destroy(a);
    pt_mux_destroy(b);
    return ok;
}

Test(allocations_run, streams)
{
    ALLOCATIONS_CHECK("mux", mux, 70);
}

/* --- hosts that run tests together --- */

static bool across(void *arg)
{
    struct pt_address addresses[] = {{0x0a000001, 24}, {0x0a000002, 24}};
    struct pt_reached_host list[] = {{1, 0x0a000002}, {0, 0x0a000001}};
    struct pt_listening listening[2];
    struct pt_reached reached[2];
    struct pt_across_host hosts[2];
    struct pt_err err = PT_ERR_INIT;
    char run_dir[] = "/run", worker[] = "/worker", mpi[] = "4.1.4";
    (void)arg;
    for (int i = 0; i < 2; i++) {
        listening[i] = (struct pt_listening){
            .mpi = mpi, .run_dir = run_dir, .worker = worker, .n = 1, .addresses = &addresses[i]};
        reached[i] = (struct pt_reached){.n = 1, .hosts = &list[i]};
        hosts[i] = (struct pt_across_host){
            .name = "h", .slots = 2, .asked = true, .listening = &listening[i], .reached = &reached[i]};
    }
    bool ok = allocations_told(pt_across_choose(hosts, 2, &err), &err);
    cr_assert_eq(hosts[0].in && hosts[1].in, ok);
    return ok;
}

Test(allocations_run, across)
{
    ALLOCATIONS_CHECK("across", across, 3);
}

/* --- nodes, as plugins know them; the run around them is played here --- */

static struct pt_run run;
static int begun, asked;

void pt_run_fail(struct pt_run *r, const struct pt_err *err)
{
    r->failed = true;
    cr_assert(strstr(err->msg, "memory"), "%s", err->msg);
}

int pt_collect_ask(struct pt_collect *c, const void *line, size_t n)
{
    (void)c, (void)line, (void)n;
    asked++;
    return 0;
}

int pt_run_resume_take(struct pt_run *r, uint32_t test, struct pt_err *err)
{
    (void)r, (void)test, (void)err;
    return 0;
}

void pt_run_host_begin(struct pt_run_host *h)
{
    (void)h;
    begun++;
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    (void)h, (void)fmt;
}

static struct pt_json *parsed(const char *text)
{
    allocations_pause();
    struct pt_json *json = pt_json_parse(text, strlen(text), NULL);
    allocations_resume();
    return json;
}

static void answer(const char *text)
{
    struct pt_json *json = parsed(text);
    cr_assert(pt_run_nodes_line(&run, "node", json));
    pt_json_destroy(json);
}

/* A host begins once all its nodes were answered for, or the run fails: it never waits for an answer that was
 * lost. */
static bool nodes(void *arg)
{
    static struct pt_options opts;
    struct pt_host name = {.name = (char *)(uintptr_t) "a"};
    struct pt_run_host host = {.run = &run, .host = &name, .slots = 2, .launch_slots = 2};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf frame = {0};
    (void)arg;
    run = (struct pt_run){.opts = &opts, .at = &host, .id = "run-1", .collect = (struct pt_collect *)&run};
    run.hosts.n = 1;
    begun = asked = 0;
    struct pt_json *line = parsed("{\"t\":\"session\",\"nodes\":true,\"session\":{\"root\":\"/x\"}}");
    bool ok = allocations_told(pt_run_nodes_begin(&run, line, &err), &err);
    pt_json_destroy(line);
    ok = ok && allocations_told(pt_run_nodes_session(&host, &frame, &err), &err);
    if (ok) {
        cr_assert_eq(asked, 2);
        answer("{\"id\":\"gw0\",\"input\":\"{}\"}");
        answer("{\"id\":\"gw1\",\"input\":\"{}\"}");
        cr_assert_eq(begun, !run.failed);
        ok = !run.failed;
    }
    ok = ok && allocations_told(pt_run_nodes_session(&host, &frame, &err), &err) && !frame.bad;
    if (ok) {
        pt_run_nodes_ready(&host, 0);
        pt_run_nodes_down(&host, 0, "why");
        cr_assert(run.failed || asked == 4);
        ok = !run.failed;
    }
    pt_run_nodes_fini(&run);
    pt_buf_fini(&frame);
    return ok;
}

Test(allocations_run, nodes)
{
    ALLOCATIONS_CHECK("run_nodes", nodes, 15);
}
