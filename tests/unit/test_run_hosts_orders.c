/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts in all orders of what their lanes, workers and links do, from each point of a run that goes well: no
 * edge is taken that the table has not, each test has one outcome, hosts are started so often and no more,
 * and the run comes to its end, whether all goes well from there or nothing does. */
#include "hosts_lab.h"
#include "orders.h"

#include "run_check.c"
#include "run_deal.c"
#include "run_deaths.c"
#include "run_end.c"
#include "run_hosts.c"
#include "run_leave.c"
#include "run_links.c"
#include "run_lost.c"
#undef AGAIN_MS
#include "run_away.c"

/* In this order they happen where all goes well. */
enum kind {
    STOPPED,   /* the lane has stopped, as it was told to */
    EXITED,    /* the agent tells that the workers ended */
    CONNECTED, /* or ATTACHED */
    PREPARED,
    TREE,
    JOIN,
    TELL,
    BYE,
    TIME, /* as much passes as somebody waits for */
    DIE,  /* the workers end */
    CUT,  /* their link */
    DOWN, /* the lane */
    NO_USE,
    DRAIN,
    STOP,
    EARLY, /* the run's time is over */
    FAIL,  /* something that ends the run: no room on the disk */
    KINDS
};

static const char *const names[KINDS] = {"stopped", "exited", "connected", "prepared", "tree", "join",
                                         "tell",    "bye",    "time",      "die",      "cut",  "down",
                                         "no use",  "drain",  "stop",      "early",    "fail"};

struct event {
    enum kind kind;
    uint32_t host;
};

static char trail[8192]; /* what happened in this order */

static void show(void)
{
    orders_show();
    if (orders.open)
        fprintf(stderr, "%s\n", trail);
}

TestSuite(run_hosts_orders, .fini = show);

/* --- what can happen --- */

static bool lane_can(enum kind kind, const struct pt_lane *lane, const struct machine *m)
{
    if (!lane || !lane->there || lane->stopping)
        return kind == STOPPED && lane && lane->there;
    return kind == CONNECTED  ? !lane->connected
           : kind == PREPARED ? lane->connected && !lane->prepared && !lane->attach
           : kind == TREE     ? lane->prepared && !lane->treed
           : kind == JOIN     ? lane->connected && m->runs && !m->ends && m->invited
           : kind == EXITED   ? lane->connected && (m->exit_untold || (m->runs && m->ends))
                              : kind == DOWN || kind == NO_USE;
}

static bool can(enum kind kind, uint32_t host)
{
    const struct pt_run_host *h = &lab.at[host];
    const struct machine *m = &lab.machines[host];
    bool linked = m->link && m->link->open, first = host == 0, over = lab.run.stopping || lab.run.ending;
    switch (kind) {
    case TELL:
        return linked && m->runs && h->link == m->link && pt_plan_held(lab.run.plan, host) > 0;
    case BYE:
        return linked && m->runs && h->link == m->link && m->quits;
    case CUT:
        return linked;
    case DIE:
        return m->runs && !m->ends;
    case TIME:
        return first && lab_timer();
    case DRAIN:
        return first && !h->leaves && h->state < PT_HOST_ENDING && !over;
    case STOP:
    case FAIL:
        return first && !lab.run.stopping;
    case EARLY:
        return first && !over;
    default:
        return lane_can(kind, h->lane, m);
    }
}

static void list_kind(struct event *list, uint32_t *n, enum kind kind)
{
    for (uint32_t h = 0; h < HOSTS; h++)
        if (can(kind, h))
            list[(*n)++] = (struct event){kind, h};
}

/* What is preferred comes first. */
static uint32_t list_events(struct event *list, enum kind preferred)
{
    uint32_t n = 0;
    list_kind(list, &n, preferred);
    for (int kind = 0; kind < KINDS; kind++)
        if (kind != (int)preferred)
            list_kind(list, &n, (enum kind)kind);
    return n;
}

/* --- it happens --- */

static void emit(uint32_t host, enum pt_lane_kind kind, struct pt_lane_event e)
{
    static char text[] = "text";
    struct pt_lane *lane = lab.at[host].lane;
    e.kind = kind;
    e.host = host;
    e.fd = -1;
    e.text = text;
    lane->on_event(lane->arg, &e);
}

static void close_link(struct machine *m)
{
    struct pt_link *link = m->link;
    m->link = NULL;
    if (!link || !link->open)
        return;
    link->open = false;
    link->cb->closed(link->arg, link, "cut");
}

static void connected(uint32_t host)
{
    struct pt_lane *lane = lab.at[host].lane;
    lane->connected = true;
    if (lane->attach)
        emit(host, PT_LANE_ATTACHED, (struct pt_lane_event){.bytes = lab.machines[host].launch});
    else
        emit(host, PT_LANE_CONNECTED, (struct pt_lane_event){0});
}

static void prepared(uint32_t host)
{
    static char word[] = "x";
    lab.at[host].lane->prepared = true;
    emit(host, PT_LANE_READY,
         (struct pt_lane_event){.ready = {.cores = 1, .machine = word, .workspace = word, .dir = word}});
    emit(host, PT_LANE_TOOLED, (struct pt_lane_event){0});
}

static void join(uint32_t host)
{
    struct machine *m = &lab.machines[host];
    const struct pt_hello hello = {.host = host, .launch = m->launch, .slots = 1, .got = m->got};
    m->invited = false;
    emit(host, PT_LANE_LINK, (struct pt_lane_event){0});
    m->link = &lab.links[lab.nlinks - 1];
    m->link->cb->hello(m->link->arg, m->link, &hello);
}

static void say(uint32_t host, uint8_t type)
{
    struct pt_link *link = lab.machines[host].link;
    struct pt_reader body = {0};
    if (type == PT_L_BYE)
        lab.machines[host].ends = true;
    cr_assert_eq(link->cb->message(link->arg, link, type, &body, NULL), 0);
}

static void exited(uint32_t host)
{
    struct machine *m = &lab.machines[host];
    m->runs = m->ends = m->exit_untold = false;
    emit(host, PT_LANE_EXITED, (struct pt_lane_event){.program = PT_PROGRAM_WORKERS, .status = 9});
    if (!m->runs)
        close_link(m);
}

/* err "": it was told to. What lingers there goes on, if anything can. */
static void down(uint32_t host, const char *why, uint8_t level)
{
    struct machine *m = &lab.machines[host];
    struct pt_link *link = m->link;
    struct pt_lane_event e = {.level = level, .err = PT_ERR_INIT};
    lab.at[host].lane->there = false;
    if (why[0])
        pt_err_set_kind(&e.err, PT_ERR_INFRA, "%s", why);
    if (!why[0] || level || !m->armed)
        *m = (struct machine){.link = link};
    emit(host, PT_LANE_DOWN, e);
    if (m->link == link)
        close_link(m);
}

static void pass_time(void)
{
    struct timer *t = lab_timer(), timer = *t;
    t->fn = NULL;
    lab.now = timer.due > lab.now ? timer.due : lab.now;
    timer.fn(timer.arg);
}

static void happen(struct event e)
{
    struct machine *m = &lab.machines[e.host];
    struct pt_err err = PT_ERR_INIT;
    switch (e.kind) {
    case STOPPED:
        down(e.host, "", 0);
        break;
    case DOWN:
    case NO_USE:
        down(e.host, "the connection broke", e.kind == NO_USE);
        break;
    case EXITED:
        exited(e.host);
        break;
    case CONNECTED:
        connected(e.host);
        break;
    case PREPARED:
        prepared(e.host);
        break;
    case TREE:
        lab.at[e.host].lane->treed = true;
        emit(e.host, PT_LANE_SYNCED, (struct pt_lane_event){0});
        break;
    case JOIN:
        join(e.host);
        break;
    case TELL:
    case BYE:
        say(e.host, e.kind == TELL ? PT_L_REPORT : PT_L_BYE);
        break;
    case DIE:
        m->runs = false;
        m->exit_untold = true;
        break;
    case CUT:
        m->ends |= m->runs;
        close_link(m);
        break;
    case TIME:
        pass_time();
        break;
    case DRAIN:
        pt_run_leave(&lab.run, "h0", &err);
        pt_run_check(&lab.run);
        break;
    case STOP:
        pt_run_stop(&lab.run, "interrupted");
        pt_run_check(&lab.run);
        break;
    case EARLY:
        pt_run_end_early(&lab.run, "late");
        pt_run_check(&lab.run);
        break;
    default:
        pt_run_fail(&lab.run, &err);
    }
}

/* --- what is true after each --- */

static void check_state(const struct pt_run_host *h)
{
    uint32_t excused = pt_plan_excused(lab.run.plan, h->number);
    bool there = h->lane && h->lane->there;
    cr_assert(h->launches <= PT_RUN_STARTS && h->launches <= PT_RUN_LAUNCHES + excused, "%u starts",
              h->launches);
    if (h->away.since)
        cr_assert(h->state == PT_HOST_WORKING || h->state == PT_HOST_ENDING, "away, and %s",
                  pt_run_host_state(h));
    if (h->away.since && !there)
        cr_assert_lt(lab.now, h->away.until + AGAIN_MS);
    if (h->state == PT_HOST_DOWN)
        cr_assert(!there && !h->timer && !h->away.timer &&
                  (lab.run.stopping || lab.run.ending || pt_plan_held(lab.run.plan, h->number) == 0));
    else
        cr_assert(there || h->timer || h->away.timer, "h%u is %s, and nothing will come of it", h->number,
                  pt_run_host_state(h));
    if (h->link)
        cr_assert(h->link->open);
}

static void no_bug(void *arg, enum pt_log_level level, const char *line)
{
    (void)arg, (void)level;
    cr_assert_not(strstr(line, "bug:"), "%s", line);
}

/* --- all of it --- */

#define LONGEST (HOSTS * PT_RUN_LAUNCHES * JOIN_MS + 60000) /* ms, where all takes as long as it may */

static void begin(int64_t linger_ms)
{
    static char names[HOSTS][4] = {"h0", "h1"};
    static char root[] = "/root";
    static char none[] = "";
    struct pt_plan_spec spec = {.hosts = HOSTS, .bundles_per_worker = 4};
    memset(&lab, 0, sizeof(lab));
    trail[0] = 0;
    lab.now = 1000;
    lab.opts = (struct pt_options){.linger_ms = (uint32_t)linger_ms, .grace_ms = 1000};
    lab.run = (struct pt_run){.opts = &lab.opts, .at = lab.at, .root = root, .collected = true};
    lab.run.hosts = (struct pt_hosts){.items = lab.hosts, .n = HOSTS};
    lab.run.session_known = true;
    lab.run.plan = pt_plan_create(&spec, NULL);
    for (uint32_t t = 0; t < TESTS; t++) {
        struct pt_plan_unit unit = plain_unit();
        unit.alone = true;
        cr_assert_eq(add_unit(lab.run.plan, unit, "a.py", t, 1, 1, NULL), 0);
    }
    pt_plan_collected(lab.run.plan);
    for (uint32_t h = 0; h < HOSTS; h++) {
        lab.hosts[h] = (struct pt_host){.name = names[h], .host = names[h]};
        pt_run_host_init(&lab.run, h);
        lab.at[h].identity = (struct pt_tls_identity){.cert_pem = none, .key_pem = none, .ca_pem = none};
    }
    pt_log_redirect(no_bug, NULL);
    cr_assert_eq(pt_run_hosts_start(&lab.run, NULL), 0);
}

static void end(void)
{
    bool cut_short = lab.run.stopped[0] || lab.run.failed;
    for (uint32_t t = 0; t < TESTS; t++)
        cr_assert(lab.told[t] || cut_short, "test %u has no outcome", t);
    for (uint32_t h = 0; h < HOSTS; h++) {
        cr_assert_eq(lab.at[h].state, PT_HOST_DOWN);
        pt_backlog_fini(&lab.at[h].backlog);
        free(lab.at[h].dir);
    }
    pt_plan_destroy(lab.run.plan);
}

static bool step(enum kind preferred, bool any)
{
    struct event list[KINDS * HOSTS];
    uint32_t n = list_events(list, preferred);
    cr_assert_gt(n, 0, "nothing can happen");
    struct event e = list[any ? choose(n) : 0];
    size_t used = strlen(trail);
    snprintf(trail + used, sizeof(trail) - used, "%s%s %u", any ? " | " : ", ", names[e.kind], e.host);
    happen(e);
    for (uint32_t h = 0; h < HOSTS; h++)
        check_state(&lab.at[h]);
    return !lab.over;
}

/* All goes well for so long; then anything happens; then what is preferred. */
static void all_orders(uint32_t from, uint32_t depth, int64_t linger_ms, enum kind preferred)
{
    orders_begin(depth);
    do {
        begin(linger_ms);
        bool on = true;
        for (uint32_t i = 0; on && i < from; i++)
            on = step(STOPPED, false);
        for (uint32_t i = 0; on && i < depth; i++)
            on = step(STOPPED, true);
        for (uint32_t i = 0; on; i++) {
            cr_assert_lt(i, 1000, "it does not end");
            on = step(preferred, false);
        }
        cr_assert_leq(lab.now, LONGEST);
        end();
    } while (orders_next());
}

static void from_each_point(uint32_t depth, int64_t linger_ms, enum kind preferred)
{
    uint64_t n = 0;
    for (uint32_t from = 0; from <= 18; from++) {
        all_orders(from, depth, linger_ms, preferred);
        n += orders.n;
    }
    cr_assert_gt(n, depth < 3 ? 1500 : 10000);
}

Test(run_hosts_orders, and_then_all_goes_well)
{
    from_each_point(3, 0, STOPPED);
}

Test(run_hosts_orders, and_then_no_connection_lasts)
{
    from_each_point(2, 0, DOWN);
}

Test(run_hosts_orders, and_then_the_workers_always_die)
{
    from_each_point(2, 0, DIE);
}

Test(run_hosts_orders, and_then_everything_takes_too_long)
{
    from_each_point(2, 0, TIME);
}

Test(run_hosts_orders, hosts_that_linger)
{
    from_each_point(3, 5000, STOPPED);
    from_each_point(2, 5000, DOWN);
    from_each_point(2, 5000, DIE);
    from_each_point(2, 5000, CUT);
    from_each_point(2, 5000, TIME);
}

/* Both are at work. */
Test(run_hosts_orders, more_at_once)
{
    all_orders(8, 4, 5000, STOPPED);
    cr_assert_gt(orders.n, 4000);
}
