/* SPDX-License-Identifier: Apache-2.0 */
/* The workers' links of a run: who may join, what they are dealt, what is acknowledged. */
#include "run_parts.h"

#include "common/log.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* A link is a guest until its HELLO made it a host's. */
static void guest_leaves(struct pt_run *run, const struct pt_link *link)
{
    for (size_t i = 0; i < run->nguests; i++)
        if (run->guests[i].link == link) {
            run->nguests--;
            memmove(run->guests + i, run->guests + i + 1, (run->nguests - i) * sizeof(*run->guests));
            return;
        }
}

/* Who came from where most others came, and first: a worker says who it is at once, so that is none. */
static size_t guest_to_part_with(const struct pt_run *run)
{
    size_t most = 0;
    size_t which = 0;
    for (size_t i = 0; i < run->nguests; i++) {
        size_t n = 0;
        for (size_t k = i; k < run->nguests; k++)
            n += run->guests[k].host == run->guests[i].host &&
                 memcmp(run->guests[k].from, run->guests[i].from, sizeof(run->guests[i].from)) == 0;
        if (n > most) {
            most = n;
            which = i;
        }
    }
    return which;
}

/* Whoever floods the door must not keep workers out: what is closed is never the newest. */
static void make_room(struct pt_run *run)
{
    struct pt_link *link = run->guests[guest_to_part_with(run)].link;
    pt_info("a connection was closed: %u others have not said who they are yet", PT_RUN_GUESTS);
    guest_leaves(run, link);
    pt_link_destroy(link);
}

static void on_hello(void *arg, struct pt_link *link, const struct pt_hello *hello)
{
    struct pt_run *run = arg;
    struct pt_run_host *h = hello->host < run->hosts.n ? &run->at[hello->host] : NULL;
    if (h && pt_run_away_expects(h, hello)) {
        guest_leaves(run, link);
        pt_run_away_back(h, link, hello->got);
        pt_run_check(run);
        return;
    }
    if (!h || h->state != PT_HOST_LAUNCHING || h->link || hello->launch != h->launches ||
        hello->slots != h->launch_slots) {
        pt_link_refuse(link, "this launch is not expected");
        return;
    }
    pt_loop_cancel(run->loop, h->timer);
    h->timer = 0;
    guest_leaves(run, link);
    h->link = link;
    h->joined = pt_wall_clock();
    pt_run_host_set(h, PT_HOST_JOINED);
    pt_link_welcome(link, 0);
    pt_run_host_show(h, h->synced ? "joined" : "waiting for the tree");
    pt_run_host_begin(h);
    pt_run_check(run);
}

static struct pt_run_host *host_of(struct pt_run *run, const struct pt_link *link)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].link == link)
            return &run->at[i];
    return NULL;
}

static int on_message(void *arg, struct pt_link *link, uint8_t type, struct pt_reader *body,
                      struct pt_err *err)
{
    struct pt_run *run = arg;
    struct pt_run_host *h = host_of(run, link);
    if (!h)
        return pt_err_set(err, "a message of a worker that did not join");
    int rc = pt_run_message(h, type, body, err);
    if (rc == 0 && (type == PT_L_REPORT || type == PT_L_DEATH))
        pt_run_deal(run); /* what is left of its bundle is less now */
    pt_run_commit_soon(run);
    pt_run_check(run);
    return rc;
}

static void on_link_closed(void *arg, struct pt_link *link, const char *why)
{
    struct pt_run *run = arg;
    struct pt_run_host *h = host_of(run, link);
    if (!h) {
        guest_leaves(run, link);
        if (why[0])
            pt_info("a link was refused: %s", why);
        return;
    }
    h->link = NULL;
    if (h->state == PT_HOST_JOINED || h->state == PT_HOST_WORKING) {
        pt_debug("%s: link closed: %s", h->host->name, why);
        if (!run->opts->linger_ms) /* those that are there will not hear of anything more */
            pt_plan_host(run->plan, h->number, 0);
        snprintf(h->why, sizeof(h->why), "%s", why);
        pt_lane_end_workers(h->lane, 0); /* EXITED follows, or DOWN */
    }
    pt_run_check(run);
}

static const struct pt_link_callbacks link_callbacks = {
    .hello = on_hello, .message = on_message, .closed = on_link_closed};

/* The address at the other end of a TCP connection. */
static void address_of(int fd, unsigned char out[16])
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    memset(out, 0, 16);
    if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
        return;
    if (ss.ss_family == AF_INET)
        memcpy(out, &((struct sockaddr_in *)&ss)->sin_addr, 4);
    else if (ss.ss_family == AF_INET6)
        memcpy(out, &((struct sockaddr_in6 *)&ss)->sin6_addr, 8); /* one network is one peer */
}

void pt_run_link(struct pt_run *run, int fd, long host)
{
    struct pt_run_guest guest = {.host = host};
    struct pt_err err = PT_ERR_INIT;
    address_of(fd, guest.from);
    if (run->nguests == PT_RUN_GUESTS)
        make_room(run);
    guest.link = pt_link_create(run->loop, fd, &run->identity, run->id, host, &link_callbacks, run, &err);
    if (guest.link)
        run->guests[run->nguests++] = guest;
    else
        pt_warn("%s", err.msg);
}

void pt_run_links_fini(struct pt_run *run)
{
    while (run->nguests)
        pt_link_destroy(run->guests[--run->nguests].link);
}
