/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The loop of a target: time passes when the target says so. One target includes it once; all of loop.h is
 * here but pt_loop_step, which is the target's if what it calls needs one. */
#include "common/loop.h"
#include "fuzz.h"

#define LOOP_TIMERS  64
#define LOOP_WATCHES 64

static struct {
    int64_t now;
    struct {
        pt_call_fn *fn;
        void *arg;
        int64_t due;
    } timers[LOOP_TIMERS];
    struct {
        int fd;
        short events;
        pt_fd_fn *fn; /* NULL: free */
        void *arg;
    } watches[LOOP_WATCHES];
} fuzz_loop;

int64_t pt_now_ms(void)
{
    return fuzz_loop.now;
}

double pt_wall_clock(void)
{
    return 1e9 + (double)fuzz_loop.now / 1e3;
}

uint64_t pt_loop_after(struct pt_loop *loop, int64_t ms, pt_call_fn *fn, void *arg)
{
    (void)loop;
    for (uint32_t i = 0; i < LOOP_TIMERS; i++)
        if (!fuzz_loop.timers[i].fn) {
            fuzz_loop.timers[i].fn = fn;
            fuzz_loop.timers[i].arg = arg;
            fuzz_loop.timers[i].due = fuzz_loop.now + ms;
            return i + 1;
        }
    return 0; /* no memory */
}

void pt_loop_cancel(struct pt_loop *loop, uint64_t timer)
{
    (void)loop;
    if (timer)
        fuzz_loop.timers[timer - 1].fn = NULL;
}

int pt_loop_watch(struct pt_loop *loop, int fd, short events, pt_fd_fn *fn, void *arg)
{
    uint32_t at = LOOP_WATCHES;
    (void)loop;
    for (uint32_t i = 0; i < LOOP_WATCHES; i++)
        if (fuzz_loop.watches[i].fn ? fuzz_loop.watches[i].fd == fd : at == LOOP_WATCHES) {
            at = i;
            if (fuzz_loop.watches[i].fn)
                break;
        }
    if (at == LOOP_WATCHES)
        return -1; /* no memory */
    fuzz_loop.watches[at].fd = fd;
    fuzz_loop.watches[at].events = events;
    fuzz_loop.watches[at].fn = fn;
    fuzz_loop.watches[at].arg = arg;
    return 0;
}

void pt_loop_unwatch(struct pt_loop *loop, int fd)
{
    (void)loop;
    for (uint32_t i = 0; i < LOOP_WATCHES; i++)
        if (fuzz_loop.watches[i].fn && fuzz_loop.watches[i].fd == fd)
            fuzz_loop.watches[i].fn = NULL;
}

/* Nothing of the input before is left. */
__attribute__((unused)) static void loop_begin(void)
{
    memset(&fuzz_loop, 0, sizeof(fuzz_loop));
    fuzz_loop.now = 1000;
}

/* What was begun was ended. */
__attribute__((unused)) static void loop_end(void)
{
    for (uint32_t i = 0; i < LOOP_TIMERS; i++)
        FUZZ_CHECK(!fuzz_loop.timers[i].fn);
    for (uint32_t i = 0; i < LOOP_WATCHES; i++)
        FUZZ_CHECK(!fuzz_loop.watches[i].fn);
}

/* Until the first timer is due. */
__attribute__((unused)) static void loop_pass(void)
{
    uint32_t first = LOOP_TIMERS;
    for (uint32_t i = 0; i < LOOP_TIMERS; i++)
        if (fuzz_loop.timers[i].fn &&
            (first == LOOP_TIMERS || fuzz_loop.timers[i].due < fuzz_loop.timers[first].due))
            first = i;
    if (first == LOOP_TIMERS)
        return;
    pt_call_fn *fn = fuzz_loop.timers[first].fn;
    fuzz_loop.timers[first].fn = NULL;
    if (fuzz_loop.timers[first].due > fuzz_loop.now)
        fuzz_loop.now = fuzz_loop.timers[first].due;
    fn(fuzz_loop.timers[first].arg);
}

/* What is there to be read or written, each once. */
__attribute__((unused)) static void loop_poll(void)
{
    for (uint32_t i = 0; i < LOOP_WATCHES; i++) {
        struct pollfd p = {.fd = fuzz_loop.watches[i].fd, .events = fuzz_loop.watches[i].events};
        if (fuzz_loop.watches[i].fn && p.events && poll(&p, 1, 0) == 1)
            fuzz_loop.watches[i].fn(fuzz_loop.watches[i].arg, p.fd, p.revents);
    }
}
