/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What plan.c (files and outcomes) and plan_deal.c (dealing and calling back) share. */
#include "plan.h"
#include "plan_pool.h"

struct test {
    uint32_t bundle; /* or PT_NONE: not dealt yet */
    uint8_t losses;
    bool added, told;
};

/* One attempt, as it went to a host: never freed before the plan. */
struct attempt {
    struct attempt *older;
    uint32_t host;
    struct pt_bundle bundle;
};

struct task {
    uint32_t number;
    uint32_t untold;
    bool recalled; /* asked for, no answer yet */
    bool kept;     /* asked for, came too late */
    bool held;     /* by the host of its last attempt */
    struct pt_plan_file *files;
    struct attempt *last;
    double expected;
    struct task *next, *prev; /* in a host's list while held, else in a queue */
};

struct queue {
    struct task *head, *tail;
};

struct host {
    uint32_t slots, expect;
    uint32_t runners; /* slots when it last had any */
    uint32_t held, asked;
    bool alone; /* holds a bundle that may have brought hosts down: deal nothing beside it */
    struct queue holds;
};

struct pt_plan {
    struct pt_plan_spec spec;
    struct pt_plan_pool pool;
    struct test *tests;
    uint32_t ntests, untold; /* ntests: numbers in use are below it */
    struct task **tasks;
    uint32_t ntasks, cap;
    struct queue back, suspects;
    struct host *hosts;
    uint32_t asked;
    bool collected, stopped;
};

static inline void queue_add(struct queue *q, struct task *task)
{
    task->next = NULL;
    task->prev = q->tail;
    *(q->tail ? &q->tail->next : &q->head) = task;
    q->tail = task;
}

static inline void queue_remove(struct queue *q, struct task *task)
{
    *(task->prev ? &task->prev->next : &q->head) = task->next;
    *(task->next ? &task->next->prev : &q->tail) = task->prev;
    task->next = task->prev = NULL;
}

static inline void queue_add_first(struct queue *q, struct task *task)
{
    task->prev = NULL;
    task->next = q->head;
    *(q->head ? &q->head->prev : &q->tail) = task;
    q->head = task;
}

static inline bool is_untold(const struct pt_plan *plan, const struct pt_bundle_test *test)
{
    return !plan->tests[test->test].told;
}

struct task *pt_plan_held_task(const struct pt_plan *plan, uint32_t host, uint32_t bundle);
/* Take the task from the host that holds it. */
void pt_plan_unhold(struct pt_plan *plan, struct task *task);
/* Line up a task that still has untold tests for its next attempt. */
void pt_plan_put_back(struct pt_plan *plan, struct task *task, bool first);
