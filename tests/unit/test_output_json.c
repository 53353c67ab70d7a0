/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "ledger_lab.h"
#include "output/json_file.h"

#include <dirent.h>

TestSuite(json_file, .init = lab_make, .fini = lab_remove);

static struct pt_json *write_and_read(struct pt_ledger *l, const struct pt_verdict *v)
{
    struct pt_err err = PT_ERR_INIT;
    char path[128];
    snprintf(path, sizeof(path), "%s/out/result.json", lab_dir);
    struct pt_json_file o = {
        .path = path, .run_name = "r1", .exitcode = 1, .started = 1700000000.1234567, .seconds = 2.5};
    cr_assert_eq(pt_json_file_write(&o, l, 0, v, &err), 0, "%s", err.msg);
    FILE *f = fopen(path, "r");
    char *text = malloc(1 << 20);
    size_t n = fread(text, 1, 1 << 20, f);
    fclose(f);
    struct pt_json *root = pt_json_parse(text, n, &err);
    cr_assert_not_null(root, "%s", err.msg);
    free(text);
    return root;
}

static void check_text(const struct pt_json *o, const char *key, const char *want)
{
    const char *got = pt_json_text(pt_json_get(o, key));
    cr_assert(got && strcmp(got, want) == 0, "%s: %s", key, got ? got : "absent");
}

static void check_number(const struct pt_json *o, const char *key, double want)
{
    cr_assert(pt_json_number(pt_json_get(o, key), -99) == want, "%s: %f", key,
              pt_json_number(pt_json_get(o, key), -99));
}

static void fill(struct pt_ledger *l, struct pt_verdict *v)
{
    struct pt_ledger_host host = {.name = "h1",
                                  .state = "done",
                                  .slots = 4,
                                  .bytes_sent = 5,
                                  .connect = 0.5,
                                  .sync = -1,
                                  .launch = 0.25,
                                  .tree = {.files_sent = 1,
                                           .bytes_raw = 20,
                                           .files_reused = 3,
                                           .bytes_reused = 40,
                                           .removed = 5,
                                           .rate = 6000,
                                           .offer = 0.125,
                                           .send = 0.5,
                                           .finish = -1}};
    lab_begin(l, "r1");
    pt_ledger_add_host(l, &host, NULL);
    lab_report(l, PT_NONE, PT_OUTCOME_ERROR, 1, false,
               "{\"nodeid\":\"b.py\",\"file\":\"b.py\",\"outcome\":\"error\",\"phase\":\"collect\","
               "\"longrepr\":\"E\"}");
    pt_verdict_add_entry(v, PT_OUTCOME_ERROR, NULL, 0);
    static const uint8_t outcomes[] = {PT_OUTCOME_FAILED, PT_OUTCOME_PASSED, PT_OUTCOME_NOTRUN};
    static const char *const json[] = {"{\"nodeid\":\"a.py::x\",\"outcome\":\"failed\",\"message\":\"m\","
                                       "\"longrepr\":\"l\",\"stdout\":\"o\\u001b\","
                                       "\"stderr\":\"e\",\"started\":1700000001.5,\"duration\":0.5,\"setup\":"
                                       "0.125,\"call\":0.25,\"teardown\":0.125}",
                                       "{\"nodeid\":\"a.py::y\",\"outcome\":\"passed\",\"ranks\":3,"
                                       "\"hosts\":[\"h1\",\"h2\"],\"shares\":[2,1],\"duration\":1}",
                                       NULL};
    static const char *const ids[] = {"a.py::x", "a.py::y", "a.py::z"};
    for (uint32_t i = 0; i < 3; i++) {
        lab_test(l, i, ids[i]);
        pt_verdict_add_test(v);
        pt_verdict_set(v, i, 1, outcomes[i], NULL, 0);
    }
    lab_report(l, 0, outcomes[0], 1, false, json[0]);
    lab_report(l, 1, outcomes[1], 1, false, json[1]);
    lab_report(l, 1, PT_OUTCOME_ERROR, 1, true,
               "{\"nodeid\":\"a.py::y\",\"outcome\":\"error\",\"phase\":\"teardown\",\"message\":\"late\"}");
    pt_verdict_amend(v, 1, PT_OUTCOME_ERROR, NULL, 0);
    pt_ledger_finish_run(l, 5, 1, PT_OUTCOME_NOTRUN, NULL);
}

Test(json_file, holds_the_contract)
{
    struct pt_ledger *l = lab_open();
    struct pt_verdict *v = pt_verdict_create(NULL);
    fill(l, v);
    struct pt_json *root = write_and_read(l, v);
    check_number(root, "version", 1);
    check_text(root, "run", "r1");
    check_number(root, "exitcode", 1);
    check_number(root, "started", 1700000000.123457);
    check_number(root, "duration", 2.5);
    const struct pt_json *host = pt_json_first(pt_json_get(root, "hosts"));
    check_text(host, "name", "h1");
    check_number(host, "slots", 4);
    check_number(host, "bytes_sent", 5);
    check_number(pt_json_get(host, "seconds"), "connect", 0.5);
    cr_assert_null(pt_json_get(pt_json_get(host, "seconds"), "sync"));
    check_number(pt_json_get(host, "seconds"), "offer", 0.125);
    check_number(pt_json_get(host, "seconds"), "send", 0.5);
    cr_assert_null(pt_json_get(pt_json_get(host, "seconds"), "finish"));
    const struct pt_json *tree = pt_json_get(host, "sync");
    check_number(tree, "files_sent", 1);
    check_number(tree, "bytes_raw", 20);
    check_number(tree, "files_reused", 3);
    check_number(tree, "bytes_reused", 40);
    check_number(tree, "removed", 5);
    check_number(tree, "rate", 6000);
    const struct pt_json *summary = pt_json_get(root, "summary");
    check_number(summary, "failed", 1);
    check_number(summary, "error", 2);
    check_number(summary, "notrun", 1);
    check_number(summary, "passed", 0);
    cr_assert_eq(pt_json_count(summary), PT_OUTCOMES - 1);
    double sum = 0;
    for (const struct pt_json *e = pt_json_first(summary); e; e = pt_json_next(e))
        sum += pt_json_number(e, -1);
    cr_assert_eq(sum, (double)pt_json_count(pt_json_get(root, "tests")), "every entry has one outcome");
    pt_json_destroy(root);
    pt_verdict_destroy(v);
    pt_ledger_close(l);
}

Test(json_file, tells_each_test)
{
    struct pt_ledger *l = lab_open();
    struct pt_verdict *v = pt_verdict_create(NULL);
    fill(l, v);
    struct pt_json *root = write_and_read(l, v);
    const struct pt_json *t = pt_json_first(pt_json_get(root, "tests"));
    check_text(t, "nodeid", "b.py");
    check_text(t, "phase", "collect");
    t = pt_json_next(t);
    check_text(t, "nodeid", "a.py::x");
    check_text(t, "file", "a.py");
    check_text(t, "outcome", "failed");
    check_text(t, "host", "h1");
    check_number(t, "worker", 2);
    check_number(t, "attempt", 1);
    check_number(t, "setup", 0.125);
    check_text(t, "stdout", "o\x1b");
    check_text(t, "longrepr", "l");
    cr_assert(!pt_json_get(t, "ranks") && !pt_json_get(t, "hosts"));
    t = pt_json_next(t);
    check_text(t, "outcome", "error");
    check_number(t, "ranks", 3);
    check_text(t, "host", "h1");
    cr_assert_eq(pt_json_count(pt_json_get(t, "hosts")), 2);
    cr_assert_str_eq(pt_json_text(pt_json_next(pt_json_first(pt_json_get(t, "hosts")))), "h2");
    cr_assert_eq(pt_json_count(pt_json_get(t, "shares")), 2);
    check_text(t, "phase", "teardown");
    check_text(t, "message", "late");
    check_number(t, "duration", 1);
    t = pt_json_next(t);
    check_text(t, "outcome", "notrun");
    cr_assert_eq(pt_json_count(t), 3, "absent values are left out");
    cr_assert_null(pt_json_next(t));
    pt_json_destroy(root);
    pt_verdict_destroy(v);
    pt_ledger_close(l);
}

Test(json_file, leaves_nothing_beside_it)
{
    struct pt_ledger *l = lab_open();
    struct pt_verdict *v = pt_verdict_create(NULL);
    lab_begin(l, "r1");
    pt_json_destroy(write_and_read(l, v));
    struct pt_json_file o = {.path = "/dev/full", .run_name = "r1"};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_json_file_write(&o, l, 0, v, &err), -1);
    cr_assert_not_null(strstr(err.msg, "/dev/full"), "%s", err.msg);
    int n = 0;
    DIR *d = opendir(lab_path("out"));
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    cr_assert_eq(n, 1);
    pt_verdict_destroy(v);
    pt_ledger_close(l);
}
