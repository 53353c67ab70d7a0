/* SPDX-License-Identifier: Apache-2.0 */
#include "history_inside.h"

#include "common/auto.h"
#include "common/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODULES_MAX   64 /* that are remembered of one file */
#define MODULE_LENGTH 80 /* of one name */
#define PRELOAD_MAX   32

/* --- imports --- */

int pt_history_load_import(struct pt_history *h, const char *host, const char *file, double seconds,
                           const char *modules, int64_t run)
{
    uint32_t at = *host ? pt_history_host_add(h, host) : PT_NONE;
    uint32_t i = pt_history_file_add(h, file);
    char *copy = strdup(modules);
    if (i == PT_NONE || !copy || (*host && at == PT_NONE)) {
        free(copy);
        return -1;
    }
    struct pt_history_source *f = &h->file[i];
    free(f->modules);
    f->modules = copy;
    f->import = seconds;
    f->import_host = at;
    f->run = run;
    h->total += fmax(pt_history_scaled(h, at, seconds), 0);
    return 0;
}

double pt_history_import(const struct pt_history *h, const char *file)
{
    uint32_t i = pt_interned_find(&h->files, file);
    return i == PT_NONE ? -1 : pt_history_scaled(h, h->file[i].import_host, h->file[i].import);
}

/* A name as Python has it: letters, digits, '_', '.', and what is not ASCII. */
static bool is_module(const char *s, size_t n)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    if (n == 0 || n > MODULE_LENGTH || s[0] == '.' || (s[0] >= '0' && s[0] <= '9'))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((unsigned char)s[i] & 0x80) && !strchr(ok, s[i]))
            return false;
    return true;
}

/* The next name of a list: its length, *at moves behind it; 0 at the end. */
static size_t next_module(const char **at, const char **name)
{
    while (**at == ',')
        ++*at;
    *name = *at;
    *at += strcspn(*at, ",");
    return (size_t)(*at - *name);
}

static bool has_module(const char *list, const char *name, size_t n, size_t *count)
{
    const char *one;
    size_t len;
    bool has = false;
    *count = 0;
    for (const char *at = list ? list : ""; (len = next_module(&at, &one)) > 0; ++*count)
        has |= len == n && memcmp(one, name, n) == 0;
    return has;
}

static int add_modules(struct pt_history_source *f, const char *const *modules, size_t n)
{
    size_t count;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(modules[i]), before = f->modules ? strlen(f->modules) : 0;
        if (!is_module(modules[i], len) || has_module(f->modules, modules[i], len, &count) ||
            count >= MODULES_MAX)
            continue;
        char *more = realloc(f->modules, before + len + 2);
        if (!more)
            return -1;
        f->modules = more;
        if (before)
            more[before++] = ',';
        memcpy(more + before, modules[i], len + 1);
        f->changed = true;
    }
    return 0;
}

/* A session that already has the file's modules imports it quicker, and that is what one more part of the
 * file costs: the least of a run counts, and an earlier, smaller one is given up slowly. */
static void put_import(struct pt_history *h, struct pt_history_source *f, uint32_t host, double seconds)
{
    double now = pt_history_scaled(h, host, seconds);
    double before = pt_history_scaled(h, f->import_host, f->import);
    if (before >= 0 && now > before)
        now = f->seen ? before : (now + before) / 2;
    f->seen = true;
    if (before >= 0 && pt_history_near(now, before))
        return;
    f->import = now / h->host[host].speed;
    f->import_host = host;
    f->changed = true;
}

int pt_history_imported(struct pt_history *h, const char *host, const char *file, double seconds,
                        const char *const *modules, size_t nmodules)
{
    uint32_t at = pt_history_host_add(h, host), i = pt_history_file_add(h, file);
    if (at == PT_NONE || i == PT_NONE)
        return -1;
    if (seconds >= 0 && seconds < 1e9)
        put_import(h, &h->file[i], at, seconds);
    return add_modules(&h->file[i], modules, nmodules);
}

/* --- what to preload --- */

struct module {
    const char *name;
    size_t n;
    uint32_t files;
};

static int by_name(const void *va, const void *vb)
{
    const struct module *a = va, *b = vb;
    int rc = memcmp(a->name, b->name, a->n < b->n ? a->n : b->n);
    return rc ? rc : (a->n > b->n) - (a->n < b->n);
}

static int by_files(const void *va, const void *vb)
{
    const struct module *a = va, *b = vb;
    return a->files != b->files ? (a->files < b->files ? 1 : -1) : by_name(va, vb);
}

/* Equal names become one that counts; the number left. */
static size_t merge(struct module *m, size_t n)
{
    size_t out = 0;
    qsort(m, n, sizeof(*m), by_name);
    for (size_t i = 0; i < n; i++)
        if (out && by_name(&m[out - 1], &m[i]) == 0)
            m[out - 1].files++;
        else
            m[out++] = m[i];
    qsort(m, out, sizeof(*m), by_files);
    return out;
}

char *pt_history_preload(const struct pt_history *h)
{
    struct pt_buf all = {0}, out = {0};
    struct module m = {.files = 1};
    for (uint32_t i = 0; i < h->files.n; i++)
        for (const char *at = h->file[i].modules ? h->file[i].modules : "";
             (m.n = next_module(&at, &m.name)) > 0;)
            if (is_module(m.name, m.n))
                pt_buf_append(&all, &m, sizeof(m));
    struct module *list = (void *)all.data;
    size_t n = all.len ? merge(list, all.len / sizeof(m)) : 0;
    for (size_t i = 0; i < n && i < PRELOAD_MAX; i++) {
        if (list[i].files < 2 || list[i].files * 2 < list[0].files)
            break;
        if (i)
            pt_buf_append(&out, ",", 1);
        pt_buf_append(&out, list[i].name, list[i].n);
    }
    pt_buf_append(&out, "", 1);
    bool bad = all.bad || out.bad;
    pt_buf_fini(&all);
    if (bad)
        pt_buf_fini(&out);
    return (char *)out.data;
}

/* --- whole files --- */

int pt_history_assume(struct pt_history *h, const char *file, const struct pt_history_file *what)
{
    uint32_t i = pt_history_file_add(h, file);
    if (i == PT_NONE)
        return -1;
    struct pt_history_source *f = &h->file[i];
    if (f->has_tests || f->assumed)
        return 0;
    f->assumed = true;
    f->said = (struct pt_history_file){.execution = fmax(what->execution, 0),
                                       .setup = fmax(what->setup, 0),
                                       .teardown = fmax(what->teardown, 0),
                                       .count = what->count};
    h->total += f->said.execution + f->said.setup + f->said.teardown;
    return 0;
}

bool pt_history_assumed(const struct pt_history *h, const char *file, struct pt_history_file *out)
{
    uint32_t i = pt_interned_find(&h->files, file);
    if (i == PT_NONE || !h->file[i].assumed || h->file[i].has_tests)
        return false;
    *out = h->file[i].said;
    return true;
}

double pt_history_median(double *values, size_t n)
{
    /* Quickselect: all that is left of k is not above it. */
    size_t lo = 0, hi = n - 1, k = n / 2;
    while (n && lo < hi) {
        double pivot = values[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i <= j) {
                double t = values[i];
                values[i++] = values[j];
                values[j] = t;
                if (j-- == 0)
                    break;
            }
        }
        if (k <= j && j < hi)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return n ? values[k] : 0;
}

/* What the largest of these has above the median of the others: paid by one test for all. */
static double above_median(double *values, size_t n)
{
    size_t at = 0;
    if (n < 2)
        return 0;
    for (size_t i = 1; i < n; i++)
        at = values[i] > values[at] ? i : at;
    double most = values[at];
    values[at] = values[n - 1];
    return most - pt_history_median(values, n - 1);
}

/* order: the tests of one file. */
static void sum_up(const struct pt_history *h, const uint32_t *order, size_t n, double *setups,
                   double *teardowns, struct pt_history_file *out)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        const struct pt_history_entry *e = &h->tests[order[i]];
        setups[i] = fmax(pt_history_scaled(h, e->host, e->setup), 0);
        teardowns[i] = fmax(pt_history_scaled(h, e->host, e->teardown), 0);
        total += setups[i] + teardowns[i] + fmax(pt_history_scaled(h, e->host, e->call), 0);
    }
    const struct pt_history_source *f = &h->file[h->tests[order[0]].file];
    double once = above_median(setups, n), end = above_median(teardowns, n);
    *out = (struct pt_history_file){.execution = fmax(total - once - end, 0),
                                    .setup = once + fmax(pt_history_scaled(h, f->import_host, f->import), 0),
                                    .teardown = end,
                                    .count = (uint32_t)n};
}

static int by_path(const void *va, const void *vb, void *arg)
{
    const struct pt_history *h = arg;
    const uint32_t *a = va, *b = vb;
    uint32_t x = h->tests[*a].file, y = h->tests[*b].file;
    return x == y ? (*a > *b) - (*a < *b) : strcmp(h->files.text[x], h->files.text[y]);
}

int pt_history_each_file(const struct pt_history *h, pt_history_file_fn *fn, void *arg)
{
    size_t n = h->ntests, end;
    pt_auto_free uint32_t *order = malloc((n + 1) * sizeof(*order));
    pt_auto_free double *setups = malloc((n + 1) * sizeof(*setups));
    pt_auto_free double *teardowns = malloc((n + 1) * sizeof(*teardowns));
    int rc = 0;
    if (!order || !setups || !teardowns)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof(*order), by_path, (void *)(uintptr_t)h);
    for (size_t i = 0; i < n && rc == 0; i = end) {
        uint32_t file = h->tests[order[i]].file;
        struct pt_history_file what;
        for (end = i + 1; end < n && h->tests[order[end]].file == file;)
            end++;
        sum_up(h, order + i, end - i, setups, teardowns, &what);
        rc = fn(arg, h->files.text[file], &what);
    }
    return rc;
}
