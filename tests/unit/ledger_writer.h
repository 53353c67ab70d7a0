/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Writes reports into a real ledger at a rate, committed as a run commits them, and says which are on disk.
 * For the test that kills it and for the measurement of what it reaches. */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "ledger_inside.h"
#include "run_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct writer {
    const char *dir;
    const char *network; /* as if the folder lay there; NULL: a disk of this machine */
    double rate;         /* reports a second; 0: as fast as it goes */
    uint32_t most;       /* then it ends */
    int acks;            /* the number of each report, 4 bytes, once it is on disk; -1: nobody asks */
    double longest;      /* filled: seconds from a report's coming to its being on disk */
};

#define WRITER_TEXT 400 /* bytes, as a report of a test that passed has */

/* The JSON of report i. */
static void writer_json(uint32_t i, char text[WRITER_TEXT + 1])
{
    int n = snprintf(text, WRITER_TEXT,
                     "{\"nodeid\":\"test_a.py::test_%u\",\"outcome\":\"passed\",\"fill\":\"", i);
    memset(text + n, 'x', (size_t)(WRITER_TEXT - n - 2));
    memcpy(text + WRITER_TEXT - 2, "\"}", 3);
}

static void writer_must(int rc, const struct pt_err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s\n", err->msg);
    _exit(1);
}

static struct pt_ledger *writer_open(const struct writer *w)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = calloc(1, sizeof(*l));
    if (!l || asprintf(&l->path, "%s/ledger.sqlite", w->dir) < 0)
        _exit(1);
    l->network = w->network;
    l->most = PT_LEDGER_BYTES;
    writer_must(pt_ledger_open_file(l, &err), &err);
    return l;
}

static void writer_begin(struct pt_ledger *l, uint32_t tests)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run run = {.name = "r1", .command = "ptremote", .rootdir = "/p", .started = 1700000000};
    char nodeid[48];
    struct pt_ledger_test test = {.nodeid = nodeid, .file = "test_a.py"};
    writer_must(pt_ledger_begin_run(l, &run, &err), &err);
    for (test.number = 0; test.number < tests; test.number++) {
        snprintf(nodeid, sizeof(nodeid), "test_a.py::test_%u", test.number);
        writer_must(pt_ledger_add_test(l, &test, &err), &err);
    }
    writer_must(pt_ledger_commit(l, &err), &err);
}

static void writer_add(struct pt_ledger *l, uint32_t i)
{
    struct pt_err err = PT_ERR_INIT;
    char text[WRITER_TEXT + 1];
    struct pt_ledger_report r = {.test = i,
                                 .counted = 1,
                                 .attempt = 1,
                                 .worker = i % 8,
                                 .bundle = i / 100,
                                 .outcome = PT_OUTCOME_PASSED,
                                 .phase = PT_PHASE_CALL,
                                 .started = 1700000000 + i * 1e-3,
                                 .duration = 0.001,
                                 .json = text,
                                 .json_len = WRITER_TEXT};
    writer_json(i, text);
    writer_must(pt_ledger_add_report(l, &r, &err), &err);
}

static void writer_commit(struct writer *w, struct pt_ledger *l, uint32_t from, uint32_t to)
{
    static uint32_t numbers[1 << 16];
    struct pt_err err = PT_ERR_INIT;
    writer_must(pt_ledger_commit(l, &err), &err);
    while (w->acks >= 0 && from < to) {
        size_t n = 0;
        while (from < to && n < PT_COUNT(numbers))
            numbers[n++] = from++;
        if (write(w->acks, numbers, n * sizeof(*numbers)) != (ssize_t)(n * sizeof(*numbers)))
            _exit(1);
    }
}

static double writer_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Reports come every millisecond, as many as are due. -> the seconds it took. */
static double writer_write(struct writer *w, struct pt_ledger *l)
{
    const struct timespec tick = {.tv_nsec = 1000000};
    double start = writer_clock(), committed = start, first = 0;
    uint32_t added = 0, acked = 0;
    while (acked < w->most) {
        double now = writer_clock(), due = w->rate > 0 ? (now - start) * w->rate : added + 100.0;
        if (added == acked)
            first = now;
        while (added < w->most && added < due)
            writer_add(l, added++);
        now = writer_clock();
        if (now - committed >= PT_RUN_COMMIT_MS * 1e-3 || added == w->most) {
            writer_commit(w, l, acked, added);
            committed = writer_clock();
            if (added > acked && committed - first > w->longest)
                w->longest = committed - first;
            acked = added;
        }
        if (w->rate > 0)
            nanosleep(&tick, NULL);
    }
    return writer_clock() - start;
}
