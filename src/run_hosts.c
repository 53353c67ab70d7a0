/* SPDX-License-Identifier: Apache-2.0 */
/* Each host's way through a run:
 *
 *   CONNECTING ─► PREPARING ─► LAUNCHING ─► JOINED ─► WORKING ─► ENDING ─► STOPPING ─► DOWN
 *                     ▲            ▲           │          │ (workers died: run_deaths.c)
 *                     │            └───────────┴──────────┘
 *                     └── CONNECTING again when the agent or the connection died under launched workers; and
 *                         as long as others work, or ALONE_MS, when that fails
 *
 * From every state a host may go to STOPPING (the run is over, or the host is given up) or DOWN. What a lost
 * host held is dealt again by the plan. */
#include "run_parts.h"

#include "common/auto.h"
#include "common/log.h"
#include "master.h"
#include "report.h"
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define JOIN_MS 90000 /* from the launch to the first worker's word */

static const char *const state_names[] = {"connecting", "preparing", "launching", "joined",
                                          "working",    "ending",    "stopping",  "down"};
_Static_assert(PT_COUNT(state_names) == PT_HOST_STATES, "one name for each state");

#define TO(state) (1u << PT_HOST_##state)
static const unsigned edges[PT_HOST_STATES] = {
    [PT_HOST_CONNECTING] = TO(PREPARING) | TO(STOPPING) | TO(DOWN),
    [PT_HOST_PREPARING] = TO(LAUNCHING) | TO(CONNECTING) | TO(STOPPING) | TO(DOWN),
    [PT_HOST_LAUNCHING] = TO(LAUNCHING) | TO(JOINED) | TO(CONNECTING) | TO(STOPPING) | TO(DOWN),
    [PT_HOST_JOINED] = TO(WORKING) | TO(LAUNCHING) | TO(CONNECTING) | TO(ENDING) | TO(STOPPING) | TO(DOWN),
    [PT_HOST_WORKING] = TO(LAUNCHING) | TO(CONNECTING) | TO(ENDING) | TO(STOPPING) | TO(DOWN),
    [PT_HOST_ENDING] = TO(STOPPING) | TO(DOWN),
    [PT_HOST_STOPPING] = TO(DOWN),
    [PT_HOST_DOWN] = 0,
};

void pt_run_host_set(struct pt_run_host *h, enum pt_host_state state)
{
    if (!(edges[h->state] & 1u << state))
        pt_error("host %s: bug: from %s to %s", h->host->name, state_names[h->state], state_names[state]);
    pt_debug("%s: %s -> %s", h->host->name, state_names[h->state], state_names[state]);
    h->state = state;
}

const char *pt_run_host_state(const struct pt_run_host *h)
{
    return state_names[h->state];
}

void pt_run_host_show(struct pt_run_host *h, const char *state)
{
    const struct pt_options *opts = h->run->opts;
    if (opts->sync_only && !opts->verbose && !isatty(1))
        return; /* it gets one line, at the end */
    pt_terminal_host(h->run->terminal, h->number, state, h->slots, false);
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    char text[2 * PT_ERR_MAX], line[2 * PT_ERR_MAX + 256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(line, sizeof(line), "%s: %s", h->host->name, text);
    pt_terminal_note(h->run->terminal, line);
}

bool pt_run_host_may_say(struct pt_run_host *h)
{
    if (h->said == PT_RUN_SAID)
        pt_run_host_note(h, "said %u lines: what else it says is left out", PT_RUN_SAID);
    h->said += h->said <= PT_RUN_SAID;
    return h->said <= PT_RUN_SAID;
}

/* --- starting workers --- */

/* mpirun runs, or says so, and no worker came. */
static void on_no_worker(void *arg)
{
    struct pt_run_host *h = arg;
    h->timer = 0;
    if (h->state != PT_HOST_LAUNCHING)
        return;
    pt_run_host_note(h, "mpirun started no worker in %d s", JOIN_MS / 1000);
    pt_lane_end_workers(h->lane, 0); /* EXITED follows */
}

/* Would its slots have something to do? Where the plan says who runs what, each host is needed. */
static bool is_needed(const struct pt_run_host *h)
{
    const struct pt_run *run = h->run;
    const struct pt_options *opts = run->opts;
    uint32_t slots = 0;
    bool working = false;
    if (opts->require_all_hosts)
        return true;
    if (!run->collected)
        return !opts->target_ms;
    if (h->room == 0)
        return false;
    if (run->across || pt_plan_wants_together(run->plan) || run->replay || opts->dist == PT_DIST_EACH ||
        opts->schedule != PT_SCHEDULE_DYNAMIC || run->hosts.nlabels)
        return true;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].state >= PT_HOST_LAUNCHING && run->at[i].state <= PT_HOST_WORKING)
            slots += run->at[i].launch_slots;
    for (size_t i = 0; i < run->hosts.n; i++)
        working |= run->at[i].state == PT_HOST_WORKING;
    /* What a working host was not dealt may be too heavy for it. */
    return pt_plan_untold(run->plan) > slots || (working && pt_plan_waiting(run->plan) > 0);
}

void pt_run_host_keys(const struct pt_run_host *h, uint8_t type, struct pt_buf *out)
{
    const struct pt_run *run = h->run;
    char who[PT_MASTER_WHO] = "";
    if (run->opts->share == PT_SHARE_SLOTS)
        pt_master_who(who);
    struct pt_launch m = {.launch = h->launches,
                          .slots = h->launch_slots,
                          .cert = h->identity.cert_pem,
                          .key = h->identity.key_pem,
                          .ca = h->identity.ca_pem,
                          .address = run->listener ? (char *)pt_listener_address(run->listener) : (char *)"",
                          .share = who};
    pt_launch_encode(&m, type, out);
}

void pt_run_host_launch(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    pt_loop_cancel(run->loop, h->timer);
    h->timer = pt_loop_after(run->loop, JOIN_MS, on_no_worker, h);
    h->launches++;
    h->seq = h->acked = 0;
    h->launch_slots = h->slots;
    h->runners = 0;
    pt_backlog_fini(&h->backlog);
    struct pt_buf b = {0};
    pt_run_host_keys(h, PT_C_LAUNCH, &b);
    pt_run_host_set(h, PT_HOST_LAUNCHING);
    pt_lane_send(h->lane, &b);
    pt_run_host_show(h, "starting workers");
}

/* --- lane events --- */

void pt_run_host_offer_tree(struct pt_run_host *h, bool give)
{
    struct pt_run *run = h->run;
    if (!run->tree)
        return;
    if (give)
        pt_lane_tree(h->lane, run->tree);
    else if (h->offered != run->tree)
        pt_fanout_skip(run->tree);
    h->offered = run->tree;
}

static void on_connected(struct pt_run_host *h, const struct pt_lane_event *e)
{
    h->connected = e->at;
    pt_run_host_set(h, PT_HOST_PREPARING);
    pt_run_host_show(h, e->bytes ? "connected, agent installed" : "connected");
    pt_run_host_offer_tree(h, true);
}

static void warn_of_memory(struct pt_run_host *h, uint64_t memory)
{
    uint64_t slot = h->run->opts->memory_per_slot;
    if (slot && slot * h->slots > memory)
        pt_run_host_note(h, "%u slots of %llu MiB are more than its memory of %llu MiB; %llu would fit",
                         h->slots, (unsigned long long)(slot >> 20), (unsigned long long)(memory >> 20),
                         (unsigned long long)(memory / slot));
}

static void on_ready(struct pt_run_host *h, const struct pt_lane_event *e)
{
    h->ready = e->at;
    if (!h->slots)
        h->slots = e->ready.cores ? e->ready.cores : 1;
    if (h->slots > 4096)
        h->slots = 4096;
    free(h->dir);
    h->dir = strdup(e->ready.dir);
    pt_plan_expect(h->run->plan, h->number, h->slots);
    pt_run_units_slots(h->run);
    warn_of_memory(h, e->ready.memory);
    pt_debug("%s: %s, %u cores, workspace %s", h->host->name, e->ready.machine, e->ready.cores,
             e->ready.workspace);
}

static void on_tooled(struct pt_run_host *h, const struct pt_lane_event *e)
{
    h->tooled_at = e->at;
    h->tooled = true;
    pt_run_hosts_wake(h->run);
    pt_run_collect_offer(h);
}

static void on_synced(struct pt_run_host *h, const struct pt_lane_event *e)
{
    h->synced = true;
    h->synced_at = e->at;
    h->sync = e->sync;
    const struct pt_synced *s = &h->sync.synced;
    pt_debug("%s: %llu files and %llu bytes sent as %llu, %llu files from its store, %llu were right, %llu "
             "removed;"
             " survey %u ms, apply %u ms",
             h->host->name, (unsigned long long)s->files_sent, (unsigned long long)s->bytes_sent,
             (unsigned long long)h->sync.wire, (unsigned long long)s->files_reused,
             (unsigned long long)s->files_right, (unsigned long long)s->removed, s->survey_ms, s->apply_ms);
    pt_run_host_begin(h);
    pt_run_collect_offer(h);
}

/* "sending 12.3 of 67.2 MB, 45 MB/s": of the content, as the user sees its files. */
static void on_sending(struct pt_run_host *h, const struct pt_lane_event *e)
{
    char text[96], rate[32] = "";
    double seconds = e->sync.send, done = (double)e->sync.raw / 1e6;
    if (!e->sync.total)
        return;
    if (seconds > 0.05)
        snprintf(rate, sizeof(rate), ", %.*f MB/s", done / seconds < 10, done / seconds);
    snprintf(text, sizeof(text), "sending %.1f of %.1f MB%s", done, (double)e->sync.total / 1e6, rate);
    pt_run_host_show(h, text);
}

/* Did the last scan find what the one before it found? */
static bool tree_rests(const struct pt_run *run)
{
    unsigned n = run->scans;
    return n > 1 && run->trees[n - 1] && run->trees[n - 2] &&
           memcmp(pt_manifest_root(pt_fanout_manifest(run->trees[n - 1])),
                  pt_manifest_root(pt_fanout_manifest(run->trees[n - 2])), PT_DIGEST) == 0;
}

static void on_stale(struct pt_run_host *h, const struct pt_lane_event *e)
{
    struct pt_run *run = h->run;
    struct pt_err err = PT_ERR_INIT;
    if (h->late && run->scans >= PT_RUN_SCANS && !run->scanning) {
        pt_run_host_note(h, "the tree was edited too often since the run began");
        pt_run_host_give_up(h, "the tree was edited too often since the run began");
        return;
    }
    if (run->scans >= PT_RUN_SCANS && !run->scanning && tree_rests(run)) {
        pt_run_host_note(h, "it does not take the tree as it is: %s", e->text ? e->text : "no reason given");
        pt_run_host_give_up(h, "it does not take the tree as it is");
        return;
    }
    if (h->late)
        pt_run_host_note(h, "the tree was edited since the run began: it gets the tree as it is now");
    if (run->scans >= PT_RUN_SCANS) {
        pt_err_set_kind(&err, PT_ERR_USAGE, "the tree in %s keeps changing while it is sent%s%s", run->root,
                        e->text && e->text[0] ? ": " : "", e->text ? e->text : "");
        pt_err_hint(&err, "stop what writes there, or leave its files out with --exclude");
        pt_run_fail(run, &err);
        return;
    }
    pt_debug("%s: the tree changed while it was sent: %s", h->host->name, e->text ? e->text : "");
    pt_lane_survey(h->lane);
    if (!run->scanning)
        pt_run_scan(run);
}

static void last_line(const char *text, char *out, size_t size)
{
    size_t end = strlen(text);
    while (end && strchr("\r\n\t -", text[end - 1]))
        end--;
    size_t start = end;
    while (start && text[start - 1] != '\n')
        start--;
    snprintf(out, size, "%.*s", (int)(end - start), text + start);
}

static void on_exited(struct pt_run_host *h, const struct pt_lane_event *e)
{
    char words[128], line[512], why[PT_ERR_MAX];
    if (e->program == PT_PROGRAM_COLLECTOR)
        pt_run_collect_exited(h, e->status, e->text);
    if (e->program == PT_PROGRAM_COLLECTOR || h->state >= PT_HOST_STOPPING)
        return;
    pt_status_words(e->status, words, sizeof(words));
    last_line(e->text, line, sizeof(line));
    if (e->program == PT_PROGRAM_FORKSERVER) {
        if (pt_run_host_may_say(h))
            pt_run_host_note(h, "the Python server %s%s%s", words, line[0] ? ": " : "", line);
        if (h->state == PT_HOST_JOINED || h->state == PT_HOST_WORKING || h->state == PT_HOST_LAUNCHING)
            pt_lane_end_workers(h->lane, 0);
        return;
    }
    if (h->state == PT_HOST_LAUNCHING || h->state == PT_HOST_JOINED || h->state == PT_HOST_WORKING ||
        h->state == PT_HOST_ENDING) {
        snprintf(why, sizeof(why), "mpirun %s%s%s", words, line[0] ? ": " : "", line);
        pt_run_host_workers_lost(h, why);
    }
}

static void on_event(void *arg, struct pt_lane_event *e)
{
    struct pt_run_host *h = arg;
    switch (e->kind) {
    case PT_LANE_CONNECTED:
        if (h->state == PT_HOST_CONNECTING)
            on_connected(h, e);
        break;
    case PT_LANE_READY:
        on_ready(h, e);
        if (h->run->opts->shared_fs)
            on_synced(h, e);
        break;
    case PT_LANE_SENDING:
        on_sending(h, e);
        break;
    case PT_LANE_SYNCED:
        on_synced(h, e);
        break;
    case PT_LANE_STALE:
        on_stale(h, e);
        break;
    case PT_LANE_TOOLED:
        on_tooled(h, e);
        break;
    case PT_LANE_LAUNCHED:
        break;
    case PT_LANE_ATTACHED:
        pt_run_away_attached(h, (uint32_t)e->bytes);
        break;
    case PT_LANE_PYTHON:
        pt_debug("%s: %s", h->host->name, e->text);
        h->python = true;
        pt_run_collect_offer(h);
        break;
    case PT_LANE_LINK:
        pt_run_link(h->run, e->fd, h->number);
        e->fd = -1;
        break;
    case PT_LANE_RELAY:
        pt_run_relay(h, e->fd);
        e->fd = -1;
        break;
    case PT_LANE_LISTENING:
    case PT_LANE_REACHED:
    case PT_LANE_PEERED:
        pt_run_across_event(h, e);
        break;
    case PT_LANE_COLLECT:
        pt_run_collect_remote(h, e->fd);
        e->fd = -1;
        break;
    case PT_LANE_EXITED:
        on_exited(h, e);
        break;
    case PT_LANE_LOG:
        if (e->level <= PT_LOG_WARN && pt_run_host_may_say(h))
            pt_run_host_note(h, "%s", e->text);
        else if (e->level > PT_LOG_WARN)
            pt_debug("%s: %s", h->host->name, e->text);
        break;
    case PT_LANE_CLEANED: /* nobody asked */
        break;
    case PT_LANE_DOWN:
        pt_run_host_down(h, e);
        break;
    }
    pt_run_sync_look(h);
    pt_run_check(h->run);
}

/* --- all hosts --- */

static void on_accepted(void *arg, int fd)
{
    pt_run_link(arg, fd, -1);
}

static struct pt_lane *new_lane(struct pt_run_host *h, const struct pt_attach *attach, struct pt_err *err)
{
    const struct pt_run *run = h->run;
    struct pt_lane_options o = {.host = h->number,
                                .target = {.name = h->host->name,
                                           .user = h->host->user,
                                           .host = h->host->host,
                                           .local = h->host->local},
                                .transport = attach ? &run->again : &run->transport,
                                .remote_dir = run->opts->remote_dir ? run->opts->remote_dir : "",
                                .setup = h->setup,
                                .attach = attach,
                                .state_dir = run->state_dir,
                                .cache_size = run->opts->cache_size,
                                .keep = (const char *const *)run->opts->keep.item,
                                .nkeep = run->opts->keep.n,
                                .lanes = (unsigned)run->hosts.n,
                                .loop = run->loop,
                                .on_event = on_event,
                                .arg = h};
    pt_lane_destroy(h->lane);
    h->lane = pt_lane_create(&o, err);
    return h->lane;
}

void pt_run_host_connect(void *arg)
{
    struct pt_run_host *h = arg;
    struct pt_err err = PT_ERR_INIT;
    h->timer = 0;
    h->tooled = h->synced = h->python = h->collecting = false;
    h->begun = pt_wall_clock();
    if (new_lane(h, NULL, &err)) {
        pt_run_host_show(h, "connecting");
        return;
    }
    pt_run_host_set(h, PT_HOST_DOWN);
    h->lost = true;
    pt_run_host_note(h, "%s%s%s", err.msg, err.hint[0] ? "; next: " : "", err.hint);
    pt_run_check(h->run);
}

int pt_run_host_attach(struct pt_run_host *h)
{
    const struct pt_attach attach = {
        .protocol = PT_PROTOCOL, .run = h->run->id, .host = h->number, .dir = h->dir};
    struct pt_err err = PT_ERR_INIT;
    return new_lane(h, &attach, &err) ? 0 : -1;
}

void pt_run_host_init(struct pt_run *run, uint32_t number)
{
    run->at[number] = (struct pt_run_host){.run = run,
                                           .number = number,
                                           .host = &run->hosts.items[number],
                                           .slots = run->hosts.items[number].slots};
}

void pt_run_host_prepare(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    h->setup.slots = h->host->slots;
    h->room = PT_NONE;
    pt_plan_labels(run->plan, h->number, h->host->labels);
    if (h->slots)
        pt_plan_expect(run->plan, h->number, h->slots);
    pt_terminal_add_host(run->terminal, h->number, h->host->name, h->slots);
}

int pt_run_hosts_start(struct pt_run *run, struct pt_err *err)
{
    if (run->opts->listen && !run->opts->sync_only &&
        !(run->listener = pt_listener_create(run->loop, run->opts->listen, on_accepted, run, err)))
        return -1;
    for (size_t i = 0; i < run->hosts.n; i++)
        pt_run_host_prepare(&run->at[i]);
    run->lanes_started = true;
    for (size_t i = 0; i < run->hosts.n; i++)
        pt_run_host_connect(&run->at[i]);
    return 0;
}

void pt_run_hosts_tree(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        if (h->state != PT_HOST_CONNECTING) /* who connects still will get it then */
            pt_run_host_offer_tree(h, h->state < PT_HOST_WORKING && !h->synced);
    }
}

void pt_run_hosts_wake(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        if (h->state == PT_HOST_PREPARING && h->tooled && h->slots && !run->ending && !run->stopping &&
            !run->opts->sync_only && is_needed(h))
            pt_run_host_launch(h);
    }
}

/* With --target, the first hosts that are there get the slots; who joined later was asked for. */
static void share_slots(struct pt_run *run)
{
    uint32_t left = run->aim;
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        uint32_t slots = h->slots ? h->slots : 1;
        if (h->late)
            continue;
        h->room = h->state >= PT_HOST_ENDING || h->leaves ? 0 : slots < left ? slots : left;
        left -= h->room;
        if (h->state == PT_HOST_WORKING && h->link) {
            pt_run_host_limits(h);
            pt_plan_host(run->plan, h->number, h->room);
        }
    }
}

void pt_run_hosts_collected(struct pt_run *run)
{
    if (run->aim)
        share_slots(run);
    pt_run_hosts_wake(run);
}

void pt_run_hosts_session(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        pt_run_host_begin(&run->at[i]);
}

uint32_t pt_run_hosts_alive(const struct pt_run *run)
{
    uint32_t n = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        n += run->at[i].state != PT_HOST_DOWN;
    return n;
}

uint32_t pt_run_hosts_usable(const struct pt_run *run)
{
    uint32_t n = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        n += run->at[i].state < PT_HOST_ENDING;
    return n;
}

bool pt_run_hosts_coming(const struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].state < PT_HOST_WORKING && (run->at[i].state != PT_HOST_PREPARING || run->at[i].room))
            return true;
    return false;
}

void pt_run_hosts_fini(struct pt_run *run)
{
    for (size_t i = 0; run->at && i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        pt_run_host_unlink(h);
        pt_run_away_end(h);
        pt_lane_destroy(h->lane);
        pt_tls_identity_fini(&h->identity);
        pt_backlog_fini(&h->backlog);
        free(h->dir);
    }
    pt_run_links_fini(run);
    pt_run_across_fini(run);
    pt_listener_destroy(run->listener);
    free(run->at);
}
