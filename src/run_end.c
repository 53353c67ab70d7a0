/* SPDX-License-Identifier: Apache-2.0 */
/* How hosts end: QUIT, then BYE, then the lane stops. A host's processes end with its sessions, also those of
 * ranks that another host leads, so that it hears QUIT once these have ended. */
#include "run_parts.h"

#define LED_MS 5000 /* for them, besides the grace */

static void stop_host(struct pt_run_host *h, uint32_t grace_ms)
{
    /* between two connections: no lane to stop */
    bool waits = (h->timer && h->state == PT_HOST_CONNECTING) || (h->away.timer && !h->away.attached);
    if (h->away.since)
        pt_run_host_note(h, "is away: what it runs ends by itself within %u s",
                         h->run->opts->linger_ms / 1000);
    pt_run_away_end(h);
    pt_loop_cancel(h->run->loop, h->timer);
    h->timer = 0;
    pt_run_host_unlink(h);
    pt_run_host_set(h, waits || !h->lane ? PT_HOST_DOWN : PT_HOST_STOPPING);
    if (h->state == PT_HOST_STOPPING)
        pt_lane_stop(h->lane, grace_ms);
}

static void quit_host(struct pt_run_host *h)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_L_QUIT);
    pt_loop_cancel(h->run->loop, h->timer);
    h->timer = 0;
    h->quits = false;
    pt_put_u32(&b, h->run->opts->grace_ms);
    pt_frame_end(&b, mark);
    pt_run_host_say(h, &b);
    pt_buf_fini(&b);
}

static void on_led_too_long(void *arg)
{
    struct pt_run_host *h = arg;
    h->timer = 0;
    if (h->state == PT_HOST_ENDING && h->quits)
        quit_host(h);
}

void pt_run_hosts_part(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        if (h->state == PT_HOST_ENDING && h->quits && !pt_run_relays_led(h))
            quit_host(h);
    }
}

void pt_run_host_quit(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    if (h->state == PT_HOST_WORKING && h->link) {
        h->quits = true;
        h->timer = pt_loop_after(run->loop, run->opts->grace_ms + LED_MS, on_led_too_long, h);
        pt_run_host_set(h, PT_HOST_ENDING);
        pt_run_host_show(h, "ending");
    } else if (h->state < PT_HOST_ENDING) {
        stop_host(h, 0);
    }
}

void pt_run_hosts_quit(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        pt_run_host_quit(&run->at[i]);
    pt_run_hosts_part(run);
}

void pt_run_hosts_stop(struct pt_run *run, uint32_t grace_ms)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].state < PT_HOST_STOPPING)
            stop_host(&run->at[i], grace_ms);
}

void pt_run_host_bye(struct pt_run_host *h)
{
    if (h->state != PT_HOST_ENDING)
        return;
    struct pt_err err = PT_ERR_INIT;
    if (pt_ledger_commit(h->run->ledger, &err) < 0)
        pt_run_fail(h->run, &err);
    pt_run_hosts_ack(h->run);
    pt_run_host_set(h, PT_HOST_STOPPING);
    pt_lane_stop(h->lane, 0);
}
