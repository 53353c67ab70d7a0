/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks said becomes one report: words by words, and whatever hosts send. */
#include "ranks_lab.h"

/* --- of a test that all ranks ran --- */

static int merge(const struct words *w, const struct pt_ranks_of *of, struct pt_buf *out, struct pt_err *err)
{
    struct pt_ranks m = {.bundle = 3, .attempt = 1, .test = 7, .of = w->n};
    m.words = (struct pt_rank_word *)w->words;
    return pt_ranks_report(&m, of, out, err);
}

static void merged(struct words *w, const struct pt_ranks_of *of, struct pt_report *r)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    cr_assert_eq(merge(w, of, &b, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_report_decode(b.data, b.len, r, &err), 0, "%s\n%.*s", err.msg, (int)b.len, b.data);
    cr_assert_eq(r->ranks, w->n);
    cr_assert_str_eq(r->nodeid, of->nodeid);
    cr_assert_str_eq(r->file, of->path);
    pt_buf_fini(&b);
    words_fini(w);
}

Test(ranks, all_passed)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"stdout\":\"same\",\"properties\":[[\"a\",\"1\"]]}");
    words_report(
        &w, PT_OUTCOME_PASSED,
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"counts\":{\"passed\":1},\"started\":1700000000.75,"
        "\"duration\":2,\"setup\":0.5,\"call\":1,\"teardown\":0.5,\"stdout\":\"same\","
        "\"properties\":[[\"a\",\"1\"],[\"b\",2],[\"a\",\"9\"]]}");
    words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"stdout\":\"other\",\"stderr\":\"e\"}");
    merged(&w, &here, &r);
    cr_expect_eq(r.outcome, PT_OUTCOME_PASSED);
    cr_expect_eq(r.phase, PT_PHASE_CALL);
    cr_expect(r.ncounts == 1 && count_of(&r, "passed") == 1);
    cr_expect(r.duration == 2 && r.call == 1 && r.setup == 0.5 && r.started == 1700000000.75);
    cr_expect(r.nproblems == 0 && !r.message && !r.longrepr && !r.skip_file && !r.junit);
    cr_expect_str_eq(r.captured_out,
                     BAR " On ranks 0, 1 of 3 " BAR "\nsame\n" BAR " On rank 2 of 3 " BAR "\nother");
    cr_expect_str_eq(r.captured_err, BAR " On rank 2 of 3 " BAR "\ne");
    cr_expect_eq(pt_json_count(r.properties), 3);
    cr_expect_str_eq(text_at(r.properties, 0, 1), "1");
    cr_expect_str_eq(text_at(r.properties, 1, 0), "b");
    cr_expect_str_eq(text_at(r.properties, 2, 1), "9");
    pt_report_fini(&r);
}

Test(ranks, the_hosts_that_had_them)
{
    static const char *const hosts[] = {"h2", "h1"};
    static const struct pt_share shares[] = {{1, 1}, {0, 1}};
    struct pt_ranks_of of = here;
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    merged(&w, &here, &r);
    cr_expect_null(r.hosts);
    pt_report_fini(&r);
    of.hosts = hosts;
    of.nhosts = 2;
    of.shares = shares;
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    merged(&w, &of, &r);
    cr_assert_eq(pt_json_count(r.hosts), 2);
    cr_expect_str_eq(pt_json_text(pt_json_first(r.hosts)), "h2");
    cr_assert_eq(pt_json_count(r.shares), 2);
    pt_report_fini(&r);
}

Test(ranks, each_failing_rank_is_shown)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"stdout\":\"fine\"}");
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("no", "1"));
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("never", "2"));
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("no", "1"));
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_FAILED && r.phase == PT_PHASE_CALL && r.duration == 2);
    cr_expect(r.ncounts == 1 && count_of(&r, "failed") == 1);
    cr_expect_str_eq(r.message, "ranks 1, 3 of 4: no");
    const char *want =
        BAR " On ranks 1, 3 of 4 " BAR "\ndef x\nE  no\n" BAR " On rank 2 of 4 " BAR "\ndef x\nE  never";
    cr_expect_str_eq(r.longrepr, want);
    cr_assert_eq(r.nproblems, 1);
    const struct pt_problem *p = &r.problems[0];
    cr_expect_str_eq(p->longrepr, want);
    cr_expect_str_eq(p->headline, "TestA.test_x[3]");
    cr_expect_str_eq(p->category, "failed");
    cr_assert_eq(pt_json_count(p->sections), 3);
    cr_expect_str_eq(text_at(p->sections, 0, 0), "Captured stdout call on ranks 1, 3 of 4");
    cr_expect_str_eq(text_at(p->sections, 1, 0), "Captured stdout call on rank 2 of 4");
    cr_expect_str_eq(text_at(p->sections, 1, 1), "out never");
    cr_expect_str_eq(text_at(p->sections, 2, 0), "Captured stdout on rank 0 of 4");
    cr_expect_str_eq(text_at(p->sections, 2, 1), "fine");
    pt_report_fini(&r);
}

Test(ranks, all_failed_alike)
{
    struct words w = {0};
    struct pt_report r;
    for (int i = 0; i < 4; i++)
        words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("no", "1"));
    merged(&w, &here, &r);
    cr_expect_str_eq(r.message, "no");
    cr_expect_str_eq(r.problems[0].longrepr, BAR " On ranks 0-3 of 4 " BAR "\ndef x\nE  no");
    pt_report_fini(&r);
}

Test(ranks, show_capture_hides_what_passing_ranks_printed)
{
    static const char *const show[] = {NULL, "all", "stdout", "stderr", "no"};
    static const size_t sections[] = {1, 1, 1, 0, 0};
    for (size_t i = 0; i < 5; i++) {
        struct pt_ranks_of of = here;
        struct words w = {0};
        struct pt_report r;
        of.show = show[i];
        words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"stdout\":\"fine\"}");
        words_report(&w, PT_OUTCOME_FAILED, "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"message\":\"no\"}");
        merged(&w, &of, &r);
        cr_assert_eq(r.nproblems, 1);
        cr_expect_eq(pt_json_count(r.problems[0].sections), sections[i], "%zu", i);
        cr_expect_str_eq(r.problems[0].longrepr, BAR " On rank 1 of 2 " BAR "\nno");
        cr_expect_str_eq(r.problems[0].headline, "TestA.test_x[3]");
        pt_report_fini(&r);
    }
}

/* The others only say that they did not go on: the one that knows is told by. */
Test(ranks, who_only_looked_on_says_nothing)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_ERROR,
                 "{\"nodeid\":\"a\",\"outcome\":\"error\",\"phase\":\"setup\",\"counts\":{\"error\":1},"
                 "\"message\":\"set-up failed on rank 1\",\"longrepr\":\"set-up failed on rank 1\"}");
    words_report(&w, PT_OUTCOME_ERROR,
                 "{\"nodeid\":\"a\",\"outcome\":\"error\",\"phase\":\"setup\",\"counts\":{\"error\":1},"
                 "\"message\":\"fixture\",\"longrepr\":\"E fixture\",\"problems\":[{\"phase\":\"setup\","
                 "\"category\":\"error\",\"headline\":\"ERROR at setup of x\",\"longrepr\":\"E fixture\"}]}");
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_ERROR && r.phase == PT_PHASE_SETUP);
    cr_expect_str_eq(r.message, "rank 1 of 2: fixture");
    cr_expect_str_eq(r.longrepr, BAR " On rank 1 of 2 " BAR "\nE fixture");
    cr_expect_eq(count_of(&r, "error"), 1);
    cr_assert_eq(r.nproblems, 1);
    cr_expect_str_eq(r.problems[0].longrepr, r.longrepr);
    cr_expect_str_eq(r.problems[0].headline, "ERROR at setup of x");
    pt_report_fini(&r);
}

Test(ranks, a_failed_call_here_and_a_failed_tear_down_there)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_ERROR,
                 "{\"nodeid\":\"a\",\"outcome\":\"error\",\"phase\":\"teardown\",\"counts\":{\"passed\":1,"
                 "\"error\":1},\"message\":\"late\",\"longrepr\":\"E late\",\"problems\":[{\"phase\":"
                 "\"teardown\",\"category\":\"error\",\"headline\":\"h\",\"longrepr\":\"E late\"}]}");
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("no", "1"));
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_FAILED && r.phase == PT_PHASE_CALL);
    cr_expect(r.ncounts == 2 && count_of(&r, "failed") == 1 && count_of(&r, "error") == 1);
    cr_assert_eq(r.nproblems, 2);
    cr_expect_str_eq(r.problems[0].phase, "call");
    cr_expect_str_eq(r.problems[1].phase, "teardown");
    cr_expect_str_eq(r.problems[1].longrepr, BAR " On rank 0 of 2 " BAR "\nE late");
    pt_report_fini(&r);
}

#define SKIPPED                                                                                              \
    "{\"nodeid\":\"a\",\"outcome\":\"skipped\",\"phase\":\"setup\",\"counts\":{\"skipped\":1},"              \
    "\"message\":\"no gpu\",\"skip\":[\"a.py\",3,\"no gpu\"]}"

Test(ranks, skipped_by_all_and_by_some)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_SKIPPED, SKIPPED);
    words_report(&w, PT_OUTCOME_SKIPPED, SKIPPED);
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_SKIPPED && count_of(&r, "skipped") == 1 && r.nproblems == 0);
    cr_expect_str_eq(r.message, "no gpu");
    cr_assert_not_null(r.skip_file);
    cr_expect(strcmp(r.skip_file, "a.py") == 0 && r.skip_line == 3 && strcmp(r.skip_reason, "no gpu") == 0);
    pt_report_fini(&r);
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    words_report(&w, PT_OUTCOME_SKIPPED, SKIPPED);
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_FAILED && r.phase == PT_PHASE_SETUP && !r.skip_file);
    cr_expect(r.ncounts == 1 && count_of(&r, "failed") == 1);
    cr_expect_str_eq(r.message, "rank 1 of 3 skipped, others ran: no gpu");
    cr_expect_str_eq(r.problems[0].longrepr, BAR " On rank 1 of 3 " BAR "\nskipped: no gpu");
    cr_expect_str_eq(r.problems[0].category, "failed");
    pt_report_fini(&r);
}

/* Where it was skipped in set-up or while its file was imported, the others only looked on. */
Test(ranks, skipped_before_any_call)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED,
                 "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"message\":\"set-up skipped on rank 1\"}");
    words_report(&w, PT_OUTCOME_SKIPPED, SKIPPED);
    merged(&w, &here, &r);
    cr_expect_eq(r.outcome, PT_OUTCOME_FAILED);
    cr_expect_str_eq(r.message, "rank 1 of 2 skipped, others did not: no gpu");
    pt_report_fini(&r);
    words_report(&w, PT_OUTCOME_SKIPPED,
                 "{\"nodeid\":\"a\",\"outcome\":\"skipped\",\"message\":\"not collected on rank 1\"}");
    words_report(&w, PT_OUTCOME_SKIPPED, SKIPPED);
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_SKIPPED && r.skip_line == 3);
    cr_expect_str_eq(r.message, "no gpu");
    pt_report_fini(&r);
}

Test(ranks, expected_failures_go_by_gravity)
{
    static const uint8_t pairs[][3] = {
        {PT_OUTCOME_XFAILED, PT_OUTCOME_XFAILED, PT_OUTCOME_XFAILED},
        {PT_OUTCOME_XFAILED, PT_OUTCOME_XPASSED, PT_OUTCOME_XPASSED},
        {PT_OUTCOME_XPASSED, PT_OUTCOME_FAILED, PT_OUTCOME_FAILED},
        {PT_OUTCOME_XFAILED, PT_OUTCOME_SKIPPED, PT_OUTCOME_FAILED},
        {PT_OUTCOME_PASSED, PT_OUTCOME_NOTRUN, PT_OUTCOME_NOTRUN},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        struct words w = {0};
        struct pt_report r;
        for (int k = 0; k < 2; k++) {
            char json[128];
            snprintf(json, sizeof(json), "{\"nodeid\":\"a\",\"outcome\":\"%s\",\"message\":\"m\"}",
                     pt_outcome_name(pairs[i][k]));
            words_report(&w, pairs[i][k], json);
        }
        merged(&w, &here, &r);
        cr_expect_eq(r.outcome, pairs[i][2], "pair %zu: %u", i, r.outcome);
        pt_report_fini(&r);
    }
}

Test(ranks, a_word_that_was_left_out_is_an_error)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    words_none(&w);
    merged(&w, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_ERROR && r.duration == 0.5);
    cr_expect_str_eq(r.message, "rank 1 of 2: its report was too long and was left out");
    cr_expect_eq(r.nproblems, 1);
    pt_report_fini(&r);
}

Test(ranks, a_session_that_wants_to_stop)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"stop\":\"enough\"}");
    merged(&w, &here, &r);
    cr_expect_str_eq(r.stop, "enough");
    pt_report_fini(&r);
}

#define CASE(time, children)                                                                                 \
    "[[\"testcase\",{\"classname\":\"t.a\",\"name\":\"x\",\"time\":\"" time "\"},null,[" children "]]]"

static const struct pt_json *nth(const struct pt_json *list, unsigned n)
{
    const struct pt_json *e = pt_json_first(list);
    while (n--)
        e = pt_json_next(e);
    return e;
}

Test(ranks, junit_elements_become_one_testcase)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED,
                 PASSED ",\"junit\":" CASE(
                     "0.5",
                     "[\"properties\",{},null,[[\"property\",{\"name\":\"p\",\"value\":\"1\"},null,[]]]],"
                     "[\"system-out\",{},\"fine\",[]]") ",\"junit_counts\":{\"tests\":1}}");
    words_report(
        &w, PT_OUTCOME_FAILED,
        "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"duration\":2,\"message\":\"no\",\"junit\":" CASE(
            "2.0",
            "[\"properties\",{},null,[[\"property\",{\"name\":\"p\",\"value\":\"1\"},null,[]],"
            "[\"property\",{\"name\":\"q\",\"value\":\"2\"},null,[]]]],"
            "[\"failure\",{\"message\":\"no\"},\"E no\",[]],[\"system-out\",{},\"bad\",[]]") ",\"junit_"
                                                                                             "counts\":{"
                                                                                             "\"tests\":1,"
                                                                                             "\"failures\":1}"
                                                                                             "}");
    words_report(
        &w, PT_OUTCOME_ERROR,
        "{\"nodeid\":\"a\",\"outcome\":\"error\",\"duration\":1,\"message\":\"late\",\"junit\":" CASE(
            "1.0", "[\"error\",{\"message\":\"late\"},\"E late\",[]]") ",\"junit_counts\":{\"tests\":2,"
                                                                       "\"errors\":1}}");
    merged(&w, &here, &r);
    cr_assert_eq(pt_json_count(r.junit), 2, "a failure and an error: two testcases, as pytest has them");
    const struct pt_json *first = pt_json_first(r.junit);
    cr_expect_str_eq(pt_json_text(pt_json_get(nth(first, 1), "time")), "2.0");
    const struct pt_json *children = nth(first, 3);
    cr_assert_eq(pt_json_count(children), 3);
    cr_expect_eq(pt_json_count(nth(nth(children, 0), 3)), 2, "properties");
    const struct pt_json *failure = nth(children, 1);
    cr_expect_str_eq(pt_json_text(nth(failure, 0)), "failure");
    cr_expect_str_eq(pt_json_text(pt_json_get(nth(failure, 1), "message")), "no");
    cr_expect_str_eq(pt_json_text(nth(failure, 2)), BAR " On rank 1 of 3 " BAR "\nE no");
    cr_expect_str_eq(pt_json_text(nth(nth(children, 2), 2)),
                     BAR " On rank 0 of 3 " BAR "\nfine\n" BAR " On rank 1 of 3 " BAR "\nbad");
    const struct pt_json *second = nth(nth(r.junit, 1), 3);
    cr_expect_str_eq(pt_json_text(nth(nth(second, 1), 0)), "error");
    struct pt_fields f = {.object = r.junit_counts};
    cr_expect(pt_field_u32(&f, "tests", 9, 0) == 1 && pt_field_u32(&f, "failures", 9, 0) == 1 &&
              pt_field_u32(&f, "errors", 9, 0) == 1);
    pt_report_fini(&r);
}

/* Ranks that have nothing to show say less. */
Test(ranks, what_only_one_rank_says)
{
    struct words w = {0};
    struct pt_report r;
    words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"junit\":" CASE("0.500", "") "}");
    words_report(
        &w, PT_OUTCOME_PASSED,
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"counts\":{\"passed\":1},\"duration\":2,\"call\":1.5}");
    merged(&w, &here, &r);
    cr_expect(r.duration == 2 && r.call == 1.5 && r.started == 1700000000.5);
    cr_expect_str_eq(pt_json_text(pt_json_get(nth(pt_json_first(r.junit), 1), "time")), "2.000");
    cr_expect_str_eq(pt_json_text(pt_json_get(nth(pt_json_first(r.junit), 1), "name")), "x");
    pt_report_fini(&r);
}

Test(ranks, texts_are_cut_in_the_middle)
{
    struct words w = {0};
    struct pt_report r;
    char *json = malloc(PT_MAX_TEXT + 256);
    for (int k = 0; k < 3; k++) {
        int n = sprintf(json, "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"stdout\":\"%d", k);
        memset(json + n, 'a' + k, PT_MAX_TEXT / 2);
        strcpy(json + n + PT_MAX_TEXT / 2, "\"}");
        words_report(&w, PT_OUTCOME_PASSED, json);
    }
    free(json);
    merged(&w, &here, &r);
    cr_expect_leq(strlen(r.captured_out), PT_MAX_TEXT);
    cr_expect_not_null(strstr(r.captured_out, " bytes left out by ptremote ...]\n"));
    cr_expect_eq(strncmp(r.captured_out, BAR " On rank 0", 42), 0);
    cr_expect_eq(r.captured_out[strlen(r.captured_out) - 1], 'c');
    pt_report_fini(&r);
}

Test(ranks, very_many_ranks)
{
    static struct pt_rank_word words[PT_RANKS_MAX];
    struct words w = {0};
    struct pt_report r;
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("no", "1"));
    words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
    for (uint32_t i = 0; i < PT_RANKS_MAX; i++)
        words[i] = w.words[i % 2];
    struct pt_ranks m = {.of = PT_RANKS_MAX, .words = words};
    cr_assert_eq(pt_ranks_report(&m, &here, &b, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_report_decode(b.data, b.len, &r, &err), 0);
    cr_expect_eq(strncmp(r.message, "ranks 0, 2, 4, 6", 16), 0, "%s", r.message);
    cr_expect_lt(strlen(r.message), 200);
    cr_expect_not_null(strstr(r.message, " ... of 4096: no"));
    pt_report_fini(&r);
    pt_buf_fini(&b);
    words_fini(&w);
}

/* --- whatever hosts send --- */

Test(ranks, a_report_that_is_none_is_refused_with_its_rank)
{
    static const char *const odd[] = {"",
                                      "{",
                                      "[]",
                                      "{\"nodeid\":1}",
                                      "{\"outcome\":\"passed\"}",
                                      "{\"nodeid\":\"a\",\"outcome\":\"no\"}",
                                      "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"ranks\":-1}"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct words w = {0};
        struct pt_buf b = {0};
        struct pt_err err = PT_ERR_INIT;
        words_report(&w, PT_OUTCOME_PASSED, PASSED "}");
        words_report(&w, PT_OUTCOME_PASSED, odd[i]);
        cr_expect_eq(merge(&w, &here, &b, &err), -1, "%s", odd[i]);
        cr_expect_not_null(strstr(err.msg, "rank 1 of 2"), "%s", err.msg);
        struct pt_fall m = fall_of(&w, PT_CAUSE_DIED, PT_PHASE_CALL, 0);
        err = PT_ERR_INIT;
        cr_expect_eq(pt_ranks_fall_report(&m, &here, &b, &err), -1);
        cr_expect(err.msg[0]);
        pt_buf_fini(&b);
        words_fini(&w);
    }
}

static void mutate(char *text, size_t n, uint32_t *seed)
{
    static const char pieces[] = "\"{}[],:\\0naftrue-1e9";
    for (int k = 0; k < 3; k++) {
        *seed = *seed * 1664525u + 1013904223u;
        text[(*seed >> 8) % n] = pieces[(*seed >> 3) % (sizeof(pieces) - 1)];
    }
}

/* Texts of reports with a few bytes changed: a report comes of it or an error, and nothing worse. */
Test(ranks, changed_reports_do_no_harm)
{
    static const char *const texts[] = {
        FAILED_BY("no", "1"), SKIPPED,
        PASSED
        ",\"stdout\":\"x\",\"properties\":[[\"a\",\"1\"]],\"junit_counts\":{\"errors\":1},\"junit\":" CASE(
            "1", "[\"failure\",{\"message\":\"m\"},\"t\",[]],[\"error\",{},\"t\",[]],"
                 "[\"properties\",{},null,[[\"property\",{\"name\":\"p\"},null,[]]]]") "}"};
    uint32_t seed = 1;
    int ok = 0;
    for (int round = 0; round < 3000; round++) {
        char *copy = strdup(texts[round % 3]);
        struct words w = {0};
        struct pt_buf b = {0};
        struct pt_err err = PT_ERR_INIT;
        struct pt_report r;
        mutate(copy, strlen(copy), &seed);
        words_report(&w, PT_OUTCOME_FAILED, texts[(round + 1) % 3]);
        words_report(&w, PT_OUTCOME_PASSED, copy);
        int rc = merge(&w, &here, &b, &err);
        cr_expect(rc == 0 || err.msg[0]);
        if (rc == 0 && pt_report_decode(b.data, b.len, &r, &err) == 0) {
            ok++;
            pt_report_fini(&r);
        } else {
            cr_expect_eq(rc, -1, "a report was made that is none: %.*s", (int)b.len, b.data);
        }
        pt_buf_clear(&b);
        struct pt_fall m = fall_of(&w, PT_CAUSE_DEADLOCK, PT_PHASE_CALL, (uint32_t)round % 2);
        rc = pt_ranks_fall_report(&m, &here, &b, &err);
        cr_expect(rc == 0 || err.msg[0]);
        free(copy);
        pt_buf_fini(&b);
        words_fini(&w);
    }
    cr_expect_gt(ok, 100);
}
