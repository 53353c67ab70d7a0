/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a run gave: one outcome for each test, totals, and the exit code. Pure, and computed nowhere else.
 * Tests are numbered from 0 as collected. Besides tests there are entries that belong to no test (a file that
 * was not collected here). Outcomes are sums to one a test or entry; counts are how pytest would count. */
#include "common/err.h"
#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_verdict;

enum pt_exit {
    PT_EXIT_OK = 0,
    PT_EXIT_FAILED = 1,
    PT_EXIT_INTERRUPTED = 2,
    PT_EXIT_INTERNAL = 3,
    PT_EXIT_USAGE = 4,
    PT_EXIT_NO_TESTS = 5,
    PT_EXIT_INFRA = 6,
};
/* The exit code of an error that ends the program. */
enum pt_exit pt_exit_of(enum pt_err_kind kind);
/* Which of two exit codes is told: 4, 3, 2, 6, 1, 5, 0 in this order; a code that is none of these (from
 * pytest.exit) ranks with 2. */
int pt_exit_worse(int a, int b);

/* How many of a category ("passed", "failed", "error", "warnings", "deselected", any a plugin made). */
struct pt_count {
    const char *name;
    uint32_t n;
};
#define PT_MAX_CATEGORIES 64 /* more names than these are counted as "other" */

struct pt_verdict *pt_verdict_create(struct pt_err *err);
void pt_verdict_destroy(struct pt_verdict *v);

/* The number of the new test, or PT_NONE when memory ends or there are PT_MAX_TESTS. */
uint32_t pt_verdict_add_test(struct pt_verdict *v);
uint32_t pt_verdict_tests(const struct pt_verdict *v);

enum pt_counted {
    PT_COUNTED_BAD = -1,    /* no such test or outcome */
    PT_COUNTED_NOT = 0,     /* the same or a graver one is there, or it is of an older attempt */
    PT_COUNTED_FIRST = 1,   /* the test has an outcome now */
    PT_COUNTED_INSTEAD = 2, /* graver: takes the place of the one before, its counts too */
};
/* A report of a test. counts NULL: one of the outcome's own name. n 0 with counts not NULL: none. */
enum pt_counted pt_verdict_set(struct pt_verdict *v, uint32_t test, uint32_t attempt, unsigned outcome,
                               const struct pt_count *counts, size_t n);
/* More about a test that has an outcome (an error while session fixtures end): its counts are added, and the
 * outcome becomes the graver of the two. -1 when there is no such test or outcome. */
int pt_verdict_amend(struct pt_verdict *v, uint32_t test, unsigned outcome, const struct pt_count *counts,
                     size_t n);
/* The test runs again: its outcome and counts are taken back, and a later `passed` counts as "flaky" besides;
 * "rerun" is counted. -1 when it has no outcome. */
int pt_verdict_again(struct pt_verdict *v, uint32_t test);
/* The run ends before it did: that try is not counted, and the test waits for pt_verdict_set with what its
 * last try gave. -1 when it does not wait for a rerun. */
int pt_verdict_not_again(struct pt_verdict *v, uint32_t test);
/* The try it is at or ended with, from 1; whether it passed, but not at once. */
uint32_t pt_verdict_tries(const struct pt_verdict *v, uint32_t test);
bool pt_verdict_flaky(const struct pt_verdict *v, uint32_t test);
/* An entry of no test: counts as in set. */
int pt_verdict_add_entry(struct pt_verdict *v, unsigned outcome, const struct pt_count *counts, size_t n);
/* Count what is neither ("warnings", "deselected"). */
void pt_verdict_count(struct pt_verdict *v, const char *category, uint32_t n);

/* PT_OUTCOME_NONE while there is none. */
unsigned pt_verdict_outcome(const struct pt_verdict *v, uint32_t test);
/* Tests that have an outcome. */
uint32_t pt_verdict_done(const struct pt_verdict *v);
/* The next test from `from` on that has none, or PT_NONE. */
uint32_t pt_verdict_next_missing(const struct pt_verdict *v, uint32_t from);
/* Every test without outcome gets PT_OUTCOME_NOTRUN or PT_OUTCOME_LOST; returns how many. */
uint32_t pt_verdict_finish(struct pt_verdict *v, unsigned outcome);
/* Tests and entries with that outcome. */
uint32_t pt_verdict_total(const struct pt_verdict *v, unsigned outcome);
/* True when every test has exactly one outcome and the totals add up. */
bool pt_verdict_sum_ok(const struct pt_verdict *v);

/* Categories as pytest's last line orders them; i from 0, false after the last. Those of 0 are left out. */
bool pt_verdict_get_count(const struct pt_verdict *v, size_t i, struct pt_count *out);
uint32_t pt_verdict_count_of(const struct pt_verdict *v, const char *category);
/* Failed, error, crashed and timeout counts so far: what --maxfail compares. */
uint32_t pt_verdict_failures(const struct pt_verdict *v);
/* True when maxfail (0: no limit) is reached. */
bool pt_verdict_enough(const struct pt_verdict *v, uint32_t maxfail);

/* How the run ended, besides its tests. */
struct pt_end {
    bool usage, internal, interrupted;
    bool no_host; /* no host could be used */
    int exit;     /* exit code of pytest.exit(), when `exits` */
    bool exits;
};
/* After pt_verdict_finish. */
int pt_verdict_exit_code(const struct pt_verdict *v, const struct pt_end *end);
