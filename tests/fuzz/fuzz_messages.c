/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts say of bundles that they hold, held once, or never had, in any order: a test has one outcome,
 * counted once, and only of a host that was dealt it. The input: how the run is; its units; then messages,
 * each about a bundle that was dealt, and what happens to hosts between them. */
#include "common/message_group.h"
#include "fuzz.h"
#include "history.h"
#include "logs.h"
#include "rerun.h"
#include "run_nodes.h"
#include "run_results.h"
#include "status.h"
#include "tests/unit/run_plays.h"

#include <stdarg.h>

#define HOSTS 2
#define SLOTS 3
#define UNITS 8
#define TESTS 32
#define DEALS 64
#define STEPS 200

static struct {
    struct pt_run run;
    struct pt_options opts;
    struct pt_host hosts[HOSTS];
    struct pt_run_host at[HOSTS];
    bool up[HOSTS], gone[HOSTS];
    FILE *out;
    struct {
        uint32_t host, bundle;
        bool held;
    } deals[DEALS];
    uint32_t ndeals, ntests;
    struct {
        bool counted, again; /* it has an outcome; is to run again */
        uint32_t host;
        void *json; /* of its last try */
        size_t n;
    } tests[TESTS];
    struct pt_plan_steal asked;
    uint32_t stolen[TESTS];
    bool failed, ended;
} lab;

/* --- the ledger: what is counted of a test, and when --- */

static void keep_json(uint32_t test, const struct pt_ledger_report *row)
{
    free(lab.tests[test].json);
    unsigned held = fuzz_hold();
    lab.tests[test].json = malloc(row->json_len + 1);
    fuzz_release(held);
    memcpy(lab.tests[test].json, row->json, row->json_len);
    lab.tests[test].n = row->json_len;
    lab.tests[test].host = row->host;
}

int pt_ledger_add_report(struct pt_ledger *l, const struct pt_ledger_report *row, struct pt_err *err)
{
    (void)l, (void)err;
    FUZZ_CHECK(row->outcome < PT_OUTCOMES && row->json);
    if (row->test == PT_NONE || !row->counted)
        return 0;
    FUZZ_CHECK(row->test < lab.ntests);
    bool *counted = &lab.tests[row->test].counted;
    FUZZ_CHECK(*counted == (row->extra || row->counted == PT_COUNTED_INSTEAD));
    *counted = true;
    lab.tests[row->test].again = false;
    if (row->host != PT_NONE && !row->extra && !lab.ended)
        FUZZ_CHECK(row->host < HOSTS && pt_plan_had(lab.run.plan, row->host, row->test));
    if (!row->extra)
        keep_json(row->test, row);
    return 0;
}

int pt_ledger_rerun(struct pt_ledger *l, uint32_t test, struct pt_err *err)
{
    (void)l, (void)err;
    FUZZ_CHECK(lab.tests[test].counted);
    lab.tests[test].counted = false;
    lab.tests[test].again = true;
    return 0;
}

int pt_ledger_each_result(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn,
                          void *arg, struct pt_err *err)
{
    static char file[] = "a.py";
    (void)l, (void)run, (void)outcomes, (void)err;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < lab.ntests; i++) {
        struct pt_ledger_test test = {.number = i, .nodeid = pt_suite_get(lab.run.suite, i)->nodeid};
        struct pt_ledger_report row = {.rerun = lab.tests[i].again,
                                       .test = i,
                                       .counted = lab.tests[i].counted,
                                       .host = lab.tests[i].host,
                                       .attempt = 1,
                                       .json = lab.tests[i].json,
                                       .json_len = lab.tests[i].n};
        test.file = file;
        if (lab.tests[i].again || lab.tests[i].counted)
            rc = fn(arg, &test, &row, 1);
    }
    return rc;
}

int pt_ledger_add_note(struct pt_ledger *l, uint32_t host, const char *kind, const void *json, size_t n,
                       struct pt_err *err)
{
    (void)l, (void)err;
    FUZZ_CHECK(host < HOSTS && kind[0] && json && n);
    return 0;
}

/* That bundle, or (NONE) all of them. */
static void let_go(uint32_t host, uint32_t bundle)
{
    for (uint32_t i = 0; i < lab.ndeals; i++)
        if (lab.deals[i].host == host && (bundle == PT_NONE || lab.deals[i].bundle == bundle))
            lab.deals[i].held = false;
}

int pt_ledger_add_attempt(struct pt_ledger *l, const struct pt_ledger_attempt *a, struct pt_err *err)
{
    (void)l, (void)err;
    const struct pt_bundle *b = pt_plan_bundle(lab.run.plan, a->bundle);
    FUZZ_CHECK(a->host < HOSTS && b && a->attempt == b->attempt && a->end);
    let_go(a->host, a->bundle);
    return 0;
}

int pt_history_saw(struct pt_history *h, const char *host, const char *file, const char *nodeid,
                   uint32_t occurrence, const struct pt_took *took)
{
    (void)h, (void)host, (void)file, (void)nodeid, (void)occurrence, (void)took;
    return 0;
}

int pt_history_imported(struct pt_history *h, const char *host, const char *file, double seconds,
                        const char *const *modules, size_t nmodules)
{
    (void)h, (void)host, (void)seconds, (void)modules;
    FUZZ_CHECK(file && nmodules <= 1024);
    return 0;
}

/* --- the run's other files --- */

void pt_run_fail(struct pt_run *run, const struct pt_err *err)
{
    (void)run;
    FUZZ_CHECK(err->msg[0] && fuzz_starved());
    lab.failed = true;
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    FUZZ_CHECK(vsnprintf(text, sizeof(text), fmt, ap) > 0);
    va_end(ap);
    pt_terminal_note(h->run->terminal, text);
}

static void lose(struct pt_run_host *h)
{
    lab.up[h->number] = false;
    let_go(h->number, PT_NONE);
    pt_status_lost(lab.run.status, h->number);
    pt_plan_lost(lab.run.plan, h->number, pt_run_lost_test, &lab.run);
    h->seq = 0;
}

void pt_run_host_give_up(struct pt_run_host *h, const char *why)
{
    FUZZ_CHECK(why[0] && lab.up[h->number]);
    lose(h);
    h->lost = true;
    lab.gone[h->number] = true;
    pt_plan_never(lab.run.plan, h->number);
}

void pt_run_host_bye(struct pt_run_host *h)
{
    (void)h;
}

void pt_run_nodes_output(struct pt_run_host *h, uint32_t rank, const void *json, size_t n)
{
    (void)h, (void)rank, (void)json, (void)n;
}

void pt_run_nodes_down(struct pt_run_host *h, uint32_t rank, const char *why)
{
    (void)h, (void)rank, (void)why;
}

/* --- what the plan decides --- */

/* Slots of a host that groups have now are never more than it has. */
static void check_slots(uint32_t host)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < lab.ndeals; i++) {
        const struct pt_bundle *b = pt_plan_bundle(lab.run.plan, lab.deals[i].bundle);
        if (lab.deals[i].held && lab.deals[i].host == host && b->ranks > 1 && !b->nspread)
            used += b->ranks;
    }
    FUZZ_CHECK(used <= SLOTS);
}

void pt_run_deal(struct pt_run *run)
{
    struct pt_plan_deal deal;
    uint32_t host, bundle, test;
    struct pt_plan_steal steal;
    while (!run->stopped[0] && pt_plan_next(run->plan, &deal, NULL) == 1) {
        FUZZ_CHECK(deal.host < HOSTS && lab.up[deal.host]);
        if (lab.ndeals == DEALS)
            memmove(lab.deals, lab.deals + 1, --lab.ndeals * sizeof(lab.deals[0]));
        lab.deals[lab.ndeals].held = true;
        lab.deals[lab.ndeals].host = deal.host;
        lab.deals[lab.ndeals++].bundle = deal.bundle->bundle;
        if (!fuzz_starved())
            check_slots(deal.host);
    }
    while (pt_plan_recall(run->plan, &host, &bundle) == 1)
        FUZZ_CHECK(lab.up[host]);
    while (pt_plan_drop(run->plan, &host, &bundle) == 1)
        FUZZ_CHECK(lab.up[host]);
    while (pt_plan_steal(run->plan, &steal) == 1) {
        FUZZ_CHECK(lab.up[steal.host] && steal.n && steal.n < TESTS);
        lab.asked = steal;
        lab.asked.tests = lab.stolen;
        memcpy(lab.stolen, steal.tests, steal.n * sizeof(*steal.tests));
    }
    while ((test = pt_plan_impossible(run->plan)) != PT_NONE)
        pt_run_impossible_test(run, test);
}

/* --- the lab --- */

static void add_unit(uint8_t how, uint8_t kind)
{
    static char paths[][8] = {"a.py", "t/b.py"};
    static char ids[TESTS][24];
    struct pt_bundle_test tests[4];
    uint32_t atoms[4];
    char *path = paths[kind & 1];
    struct pt_bundle_file file = {.path = path, .tests = tests, .ntests = 1 + (how & 3)};
    struct pt_plan_unit unit = {.files = &file,
                                .nfiles = 1,
                                .atoms = atoms,
                                .seconds = how & 4 ? 3 : -1,
                                .ranks = (uint32_t[]){1, 1, 2, 3, 5, 1, PT_PLAN_ALL, 2}[how >> 4 & 7],
                                .host = how & 8 ? how >> 7 & 1 : PT_NONE,
                                .rank = PT_NONE,
                                .alone = kind & 2,
                                .exclusive = kind >> 2 & 3,
                                .needs = kind >> 7};
    uint32_t number = pt_suite_file(lab.run.suite, path);
    unit.exclusive = unit.exclusive > PT_EXCLUSIVE_RUN ? PT_EXCLUSIVE_NOT : unit.exclusive;
    for (uint32_t i = 0; i < file.ntests; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%s::t%u", path, lab.ntests);
        uint32_t test = pt_suite_add(lab.run.suite, number, ids[i], 0);
        FUZZ_CHECK(test == lab.ntests && pt_verdict_add_test(lab.run.verdict) == test);
        tests[i] = (struct pt_bundle_test){.test = test, .nodeid = ids[i]};
        atoms[i] = i;
        lab.ntests++;
    }
    FUZZ_CHECK(pt_plan_add(lab.run.plan, &unit, NULL) == 0);
}

static void rise(uint32_t host)
{
    static const bool both[HOSTS] = {true, true};
    if (lab.up[host] || lab.gone[host])
        return;
    lab.up[host] = true;
    lab.at[host].launches++;
    pt_plan_host(lab.run.plan, host, SLOTS);
    if (pt_plan_wants_together(lab.run.plan))
        pt_plan_together(lab.run.plan, both, HOSTS);
}

static void begin(struct fuzz_parts *in)
{
    static char names[HOSTS][4] = {"h1", "h2"};
    uint8_t how = fuzz_byte(in), units = fuzz_byte(in);
    memset(&lab, 0, sizeof(lab));
    struct pt_plan_spec plan = {
        .hosts = HOSTS, .bundles_per_worker = 1 + (how >> 6 & 1), .speculate = how & 1, .across = units >> 7};
    struct pt_terminal_options terminal = {.out = lab.out = fopen("/dev/null", "we"), .verbosity = how >> 7};
    lab.opts.isolate = how & 2 ? PT_ISOLATE_SESSION : PT_ISOLATE_TEST;
    lab.opts.live = how & 4;
    lab.run = (struct pt_run){
        .opts = &lab.opts, .at = lab.at, .hosts = {.items = lab.hosts, .n = HOSTS}, .room = HOSTS};
    lab.run.maxfail = how & 8 ? 3 : 0;
    lab.run.plan = pt_plan_create(&plan, NULL);
    lab.run.verdict = pt_verdict_create(NULL);
    lab.run.suite = pt_suite_create(NULL);
    lab.run.terminal = pt_terminal_create(&terminal, NULL);
    lab.run.rerun = how & 16 ? pt_rerun_create(1, NULL, 0, NULL) : NULL;
    lab.run.history = (struct pt_history *)&lab; /* any */
    lab.run.ledger = (struct pt_ledger *)&lab;
    lab.run.status = pt_status_create();
    lab.run.logs = how & 32 ? pt_logs_create(fuzz_folder(), "r1", NULL) : NULL;
    for (uint32_t i = 0; i < HOSTS; i++) {
        lab.hosts[i].name = names[i];
        lab.at[i] = (struct pt_run_host){
            .run = &lab.run, .number = i, .host = &lab.hosts[i], .launch_slots = SLOTS, .base = 10 * i};
        pt_terminal_add_host(lab.run.terminal, i, names[i], SLOTS);
        pt_plan_expect(lab.run.plan, i, SLOTS);
    }
    for (uint32_t i = 0; i <= units % UNITS; i++) {
        uint8_t shape = fuzz_byte(in);
        add_unit(shape, fuzz_byte(in));
    }
    pt_plan_collected(lab.run.plan);
    rise(0);
    rise(1);
}

static void end(void)
{
    lab.ended = true;
    pt_run_results_end(&lab.run);
    fuzz_feed();
    pt_verdict_finish(lab.run.verdict, PT_OUTCOME_NOTRUN);
    FUZZ_CHECK(pt_verdict_sum_ok(lab.run.verdict));
    pt_terminal_destroy(lab.run.terminal);
    fclose(lab.out);
    pt_verdict_destroy(lab.run.verdict);
    pt_plan_destroy(lab.run.plan);
    pt_suite_destroy(lab.run.suite);
    pt_rerun_destroy(lab.run.rerun);
    pt_status_destroy(lab.run.status);
    if (lab.run.logs)
        fuzz_remove("");
    pt_logs_destroy(lab.run.logs);
    for (uint32_t i = 0; i < TESTS; i++)
        free(lab.tests[i].json);
}

/* --- what a message is about --- */

struct aim {
    uint32_t bundle, attempt, test, ranks, rank;
    const char *path;
    bool aside; /* it comes from the other host */
    uint32_t host;
};

static struct aim aim(struct fuzz_parts *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    struct aim a = {.bundle = which, .attempt = 1, .test = how, .path = "a.py", .rank = how >> 6 & 1};
    a.host = which & 1;
    if (which >= 0xf0 || !lab.ndeals)
        return a;
    const uint32_t i = lab.ndeals - 1 - which % lab.ndeals;
    const struct pt_bundle *b = pt_plan_bundle(lab.run.plan, lab.deals[i].bundle);
    const struct pt_bundle_file *file = &b->files[(how >> 2 & 1) % b->nfiles];
    a.host = lab.deals[i].host ^ (how >> 7);
    a.bundle = b->bundle;
    a.attempt = how & 0x20 ? b->attempt - 1 : b->attempt;
    a.ranks = b->ranks;
    a.path = file->path;
    a.test = how & 0x10 ? PT_NONE : how & 8 ? how & 7 : file->tests[(how & 3) % file->ntests].test;
    return a;
}

static const char *nodeid_of(uint32_t test)
{
    const struct pt_suite_test *t = pt_suite_get(lab.run.suite, test);
    return t ? t->nodeid : "x.py::gone";
}

/* A report: of a few shapes, or the input's own text. */
static char *report_of(struct fuzz_parts *in, uint32_t test)
{
    static const char *const outcomes[] = {"passed", "failed", "error", "skipped", "xfailed", "xpassed", "?"};
    uint8_t how = fuzz_byte(in);
    char *json = NULL;
    if (how == 0xff)
        return fuzz_text(in);
    unsigned held = fuzz_hold();
    if (asprintf(&json, "{\"nodeid\":\"%s\",\"outcome\":\"%s\",\"message\":\"m\",\"call\":%u%s%s}",
                 nodeid_of(test), outcomes[how % 7], how >> 6, how & 8 ? ",\"stop\":\"enough\"" : "",
                 how & 16   ? ",\"counts\":{\"failed\":2,\"a\":1}"
                 : how & 32 ? ",\"counts\":{}"
                            : "") < 0)
        abort();
    fuzz_release(held);
    return json;
}

static char *note_of(struct fuzz_parts *in, const struct aim *a)
{
    static const char *const kinds[] = {"collect", "missing", "warning", "report",       "stop",
                                        "suite",   "file",    "unsafe",  "workeroutput", "x"};
    uint8_t how = fuzz_byte(in);
    char *json = NULL;
    if (how == 0xff)
        return fuzz_text(in);
    char *report = report_of(in, a->test);
    unsigned held = fuzz_hold();
    if (asprintf(&json,
                 "{\"kind\":\"%s\",\"path\":\"%s\",\"test\":%u,\"nodeid\":\"%s\",\"report\":%s,\"exit\":%d,"
                 "\"found\":[\"u\"],\"message\":\"w\",\"category\":\"c\",\"modules\":[\"m\",1],\"seconds\":1,"
                 "\"properties\":[[\"a\",\"b\"]]%s}",
                 kinds[how % 10], a->path, a->test, nodeid_of(a->test), report, (how >> 4) - 1,
                 how & 128 ? ",\"reason\":\"why\"" : "") < 0)
        abort();
    fuzz_release(held);
    free(report);
    return json;
}

/* --- messages --- */

static void put_head(struct pt_buf *b, const struct aim *a)
{
    pt_put_u32(b, a->rank ? PT_MEMBER(1, 0) : 0);
    pt_put_u32(b, a->bundle);
    pt_put_u32(b, a->attempt);
}

/* What was framed, after its number. */
static void put_body(struct pt_buf *b, struct pt_buf *frame)
{
    if (!frame->bad)
        pt_buf_append(b, frame->data + PT_FRAME_HEAD + 8, frame->len - PT_FRAME_HEAD - 8);
    b->bad = b->bad || frame->bad;
    pt_buf_fini(frame);
}

static void frame_death(struct pt_buf *frame, struct fuzz_parts *in, const struct aim *a)
{
    uint8_t how = fuzz_byte(in);
    struct pt_death d = {.rank = a->rank ? PT_MEMBER(1, 0) : 0,
                         .bundle = a->bundle,
                         .attempt = a->attempt,
                         .test = a->test,
                         .file = how & 64 ? 0 : PT_NONE,
                         .path = (char *)(uintptr_t)(how & 64 ? a->path : ""),
                         .phase = how >> 3 & 7,
                         .cause = 1 + (how & 7) % 6,
                         .status = how & 128 ? 9 : 256,
                         .stack = (char *)(uintptr_t) "stack",
                         .output = (char *)(uintptr_t) "out"};
    pt_death_encode(&d, 0, frame);
}

static void frame_report(struct pt_buf *frame, struct fuzz_parts *in, const struct aim *a)
{
    char *json = report_of(in, a->test);
    size_t mark = pt_frame_begin(frame, PT_L_REPORT);
    pt_put_u64(frame, 0);
    put_head(frame, a);
    pt_put_u32(frame, a->test);
    pt_put_u8(frame, 1);
    pt_put_bytes(frame, json, strlen(json));
    pt_frame_end(frame, mark);
    free(json);
}

/* RANKS or FALL, with what each rank said. */
static void put_ranks(struct pt_buf *b, struct fuzz_parts *in, const struct aim *a, bool fall)
{
    struct pt_rank_word words[6] = {0};
    struct pt_buf frames[6] = {0}, frame = {0};
    uint8_t how = fuzz_byte(in);
    uint32_t of = how >> 5 ? a->ranks : how & 3;
    of = of < 6 ? of : 6;
    for (uint32_t i = 0; i < of; i++) {
        uint8_t kind = fall ? fuzz_byte(in) % 3 : PT_WORD_REPORT;
        if (kind == PT_WORD_REPORT)
            frame_report(&frames[i], in, a);
        else if (kind == PT_WORD_DEATH)
            frame_death(&frames[i], in, a);
        if (kind && !frames[i].bad)
            words[i] = (struct pt_rank_word){kind, frames[i].data, frames[i].len};
    }
    struct pt_ranks m = {.bundle = a->bundle, .attempt = a->attempt, .test = a->test, .of = of};
    struct pt_fall f = {.bundle = a->bundle,
                        .attempt = a->attempt,
                        .of = of,
                        .test = how & 4 ? PT_NONE : a->test,
                        .path = (char *)(uintptr_t)(how & 8 ? a->path : ""),
                        .text = (char *)(uintptr_t) "why",
                        .phase = how & 3,
                        .cause = 1 + (how >> 2) % 7,
                        .culprit = how & 16 || !of ? PT_NONE : how % of};
    m.words = f.words = words;
    if (fall)
        pt_fall_encode(&f, 0, &frame);
    else
        pt_ranks_encode(&m, 0, &frame);
    put_body(b, &frame);
    for (uint32_t i = 0; i < of; i++)
        pt_buf_fini(&frames[i]);
}

static void put_stolen(struct pt_buf *b, struct fuzz_parts *in, struct aim *a)
{
    uint8_t how = fuzz_byte(in);
    bool ours = lab.asked.n && !(how & 1);
    const struct pt_bundle *bundle = ours ? pt_plan_bundle(lab.run.plan, lab.asked.bundle) : NULL;
    if (ours) {
        a->host = lab.asked.host;
        a->bundle = lab.asked.bundle;
        a->attempt = bundle->attempt;
    }
    put_head(b, a);
    uint32_t n = ours ? lab.asked.n - (how >> 1) % (lab.asked.n + 1) : (how >> 1) % 4;
    pt_put_u32(b, n + (how > 250));
    for (uint32_t i = 0; i < n; i++)
        pt_put_u32(b, ours ? lab.stolen[i] : fuzz_byte(in));
}

static void put_raw(struct pt_buf *b, struct fuzz_parts *in)
{
    struct fuzz_parts part = fuzz_part(in);
    pt_buf_append(b, part.p, part.left);
}

static void put_waits(struct pt_buf *b, struct fuzz_parts *in)
{
    struct pt_buf frame = {0};
    char *text = fuzz_text(in);
    struct pt_waits waits = {.run = text, .who = text, .held = 1, .slots = 2};
    pt_waits_encode(&waits, &frame);
    if (!frame.bad)
        pt_buf_append(b, frame.data + PT_FRAME_HEAD, frame.len - PT_FRAME_HEAD);
    pt_buf_fini(&frame);
    free(text);
}

static void put_json(struct pt_buf *b, char *json)
{
    pt_put_bytes(b, json, strlen(json));
    free(json);
}

/* Fills in what comes after the number, if that type has one. */
static uint8_t put_message(struct pt_buf *b, uint8_t kind, struct fuzz_parts *in, struct aim *a)
{
    static const uint8_t types[] = {PT_L_STARTED, PT_L_REPORT, PT_L_DEATH,    PT_L_NOTE,   PT_L_DONE,
                                    PT_L_STOLEN,  PT_L_OUTPUT, PT_L_RECALLED, PT_L_RANKS,  PT_L_FALL,
                                    PT_L_BYE,     PT_L_BROKEN, PT_L_GOT,      PT_L_WAITS,  0,
                                    PT_L_REPORT,  PT_L_DONE,   PT_L_RECALLED, PT_L_STARTED};
    uint8_t type = types[kind % sizeof(types)];
    struct pt_buf frame = {0};
    *a = aim(in);
    switch (type) {
    case PT_L_STARTED:
        put_head(b, a);
        pt_put_u32(b, a->test);
        break;
    case PT_L_REPORT:
        frame_report(&frame, in, a);
        put_body(b, &frame);
        break;
    case PT_L_DEATH:
        frame_death(&frame, in, a);
        put_body(b, &frame);
        break;
    case PT_L_NOTE:
        pt_put_u32(b, a->rank ? PT_MEMBER(1, 0) : 0);
        pt_put_u32(b, a->bundle);
        put_json(b, note_of(in, a));
        break;
    case PT_L_DONE:
        put_head(b, a);
        break;
    case PT_L_STOLEN:
        put_stolen(b, in, a);
        break;
    case PT_L_OUTPUT:
        pt_put_u32(b, a->rank ? PT_MEMBER(1, fuzz_byte(in)) : fuzz_byte(in) % 4);
        pt_put_u32(b, a->bundle);
        pt_put_u32(b, a->test);
        put_json(b, fuzz_text(in));
        break;
    case PT_L_RECALLED:
        pt_put_u32(b, a->bundle);
        pt_put_u8(b, a->test & 1);
        break;
    case PT_L_RANKS:
    case PT_L_FALL:
        put_ranks(b, in, a, type == PT_L_FALL);
        break;
    case PT_L_BYE:
        pt_put_u32(b, a->test);
        break;
    case PT_L_BROKEN:
        pt_put_u32(b, 0);
        put_json(b, fuzz_text(in));
        break;
    case PT_L_GOT:
        pt_put_u64(b, a->test & 3);
        break;
    case PT_L_WAITS:
        put_waits(b, in);
        break;
    default:
        type = fuzz_byte(in);
        put_raw(b, in);
    }
    return type;
}

static void say(uint8_t kind, struct fuzz_parts *in)
{
    struct pt_buf body = {0}, all = {0};
    struct pt_err err = PT_ERR_INIT;
    struct aim a;
    unsigned held = fuzz_hold();
    uint8_t type = put_message(&body, kind, in, &a);
    struct pt_run_host *h = &lab.at[a.host % HOSTS];
    if (type != PT_L_GOT && type != PT_L_WAITS)
        pt_put_u64(&all, type == PT_L_STARTED ? 0 : h->seq + (kind < 250) + (kind == 255));
    pt_buf_append(&all, body.data, body.len);
    fuzz_release(held);
    struct pt_reader r = {.p = all.data, .left = all.len};
    if (lab.up[h->number]) {
        int rc = pt_run_message(h, type, &r, &err);
        FUZZ_CHECK(rc == 0 || err.msg[0]);
        if (rc < 0 && lab.up[h->number])
            lose(h); /* its link is closed */
    }
    pt_buf_fini(&all);
    pt_buf_fini(&body);
}

/* What is told here is what the plan believes, and the verdict. */
static void check(void)
{
    uint32_t told = 0;
    if (fuzz_starved() || lab.failed)
        return;
    for (uint32_t i = 0; i < lab.ntests; i++) {
        FUZZ_CHECK(lab.tests[i].counted == (pt_verdict_outcome(lab.run.verdict, i) != PT_OUTCOME_NONE));
        FUZZ_CHECK(lab.tests[i].counted == pt_plan_is_told(lab.run.plan, i));
        told += lab.tests[i].counted;
    }
    FUZZ_CHECK(pt_plan_untold(lab.run.plan) == lab.ntests - told);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    unsigned held = fuzz_hold();
    begin(&in);
    pt_run_deal(&lab.run);
    fuzz_release(held);
    for (int i = 0; i < STEPS && in.left > 0 && !lab.failed; i++) {
        uint8_t kind = fuzz_byte(&in);
        if (kind % 32 < 28)
            say(kind, &in);
        else if (kind % 32 < 30)
            rise(kind >> 5 & 1);
        else if (kind % 32 == 30 && lab.up[kind >> 5 & 1])
            lose(&lab.at[kind >> 5 & 1]);
        else if (kind == 31)
            lab.run.ending = true;
        if (!lab.run.ending)
            pt_run_deal(&lab.run);
        check();
    }
    end();
}
