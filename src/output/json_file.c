/* SPDX-License-Identifier: Apache-2.0 */
#include "output/json_file.h"

#include "common/err.h"
#include "output/atomic.h"
#include "output/result.h"
#include "verdict.h"

#include <errno.h>
#include <string.h>

#define VERSION 1

struct writer {
    struct pt_json_out out;
    struct pt_names names;
    bool starved; /* memory ended */
};

/* Times are told to the microsecond; what is not known is left out. */
static void put_seconds(struct pt_json_out *o, const char *key, double v)
{
    if (v >= 0)
        pt_json_put_micros(o, key, v);
}

static int put_host(void *arg, const struct pt_ledger_host *host)
{
    struct pt_json_out *o = arg;
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "name", host->name);
    pt_json_put_int(o, "slots", host->slots);
    pt_json_put_str(o, "state", host->state);
    pt_json_put_int(o, "bytes_sent", (int64_t)host->bytes_sent);
    pt_json_open_object(o, "sync");
    pt_json_put_int(o, "files_sent", (int64_t)host->tree.files_sent);
    pt_json_put_int(o, "bytes_raw", (int64_t)host->tree.bytes_raw);
    pt_json_put_int(o, "files_reused", (int64_t)host->tree.files_reused);
    pt_json_put_int(o, "bytes_reused", (int64_t)host->tree.bytes_reused);
    pt_json_put_int(o, "removed", (int64_t)host->tree.removed);
    if (host->tree.rate)
        pt_json_put_int(o, "rate", (int64_t)host->tree.rate);
    pt_json_close(o);
    pt_json_open_object(o, "seconds");
    put_seconds(o, "connect", host->connect);
    put_seconds(o, "sync", host->sync);
    put_seconds(o, "offer", host->tree.offer);
    put_seconds(o, "send", host->tree.send);
    put_seconds(o, "finish", host->tree.finish);
    put_seconds(o, "launch", host->launch);
    pt_json_close(o);
    pt_json_close(o);
    return 0;
}

static void put_where(struct writer *w, const struct pt_ledger_report *row)
{
    pt_json_put_str(&w->out, "host", pt_names_get(&w->names, row->host));
    if (row->worker != PT_NONE)
        pt_json_put_int(&w->out, "worker", row->worker);
    if (row->bundle != PT_NONE)
        pt_json_put_int(&w->out, "bundle", row->bundle);
    if (row->host != PT_NONE) {
        pt_json_put_int(&w->out, "attempt", row->attempt);
        pt_json_put_int(&w->out, "try", row->try_);
    }
}

static void put_ranks(struct pt_json_out *o, const struct pt_report *r)
{
    if (r->ranks > 1)
        pt_json_put_int(o, "ranks", r->ranks);
    if (r->hosts)
        pt_json_put(o, "hosts", r->hosts);
    if (r->shares)
        pt_json_put(o, "shares", r->shares);
}

static void put_times(struct pt_json_out *o, const struct pt_report *r)
{
    put_seconds(o, "started", r->started);
    put_seconds(o, "duration", r->duration);
    put_seconds(o, "setup", r->setup);
    put_seconds(o, "call", r->call);
    put_seconds(o, "teardown", r->teardown);
}

/* What earlier tries gave; nothing when there were none. */
static void put_tries(struct writer *w, const struct pt_ledger_test *test, const struct pt_result *result)
{
    struct pt_json_out *o = &w->out;
    bool any = false;
    for (size_t i = 0; i < result->ntries; i++) {
        const struct pt_ledger_report *row = &result->tries[i];
        struct pt_report r;
        if (!pt_result_is_try(result, row))
            continue;
        if (!any)
            pt_json_open_array(o, "tries");
        any = true;
        w->starved |= pt_result_decode(test, row, &r) < 0;
        pt_json_open_object(o, NULL);
        pt_json_put_str(o, "outcome", pt_outcome_name(row->outcome));
        pt_json_put_str(o, "phase", pt_phase_name(r.phase));
        put_where(w, row);
        put_ranks(o, &r);
        put_times(o, &r);
        pt_json_put_str(o, "message", r.message);
        pt_json_put_str(o, "longrepr", r.longrepr);
        pt_json_put_str(o, "stdout", r.captured_out);
        pt_json_put_str(o, "stderr", r.captured_err);
        pt_json_close(o);
        pt_report_fini(&r);
    }
    if (any)
        pt_json_close(o);
}

static int put_result(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows,
                      size_t n)
{
    struct writer *w = arg;
    struct pt_json_out *o = &w->out;
    struct pt_result r;
    if (!pt_result_init(&r, test, rows, n))
        return 0;
    w->starved |= r.starved;
    const struct pt_report *own = &r.own;
    const struct pt_report *told = r.has_extra && r.outcome != r.row->outcome ? &r.extra : &r.own;
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "nodeid", test ? test->nodeid : own->nodeid);
    pt_json_put_str(o, "file", test ? test->file : own->file);
    if (test && test->occurrence)
        pt_json_put_int(o, "occurrence", test->occurrence);
    pt_json_put_str(o, "outcome", pt_outcome_name(r.outcome));
    if (r.row->json)
        pt_json_put_str(o, "phase", pt_phase_name(told->phase));
    put_where(w, r.row);
    put_ranks(o, own);
    put_times(o, own);
    pt_json_put_str(o, "message", told->message);
    pt_json_put_str(o, "longrepr", told->longrepr);
    pt_json_put_str(o, "stdout", own->captured_out);
    pt_json_put_str(o, "stderr", own->captured_err);
    put_tries(w, test, &r);
    pt_json_close(o);
    pt_result_fini(&r);
    return o->bad || w->starved;
}

static void put_summary(struct pt_json_out *o, const struct pt_verdict *v)
{
    pt_json_open_object(o, "summary");
    for (unsigned i = PT_OUTCOME_NONE + 1; i < PT_OUTCOMES; i++)
        pt_json_put_int(o, pt_outcome_name(i), pt_verdict_total(v, i));
    pt_json_close(o);
    if (pt_verdict_count_of(v, "rerun")) {
        pt_json_put_int(o, "flaky", pt_verdict_count_of(v, "flaky"));
        pt_json_put_int(o, "reruns", pt_verdict_count_of(v, "rerun"));
    }
}

/* What a replay needs to know besides where each test ran. */
static int put_how(struct pt_json_out *o, struct pt_ledger *ledger, int64_t run, struct pt_err *err)
{
    struct pt_ledger_run row;
    int rc = pt_ledger_get_run(ledger, run, &row, err);
    if (rc)
        return rc < 0 ? -1 : pt_err_set(err, "the ledger has no such run");
    errno = 0;
    struct pt_json *how = row.how ? pt_json_parse(row.how, strlen(row.how), NULL) : NULL;
    if (row.how && !how && errno == ENOMEM)
        return pt_err_set(err, "out of memory");
    pt_json_open_object(o, "how");
    if (row.hash_seed && *row.hash_seed)
        pt_json_put_str(o, "hash_seed", row.hash_seed);
    for (const struct pt_json *e = pt_json_first(how); e; e = pt_json_next(e))
        if (pt_json_name(e) && strcmp(pt_json_name(e), "hash_seed") != 0)
            pt_json_put(o, pt_json_name(e), e);
    pt_json_close(o);
    pt_json_destroy(how);
    return 0;
}

static int put_all(struct writer *w, const struct pt_json_file *f, struct pt_ledger *ledger, int64_t run,
                   const struct pt_verdict *verdict, struct pt_err *err)
{
    struct pt_json_out *o = &w->out;
    pt_json_open_object(o, NULL);
    pt_json_put_int(o, "version", VERSION);
    pt_json_put_str(o, "run", f->run_name);
    pt_json_put_int(o, "exitcode", f->exitcode);
    put_seconds(o, "started", f->started);
    put_seconds(o, "duration", f->seconds);
    if (put_how(o, ledger, run, err) < 0)
        return -1;
    pt_json_open_array(o, "hosts");
    if (pt_ledger_each_host(ledger, run, put_host, o, err) < 0)
        return -1;
    pt_json_close(o);
    put_summary(o, verdict);
    pt_json_open_array(o, "tests");
    if (pt_ledger_each_result(ledger, run, ~0u, put_result, w, err) < 0)
        return -1;
    pt_json_close(o);
    pt_json_close(o);
    return 0;
}

int pt_json_file_write(const struct pt_json_file *f, struct pt_ledger *ledger, int64_t run,
                       const struct pt_verdict *verdict, struct pt_err *err)
{
    struct pt_atomic file;
    struct writer w = {0};
    if (pt_atomic_init(&file, f->path, err) < 0)
        return pt_err_wrap(err, "JSON file");
    pt_json_out_init(&w.out, file.file);
    int rc = pt_names_load(&w.names, ledger, run, err);
    if (rc == 0)
        rc = put_all(&w, f, ledger, run, verdict, err);
    if (rc == 0 && (w.starved || w.out.buf.bad))
        rc = pt_err_set(err, "out of memory");
    if (pt_json_out_end(&w.out) < 0 && rc == 0)
        rc = pt_err_set_kind(err, PT_ERR_INFRA, "write: %s", strerror(errno));
    pt_names_fini(&w.names);
    if (rc == 0)
        rc = pt_atomic_finish(&file, err);
    else
        pt_atomic_fini(&file);
    return rc < 0 ? pt_err_wrap(err, "JSON file %s", f->path) : 0;
}
