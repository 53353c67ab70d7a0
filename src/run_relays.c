/* SPDX-License-Identifier: Apache-2.0 */
/* An agent wants something of another host (WANT): that one is told (RELAY), its stream says by a number whom
 * it is for (HERE), and the two are joined. Only hosts that were told that they are peers have anything for
 * each other. */
#include "relay.h"

#include "common/log.h"
#include "run_across.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ASK_MS 20000

static const char *name_of(const struct pt_run *run, uint32_t host)
{
    return run->at[host].host->name;
}

/* Takes it out of the list; its stream stays. */
static struct pt_relayed *ask_end(struct pt_across_ask *ask)
{
    struct pt_relayed *asker = ask->asker;
    struct pt_across_ask **at = &ask->run->across->asks;
    while (*at != ask)
        at = &(*at)->next;
    *at = ask->next;
    pt_loop_cancel(ask->run->loop, ask->timer);
    free(ask);
    return asker;
}

static void on_no_answer(void *arg)
{
    char why[320];
    struct pt_across_ask *ask = arg;
    ask->timer = 0;
    snprintf(why, sizeof(why), "%.255s did not answer in %d s", name_of(ask->run, ask->wanted),
             ASK_MS / 1000);
    pt_relayed_refuse(ask_end(ask), why);
}

/* PT_NONE: nobody. */
static uint32_t find_wanted(const struct pt_run *run, const struct pt_relay *m)
{
    for (uint32_t i = 0; i < run->hosts.n; i++)
        if (run->across->at[i].in &&
            (m->host == PT_NONE ? run->across->at[i].address.address == m->address : m->host == i))
            return i;
    return PT_NONE;
}

static void refuse(const struct pt_run *run, struct pt_relayed *asker, const char *why)
{
    pt_info("%s: what it wants of another host is refused: %s", name_of(run, pt_relayed_from(asker)), why);
    pt_relayed_refuse(asker, why);
}

/* `what` is the asker's WANT: as a frame to the one that is wanted. */
static void pass_on(struct pt_run *run, struct pt_relayed *asker, uint32_t wanted, struct pt_relay *what)
{
    struct pt_across *a = run->across;
    struct pt_buf b = {0};
    struct pt_across_ask *ask = malloc(sizeof(*ask));
    what->host = pt_relayed_from(asker);
    what->address = 0;
    what->id = ++a->last_id;
    pt_relay_encode(what, PT_C_RELAY, &b);
    if (!ask || b.bad) {
        free(ask);
        pt_buf_fini(&b);
        refuse(run, asker, "the master is out of memory");
        return;
    }
    *ask = (struct pt_across_ask){.next = a->asks,
                                  .run = run,
                                  .asker = asker,
                                  .id = what->id,
                                  .wanted = wanted,
                                  .far = what->what == PT_RELAY_ORTED ? wanted : what->host};
    ask->timer = pt_loop_after(run->loop, ASK_MS, on_no_answer, ask);
    a->asks = ask;
    pt_debug("%s wants %s of %s", name_of(run, what->host),
             what->what == PT_RELAY_ORTED ? "an orted" : "the hub", name_of(run, wanted));
    pt_lane_send(run->at[wanted].lane, &b);
}

static int on_want(struct pt_run *run, struct pt_relayed *asker, struct pt_reader *body)
{
    char why[320];
    struct pt_err err = PT_ERR_INIT;
    struct pt_relay m;
    uint32_t from = pt_relayed_from(asker);
    if (pt_relay_decode(body, &m, &err) < 0) {
        pt_info("%s: %s", name_of(run, from), err.msg);
        return -1;
    }
    uint32_t wanted = find_wanted(run, &m);
    if (!run->across->at[from].in || wanted == PT_NONE || wanted == from) {
        refuse(run, asker, "the two are no hosts that run tests together");
    } else if (run->at[wanted].state != PT_HOST_WORKING) {
        snprintf(why, sizeof(why), "%.255s is not up", name_of(run, wanted));
        refuse(run, asker, why);
    } else {
        pass_on(run, asker, wanted, &m);
    }
    pt_relay_fini(&m);
    return 0;
}

static int on_here(struct pt_run *run, struct pt_relayed *stream, struct pt_reader *body)
{
    uint32_t id = pt_get_u32(body);
    if (!pt_get_end(body))
        return -1;
    for (struct pt_across_ask *ask = run->across->asks; ask; ask = ask->next)
        if (ask->id == id && ask->wanted == pt_relayed_from(stream)) {
            uint32_t far = ask->far;
            run->across->at[far].far++;
            pt_relayed_join(ask_end(ask), stream, far);
            return 0;
        }
    pt_debug("%s: answers what nobody asks any more", name_of(run, pt_relayed_from(stream)));
    return -1;
}

static int on_first(void *arg, struct pt_relayed *stream, uint8_t type, struct pt_reader *body)
{
    return type == PT_Y_WANT   ? on_want(arg, stream, body)
           : type == PT_Y_HERE ? on_here(arg, stream, body)
                               : -1;
}

static void on_closed(void *arg, uint32_t far)
{
    struct pt_run *run = arg;
    run->across->at[far].far--;
    pt_run_hosts_part(run);
}

bool pt_run_relays_led(const struct pt_run_host *h)
{
    return h->run->across && h->run->across->at[h->number].far > 0;
}

int pt_run_relays_open(struct pt_run *run, struct pt_err *err)
{
    static const struct pt_relays_callbacks callbacks = {.first = on_first, .closed = on_closed};
    run->across->relays = pt_relays_create(run->loop, &callbacks, run, err);
    return run->across->relays ? 0 : -1;
}

void pt_run_relay(struct pt_run_host *h, int fd)
{
    struct pt_err err = PT_ERR_INIT;
    if (!h->run->across)
        close(fd);
    else if (pt_relays_add(h->run->across->relays, fd, h->number, &err) < 0)
        pt_warn("%s: %s", h->host->name, err.msg);
}

void pt_run_relays_lost(struct pt_run_host *h)
{
    char why[320];
    snprintf(why, sizeof(why), "%.255s was lost", h->host->name);
    for (struct pt_across_ask *ask = h->run->across->asks, *next; ask; ask = next) {
        next = ask->next;
        if (ask->wanted == h->number || pt_relayed_from(ask->asker) == h->number)
            pt_relayed_refuse(ask_end(ask), why);
    }
}

void pt_run_relays_fini(struct pt_run *run)
{
    while (run->across->asks)
        ask_end(run->across->asks);
    pt_relays_destroy(run->across->relays);
}
