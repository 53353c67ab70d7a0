/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of groups of ranks, with the run around them played here. */
#include "group_words.h"
#include "run_lab.h"

TestSuite(run_groups, .init = lab_make, .fini = lab_remove);

/* n tests of so many ranks in a file, on a host that has the slots. */
static void add_mpi_file(const char *path, uint32_t n, uint32_t ranks)
{
    struct pt_bundle_test tests[8];
    char id[8][64];
    char copy[64];
    snprintf(copy, sizeof(copy), "%s", path);
    new_tests(path, n, tests, id);
    struct pt_bundle_file files = {copy, tests, n};
    struct pt_plan_unit unit = {.files = &files,
                                .nfiles = 1,
                                .seconds = 1,
                                .weight = ranks,
                                .ranks = ranks,
                                .host = PT_NONE,
                                .rank = PT_NONE};
    cr_assert_eq(pt_plan_add(run.plan, &unit, NULL), 0);
}

static const struct pt_bundle *begin(uint32_t tests, uint32_t ranks, struct pt_run_host **h)
{
    start(0, 0);
    opts.mpi_grace_ms = 3000;
    for (uint32_t i = 0; i < 2; i++) {
        at[i].launch_slots = 4;
        pt_plan_host(run.plan, i, 4);
    }
    add_mpi_file("a.py", tests, ranks);
    collected();
    const struct pt_bundle *b = bundle_of(0, h);
    cr_assert_eq(b->ranks, ranks);
    return b;
}

/* What the frame has behind its number goes as the host's next message. */
static int send_frame(struct pt_run_host *h, uint8_t type, struct pt_buf *frame)
{
    struct pt_buf body = {0};
    pt_buf_append(&body, frame->data + PT_FRAME_HEAD + 8, frame->len - PT_FRAME_HEAD - 8);
    pt_buf_fini(frame);
    return send(h, type, &body);
}

static int send_ranks(struct pt_run_host *h, const struct pt_bundle *b, uint32_t test, const struct words *w)
{
    struct pt_ranks m = {.bundle = b->bundle,
                         .attempt = b->attempt,
                         .test = test,
                         .group = 1,
                         .of = w->n,
                         .words = (struct pt_rank_word *)w->words};
    struct pt_buf frame = {0};
    pt_ranks_encode(&m, 0, &frame);
    return send_frame(h, PT_L_RANKS, &frame);
}

static int send_fall(struct pt_run_host *h, const struct pt_bundle *b, struct pt_fall m,
                     const struct words *w)
{
    struct pt_buf frame = {0};
    m.bundle = b ? b->bundle : PT_NONE;
    m.attempt = b ? b->attempt : 0;
    m.group = 1;
    m.of = w->n;
    m.path = m.path ? m.path : (char *)"";
    m.text = m.text ? m.text : (char *)"";
    m.words = (struct pt_rank_word *)w->words;
    pt_fall_encode(&m, 0, &frame);
    return send_frame(h, PT_L_FALL, &frame);
}

static void done_by_group(const struct pt_bundle *b, struct pt_run_host *h)
{
    struct pt_buf m = {0};
    pt_put_u32(&m, PT_NONE);
    pt_put_u32(&m, b->bundle);
    pt_put_u32(&m, b->attempt);
    cr_assert_eq(send(h, PT_L_DONE, &m), 0);
}

static void passed(struct words *w, uint32_t n)
{
    while (w->n < n)
        words_report(w, PT_OUTCOME_PASSED, "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"call\":0.5}");
}

static void died(struct words *w, uint8_t cause, uint32_t n)
{
    while (w->n < n)
        words_death(w, (struct pt_death){
                           .phase = PT_PHASE_CALL, .cause = w->n ? PT_CAUSE_FALL : cause, .status = 11});
}

struct told {
    uint32_t test, worker, rows;
    char json[4096];
};

static int last_row(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows,
                    size_t n)
{
    struct told *t = arg;
    if (!test || test->number != t->test || n == 0)
        return 0;
    t->rows = (uint32_t)n;
    t->worker = rows[n - 1].worker;
    snprintf(t->json, sizeof(t->json), "%.*s", (int)rows[n - 1].json_len, (const char *)rows[n - 1].json);
    return 0;
}

/* What the ledger has of the test last: on group 1, with those words. */
static void check_told(uint32_t test, const char *want)
{
    struct told t = {.test = test};
    cr_assert_eq(pt_ledger_each_result(run.ledger, 0, ~0u, last_row, &t, NULL), 0);
    cr_assert_eq(t.worker, 1, "the group");
    cr_assert_not_null(strstr(t.json, want), "%s", t.json);
}

/* The bundle goes to one host, which has 4 of the 6 ranks. */
static const struct pt_bundle *begin_spread(struct pt_run_host **h)
{
    static const bool may[] = {true, true};
    start(0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        at[i].launch_slots = 4;
        pt_plan_host(run.plan, i, 4);
    }
    add_mpi_file("a.py", 2, 6);
    collected();
    cr_assert_eq(ndealt, 0);
    cr_assert(pt_plan_wants_together(run.plan));
    pt_plan_together(run.plan, may, 2);
    pt_run_deal(&run);
    const struct pt_bundle *b = bundle_of(0, h);
    cr_assert(b->ranks == 6 && b->nspread == 2 && *h == &at[0]);
    return b;
}

Test(run_groups, reports_of_several_hosts_name_them)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin_spread(&h);
    passed(&w, 6);
    cr_assert_eq(send_ranks(&at[1], b, 0, &w), 0);
    cr_expect_eq(pt_verdict_done(run.verdict), 0, "the other host does not speak for it");
    cr_assert_eq(send_ranks(h, b, 0, &w), 0);
    words_fini(&w);
    check_told(0, "\"hosts\":[\"h1\",\"h2\"]");
    check_shown("a.py::0 PASSED [ 50%] h1+h2\n");
    died(&w, PT_CAUSE_DIED, 6);
    cr_assert_eq(
        send_fall(h, b,
                  (struct pt_fall){.test = 1, .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DIED, .culprit = 0},
                  &w),
        0);
    check_told(1, "\"hosts\":[\"h1\",\"h2\"]");
    words_fini(&w);
    done_by_group(b, h);
    stop();
}

Test(run_groups, reports_of_all_ranks_are_one)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(2, 3, &h);
    passed(&w, 3);
    cr_assert_eq(send_ranks(h, b, 0, &w), 0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_PASSED);
    cr_assert_eq(send_ranks(h, b, 0, &w), 0, "a second one is ignored");
    cr_assert_eq(pt_verdict_count_of(run.verdict, "passed"), 1);
    check_shown("a.py::0 PASSED");
    words_fini(&w);
    passed(&w, 2);
    words_report(&w, PT_OUTCOME_FAILED, "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"message\":\"no\"}");
    cr_assert_eq(send_ranks(h, b, 1, &w), 0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 1), PT_OUTCOME_FAILED);
    check_told(1, "rank 2 of 3: no");
    words_fini(&w);
    stop();
}

Test(run_groups, what_no_such_group_holds_is_ignored)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(1, 3, &h);
    struct pt_bundle wrong = {.bundle = b->bundle, .attempt = b->attempt + 1};
    passed(&w, 3);
    cr_assert_eq(send_ranks(&at[!h->number], b, 0, &w), 0, "of another host");
    cr_assert_eq(send_ranks(h, &wrong, 0, &w), 0, "of another attempt");
    cr_assert_eq(send_ranks(h, b, PT_NONE, &w), 0);
    cr_assert_eq(send_ranks(h, b, 12, &w), 0);
    words_fini(&w);
    passed(&w, 2);
    cr_assert_eq(send_ranks(h, b, 0, &w), 0, "of too few ranks");
    cr_assert_eq(send_fall(h, b, (struct pt_fall){.cause = PT_CAUSE_DIED, .culprit = 0}, &w), 0);
    words_fini(&w);
    died(&w, PT_CAUSE_DIED, 3);
    cr_assert_eq(send_fall(&at[!h->number], b, (struct pt_fall){.cause = PT_CAUSE_DIED}, &w), 0);
    cr_assert_eq(send_fall(h, &wrong, (struct pt_fall){.cause = PT_CAUSE_DIED}, &w), 0);
    words_fini(&w);
    cr_assert_eq(pt_verdict_done(run.verdict), 0);
    stop();
}

Test(run_groups, a_report_that_is_none_is_an_error_of_its_host)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(1, 2, &h);
    passed(&w, 1);
    words_report(&w, PT_OUTCOME_PASSED, "{\"nodeid\":");
    cr_assert_eq(send_ranks(h, b, 0, &w), -1);
    cr_assert_eq(send_fall(h, b, (struct pt_fall){.cause = PT_CAUSE_DIED, .culprit = PT_NONE}, &w), -1);
    cr_assert_eq(pt_verdict_done(run.verdict), 0);
    words_fini(&w);
    stop();
}

Test(run_groups, a_group_that_fell_costs_the_test_it_ran)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(3, 3, &h);
    died(&w, PT_CAUSE_DIED, 3);
    struct pt_fall m = {.test = 1, .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DIED, .culprit = 0};
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 1), PT_OUTCOME_CRASHED);
    check_told(1, "rank 0 of 3: killed by signal 11 (SIGSEGV) in call");
    cr_assert_eq(pt_verdict_done(run.verdict), 1);
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    cr_assert_not_null(
        strstr(said, "group 1: rank 0 of 3: killed by signal 11 (SIGSEGV), after a.py::1 had"));
    m = (struct pt_fall){.test = PT_NONE, .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DIED, .culprit = 0};
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    cr_assert_not_null(strstr(said, "(SIGSEGV), between tests; a new one goes on\n"), "%s", said);
    m.phase = PT_PHASE_SESSION;
    cr_assert_eq(send_fall(h, NULL, m, &w), 0);
    cr_assert_not_null(strstr(said, "(SIGSEGV), while its session ended\n"), "%s", said);
    cr_assert_eq(pt_verdict_done(run.verdict), 1);
    words_fini(&w);
    stop();
}

Test(run_groups, a_deadlock_is_a_failure)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(1, 2, &h);
    words_report(&w, PT_OUTCOME_FAILED, "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"message\":\"boom\"}");
    died(&w, PT_CAUSE_DEADLOCK, 2);
    cr_assert_eq(
        send_fall(h, b, (struct pt_fall){.test = 0, .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DEADLOCK}, &w),
        0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_FAILED);
    check_told(0, "rank 0 of 2: boom; others were still in call 3 s later");
    words_fini(&w);
    stop();
}

Test(run_groups, a_file_that_ends_its_ranks_is_told_once)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(3, 2, &h);
    died(&w, PT_CAUSE_DIED, 2);
    struct pt_fall m = {
        .test = PT_NONE, .path = (char *)"a.py", .phase = PT_PHASE_COLLECT, .cause = PT_CAUSE_DIED};
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    cr_assert_eq(pt_verdict_total(run.verdict, PT_OUTCOME_CRASHED), 3);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "crashed"), 1);
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    words_fini(&w);
    stop();
}

Test(run_groups, without_a_group_each_test_is_an_error)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(3, 2, &h);
    struct pt_fall m = {.test = PT_NONE,
                        .phase = PT_PHASE_SETUP,
                        .cause = PT_CAUSE_NO_GROUP,
                        .culprit = PT_NONE,
                        .text = (char *)"mpirun was not found"};
    words_none(&w);
    words_none(&w);
    m.test = 1;
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    cr_assert_eq(pt_verdict_done(run.verdict), 1);
    m.test = PT_NONE;
    cr_assert_eq(send_fall(h, b, m, &w), 0);
    cr_assert_eq(pt_verdict_total(run.verdict, PT_OUTCOME_ERROR), 3);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "error"), 3);
    check_told(2, ": mpirun was not found");
    words_fini(&w);
    stop();
}

/* The run ended early: who did not end in its grace was not run. */
Test(run_groups, the_grace_ends)
{
    static const uint8_t causes[] = {PT_CAUSE_TIMEOUT, PT_CAUSE_FALL, PT_CAUSE_DIED};
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(1, 2, &h);
    died(&w, PT_CAUSE_FALL, 2);
    run.ending = true;
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(pt_verdict_done(run.verdict), 0);
        cr_assert_eq(send_fall(h, b, (struct pt_fall){.cause = causes[i], .phase = PT_PHASE_CALL}, &w), 0);
    }
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_CRASHED);
    words_fini(&w);
    stop();
}

static void check_status(const char *want)
{
    struct pt_status_host rows[] = {{.name = "h1", .state = "s", .slots = 1},
                                    {.name = "h2", .state = "s", .slots = 1}};
    char *shown = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&shown, &n);
    pt_status_print(run.status, rows, 2, 1, pt_now_ms(), f);
    fclose(f);
    cr_assert_eq(strstr(shown, "a.py::0") != NULL, want != NULL, "%s", shown);
    cr_assert(!want || strstr(shown, want), "%s", shown);
    free(shown);
}

static void started(struct pt_run_host *h, const struct pt_bundle *b, uint32_t rank)
{
    struct pt_buf m = {0};
    pt_put_u32(&m, rank);
    pt_put_u32(&m, b->bundle);
    pt_put_u32(&m, b->attempt);
    pt_put_u32(&m, 0);
    cr_assert_eq(send(h, PT_L_STARTED, &m), 0);
}

Test(run_groups, what_a_group_is_at)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    const struct pt_bundle *b = begin(1, 2, &h);
    started(h, b, PT_MEMBER(1, 1));
    check_status(NULL);
    started(h, b, PT_MEMBER(1, 0));
    check_status("  group 1 of 2 ranks     0.0 s  a.py::0\n");
    passed(&w, 2);
    cr_assert_eq(send_ranks(h, b, 0, &w), 0);
    check_status(NULL);
    started(h, b, PT_MEMBER(0, 0));
    check_status("(group 0)\n");
    done_by_group(b, h);
    check_status(NULL);
    words_fini(&w);
    stop();
}

Test(run_groups, output_of_members)
{
    struct pt_run_host *h = NULL;
    struct pt_buf m = {0};
    opts.live = true;
    const struct pt_bundle *b = begin(1, 2, &h);
    for (uint32_t rank = 0; rank < 2; rank++) {
        pt_put_u32(&m, PT_MEMBER(3, rank));
        pt_put_u32(&m, b->bundle);
        pt_put_u32(&m, 0);
        pt_put_bytes(&m, "one\ntwo", 7);
        cr_assert_eq(send(h, PT_L_OUTPUT, &m), 0);
    }
    char want[64];
    snprintf(want, sizeof(want), "[%s group 3 rank 1 a.py::0] one\n", h->host->name);
    check_shown(want);
    done_by_group(b, h);
    snprintf(want, sizeof(want), "[%s group 3 rank 0 a.py::0] two\n", h->host->name);
    check_shown(want);
    char path[256];
    snprintf(path, sizeof(path), "%s/%s-group3-rank1.log", pt_logs_folder(run.logs), h->host->name);
    cr_assert_eq(access(path, R_OK), 0, "%s", path);
    pt_put_u32(&m, PT_MEMBER(PT_GROUPS_MAX, 0)); /* no such group */
    pt_put_u32(&m, PT_NONE);
    pt_put_u32(&m, 0);
    pt_put_bytes(&m, "x", 1);
    cr_assert_eq(send(h, PT_L_OUTPUT, &m), -1);
    opts.live = false;
    stop();
}

/* What its session fixtures leave is told on the last test of the group. */
Test(run_groups, an_error_while_a_session_ends)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    struct pt_buf m = {0};
    static const char json[] =
        "{\"kind\":\"report\",\"after\":0,\"report\":{\"nodeid\":\"a.py::0\",\"outcome\":"
        "\"error\",\"phase\":\"teardown\",\"message\":\"late\"}}";
    const struct pt_bundle *b = begin(1, 2, &h);
    passed(&w, 2);
    cr_assert_eq(send_ranks(h, b, 0, &w), 0);
    pt_put_u32(&m, PT_MEMBER(1, 0));
    pt_put_u32(&m, PT_NONE);
    pt_put_bytes(&m, json, sizeof(json) - 1);
    cr_assert_eq(send(h, PT_L_NOTE, &m), 0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_ERROR);
    check_told(0, "late");
    words_fini(&w);
    stop();
}

Test(run_groups, every_truncation_is_refused)
{
    struct pt_run_host *h = NULL;
    struct words w = {0};
    struct pt_buf frames[2] = {{0}};
    const struct pt_bundle *b = begin(1, 2, &h);
    died(&w, PT_CAUSE_DIED, 2);
    struct pt_fall fall = {
        .bundle = b->bundle, .attempt = b->attempt, .of = 2, .cause = PT_CAUSE_DIED, .words = w.words};
    struct words two = {0};
    passed(&two, 2);
    struct pt_ranks ranks = {.bundle = b->bundle, .attempt = b->attempt, .of = 2, .words = two.words};
    pt_ranks_encode(&ranks, 0, &frames[0]);
    pt_fall_encode(&fall, 0, &frames[1]);
    for (int i = 0; i < 2; i++) {
        for (size_t n = PT_FRAME_HEAD + 8; n < frames[i].len; n++) {
            struct pt_buf body = {0};
            pt_buf_append(&body, frames[i].data + PT_FRAME_HEAD + 8, n - PT_FRAME_HEAD - 8);
            cr_assert_eq(send(h, i ? PT_L_FALL : PT_L_RANKS, &body), -1, "%d: %zu bytes", i, n);
        }
        pt_buf_fini(&frames[i]);
    }
    cr_assert_eq(pt_verdict_done(run.verdict), 0);
    words_fini(&two);
    words_fini(&w);
    stop();
}
