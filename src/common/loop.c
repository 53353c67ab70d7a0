/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop.h"

#include "common/err.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct watch {
    int fd;
    short events;
    pt_fd_fn *fn;
    void *arg;
    uint64_t serial;
};

struct timer {
    uint64_t id;
    int64_t at;
    pt_call_fn *fn;
    void *arg;
};

struct post {
    struct post *next;
    pt_call_fn *fn;
    void *arg;
};

struct pt_loop {
    struct watch *watches;
    size_t nwatches, cap_watches;
    struct timer *timers;
    size_t ntimers, cap_timers;
    struct pollfd *polls;
    size_t cap_polls;
    uint64_t next_id;
    int wake;
    bool stopped;
    pthread_mutex_t lock; /* guards head and tail */
    struct post *head, **tail;
};

int64_t pt_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

double pt_wall_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct pt_loop *pt_loop_create(struct pt_err *err)
{
    struct pt_loop *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        pt_err_set(err, "event loop: %s", strerror(errno));
        return NULL;
    }
    pthread_mutex_init(&loop->lock, NULL);
    loop->tail = &loop->head;
    loop->next_id = 1;
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake < 0) {
        pt_err_set(err, "event loop: %s", strerror(errno));
        pt_loop_destroy(loop);
        return NULL;
    }
    return loop;
}

void pt_loop_destroy(struct pt_loop *loop)
{
    if (!loop)
        return;
    int saved = errno;
    while (loop->head) {
        struct post *next = loop->head->next;
        free(loop->head);
        loop->head = next;
    }
    if (loop->wake >= 0)
        close(loop->wake);
    pthread_mutex_destroy(&loop->lock);
    free(loop->watches);
    free(loop->timers);
    free(loop->polls);
    free(loop);
    errno = saved;
}

static int grow(void *vec, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    size_t n = *cap ? *cap * 2 : 16;
    while (n < need)
        n *= 2;
    void *p = realloc(*(void **)vec, n * size);
    if (!p)
        return -1;
    *(void **)vec = p;
    *cap = n;
    return 0;
}

static struct watch *find(struct pt_loop *loop, int fd)
{
    for (size_t i = 0; i < loop->nwatches; i++)
        if (loop->watches[i].fd == fd)
            return &loop->watches[i];
    return NULL;
}

int pt_loop_watch(struct pt_loop *loop, int fd, short events, pt_fd_fn *fn, void *arg)
{
    struct watch *w = find(loop, fd);
    if (!w) {
        if (grow(&loop->watches, &loop->cap_watches, loop->nwatches + 1, sizeof(*w)) < 0)
            return -1;
        w = &loop->watches[loop->nwatches++];
        w->serial = loop->next_id++;
    }
    w->fd = fd;
    w->events = events;
    w->fn = fn;
    w->arg = arg;
    return 0;
}

void pt_loop_unwatch(struct pt_loop *loop, int fd)
{
    struct watch *w = find(loop, fd);
    if (w)
        *w = loop->watches[--loop->nwatches];
}

uint64_t pt_loop_after(struct pt_loop *loop, int64_t ms, pt_call_fn *fn, void *arg)
{
    if (grow(&loop->timers, &loop->cap_timers, loop->ntimers + 1, sizeof(*loop->timers)) < 0)
        return 0;
    struct timer *t = &loop->timers[loop->ntimers++];
    *t = (struct timer){.id = loop->next_id++, .at = pt_now_ms() + ms, .fn = fn, .arg = arg};
    return t->id;
}

void pt_loop_cancel(struct pt_loop *loop, uint64_t timer)
{
    for (size_t i = 0; timer && i < loop->ntimers; i++)
        if (loop->timers[i].id == timer) {
            loop->timers[i] = loop->timers[--loop->ntimers];
            return;
        }
}

int pt_loop_post(struct pt_loop *loop, pt_call_fn *fn, void *arg)
{
    struct post *post = calloc(1, sizeof(*post));
    if (!post)
        return -1;
    post->fn = fn;
    post->arg = arg;
    pthread_mutex_lock(&loop->lock);
    *loop->tail = post;
    loop->tail = &post->next;
    pthread_mutex_unlock(&loop->lock);
    uint64_t one = 1;
    while (write(loop->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    return 0;
}

static void run_posts(struct pt_loop *loop)
{
    uint64_t drained;
    while (read(loop->wake, &drained, sizeof(drained)) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&loop->lock);
    struct post *post = loop->head;
    loop->head = NULL;
    loop->tail = &loop->head;
    pthread_mutex_unlock(&loop->lock);
    while (post) {
        struct post *next = post->next;
        post->fn(post->arg);
        free(post);
        post = next;
    }
}

static void run_timers(struct pt_loop *loop)
{
    int64_t now = pt_now_ms();
    for (;;) {
        size_t best = loop->ntimers;
        for (size_t i = 0; i < loop->ntimers; i++)
            if (loop->timers[i].at <= now &&
                (best == loop->ntimers || loop->timers[i].at < loop->timers[best].at))
                best = i;
        if (best == loop->ntimers)
            return;
        struct timer t = loop->timers[best];
        loop->timers[best] = loop->timers[--loop->ntimers];
        t.fn(t.arg);
    }
}

static int64_t next_wait(const struct pt_loop *loop, int64_t max_ms)
{
    int64_t now = pt_now_ms(), wait = max_ms;
    for (size_t i = 0; i < loop->ntimers; i++) {
        int64_t left = loop->timers[i].at > now ? loop->timers[i].at - now : 0;
        if (wait < 0 || left < wait)
            wait = left;
    }
    return wait > 3600000 ? 3600000 : wait;
}

/* A callback may unwatch or close anything: each descriptor is looked up again, with its serial. */
static void run_fds(struct pt_loop *loop, size_t n, uint64_t last_serial)
{
    for (size_t i = 1; i < n; i++) {
        if (!loop->polls[i].revents)
            continue;
        struct watch *w = find(loop, loop->polls[i].fd);
        if (w && w->serial < last_serial && w->fn && w->events)
            w->fn(w->arg, w->fd, loop->polls[i].revents);
    }
}

int pt_loop_step(struct pt_loop *loop, int64_t max_ms)
{
    if (grow(&loop->polls, &loop->cap_polls, loop->nwatches + 1, sizeof(*loop->polls)) < 0)
        return -1;
    size_t n = 0;
    loop->polls[n++] = (struct pollfd){.fd = loop->wake, .events = POLLIN};
    for (size_t i = 0; i < loop->nwatches; i++)
        if (loop->watches[i].events)
            loop->polls[n++] = (struct pollfd){.fd = loop->watches[i].fd, .events = loop->watches[i].events};
    uint64_t last_serial = loop->next_id;
    int rc = poll(loop->polls, n, (int)next_wait(loop, max_ms));
    if (rc < 0 && errno != EINTR)
        return -1;
    if (rc > 0 && loop->polls[0].revents)
        run_posts(loop);
    if (rc > 0)
        run_fds(loop, n, last_serial);
    run_timers(loop);
    return 0;
}

int pt_loop_run(struct pt_loop *loop)
{
    while (!loop->stopped)
        if (pt_loop_step(loop, -1) < 0)
            return -1;
    loop->stopped = false;
    return 0;
}

void pt_loop_stop(struct pt_loop *loop)
{
    loop->stopped = true;
}
