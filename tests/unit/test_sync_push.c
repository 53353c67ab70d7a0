/* SPDX-License-Identifier: Apache-2.0 */
/* A push and what an agent may and may not tell it; workspaces and their locks. */
#include "sync_lab.h"

TestSuite(sync_push, .init = lab_open, .fini = lab_close);

static int tell(struct pt_push *p, uint8_t type, const void *data, size_t n)
{
    struct pt_reader r = {.p = data, .left = n};
    return pt_push_control(p, type, &r, NULL);
}

static void drain(struct pt_push *p, struct pt_buf *out)
{
    while (pt_push_pull(p, out, 4096, NULL) > 0)
        ;
}

/* here/ has a file a, a folder d and the file d/f: entries 0, 1, 2. */
static struct pt_manifest *three_entries(void)
{
    lab_text("here/a", "alpha");
    lab_text("here/d/f", "phi");
    return lab_scan();
}

static struct pt_push *offered(const struct pt_manifest *m, struct pt_buf *out)
{
    struct pt_push *p = pt_push_create(m, out, NULL);
    cr_assert_eq(tell(p, PT_C_TREE, "\1", 1), 0);
    drain(p, out);
    cr_assert_eq(pt_push_state(p), PT_PUSH_OFFERED);
    return p;
}

static const unsigned char need_all[] = {0, 0, 0, 3, 0, 0, 0, 1, 5};
static const unsigned char synced[24];

Test(sync_push, every_truncation_is_refused)
{
    struct pt_manifest *m = three_entries();
    for (size_t n = 0; n < sizeof(need_all); n++) {
        struct pt_buf out = {0};
        struct pt_push *p = offered(m, &out);
        cr_assert_eq(tell(p, PT_C_NEED, need_all, n), -1, "%zu", n);
        pt_push_destroy(p);
        pt_buf_fini(&out);
    }
    for (size_t n = 0; n < sizeof(synced); n++) {
        struct pt_buf out = {0};
        struct pt_push *p = pt_push_create(m, &out, NULL);
        cr_assert_eq(tell(p, PT_C_TREE, "\0", 1), 0);
        cr_assert_eq(tell(p, PT_C_SYNCED, synced, n), -1, "%zu", n);
        cr_assert_eq(tell(p, PT_C_SYNCED, synced, sizeof(synced)), 0);
        cr_assert_eq(pt_push_state(p), PT_PUSH_DONE);
        pt_push_destroy(p);
        pt_buf_fini(&out);
    }
    pt_manifest_destroy(m);
}

Test(sync_push, needs_that_are_none)
{
    static const unsigned char bad[][9] = {
        {0, 0, 0, 2, 0, 0, 0, 1, 1}, {0, 0, 0, 4, 0, 0, 0, 1, 1},   {0, 0, 0, 3, 0, 0, 0, 1, 2},
        {0, 0, 0, 3, 0, 0, 0, 1, 8}, {0, 0, 0, 3, 0, 0, 0, 1, 255},
    };
    struct pt_manifest *m = three_entries();
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        struct pt_buf out = {0};
        struct pt_push *p = offered(m, &out);
        cr_assert_eq(tell(p, PT_C_NEED, bad[i], sizeof(bad[i])), -1, "%zu", i);
        pt_push_destroy(p);
        pt_buf_fini(&out);
    }
    pt_manifest_destroy(m);
}

Test(sync_push, out_of_turn)
{
    struct pt_manifest *m = three_entries();
    struct pt_buf out = {0};
    struct pt_push *p = pt_push_create(m, &out, NULL);
    cr_assert_eq(tell(p, PT_C_NEED, need_all, sizeof(need_all)), -1);
    cr_assert_eq(tell(p, PT_C_SYNCED, synced, sizeof(synced)), -1);
    cr_assert_eq(tell(p, PT_C_RESEND, "\0\0\0\0", 4), -1);
    cr_assert_eq(tell(p, PT_C_TREE, "\2", 1), -1);
    cr_assert_eq(tell(p, PT_C_PONG, "", 0), -1);
    cr_assert_eq(tell(p, PT_C_TREE, "\1", 1), 0);
    cr_assert_eq(tell(p, PT_C_TREE, "\1", 1), -1);
    cr_assert_eq(tell(p, PT_C_NEED, need_all, sizeof(need_all)), -1, "the manifest has not gone yet");
    pt_push_destroy(p);
    pt_buf_fini(&out);
    pt_manifest_destroy(m);
}

Test(sync_push, nothing_needed_sends_no_archive)
{
    static const unsigned char none[] = {0, 0, 0, 3, 0, 0, 0, 1, 0};
    struct pt_manifest *m = three_entries();
    struct pt_buf out = {0};
    struct pt_push *p = offered(m, &out);
    uint64_t before = pt_push_bytes(p);
    cr_assert_eq(tell(p, PT_C_NEED, none, sizeof(none)), 0);
    drain(p, &out);
    cr_assert_eq(pt_push_bytes(p), before);
    cr_assert_eq(pt_push_fd(p), -1);
    cr_assert_eq(tell(p, PT_C_SYNCED, synced, sizeof(synced)), 0);
    pt_push_destroy(p);
    pt_buf_fini(&out);
    pt_manifest_destroy(m);
}

/* No signal may end the program when a push stops while its thread writes into the pipe. */
Test(sync_push, destroyed_while_packing)
{
    size_t n = 16u << 20;
    char *data = malloc(n);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(random() >> 7);
    lab_write("here/a", data, n);
    free(data);
    lab_text("here/d/f", "phi");
    struct pt_manifest *m = lab_scan();
    signal(SIGPIPE, SIG_DFL);
    for (int pulls = 0; pulls < 6; pulls += 3) {
        struct pt_buf out = {0};
        struct pt_push *p = offered(m, &out);
        cr_assert_eq(tell(p, PT_C_NEED, need_all, sizeof(need_all)), 0);
        for (int i = 0; i < pulls; i++) {
            struct pollfd fd = {.fd = pt_push_fd(p), .events = POLLIN};
            cr_assert_eq(poll(&fd, 1, 10000), 1);
            cr_assert_geq(pt_push_pull(p, &out, 1000, NULL), 0);
        }
        cr_assert_eq(pt_push_state(p), PT_PUSH_SENDING);
        pt_push_destroy(p);
        pt_buf_fini(&out);
    }
    pt_manifest_destroy(m);
}

Test(sync_push, frames_are_bounded)
{
    struct pt_manifest *m = three_entries();
    struct pt_buf out = {0};
    struct pt_push *p = pt_push_create(m, &out, NULL);
    cr_assert_eq(tell(p, PT_C_TREE, "\1", 1), 0);
    size_t before = out.len;
    while (pt_push_pull(p, &out, 10, NULL) > 0) {
        cr_assert_leq(out.len - before, 10 + 3 * PT_FRAME_HEAD);
        before = out.len;
    }
    pt_push_destroy(p);
    pt_buf_fini(&out);
    pt_manifest_destroy(m);
}

/* --- workspaces --- */

static char *take(const char *machine, const char *project, int *lock, struct pt_err *err)
{
    char cache[128];
    snprintf(cache, sizeof(cache), "%s/cache", lab_dir);
    struct pt_receive_options o = {.cache = cache, .machine_id = machine, .project = project};
    return pt_workspace_take(&o, lock, err);
}

Test(sync_push, keys_of_workspaces)
{
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n", "$x"};
    int lock = -1;
    struct pt_err err = PT_ERR_INIT;
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        cr_assert_null(take(bad[i], "p", &lock, &err));
        cr_assert_null(take("m", bad[i], &lock, &err));
        cr_assert(err.msg[0]);
    }
    pt_auto_free char *one = take("m1", "p-1_x.y", &lock, &err);
    cr_assert_not_null(one, "%s", err.msg);
    cr_assert_neq(fcntl(lock, F_GETFD) & FD_CLOEXEC, 0);
    close(lock);
    pt_auto_free char *other = take("m2", "p-1_x.y", &lock, &err);
    cr_assert_str_neq(one, other);
    close(lock);
}

Test(sync_push, a_lock_ends_with_its_holder)
{
    int lock = -1, ends[2];
    char byte;
    pt_auto_free char *free_one = take("m", "p", &lock, NULL);
    close(lock);
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *mine = take("m", "p", &lock, NULL);
        if (!mine || write(ends[1], "x", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(ends[1]);
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    pt_auto_free char *second = take("m", "p", &lock, NULL);
    cr_assert_str_neq(second, free_one);
    close(lock);
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    pt_auto_free char *again = take("m", "p", &lock, NULL);
    cr_assert_str_eq(again, free_one);
    close(lock);
    close(ends[0]);
}

Test(sync_push, a_cache_that_cannot_be)
{
    int lock = -1;
    struct pt_err err = PT_ERR_INIT;
    lab_text("cache", "a file");
    cr_assert_null(take("m", "p", &lock, &err));
    cr_assert_eq(err.kind, PT_ERR_INFRA);
    cr_assert_not_null(strstr(err.msg, "Not a directory"), "%s", err.msg);
    cr_assert_not_null(strstr(err.hint, "--remote-dir"));
}

Test(sync_push, a_receiver_without_a_workspace)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_receive(0, "/nonexistent/tree", &err), -1);
    cr_assert_eq(err.kind, PT_ERR_INFRA);
    cr_assert_eq(pt_receive(0, "/", &err), -1);
}
