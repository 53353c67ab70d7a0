/* SPDX-License-Identifier: Apache-2.0 */
/* What a manager may answer, and what becomes of it when there is none that does. That a real one moves
 * processes is for tests/e2e/test_logind.sh. */
#include "fail_alloc.h"

#include "common/wire.c"
#include "remote/agent/dbus.c"
#include "remote/agent/scope.c"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>

#define OK        "OK 0123456789abcdef0123456789abcdef\r\n"
#define SIGNAL    "l\4\1\1\3\0\0\0\7\0\0\0\5\0\0\0\1\1o\0\0\0\0\0abc"
#define RETURNED  "l\2\1\1\4\0\0\0\1\0\0\0\10\0\0\0\5\1u\0\1\0\0\0\0\0\0\0"
#define EXISTS    "l\3\1\1\14\0\0\0\1\0\0\0\10\0\0\0\5\1u\0\1\0\0\0\7\0\0\0exists!\0"
#define AND(text) text, sizeof(text) - 1

static int answer_of(const char *p, size_t n, struct pt_err *err)
{
    struct pt_buf in = {0};
    pt_buf_append(&in, p, n);
    int rc = pt_dbus_answer(&in, err);
    pt_buf_fini(&in);
    return rc;
}

Test(scope, what_a_manager_answers)
{
    static const struct {
        const char *text;
        size_t n;
        int rc;
        const char *why;
    } cases[] = {
        {AND(OK RETURNED), 1, ""},
        {AND(OK SIGNAL SIGNAL RETURNED), 1, ""},
        {AND(OK EXISTS), -1, "refused: exists!"},
        {AND(OK SIGNAL EXISTS), -1, "refused: exists!"},
        {AND(OK "l\3\1\1\0\0\0\0\1\0\0\0\0\0\0\0"), -1, "refused"},
        {AND(OK "l\3\1\1\5\0\0\0\1\0\0\0\0\0\0\0\377\377\377\377a"), -1, "refused"},
        {AND(OK "B\2\1\1\0\0\0\0\0\0\0\1\0\0\0\0"), -1, "said what makes no sense"},
        {AND(OK "l\2\1\1\377\377\377\377\1\0\0\0\0\0\0\0"), -1, "said what makes no sense"},
        {AND(OK "l\2\1\1\0\0\0\0\1\0\0\0\377\377\377\377"), -1, "said what makes no sense"},
        {AND("REJECTED EXTERNAL\r\n"), -1, "did not let us in"},
        {AND("\n"), -1, "did not let us in"},
        {AND(OK SIGNAL), 0, ""},
    };
    for (size_t i = 0; i < PT_COUNT(cases); i++) {
        struct pt_err err = PT_ERR_INIT;
        cr_expect_eq(answer_of(cases[i].text, cases[i].n, &err), cases[i].rc, "case %zu", i);
        cr_expect_str_eq(err.msg, cases[i].why, "case %zu", i);
        for (size_t n = 0; cases[i].rc == 1 && n < cases[i].n; n++)
            cr_expect_eq(answer_of(cases[i].text, n, &err), 0, "case %zu cut at %zu", i, n);
    }
}

Test(scope, a_manager_that_talks_without_end_is_left)
{
    struct pt_buf in = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_buf_append(&in, OK, strlen(OK));
    while (in.len <= PT_DBUS_MAX)
        pt_buf_append(&in, SIGNAL "\0\0\0\0\0", sizeof(SIGNAL) - 1);
    cr_expect_eq(pt_dbus_answer(&in, &err), -1);
    cr_expect_str_eq(err.msg, "said too much");
    pt_buf_fini(&in);
}

Test(scope, a_call_is_whole_or_bad)
{
    uint32_t pids[] = {1, 2};
    struct pt_buf whole = {0};
    pt_dbus_start_scope(&whole, "a.scope", pids, 2);
    cr_assert_not(whole.bad);
    cr_expect_eq(u32_at(whole.data + 4) + (HEAD + u32_at(whole.data + 12) + 7) / 8 * 8, whole.len);
    pt_buf_fini(&whole);
    for (long n = 1;; n++) {
        struct pt_buf b = {0};
        fail_hit = false;
        fail_at = n;
        pt_dbus_start_scope(&b, "a.scope", pids, 2);
        fail_at = 0;
        cr_expect_eq(b.bad, fail_hit, "allocation %ld", n);
        pt_buf_fini(&b);
        if (!fail_hit)
            break;
    }
}

/* --- a manager, by what it does --- */

static char folder[] = "/tmp/pt-scope.XXXXXX", path[64];

static int listener(int queue)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    cr_assert_not_null(mkdtemp(strcpy(folder, "/tmp/pt-scope.XXXXXX")));
    snprintf(path, sizeof(path), "%s/private", folder);
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, queue) == 0);
    return fd;
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static const char *enter(void)
{
    static struct pt_err err;
    uint32_t self = (uint32_t)getpid();
    err = PT_ERR_INIT;
    cr_expect_eq(pt_scope_enter(path, "ptremote-test.scope", &self, 1, &err), -1);
    return err.msg;
}

/* Who is asked says that, and then waits or goes. */
static const char *told(const char *text, size_t n, bool waits)
{
    int fd = listener(1);
    pid_t pid = fork();
    if (pid == 0) {
        char call[4096];
        int peer = accept(fd, NULL, NULL);
        if (read(peer, call, sizeof(call)) > 0 && write(peer, text, n) == (ssize_t)n && waits)
            pause();
        shutdown(peer, SHUT_RDWR);
        _exit(0);
    }
    const char *why = enter();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fd);
    remove_folder();
    return why;
}

Test(scope, a_manager_that_does_nothing)
{
    cr_expect_str_eq(told(AND(OK EXISTS), true), "refused: exists!");
    cr_expect_str_eq(told(AND(OK), false), "broke off");
    cr_expect_str_eq(told(AND(OK SIGNAL), true), "did not answer within 1.5 s");
    cr_expect_str_eq(told(AND(OK RETURNED), true), "took the processes, but did not move them within 1.5 s");
}

Test(scope, no_manager)
{
    snprintf(path, sizeof(path), "/nonexistent/private");
    cr_expect_str_eq(enter(), "No such file or directory");
    close(listener(1));
    cr_expect_str_eq(enter(), "Connection refused");
    remove_folder();
}

Test(scope, a_manager_whose_queue_is_full)
{
    int fd = listener(0), first = reach(path, NULL);
    cr_assert_geq(first, 0);
    cr_expect_str_eq(enter(), "did not answer within 1.5 s");
    close(first);
    close(fd);
    remove_folder();
}
