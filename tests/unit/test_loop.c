/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct seen {
    struct pt_loop *loop;
    int calls, order[64];
    short revents;
    int fd;
};

static void note(struct seen *s, int what)
{
    if (s->calls < 64)
        s->order[s->calls] = what;
    s->calls++;
}

static void on_fd(void *arg, int fd, short revents)
{
    struct seen *s = arg;
    s->revents = revents;
    note(s, fd);
}

static void on_call(void *arg)
{
    note(arg, 0);
}

static void on_stop(void *arg)
{
    struct seen *s = arg;
    note(s, 99);
    pt_loop_stop(s->loop);
}

Test(loop, descriptor_ready)
{
    struct seen s = {.loop = pt_loop_create(NULL)};
    int p[2];
    cr_assert(pipe(p) == 0);
    pt_loop_watch(s.loop, p[0], POLLIN, on_fd, &s);
    pt_loop_step(s.loop, 0);
    cr_expect_eq(s.calls, 0);
    cr_assert(write(p[1], "x", 1) == 1);
    pt_loop_step(s.loop, 5000);
    cr_expect_eq(s.calls, 1);
    cr_expect(s.revents & POLLIN);
    pt_loop_unwatch(s.loop, p[0]);
    pt_loop_step(s.loop, 0);
    cr_expect_eq(s.calls, 1, "an unwatched descriptor is quiet");
    pt_loop_destroy(s.loop);
}

Test(loop, sleeping_watch_hears_not_even_the_end)
{
    struct seen s = {.loop = pt_loop_create(NULL)};
    int p[2];
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0);
    pt_loop_watch(s.loop, p[0], 0, on_fd, &s);
    close(p[1]);
    pt_loop_step(s.loop, 0);
    cr_expect_eq(s.calls, 0);
    pt_loop_watch(s.loop, p[0], POLLOUT, on_fd, &s);
    pt_loop_step(s.loop, 5000);
    cr_expect_eq(s.calls, 1);
    pt_loop_destroy(s.loop);
}

Test(loop, timers_run_in_their_order)
{
    struct seen s = {.loop = pt_loop_create(NULL)};
    uint64_t gone = pt_loop_after(s.loop, 1, on_call, &s);
    pt_loop_after(s.loop, 20, on_stop, &s);
    pt_loop_after(s.loop, 5, on_call, &s);
    cr_expect_neq(gone, 0);
    pt_loop_cancel(s.loop, gone);
    pt_loop_cancel(s.loop, 0);
    pt_loop_cancel(s.loop, 12345);
    cr_expect_eq(pt_loop_run(s.loop), 0);
    cr_expect_eq(s.calls, 2);
    cr_expect_eq(s.order[1], 99);
    pt_loop_destroy(s.loop);
}

/* The first callback takes the second descriptor away: it must not be called any more, nor a new one that got
 * its number in the same round. */
struct pair {
    struct pt_loop *loop;
    int a, b, calls_b, calls_new;
};

static void on_new(void *arg, int fd, short revents)
{
    struct pair *p = arg;
    (void)fd;
    (void)revents;
    p->calls_new++;
}

static void on_b(void *arg, int fd, short revents)
{
    struct pair *p = arg;
    (void)fd;
    (void)revents;
    p->calls_b++;
}

static void on_a(void *arg, int fd, short revents)
{
    struct pair *p = arg;
    int fresh[2];
    (void)revents;
    pt_loop_unwatch(p->loop, fd);
    pt_loop_unwatch(p->loop, p->b);
    close(p->b);
    cr_assert(pipe(fresh) == 0);
    cr_assert_eq(fresh[0], p->b, "the number is used again");
    pt_loop_watch(p->loop, fresh[0], POLLIN, on_new, p);
}

Test(loop, taken_away_in_the_same_round)
{
    struct pair p = {.loop = pt_loop_create(NULL)};
    int a[2], b[2];
    cr_assert(pipe(a) == 0 && pipe(b) == 0);
    p.a = a[0];
    p.b = b[0];
    cr_assert(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    pt_loop_watch(p.loop, p.a, POLLIN, on_a, &p);
    pt_loop_watch(p.loop, p.b, POLLIN, on_b, &p);
    pt_loop_step(p.loop, 5000);
    cr_expect_eq(p.calls_b, 0);
    cr_expect_eq(p.calls_new, 0);
    pt_loop_destroy(p.loop);
}

static void *post_many(void *arg)
{
    struct seen *s = arg;
    for (int i = 0; i < 1000; i++)
        pt_loop_post(s->loop, on_call, s);
    pt_loop_post(s->loop, on_stop, s);
    return NULL;
}

Test(loop, posts_of_another_thread_all_run)
{
    struct seen s = {.loop = pt_loop_create(NULL)};
    pthread_t thread;
    cr_assert(pthread_create(&thread, NULL, post_many, &s) == 0);
    cr_expect_eq(pt_loop_run(s.loop), 0);
    pthread_join(thread, NULL);
    cr_expect_eq(s.calls, 1001);
    pt_loop_destroy(s.loop);
}

Test(loop, destroyed_with_posts_and_watches)
{
    struct seen s = {.loop = pt_loop_create(NULL)};
    pt_loop_post(s.loop, on_call, &s);
    pt_loop_after(s.loop, 1000, on_call, &s);
    pt_loop_watch(s.loop, 0, POLLIN, on_fd, &s);
    pt_loop_destroy(s.loop);
    pt_loop_destroy(NULL);
    cr_expect_eq(s.calls, 0);
}

Test(loop, clocks)
{
    int64_t before = pt_now_ms();
    cr_expect(pt_wall_clock() > 1.6e9);
    cr_expect(pt_now_ms() >= before);
}
