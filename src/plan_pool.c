/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_pool.h"

#include <stdlib.h>
#include <string.h>

#define PART_BYTES   (PT_MAX_FRAME / 2) /* a file with more is dealt in parts */
#define JOIN_BYTES   (PT_MAX_FRAME / 4) /* small files are joined up to this */
#define TEST_SECONDS 0.001              /* least a test is thought to take */

static size_t test_bytes(const struct pt_bundle_test *test)
{
    return 12 + strlen(test->nodeid);
}

static double known_seconds(const struct pt_plan_file *file)
{
    double least = TEST_SECONDS * file->n;
    return file->seconds > least ? file->seconds : least;
}

/* Should a be dealt before b? */
static bool before(const struct pt_plan_file *a, const struct pt_plan_file *b)
{
    if ((a->seconds < 0) != (b->seconds < 0))
        return a->seconds < 0;
    double wa = a->seconds < 0 ? a->n : known_seconds(a);
    double wb = b->seconds < 0 ? b->n : known_seconds(b);
    if (wa > wb || wa < wb)
        return wa > wb;
    return a->order < b->order;
}

static void heap_push(struct pt_plan_pool *pool, struct pt_plan_file *file)
{
    size_t i = pool->n++;
    while (i > 0 && before(file, pool->heap[(i - 1) / 2])) {
        pool->heap[i] = pool->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    pool->heap[i] = file;
}

static struct pt_plan_file *heap_pop(struct pt_plan_pool *pool)
{
    struct pt_plan_file *top = pool->heap[0];
    struct pt_plan_file *last = pool->heap[--pool->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= pool->n)
            break;
        if (child + 1 < pool->n && before(pool->heap[child + 1], pool->heap[child]))
            child++;
        if (!before(pool->heap[child], last))
            break;
        pool->heap[i] = pool->heap[child];
        i = child;
    }
    pool->heap[i] = last;
    return top;
}

static void count_in(struct pt_plan_pool *pool, const struct pt_plan_file *file)
{
    if (file->seconds < 0)
        pool->unknown_left += file->n;
    else
        pool->seconds_left += known_seconds(file);
}

static void count_out(struct pt_plan_pool *pool, const struct pt_plan_file *file)
{
    if (file->seconds < 0)
        pool->unknown_left -= file->n;
    else
        pool->seconds_left -= known_seconds(file);
    if (pool->n == 0)
        pool->seconds_left = 0; /* no rest of rounding */
}

/* One block holds the file, its tests and all strings. */
static struct pt_plan_file *file_create(const char *path, const struct pt_bundle_test *tests, uint32_t n)
{
    size_t head = sizeof(struct pt_plan_file) + n * sizeof(*tests);
    size_t strings = strlen(path) + 1;
    for (uint32_t i = 0; i < n; i++)
        strings += strlen(tests[i].nodeid) + 1;
    struct pt_plan_file *file = malloc(head + strings);
    if (!file)
        return NULL;
    memset(file, 0, sizeof(*file));
    file->tests = (struct pt_bundle_test *)(file + 1);
    file->n = n;
    file->path = (char *)file + head;
    char *p = stpcpy(file->path, path) + 1;
    file->bytes = 8 + strlen(path);
    for (uint32_t i = 0; i < n; i++) {
        file->tests[i] = tests[i];
        file->tests[i].nodeid = p;
        file->bytes += test_bytes(&tests[i]);
        p = stpcpy(p, tests[i].nodeid) + 1;
    }
    return file;
}

/* How many of the first tests fit one part. */
static uint32_t part_of(const struct pt_bundle_test *tests, uint32_t n)
{
    size_t bytes = 0;
    uint32_t i = 0;
    do
        bytes += test_bytes(&tests[i++]);
    while (i < n && bytes + test_bytes(&tests[i]) <= PART_BYTES);
    return i;
}

static void free_files(struct pt_plan_file *files)
{
    while (files) {
        struct pt_plan_file *next = files->next;
        free(files);
        files = next;
    }
}

static struct pt_plan_file *parts_create(const char *path, const struct pt_bundle_test *tests, uint32_t n,
                                         double seconds, size_t *count)
{
    struct pt_plan_file *first = NULL;
    struct pt_plan_file **end = &first;
    for (uint32_t done = 0; done < n;) {
        uint32_t part = part_of(tests + done, n - done);
        struct pt_plan_file *file = file_create(path, tests + done, part);
        if (!file) {
            free_files(first);
            return NULL;
        }
        file->seconds = seconds < 0 ? -1 : seconds * part / n;
        *end = file;
        end = &file->next;
        done += part;
        ++*count;
    }
    return first;
}

static int heap_reserve(struct pt_plan_pool *pool, size_t more)
{
    if (pool->cap - pool->n >= more)
        return 0;
    size_t cap = pool->cap + more > 2 * pool->cap ? pool->cap + more : 2 * pool->cap;
    struct pt_plan_file **heap = realloc(pool->heap, cap * sizeof(struct pt_plan_file *));
    if (!heap)
        return -1;
    pool->heap = heap;
    pool->cap = cap;
    return 0;
}

int pt_plan_pool_add(struct pt_plan_pool *pool, const char *path, const struct pt_bundle_test *tests,
                     uint32_t n, double seconds)
{
    size_t count = 0;
    struct pt_plan_file *parts = parts_create(path, tests, n, seconds, &count);
    if (!parts || heap_reserve(pool, count)) {
        free_files(parts);
        return -1;
    }
    for (struct pt_plan_file *file = parts; file; file = file->next) {
        file->order = pool->added++;
        file->all = pool->all;
        pool->all = file;
        if (file->seconds < 0)
            pool->unknown_tests += file->n;
        else
            pool->known_tests += file->n;
        pool->seconds += file->seconds < 0 ? 0 : known_seconds(file);
    }
    pt_plan_pool_put(pool, parts);
    return 0;
}

struct pt_plan_file *pt_plan_pool_take(struct pt_plan_pool *pool, double size)
{
    if (pool->n == 0)
        return NULL;
    struct pt_plan_file *first = heap_pop(pool);
    struct pt_plan_file *last = first;
    count_out(pool, first);
    double sum = pt_plan_pool_weight(pool, first);
    size_t bytes = first->bytes;
    while (pool->n > 0) {
        double more = pt_plan_pool_weight(pool, pool->heap[0]);
        if (sum + more / 2 > size || bytes + pool->heap[0]->bytes > JOIN_BYTES)
            break;
        last->next = heap_pop(pool);
        last = last->next;
        count_out(pool, last);
        sum += more;
        bytes += last->bytes;
    }
    last->next = NULL;
    return first;
}

/* The heap never shrinks, so there is room for what take just gave. */
void pt_plan_pool_put(struct pt_plan_pool *pool, struct pt_plan_file *files)
{
    while (files) {
        struct pt_plan_file *next = files->next;
        files->next = NULL;
        heap_push(pool, files);
        count_in(pool, files);
        files = next;
    }
}

/* What a test of an unknown file is thought to take. */
static double unit(const struct pt_plan_pool *pool)
{
    return pool->known_tests > 0 ? pool->seconds / (double)pool->known_tests : 1.0;
}

double pt_plan_pool_weight(const struct pt_plan_pool *pool, const struct pt_plan_file *file)
{
    return file->seconds < 0 ? file->n * unit(pool) : known_seconds(file);
}

double pt_plan_pool_total(const struct pt_plan_pool *pool)
{
    return pool->seconds + (double)pool->unknown_tests * unit(pool);
}

double pt_plan_pool_left(const struct pt_plan_pool *pool)
{
    return pool->seconds_left + (double)pool->unknown_left * unit(pool);
}

void pt_plan_pool_fini(struct pt_plan_pool *pool)
{
    while (pool->all) {
        struct pt_plan_file *file = pool->all;
        pool->all = file->all;
        free(file);
    }
    free(pool->heap);
    *pool = (struct pt_plan_pool){0};
}
