/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Fail every allocation in turn: include this, then the .c files under test. With fail_at = n the n-th
 * allocation from now on fails, and only that one; fail_hit tells whether it came to that. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long fail_at;
static bool fail_hit;

static inline bool fail_now(void)
{
    if (fail_at > 0 && --fail_at == 0) {
        fail_hit = true;
        return true;
    }
    return false;
}

static inline void *fail_malloc(size_t n)
{
    return fail_now() ? NULL : malloc(n);
}

static inline void *fail_calloc(size_t n, size_t size)
{
    return fail_now() ? NULL : calloc(n, size);
}

static inline void *fail_realloc(void *p, size_t n)
{
    return fail_now() ? NULL : realloc(p, n);
}

static inline char *fail_strdup(const char *s)
{
    return fail_now() ? NULL : strdup(s);
}

__attribute__((format(printf, 2, 3))) static inline int fail_asprintf(char **out, const char *fmt, ...)
{
    va_list ap;
    if (fail_now())
        return -1;
    va_start(ap, fmt);
    int n = vasprintf(out, fmt, ap);
    va_end(ap);
    return n;
}

#define malloc  fail_malloc
#define calloc  fail_calloc
#define realloc fail_realloc
#undef strdup
#define strdup   fail_strdup
#define asprintf fail_asprintf
