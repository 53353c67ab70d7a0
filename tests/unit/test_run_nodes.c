/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of three hosts, with the run and the collector around them played here. */
#include "run_nodes.h"

#include "common/message_group.h"
#include "json.h"
#include "run_said.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pt_run run;
static struct pt_run_host at[3];
static struct pt_host names[3] = {{.name = (char *)"a"}, {.name = (char *)"b"}, {.name = (char *)"c"}};
static struct pt_options opts;
static FILE *out;
static char *printed;
static size_t printed_len;

int pt_collect_ask(struct pt_collect *c, const void *line, size_t n)
{
    (void)c;
    say("%.*s\n", (int)n, (const char *)line);
    return 0;
}

void pt_run_fail(struct pt_run *r, const struct pt_err *err)
{
    r->failed = true;
    say("failed: %s\n", err->msg);
}

int pt_run_resume_take(struct pt_run *r, uint32_t test, struct pt_err *err)
{
    (void)r, (void)test, (void)err;
    return 0;
}

void pt_run_host_begin(struct pt_run_host *h)
{
    say("begin %s\n", h->host->name);
}

static void heard(const char *words)
{
    cr_assert_str_eq(said, words);
    said[0] = '\0';
}

static struct pt_json *parsed(const char *text)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_json *json = pt_json_parse(text, strlen(text), &err);
    cr_assert_not_null(json, "%s: %s", text, err.msg);
    return json;
}

/* Whether it was taken. */
static bool line(const char *text)
{
    struct pt_json *json = parsed(text);
    bool taken = pt_run_nodes_line(&run, pt_json_text(pt_json_get(json, "t")), json);
    pt_json_destroy(json);
    return taken;
}

static void begin(const char *session_line)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_json *json = parsed(session_line);
    cr_assert_eq(pt_run_nodes_begin(&run, json, &err), 0, "%s", err.msg);
    pt_json_destroy(json);
}

static void setup(void)
{
    struct pt_err err = PT_ERR_INIT;
    run = (struct pt_run){.opts = &opts, .at = at, .id = "run-1"};
    run.hosts.n = 3;
    run.collect = (struct pt_collect *)&run;
    run.verdict = pt_verdict_create(&err);
    run.suite = pt_suite_create(&err);
    out = open_memstream(&printed, &printed_len);
    struct pt_terminal_options terminal = {.out = out, .durations = -1};
    run.terminal = pt_terminal_create(&terminal, &err);
    for (uint32_t i = 0; i < 3; i++)
        at[i] =
            (struct pt_run_host){.run = &run, .number = i, .host = &names[i], .slots = 2, .launch_slots = 2};
}

static void teardown(void)
{
    pt_run_nodes_fini(&run);
    pt_verdict_destroy(run.verdict);
    pt_suite_destroy(run.suite);
    pt_terminal_destroy(run.terminal);
    fclose(out);
    free(printed);
}

TestSuite(run_nodes, .init = setup, .fini = teardown);

#define PLAIN  "{\"t\":\"session\",\"session\":{\"args\":[\"-q\"],\"root\":\"/x\"}}"
#define WANTED "{\"t\":\"session\",\"nodes\":true,\"session\":{\"root\":\"/x\"}}"

/* What goes into the host's SESSION, or NULL while it has to wait. */
static struct pt_json *session_of(uint32_t host)
{
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    int rc = pt_run_nodes_session(&at[host], &b, &err);
    cr_assert_geq(rc, 0, "%s", err.msg);
    struct pt_json *json = NULL;
    if (rc == 1) {
        cr_assert_gt(b.len, 9);
        cr_assert_eq(b.data[4], PT_L_SESSION);
        json = pt_json_parse(b.data + 9, b.len - 9, &err);
        cr_assert_not_null(json, "%s", err.msg);
    }
    pt_buf_fini(&b);
    return json;
}

static double number(const struct pt_json *o, const char *key)
{
    return pt_json_number(pt_json_get(o, key), -1);
}

Test(run_nodes, every_host_has_numbers_of_its_own_and_keeps_them)
{
    static const uint32_t order[] = {2, 0, 1, 2, 0};
    opts.isolate = PT_ISOLATE_TEST;
    begin(PLAIN);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        struct pt_json *o = session_of(order[i]);
        cr_assert_eq(number(o, "base"), 2 * order[i]);
        cr_assert_eq(at[order[i]].base, 2 * order[i]);
        cr_assert_eq(number(o, "count"), 6);
        cr_assert_str_eq(pt_json_text(pt_json_get(o, "isolate")), "test");
        cr_assert_str_eq(pt_json_text(pt_json_get(o, "testrun_uid")), "run-1");
        cr_assert_str_eq(pt_json_text(pt_json_get(o, "root")), "/x");
        cr_assert_null(pt_json_get(o, "inputs"));
        pt_json_destroy(o);
    }
    cr_assert(pt_run_nodes_end(&run));
    heard("");
    opts.isolate = PT_ISOLATE_SESSION;
}

Test(run_nodes, hosts_that_come_late_get_what_is_free)
{
    begin("{\"session\":{\"testrun_uid\":\"mine\"}}");
    at[0].slots = at[0].launch_slots = 0;
    struct pt_json *o = session_of(2);
    cr_assert_eq(number(o, "base"), 0);
    cr_assert_eq(number(o, "count"), 4);
    cr_assert_str_eq(pt_json_text(pt_json_get(o, "testrun_uid")), "mine");
    pt_json_destroy(o);
    at[0].slots = at[0].launch_slots = 5;
    o = session_of(0);
    cr_assert_eq(number(o, "base"), 2);
    pt_json_destroy(o);
    o = session_of(1);
    cr_assert_eq(number(o, "base"), 7);
    pt_json_destroy(o);
}

static void answer_all(void)
{
    cr_assert_null(session_of(1));
    said[0] = '\0';
    cr_assert(line("{\"t\":\"node\",\"id\":\"gw2\",\"input\":\"[2]\"}"));
    heard("");
    cr_assert(line("{\"t\":\"node\",\"id\":\"gw3\",\"input\":\"[3]\"}"));
    heard("begin b\n");
}

Test(run_nodes, a_host_waits_for_its_nodes_to_be_configured)
{
    begin(WANTED);
    cr_assert_null(session_of(1));
    heard("{\"t\":\"node\",\"id\":\"gw2\",\"host\":\"b\",\"uid\":\"run-1\",\"count\":6}\n"
          "{\"t\":\"node\",\"id\":\"gw3\",\"host\":\"b\",\"uid\":\"run-1\",\"count\":6}\n");
    cr_assert_null(session_of(1));
    heard(""); /* asked once */
    answer_all();
    cr_assert(line("{\"t\":\"node\",\"id\":\"gw3\",\"input\":\"[4]\"}")); /* of one that started anew */
    heard("");
    struct pt_json *o = session_of(1);
    const struct pt_json *inputs = pt_json_get(o, "inputs");
    cr_assert_eq(pt_json_count(inputs), 2);
    cr_assert_str_eq(pt_json_text(pt_json_first(inputs)), "[2]");
    cr_assert_str_eq(pt_json_text(pt_json_next(pt_json_first(inputs))), "[3]");
    cr_assert_eq(pt_json_kind(pt_json_get(o, "want_output")), PT_JSON_BOOL);
    pt_json_destroy(o);
}

Test(run_nodes, what_is_no_answer_ends_the_run)
{
    static const char *const bad[] = {
        "{\"t\":\"node\",\"id\":\"gw2\",\"error\":\"no\"}",
        "{\"t\":\"node\",\"id\":\"gw2\"}",
        "{\"t\":\"node\",\"id\":\"gw99\",\"input\":\"[]\"}",
        "{\"t\":\"node\",\"id\":\"gw\",\"input\":\"[]\"}",
        "{\"t\":\"node\",\"id\":\"gw2x\",\"input\":\"[]\"}",
        "{\"t\":\"node\",\"id\":\"2\",\"input\":\"[]\"}",
        "{\"t\":\"node\",\"input\":\"[]\"}",
        "{\"t\":\"node\",\"id\":7,\"input\":\"[]\"}",
    };
    begin(WANTED);
    cr_assert_null(session_of(1));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        run.failed = false;
        cr_assert(line(bad[i]));
        cr_assert(run.failed, "%s", bad[i]);
    }
    cr_assert_not_null(strstr(said, "failed: no\n"));
    cr_assert_not(line("{\"t\":\"final\"}"));
}

static void note(const char *text)
{
    pt_run_nodes_output(&at[1], 0, text, strlen(text));
}

Test(run_nodes, what_becomes_of_nodes_is_told_once)
{
    begin(WANTED);
    answer_all();
    pt_run_nodes_ready(&at[1], 0);
    pt_run_nodes_ready(&at[1], 0);
    pt_run_nodes_ready(&at[1], 7);
    pt_run_nodes_ready(&at[0], 0);
    heard("{\"t\":\"ready\",\"id\":\"gw2\"}\n");
    note("{\"kind\":\"workeroutput\",\"output\":\"{}\",\"info\":{\"platform\":\"linux\"}}");
    heard("{\"t\":\"down\",\"id\":\"gw2\",\"output\":\"{}\",\"info\":{\"platform\":\"linux\"}}\n");
    pt_run_nodes_down(&at[1], 0, NULL);
    pt_run_nodes_down(&at[1], 0, "killed");
    heard("");
    pt_run_nodes_ready(&at[1], 0); /* the slot has a new session */
    pt_run_nodes_down(&at[1], 0, "killed");
    heard("{\"t\":\"ready\",\"id\":\"gw2\"}\n{\"t\":\"down\",\"id\":\"gw2\",\"error\":\"killed\"}\n");
    note("{\"problem\":\"too much\"}");
    heard("b: gw2: too much\n{\"t\":\"down\",\"id\":\"gw2\",\"error\":\"too much\"}\n");
    note("no json");
    heard("");
}

Test(run_nodes, a_member_of_a_group_is_one_more_session_of_a_slot)
{
    const char *json = "{\"output\":\"{}\"}";
    begin(WANTED);
    answer_all();
    pt_run_nodes_ready(&at[1], 1);
    heard("{\"t\":\"ready\",\"id\":\"gw3\"}\n");
    pt_run_nodes_output(&at[1], PT_MEMBER(2, 3), json, strlen(json));
    heard("{\"t\":\"down\",\"id\":\"gw3\",\"output\":\"{}\"}\n");
    pt_run_nodes_down(&at[1], 1, "killed"); /* the slot's own went on */
    heard("{\"t\":\"down\",\"id\":\"gw3\",\"error\":\"killed\"}\n");
    pt_run_nodes_output(&at[1], PT_MEMBER(0, 0), json, strlen(json)); /* of a slot that has none */
    heard("{\"t\":\"down\",\"id\":\"gw2\",\"output\":\"{}\"}\n");
    pt_run_nodes_down(&at[1], 0, NULL);
    heard("");
}

Test(run_nodes, the_end_is_waited_for)
{
    begin(WANTED);
    answer_all();
    pt_run_nodes_ready(&at[1], 1);
    heard("{\"t\":\"ready\",\"id\":\"gw3\"}\n");
    cr_assert_not(pt_run_nodes_end(&run));
    heard("{\"t\":\"down\",\"id\":\"gw3\",\"error\":\"Not properly terminated\"}\n"
          "{\"t\":\"end\",\"failed\":0,\"collected\":0}\n");
    cr_assert_not(pt_run_nodes_end(&run));
    cr_assert(line("{\"t\":\"text\",\"line\":\"TOTAL\"}"));
    cr_assert(line("{\"t\":\"text\"}"));
    cr_assert(line("{\"t\":\"ended\",\"exit\":1}"));
    heard("");
    fflush(out);
    cr_assert_str_eq(printed, "TOTAL\n\n");
    cr_assert(pt_run_nodes_end(&run));
    cr_assert_eq(pt_run_nodes_exit(&run, 0), 1);
    cr_assert_eq(pt_run_nodes_exit(&run, 2), 2);
    pt_run_nodes_down(&at[1], 0, "late");
    heard("");
}

Test(run_nodes, nobody_is_waited_for_who_is_gone)
{
    cr_assert(pt_run_nodes_end(&run));
    cr_assert_eq(pt_run_nodes_exit(&run, 5), 5);
    begin(WANTED);
    run.collect = NULL;
    cr_assert(pt_run_nodes_end(&run));
    cr_assert(line("{\"t\":\"ended\",\"exit\":-4}"));
    cr_assert_eq(pt_run_nodes_exit(&run, 0), 0);
}

Test(run_nodes, too_much_for_a_frame_is_said)
{
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    size_t most = PT_MAX_TEXT;
    char *text = malloc(most + 200);
    begin(WANTED);
    cr_assert_null(session_of(1));
    int n = sprintf(text, "{\"t\":\"node\",\"id\":\"gw2\",\"input\":\"");
    memset(text + n, 'x', most);
    strcpy(text + n + most, "\"}");
    cr_assert(line(text));
    cr_assert(line("{\"t\":\"node\",\"id\":\"gw3\",\"input\":\"[3]\"}"));
    cr_assert_eq(pt_run_nodes_session(&at[1], &b, &err), -1);
    cr_assert_not_null(strstr(err.msg, "too much for one host"));
    pt_buf_fini(&b);
    free(text);
}
