/* SPDX-License-Identifier: Apache-2.0 */
#include "recorded.h"

#include "common/auto.h"
#include "common/err.h"
#include "master.h"
#include "verdict.h"

#include <stdlib.h>
#include <string.h>

/* --- writing --- */

static int put(struct pt_ledger *l, struct pt_json_out *o, struct pt_err *err)
{
    pt_json_close(o);
    int rc = pt_json_out_end(o) < 0 || o->buf.bad ? pt_err_set(err, "out of memory") : 0;
    if (rc == 0)
        rc = pt_ledger_add_note(l, PT_NONE, PT_RECORDED_NOTE, o->buf.data, o->buf.len, err);
    pt_buf_fini(&o->buf);
    return rc;
}

static void begin(struct pt_json_out *o)
{
    pt_json_out_init(o, NULL);
    pt_json_open_object(o, NULL);
}

int pt_recorded_session(struct pt_ledger *l, const struct pt_json *session, struct pt_err *err)
{
    static const char *const kept[] = {"root", "report_chars", "durations", "durations_min"};
    static const char *const junit[] = {"family", "suite_name", "prefix"};
    struct pt_json_out o;
    begin(&o);
    for (size_t i = 0; i < PT_COUNT(kept); i++)
        pt_json_put(&o, kept[i], pt_json_get(session, kept[i]));
    pt_json_open_object(&o, "junit");
    for (size_t i = 0; i < PT_COUNT(junit); i++)
        pt_json_put(&o, junit[i], pt_json_get(pt_json_get(session, "junit"), junit[i]));
    pt_json_close(&o);
    return put(l, &o, err);
}

int pt_recorded_deselected(struct pt_ledger *l, uint32_t n, struct pt_err *err)
{
    struct pt_json_out o;
    begin(&o);
    pt_json_put_int(&o, "deselected", n);
    return put(l, &o, err);
}

int pt_recorded_stopped(struct pt_ledger *l, const char *why, struct pt_err *err)
{
    struct pt_json_out o;
    if (!*why)
        return 0;
    begin(&o);
    pt_json_put_str(&o, "stopped", why);
    return put(l, &o, err);
}

/* --- reading --- */

enum pt_recorded_state pt_recorded_state(const struct pt_ledger_run *run, long *pid)
{
    static const enum pt_recorded_state states[] = {[PT_MASTER_GONE] = PT_RECORDED_CUT,
                                                    [PT_MASTER_HERE] = PT_RECORDED_RUNNING,
                                                    [PT_MASTER_UNKNOWN] = PT_RECORDED_UNKNOWN};
    return run->finished > 0 ? PT_RECORDED_ENDED : states[pt_master_state(run->master, pid)];
}

/* False when memory ends. */
static bool take_text(char **to, const struct pt_json *object, const char *key)
{
    const char *text = pt_json_text(pt_json_get(object, key));
    char *copy = text ? strdup(text) : NULL;
    if (!copy)
        return !text;
    free(*to);
    *to = copy;
    return true;
}

static double take_number(const struct pt_json *object, const char *key, double other)
{
    double v = pt_json_number(pt_json_get(object, key), other);
    return v >= -1 && v <= PT_MAX_TESTS ? v : other;
}

static int take_note(void *arg, uint32_t host, const void *text, size_t n)
{
    struct pt_recorded *r = arg;
    errno = 0;
    struct pt_json *note = pt_json_parse(text, n, NULL);
    if (!note && errno == ENOMEM)
        return 1;
    const struct pt_json *junit = pt_json_get(note, "junit");
    (void)host;
    bool good = take_text(&r->root, note, "root") && take_text(&r->report_chars, note, "report_chars") &&
                take_text(&r->stopped, note, "stopped") && take_text(&r->family, junit, "family") &&
                take_text(&r->suite_name, junit, "suite_name") && take_text(&r->prefix, junit, "prefix");
    r->durations = (int)take_number(note, "durations", r->durations);
    r->durations_min = take_number(note, "durations_min", r->durations_min);
    double deselected = take_number(note, "deselected", r->deselected);
    r->deselected = deselected > 0 ? (uint32_t)deselected : 0;
    pt_json_destroy(note);
    return !good;
}

static int take_root(void *arg, uint32_t host, const void *text, size_t n)
{
    errno = 0;
    struct pt_json *note = pt_json_parse(text, n, NULL);
    (void)host;
    bool good = take_text(arg, note, "root") && (note || errno != ENOMEM);
    pt_json_destroy(note);
    return !good;
}

int pt_recorded_rootdir(struct pt_ledger *l, int64_t run, char **rootdir, struct pt_err *err)
{
    *rootdir = NULL;
    int rc = pt_ledger_each_note(l, run, PT_RECORDED_NOTE, take_root, rootdir, err);
    return rc > 0 ? pt_err_set(err, "out of memory") : rc;
}

int pt_recorded_init(struct pt_recorded *r, struct pt_ledger *l, int64_t run, struct pt_err *err)
{
    struct pt_ledger_run row;
    *r = (struct pt_recorded){.run = run, .durations = -1, .durations_min = 0.005};
    int rc = pt_ledger_get_run(l, run, &row, err);
    if (rc)
        return rc < 0 ? -1 : pt_err_set_kind(err, PT_ERR_USAGE, "the run is not recorded any more");
    r->name = strdup(row.name);
    r->state = pt_recorded_state(&row, &r->pid);
    r->started = row.started;
    r->finished = row.finished;
    r->exitcode = row.exitcode;
    rc = r->name ? pt_ledger_each_note(l, run, PT_RECORDED_NOTE, take_note, r, err) : 1;
    if (rc > 0)
        pt_err_set(err, "out of memory");
    if (rc || !(r->verdict = pt_recorded_verdict(l, run, err)))
        return -1;
    pt_verdict_count(r->verdict, "deselected", r->deselected);
    return 0;
}

void pt_recorded_fini(struct pt_recorded *r)
{
    char *strings[] = {r->name, r->root, r->report_chars, r->stopped, r->family, r->suite_name, r->prefix};
    for (size_t i = 0; i < PT_COUNT(strings); i++)
        free(strings[i]);
    pt_verdict_destroy(r->verdict);
    *r = (struct pt_recorded){0};
}
