/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "door.h"
#include "remove_tree.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN         "20261121-101112-abcdef"
#define DEADLINE_MS 60000

static char dir[512];
static struct pt_loop *loop;
static unsigned asked;

static void make(void)
{
    struct pt_err err = PT_ERR_INIT;
    snprintf(dir, sizeof(dir), "/tmp/ptremote-door-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_not_null(loop = pt_loop_create(&err));
    asked = 0;
}

static void clean(void)
{
    dir[strlen("/tmp/ptremote-door-XXXXXX")] = '\0';
    remove_tree(dir);
    pt_loop_destroy(loop);
}

TestSuite(door, .init = make, .fini = clean, .timeout = 100);

static void echo(void *arg, const char *text, size_t n, struct pt_buf *answer)
{
    cr_expect_eq(arg, dir);
    cr_expect_eq(strlen(text), n);
    asked++;
    pt_buf_append(answer, "you said ", 9);
    pt_buf_append(answer, text, n);
}

static struct pt_door *door_of(const char *run)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_door *door = pt_door_create(loop, dir, run, echo, dir, &err);
    cr_assert_not_null(door, "%s", err.msg);
    return door;
}

/* The socket's path: there is one whose name begins with that. */
static bool path_of(const char *run, char *out, size_t size)
{
    char host[64] = "";
    gethostname(host, sizeof(host) - 1);
    snprintf(out, size, "%s/doors/%s@%.30s", dir, run, host);
    return access(out, F_OK) == 0;
}

/* --- asking, while the loop turns here --- */

struct question {
    const char *run, *text;
    size_t n;
    struct pt_buf answer;
    struct pt_err err;
    int rc;
    bool done;
};

static void is_done(void *arg)
{
    ((struct question *)arg)->done = true;
}

static void *ask_main(void *arg)
{
    struct question *q = arg;
    q->rc = pt_door_ask(dir, q->run, q->text, q->n, DEADLINE_MS, &q->answer, &q->err);
    cr_assert_eq(pt_loop_post(loop, is_done, q), 0);
    return NULL;
}

static void ask(struct question *q)
{
    pthread_t thread;
    q->err = PT_ERR_INIT;
    cr_assert_eq(pthread_create(&thread, NULL, ask_main, q), 0);
    while (!q->done)
        cr_assert_eq(pt_loop_step(loop, 1000), 0);
    pthread_join(thread, NULL);
}

static void gets_answer(const char *run)
{
    struct question q = {.run = run, .text = "hello", .n = 5};
    ask(&q);
    cr_expect_eq(q.rc, 0, "%s", q.err.msg);
    cr_expect_str_eq((const char *)q.answer.data, "you said hello");
    pt_buf_fini(&q.answer);
}

static void gets_none(const char *run, const char *words)
{
    struct question q = {.run = run, .text = "hello", .n = 5};
    ask(&q);
    cr_expect_eq(q.rc, -1);
    cr_expect_eq(q.err.kind, PT_ERR_INFRA);
    cr_expect(strstr(q.err.msg, words), "wanted %s in: %s", words, q.err.msg);
    pt_buf_fini(&q.answer);
}

/* --- tests --- */

Test(door, a_question_is_answered_by_the_run_that_is_asked)
{
    char path[1024];
    struct stat st;
    struct pt_door *door = door_of(RUN), *other = door_of("other");
    gets_answer(RUN);
    gets_answer("other");
    cr_assert(path_of(RUN, path, sizeof(path)), "%s", path);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    *strrchr(path, '/') = '\0';
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0700);
    pt_door_destroy(door);
    cr_expect_not(path_of(RUN, path, sizeof(path)));
    gets_none(RUN, "No such file");
    gets_answer("other");
    pt_door_destroy(other);
    pt_door_destroy(NULL);
    cr_expect_eq(asked, 3);
}

Test(door, the_folder_may_have_a_long_path)
{
    size_t n = strlen(dir);
    for (int i = 0; i < 2; i++) {
        dir[n++] = '/';
        memset(dir + n, 'd', 150);
        dir[n += 150] = '\0';
        cr_assert_eq(mkdir(dir, 0700), 0);
    }
    struct pt_door *door = door_of(RUN);
    gets_answer(RUN);
    pt_door_destroy(door);
}

Test(door, where_none_can_be_made_it_says_so)
{
    static const char *const runs[] = {
        "", "..", "a/b",
        "a-name-that-is-longer-than-what-an-address-has-room-for-whatever-the-name-of-this-machine-may-be"};
    struct pt_err err = PT_ERR_INIT;
    for (size_t i = 0; i < PT_COUNT(runs); i++) {
        cr_expect_null(pt_door_create(loop, dir, runs[i], echo, dir, &err), "%s", runs[i]);
        gets_none(runs[i], "cannot be asked");
    }
    struct pt_door *door = door_of(RUN);
    cr_expect_null(pt_door_create(loop, dir, RUN, echo, dir, &err));
    cr_expect(strstr(err.msg, "/doors: Address already in use"), "%s", err.msg);
    gets_answer(RUN);
    pt_door_destroy(door);
    strcat(dir, "/none");
    cr_expect_null(pt_door_create(loop, dir, RUN, echo, dir, &err));
    cr_expect_eq(err.kind, PT_ERR_INFRA);
    cr_expect(strstr(err.msg, "/none/doors: No such file"), "%s", err.msg);
}

/* A socket that nobody listens at, as old as it is said. */
static void leave_behind(const char *path, time_t age)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct timespec times[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_lt(strlen(path), sizeof(sun.sun_path));
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0, "%s", path);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(door, what_dead_masters_left_is_removed)
{
    char old[1024], fresh[1024], far[1024], live[1024], file[1024];
    struct pt_door *other = door_of("live");
    path_of("old", old, sizeof(old));
    path_of("fresh", fresh, sizeof(fresh));
    path_of("file", file, sizeof(file));
    snprintf(far, sizeof(far), "%.512s/doors/old@another-machine", dir);
    leave_behind(old, 1000);
    leave_behind(fresh, 0);
    leave_behind(far, 1000);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cr_assert(path_of("live", live, sizeof(live)));
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    utimensat(AT_FDCWD, live, times, 0);
    utimensat(AT_FDCWD, file, times, 0);
    struct pt_door *door = door_of(RUN);
    cr_expect_neq(access(old, F_OK), 0);
    cr_expect_eq(access(fresh, F_OK), 0, "it may be just being made");
    cr_expect_eq(access(far, F_OK), 0, "whether that lives is not known here");
    cr_expect_eq(access(live, F_OK), 0);
    cr_expect_eq(access(file, F_OK), 0);
    gets_answer("live");
    gets_none("fresh", "Connection refused");
    pt_door_destroy(door);
    pt_door_destroy(other);
}

/* --- those who do not ask as they should --- */

static int go_to(const char *run)
{
    char path[1024];
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    path_of(run, path, sizeof(path));
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s", path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

/* Turns the loop until the other side has closed. */
static void is_closed(int fd)
{
    char byte;
    int64_t end = pt_now_ms() + DEADLINE_MS;
    ssize_t n;
    while ((n = recv(fd, &byte, 1, 0)) < 0 && (errno == EAGAIN || errno == EINTR) && pt_now_ms() < end)
        cr_assert_eq(pt_loop_step(loop, 10), 0);
    cr_expect(n == 0 || (n < 0 && errno == ECONNRESET), "it was left open");
    close(fd);
}

Test(door, a_question_without_an_end_is_cut_off)
{
    struct pt_door *door = door_of(RUN);
    int fd = go_to(RUN);
    char piece[4096];
    memset(piece, 'x', sizeof(piece));
    for (size_t sent = 0; sent < 2 * PT_DOOR_REQUEST;) {
        ssize_t n = send(fd, piece, sizeof(piece), MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
        cr_assert_eq(pt_loop_step(loop, 0), 0);
    }
    is_closed(fd);
    gets_answer(RUN);
    cr_expect_eq(asked, 1);
    pt_door_destroy(door);
}

Test(door, who_hangs_up_or_says_nothing_does_not_hold_others_up)
{
    struct pt_door *door = door_of(RUN);
    int silent[PT_DOOR_CALLERS - 1];
    for (int i = 0; i < 20; i++) {
        int fd = go_to(RUN);
        cr_assert_eq(send(fd, "half", 4, MSG_NOSIGNAL), 4);
        cr_assert_eq(pt_loop_step(loop, 1000), 0);
        close(fd);
        for (int step = 0; step < 3; step++)
            cr_assert_eq(pt_loop_step(loop, 0), 0);
    }
    for (size_t i = 0; i < PT_COUNT(silent); i++)
        silent[i] = go_to(RUN);
    gets_answer(RUN);
    int last = go_to(RUN);
    for (int step = 0; step < 3; step++)
        cr_assert_eq(pt_loop_step(loop, 0), 0);
    is_closed(go_to(RUN));
    close(last);
    pt_door_destroy(door);
    for (size_t i = 0; i < PT_COUNT(silent); i++)
        is_closed(silent[i]);
}

Test(door, another_user_is_not_heard)
{
    char path[1024];
    if (geteuid() != 0)
        cr_skip("only root can be another user");
    struct pt_door *door = door_of(RUN);
    cr_assert(path_of(RUN, path, sizeof(path)));
    cr_assert_eq(chmod(path, 0666), 0);
    *strrchr(path, '/') = '\0';
    cr_assert_eq(chmod(path, 0755), 0);
    cr_assert_eq(chmod(dir, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct pt_buf answer = {0};
        struct pt_err err = PT_ERR_INIT;
        if (setuid(65534) < 0)
            _exit(10);
        if (pt_door_ask(dir, RUN, "hello", 5, 1000, &answer, &err) == 0 || !strstr(err.msg, "not permitted"))
            _exit(11);
        int fd = go_to(RUN);
        char byte;
        fcntl(fd, F_SETFL, 0);
        send(fd, "hello\n", 6, MSG_NOSIGNAL);
        _exit(recv(fd, &byte, 1, 0) > 0 ? 12 : 0);
    }
    int status = -1;
    while (waitpid(pid, &status, WNOHANG) == 0)
        cr_assert_eq(pt_loop_step(loop, 10), 0);
    cr_expect_eq(status, 0, "%d", WEXITSTATUS(status));
    cr_expect_eq(asked, 0);
    pt_door_destroy(door);
}
