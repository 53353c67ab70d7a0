/* SPDX-License-Identifier: Apache-2.0 */
/* From the collector's tests to the plan's units: what marks say, what earlier runs took, a run to replay. */
#include "run_parts.h"

#include "common/auto.h"
#include "json.h"
#include "replay.h"
#include "runtime_data.h"
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define RANKS_READ 1000000u
#define NOBODY     ((uint64_t)1 << 63) /* a label that no host has */

static int add_unit(void *arg, const struct pt_plan_unit *unit, struct pt_err *err)
{
    struct pt_run *run = arg;
    pt_run_ahead_saw(run, unit->ranks);
    if (run->opts->target_ms && run->nexpected < PT_MAX_TESTS) {
        if (run->nexpected == run->cap_expected) {
            size_t cap = run->cap_expected ? 2 * run->cap_expected : 256;
            double *more = realloc(run->expected, cap * sizeof(*more));
            if (!more)
                return pt_err_set(err, "out of memory");
            run->expected = more;
            run->cap_expected = cap;
        }
        run->expected[run->nexpected++] = unit->seconds;
    }
    return pt_plan_add(run->plan, unit, err);
}

/* --- beginning --- */

static uint32_t slots_expected(const struct pt_run *run)
{
    uint32_t n = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        n += run->at[i].slots;
    return n;
}

static int choose_seed(struct pt_run *run, struct pt_err *err)
{
    if (!run->opts->shuffle)
        return 0;
    const char *seed =
        run->opts->shuffle[0] || !run->resume ? run->opts->shuffle : pt_resume_seed(run->resume);
    run->seed = strtoull(seed, NULL, 10);
    if (!seed[0] && getrandom(&run->seed, sizeof(run->seed), 0) != sizeof(run->seed))
        return pt_err_set(err, "no random numbers: %s", strerror(errno));
    return 0;
}

static void show_seed(const struct pt_run *run)
{
    char line[64];
    if (!run->opts->shuffle)
        return;
    snprintf(line, sizeof(line), "random order: --shuffle=%llu", (unsigned long long)run->seed);
    pt_terminal_note(run->terminal, line);
}

int pt_run_units_begin(struct pt_run *run, struct pt_err *err)
{
    const struct pt_options *opts = run->opts;
    if (!(run->history = pt_history_create(run->ledger, err)) ||
        (opts->runtime_data && pt_runtime_read(opts->runtime_data, run->history, err) < 0))
        return -1;
    show_seed(run);
    struct pt_cut_spec spec = {.dist = opts->dist,
                               .split = opts->split == PT_SPLIT_AUTO,
                               .wait = opts->schedule != PT_SCHEDULE_DYNAMIC || opts->target_ms ||
                                       opts->shuffle || run->resume,
                               .in_order = opts->schedule == PT_SCHEDULE_SEQUENTIAL && !opts->shuffle,
                               .shuffle = opts->shuffle != NULL,
                               .seed = run->seed,
                               .slots = slots_expected(run),
                               .history = run->history};
    run->cut = pt_cut_create(&spec, add_unit, run, err);
    return run->cut ? 0 : -1;
}

void pt_run_units_slots(struct pt_run *run)
{
    if (run->cut)
        pt_cut_slots(run->cut, slots_expected(run));
}

/* --- tests --- */

static enum pt_exclusive exclusive_of(const char *word)
{
    return !word ? PT_EXCLUSIVE_NOT : strcmp(word, "run") == 0 ? PT_EXCLUSIVE_RUN : PT_EXCLUSIVE_HOST;
}

/* More than any host has slots is told later, with the number. */
static uint32_t ranks_of(const struct pt_json *v)
{
    double ranks = pt_json_number(v, 1);
    if (ranks >= 2)
        return ranks < RANKS_READ ? (uint32_t)ranks : RANKS_READ;
    return ranks > -1 && ranks < 1 ? PT_PLAN_ALL : 1;
}

static void read_traits(const struct pt_run *run, const struct pt_json *o, struct pt_traits *t)
{
    struct pt_fields f = {.object = o};
    double scope = pt_json_number(pt_json_get(o, "scope"), 0);
    double weight = pt_json_number(pt_json_get(o, "weight"), 1);
    *t = (struct pt_traits){.scope = scope > 0 && scope <= PT_MAX_NODEID ? (uint32_t)scope : 0,
                            .weight = weight >= 1 && weight <= PT_SLOTS_MAX ? (uint32_t)weight : 1,
                            .ranks = ranks_of(pt_json_get(o, "ranks")),
                            .numa = o && pt_field_bool(&f, "numa", false),
                            .group = pt_json_text(pt_json_get(o, "group")),
                            .exclusive = exclusive_of(pt_json_text(pt_json_get(o, "exclusive")))};
    for (const struct pt_json *l = pt_json_first(pt_json_get(o, "needs")); l; l = pt_json_next(l)) {
        uint64_t bit = pt_json_text(l) ? pt_hosts_label(&run->hosts, pt_json_text(l)) : 0;
        t->needs |= bit ? bit : NOBODY;
    }
}

/* [nodeid, occurrence, traits] -> a numbered test; -1 when it is not that. */
static int add_test(struct pt_run *run, uint32_t file, const struct pt_json *item, struct pt_cut_test *out)
{
    struct pt_err err = PT_ERR_INIT;
    const struct pt_json *first = pt_json_first(item), *second = pt_json_next(first);
    const char *nodeid = pt_json_text(first);
    double occurrence = pt_json_number(second, -1);
    if (!nodeid || strlen(nodeid) > PT_MAX_NODEID || occurrence < 0 || occurrence > PT_MAX_TESTS)
        return -1;
    uint32_t number = pt_suite_add(run->suite, file, nodeid, (uint32_t)occurrence);
    if (number == PT_NONE || pt_verdict_add_test(run->verdict) != number)
        return -1;
    out->test = (struct pt_bundle_test){.test = number,
                                        .occurrence = (uint32_t)occurrence,
                                        .nodeid = pt_suite_get(run->suite, number)->nodeid};
    read_traits(run, pt_json_next(second), &out->traits);
    struct pt_ledger_test row = {.number = number,
                                 .nodeid = nodeid,
                                 .file = pt_suite_path(run->suite, file),
                                 .occurrence = (uint32_t)occurrence};
    if (pt_ledger_add_test(run->ledger, &row, &err) < 0)
        pt_run_fail(run, &err);
    return 0;
}

static int add_for(struct pt_run *run, uint32_t file, const struct pt_json *tests, struct pt_cut_test *list,
                   uint32_t host, struct pt_err *err)
{
    uint32_t n = 0;
    for (const struct pt_json *item = pt_json_first(tests); item; item = pt_json_next(item)) {
        if (add_test(run, file, item, &list[n]) < 0)
            return pt_err_set(err, "the collector wrote a strange 'file' line");
        int taken = pt_run_resume_take(run, list[n].test.test, err);
        if (taken < 0)
            return -1;
        n += !taken;
    }
    if (n == 0)
        return 0;
    return run->replay ? 0 : pt_cut_add(run->cut, pt_suite_path(run->suite, file), list, n, host, err);
}

int pt_run_units_file(struct pt_run *run, const char *path, const struct pt_json *tests, struct pt_err *err)
{
    size_t n = pt_json_count(tests);
    bool each = run->opts->dist == PT_DIST_EACH && !run->replay;
    uint32_t file = path && strlen(path) < PT_MAX_PATH ? pt_suite_file(run->suite, path) : PT_NONE;
    pt_auto_free struct pt_cut_test *list = calloc(n ? n : 1, sizeof(*list));
    if (file == PT_NONE || !list || n > PT_MAX_TESTS)
        return pt_err_set(err, "the collector wrote a strange 'file' line");
    if (!each)
        return add_for(run, file, tests, list, PT_NONE, err);
    for (uint32_t host = 0; host < run->hosts.n; host++)
        if (add_for(run, file, tests, list, host, err) < 0)
            return -1;
    return 0;
}

/* --- the end of the collection --- */

static bool find_test(void *arg, const char *nodeid, uint32_t occurrence, struct pt_bundle_test *test,
                      const char **path)
{
    struct pt_run *run = arg;
    uint32_t number = pt_suite_find(run->suite, nodeid, occurrence);
    if (number == PT_NONE)
        return false;
    const struct pt_suite_test *t = pt_suite_get(run->suite, number);
    *test = (struct pt_bundle_test){.test = number, .occurrence = occurrence, .nodeid = t->nodeid};
    *path = pt_suite_path(run->suite, t->file);
    return true;
}

static int tell_order(struct pt_run *run, const struct pt_json *order, struct pt_err *err)
{
    size_t n = pt_json_count(order), i = 0;
    pt_auto_free uint32_t *tests = calloc(n ? n : 1, sizeof(*tests));
    if (!tests)
        return pt_err_set(err, "out of memory");
    for (const struct pt_json *item = pt_json_first(order); item; item = pt_json_next(item)) {
        const struct pt_json *first = pt_json_first(item);
        const char *nodeid = pt_json_text(first);
        double occurrence = pt_json_number(pt_json_next(first), 0);
        uint32_t number = nodeid ? pt_suite_find(run->suite, nodeid, (uint32_t)occurrence) : PT_NONE;
        if (number != PT_NONE)
            tests[i++] = number;
    }
    return pt_cut_order(run->cut, tests, (uint32_t)i, err);
}

static int replay(struct pt_run *run, struct pt_err *err)
{
    uint32_t gone = 0;
    char line[160];
    if (pt_replay_units(run->replay, run->replay_hosts, find_test, add_unit, run, &gone, err) < 0)
        return -1;
    if (gone) {
        snprintf(line, sizeof(line), "%u test%s of the run to replay %s not collected now", gone,
                 gone == 1 ? "" : "s", gone == 1 ? "was" : "were");
        pt_terminal_note(run->terminal, line);
    }
    return 0;
}

/* How many slots end the run in time, going by earlier runs. */
static void aim(struct pt_run *run)
{
    uint32_t most = slots_expected(run);
    char line[160];
    double known = 0;
    size_t n = 0;
    for (size_t i = 0; i < run->nexpected; i++)
        if (run->expected[i] >= 0) {
            known += run->expected[i];
            n++;
        }
    double mean = n ? known / (double)n : 0;
    for (size_t i = 0; i < run->nexpected; i++)
        run->expected[i] = run->expected[i] >= 0 ? run->expected[i] : mean;
    run->aim = n ? pt_target_slots(run->expected, run->nexpected, run->opts->target_ms / 1000.0, most) : most;
    snprintf(line, sizeof(line),
             n ? "--target: %u of %u slots" : "--target: nothing is known of earlier runs; all %u slots",
             n ? run->aim : most, most);
    pt_terminal_note(run->terminal, line);
}

int pt_run_units_end(struct pt_run *run, const struct pt_json *order, struct pt_err *err)
{
    if (run->replay)
        return replay(run, err);
    if (run->opts->schedule == PT_SCHEDULE_SEQUENTIAL && !run->opts->shuffle &&
        tell_order(run, order, err) < 0)
        return -1;
    if (pt_cut_end(run->cut, err) < 0)
        return -1;
    if (run->opts->target_ms)
        aim(run);
    return 0;
}

/* --- a run to replay --- */

static int map_host(struct pt_run *run, size_t i, bool *used, struct pt_err *err)
{
    uint32_t slots;
    const char *name = pt_replay_host(run->replay, i, &slots);
    size_t at = 0;
    while (at < run->hosts.n && (used[at] || strcmp(run->hosts.items[at].name, name) != 0))
        at++;
    for (size_t k = 0; at == run->hosts.n && k < run->hosts.n; k++)
        if (!used[k])
            at = k;
    if (at == run->hosts.n)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--replay %s: that run used %zu hosts, here are %zu",
                               run->opts->replay, pt_replay_hosts(run->replay), run->hosts.n);
    if (run->hosts.items[at].slots == 0)
        run->hosts.items[at].slots = slots;
    if (run->hosts.items[at].slots < slots)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--replay %s: %s ran on %u slots then; give %s:%u",
                               run->opts->replay, name, slots, run->hosts.items[at].name, slots);
    used[at] = true;
    run->replay_hosts[i] = (uint32_t)at;
    return 0;
}

int pt_run_units_open(struct pt_run *run, struct pt_err *err)
{
    if (choose_seed(run, err) < 0)
        return -1;
    if (!run->opts->replay)
        return 0;
    if (!(run->replay = pt_replay_read(run->opts->replay, err)))
        return -1;
    if (strcmp(pt_replay_dist(run->replay), "each") == 0)
        return pt_err_set_kind(
            err, PT_ERR_USAGE,
            "--replay %s: a run with --dist each ran every test on every host; run it again the same way",
            run->opts->replay);
    size_t n = pt_replay_hosts(run->replay);
    const char *seed = pt_replay_hash_seed(run->replay);
    pt_auto_free bool *used = calloc(run->hosts.n + 1, sizeof(*used));
    run->replay_hosts = calloc(n + 1, sizeof(*run->replay_hosts));
    if (!used || !run->replay_hosts)
        return pt_err_set(err, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (map_host(run, i, used, err) < 0)
            return -1;
    if (seed[0] && strlen(seed) < sizeof(run->hash_seed))
        snprintf(run->hash_seed, sizeof(run->hash_seed), "%s", seed);
    return 0;
}

/* --- for the next run --- */

char *pt_run_how(const struct pt_run *run)
{
    static const char *const dists[] = {"file", "scope", "group", "test", "each"};
    static const char *const schedules[] = {"dynamic", "static", "sequential"};
    char seed[32];
    struct pt_json_out out;
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->seed);
    pt_json_out_init(&out, NULL);
    pt_json_open_object(&out, NULL);
    pt_json_put_str(&out, "hash_seed", run->hash_seed);
    pt_json_put_str(&out, "isolate", pt_run_isolate(run));
    pt_json_put_str(&out, "dist", dists[run->opts->dist]);
    pt_json_put_str(&out, "schedule", schedules[run->opts->schedule]);
    pt_json_put_str(&out, "seed", run->opts->shuffle ? seed : NULL);
    pt_json_close(&out);
    pt_buf_append(&out.buf, "", 1);
    if (pt_json_out_end(&out) < 0 || out.buf.bad) {
        pt_buf_fini(&out.buf);
        return NULL;
    }
    return (char *)out.buf.data;
}

const char *pt_run_isolate(const struct pt_run *run)
{
    static const char *const names[] = {"session", "bundle", "test"};
    const char *then = run->replay ? pt_replay_isolate(run->replay) : "";
    if (then[0] && !pt_options_given(run->opts, "isolate"))
        return then;
    return names[run->opts->isolate];
}

int pt_run_units_keep(struct pt_run *run, struct pt_err *err)
{
    if (!run->history)
        return 0;
    if (pt_history_keep(run->history, run->ledger, err) < 0 ||
        (run->opts->runtime_data && pt_runtime_write(run->opts->runtime_data, run->history, err) < 0))
        return -1;
    pt_run_ahead_keep(run);
    return 0;
}

void pt_run_units_fini(struct pt_run *run)
{
    pt_cut_destroy(run->cut);
    pt_history_destroy(run->history);
    pt_replay_destroy(run->replay);
    free(run->replay_hosts);
    free(run->preload);
    free(run->expected);
}
