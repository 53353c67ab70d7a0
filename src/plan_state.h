/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the plan share: tests, tasks (a task is a bundle with all its attempts), lines of waiting
 * work, and hosts. */
#include "plan_pool.h"

struct test {
    struct pt_plan_piece *piece; /* it is the at-th test of */
    uint32_t at;
    uint32_t bundle; /* the one that owes its outcome; PT_NONE: not dealt yet */
    float seconds;   /* < 0: not known */
    uint8_t losses;  /* bundles that ended without a word of it */
    uint8_t alone;   /* hosts that died while nothing else ran there */
    bool added : 1, told : 1;
    bool killed : 1; /* given up, as it brings hosts down */
    bool joined : 1; /* may not be parted from the test before it */
    bool last : 1;   /* scratch while a bundle is laid out: it comes at its end */
    bool asked : 1;  /* scratch while an answer is read */
};

/* One attempt, as it went to a host: never freed before the plan. */
struct attempt {
    struct attempt *older;
    uint32_t host;
    uint32_t ntests;
    uint32_t begun; /* the test that began last, as far as was told, or PT_NONE */
    uint64_t gone;  /* shares of its spread whose hosts were lost, a bit each */
    struct pt_bundle bundle;
};

struct task {
    uint32_t number;
    uint32_t family; /* number of the first of those that are copies of each other */
    uint32_t untold; /* tests that it owes */
    uint32_t rank;   /* or PT_NONE */
    uint32_t host;   /* of that rank */
    uint32_t avoid;  /* a host that should not be the next, or PT_NONE */
    uint64_t place;  /* among those of its rank */
    uint32_t step;   /* or PT_NONE */
    uint64_t since;  /* when it was last heard of, in events */
    bool recalled;   /* asked for, no answer yet */
    bool kept;       /* asked for, came too late */
    bool unanswered; /* an attempt ended before the answer: as that says no number, it is not asked again */
    bool held;       /* by the host of its last attempt */
    bool firm;       /* nothing more can be stolen from this attempt */
    bool packed;     /* its rank is our choice, not the caller's */
    bool surplus;    /* its copy was quicker, and the host is to be told so */
    struct pt_plan_line *line;
    struct pt_plan_piece *pieces; /* its tests are among theirs: those with its number */
    struct attempt *last;
    struct task *twin; /* the other holder of the same tests */
    struct task *loot; /* gets what is stolen, while the answer is awaited */
    uint32_t *asked;   /* tests that were asked for */
    uint32_t nasked;
    uint64_t asked_at;                    /* event at which they were */
    bool overdue;                         /* the answer */
    double expected, left;                /* work in all, and of what is untold, about */
    uint32_t deaths[PT_PLAN_DEATHS_TOLD]; /* that it was at work in, oldest first: numbers in plan->deaths */
    uint32_t ndeaths;
    uint32_t tried;     /* of its tests, one by one, and were not it */
    struct task *trial; /* that one which is tried now, in a task of its own */
    bool accused;       /* scratch: in the death that is looked at */
    bool isolated;      /* nothing else is, or was, on the hosts of its last attempt */
    struct task *next, *prev;
    struct task *next_spread; /* held and spread as well */
};

struct queue {
    struct task *head, *tail;
};

/* Who takes work of a line, as far as hosts are known. */
enum pt_plan_way {
    PT_PLAN_WAY_UNKNOWN,
    PT_PLAN_WAY_ONE,    /* one host alone */
    PT_PLAN_WAY_SPREAD, /* several together */
    PT_PLAN_WAY_WAIT,   /* several together, once more of them are there or asked */
};

/* Who of them takes how many ranks; the leader first. */
struct pt_plan_spread {
    uint32_t n;
    struct pt_share shares[PT_SPREAD_MAX];
};

/* Work that needs the same of a host. In the plan's list those that are hard to place come first. */
struct pt_plan_line {
    uint64_t needs;
    uint32_t weight;
    uint32_t ranks; /* 1, more, or PT_PLAN_ALL */
    uint32_t host;  /* or PT_NONE */
    bool numa;
    enum pt_exclusive exclusive;
    struct queue back; /* before the pool */
    struct pt_plan_pool pool;
    uint32_t slots, places, version; /* slots of all hosts that may take it, and how many such bundles they
                                      * take at once, as of plan->version */
    enum pt_plan_way way;            /* as of way_version */
    bool asks;                       /* hosts that may come, or were not asked, could take it together */
    uint32_t way_version;
    struct pt_plan_line *next;
};

#define GROUP_RANK 0x80000000u /* above it: no slot, but a line of tests of several ranks */

/* A slot that work is pinned to. */
struct rank {
    uint32_t rank; /* may be above GROUP_RANK */
    uint32_t held;
    struct queue line;
};

struct host {
    uint32_t slots, expect;
    uint32_t runners; /* slots when it last had any */
    uint32_t most;    /* slots it was ever known to have, or to come with */
    uint32_t held, asked;
    uint32_t groups; /* of held: of several ranks */
    uint32_t queued; /* of held: pinned behind another of their slot */
    uint64_t load;   /* weights of held */
    uint32_t heavy;  /* of held: with weight above 1 */
    uint64_t labels;
    bool told_expect, never;
    bool leaves;       /* it is drained for good */
    bool judged, may;  /* whether it may run tests together with others; it may */
    bool proven;       /* a test has begun there */
    bool alone;        /* holds a bundle, or a share of one, that bears none beside it */
    uint32_t reserved; /* slots that a heavy one waits for, 0: none does */
    uint32_t bulk;     /* weight of that one: what is lighter is dealt only beside it */
    struct queue holds;
    struct rank *ranks;
    uint32_t nranks, rank_cap;
};

/* A host died over tests that had begun. */
struct death {
    uint32_t host;
    bool isolated;  /* a suspect was tried there */
    bool explained; /* by a test that was found to kill: it counts against nothing else */
};

/* Tests that no host can take, told one by one. */
struct doomed {
    struct queue tasks;
    struct pt_plan_piece *pieces; /* in no task yet */
    struct task *task;            /* of the piece; NULL: none */
    struct pt_plan_piece *at;     /* the piece and its test that come next */
    uint32_t i;
    uint32_t version; /* of what was known of hosts */
};

struct pt_plan {
    struct pt_plan_spec spec;
    struct pt_plan_piece *pieces; /* all, the newest first */
    struct pt_plan_known known;
    uint32_t npieces;
    struct test *tests;
    uint32_t ntests, untold; /* ntests: numbers in use are below it */
    struct task **tasks;
    uint32_t ntasks, cap;
    struct queue spare; /* tasks that came to nothing */
    uint64_t events;
    uint32_t version; /* of what is known of hosts */
    struct pt_plan_line *lines;
    struct pt_plan_line sequence; /* everything, in a sequential run */
    struct queue suspects;
    struct death *deaths;
    uint32_t ndeaths, deaths_cap;
    struct queue packing;
    struct host *hosts;
    uint32_t held, asked, surplus;
    struct task *spread; /* those held that several hosts run together */
    struct {
        const struct pt_plan_line *line;
        uint32_t version;
        struct pt_plan_spread hosts;
        bool on;       /* in this round */
    } gather;          /* hosts that are drained together */
    uint32_t *scratch; /* numbers of tests */
    uint32_t scratch_cap;
    struct doomed doomed;
    bool collected, stopped, packed;
    bool thefts; /* the caller asks for them: nothing is copied that can be parted */
    bool groups; /* some unit was of several ranks */
    bool hush;   /* a bundle is held that bears no other in the run */
    bool unsure; /* something may have become impossible */
};

/* --- queues --- */

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

/* other NULL: at the end. */
static inline void queue_add_before(struct queue *q, struct task *task, struct task *other)
{
    if (!other) {
        queue_add(q, task);
        return;
    }
    task->next = other;
    task->prev = other->prev;
    *(other->prev ? &other->prev->next : &q->head) = task;
    other->prev = task;
}

static inline void queue_add_first(struct queue *q, struct task *task)
{
    queue_add_before(q, task, q->head);
}

/* --- tests --- */

/* Is it untold, and the task's to tell? */
static inline bool pt_plan_owes(const struct pt_plan *plan, const struct task *task, uint32_t number)
{
    const struct test *test = &plan->tests[number];
    return !test->told && test->bundle != PT_NONE && plan->tasks[test->bundle]->family == task->family;
}
static inline uint32_t pt_plan_owed(const struct task *task)
{
    return task->untold + (task->twin ? task->twin->untold : 0);
}
double pt_plan_test_work(const struct pt_plan *plan, uint32_t test);
/* Numbers for n tests in plan->scratch; -1 no memory. */
int pt_plan_scratch(struct pt_plan *plan, uint32_t n);

/* --- tasks: plan_task.c --- */

/* A task with a number and nothing in it; NULL: no memory. */
struct task *pt_plan_task_create(struct pt_plan *plan);
/* It came to nothing. */
void pt_plan_task_spare(struct pt_plan *plan, struct task *task);
/* The tests of these pieces, of one line, are the task's from now on. */
void pt_plan_task_fill(struct pt_plan *plan, struct task *task, struct pt_plan_piece *pieces);
/* Give the host the task's next attempt; it must be in no queue. 1, or -1 when memory ends. */
int pt_plan_hold(struct pt_plan *plan, uint32_t host, struct task *task, struct pt_plan_deal *deal,
                 struct pt_err *err);
/* The same, with its ranks over these hosts. */
int pt_plan_hold_spread(struct pt_plan *plan, const struct pt_plan_spread *spread, struct task *task,
                        struct pt_plan_deal *deal, struct pt_err *err);
struct task *pt_plan_held_task(const struct pt_plan *plan, uint32_t host, uint32_t bundle);
/* Take the task from the host that holds it. */
void pt_plan_unhold(struct pt_plan *plan, struct task *task);
/* Line up a task that still owes tests for its next attempt. */
void pt_plan_put_back(struct pt_plan *plan, struct task *task, bool first);
/* The test alone, as a task that is in no queue yet; whoever owed it is told nothing. NULL: no memory. */
struct task *pt_plan_task_of_one(struct pt_plan *plan, const struct test *test);
/* Tasks that owe nothing more, by a report that came late, need no further attempt: off the queue's head. */
struct task *pt_plan_head(struct queue *q);
int pt_plan_no_memory(struct pt_err *err);

/* --- those that may have brought hosts down: plan_suspects.c, plan_alone.c --- */

/* What follows from the loss of a host. */
struct pt_plan_loss {
    uint32_t host;
    uint32_t death; /* PT_NONE: no test had begun, as far as known */
    void (*given_up)(void *arg, uint32_t test);
    void *arg;
};
/* Each held task that was at work on that host, which is lost, is accused. */
void pt_plan_accuse(struct pt_plan *plan, struct pt_plan_loss *loss);
/* That one is too: a host that it was spread over is lost. */
void pt_plan_accuse_one(struct pt_plan *plan, struct pt_plan_loss *loss, struct task *task);
/* If it was accused: a test that was tried alone too often is given up. */
void pt_plan_judge(struct pt_plan *plan, const struct pt_plan_loss *loss, struct task *task);
/* Must it wait for hosts that have nothing else to do? */
bool pt_plan_is_suspect(const struct pt_plan *plan, const struct task *task);
void pt_plan_suspect_add(struct pt_plan *plan, struct task *task);
/* Those that are suspects no longer go back to their lines. */
void pt_plan_suspects_settle(struct pt_plan *plan);
/* The next suspect that finds idle hosts, or of a bundle of them the first test, in a task that is in no
 * queue. NULL: none, or no memory, then rc is -1. */
struct task *pt_plan_suspect_take(struct pt_plan *plan, struct pt_plan_spread *hosts, int *rc);
/* As pt_plan_next. */
int pt_plan_deal_suspect(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err);
/* Hosts that have nothing else to do and can take it: one, or several together. */
bool pt_plan_find_alone(const struct pt_plan *plan, const struct task *task, struct pt_plan_spread *out);
/* One that had a host alone when that died goes to another: that is drained for it. */
void pt_plan_drain_alone(struct pt_plan *plan, const struct task *task);
int pt_plan_hold_alone(struct pt_plan *plan, const struct pt_plan_spread *hosts, struct task *task,
                       struct pt_plan_deal *deal, struct pt_err *err);

/* --- hosts that come and leave while the run goes on: plan_drain.c --- */

/* A bundle that waits in the line of a host that leaves; NULL: none. */
struct task *pt_plan_left_behind(const struct pt_plan *plan);
/* Does a host leave that still holds something? */
bool pt_plan_leaves(const struct pt_plan *plan);

/* --- lines and what has room: plan_line.c, plan_room.c --- */

static inline bool pt_plan_is_plain(const struct pt_plan_line *line)
{
    return line->weight == 1 && line->exclusive == PT_EXCLUSIVE_NOT;
}
static inline bool pt_plan_is_group(const struct pt_plan_line *line)
{
    return line->ranks != 1;
}
/* Slots of that host which a bundle of this line takes. */
static inline uint32_t pt_plan_width(const struct pt_plan_line *line, const struct host *host)
{
    return line->exclusive != PT_EXCLUSIVE_NOT ? host->slots : line->weight;
}
/* The line of units like this, new if need be; NULL: no memory. */
struct pt_plan_line *pt_plan_line_get(struct pt_plan *plan, const struct pt_plan_unit *unit);
bool pt_plan_line_waits(struct pt_plan_line *line);
/* Could any host of the run take work of this line, or several together, now or when they come? */
bool pt_plan_line_stands(const struct pt_plan *plan, struct pt_plan_line *line);
/* How much one bundle should be: near the end smaller, so that the slots end together. */
double pt_plan_line_size(struct pt_plan *plan, struct pt_plan_line *line);
/* The next of the line, in no queue; NULL: none, or no memory, then rc is -1. */
struct task *pt_plan_line_take(struct pt_plan *plan, struct pt_plan_line *line, double size, int *rc);

/* Is it up, and such that it may take work of this line at all? */
bool pt_plan_may(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t host);
/* May it have work of this line right now? ahead: how many plain bundles beyond its slots are fine. */
bool pt_plan_room(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t host, uint32_t ahead);
/* The host with the least to do for its size among those with room; avoid: not this one if another has a free
 * slot. PT_NONE: none. */
uint32_t pt_plan_room_for(struct pt_plan *plan, struct pt_plan_line *line, uint32_t avoid);
/* A host with a free slot for this line, not that one; PT_NONE: none. */
uint32_t pt_plan_idle_for(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t except);
/* Slots of all hosts on which nothing runs and nothing is meant to. */
uint32_t pt_plan_free_slots(const struct pt_plan *plan);
/* Some host has its slots kept for the first of this heavy line: nothing lighter takes what that needs. */
void pt_plan_reserve(struct pt_plan *plan, const struct pt_plan_line *line);
static inline void pt_plan_keep(struct host *host, uint32_t slots, uint32_t weight)
{
    if (host->reserved > 0)
        return;
    host->reserved = slots;
    host->bulk = weight;
}
/* Slots of the host that lighter work has. */
uint64_t pt_plan_lighter(const struct pt_plan *plan, uint32_t host, uint32_t weight);
/* Would what the host is reserved for still find room, once all that is as heavy has ended, beside this? */
bool pt_plan_spares(const struct pt_plan *plan, uint32_t host, uint32_t weight);

/* --- several hosts together: plan_across.c, plan_spread.c --- */

static inline bool pt_plan_has_labels(const struct host *host, const struct pt_plan_line *line)
{
    return (host->labels & line->needs) == line->needs;
}
/* Slots that the host has, or will have as far as known; PT_NONE: not known. */
uint32_t pt_plan_slots_to_come(const struct host *host);
/* Could one host of the run take work of this line alone, now or when it comes? */
bool pt_plan_one_stands(const struct pt_plan *plan, const struct pt_plan_line *line);
enum pt_plan_way pt_plan_way(const struct pt_plan *plan, struct pt_plan_line *line);
/* Could several hosts take it together, now or when they come and may? */
bool pt_plan_several_stand(const struct pt_plan *plan, struct pt_plan_line *line);
/* The hosts that could take it at once, as few as can be; false: there are none. alone: where nothing is. */
bool pt_plan_spread_now(const struct pt_plan *plan, const struct pt_plan_line *line, bool alone,
                        struct pt_plan_spread *out);
/* Its hosts are drained together; one line at a time. */
void pt_plan_gather(struct pt_plan *plan, const struct pt_plan_line *line);
/* Ranks that a held task has on this host, which it is spread over; 0: none. */
uint32_t pt_plan_share(const struct task *task, uint32_t host);
/* What a spread task takes of its other hosts; back: it takes it no more. */
void pt_plan_spread_load(struct pt_plan *plan, struct task *task, bool back);
/* A task with a share on this host, which is lost, and led by another: it has that share no more. news: it is
 * the first it lost, and its leader is to be told. NULL: none. */
struct task *pt_plan_break(struct pt_plan *plan, uint32_t host, bool *news);
/* As pt_plan_next, of a line that several hosts take together. */
int pt_plan_deal_spread(struct pt_plan *plan, struct pt_plan_line *line, struct pt_plan_deal *deal,
                        struct pt_err *err);

/* --- pinned: plan_rank.c --- */

struct rank *pt_plan_rank(const struct host *host, uint32_t rank); /* NULL: nothing was ever pinned to it */
struct rank *pt_plan_rank_get(struct host *host, uint32_t rank);   /* NULL: no memory */
/* Is there such a slot, or is it none? */
static inline bool pt_plan_rank_is_there(uint32_t rank, uint32_t slots)
{
    return rank < slots || rank >= GROUP_RANK;
}
/* More, or something else, is known of hosts. */
void pt_plan_hosts_changed(struct pt_plan *plan);
/* Is the task where it can run, as far as is known of the host it is pinned to? */
bool pt_plan_rank_stands(const struct pt_plan *plan, const struct task *task);
static inline void pt_plan_unpack(struct task *task)
{
    task->packed = false;
    task->step = PT_NONE;
    task->rank = PT_NONE;
    task->host = task->line->host;
}
/* Set free what we packed onto slots of this host that are gone for good. */
void pt_plan_ranks_free(struct pt_plan *plan, uint32_t host);
void pt_plan_rank_add(struct pt_plan *plan, struct task *task, bool first);
bool pt_plan_ranks_wait(const struct pt_plan *plan);
/* As pt_plan_next. */
int pt_plan_deal_pinned(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err);
/* Those that bear no other bundle in the run. */
int pt_plan_deal_pinned_run(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err);

/* --- schedules and the rest --- */

/* 1: all is packed onto slots, 0: not time yet, -1. */
int pt_plan_pack(struct pt_plan *plan, struct pt_err *err);
/* The first part of what is next in a line of several ranks, about `size` long: it waits no more. NULL: take
 * it whole. */
struct pt_plan_piece *pt_plan_split(struct pt_plan *plan, struct pt_plan_line *line, double size);
/* Could a part of a bundle be stolen for an idle slot? Its later part is in plan->scratch, n tests. */
struct task *pt_plan_victim(struct pt_plan *plan, uint32_t *n);
/* A slot that is long at one test cannot answer: others may be asked, or its bundle copied, meanwhile. */
void pt_plan_note_overdue(struct pt_plan *plan);
/* No more is awaited of what was asked of this held task; what it gave back lines up. */
void pt_plan_end_steal(struct pt_plan *plan, struct task *task);
/* Numbers of the tests that a held task owes after the last that it told, to plan->scratch, which has room
 * for its attempt: how many. The first of them runs. */
uint32_t pt_plan_untold_tail(struct pt_plan *plan, const struct task *task);
struct task *pt_plan_recallable(const struct pt_plan *plan);
int pt_plan_deal_copy(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err);
/* The task is not held any more, its twin is: that one owes the tests now. */
void pt_plan_leave_to_twin(struct pt_plan *plan, struct task *task);
