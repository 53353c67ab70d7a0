/* SPDX-License-Identifier: Apache-2.0 */
#include "resume.h"

#include "common/auto.h"
#include "common/err.h"
#include "interned.h"
#include "json.h"
#include "sync/manifest.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED 3 /* changed files that a message names */

/* Both sides of finding a test again: "0 a.py::x" is kept, "a.py::x" is asked for. */
struct pt_resume {
    int64_t run;
    char *name, *hash_seed, *seed, *below;
    struct pt_interned tests; /* "OCCURRENCE NODEID" of those that have an outcome */
    uint32_t *number;         /* by tests: its number there */
    bool *taken;
    uint32_t ntests, ntaken;
    struct pt_interned took;  /* node ids */
    struct pt_interned files; /* test files */
    char **host;              /* by number */
    uint32_t nhosts;
    struct pt_manifest *tree; /* NULL: it did not come to that */
    struct pt_interned changed;
    bool all; /* a changed file could touch any test */
};

static int no_memory(struct pt_err *err)
{
    return pt_err_set(err, "out of memory");
}

/* --- loading --- */

static char *key_of(const char *nodeid, uint32_t occurrence)
{
    char *key = NULL;
    return asprintf(&key, "%u %s", occurrence, nodeid) < 0 ? NULL : key;
}

/* A last try that stands for a rerun which the run's end took away is none: it was a rerun's row before. */
static bool has_outcome(const struct pt_ledger_report *reports, size_t n)
{
    uint32_t tried = 0;
    for (size_t i = 0; i < n; i++) {
        const struct pt_ledger_report *row = &reports[i];
        if (row->rerun)
            tried = row->try_;
        else if (row->counted > 0 && !row->extra)
            return row->try_ != tried && row->outcome != PT_OUTCOME_NOTRUN && row->outcome != PT_OUTCOME_LOST;
    }
    return false;
}

static int load_test(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *reports,
                     size_t n)
{
    struct pt_resume *r = arg;
    if (!test)
        return 0;
    r->ntests++;
    if (pt_interned_add(&r->files, test->file) == PT_NONE)
        return -1;
    if (!has_outcome(reports, n))
        return 0;
    pt_auto_free char *key = key_of(test->nodeid, test->occurrence);
    uint32_t cap = r->tests.cap, id = key ? pt_interned_add(&r->tests, key) : PT_NONE;
    if (id == PT_NONE)
        return -1;
    if (r->tests.cap != cap) {
        uint32_t *number = realloc(r->number, r->tests.cap * sizeof(*number));
        if (!number)
            return -1;
        r->number = number;
    }
    r->number[id] = test->number;
    return 0;
}

static int load_host(void *arg, const struct pt_ledger_host *host)
{
    struct pt_resume *r = arg;
    if (host->number >= PT_MAX_TESTS)
        return 0;
    if (host->number >= r->nhosts) {
        char **all = realloc(r->host, (host->number + 1) * sizeof(*all));
        if (!all)
            return -1;
        memset(all + r->nhosts, 0, (host->number + 1 - r->nhosts) * sizeof(*all));
        r->host = all;
        r->nhosts = host->number + 1;
    }
    free(r->host[host->number]);
    r->host[host->number] = strdup(host->name);
    return r->host[host->number] ? 0 : -1;
}

static int load_run(struct pt_resume *r, struct pt_ledger *ledger, struct pt_err *err)
{
    struct pt_ledger_run run;
    int rc = pt_ledger_get_run(ledger, r->run, &run, err);
    if (rc != 0)
        return rc < 0 ? -1 : pt_err_set(err, "the run to resume is not in the ledger");
    errno = 0;
    struct pt_json *how = run.how ? pt_json_parse(run.how, strlen(run.how), NULL) : NULL;
    if (run.how && !how && errno == ENOMEM)
        return no_memory(err);
    const char *seed = pt_json_text(pt_json_get(how, "seed"));
    r->name = strdup(run.name);
    r->hash_seed = strdup(run.hash_seed);
    r->seed = strdup(seed ? seed : "");
    r->below = strdup("");
    pt_json_destroy(how);
    return r->name && r->hash_seed && r->seed && r->below ? 0 : no_memory(err);
}

static int load_tree(struct pt_resume *r, struct pt_ledger *ledger, struct pt_err *err)
{
    struct pt_buf bytes = {0};
    int rc = pt_ledger_get_tree(ledger, r->run, &bytes, err);
    if (rc == 0 && !(r->tree = pt_manifest_decode(bytes.data, bytes.len, err)))
        rc = -1;
    pt_buf_fini(&bytes);
    return rc < 0 ? -1 : 0;
}

struct pt_resume *pt_resume_load(struct pt_ledger *ledger, int64_t run, struct pt_err *err)
{
    struct pt_resume *r = calloc(1, sizeof(*r));
    if (!r) {
        no_memory(err);
        return NULL;
    }
    r->run = run;
    int rc = load_run(r, ledger, err);
    if (rc == 0 && (rc = load_tree(r, ledger, err)) == 0 &&
        (rc = pt_ledger_each_host(ledger, run, load_host, r, err)) == 0)
        rc = pt_ledger_each_result(ledger, run, ~0u, load_test, r, err);
    if (rc == 0 && (r->taken = calloc(r->tests.n + 1, sizeof(*r->taken))))
        return r;
    if (err && !err->msg[0])
        no_memory(err);
    pt_resume_destroy(r);
    return NULL;
}

void pt_resume_destroy(struct pt_resume *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->nhosts; i++)
        free(r->host[i]);
    free(r->host);
    pt_interned_fini(&r->tests);
    pt_interned_fini(&r->took);
    pt_interned_fini(&r->files);
    pt_interned_fini(&r->changed);
    pt_manifest_destroy(r->tree);
    free(r->number);
    free(r->taken);
    free(r->name);
    free(r->hash_seed);
    free(r->seed);
    free(r->below);
    free(r);
}

int64_t pt_resume_run(const struct pt_resume *r)
{
    return r->run;
}

const char *pt_resume_name(const struct pt_resume *r)
{
    return r->name;
}

const char *pt_resume_hash_seed(const struct pt_resume *r)
{
    return r->hash_seed;
}

const char *pt_resume_seed(const struct pt_resume *r)
{
    return r->seed;
}

const char *pt_resume_host(const struct pt_resume *r, uint32_t host)
{
    return host < r->nhosts ? r->host[host] : NULL;
}

/* --- what changed --- */

static bool equal(const struct pt_entry *a, const struct pt_entry *b)
{
    return a->type == b->type && a->mode == b->mode && a->size == b->size &&
           memcmp(a->digest, b->digest, sizeof(a->digest)) == 0 &&
           strcmp(a->link ? a->link : "", b->link ? b->link : "") == 0;
}

static int note_change(struct pt_resume *r, const struct pt_entry *e)
{
    return e->type == PT_ENTRY_DIR || pt_interned_add(&r->changed, e->path) != PT_NONE ? 0 : -1;
}

static int compare(struct pt_resume *r, const struct pt_manifest *now)
{
    size_t n = pt_manifest_count(r->tree), m = pt_manifest_count(now);
    int rc = 0;
    for (size_t i = 0, k = 0; (i < n || k < m) && rc == 0;) {
        const struct pt_entry *a = i < n ? pt_manifest_get(r->tree, i) : NULL;
        const struct pt_entry *b = k < m ? pt_manifest_get(now, k) : NULL;
        int order = !a ? 1 : !b ? -1 : strcmp(a->path, b->path);
        if (order != 0 || !equal(a, b))
            rc = note_change(r, order > 0 ? b : a);
        i += order <= 0;
        k += order >= 0;
    }
    return rc;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* It decides about the tests of its folder only. */
static bool of_folder(const char *path)
{
    return strcmp(name_of(path), "conftest.py") == 0 || strcmp(name_of(path), "__init__.py") == 0;
}

/* The path as test files are told, or NULL when it lies elsewhere. */
static const char *as_told(const struct pt_resume *r, const char *path)
{
    size_t n = strlen(r->below);
    if (n == 0)
        return path;
    return strncmp(path, r->below, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

static bool is_test_file(const struct pt_resume *r, const char *path)
{
    const char *told = as_told(r, path), *name = name_of(path);
    return (told && pt_interned_find(&r->files, told) != PT_NONE) || fnmatch("test_*.py", name, 0) == 0 ||
           fnmatch("*_test.py", name, 0) == 0;
}

static int refuse(const struct pt_resume *r, struct pt_err *err)
{
    char names[256] = "";
    uint32_t n = r->changed.n;
    for (uint32_t i = 0; i < n && i < NAMED; i++)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%.70s", i ? ", " : "",
                 r->changed.text[i]);
    if (n > NAMED)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), " and %u more", n - NAMED);
    pt_err_set_kind(err, PT_ERR_USAGE, "--resume: the tree has changed since run %s: %s", r->name, names);
    return pt_err_hint(err, "--resume=%s,changed runs again what the changes could touch", r->name);
}

int pt_resume_tree(struct pt_resume *r, const struct pt_manifest *now, bool changed, struct pt_err *err)
{
    if (!r->tree && r->tests.n == 0)
        return 0;
    if (!r->tree) {
        pt_err_set_kind(err, PT_ERR_USAGE, "--resume: the tree of run %s is not recorded", r->name);
        return pt_err_hint(err, "start a new run");
    }
    if (pt_manifest_algorithm(r->tree) != pt_manifest_algorithm(now))
        return pt_err_set_kind(err, PT_ERR_USAGE, "--resume: run %s was made with another --digest", r->name);
    if (memcmp(pt_manifest_root(r->tree), pt_manifest_root(now), PT_DIGEST) == 0)
        return 0;
    if (compare(r, now) < 0)
        return no_memory(err);
    return changed || r->changed.n == 0 ? 0 : refuse(r, err);
}

int pt_resume_below(struct pt_resume *r, const char *below)
{
    char *copy = strdup(below);
    if (!copy)
        return -1;
    free(r->below);
    r->below = copy;
    r->all = false;
    for (uint32_t i = 0; i < r->changed.n; i++)
        r->all |= !of_folder(r->changed.text[i]) && !is_test_file(r, r->changed.text[i]);
    return 0;
}

static bool touches(const struct pt_resume *r, const char *changed, const char *path)
{
    const char *told = as_told(r, changed);
    if (!of_folder(changed))
        return told && strcmp(told, path) == 0;
    if (!told) { /* above what pytest calls its root, or beside it */
        size_t n = (size_t)(name_of(changed) - changed);
        return strncmp(changed, r->below, n) == 0;
    }
    return strncmp(told, path, (size_t)(name_of(told) - told)) == 0;
}

/* --- taking --- */

uint32_t pt_resume_take(struct pt_resume *r, const char *path, const char *nodeid, uint32_t occurrence)
{
    pt_auto_free char *key = key_of(nodeid, occurrence);
    uint32_t id = key && !r->all ? pt_interned_find(&r->tests, key) : PT_NONE;
    if (id == PT_NONE || r->taken[id])
        return PT_NONE;
    for (uint32_t i = 0; i < r->changed.n; i++)
        if (touches(r, r->changed.text[i], path))
            return PT_NONE;
    if (pt_interned_add(&r->took, nodeid) == PT_NONE)
        return PT_NONE;
    r->taken[id] = true;
    r->ntaken++;
    return r->number[id];
}

bool pt_resume_took(const struct pt_resume *r, const char *nodeid)
{
    return pt_interned_find(&r->took, nodeid) != PT_NONE;
}

uint32_t pt_resume_tests(const struct pt_resume *r)
{
    return r->ntests;
}

uint32_t pt_resume_taken(const struct pt_resume *r)
{
    return r->ntaken;
}
