/* SPDX-License-Identifier: Apache-2.0 */
/* A lane to this machine, with the real agent: trees one after the other, and what is remembered of them. */
#include "sync_lab.h"

#include "common/loop.h"
#include "lane.h"
#include "tools.h"

#define PATIENCE_MS 60000

static struct {
    struct pt_loop *loop;
    struct pt_lane *lane;
    struct pt_fanout *trees[8];
    size_t ntrees;
    bool tooled, down;
    unsigned synced, stale, sending, listening, reached, peered;
    struct pt_listening said;
    struct pt_reached whom;
    struct pt_lane_sync sync;
    char why[256], workspace[4096];
    struct pt_err err;
} l;

static void on_event(void *arg, struct pt_lane_event *e)
{
    (void)arg;
    switch (e->kind) {
    case PT_LANE_READY:
        snprintf(l.workspace, sizeof(l.workspace), "%s", e->ready.workspace);
        break;
    case PT_LANE_TOOLED:
        l.tooled = true;
        break;
    case PT_LANE_SENDING:
        l.sending++;
        cr_expect_leq(e->sync.raw, e->sync.total);
        break;
    case PT_LANE_SYNCED:
        l.synced++;
        l.sync = e->sync;
        break;
    case PT_LANE_STALE:
        l.stale++;
        snprintf(l.why, sizeof(l.why), "%s", e->text);
        break;
    case PT_LANE_LISTENING:
        l.listening++;
        l.said = e->listening;
        e->listening = (struct pt_listening){0};
        break;
    case PT_LANE_REACHED:
        l.reached++;
        l.whom = e->reached;
        e->reached = (struct pt_reached){0};
        break;
    case PT_LANE_PEERED:
        l.peered++;
        break;
    case PT_LANE_DOWN:
        l.down = true;
        l.err = e->err;
        break;
    default:
        break;
    }
}

static void open_lane(void)
{
    static struct pt_transport_options transport = {.step_ms = 20000};
    static char state[96], cache[96];
    struct pt_err err = PT_ERR_INIT;
    snprintf(state, sizeof(state), "%s/state", lab_dir);
    snprintf(cache, sizeof(cache), "%s/cache", lab_dir);
    mkdir(state, 0700);
    struct pt_lane_options o = {.target = {.name = "local", .local = true},
                                .transport = &transport,
                                .remote_dir = cache,
                                .setup = {.protocol = PT_PROTOCOL,
                                          .run = (char *)"r1",
                                          .slots = 1,
                                          .project = (char *)"project",
                                          .silence_ms = 60000,
                                          .flags = PT_SETUP_SYNC_ONLY},
                                .state_dir = state,
                                .loop = l.loop,
                                .on_event = on_event};
    l.down = l.tooled = false;
    l.lane = pt_lane_create(&o, &err);
    cr_assert_not_null(l.lane, "%s", err.msg);
}

static void until(const bool *flag, const unsigned *counter, unsigned want, const char *what)
{
    int64_t end = pt_now_ms() + PATIENCE_MS;
    while (flag ? !*flag : *counter < want) {
        cr_assert(pt_loop_step(l.loop, 100) == 0 && pt_now_ms() < end, "waited for %s: %s", what, l.err.msg);
        cr_assert(!l.down || flag == &l.down, "down: %s", l.err.msg);
    }
}

static struct pt_fanout *scan_tree(unsigned lanes)
{
    struct pt_fanout *f = pt_fanout_create(lab_scan(), lab_dir, lanes, NULL);
    cr_assert_not_null(f);
    l.trees[l.ntrees++] = f;
    return f;
}

/* Send the tree as it is and wait. */
static void sync_tree(void)
{
    unsigned want = l.synced + 1;
    pt_lane_tree(l.lane, scan_tree(1));
    until(NULL, &l.synced, want, "the tree");
    lab_same("here", l.workspace);
}

static void close_lane(void)
{
    pt_lane_stop(l.lane, 0);
    until(&l.down, NULL, 0, "the end");
    cr_expect_str_eq(l.err.msg, "");
    pt_lane_destroy(l.lane);
    l.lane = NULL;
}

static void lane_lab_open(void)
{
    lab_open();
    l.loop = pt_loop_create(NULL);
    l.err = PT_ERR_INIT;
    lab_text("here/a", "alpha");
    lab_text("here/d/f", "phi");
}

static void lane_lab_close(void)
{
    while (l.ntrees)
        pt_fanout_destroy(l.trees[--l.ntrees]);
    pt_loop_destroy(l.loop);
    lab_close();
}

TestSuite(lane, .init = lane_lab_open, .fini = lane_lab_close);

Test(lane, trees_one_after_the_other)
{
    open_lane();
    sync_tree();
    cr_expect_eq(l.sync.synced.files_sent, 2);
    uint64_t first = l.sync.wire;
    sync_tree();
    cr_expect(l.sync.wire == first && l.sync.synced.files_right == 2, "nothing more for an unchanged tree");
    lab_text("here/a", "beta");
    lab_text("here/new", "nu");
    cr_assert_eq(unlink("here/d/f"), 0);
    pt_lane_survey(l.lane);
    sync_tree();
    cr_expect(l.sync.wire > first && l.sync.synced.files_sent == 2 && l.sync.synced.removed >= 1);
    cr_expect_eq(l.sync.raw, 5 + 3 + 4 + 2, "the content of both trees, each once");
    lab_text("here/a", "alpha"); /* in the host's store since the first tree */
    uint64_t before = l.sync.raw;
    sync_tree();
    cr_expect(l.sync.raw == before && l.sync.synced.files_reused == 1);
    until(&l.tooled, NULL, 0, "the programs");
    close_lane();
}

static void say(struct pt_buf *frame)
{
    pt_lane_send(l.lane, frame);
    cr_expect_null(frame->data, "it is the lane's");
}

/* Nothing was launched, so that it is there for nobody. */
Test(lane, which_hosts_it_reaches)
{
    struct pt_buf b = {0};
    uint32_t loopback = 0x7f000001;
    struct pt_probe_host host = {.host = 7, .port = 1, .n = 1, .addresses = &loopback};
    open_lane();
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_LISTEN));
    say(&b);
    until(NULL, &l.listening, 1, "LISTENING");
    cr_expect(l.said.run_dir[0] == '/' && l.said.launch == 0 && l.said.n == 0);
    pt_probe_encode(&(struct pt_probe){.n = 1, .hosts = &host}, &b);
    say(&b);
    until(NULL, &l.reached, 1, "REACHED");
    cr_expect_eq(l.whom.n, 0, "nobody answers there");
    pt_peers_encode(&(struct pt_peers){0}, &b);
    say(&b);
    until(NULL, &l.peered, 1, "PEERED");
    close_lane();
    pt_listening_fini(&l.said);
    pt_reached_fini(&l.whom);
}

Test(lane, the_next_connection_remembers)
{
    open_lane();
    sync_tree();
    close_lane();
    open_lane();
    sync_tree();
    cr_expect(l.sync.wire == 0 && l.sync.synced.files_right == 2);
    close_lane();
    lab_text("here/a", "beta");
    open_lane();
    sync_tree();
    cr_expect(l.sync.raw == 4 && l.sync.synced.files_sent == 1 && l.sync.synced.files_right == 1);
    close_lane();
    lab_run("rm -rf state/sent");
    lab_text("here/a", "gamma");
    open_lane();
    sync_tree(); /* by the whole manifest */
    cr_expect(l.sync.raw == 5 && l.sync.synced.files_sent == 1);
    close_lane();
    lab_run("rm -rf cache/ws cache/store");
    open_lane();
    sync_tree(); /* the memory is of a host that was */
    cr_expect(l.sync.raw == 8 && l.sync.synced.files_sent == 2);
    close_lane();
}

Test(lane, a_file_that_changes_meanwhile_is_named)
{
    open_lane();
    struct pt_fanout *tree = scan_tree(1);
    lab_text("here/d/f", "not what was scanned");
    pt_lane_tree(l.lane, tree);
    until(NULL, &l.stale, 1, "the end of the archive");
    cr_expect_not_null(strstr(l.why, "d/f"), "%s", l.why);
    sync_tree();
    close_lane();
}

/* Two trees at once: the second is sent when the first is through, and told once. */
Test(lane, a_tree_may_follow_at_once)
{
    open_lane();
    pt_lane_tree(l.lane, scan_tree(1));
    lab_text("here/a", "beta");
    sync_tree();
    close_lane();
}

static struct pt_parcel *read_all(struct pt_fanout *tree)
{
    struct pt_segment s;
    int got;
    struct pt_parcel *p = pt_fanout_join(tree, (const unsigned char *)"\3", NULL);
    do {
        struct pollfd fd = {.fd = pt_parcel_fd(p), .events = POLLIN};
        cr_assert_eq(poll(&fd, 1, 60000), 1);
        got = pt_parcel_next(p, 0, &s, NULL);
    } while (got == PT_PARCEL_SEGMENT || got == PT_PARCEL_NOTHING);
    cr_assert_eq(got, PT_PARCEL_END);
    return p;
}

/* Whatever way a lane ends: what was kept for it is dropped. */
Test(lane, who_is_gone_is_not_waited_for)
{
    struct pt_fanout *tree = scan_tree(3);
    open_lane();
    sync_tree();
    pt_lane_tree(l.lane, tree); /* the same tree: it needs no archive */
    until(NULL, &l.synced, 2, "the tree");
    struct pt_parcel *p = read_all(tree);
    cr_expect_gt(pt_fanout_kept(tree), 0, "one is still expected");
    pt_lane_stop(l.lane, 0);
    until(&l.down, NULL, 0, "the end");
    pt_lane_tree(l.lane, tree);
    cr_expect_eq(pt_fanout_kept(tree), 0);
    pt_parcel_leave(p);
    pt_lane_destroy(l.lane);
}

/* What stands where the agent is. */
static void put_agent(const char *script)
{
    char path[256];
    snprintf(path, sizeof(path), "mkdir -p cache/bin/%s", pt_tools_agent()->hex);
    cr_assert_eq(system(path), 0);
    snprintf(path, sizeof(path), "cache/bin/%s/ptremote-agent", pt_tools_agent()->hex);
    lab_text(path, script);
    cr_assert_eq(chmod(path, 0700), 0);
}

/* It reads nothing any more when the first words come. */
Test(lane, why_an_agent_ended_is_heard_also_when_it_cannot_be_told_anything)
{
    put_agent("#!/bin/sh\n"
              "exec <&-\n"
              "printf 'PTREMOTE-AGENT 1\\n'\n"
              "printf '\\2\\0\\0\\0\\0\\0\\0\\0\\27\\0\\0\\0\\23I\\0\\0\\0\\0\\5no go\\0\\0\\0\\4next'\n");
    open_lane();
    until(&l.down, NULL, 0, "the end");
    cr_expect_str_eq(l.err.msg, "no go");
    cr_expect_str_eq(l.err.hint, "next");
    pt_lane_destroy(l.lane);
}

/* An agent that says STOPPED unasked: its host is out of use, and a reason is told. */
Test(lane, who_stops_unasked_tells_no_end_of_ours)
{
    put_agent("#!/bin/sh\n"
              "printf 'PTREMOTE-AGENT 1\\n\\2\\0\\0\\0\\0\\0\\0\\0\\5\\0\\0\\0\\1K'\n"
              "exec cat >/dev/null\n");
    open_lane();
    until(&l.down, NULL, 0, "the end");
    cr_expect_str_eq(l.err.msg, "the agent stopped, and nobody told it to");
    pt_lane_destroy(l.lane);
}
