/* SPDX-License-Identifier: Apache-2.0 */
#include "lastfailed.h"

#include "common/auto.h"
#include "common/err.h"
#include "json.h"
#include "output/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (64u << 20)

/* Node ids in order, without doubles: what is known, sorted for looking up. */
struct names {
    const char **item;
    size_t n;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool has(const struct names *names, const char *name)
{
    return names->n && bsearch(&name, names->item, names->n, sizeof(*names->item), by_text);
}

static bool failed(unsigned outcome)
{
    return outcome == PT_OUTCOME_FAILED || outcome == PT_OUTCOME_ERROR || outcome == PT_OUTCOME_CRASHED ||
           outcome == PT_OUTCOME_TIMEOUT;
}

static bool open_question(unsigned outcome)
{
    return outcome == PT_OUTCOME_NONE || outcome == PT_OUTCOME_NOTRUN || outcome == PT_OUTCOME_LOST;
}

/* The ids of this run that have an answer; and of these, the ones that failed. */
static int gather(const struct pt_suite *suite, const struct pt_verdict *verdict, struct names *told,
                  struct names *bad)
{
    uint32_t n = pt_suite_tests(suite);
    told->item = calloc(n ? n : 1, sizeof(*told->item));
    bad->item = calloc(n ? n : 1, sizeof(*bad->item));
    if (!told->item || !bad->item)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        unsigned outcome = pt_verdict_outcome(verdict, i);
        if (open_question(outcome))
            continue;
        told->item[told->n++] = pt_suite_get(suite, i)->nodeid;
        if (failed(outcome))
            bad->item[bad->n++] = pt_suite_get(suite, i)->nodeid;
    }
    qsort(told->item, told->n, sizeof(*told->item), by_text);
    qsort(bad->item, bad->n, sizeof(*bad->item), by_text);
    return 0;
}

/* What the file says now; *old stays NULL when there is none, or none that can be read. -1 when memory ends.
 */
static int read_old(const char *path, struct pt_json **old)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    struct pt_buf b = {0};
    ssize_t n = -1;
    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size > FILE_MAX)
        return 0;
    while (pt_buf_reserve(&b, (size_t)st.st_size + 1) && (n = read(fd, b.data + b.len, b.cap - b.len)) > 0)
        b.len += (size_t)n;
    bool whole = n == 0 && b.len, starved = b.bad;
    if (whole && !(*old = pt_json_parse(b.data, b.len, NULL)))
        starved = errno == ENOMEM;
    pt_buf_fini(&b);
    return starved ? -1 : 0;
}

static void put_all(struct pt_json_out *o, const struct pt_json *old, const struct names *told,
                    const struct names *bad)
{
    pt_json_open_object(o, NULL);
    for (const struct pt_json *v = pt_json_first(old); v; v = pt_json_next(v))
        if (pt_json_name(v) && !has(told, pt_json_name(v)))
            pt_json_put_bool(o, pt_json_name(v), true);
    for (size_t i = 0; i < bad->n; i++)
        if (i == 0 || strcmp(bad->item[i], bad->item[i - 1]) != 0)
            pt_json_put_bool(o, bad->item[i], true);
    pt_json_close(o);
}

static int write_new(const char *path, const struct pt_json *old, const struct names *told,
                     const struct names *bad, struct pt_err *err)
{
    struct pt_atomic file;
    struct pt_json_out o;
    if (pt_atomic_init(&file, path, err) < 0)
        return -1;
    errno = 0;
    pt_json_out_init(&o, file.file);
    put_all(&o, old, told, bad);
    int rc = pt_json_out_end(&o) < 0 ? pt_err_set(err, "%s: %s", path, strerror(errno ? errno : EIO))
                                     : pt_atomic_finish(&file, err);
    pt_buf_fini(&o.buf);
    pt_atomic_fini(&file);
    return rc;
}

int pt_lastfailed_update(const char *cache_dir, const struct pt_suite *suite,
                         const struct pt_verdict *verdict, struct pt_err *err)
{
    pt_auto_free char *folder = NULL, *path = NULL;
    struct names told = {0}, bad = {0};
    if (asprintf(&folder, "%s/v/cache", cache_dir) < 0 || asprintf(&path, "%s/lastfailed", folder) < 0)
        return pt_err_set(err, "out of memory");
    if (access(folder, W_OK | X_OK) < 0)
        return 0;
    int rc = gather(suite, verdict, &told, &bad) < 0 ? pt_err_set(err, "out of memory") : 0;
    if (rc == 0 && (bad.n || access(path, F_OK) == 0)) {
        struct pt_json *old = NULL;
        rc = read_old(path, &old) < 0 ? pt_err_set(err, "%s: out of memory", path)
                                      : write_new(path, old, &told, &bad, err);
        pt_json_destroy(old);
    }
    free(told.item);
    free(bad.item);
    return rc;
}
