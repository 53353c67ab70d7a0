/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk through allocations finds, in a small module with a fault planted, and that it finds nothing
 * without. */
#include "allocations.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum fault { NONE, LEAKS, UNCHECKED, HUSHED, HALF };

/* A list of names, each with a place beside it. */
struct list {
    char **name, **place;
    size_t n;
    enum fault fault;
};

static int add(struct list *l, const char *name)
{
    char *copy = NULL, *place = NULL, **names, **places;
    if (!(names = realloc(l->name, (l->n + 1) * sizeof(*names))))
        return -1;
    l->name = names;
    if (!(places = realloc(l->place, (l->n + 1) * sizeof(*places))))
        return -1;
    l->place = places;
    copy = strdup(name);
    if (l->fault == UNCHECKED)
        copy[0] = 'x';
    if (l->fault == HALF && copy)
        l->name[l->n++] = copy; /* before its place is there */
    if (!copy || asprintf(&place, "/%s", name) < 0) {
        if (l->fault != LEAKS && l->fault != HALF)
            free(copy);
        return l->fault == HUSHED ? 0 : -1;
    }
    l->n -= l->fault == HALF;
    l->name[l->n] = copy;
    l->place[l->n++] = place;
    return 0;
}

static void fini(struct list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->name[i]);
        free(l->place[i]);
    }
    free(l->name);
    free(l->place);
}

static bool use(void *arg)
{
    struct list l = {.fault = *(enum fault *)arg};
    bool ok = add(&l, "a") == 0 && add(&l, "b") == 0;
    fini(&l);
    return ok;
}

static struct allocations_walk walk(enum fault fault)
{
    return allocations_walk(use, &fault, ALLOCATIONS_TOLD);
}

Test(allocations, each_fails_once)
{
    struct allocations_walk w = walk(NONE);
    cr_assert_eq(w.fault, ALLOCATIONS_FINE, "%s", w.where);
    cr_assert_eq(w.points, 8);
}

Test(allocations, a_leak_is_found)
{
    struct allocations_walk w = walk(LEAKS);
    cr_assert_eq(w.fault, ALLOCATIONS_LEAK);
    cr_assert(strstr(w.where, "allocation 4,") && strstr(w.where, "not freed: number 3, 2 bytes"), "%s",
              w.where);
}

Test(allocations, a_failure_that_is_not_told_is_found)
{
    struct allocations_walk w = walk(HUSHED);
    cr_assert_eq(w.fault, ALLOCATIONS_UNTOLD);
    cr_assert(strstr(w.where, "allocation 3,"), "%s", w.where);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

Test(allocations, an_error_without_a_cause_is_found)
{
    cr_assert_eq(allocations_walk(never, NULL, ALLOCATIONS_TOLD).fault, ALLOCATIONS_ALARM);
    cr_assert_eq(allocations_walk(never, NULL, ALLOCATIONS_BORNE).fault, ALLOCATIONS_ALARM);
}

/* In a process of its own, as it ends that: what is not checked, and what is not whole when it is freed. */
static void crashes(enum fault fault)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(open("/dev/null", O_WRONLY), 2); /* a sanitizer tells it at length */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        _exit(walk(fault).fault == ALLOCATIONS_FINE ? 0 : 42);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 42), "%#x", status);
}

Test(allocations, a_result_that_is_not_checked_crashes)
{
    crashes(UNCHECKED);
}

Test(allocations, a_half_inserted_entry_crashes)
{
    crashes(HALF);
}
