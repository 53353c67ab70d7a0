/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A poll(2) loop for one thread: descriptors, timers, and posts from other threads. */
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct pt_err;
struct pt_loop;

typedef void pt_fd_fn(void *arg, int fd, short revents);
typedef void pt_call_fn(void *arg);

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t pt_now_ms(void);
/* Seconds since the epoch. */
double pt_wall_clock(void);

struct pt_loop *pt_loop_create(struct pt_err *err);
/* Does not close watched descriptors. NULL is fine. */
void pt_loop_destroy(struct pt_loop *loop);

/* Call fn when fd has any of `events` (POLLERR and POLLHUP always count unless events is 0, which keeps the
 * watch but sleeps). Watching an fd again changes it. -1 when memory ends. */
int pt_loop_watch(struct pt_loop *loop, int fd, short events, pt_fd_fn *fn, void *arg);
void pt_loop_unwatch(struct pt_loop *loop, int fd);
/* Call fn once in ms milliseconds; gives an id (never 0), 0 when memory ends. */
uint64_t pt_loop_after(struct pt_loop *loop, int64_t ms, pt_call_fn *fn, void *arg);
/* Unknown and 0 ids are ignored. */
void pt_loop_cancel(struct pt_loop *loop, uint64_t timer);
/* From any thread: run fn(arg) on the loop's thread, in order of posting. -1 when memory ends. */
int pt_loop_post(struct pt_loop *loop, pt_call_fn *fn, void *arg);
/* Wait at most max_ms (-1: no limit) for something, and dispatch it. -1 with errno when poll fails. */
int pt_loop_step(struct pt_loop *loop, int64_t max_ms);
/* pt_loop_step until pt_loop_stop. */
int pt_loop_run(struct pt_loop *loop);
void pt_loop_stop(struct pt_loop *loop);
