/* SPDX-License-Identifier: Apache-2.0 */
/* One host's way: a lane that says ATTACH ─► RELINK ─► its workers' link: WELCOME, QUIT ─► reports ... BYE ─►
 * STOP ─► DOWN. What ranks of MPI tests gave is not brought: those run again. */
#include "gather.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/tls.h"
#include "gather_reports.h"
#include "hosts.h"
#include "json.h"
#include "lane.h"
#include "ledger.h"
#include "link.h"
#include "master.h"
#include "sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIND         "linger"
#define CERT_SECONDS 86400L
#define ACK_BYTES                                                                                            \
    (1u << 20)        /* told, after which they are acknowledged: a host says no more than some MiB without */
#define LINK_MS 30000 /* from RELINK to the workers' link; and to BYE, besides the grace */

struct gather;

struct gathered {
    struct gather *g;
    uint32_t number, launch;
    char *name, *remote_dir, *dir;
    struct pt_hosts spec;
    struct pt_lane *lane;
    struct pt_link *link;
    struct pt_tls_identity identity;
    uint64_t seq, timer;
    size_t bytes; /* since the last acknowledgement */
    struct pt_gather_from from;
    bool begun, ended; /* its lane is there; has come to its end */
    bool bye;          /* its workers told all: their link may end as it likes */
};

struct gather {
    const struct pt_gather_options *o;
    struct pt_ledger *ledger;
    char *run;
    struct pt_tls_ca *ca;
    struct pt_tls_identity identity;
    struct gathered *at;
    size_t n;
    struct pt_err failure; /* of the ledger: nothing goes on */
};

/* --- what is remembered of a host --- */

int pt_gather_keep(struct pt_ledger *ledger, uint32_t number, const char *name, const char *remote_dir,
                   const char *dir, uint32_t launch, struct pt_err *err)
{
    struct pt_json_out out;
    pt_json_out_init(&out, NULL);
    pt_json_open_object(&out, NULL);
    pt_json_put_str(&out, "name", name);
    pt_json_put_str(&out, "remote_dir", remote_dir);
    pt_json_put_str(&out, "dir", dir);
    pt_json_put_int(&out, "launch", launch);
    pt_json_close(&out);
    int rc = pt_json_out_end(&out) < 0
                 ? pt_err_set(err, "out of memory")
                 : pt_ledger_add_note(ledger, number, KIND, out.buf.data, out.buf.len, err);
    pt_buf_fini(&out.buf);
    return rc;
}

static void forget(struct gathered *h)
{
    free(h->name);
    free(h->remote_dir);
    free(h->dir);
    pt_hosts_fini(&h->spec);
}

/* The last word of each host is the one that holds. */
static struct gathered *place_for(struct gather *g, uint32_t number)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].number == number) {
            forget(&g->at[i]);
            return &g->at[i];
        }
    struct gathered *all = g->n < PT_HOSTS_MAX ? realloc(g->at, (g->n + 1) * sizeof(*all)) : NULL;
    if (!all)
        return NULL;
    g->at = all;
    return &g->at[g->n++];
}

static int take_host(void *arg, uint32_t number, const void *json, size_t n)
{
    struct gather *g = arg;
    struct pt_json *note = pt_json_parse(json, n, NULL);
    struct pt_fields f = {.object = note};
    const char *name = pt_field_str(&f, "name"), *dir = pt_field_str(&f, "dir");
    const char *remote_dir = pt_field_str(&f, "remote_dir");
    uint32_t launch = pt_field_u32(&f, "launch", UINT32_MAX - 1, 0);
    struct gathered *h = f.bad || !name || !dir || !remote_dir ? NULL : place_for(g, number);
    int rc = 0;
    if (h) {
        *h = (struct gathered){.g = g,
                               .number = number,
                               .launch = launch,
                               .name = strdup(name),
                               .remote_dir = strdup(remote_dir),
                               .dir = strdup(dir)};
        rc = h->name && h->remote_dir && h->dir && pt_hosts_parse(name, &h->spec, NULL) == 0 ? 0 : -1;
    }
    pt_json_destroy(note);
    return rc;
}

static void note(const struct gathered *h, const char *what)
{
    char line[PT_ERR_MAX + 256];
    snprintf(line, sizeof(line), "%.200s: %s", h->name, what);
    h->g->o->note(h->g->o->arg, line);
}

/* --- what they tell --- */

/* On disk first, then acknowledged. */
static int acknowledge(struct gathered *h, struct pt_err *err)
{
    struct pt_buf b = {0};
    if (pt_ledger_commit(h->g->ledger, err) < 0) {
        h->g->failure = *err;
        return -1;
    }
    size_t mark = pt_frame_begin(&b, PT_L_ACK);
    pt_put_u64(&b, h->seq);
    pt_frame_end(&b, mark);
    pt_link_send(h->link, &b);
    pt_buf_fini(&b);
    h->bytes = 0;
    return 0;
}

static void end_host(struct gathered *h)
{
    pt_loop_cancel(h->g->o->loop, h->timer);
    h->timer = 0;
    pt_lane_stop(h->lane, 0);
}

/* --- the link --- */

static void on_hello(void *arg, struct pt_link *link, const struct pt_hello *hello)
{
    struct gathered *h = arg;
    struct pt_buf b = {0};
    if (hello->host != h->number || hello->launch != h->launch) {
        pt_link_refuse(link, "this launch is not expected");
        return;
    }
    h->seq = hello->acked;
    pt_link_welcome(link, hello->acked);
    size_t mark = pt_frame_begin(&b, PT_L_QUIT);
    pt_put_u32(&b, h->g->o->grace_ms);
    pt_frame_end(&b, mark);
    pt_link_send(link, &b);
    pt_buf_fini(&b);
}

static int on_message(void *arg, struct pt_link *link, uint8_t type, struct pt_reader *body,
                      struct pt_err *err)
{
    struct gathered *h = arg;
    (void)link;
    h->bytes += body->left;
    if (type == PT_L_GOT || type == PT_L_STARTED || type == PT_L_WAITS)
        return 0;
    uint64_t seq = pt_get_u64(body);
    if (body->bad)
        return pt_err_set(err, "malformed link message %u", type);
    int rc = pt_sequence_next(&h->seq, seq, err);
    if (rc <= 0)
        return rc;
    rc = type == PT_L_REPORT  ? pt_gather_report(&h->from, body, err)
         : type == PT_L_DEATH ? pt_gather_death(&h->from, body, err)
                              : 0;
    bool bye = type == PT_L_BYE && pt_get_u32(body) == PT_NONE;
    if (rc == 0 && (bye || seq % 256 == 0 || h->bytes >= ACK_BYTES))
        rc = acknowledge(h, err);
    if (rc == 0 && bye) {
        h->bye = true;
        end_host(h);
    }
    return rc;
}

static void on_link_closed(void *arg, struct pt_link *link, const char *why)
{
    struct gathered *h = arg;
    if (h->link != link)
        return;
    h->link = NULL;
    if (why[0] && !h->bye)
        note(h, why);
    end_host(h);
}

/* --- the lane --- */

static void on_late(void *arg)
{
    struct gathered *h = arg;
    h->timer = 0;
    note(h, "its workers do not answer; what they did since then is not known, and runs again");
    pt_lane_stop(h->lane, 0);
}

static void on_attached(struct gathered *h, uint32_t launch)
{
    struct pt_buf b = {0};
    if (launch != h->launch) {
        end_host(h);
        return;
    }
    struct pt_launch keys = {.launch = launch,
                             .slots = 1,
                             .cert = h->identity.cert_pem,
                             .key = h->identity.key_pem,
                             .ca = h->identity.ca_pem,
                             .address = (char *)""};
    pt_launch_encode(&keys, PT_C_RELINK, &b);
    pt_lane_send(h->lane, &b);
    h->timer = pt_loop_after(h->g->o->loop, LINK_MS + h->g->o->grace_ms, on_late, h);
}

static void on_link(struct gathered *h, int fd)
{
    static const struct pt_link_callbacks callbacks = {
        .hello = on_hello, .message = on_message, .closed = on_link_closed};
    struct pt_err err = PT_ERR_INIT;
    if (h->link) {
        close(fd);
        return;
    }
    h->link = pt_link_create(h->g->o->loop, fd, &h->g->identity, h->g->run, h->number, &callbacks, h, &err);
    if (!h->link)
        note(h, err.msg);
}

static void on_down(struct gathered *h, const struct pt_lane_event *e)
{
    char line[PT_ERR_MAX + 100];
    pt_loop_cancel(h->g->o->loop, h->timer);
    h->timer = 0;
    h->ended = true;
    if (h->from.reports)
        snprintf(line, sizeof(line), "%u tests were told meanwhile", h->from.reports);
    else if (e->err.msg[0])
        snprintf(line, sizeof(line), "what it did after its master died is not known, and runs again: %s",
                 e->err.msg);
    else
        return;
    note(h, line);
}

static void on_event(void *arg, struct pt_lane_event *e)
{
    struct gathered *h = arg;
    switch (e->kind) {
    case PT_LANE_ATTACHED:
        on_attached(h, (uint32_t)e->bytes);
        break;
    case PT_LANE_LINK:
        on_link(h, e->fd);
        e->fd = -1;
        break;
    case PT_LANE_EXITED:
        if (e->program == PT_PROGRAM_WORKERS && !h->link)
            end_host(h);
        break;
    case PT_LANE_DOWN:
        on_down(h, e);
        break;
    default: /* of no use any more */
        break;
    }
}

/* --- all of them --- */

static int begin_host(struct gathered *h, struct pt_err *err)
{
    struct gather *g = h->g;
    const struct pt_host *host = &h->spec.items[0];
    h->from = (struct pt_gather_from){
        .ledger = g->ledger, .run = g->o->run, .host = h->number, .reruns = g->o->reruns};
    const struct pt_attach attach = {
        .protocol = PT_PROTOCOL, .run = g->run, .host = h->number, .dir = h->dir};
    struct pt_lane_options o = {
        .host = h->number,
        .target = {.name = h->name, .user = host->user, .host = host->host, .local = host->local},
        .transport = g->o->transport,
        .remote_dir = h->remote_dir,
        .setup = {.silence_ms = g->o->silence_ms},
        .attach = &attach,
        .loop = g->o->loop,
        .on_event = on_event,
        .arg = h};
    char role[64];
    snprintf(role, sizeof(role), "host/%u/worker", h->number);
    if (pt_tls_ca_issue(g->ca, role, &h->identity, err) < 0 || !(h->lane = pt_lane_create(&o, err)))
        return -1;
    h->begun = true;
    return 0;
}

static bool goes_on(const struct gather *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].begun && !g->at[i].ended)
            return true;
    return false;
}

static void stop_all(struct gather *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].begun && !g->at[i].ended)
            pt_lane_stop(g->at[i].lane, 0);
}

static int gather(struct gather *g, struct pt_err *err)
{
    int rc = 0;
    if (!(g->ca = pt_tls_ca_create(g->run, CERT_SECONDS, err)) ||
        pt_tls_ca_issue(g->ca, "master", &g->identity, err) < 0)
        return -1;
    for (size_t i = 0; i < g->n && rc == 0; i++)
        rc = begin_host(&g->at[i], err);
    bool stopped = rc < 0;
    if (stopped)
        stop_all(g);
    while (goes_on(g)) {
        if (!stopped && (g->failure.msg[0] || *g->o->transport->cancel)) {
            stopped = true;
            stop_all(g);
        }
        if (pt_loop_step(g->o->loop, 200) < 0)
            return pt_err_set(err, "event loop: %m");
    }
    if (rc == 0 && g->failure.msg[0]) {
        *err = g->failure;
        return -1;
    }
    if (rc == 0 && *g->o->transport->cancel)
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted");
    return rc < 0 ? -1 : pt_ledger_commit(g->ledger, err);
}

static void fini(struct gather *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct gathered *h = &g->at[i];
        pt_loop_cancel(g->o->loop, h->timer);
        pt_link_destroy(h->link);
        pt_lane_destroy(h->lane);
        pt_tls_identity_fini(&h->identity);
        forget(h);
    }
    free(g->at);
    pt_tls_identity_fini(&g->identity);
    pt_tls_ca_destroy(g->ca);
    pt_ledger_close(g->ledger);
    free(g->run);
}

/* 1: there is something to gather. */
static int open_run(struct gather *g, struct pt_err *err)
{
    struct pt_ledger_run run;
    g->ledger = pt_ledger_open(g->o->state_dir, err);
    int rc = g->ledger ? pt_ledger_get_run(g->ledger, g->o->run, &run, err) : -1;
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (run.finished != 0 || !run.master || pt_master_state(run.master, NULL) == PT_MASTER_HERE)
        return 0;
    g->run = strdup(run.name);
    if (!g->run || pt_ledger_each_note(g->ledger, g->o->run, KIND, take_host, g, err) != 0)
        return err->msg[0] ? -1 : pt_err_set(err, "the hosts of run %s: out of memory", run.name);
    return g->n > 0;
}

int pt_gather(const struct pt_gather_options *options, struct pt_err *err)
{
    struct gather g = {.o = options};
    g.failure = PT_ERR_INIT;
    int rc = open_run(&g, err);
    if (rc > 0) {
        options->note(options->arg, "asking the hosts what they did since the run was cut off");
        pt_ledger_continue(g.ledger, options->run);
        rc = gather(&g, err);
    }
    fini(&g);
    return rc < 0 ? -1 : 0;
}
