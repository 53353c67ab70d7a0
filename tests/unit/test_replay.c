/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "replay.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void begin(void)
{
    snprintf(path, sizeof(path), "/tmp/ptremote-replay-XXXXXX");
    close(mkstemp(path));
}

static void end(void)
{
    unlink(path);
}

TestSuite(replay, .init = begin, .fini = end);

static void put(const void *text, size_t n)
{
    FILE *f = fopen(path, "w");
    cr_assert_eq(fwrite(text, 1, n, f), n);
    fclose(f);
}

static struct pt_replay *read_text(const char *text)
{
    struct pt_err err = PT_ERR_INIT;
    put(text, strlen(text));
    struct pt_replay *r = pt_replay_read(path, &err);
    cr_assert_not_null(r, "%s", err.msg);
    return r;
}

/* Every test was collected, but those with "gone" in their id; "twin" ids are one test. */
static bool find(void *arg, const char *nodeid, uint32_t occurrence, struct pt_bundle_test *test,
                 const char **file)
{
    static char texts[64][128];
    static uint32_t next;
    (void)arg;
    if (strstr(nodeid, "gone"))
        return false;
    char *text = texts[next++ % 64];
    snprintf(text, 128, "%.*s", (int)strcspn(nodeid, ":"), nodeid);
    *file = text;
    *test = (struct pt_bundle_test){.test = strstr(nodeid, "twin") ? 7777 : 1000 + next,
                                    .occurrence = occurrence,
                                    .nodeid = (char *)(uintptr_t)nodeid};
    return true;
}

static int tell(void *arg, const struct pt_plan_unit *u, struct pt_err *err)
{
    char *out = arg;
    (void)err;
    cr_assert(u->alone && !u->atoms && u->weight == 1 && u->seconds < 0 && !u->needs);
    sprintf(out + strlen(out), "%s%u.%u", *out ? " | " : "", u->host, u->rank);
    if (u->ranks != 1)
        sprintf(out + strlen(out), "*%u", u->ranks);
    strcat(out, ":");
    for (uint32_t f = 0; f < u->nfiles; f++)
        for (uint32_t i = 0; i < u->files[f].ntests; i++) {
            const struct pt_bundle_test *t = &u->files[f].tests[i];
            sprintf(out + strlen(out), " %s%s", f && !i ? ">" : "", t->nodeid);
            if (t->occurrence)
                sprintf(out + strlen(out), "#%u", t->occurrence);
        }
    return 0;
}

static const char *units(const struct pt_replay *r, uint32_t *gone)
{
    static char text[8192];
    struct pt_err err = PT_ERR_INIT;
    uint32_t hosts[16];
    for (uint32_t i = 0; i < 16; i++)
        hosts[i] = 10 + i;
    text[0] = '\0';
    cr_assert_eq(pt_replay_units(r, hosts, find, tell, text, gone, &err), 0, "%s", err.msg);
    return text;
}

static void replays(const char *tests, const char *want, uint32_t want_gone)
{
    char text[8192];
    uint32_t gone = 99;
    snprintf(text, sizeof(text), "{\"version\":1,\"tests\":[%s]}", tests);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    struct pt_replay *r = read_text(text);
    cr_assert_str_eq(units(r, &gone), want);
    cr_assert_eq(gone, want_gone);
    pt_replay_destroy(r);
}

#define AT(id, host, worker, bundle, started)                                                                \
    "{'nodeid':'" id "','host':'" host "','worker':" #worker ",'bundle':" #bundle ",'started':" #started "}"

Test(replay, what_ran_where_in_which_order)
{
    replays(AT("a.py::1", "h1", 0, 3, 10.5) "," AT("a.py::2", "h1", 0, 3, 10.25) "," AT(
                "b.py::1", "h1", 1, 2, 9) "," AT("a.py::3", "h2", 0, 4,
                                                 1) "," AT("b.py::2", "h1", 0, 1,
                                                           3) "," AT("b.py::3", "h1", 0, 3,
                                                                     10.75) "," AT("c.py::1", "h1", 0, 9, 4),
            "10.0: b.py::2 | 10.0: c.py::1 | 10.0: a.py::2 a.py::1 >b.py::3 | 10.1: b.py::1 | 11.0: a.py::3",
            0);
}

#define OF(id, ranks, host, group, bundle, started)                                                          \
    "{'nodeid':'" id "','ranks':" #ranks ",'host':'" host "','worker':" #group ",'bundle':" #bundle          \
    ",'started':" #started "}"

/* By the groups that ran them; slot 0 and group 0 are two. */
Test(replay, of_several_ranks)
{
    replays(
        OF("a.py::1", 2, "h", 0, 4, 3) "," AT("a.py::2", "h", 0, 1, 1) "," OF(
            "a.py::3", 2, "h", 1, 2, 1) "," OF("a.py::4", 3, "h", 0, 5, 2) "," OF("a.py::5", 2, "h", 0, 4, 4),
        "10.0: a.py::2 | 10.0*3: a.py::4 | 10.0*2: a.py::1 a.py::5 | 10.1*2: a.py::3", 0);
    replays("{'nodeid':'a.py::1','ranks':3,'tries':[{'host':'h','worker':0,'bundle':0,'started':1}]}",
            "10.0*3: a.py::1", 0);
}

/* Neither host had room for all of them: each must have the slots it had. */
Test(replay, of_several_hosts_together)
{
    uint32_t slots;
    uint32_t gone;
    struct pt_replay *r = read_text(
        "{\"version\":1,\"hosts\":[{\"name\":\"h1\",\"slots\":4},{\"name\":\"h2\",\"slots\":3}],"
        "\"tests\":[{\"nodeid\":\"a.py::1\",\"ranks\":6,\"host\":\"h2\",\"hosts\":[\"h2\",\"h1\",\"h9\"],"
        "\"worker\":0,\"bundle\":0}]}");
    cr_assert_eq(pt_replay_hosts(r), 3);
    static const struct {
        const char *name;
        uint32_t slots;
    } want[] = {{"h1", 4}, {"h2", 3}, {"h9", 1}};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(pt_replay_host(r, i, &slots), want[i].name);
        cr_expect_eq(slots, want[i].slots);
    }
    cr_expect_str_eq(units(r, &gone), "11.0*6: a.py::1");
    pt_replay_destroy(r);
}

Test(replay, slots_for_the_ranks)
{
    uint32_t slots;
    struct pt_replay *r = read_text(
        "{\"version\":1,\"tests\":[{\"nodeid\":\"a.py::1\",\"ranks\":3,\"host\":\"h\",\"worker\":200,"
        "\"bundle\":0}]}");
    pt_replay_host(r, 0, &slots);
    cr_assert_eq(slots, 3);
    pt_replay_destroy(r);
}

Test(replay, a_path_may_come_again)
{
    replays(AT("a.py::1", "h", 0, 1, 1) "," AT("a.py::2", "h", 0, 1, 3) "," AT("b.py::1", "h", 0, 1, 2),
            "10.0: a.py::1 >b.py::1 >a.py::2", 0);
}

/* A test that died told no start: it comes where its bundle has it. */
Test(replay, without_a_start)
{
    replays(AT("a.py::1", "h", 0, 1, 5) ",{'nodeid':'a.py::died','host':'h','worker':0,'bundle':1}," AT(
                "a.py::2", "h", 0, 1, 6) "," AT("a.py::3", "h", 0, 1, 4),
            "10.0: a.py::3 a.py::1 a.py::died a.py::2", 0);
    replays("{'nodeid':'a.py::died','host':'h','worker':0,'bundle':1}," AT("a.py::2", "h", 0, 1, 6),
            "10.0: a.py::died a.py::2", 0);
    replays(AT("a.py::1", "h", 0, 1, 5) ",{'nodeid':'b.py::died','host':'h','worker':0,'bundle':2}," AT(
                "c.py::1", "h", 0, 3, 9) "," AT("d.py::1", "h", 0, 4, 1),
            "10.0: d.py::1 | 10.0: a.py::1 | 10.0: b.py::died | 10.0: c.py::1", 0);
}

Test(replay, what_did_not_run_is_not_run)
{
    replays(
        "{'nodeid':'a.py::0'},{'nodeid':'a.py::1','host':'h','bundle':1},{'nodeid':'a.py::2','host':null},"
        "{'nodeid':'a.py::3','host':'h','worker':2}," AT("a.py::4", "h", 0, 0, 1),
        "10.0: a.py::4", 0);
}

Test(replay, equal_ids)
{
    replays(AT("a.py::x", "h", 0, 1, 2) "," AT("a.py::x", "h", 0, 1,
                                               1) ",{'nodeid':'a.py::x'}," AT("a.py::x", "h", 0, 1, 3),
            "10.0: a.py::x#1 a.py::x a.py::x#3", 0);
    replays("{'nodeid':'a.py::x','occurrence':5,'host':'h','worker':0,'bundle':1,'started':1}",
            "10.0: a.py::x#5", 0);
}

Test(replay, the_first_try_is_the_one)
{
    replays("{'nodeid':'a.py::x','host':'h2','worker':5,'bundle':9,'started':9,'try':3,'tries':["
            "{'try':1,'host':'h','worker':0,'bundle':1,'started':1},"
            "{'try':2,'host':'h','worker':3,'bundle':7,'started':5}]}," AT("a.py::y", "h", 0, 1, 2),
            "10.0: a.py::x a.py::y", 0);
}

Test(replay, what_is_gone_or_twice_is_counted)
{
    replays(AT("a.py::gone", "h", 0, 1, 1) "," AT("a.py::x", "h", 0, 1, 2) "," AT("b.py::gone", "h", 0, 2, 3),
            "10.0: a.py::x", 2);
    replays(AT("a.py::twin", "h", 0, 1, 2) "," AT("b.py::twin", "h", 0, 1, 1) "," AT("a.py::x", "h", 0, 1, 3),
            "10.0: b.py::twin >a.py::x", 1);
}

Test(replay, what_the_run_was)
{
    uint32_t slots, gone;
    struct pt_replay *r = read_text(
        "{\"version\":1,\"how\":{\"hash_seed\":\"77\",\"isolate\":\"bundle\",\"dist\":\"each\",\"x\":[]},"
        "\"hosts\":[{\"name\":\"idle\"},{\"name\":\"h2\",\"slots\":9},{\"name\":\"h1\"}],\"tests\":["
        "{\"nodeid\":\"a.py::x\",\"host\":\"h1\",\"worker\":3,\"bundle\":1,\"started\":1},"
        "{\"nodeid\":\"a.py::x\",\"host\":\"h2\",\"worker\":0,\"bundle\":2,\"started\":1},"
        "{\"nodeid\":\"a.py::x\",\"host\":\"h2\",\"worker\":0,\"bundle\":2,\"started\":2},"
        "{\"nodeid\":\"a.py::y\",\"host\":\"new\",\"worker\":1,\"bundle\":2}]}");
    cr_assert_str_eq(pt_replay_hash_seed(r), "77");
    cr_assert_str_eq(pt_replay_isolate(r), "bundle");
    cr_assert_str_eq(pt_replay_dist(r), "each");
    cr_assert_eq(pt_replay_hosts(r), 3);
    cr_assert_str_eq(pt_replay_host(r, 0, &slots), "h2");
    cr_assert_eq(slots, 1);
    cr_assert_str_eq(pt_replay_host(r, 1, &slots), "h1");
    cr_assert_eq(slots, 4);
    cr_assert_str_eq(pt_replay_host(r, 2, &slots), "new");
    cr_assert_eq(slots, 2);
    cr_assert_str_eq(units(r, &gone), "10.0: a.py::x a.py::x#1 | 11.3: a.py::x | 12.1: a.py::y");
    const uint32_t only[] = {PT_NONE, 4, PT_NONE};
    char text[256] = "";
    cr_assert_eq(pt_replay_units(r, only, find, tell, text, &gone, NULL), 0);
    cr_assert_str_eq(text, "4.3: a.py::x");
    cr_assert_eq(gone, 3);
    pt_replay_destroy(r);
    pt_replay_destroy(NULL);
}

Test(replay, an_older_file_does_not_say)
{
    struct pt_replay *r =
        read_text("{\"version\":1,\"tests\":[{\"nodeid\":\"a\",\"host\":\"h\",\"worker\":0,\"bundle\":0}]}");
    cr_assert_str_eq(pt_replay_hash_seed(r), "");
    cr_assert_str_eq(pt_replay_isolate(r), "");
    cr_assert_str_eq(pt_replay_dist(r), "");
    pt_replay_destroy(r);
}

static int refuse(void *arg, const struct pt_plan_unit *u, struct pt_err *err)
{
    (void)arg, (void)u;
    return pt_err_set(err, "no");
}

Test(replay, the_caller_may_end_it)
{
    struct pt_err err = PT_ERR_INIT;
    uint32_t host = 0, gone;
    struct pt_replay *r =
        read_text("{\"version\":1,\"tests\":[{\"nodeid\":\"a\",\"host\":\"h\",\"worker\":0,\"bundle\":0}]}");
    cr_assert_eq(pt_replay_units(r, &host, find, refuse, NULL, &gone, &err), -1);
    cr_assert_str_eq(err.msg, "no");
    pt_replay_destroy(r);
}

/* --- what is no such file --- */

static void refused(const char *text, const char *why)
{
    struct pt_err err = PT_ERR_INIT;
    put(text, strlen(text));
    cr_assert_null(pt_replay_read(path, &err), "%s", text);
    cr_assert_eq(strncmp(err.msg, "--replay /tmp/", 14), 0, "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, path), "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, why), "%s: %s", text, err.msg);
    cr_assert_null(strchr(err.msg, '\n'));
    cr_assert_eq(err.kind, PT_ERR_USAGE);
}

Test(replay, hostile_files)
{
    static const char *const tests[][2] = {
        {"7", "not an object"},
        {"null", "not an object"},
        {"{}", "nodeid"},
        {"{\"nodeid\":5}", "nodeid"},
        {"{\"nodeid\":\"\"}", "nodeid"},
        {"{\"nodeid\":\"a\",\"host\":7}", "host"},
        {"{\"nodeid\":\"a\",\"worker\":-1}", "worker"},
        {"{\"nodeid\":\"a\",\"worker\":1.5}", "worker"},
        {"{\"nodeid\":\"a\",\"worker\":65536}", "worker"},
        {"{\"nodeid\":\"a\",\"worker\":1e300}", "worker"},
        {"{\"nodeid\":\"a\",\"bundle\":4294967295}", "bundle"},
        {"{\"nodeid\":\"a\",\"bundle\":\"x\"}", "bundle"},
        {"{\"nodeid\":\"a\",\"started\":\"now\"}", "started"},
        {"{\"nodeid\":\"a\",\"occurrence\":99999999999}", "occurrence"},
        {"{\"nodeid\":\"a\",\"tries\":5}", "tries"},
        {"{\"nodeid\":\"a\",\"tries\":[5]}", "tries"},
        {"{\"nodeid\":\"a\",\"tries\":[{\"host\":5}]}", "host"},
    };
    char text[256];
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        snprintf(text, sizeof(text), "{\"version\":1,\"tests\":[%s]}", tests[i][0]);
        refused(text, tests[i][1]);
        cr_assert(1);
    }
    refused("", "");
    refused("[]", "--json");
    refused("{}", "--json");
    refused("{\"version\":2,\"tests\":[]}", "--json");
    refused("{\"version\":\"1\",\"tests\":[]}", "--json");
    refused("{\"version\":1}", "tests: missing");
    refused("{\"version\":1,\"tests\":{}}", "tests");
    refused("{\"version\":1,\"tests\":[]}", "where it ran");
    refused("{\"version\":1,\"tests\":[{\"nodeid\":\"a\"}]}", "where it ran");
    refused("{\"version\":1,\"hosts\":[5],\"tests\":[]}", "without a name");
    refused("{\"version\":1,\"hosts\":5,\"tests\":[]}", "hosts");
    refused("{\"version\":1,\"how\":5,\"tests\":[]}", "how");
    refused("{\"version\":1,\"how\":{\"isolate\":5},\"tests\":[]}", "isolate");
    refused("{\"version\":1,\"tests\":[{\"nodeid\":\"a\"},{\"nodeid\":\"b\",\"host\":[]}]}", "tests[1]");
}

Test(replay, no_file)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(pt_replay_read("/tmp/ptremote-replay-none", &err));
    cr_assert_str_eq(err.msg, "--replay /tmp/ptremote-replay-none: No such file or directory");
    cr_assert_null(pt_replay_read("/tmp", &err));
    cr_assert_not_null(strstr(err.msg, "/tmp: Is a directory"), "%s", err.msg);
}

Test(replay, every_truncation)
{
    static const char whole[] =
        "{\"version\":1,\"how\":{\"hash_seed\":\"77\",\"isolate\":\"bundle\"},\"hosts\":[{\"name\":\"h2\"}],"
        "\"tests\":[{\"nodeid\":\"a.py::x\",\"host\":\"h2\",\"worker\":0,\"bundle\":2,\"started\":1.5,"
        "\"tries\":[{\"try\":1,\"host\":\"h\",\"worker\":0,\"bundle\":1}]}]}";
    struct pt_err err = PT_ERR_INIT;
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        put(whole, n);
        cr_assert_null(pt_replay_read(path, &err), "%zu", n);
    }
    /* And every byte changed: refused or read, never worse. */
    for (size_t i = 0; i < sizeof(whole) - 1; i++) {
        char text[sizeof(whole)];
        uint32_t gone;
        memcpy(text, whole, sizeof(whole));
        text[i] = (char)(text[i] ^ (1 + i % 7));
        put(text, sizeof(whole) - 1);
        struct pt_replay *r = pt_replay_read(path, &err);
        if (r)
            units(r, &gone);
        pt_replay_destroy(r);
    }
}
