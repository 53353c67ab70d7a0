/* SPDX-License-Identifier: Apache-2.0 */
#include "allocations.h"

#include "common/err.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 20000, BUCKETS = 4096 };

extern const char __executable_start[];

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **out, const char *format, va_list args);
char *__real_realpath(const char *path, char *resolved);
ssize_t __real_getline(char **line, size_t *n, FILE *file);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__real_fdopen(int fd, const char *mode);
FILE *__real_open_memstream(char **out, size_t *n);
DIR *__real_opendir(const char *path);
DIR *__real_fdopendir(int fd);
int __real_glob(const char *pattern, int flags, int (*failed)(const char *path, int error), glob_t *out);

/* --- what is allocated --- */

struct block {
    void *p;
    size_t size;
    long number; /* of the allocation, in its run */
    const char *caller;
    struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks[BUCKETS];
static bool counting; /* a scenario runs */

static struct block **bucket_of(const void *p)
{
    return &blocks[((uintptr_t)p >> 4) * 2654435761u % BUCKETS];
}

static void note(void *p, size_t size, long number, const char *caller)
{
    if (!p || !counting)
        return;
    struct block *b = __real_malloc(sizeof(*b));
    pthread_mutex_lock(&lock);
    struct block **at = bucket_of(p);
    *b = (struct block){p, size, number, caller, *at};
    *at = b;
    pthread_mutex_unlock(&lock);
}

/* Its size, 0 when it is none of ours. */
static size_t forget(const void *p)
{
    size_t size = 0;
    pthread_mutex_lock(&lock);
    for (struct block **at = bucket_of(p); *at; at = &(*at)->next) {
        if ((*at)->p != p)
            continue;
        struct block *b = *at;
        size = b->size;
        *at = b->next;
        __real_free(b);
        break;
    }
    pthread_mutex_unlock(&lock);
    return size;
}

/* Frees all, and describes one of them; false when there were none. */
static bool forget_all(char *what, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct block *b = blocks[i], *next; b; b = next) {
            next = b->next;
            snprintf(what, n, "number %ld, %zu bytes, at %#tx", b->number, b->size,
                     b->caller - __executable_start);
            any = true;
            __real_free(b->p); /* or a sanitizer would tell of it, too */
            __real_free(b);
        }
        blocks[i] = NULL;
    }
    return any;
}

/* --- what fails --- */

static __thread long number, fail_at; /* 0: none */
static __thread bool forever;         /* and all after it */
static __thread bool hit;
static __thread int paused;
static __thread const char *hit_at;

static bool fails(const char *caller)
{
    if (paused)
        return false;
    number++;
    if (fail_at == 0 || (forever ? number < fail_at : number != fail_at))
        return false;
    if (!hit)
        hit_at = caller;
    hit = true;
    errno = ENOMEM;
    return true;
}

#define CALLER ((const char *)__builtin_return_address(0))

/* What is not written yet is not 0, and what is freed is not what it was. */
static void *fresh(void *p, size_t n, const char *caller)
{
    if (p)
        memset(p, 0xa5, n);
    note(p, n, number, caller);
    return p;
}

static char *fresh_text(char *s, const char *caller)
{
    if (s)
        note(s, strlen(s) + 1, number, caller);
    return s;
}

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_vasprintf(char **out, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int __wrap___vasprintf_chk(char **out, int flag, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
char *__wrap_realpath(const char *path, char *resolved);
ssize_t __wrap_getline(char **line, size_t *n, FILE *file);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode);
FILE *__wrap_open_memstream(char **out, size_t *n);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_fdopendir(int fd);
int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *path, int error), glob_t *out);

void *__wrap_malloc(size_t n)
{
    return fails(CALLER) ? NULL : fresh(__real_malloc(n), n, CALLER);
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (fails(CALLER))
        return NULL;
    void *p = __real_calloc(n, size);
    note(p, n * size, number, CALLER);
    return p;
}

static void *resize(void *p, size_t n, const char *caller)
{
    if (fails(caller))
        return NULL;
    size_t before = p ? forget(p) : 0;
    char *now = __real_realloc(p, n);
    if (now && n > before && (before || !p))
        memset(now + before, 0xa5, n - before);
    note(now, n, number, caller);
    return now;
}

void *__wrap_realloc(void *p, size_t n)
{
    return resize(p, n, CALLER);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(n, size, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(p, all, CALLER);
}

void __wrap_free(void *p)
{
    int saved = errno;
    if (p) {
        size_t n = forget(p);
        if (n)
            memset(p, 0xdf, n);
    }
    __real_free(p);
    errno = saved;
}

char *__wrap_strdup(const char *s)
{
    return fails(CALLER) ? NULL : fresh_text(__real_strdup(s), CALLER);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return fails(CALLER) ? NULL : fresh_text(__real_strndup(s, n), CALLER);
}

__attribute__((format(printf, 2, 0))) static int print(char **out, const char *format, va_list args,
                                                       const char *caller)
{
    if (fails(caller))
        return -1;
    int n = __real_vasprintf(out, format, args);
    if (n >= 0)
        note(*out, (size_t)n + 1, number, caller);
    return n;
}

int __wrap_vasprintf(char **out, const char *format, va_list args)
{
    return print(out, format, args, CALLER);
}

int __wrap___vasprintf_chk(char **out, int flag, const char *format, va_list args)
{
    (void)flag;
    return print(out, format, args, CALLER);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = print(out, format, args, CALLER);
    va_end(args);
    return n;
}

int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
    va_list args;
    (void)flag;
    va_start(args, format);
    int n = print(out, format, args, CALLER);
    va_end(args);
    return n;
}

char *__wrap_realpath(const char *path, char *resolved)
{
    if (resolved)
        return __real_realpath(path, resolved);
    return fails(CALLER) ? NULL : fresh_text(__real_realpath(path, NULL), CALLER);
}

/* Its line is libc's to grow: it is counted once the caller frees it, or by a sanitizer. */
ssize_t __wrap_getline(char **line, size_t *n, FILE *file)
{
    return fails(CALLER) ? -1 : __real_getline(line, n, file);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return fails(CALLER) ? NULL : __real_fopen(path, mode);
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
    return fails(CALLER) ? NULL : __real_fdopen(fd, mode);
}

FILE *__wrap_open_memstream(char **out, size_t *n)
{
    return fails(CALLER) ? NULL : __real_open_memstream(out, n);
}

DIR *__wrap_opendir(const char *path)
{
    return fails(CALLER) ? NULL : __real_opendir(path);
}

DIR *__wrap_fdopendir(int fd)
{
    return fails(CALLER) ? NULL : __real_fdopendir(fd);
}

int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *path, int error), glob_t *out)
{
    return fails(CALLER) ? GLOB_NOSPACE : __real_glob(pattern, flags, failed, out);
}

/* --- the walk --- */

bool allocations_stop(void)
{
    fail_at = 0;
    return hit;
}

bool allocations_told(int result, const struct pt_err *err)
{
    cr_assert(result >= 0 || strstr(err->msg, "memory"), "'%s'", err->msg);
    return result >= 0;
}

void allocations_pause(void)
{
    paused++;
}

void allocations_resume(void)
{
    paused--;
}

static void tell(struct allocations_walk *walk, enum allocations_fault fault, long at, const char *leaked)
{
    walk->fault = fault;
    int n = snprintf(walk->where, sizeof(walk->where), "allocation %ld%s, at %#tx, failed", at,
                     forever ? " and all after it" : "", hit ? hit_at - __executable_start : 0);
    if (leaked[0])
        snprintf(walk->where + n, sizeof(walk->where) - (size_t)n, "; not freed: %s", leaked);
}

/* One run; false when there is nothing more to see. */
static bool run_once(struct allocations_walk *walk, allocations_fn *scenario, void *arg,
                     enum allocations_wish wish, long at)
{
    char leaked[128] = "";
    number = 0;
    hit = false;
    paused = 0;
    counting = true;
    fail_at = at;
    bool ok = scenario(arg);
    fail_at = 0;
    counting = false;
    if (forget_all(leaked, sizeof(leaked)))
        tell(walk, ALLOCATIONS_LEAK, at, leaked);
    else if (ok && hit && wish == ALLOCATIONS_TOLD)
        tell(walk, ALLOCATIONS_UNTOLD, at, "");
    else if (!ok && !hit)
        tell(walk, ALLOCATIONS_ALARM, at, "");
    return hit && walk->fault == ALLOCATIONS_FINE;
}

struct allocations_walk allocations_walk(allocations_fn *scenario, void *arg, enum allocations_wish wish)
{
    struct allocations_walk walk = {.fault = ALLOCATIONS_FINE};
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = __wrap_malloc, .free_fn = __wrap_free});
    for (long at = 1; at <= POINTS_MAX; at++) {
        forever = false;
        if (!run_once(&walk, scenario, arg, wish, at))
            return walk;
        forever = true;
        if (!run_once(&walk, scenario, arg, wish, at))
            return walk;
        walk.points = at;
    }
    walk.fault = ALLOCATIONS_ENDLESS;
    return walk;
}

void allocations_check(const char *module, allocations_fn *scenario, void *arg, enum allocations_wish wish,
                       long least)
{
    static const char *const words[] = {"", "not told of", "an error though none failed", "leaked",
                                        "without end"};
    struct allocations_walk walk = allocations_walk(scenario, arg, wish);
    cr_expect(walk.fault == ALLOCATIONS_FINE, "%s: %s: %s (addr2line -f -e PROGRAM ADDRESS)", module,
              words[walk.fault], walk.where);
    cr_expect(walk.fault != ALLOCATIONS_FINE || walk.points >= least, "%s: %ld allocations only", module,
              walk.points);
    cr_log_info("%s: %ld allocations failed in turn", module, walk.points);
}
