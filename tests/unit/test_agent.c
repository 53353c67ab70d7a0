/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent does for a master that behaves. */
#include "agent_master.h"

#include "sync/here/push.h"
#include "sync/here/scan.h"

TestSuite(agent, .init = set_up, .fini = tear_down, .timeout = 100);

Test(agent, setup_tools_stop)
{
    struct pt_setup setup = default_setup();
    struct pt_ready ready;
    start_agent();
    send_setup(&setup);
    expect_ready(&ready);
    cr_expect(ready.protocol == PT_PROTOCOL && ready.cores >= 1 && ready.memory > 0 && ready.machine_id[0]);
    cr_expect(strcmp(ready.cache, w.cache) == 0);
    cr_expect(strncmp(ready.workspace, w.cache, strlen(w.cache)) == 0);
    pt_ready_fini(&ready);
    bring_tools();
    struct frame *f = expect(PT_C_PYTHON);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    pt_auto_free char *version = pt_get_str(&r, 99), *pytest = pt_get_str(&r, 99),
                      *path = pt_get_str(&r, 4096);
    cr_expect(strcmp(version, "3.99.0") == 0 && strcmp(pytest, "7.99") == 0 &&
              strcmp(path, setup.python) == 0);
    find_shm();
    stop();
}

Test(agent, second_time_nothing_is_missing)
{
    for (int i = 0; i < 2; i++) {
        struct pt_setup setup = default_setup();
        start_agent();
        send_setup(&setup);
        offer_tools();
        cr_expect_eq(expect_missing(), i == 0 ? 2 : 0);
        if (i == 0) {
            send_tool(1);
            send_tool(0);
            cr_expect_eq(expect_missing(), 0);
        }
        stop();
        hang_up();
    }
}

Test(agent, damaged_tool)
{
    struct pt_setup setup = default_setup();
    start_agent();
    send_setup(&setup);
    offer_tools();
    expect_missing();
    tools[0].bytes.data[5] ^= 1;
    send_tool(0);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "ptremote-worker came damaged") != NULL, "%s", text);
    stop();
}

Test(agent, ping)
{
    start_agent();
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_PING);
    pt_put_u64(&b, 0x1122334455667788u);
    pt_frame_end(&b, mark);
    send_frame(&b);
    struct frame *f = expect(PT_C_PONG);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_expect_eq(pt_get_u64(&r), 0x1122334455667788u);
    stop();
}

Test(agent, other_protocol)
{
    struct pt_setup setup = default_setup();
    setup.protocol = PT_PROTOCOL + 1;
    start_agent();
    send_setup(&setup);
    pt_auto_free char *text = fail_text();
    char want[64];
    snprintf(want, sizeof(want), "the master speaks protocol %u, this agent %u", PT_PROTOCOL + 1,
             PT_PROTOCOL);
    cr_expect(strstr(text, want) != NULL, "%s", text);
    turn_until(is_ended, "the end of the channel");
}

static void expect_bad_setup(const struct pt_setup *setup, const char *why)
{
    start_agent();
    send_setup(setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, why) != NULL, "%s", text);
    turn_until(is_ended, "the end of the channel");
}

Test(agent, project_outside)
{
    struct pt_setup setup = default_setup();
    setup.project = (char *)"../x";
    expect_bad_setup(&setup, "bad key");
}

Test(agent, cwd_outside)
{
    struct pt_setup setup = default_setup();
    setup.cwd = (char *)"a/../..";
    expect_bad_setup(&setup, "leaves the project");
}

Test(agent, link_carries_bytes_both_ways)
{
    whole_start();
    struct pt_buf want = {0};
    pt_put_str(&want, "run1");
    cr_expect(m.link.data[0] == PT_K_LINK && memcmp(m.link.data + 1, want.data, want.len) == 0);
    pt_buf_fini(&want);
    pt_buf_append(&m.link, "", 1);
    cr_expect(memmem(m.link.data, m.link.len, "--host 3 --launch 1", 19) != NULL);
    pt_buf_clear(&m.link);
    /* far more than any window or socket buffer */
    size_t size = 5u << 20;
    struct pt_buf big = {0};
    unsigned char *bytes = pt_buf_reserve(&big, size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
    cr_assert(pt_mux_send(m.mux, m.stream, bytes, size) == 0);
    int64_t until = pt_now_ms() + PATIENCE;
    while (m.link.len < size && turn(until))
        ;
    cr_expect(m.link.len == size && memcmp(m.link.data, bytes, size) == 0, "%zu bytes came back", m.link.len);
    pt_buf_fini(&big);
    find_shm();
    stop();
}

Test(agent, workers_end_and_start_again)
{
    for (uint32_t i = 1; i <= 2; i++) {
        if (i == 1)
            whole_start();
        else
            launch(i);
        pt_auto_free char *output = NULL;
        send_u32(PT_C_END_WORKERS, 3000);
        expect_exited(PT_PROGRAM_WORKERS, &output);
        cr_expect(strstr(output, "rank 0 is up") && strstr(output, "rank 1 is up"), "%s", output);
        cr_expect_eq(count_marked(w.mark, "ptremote-worker", NULL), 0, "ranks or their daemons are left");
        turn_until(link_closed, "the end of the link");
        m.nclosed = 0;
        pt_buf_clear(&m.link);
    }
    stop();
}

/* Ranks that do not care for SIGTERM are given their grace and no more. */
Test(agent, workers_that_stay)
{
    whole_start();
    pt_buf_clear(&m.link);
    pt_mux_send(m.mux, m.stream, "stay", 4);
    turn_until(got_link, "an answer of the rank");
    send_u32(PT_C_END_WORKERS, 50);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    cr_expect_eq(count_marked(w.mark, "ptremote-worker", NULL), 0, "ranks or their daemons are left");
    stop();
}

static long resident_kb(pid_t pid)
{
    char path[64];
    struct pt_buf text = {0};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    read_file(path, &text);
    pt_buf_append(&text, "", 1);
    const char *at = strstr((char *)text.data, "VmRSS:");
    long kb = at ? atol(at + 6) : 0;
    pt_buf_fini(&text);
    return kb;
}

static bool window_is_full(void)
{
    return m.link.len >= PT_MUX_WINDOW - 4096; /* the keys went before */
}

/* A master that does not read stops the rank, not the agent, and the agent does not hold what cannot go out.
 */
Test(agent, slow_master_stops_the_rank_only)
{
    pid_t agent = 0;
    whole_start();
    pt_buf_clear(&m.link);
    count_marked(w.mark, "ptremote-agent", &agent);
    long before = resident_kb(agent);
    m.stingy = true;
    pt_mux_send(m.mux, m.stream, "flood", 5);
    turn_until(window_is_full, "a window full of bytes");
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_PING);
    pt_put_u64(&b, 1);
    pt_frame_end(&b, mark);
    send_frame(&b);
    expect(PT_C_PONG);
    cr_expect(resident_kb(agent) - before < 16 * 1024, "the agent holds %ld KB more",
              resident_kb(agent) - before);
    stop();
}

/* --- tree and collector --- */

static void feed_push(struct pt_push *push)
{
    for (size_t i = 0; i < m.nframes; i++) {
        struct frame *f = &m.frames[i];
        struct pt_err err = PT_ERR_INIT;
        if (f->taken || f->type < PT_C_TREE || f->type > PT_C_RESEND)
            continue;
        f->taken = true;
        struct pt_reader r = {.p = f->body.data, .left = f->body.len};
        cr_assert(pt_push_control(push, f->type, &r, &err) == 0, "%s", err.msg);
    }
}

/* Not 0: this receiver goes on for a moment only when the agent has all that it takes, and so is behind. */
static pid_t held_up;

/* How long to wait for an answer now. */
static int hold_up(const struct pt_push *push)
{
    static bool on = true;
    if (!held_up)
        return 20;
    bool more = pt_push_state(push) == PT_PUSH_SENDING || pt_mux_queued(m.mux, PT_MUX_BULK);
    on = !more || (!on && pt_mux_stalled(m.mux, PT_MUX_BULK));
    kill(held_up, on ? SIGCONT : SIGSTOP);
    return 1;
}

/* Sends the project; base is what was sent before, or NULL. */
static struct pt_fanout *push_tree(const char *project, const struct pt_manifest *base)
{
    struct pt_buf control = {0}, bulk = {0};
    struct pt_err err = PT_ERR_INIT;
    int64_t until = pt_now_ms() + PATIENCE;
    struct pt_tree_spec spec = {.root = project, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *manifest = pt_manifest_scan(&spec, &err);
    cr_assert(manifest != NULL, "%s", err.msg);
    struct pt_fanout *tree = pt_fanout_create(manifest, w.dir, 1, &err);
    cr_assert(tree != NULL, "%s", err.msg);
    struct pt_push_spec what = {.fanout = tree, .base = base};
    struct pt_push *push = pt_push_create(&what, &control, &err);
    cr_assert(push != NULL, "%s", err.msg);
    send_frame(&control);
    while (pt_push_state(push) != PT_PUSH_DONE) {
        cr_assert(pt_push_pull(push, &bulk, 1u << 20, 1, &err) >= 0, "%s", err.msg);
        pt_mux_send(m.mux, PT_MUX_BULK, bulk.data, bulk.len);
        pt_buf_clear(&bulk);
        feed_push(push);
        turn(pt_now_ms() + hold_up(push));
        cr_assert(pt_now_ms() < until, "the tree did not get there");
    }
    pt_buf_fini(&bulk);
    pt_push_destroy(push);
    return tree;
}

static void expect_file(const char *workspace, const char *name, const char *text)
{
    char path[4200];
    struct pt_buf got = {0};
    snprintf(path, sizeof(path), "%s/%s", workspace, name);
    read_file(path, &got);
    cr_expect(got.len == strlen(text) && memcmp(got.data, text, got.len) == 0, "%s", name);
    pt_buf_fini(&got);
}

Test(agent, tree_then_collector)
{
    static const char json[] = "{\"out_fd\":-1}";
    char project[96], file[160];
    struct pt_ready ready;
    struct pt_buf b = {0};
    struct pt_setup setup = default_setup();
    snprintf(project, sizeof(project), "%s/project", w.dir);
    snprintf(file, sizeof(file), "%s/a file", project);
    cr_assert(mkdir(project, 0755) == 0);
    write_file(file, "content", 0640);
    run_with(&setup);
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_SURVEY));
    size_t mark = pt_frame_begin(&b, PT_C_COLLECT);
    pt_put_str(&b, json);
    pt_frame_end(&b, mark);
    send_frame(&b); /* waits for the tree */
    expect_ready(&ready);
    struct pt_fanout *tree = push_tree(project, NULL);
    expect_file(ready.workspace, "a file", "content");
    char *output = NULL;
    cr_expect_eq(WEXITSTATUS((int)expect_exited(PT_PROGRAM_COLLECTOR, &output)), 5);
    cr_expect_str_eq(output, "out\n");
    turn_until(link_closed, "the end of the collector's stream");
    cr_expect(m.link.len == strlen(json) + 1 && memcmp(m.link.data, json, strlen(json)) == 0);
    write_file(file, "another content", 0640);
    struct pt_fanout *next = push_tree(project, pt_fanout_manifest(tree));
    expect_file(ready.workspace, "a file", "another content");
    free(output);
    pt_ready_fini(&ready);
    pt_fanout_destroy(tree);
    pt_fanout_destroy(next);
    stop();
}

/* A project with one file that nothing can be packed of. */
static char *make_noise(size_t n, char project[96])
{
    char path[160], *noise = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        noise[i] = (char)(1 + random() % 255);
    noise[n] = '\0';
    snprintf(project, 96, "%s/project", w.dir);
    snprintf(path, sizeof(path), "%s/noise", project);
    cr_assert(mkdir(project, 0755) == 0);
    write_file(path, noise, 0640);
    return noise;
}

/* Pieces of an archive may be longer than the credit of the stream. */
Test(agent, large_segments)
{
    char project[96], there[4200];
    struct pt_ready ready;
    struct pt_buf got = {0};
    struct pt_setup setup = default_setup();
    size_t n = 5u << 20;
    char *noise = make_noise(n, project);
    run_with(&setup);
    expect_ready(&ready);
    struct pt_fanout *tree = push_tree(project, NULL);
    snprintf(there, sizeof(there), "%s/noise", ready.workspace);
    read_file(there, &got);
    cr_expect(got.len == n && memcmp(got.data, noise, n) == 0);
    pt_buf_fini(&got);
    free(noise);
    pt_ready_fini(&ready);
    pt_fanout_destroy(tree);
    stop();
}

static long peak_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/* The agent holds what the credit allows, however long the receiver stays behind. */
Test(agent, slow_receiver)
{
    char project[96];
    struct pt_ready ready;
    struct pt_setup setup = default_setup();
    pid_t agent = 0;
    free(make_noise(64u << 20, project));
    run_with(&setup);
    expect_ready(&ready);
    held_up = wait_marked(w.mark, "ptremote-tree");
    agent = wait_marked(w.mark, "ptremote-agent");
    long before = peak_kib(agent);
    pt_fanout_destroy(push_tree(project, NULL));
    long more = peak_kib(agent) - before;
    cr_expect(before > 0 && more < 40 << 10, "%ld KiB more", more);
    pt_ready_fini(&ready);
    stop();
}

/* What it was there for is done. */
Test(agent, receiver_is_killed_after_the_tree)
{
    char project[96];
    struct pt_ready ready;
    struct pt_setup setup = default_setup();
    struct pt_buf b = {0};
    pid_t receiver = 0;
    free(make_noise(1000, project));
    run_with(&setup);
    expect_ready(&ready);
    pt_fanout_destroy(push_tree(project, NULL));
    receiver = wait_marked(w.mark, "ptremote-tree");
    kill(receiver, SIGKILL);
    while (count_marked(w.mark, "ptremote-tree", NULL))
        turn(pt_now_ms() + 10);
    expect(PT_C_PYTHON);
    launch(1); /* a FAIL would end this test */
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_SURVEY));
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "receiver of the tree is gone") != NULL, "%s", text);
    pt_ready_fini(&ready);
    stop();
}

static bool nothing_queued(void)
{
    return pt_mux_queued(m.mux, PT_MUX_BULK) == 0 && m.out.len == 0;
}

/* What is half of a frame for the receiver must not be cut by another. */
Test(agent, tree_within_a_segment)
{
    struct pt_setup setup = default_setup();
    struct pt_ready ready;
    struct pt_buf b = {0};
    run_with(&setup);
    expect_ready(&ready);
    pt_frame_end(&b, pt_frame_begin(&b, PT_B_ARCHIVE));
    pt_put_u32(&b, 1000);
    pt_put_u8(&b, PT_B_SEGMENT);
    pt_put_u32(&b, 0);
    pt_mux_send(m.mux, PT_MUX_BULK, b.data, b.len);
    pt_buf_clear(&b);
    turn_until(nothing_queued, "the sending of half a frame");
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_SURVEY));
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(text[0] != '\0');
    pt_ready_fini(&ready);
    stop();
}
