/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Allocations that fail in turn, and are counted. The linker has all our code call these instead of libc's
 * (--wrap, in tests/CMakeLists.txt), so they serve a module as it is built for users, and what it calls.
 * cJSON comes here by its hooks. Other libraries allocate for themselves. */
#include <stdbool.h>
#include <stddef.h>

/* Uses a module from its first object to its last, and frees all of it. Gives true when nothing went wrong,
 * false when the module told of an error; that it told so properly, the scenario asserts itself. */
typedef bool allocations_fn(void *arg);

enum allocations_wish {
    ALLOCATIONS_TOLD,  /* a failed allocation is told of: the scenario gives false */
    ALLOCATIONS_BORNE, /* or made up for: it may give true as well */
};

enum allocations_fault {
    ALLOCATIONS_FINE,
    ALLOCATIONS_UNTOLD,  /* one failed, and the scenario gave true */
    ALLOCATIONS_ALARM,   /* none failed, and it gave false */
    ALLOCATIONS_LEAK,    /* something was not freed */
    ALLOCATIONS_ENDLESS, /* too many to walk */
};

struct allocations_walk {
    long points; /* allocations that were made to fail, each once alone and once with all after it */
    enum allocations_fault fault; /* the first that was found */
    char where[256];              /* which allocation, and what addr2line may be asked */
};

/* Runs the scenario with its 1st, 2nd ... nth allocation failing, alone and with all that follow, until none
 * fails. */
struct allocations_walk allocations_walk(allocations_fn *scenario, void *arg, enum allocations_wish wish);

/* The same, asserted: no fault, and at least `least` allocations. */
void allocations_check(const char *module, allocations_fn *scenario, void *arg, enum allocations_wish wish,
                       long least);
/* What most modules promise: told, every time. */
#define ALLOCATIONS_CHECK(module, scenario, least)                                                           \
    allocations_check(module, scenario, NULL, ALLOCATIONS_TOLD, least)

struct pt_err;
/* In a scenario: did a call that gave this result go well? If not, asserts that its error speaks of memory.
 */
bool allocations_told(int result, const struct pt_err *err);
/* In a scenario: from here on none fails, to see what state was left. True when one had failed by then. */
bool allocations_stop(void);
/* What is allocated here is the scenario's own and does not fail; pairs, of which the second goes on
 * counting. */
void allocations_pause(void);
void allocations_resume(void);
