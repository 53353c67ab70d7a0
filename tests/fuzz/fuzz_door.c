/* SPDX-License-Identifier: Apache-2.0 */
/* What processes say at a run's door, in pieces, at once, and when they go: each whole question has one line
 * of JSON for an answer; hosts join and leave as is allowed, and one always stays. The input: questions,
 * their pieces, and what becomes of hosts meanwhile. */
#include "fuzz.h"

#include "fuzz_loop.h"
#include "src/door.c"
#include "src/run_door.c"

#include <stdarg.h>

#define HOSTS 2
#define MORE  4
#define CALLS 12
#define STEPS 200

static struct {
    struct pt_run run;
    struct pt_options opts;
    struct pt_run_host at[HOSTS + MORE];
    int calls[CALLS]; /* -1: none */
    size_t asked[CALLS];
    char id[16];
} lab;

/* --- the run's other files --- */

int pt_run_host_identity(struct pt_run_host *h, struct pt_err *err)
{
    h->identity.cert_pem = malloc(1);
    return h->identity.cert_pem ? 0 : pt_err_set(err, "out of memory");
}

void pt_tls_identity_fini(struct pt_tls_identity *id)
{
    free(id->cert_pem);
    id->cert_pem = NULL;
}

void pt_run_host_init(struct pt_run *run, uint32_t number)
{
    FUZZ_CHECK(number < HOSTS + MORE && number < run->hosts.n);
    run->at[number] = (struct pt_run_host){.run = run, .number = number, .host = &run->hosts.items[number]};
}

void pt_run_host_setup(struct pt_run_host *h)
{
    FUZZ_CHECK(h->host->name && h->identity.cert_pem);
}

void pt_run_host_prepare(struct pt_run_host *h)
{
    pt_plan_labels(h->run->plan, h->number, h->host->labels);
    pt_plan_host(h->run->plan, h->number, 2);
}

void pt_run_record_host(const struct pt_run_host *h)
{
    FUZZ_CHECK(h->host == &h->run->hosts.items[h->number]);
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    (void)h;
    FUZZ_CHECK(fmt[0]);
}

void pt_run_host_connect(void *arg)
{
    struct pt_run_host *h = arg;
    h->state = PT_HOST_WORKING;
}

void pt_run_host_quit(struct pt_run_host *h)
{
    h->state = PT_HOST_ENDING;
}

void pt_run_host_show(struct pt_run_host *h, const char *state)
{
    FUZZ_CHECK(h->leaves && state[0]);
}

void pt_run_deal(struct pt_run *run)
{
    struct pt_plan_deal deal;
    uint32_t host, bundle;
    while (pt_plan_next(run->plan, &deal, NULL) == 1)
        FUZZ_CHECK(!run->at[deal.host].leaves);
    while (pt_plan_recall(run->plan, &host, &bundle) == 1)
        pt_plan_returned(run->plan, host, bundle, true);
}

void pt_run_hosts_part(struct pt_run *run)
{
    (void)run;
}

void pt_run_check(struct pt_run *run)
{
    pt_run_leave_look(run);
}

/* --- the lab --- */

static void begin(uint8_t how)
{
    static char path[] = "a.py", id[] = "a.py::t";
    struct pt_plan_spec spec = {.hosts = HOSTS, .more = MORE, .bundles_per_worker = 2};
    memset(&lab, 0, sizeof(lab));
    loop_begin();
    for (uint32_t i = 0; i < CALLS; i++)
        lab.calls[i] = -1;
    lab.opts.replay = how == 1 ? path : NULL;
    lab.opts.dist = how == 3 ? PT_DIST_EACH : 0;
    lab.opts.schedule = how == 2   ? PT_SCHEDULE_STATIC
                        : how == 8 ? PT_SCHEDULE_SEQUENTIAL
                                   : PT_SCHEDULE_DYNAMIC;
    lab.run = (struct pt_run){.opts = &lab.opts, .at = lab.at, .room = HOSTS + MORE, .id = "r1"};
    lab.run.state_dir = (char *)(uintptr_t)fuzz_folder();
    FUZZ_CHECK(pt_hosts_parse("h1:2+gpu,u@h2:2", &lab.run.hosts, NULL) == 0);
    lab.run.plan = pt_plan_create(&spec, NULL);
    for (uint32_t i = 0; i < HOSTS; i++) {
        pt_run_host_init(&lab.run, i);
        pt_run_host_identity(&lab.at[i], NULL);
        pt_run_host_prepare(&lab.at[i]);
        lab.at[i].state = PT_HOST_WORKING;
    }
    lab.at[0].collecting = how & 16;
    lab.run.collect = how & 16 ? (struct pt_collect *)&lab : NULL; /* any */
    lab.at[1].state = how & 32 ? PT_HOST_CONNECTING : PT_HOST_WORKING;
    for (uint32_t i = 0; i < 8; i++) {
        struct pt_bundle_test test = {.test = i, .occurrence = i, .nodeid = id};
        struct pt_bundle_file file = {path, &test, 1};
        struct pt_plan_unit unit = {
            .files = &file, .nfiles = 1, .seconds = -1, .host = PT_NONE, .rank = PT_NONE};
        unit.needs = how & 4 && i == 7; /* only h1 */
        FUZZ_CHECK(pt_plan_add(lab.run.plan, &unit, NULL) == 0);
    }
    pt_plan_collected(lab.run.plan);
    pt_run_deal(&lab.run);
    pt_run_door_open(&lab.run);
}

static void end(void)
{
    for (uint32_t i = 0; i < CALLS; i++)
        if (lab.calls[i] >= 0)
            close(lab.calls[i]);
    pt_door_destroy(lab.run.door);
    for (uint32_t i = 0; i < lab.run.hosts.n; i++)
        pt_tls_identity_fini(&lab.at[i].identity);
    pt_hosts_fini(&lab.run.hosts);
    pt_plan_destroy(lab.run.plan);
    loop_end();
}

/* Of two that live none is the same machine, unless one leaves; one always stays. */
static void check(void)
{
    uint32_t stay = 0;
    FUZZ_CHECK(lab.run.hosts.n >= HOSTS && lab.run.hosts.n <= HOSTS + MORE);
    for (uint32_t i = 0; i < lab.run.hosts.n; i++) {
        const struct pt_run_host *h = &lab.at[i];
        FUZZ_CHECK(h->host == &lab.run.hosts.items[i] && h->identity.cert_pem);
        stay += h->state < PT_HOST_ENDING && !h->leaves;
        for (uint32_t k = 0; k < i; k++)
            FUZZ_CHECK(h->state == PT_HOST_DOWN || lab.at[k].state == PT_HOST_DOWN ||
                       strcmp(h->host->host, lab.at[k].host->host) != 0);
    }
    FUZZ_CHECK(stay > 0 || lab.run.ending);
}

/* --- who asks --- */

static void put_question(struct pt_buf *b, struct fuzz_parts *in)
{
    static const char *const hosts[] = {"h1",   "h2", "h3",  "h4:2+gpu",  "h5,h6", "h3,h3",
                                        "u@h2", "",   "h9:", "a,b,c,d,e", "H1",    "local:2"};
    uint8_t how = fuzz_byte(in);
    char line[128], *text = how & 128 ? fuzz_text(in) : NULL;
    snprintf(line, sizeof(line), "{\"do\":\"%s\",\"hosts\":\"%s\"}\n",
             how & 64   ? "drain-host"
             : how & 32 ? "x"
                        : "add-host",
             hosts[(how & 31) % 12]);
    pt_buf_append(b, text ? text : line, strlen(text ? text : line));
    if (text)
        pt_buf_append(b, "\n", 1);
    free(text);
}

static void come(uint32_t which)
{
    if (lab.calls[which] < 0)
        lab.calls[which] = go_to(lab.run.door->folder, lab.run.door->name);
    loop_poll();
}

static void ask(uint32_t which, struct fuzz_parts *in, uint8_t pieces)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    put_question(&b, in);
    fuzz_release(held);
    size_t half = pieces ? b.len / 2 : 0;
    if (lab.calls[which] >= 0) {
        (void)!send(lab.calls[which], b.data, half, MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_poll();
        (void)!send(lab.calls[which], b.data + half, b.len - half, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    pt_buf_fini(&b);
    loop_poll();
}

/* One line of JSON, or nothing. */
static void hear(uint32_t which)
{
    static char room[PT_DOOR_ANSWER + 1];
    if (lab.calls[which] < 0)
        return;
    loop_poll();
    ssize_t n = recv(lab.calls[which], room, sizeof(room), MSG_DONTWAIT);
    if (n > 0 && !fuzz_starved()) {
        struct pt_err err = PT_ERR_INIT;
        unsigned held = fuzz_hold();
        FUZZ_CHECK(room[n - 1] == '\n' && memchr(room, '\n', (size_t)n) == room + n - 1);
        struct pt_json *json = pt_json_parse(room, (size_t)n - 1, &err);
        FUZZ_CHECK(json && pt_json_get(json, "exit") && pt_json_get(json, "said"));
        pt_json_destroy(json);
        fuzz_release(held);
    }
}

static void hang_up_at(uint32_t which)
{
    if (lab.calls[which] >= 0)
        close(lab.calls[which]);
    lab.calls[which] = -1;
    loop_poll();
}

static void host_happens(uint8_t what)
{
    struct pt_run_host *h = &lab.at[(what >> 4) % lab.run.hosts.n];
    uint32_t bundle = what >> 6;
    if (what & 8 && h->state == PT_HOST_ENDING)
        h->state = PT_HOST_DOWN;
    else
        for (uint32_t i = 0; i < 16; i++)
            if (pt_plan_bundle(lab.run.plan, i + bundle))
                pt_plan_done(lab.run.plan, h->number, i + bundle,
                             pt_plan_bundle(lab.run.plan, i + bundle)->attempt, NULL, NULL);
    h->link = (struct pt_link *)&lab; /* any */
    pt_run_leave_look(&lab.run);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    unsigned held = fuzz_hold();
    begin(fuzz_byte(&in));
    fuzz_release(held);
    for (int i = 0; lab.run.door && i < STEPS && in.left > 0; i++) {
        uint8_t what = fuzz_byte(&in);
        uint32_t which = (what >> 4) % CALLS;
        if (what % 8 == 0)
            come(which);
        else if (what % 8 < 4)
            ask(which, &in, what & 8);
        else if (what % 8 == 4)
            hear(which);
        else if (what % 8 == 5)
            hang_up_at(which);
        else if (what % 8 == 6)
            host_happens(what);
        else if (what == 0xf7)
            lab.run.ending = true;
        else
            loop_pass();
        check();
    }
    end();
}
