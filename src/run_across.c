/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts may run tests together. Once the plan wants to know, and no host is on its way any more:
 *
 *   LISTEN ─► LISTENING of all ─► PROBE ─► REACHED of all ─► choose ─► PEERS ─► PEERED of all ─► plan
 *
 * Who does not answer in time is none of them. When a host comes back, all are asked anew, as its peers know
 * its last launch. */
#include "run_across.h"

#include "common/auto.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define STEP_MS   20000
#define FILES_MAX 65536 /* descriptors, if they may be had */

static struct pt_across_member *member(const struct pt_run_host *h)
{
    return &h->run->across->at[h->number];
}

/* --- asking --- */

static void forget(struct pt_across_member *m)
{
    pt_listening_fini(&m->listening);
    pt_reached_fini(&m->reached);
}

static bool is_due(const struct pt_across *a, uint32_t host)
{
    const struct pt_across_member *m = &a->at[host];
    return (a->step == PT_ACROSS_PEERS ? m->chosen : m->asked) && !m->answered;
}

/* Who has not answered has nothing to say. */
static void on_late(void *arg)
{
    struct pt_run *run = arg;
    struct pt_across *a = run->across;
    a->timer = 0;
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        struct pt_across_member *m = &a->at[i];
        if (!is_due(a, i))
            continue;
        forget(m);
        m->answered = true;
        if (a->step == PT_ACROSS_PEERS)
            m->chosen = false;
    }
    pt_run_check(run);
}

static bool all_answered(const struct pt_run *run)
{
    for (uint32_t i = 0; i < run->hosts.n; i++)
        if (is_due(run->across, i))
            return false;
    return true;
}

static void ask(struct pt_run_host *h, struct pt_buf *frame)
{
    member(h)->owes[h->run->across->step]++;
    member(h)->answered = false;
    pt_lane_send(h->lane, frame);
}

static void begin_step(struct pt_run *run, enum pt_across_step step)
{
    struct pt_across *a = run->across;
    pt_loop_cancel(run->loop, a->timer);
    a->step = step;
    a->timer = step == PT_ACROSS_IDLE ? 0 : pt_loop_after(run->loop, STEP_MS, on_late, run);
}

static void ask_listen(struct pt_run *run)
{
    begin_step(run, PT_ACROSS_LISTEN);
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        struct pt_buf b = {0};
        if (!run->across->at[i].asked)
            continue;
        pt_frame_end(&b, pt_frame_begin(&b, PT_C_LISTEN));
        ask(&run->at[i], &b);
    }
}

/* The others, with all addresses they named. */
static void put_probe(const struct pt_run *run, uint32_t whom, struct pt_probe_host *room, struct pt_buf *out)
{
    struct pt_probe m = {.hosts = room};
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        const struct pt_listening *l = &run->across->at[i].listening;
        if (i == whom || !run->across->at[i].asked || !l->n)
            continue;
        struct pt_probe_host *host = &m.hosts[m.n++];
        *host = (struct pt_probe_host){.host = i, .port = l->port, .n = l->n};
        memcpy(host->token, l->token, PT_TOKEN);
        host->addresses = malloc(l->n * sizeof(*host->addresses));
        for (uint32_t k = 0; host->addresses && k < l->n; k++)
            host->addresses[k] = l->addresses[k].address;
        out->bad = out->bad || !host->addresses;
    }
    if (!out->bad)
        pt_probe_encode(&m, out);
    for (uint32_t i = 0; i < m.n; i++)
        free(m.hosts[i].addresses);
}

static void ask_probe(struct pt_run *run)
{
    struct pt_across *a = run->across;
    pt_auto_free struct pt_probe_host *room = calloc(run->hosts.n, sizeof(*room));
    begin_step(run, PT_ACROSS_PROBE);
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        struct pt_buf b = {.bad = !room};
        if (!a->at[i].asked || !a->at[i].listening.mpi)
            continue; /* it has answered all it will */
        if (room)
            put_probe(run, i, room, &b);
        ask(&run->at[i], &b);
    }
}

/* --- choosing --- */

static void tell_left_out(struct pt_run *run, const struct pt_across_host *hosts)
{
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        struct pt_across_member *m = &run->across->at[i];
        if (!hosts[i].asked || !hosts[i].why[0] || strcmp(hosts[i].why, m->why) == 0)
            continue;
        memcpy(m->why, hosts[i].why, sizeof(m->why));
        pt_run_host_note(&run->at[i], "no tests over several hosts: %s", m->why);
    }
}

static void put_peers(const struct pt_run *run, const struct pt_across_host *hosts, struct pt_buf *out)
{
    pt_auto_free struct pt_peer *list = calloc(run->hosts.n, sizeof(*list));
    struct pt_peers m = {.hosts = list};
    for (uint32_t i = 0; list && i < run->hosts.n; i++)
        if (hosts[i].in)
            list[m.n++] = (struct pt_peer){.host = i,
                                           .address = hosts[i].address,
                                           .run_dir = hosts[i].listening->run_dir,
                                           .worker = hosts[i].listening->worker,
                                           .launch = hosts[i].listening->launch};
    if (list)
        pt_peers_encode(&m, out);
    out->bad = out->bad || !list;
}

static void ask_peers(struct pt_run *run, const struct pt_across_host *hosts)
{
    struct pt_buf all = {0};
    put_peers(run, hosts, &all);
    begin_step(run, PT_ACROSS_PEERS);
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        struct pt_across_member *m = &run->across->at[i];
        char text[PT_ADDRESS_TEXT];
        struct pt_buf b = {.bad = all.bad};
        m->chosen = hosts[i].in;
        if (!m->chosen)
            continue;
        m->address = hosts[i].address;
        pt_debug("%s: tests over several hosts by %s", run->at[i].host->name,
                 pt_address_text(m->address.address, text));
        pt_buf_append(&b, all.data, all.len);
        ask(&run->at[i], &b);
    }
    pt_buf_fini(&all);
}

static void choose(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    pt_auto_free struct pt_across_host *hosts = calloc(run->hosts.n, sizeof(*hosts));
    for (uint32_t i = 0; hosts && i < run->hosts.n; i++) {
        const struct pt_across_member *m = &run->across->at[i];
        hosts[i] = (struct pt_across_host){.name = run->at[i].host->name,
                                           .slots = run->at[i].launch_slots,
                                           .asked = m->asked,
                                           .listening = m->listening.mpi ? &m->listening : NULL,
                                           .reached = m->answered ? &m->reached : NULL};
    }
    if (!hosts || pt_across_choose(hosts, (uint32_t)run->hosts.n, &err) < 0) {
        pt_err_set(&err, "out of memory");
        pt_run_fail(run, &err);
        return;
    }
    tell_left_out(run, hosts);
    ask_peers(run, hosts);
}

/* --- the end of a round --- */

static void tell_plan(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    pt_auto_free bool *may = calloc(run->hosts.n, sizeof(*may));
    for (uint32_t i = 0; may && i < run->hosts.n; i++)
        may[i] = run->across->at[i].in = run->across->at[i].chosen;
    if (may) {
        pt_plan_together(run->plan, may, (uint32_t)run->hosts.n);
        pt_run_deal(run);
        return;
    }
    pt_err_set(&err, "out of memory");
    pt_run_fail(run, &err);
}

/* A host that came too late to be asked would count as one that cannot: then the next round tells. */
static void end_round(struct pt_run *run)
{
    begin_step(run, PT_ACROSS_IDLE);
    for (uint32_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].state == PT_HOST_WORKING && !run->across->at[i].asked)
            return;
    tell_plan(run);
}

static void go_on(struct pt_run *run)
{
    const struct pt_across *a = run->across;
    if (a->step == PT_ACROSS_LISTEN && all_answered(run))
        ask_probe(run);
    if (a->step == PT_ACROSS_PROBE && all_answered(run))
        choose(run);
    if (a->step == PT_ACROSS_PEERS && all_answered(run))
        end_round(run);
}

/* --- events --- */

/* Is this the answer that is waited for? */
static bool is_answer(struct pt_run_host *h, enum pt_across_step step)
{
    struct pt_across_member *m = member(h);
    if (!m->owes[step] || --m->owes[step])
        return false;
    return h->run->across->step == step && is_due(h->run->across, h->number);
}

void pt_run_across_event(struct pt_run_host *h, struct pt_lane_event *e)
{
    struct pt_across_member *m = h->run->across ? member(h) : NULL;
    if (m && e->kind == PT_LANE_LISTENING && is_answer(h, PT_ACROSS_LISTEN)) {
        if (e->listening.launch == h->launches) {
            m->listening = e->listening;
            e->listening = (struct pt_listening){0};
        }
        m->answered = true;
    } else if (m && e->kind == PT_LANE_REACHED && is_answer(h, PT_ACROSS_PROBE)) {
        m->reached = e->reached;
        e->reached = (struct pt_reached){0};
        m->answered = true;
    } else if (m && e->kind == PT_LANE_PEERED && is_answer(h, PT_ACROSS_PEERS)) {
        m->answered = true;
    }
}

void pt_run_across_lost(struct pt_run_host *h)
{
    struct pt_across_member *m = h->run->across ? member(h) : NULL;
    if (!m)
        return;
    m->asked = m->chosen = m->in = false;
    forget(m);
    pt_run_relays_lost(h);
}

void pt_run_across_down(struct pt_run_host *h)
{
    if (h->run->across)
        memset(member(h)->owes, 0, sizeof(member(h)->owes));
}

/* --- the beginning of a round --- */

/* Streams of all hosts end here. */
static void want_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_MAX)
        return;
    limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        pt_debug("no more descriptors than before");
}

static int open_across(struct pt_run *run, struct pt_err *err)
{
    if (!(run->across = calloc(1, sizeof(*run->across))) ||
        !(run->across->at = calloc(run->hosts.n + PT_RUN_JOINS, sizeof(*run->across->at))) ||
        pt_run_relays_open(run, err) < 0) {
        pt_run_across_fini(run);
        return pt_err_set(err, "out of memory");
    }
    want_descriptors();
    return 0;
}

static void begin_round(struct pt_run *run)
{
    struct pt_across *a = run->across;
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->hosts.n; i++) {
        forget(&a->at[i]);
        a->at[i].asked = run->at[i].state == PT_HOST_WORKING;
        a->at[i].chosen = a->at[i].answered = false;
        n += a->at[i].asked;
    }
    if (n > 1) {
        ask_listen(run);
        return;
    }
    tell_plan(run);
}

void pt_run_across_look(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    if (run->across)
        go_on(run);
    if ((run->across && run->across->step != PT_ACROSS_IDLE) || !pt_plan_wants_together(run->plan))
        return;
    if (!run->across) {
        if (open_across(run, &err) < 0) {
            pt_run_fail(run, &err);
            return;
        }
        pt_run_hosts_wake(run);
    }
    if (!pt_run_hosts_coming(run))
        begin_round(run);
}

void pt_run_across_fini(struct pt_run *run)
{
    if (!run->across)
        return;
    pt_loop_cancel(run->loop, run->across->timer);
    pt_run_relays_fini(run);
    for (uint32_t i = 0; run->across->at && i < run->hosts.n; i++)
        forget(&run->across->at[i]);
    free(run->across->at);
    free(run->across);
    run->across = NULL;
}
