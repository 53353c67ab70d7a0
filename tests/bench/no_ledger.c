/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger that stores nothing and says that it did, in the place of src/ledger*.c: the program that
 * tests/bench/ledger compares with to learn what the ledger costs. Never installed: its runs cannot be shown,
 * resumed or told in files. */
#include "common/err.h"
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct pt_ledger {
    bool dirty;
};

int pt_ledger_folder(const char *state_dir, struct pt_err *err)
{
    if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
        return pt_err_set(err, "%s: %s", state_dir, strerror(errno));
    return 0;
}

struct pt_ledger *pt_ledger_open(const char *state_dir, struct pt_err *err)
{
    struct pt_ledger *l = pt_ledger_folder(state_dir, err) < 0 ? NULL : calloc(1, sizeof(*l));
    return l;
}

struct pt_ledger *pt_ledger_look(const char *state_dir, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_USAGE, "no runs are recorded in %s", state_dir);
    return NULL;
}

void pt_ledger_continue(struct pt_ledger *l, int64_t run)
{
    (void)l;
    (void)run;
}

void pt_ledger_close(struct pt_ledger *l)
{
    free(l);
}

const char *pt_ledger_note(const struct pt_ledger *l)
{
    (void)l;
    return "";
}

int pt_ledger_commit(struct pt_ledger *l, struct pt_err *err)
{
    (void)err;
    l->dirty = false;
    return 0;
}

bool pt_ledger_dirty(const struct pt_ledger *l)
{
    return l->dirty;
}

int pt_ledger_begin_run(struct pt_ledger *l, struct pt_ledger_run *run, struct pt_err *err)
{
    (void)l, (void)err;
    run->id = 1;
    return 0;
}

int pt_ledger_can_resume(struct pt_ledger *l, const char *argv, struct pt_err *err)
{
    (void)argv, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_put_tree(struct pt_ledger *l, const void *root, size_t nroot, const void *manifest, size_t n,
                       struct pt_err *err)
{
    (void)root, (void)nroot, (void)manifest, (void)n, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_get_tree(struct pt_ledger *l, int64_t run, struct pt_buf *out, struct pt_err *err)
{
    (void)l, (void)run, (void)out, (void)err;
    return 1;
}

int pt_ledger_finish_run(struct pt_ledger *l, double finished, int exitcode, unsigned missing,
                         struct pt_err *err)
{
    (void)l, (void)finished, (void)exitcode, (void)missing, (void)err;
    return 0;
}

int pt_ledger_drop_run(struct pt_ledger *l, struct pt_err *err)
{
    (void)l, (void)err;
    return 0;
}

int pt_ledger_add_host(struct pt_ledger *l, const struct pt_ledger_host *host, struct pt_err *err)
{
    (void)host, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_add_test(struct pt_ledger *l, const struct pt_ledger_test *test, struct pt_err *err)
{
    (void)test, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_add_attempt(struct pt_ledger *l, const struct pt_ledger_attempt *attempt, struct pt_err *err)
{
    (void)attempt, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_add_report(struct pt_ledger *l, const struct pt_ledger_report *report, struct pt_err *err)
{
    (void)report, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_rerun(struct pt_ledger *l, uint32_t test, struct pt_err *err)
{
    (void)test, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_add_note(struct pt_ledger *l, uint32_t host, const char *kind, const void *json, size_t n,
                       struct pt_err *err)
{
    (void)host, (void)kind, (void)json, (void)n, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_hold(struct pt_ledger *l, struct pt_err *err)
{
    (void)l, (void)err;
    return 0;
}

int pt_ledger_get_run(struct pt_ledger *l, int64_t run, struct pt_ledger_run *out, struct pt_err *err)
{
    (void)l, (void)run, (void)out, (void)err;
    return 1;
}

int64_t pt_ledger_find_run(struct pt_ledger *l, const char *name, struct pt_err *err)
{
    (void)l, (void)name, (void)err;
    return 0;
}

int pt_ledger_each_run(struct pt_ledger *l, pt_ledger_run_fn *fn, void *arg, struct pt_err *err)
{
    (void)l, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_host(struct pt_ledger *l, int64_t run, pt_ledger_host_fn *fn, void *arg,
                        struct pt_err *err)
{
    (void)l, (void)run, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_result(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn,
                          void *arg, struct pt_err *err)
{
    (void)l, (void)run, (void)outcomes, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_get_result(struct pt_ledger *l, int64_t run, uint32_t test, pt_ledger_result_fn *fn, void *arg,
                         struct pt_err *err)
{
    (void)l, (void)run, (void)test, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_note(struct pt_ledger *l, int64_t run, const char *kind, pt_ledger_note_fn *fn, void *arg,
                        struct pt_err *err)
{
    (void)l, (void)run, (void)kind, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_trend(struct pt_ledger *l, pt_ledger_trend_fn *fn, void *arg, struct pt_err *err)
{
    (void)l, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_past(struct pt_ledger *l, const char *part, pt_ledger_past_fn *fn, void *arg,
                        struct pt_err *err)
{
    (void)l, (void)part, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_begun(struct pt_ledger *l, pt_ledger_begun_fn *fn, void *arg, struct pt_err *err)
{
    (void)l, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_failed(struct pt_ledger *l, const int64_t *runs, size_t n, pt_ledger_failed_fn *fn,
                          pt_ledger_entry_fn *entry, void *arg, struct pt_err *err)
{
    (void)l, (void)runs, (void)n, (void)fn, (void)entry, (void)arg, (void)err;
    return 0;
}

int pt_ledger_has_file(struct pt_ledger *l, const int64_t *runs, size_t n, int64_t run, const char *file,
                       struct pt_err *err)
{
    (void)l, (void)runs, (void)n, (void)run, (void)file, (void)err;
    return 0;
}

int pt_ledger_put_duration(struct pt_ledger *l, const struct pt_ledger_duration *d, struct pt_err *err)
{
    (void)d, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_put_import(struct pt_ledger *l, const struct pt_ledger_import *i, struct pt_err *err)
{
    (void)i, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_put_speed(struct pt_ledger *l, const char *host, double speed, struct pt_err *err)
{
    (void)host, (void)speed, (void)err;
    l->dirty = true;
    return 0;
}

int pt_ledger_each_duration(struct pt_ledger *l, pt_ledger_duration_fn *fn, void *arg, struct pt_err *err)
{
    (void)l, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_import(struct pt_ledger *l, pt_ledger_import_fn *fn, void *arg, struct pt_err *err)
{
    (void)l, (void)fn, (void)arg, (void)err;
    return 0;
}

int pt_ledger_each_speed(struct pt_ledger *l, pt_ledger_speed_fn *fn, void *arg, struct pt_err *err)
{
    (void)l, (void)fn, (void)arg, (void)err;
    return 0;
}

int64_t pt_ledger_run_id(const struct pt_ledger *l)
{
    (void)l;
    return 1;
}
