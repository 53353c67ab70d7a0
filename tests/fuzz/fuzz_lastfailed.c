/* SPDX-License-Identifier: Apache-2.0 */
/* pytest's memory of what failed: whatever is there, what is written is an object that has this run's
 * failures. */
#include "common/err.h"
#include "fuzz.h"
#include "json.h"
#include "lastfailed.h"
#include "whole_file.h"

#include <sys/stat.h>

static struct pt_suite *suite;
static struct pt_verdict *verdict;

static void make_run(void)
{
    static const struct {
        const char *nodeid;
        unsigned outcome;
    } tests[] = {{"a.py::one", PT_OUTCOME_PASSED},   {"a.py::two", PT_OUTCOME_FAILED},
                 {"a.py::two", PT_OUTCOME_ERROR},    {"b.py::three", PT_OUTCOME_NOTRUN},
                 {"b.py::four", PT_OUTCOME_CRASHED}, {"b.py::five", PT_OUTCOME_NONE}};
    unsigned held = fuzz_hold();
    suite = pt_suite_create(NULL);
    verdict = pt_verdict_create(NULL);
    for (uint32_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
        uint32_t file = pt_suite_file(suite, tests[i].nodeid[0] == 'a' ? "a.py" : "b.py");
        FUZZ_CHECK(pt_suite_add(suite, file, tests[i].nodeid, i == 2) == i &&
                   pt_verdict_add_test(verdict) == i);
        if (tests[i].outcome)
            pt_verdict_set(verdict, i, 1, tests[i].outcome, NULL, 0);
    }
    FUZZ_CHECK(mkdir(fuzz_path("v"), 0700) == 0 && mkdir(fuzz_path("v/cache"), 0700) == 0);
    fuzz_release(held);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf text = {0};
    if (!suite)
        make_run();
    fuzz_file("v/cache/lastfailed", data, size);
    if (pt_lastfailed_update(fuzz_folder(), suite, verdict, &err) < 0) {
        FUZZ_CHECK(fuzz_starved() && err.msg[0]);
        return;
    }
    fuzz_feed();
    FUZZ_CHECK(pt_whole_file(fuzz_path("v/cache/lastfailed"), PT_JSON_MAX, &text, &err) == 0);
    struct pt_json *now = pt_json_parse(text.data, text.len, &err);
    FUZZ_CHECK(now && pt_json_get(now, "a.py::two") && pt_json_get(now, "b.py::four") &&
               !pt_json_get(now, "a.py::one"));
    struct pt_json *before = pt_json_parse(data, size, NULL);
    if (!fuzz_starved() && pt_json_kind(before) == PT_JSON_OBJECT) {
        for (const struct pt_json *v = pt_json_first(before); v; v = pt_json_next(v))
            if (strspn(pt_json_name(v), "abcdefghijklmnopqrstuvwxyz/_") == strlen(pt_json_name(v)))
                FUZZ_CHECK(pt_json_get(now, pt_json_name(v)));
    }
    pt_json_destroy(before);
    pt_json_destroy(now);
    pt_buf_fini(&text);
    FUZZ_CHECK(pt_lastfailed_update("/dev/null", suite, verdict, &err) == 0);
}
