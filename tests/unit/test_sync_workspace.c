/* SPDX-License-Identifier: Apache-2.0 */
/* Workspaces and their locks. */
#include "sync_lab.h"

TestSuite(sync_workspace, .init = lab_open, .fini = lab_close);

static char *take(const char *machine, const char *project, int *lock, struct pt_err *err)
{
    char cache[128];
    snprintf(cache, sizeof(cache), "%s/cache", lab_dir);
    struct pt_receive_options o = {.cache = cache, .machine_id = machine, .project = project};
    return pt_workspace_take(&o, lock, err);
}

Test(sync_workspace, keys_of_workspaces)
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

Test(sync_workspace, a_lock_ends_with_its_holder)
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

Test(sync_workspace, a_cache_that_cannot_be)
{
    int lock = -1;
    struct pt_err err = PT_ERR_INIT;
    lab_text("cache", "a file");
    cr_assert_null(take("m", "p", &lock, &err));
    cr_assert_eq(err.kind, PT_ERR_INFRA);
    cr_assert_not_null(strstr(err.msg, "Not a directory"), "%s", err.msg);
    cr_assert_not_null(strstr(err.hint, "--remote-dir"));
}

Test(sync_workspace, a_receiver_without_a_workspace)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_receive(0, "/nonexistent/tree", "/nonexistent", &err), -1);
    cr_assert_eq(err.kind, PT_ERR_INFRA);
    cr_assert_eq(pt_receive(0, "/", "/nonexistent", &err), -1);
}
