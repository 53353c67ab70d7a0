/* SPDX-License-Identifier: Apache-2.0 */
/* However a run ends, whoever is killed and whatever is said: nothing of it is left on the host. */
#include "agent_master.h"

#include <time.h>

TestSuite(agent_end, .init = set_up, .fini = tear_down, .timeout = 100);

/* --- kill -9 --- */

Test(agent_end, receiver_is_killed)
{
    struct pt_setup setup = default_setup();
    pid_t tree = 0;
    run_with(&setup);
    tree = wait_marked(w.mark, "ptremote-tree");
    kill(tree, SIGKILL);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "receiver of the tree ended unexpectedly (signal 9)") != NULL, "%s", text);
    stop();
}

Test(agent_end, rank_dies)
{
    whole_start();
    pt_mux_send(m.mux, m.stream, "die", 3);
    uint32_t status = expect_exited(PT_PROGRAM_WORKERS, NULL);
    cr_expect(status != 0);
    cr_expect_eq(count_marked(w.mark, "ptremote-worker", NULL), 0, "ranks or their daemons are left");
    pt_buf_clear(&m.link);
    launch(2);
    stop();
}

Test(agent_end, mpirun_is_killed)
{
    pid_t mpirun = whole_start();
    find_shm();
    kill(mpirun, SIGKILL);
    uint32_t status = expect_exited(PT_PROGRAM_WORKERS, NULL);
    cr_expect(WIFSIGNALED((int)status) && WTERMSIG((int)status) == SIGKILL);
    cr_expect_eq(count_marked(w.mark, "ptremote-worker", NULL), 0, "ranks or their daemons are left");
    cr_expect_eq(count_marked(w.mark, "cat", NULL), 1, "the fork server must live");
    pt_buf_clear(&m.link);
    launch(2);
    stop();
}

static void kill_role(const char *comm)
{
    pid_t pid = 0;
    cr_assert_eq(count_marked(w.mark, comm, &pid), 1, "%s", comm);
    cr_assert(kill(pid, SIGKILL) == 0);
}

Test(agent_end, proxy_is_killed)
{
    whole_start();
    find_shm();
    kill_role("ptremote-proxy");
    turn_until(is_ended, "the end of the channel");
}

Test(agent_end, agent_is_killed)
{
    whole_start();
    find_shm();
    kill_role("ptremote-agent");
    turn_until(is_ended, "the end of the channel");
}

Test(agent_end, keeper_is_killed)
{
    whole_start();
    find_shm();
    kill_role("ptremote-keeper");
    turn_until(is_ended, "the end of the channel");
}

Test(agent_end, fork_server_is_killed)
{
    whole_start();
    kill_role("cat");
    uint32_t status = expect_exited(PT_PROGRAM_FORKSERVER, NULL);
    cr_expect(WIFSIGNALED((int)status));
    send_u32(PT_C_END_WORKERS, 0);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    pt_buf_clear(&m.link);
    launch(2);
    expect(PT_C_PYTHON);
    stop();
}

/* What a killed run left is removed by the next one. */
Test(agent_end, stale_folders_are_swept)
{
    char path[160], lock[200];
    snprintf(path, sizeof(path), "%s/ptremote-abcdef", w.runtime);
    snprintf(lock, sizeof(lock), "%s/lock", path);
    cr_assert(mkdir(path, 0700) == 0);
    write_file(lock, "", 0600);
    start_agent();
    stop();
}

/* Who is killed while a folder is made or removed leaves it without a lock; so it is also while one is being
 * made. */
Test(agent_end, folders_without_a_lock_are_swept_when_they_are_old)
{
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};
    char path[2][160], inner[200];
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof(path[i]), "%s/ptremote-%s", w.runtime, i ? "making" : "olderr");
        snprintf(inner, sizeof(inner), "%s/lock.new", path[i]);
        cr_assert(mkdir(path[i], 0700) == 0);
        write_file(inner, "", 0600);
    }
    cr_assert_eq(utimensat(AT_FDCWD, path[0], old, 0), 0);
    start_agent();
    stop();
    for (int64_t until = pt_now_ms() + PATIENCE; access(path[0], F_OK) == 0 && pt_now_ms() < until;)
        usleep(10000); /* the keeper does it */
    cr_expect(access(path[0], F_OK) < 0, "the old one is still there");
    cr_expect(access(path[1], F_OK) == 0, "it was taken from who makes it");
    unlink(inner);
    rmdir(path[1]);
}

/* --- the end --- */

Test(agent_end, channel_ends)
{
    whole_start();
    find_shm();
    close(m.p.in);
    m.p.in = -1;
    int64_t until = pt_now_ms() + PATIENCE;
    while (!m.ended && piped_wait(&m.p, false, until)) {
        char buf[4096];
        m.ended = read(m.p.out, buf, sizeof(buf)) == 0;
    }
    cr_expect(m.ended);
}

Test(agent_end, silent_master)
{
    struct pt_setup setup = default_setup();
    setup.silence_ms = 1;
    start_agent();
    send_setup(&setup);
    turn_until(is_ended, "the end of the channel");
}

/* Whoever never says who it is must not keep an agent: a connection may stay open for ever. */
Test(agent_end, master_that_says_nothing)
{
    start_agent();
    turn_until(is_ended, "the end of the channel");
}

Test(agent_end, garbage)
{
    uint32_t seed = 99;
    for (int round = 0; round < 20; round++) {
        start_agent();
        struct pt_setup setup = default_setup();
        if (round % 2)
            send_setup(&setup);
        pt_mux_pull(m.mux, &m.out, 1u << 20);
        for (size_t i = 0; i < 4096; i++)
            pt_put_u8(&m.out, (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24));
        turn_until(is_ended, "the end of the channel");
        hang_up();
    }
}

/* Control and bulk frames of any type with any bytes, well framed: refused, never a crash. */
Test(agent_end, nonsense_frames)
{
    uint32_t seed = 5;
    for (int round = 0; round < 12; round++) {
        start_agent();
        struct pt_setup setup = default_setup();
        send_setup(&setup);
        for (int i = 0; i < 30; i++) {
            struct pt_buf b = {0};
            seed = seed * 1664525u + 1013904223u;
            uint8_t type = (uint8_t)(seed >> 24) % 10;
            size_t mark = pt_frame_begin(&b, type == PT_C_STOP ? PT_C_PING : type);
            for (uint32_t k = 0; k < (seed >> 8) % 64; k++)
                pt_put_u8(&b, (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24) % (i % 2 ? 3 : 255));
            pt_frame_end(&b, mark);
            pt_mux_send(m.mux, i % 4 ? PT_MUX_CONTROL : PT_MUX_BULK, b.data, b.len);
            pt_buf_fini(&b);
        }
        pt_auto_free char *text = fail_text();
        cr_expect(text[0] != '\0');
        int status = hang_up();
        cr_expect(WIFEXITED(status) || WTERMSIG(status) == SIGPIPE);
    }
}
