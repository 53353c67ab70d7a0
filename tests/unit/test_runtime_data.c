/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "history.h"
#include "runtime_data.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];

static void begin(void)
{
    snprintf(path, sizeof(path), "/tmp/ptremote-runtime-XXXXXX");
    close(mkstemp(path));
}

static void end(void)
{
    unlink(path);
}

TestSuite(runtime_data, .init = begin, .fini = end);

static void put(const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static const char *get(void)
{
    static char text[4096];
    FILE *f = fopen(path, "r");
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static struct pt_history *history(void)
{
    struct pt_history *h = pt_history_create(NULL, NULL);
    cr_assert_not_null(h);
    return h;
}

/* Testplan's own example: 199.99 s, 5 s of set-up, 8 cases; and the edges of its formula. */
Test(runtime_data, parts)
{
    cr_assert_eq(pt_runtime_parts(199.99, 5, 0, 8, 45), 5);
    cr_assert_eq(pt_runtime_parts(199.99, 5, 0, 4, 45), 4, "no more than cases");
    cr_assert_eq(pt_runtime_parts(199.99, 40, 0, 100, 45), 9, "no more than ceil(2 exec / limit)");
    cr_assert_eq(pt_runtime_parts(199.99, 40, 5, 100, 45), 9, "no room at all");
    cr_assert_eq(pt_runtime_parts(199.99, 5, 0, 8, 1800), 1);
    cr_assert_eq(pt_runtime_parts(0, 5, 0, 8, 45), 1);
    cr_assert_eq(pt_runtime_parts(45, 0, 0, 8, 45), 1);
    cr_assert_eq(pt_runtime_parts(45.01, 0, 0, 8, 45), 2);
    cr_assert_eq(pt_runtime_parts(100, 0, 0, 0, 45), 1);
    cr_assert_eq(pt_runtime_parts(100, 0, 0, 7, 0), 7);
    cr_assert_eq(pt_runtime_parts(1e300, 0, 0, 4000000000u, 1e-9), 4000000000u);
    cr_assert_eq(pt_runtime_parts(NAN, 0, 0, 7, 45) <= 7, 1);
}

Test(runtime_data, what_the_file_knows_goes_in_where_nothing_is_known)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = history();
    struct pt_history_file got;
    struct pt_took took = {0, 1, 0};
    cr_assert_eq(pt_history_saw(h, "h", "known.py", "known.py::x", 0, &took), 0);
    put("{\"a.py\": {\"execution_time\": 199.99, \"setup_time\": 39, \"teardown_time\": 0.5, "
        "\"testcase_count\": 10},\n"
        " \"b.py\": {\"execution_time\": 1, \"setup_time\": 0, \"teardown_time\": 0},\n"
        " \"known.py\": {\"execution_time\": 1, \"setup_time\": 0, \"teardown_time\": 0}}\n");
    cr_assert_eq(pt_runtime_read(path, h, &err), 0, "%s", err.msg);
    cr_assert(pt_history_assumed(h, "a.py", &got));
    cr_assert(got.execution == 199.99 && got.setup == 39 && got.teardown == 0.5 && got.count == 10);
    cr_assert(pt_history_assumed(h, "b.py", &got));
    cr_assert_eq(got.count, 0);
    cr_assert_not(pt_history_assumed(h, "known.py", &got));
    pt_history_destroy(h);
}

Test(runtime_data, no_file_is_nothing_known)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = history();
    unlink(path);
    cr_assert_eq(pt_runtime_read(path, h, &err), 0);
    cr_assert_eq(pt_history_total(h), 0);
    cr_assert_eq(pt_runtime_write(path, h, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_runtime_read(path, h, &err), 0, "%s", err.msg);
    pt_history_destroy(h);
}

/* What other suites wrote stays as it is; ours is replaced; Testplan's schema takes the result. */
Test(runtime_data, is_written)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = history();
    struct pt_took took = {5, 1, 0};
    struct stat before, after;
    cr_assert_eq(pt_history_saw(h, "h", "b.py", "b.py::x", 0, &took), 0);
    took.setup = 0;
    cr_assert_eq(pt_history_saw(h, "h", "b.py", "b.py::y", 0, &took), 0);
    cr_assert_eq(pt_history_saw(h, "h", "a \"b\".py", "a", 0, &took), 0);
    put("{\"other\":{\"execution_time\":199.99,\"setup_time\":5,\"teardown_time\":0,\"note\":[1]},"
        "\"b.py\":{\"execution_time\":7,\"setup_time\":7,\"teardown_time\":7}}");
    cr_assert_eq(stat(path, &before), 0);
    cr_assert_eq(pt_runtime_write(path, h, &err), 0, "%s", err.msg);
    cr_assert_str_eq(
        get(),
        "{\"other\":{\"execution_time\":199.99,\"setup_time\":5,\"teardown_time\":0,\"note\":[1]},"
        "\"a \\\"b\\\".py\":{\"execution_time\":1,\"setup_time\":0,\"teardown_time\":0,\"testcase_count\":1},"
        "\"b.py\":{\"execution_time\":2,\"setup_time\":5,\"teardown_time\":0,\"testcase_count\":2}}");
    cr_assert_eq(stat(path, &after), 0);
    cr_assert_neq(before.st_ino, after.st_ino, "written beside it and renamed");
    struct pt_history *again = history();
    struct pt_history_file got;
    cr_assert_eq(pt_runtime_read(path, again, &err), 0, "%s", err.msg);
    cr_assert(pt_history_assumed(again, "b.py", &got) && got.setup == 5 && got.count == 2);
    pt_history_destroy(again);
    pt_history_destroy(h);
}

Test(runtime_data, what_is_no_such_file_is_refused_and_not_overwritten)
{
    static const char *const texts[][2] = {
        {"", ""},
        {"[]", "not a JSON object"},
        {"{\"a.py\":5}", "\"a.py\": not an object"},
        {"{\"a.py\":{}}", "\"a.py\": wants execution_time"},
        {"{\"a.py\":{\"execution_time\":1,\"setup_time\":1}}", "teardown_time"},
        {"{\"a.py\":{\"execution_time\":\"1\",\"setup_time\":1,\"teardown_time\":1}}", "execution_time"},
        {"{\"a.py\":{\"execution_time\":-1,\"setup_time\":1,\"teardown_time\":1}}", "not below 0"},
        {"{\"a.py\":{\"execution_time\":1,\"setup_time\":1,\"teardown_time\":1,\"testcase_count\":-1}}",
         "testcase_count"},
        {"{\"a.py\":{\"execution_time\":1,\"setup_time\":1,\"teardown_time\":1,\"testcase_count\":1.5}}",
         "testcase_count"},
        {"{\"ok\":{\"execution_time\":1,\"setup_time\":1,\"teardown_time\":1},\"a.py\":null}", "\"a.py\""},
    };
    struct pt_history *h = history();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct pt_err err = PT_ERR_INIT;
        put(texts[i][0]);
        cr_assert_eq(pt_runtime_read(path, h, &err), -1, "%s", texts[i][0]);
        cr_assert_eq(strncmp(err.msg, "runtime data /tmp/", 18), 0, "%s", err.msg);
        cr_assert_not_null(strstr(err.msg, texts[i][1]), "%s", err.msg);
        cr_assert_eq(err.kind, PT_ERR_USAGE);
        cr_assert_eq(pt_history_total(h), 0, "nothing of it went in");
        cr_assert_eq(pt_runtime_write(path, h, &err), -1);
        cr_assert_str_eq(get(), texts[i][0]);
    }
    pt_history_destroy(h);
}

Test(runtime_data, a_place_that_cannot_be_written)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = history();
    cr_assert_eq(pt_runtime_write("/proc/none/x.json", h, &err), -1);
    cr_assert_not_null(strstr(err.msg, "/proc/none"), "%s", err.msg);
    pt_history_destroy(h);
}
