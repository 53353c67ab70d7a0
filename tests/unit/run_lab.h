/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run of two hosts whose messages are taken, with its other files played here. */
#include "history.h"
#include "ledger_lab.h"
#include "logs.h"
#include "rerun.h"
#include "run_nodes.h"
#include "run_plays.h"
#include "run_results.h"
#include "run_said.h"
#include "status.h"

#define UNUSED __attribute__((unused))

/* --- the run's other files --- */

static bool failed;

void pt_run_fail(struct pt_run *run, const struct pt_err *err)
{
    (void)run;
    failed = true;
    say("failed: %s\n", err->msg);
}

void pt_run_host_give_up(struct pt_run_host *h, const char *why)
{
    say("%s given up: %s\n", h->host->name, why);
}

void pt_run_host_bye(struct pt_run_host *h)
{
    say("%s: bye\n", h->host->name);
}

void pt_run_nodes_output(struct pt_run_host *h, uint32_t rank, const void *json, size_t n)
{
    (void)json;
    say("gw%u: %zu bytes\n", h->base + rank, n);
}

void pt_run_nodes_down(struct pt_run_host *h, uint32_t rank, const char *why)
{
    say("gw%u down: %s\n", h->base + rank, why ? why : "-");
}

#ifndef MAX_BUNDLES
#define MAX_BUNDLES 32
#endif
static const struct pt_bundle *dealt[MAX_BUNDLES];
static uint32_t dealt_to[MAX_BUNDLES];
static size_t ndealt;

void pt_run_deal(struct pt_run *run)
{
    struct pt_plan_deal deal;
    while (pt_plan_next(run->plan, &deal, NULL) == 1) {
        cr_assert_lt(ndealt, MAX_BUNDLES);
        dealt_to[ndealt] = deal.host;
        dealt[ndealt++] = deal.bundle;
    }
}

/* --- the lab --- */

static struct pt_options opts;
static struct pt_run run;
static struct pt_run_host at[2];
static struct pt_host hosts[2];
static FILE *out;
static char *text;
static size_t text_len;

UNUSED static void start(uint32_t reruns, uint32_t maxfail)
{
    static char h1[] = "h1";
    static char h2[] = "h2";
    struct pt_plan_spec plan = {.hosts = 2, .bundles_per_worker = 4};
    out = open_memstream(&text, &text_len);
    struct pt_terminal_options terminal = {.out = out, .durations = -1, .verbosity = 1, .maxfail = maxfail};
    hosts[0].name = h1;
    hosts[1].name = h2;
    run = (struct pt_run){.opts = &opts, .at = at, .hosts = {.items = hosts, .n = 2}, .maxfail = maxfail};
    run.plan = pt_plan_create(&plan, NULL);
    run.verdict = pt_verdict_create(NULL);
    run.suite = pt_suite_create(NULL);
    run.terminal = pt_terminal_create(&terminal, NULL);
    run.ledger = lab_open();
    run.rerun = reruns ? pt_rerun_create(reruns, NULL, 0, NULL) : NULL;
    run.logs = pt_logs_create(lab_dir, "r1", NULL);
    run.status = pt_status_create();
    lab_begin(run.ledger, "r1");
    for (uint32_t i = 0; i < 2; i++) {
        at[i] = (struct pt_run_host){
            .run = &run, .number = i, .host = &hosts[i], .launch_slots = 1, .base = 10 * i};
        pt_terminal_add_host(run.terminal, i, hosts[i].name, 1);
        pt_plan_host(run.plan, i, 1);
    }
}

/* Tests of a file, named 0, 1 ..., that no plan has yet; their node ids are in `id`. */
UNUSED static void new_tests(const char *path, uint32_t n, struct pt_bundle_test *tests, char (*id)[64])
{
    uint32_t file = pt_suite_file(run.suite, path);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(id[i], sizeof(id[i]), "%s::%u", path, i);
        uint32_t test = pt_suite_add(run.suite, file, id[i], 0);
        cr_assert_eq(pt_verdict_add_test(run.verdict), test);
        lab_test(run.ledger, test, id[i]);
        tests[i] = (struct pt_bundle_test){.test = test, .nodeid = id[i]};
    }
}

/* A file of n tests named 0, 1 ...; several times the same path makes several
 * units. */
UNUSED static void add_file(const char *path, uint32_t n)
{
    struct pt_bundle_test tests[8];
    char id[8][64];
    new_tests(path, n, tests, id);
    cr_assert_eq(pt_plan_add_file(run.plan, path, tests, n, 1, NULL), 0);
}

UNUSED static void collected(void)
{
    pt_terminal_collected(run.terminal, pt_verdict_tests(run.verdict), 0, 0, 0, true);
    pt_plan_collected(run.plan);
    pt_run_deal(&run);
}

UNUSED static void stop(void)
{
    cr_assert(pt_verdict_sum_ok(run.verdict));
    cr_assert_not(failed, "%s", said);
    pt_terminal_destroy(run.terminal);
    fclose(out);
    pt_verdict_destroy(run.verdict);
    pt_plan_destroy(run.plan);
    pt_suite_destroy(run.suite);
    pt_ledger_close(run.ledger);
    pt_rerun_destroy(run.rerun);
    pt_logs_destroy(run.logs);
    pt_status_destroy(run.status);
    free(text);
}

UNUSED static int send(struct pt_run_host *h, uint8_t type, struct pt_buf *body)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf all = {0};
    pt_put_u64(&all, type == PT_L_STARTED ? 0 : h->seq + 1);
    pt_buf_append(&all, body->data, body->len);
    struct pt_reader r = {.p = all.data, .left = all.len};
    int rc = pt_run_message(h, type, &r, &err);
    pt_buf_fini(&all);
    pt_buf_fini(body);
    return rc;
}

/* The last bundle dealt that has the test, and its host. */
UNUSED static const struct pt_bundle *bundle_of(uint32_t test, struct pt_run_host **h)
{
    for (size_t i = ndealt; i > 0; i--)
        for (uint32_t f = 0; f < dealt[i - 1]->nfiles; f++)
            for (uint32_t t = 0; t < dealt[i - 1]->files[f].ntests; t++)
                if (dealt[i - 1]->files[f].tests[t].test == test) {
                    *h = &at[dealt_to[i - 1]];
                    return dealt[i - 1];
                }
    cr_assert_fail("test %u was not dealt", test);
    return NULL;
}

UNUSED static int send_json(struct pt_run_host *h, const struct pt_bundle *b, uint32_t test, const char *json)
{
    struct pt_buf m = {0};
    pt_put_u32(&m, 0);
    pt_put_u32(&m, b->bundle);
    pt_put_u32(&m, b->attempt);
    pt_put_u32(&m, test);
    pt_put_u8(&m, 1);
    pt_put_bytes(&m, json, strlen(json));
    return send(h, PT_L_REPORT, &m);
}

UNUSED static void report(uint32_t test, const char *outcome)
{
    char json[256];
    struct pt_run_host *h = NULL;
    const struct pt_bundle *b = bundle_of(test, &h);
    snprintf(json, sizeof(json), "{\"nodeid\":\"%s\",\"outcome\":\"%s\",\"message\":\"why\",\"call\":0.5}",
             pt_suite_get(run.suite, test)->nodeid, outcome);
    cr_assert_eq(send_json(h, b, test, json), 0);
}

UNUSED static void done(const struct pt_bundle *b, struct pt_run_host *h)
{
    struct pt_buf m = {0};
    pt_put_u32(&m, 0);
    pt_put_u32(&m, b->bundle);
    pt_put_u32(&m, b->attempt);
    cr_assert_eq(send(h, PT_L_DONE, &m), 0);
}

UNUSED static void done_with(uint32_t test)
{
    struct pt_run_host *h = NULL;
    const struct pt_bundle *b = bundle_of(test, &h);
    done(b, h);
}

UNUSED static int death(struct pt_run_host *h, struct pt_death d)
{
    struct pt_buf m = {0};
    d.path = d.path ? d.path : (char *)"";
    d.stack = (char *)"";
    d.output = d.output ? d.output : (char *)"";
    d.cause = d.cause ? d.cause : PT_CAUSE_DIED;
    pt_death_encode(&d, h->seq + 1, &m);
    struct pt_reader r = {.p = m.data + PT_FRAME_HEAD + 8, .left = m.len - PT_FRAME_HEAD - 8};
    struct pt_buf body = {0};
    pt_buf_append(&body, r.p, r.left);
    pt_buf_fini(&m);
    return send(h, PT_L_DEATH, &body);
}

UNUSED static void note(struct pt_run_host *h, uint32_t bundle, const char *json)
{
    struct pt_buf m = {0};
    pt_put_u32(&m, 0);
    pt_put_u32(&m, bundle);
    pt_put_bytes(&m, json, strlen(json));
    cr_assert_eq(send(h, PT_L_NOTE, &m), 0);
}

UNUSED static void check_shown(const char *want)
{
    fflush(out);
    cr_assert_not_null(strstr(text, want), "WANTED %s GOT\n%s", want, text);
}
