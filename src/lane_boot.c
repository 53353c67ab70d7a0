/* SPDX-License-Identifier: Apache-2.0 */
/* The transport of a lane, and the time until the agent speaks. */
#include "lane_parts.h"

#include "common/auto.h"
#include "common/loop.h"
#include "common/shortage.h"
#include "remote/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BOOT_SILENCE_MS  60000 /* no byte for so long before the agent speaks: give up */
#define AGAIN_SILENCE_MS 10000 /* the same, of a host that did so before */

void pt_lane_stderr(struct pt_lane *lane)
{
    char buf[1024];
    ssize_t n;
    while ((n = lane->transport->ops->read_err(lane->transport, buf, sizeof(buf))) > 0) {
        size_t keep = lane->tail_len + (size_t)n > PT_LANE_TAIL ? PT_LANE_TAIL - (size_t)n : lane->tail_len;
        memmove(lane->tail_text, lane->tail_text + lane->tail_len - keep, keep);
        memcpy(lane->tail_text + keep, buf, (size_t)n);
        lane->tail_len = keep + (size_t)n;
    }
}

/* The last line that the command wrote to stderr, or "". */
static void last_line(struct pt_lane *lane, char *out, size_t size)
{
    pt_lane_stderr(lane);
    size_t end = lane->tail_len;
    while (end && strchr("\r\n ", lane->tail_text[end - 1]))
        end--;
    size_t start = end;
    while (start && lane->tail_text[start - 1] != '\n')
        start--;
    snprintf(out, size, "%.*s", (int)(end - start), lane->tail_text + start);
}

/* The connection is at its end: why. */
int pt_lane_gone(struct pt_lane *lane, const char *doing, struct pt_err *err)
{
    char line[512];
    last_line(lane, line, sizeof(line));
    const char *why = lane->transport->ops->why(lane->transport);
    if (err->msg[0] && !why[0])
        return -1;
    pt_err_set_kind(err, PT_ERR_INFRA, "%s: the connection ended%s%s%s%s", doing, why[0] ? ": " : "", why,
                    line[0] ? ": " : "", line);
    return pt_shortage_hint(err);
}

/* Give the transport what is ready. 0, or -1 when it is gone. */
int pt_lane_write(struct pt_lane *lane)
{
    struct pt_buf *out = &lane->out;
    for (;;) {
        if (lane->mux && out->len - lane->out_sent < PT_LANE_LOW) {
            pt_buf_consume(out, lane->out_sent);
            lane->out_sent = 0;
            pt_mux_pull(lane->mux, out, PT_LANE_OUT);
            if (out->bad)
                return -1;
        }
        if (out->len == lane->out_sent)
            break;
        ssize_t n = lane->transport->ops->write(lane->transport, out->data + lane->out_sent,
                                                out->len - lane->out_sent);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n <= 0)
            return 0;
        lane->out_sent += (size_t)n;
    }
    pt_buf_clear(out);
    lane->out_sent = 0;
    return 0;
}

static int boot_open(struct pt_lane *lane, struct pt_boot **boot, struct pt_err *err)
{
    const struct pt_tool *agent = pt_tools_agent();
    uname(&lane->here);
    struct pt_boot_agent what = {
        .data = agent->data, .size = agent->size, .digest = agent->hex, .machine = lane->here.machine};
    lane->transport = lane->o.target.local ? pt_local_open(&lane->o.target, lane->o.transport, err)
                                           : pt_ssh_open(&lane->o.target, lane->o.transport, err);
    if (!lane->transport || lane->transport->ops->exec(lane->transport, pt_boot_command(), err) < 0)
        return -1;
    *boot = pt_boot_create(&what, lane->o.remote_dir, &lane->out, err);
    return *boot ? 0 : -1;
}

static bool cancelled(const struct pt_lane *lane)
{
    return lane->o.transport->cancel && *lane->o.transport->cancel;
}

/* Until the agent speaks; its first bytes go to rest. */
static int boot_run(struct pt_lane *lane, struct pt_boot *boot, struct pt_buf *rest, struct pt_err *err)
{
    const int silence = lane->attach.len ? AGAIN_SILENCE_MS : BOOT_SILENCE_MS;
    static __thread char buf[64u << 10];
    lane->heard = pt_now_ms();
    for (;;) {
        if (pt_lane_write(lane) < 0)
            return pt_lane_gone(lane, "starting the agent", err);
        ssize_t n = lane->transport->ops->read(lane->transport, buf, sizeof(buf));
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return pt_lane_gone(lane, "starting the agent", err);
        if (n > 0) {
            lane->heard = pt_now_ms();
            int rc = pt_boot_feed(boot, buf, (size_t)n, &lane->out, rest, err);
            if (rc != 0)
                return rc < 0 ? -1 : 0;
            continue;
        }
        pt_lane_stderr(lane);
        if (cancelled(lane))
            return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted");
        if (pt_now_ms() - lane->heard > silence)
            return pt_err_set_kind(err, PT_ERR_INFRA, "the login shell gave no answer in %d s",
                                   silence / 1000);
        if (lane->transport->ops->wait(lane->transport, NULL, 0, lane->out.len > lane->out_sent, 500, err) <
            0)
            return pt_lane_gone(lane, "starting the agent", err);
    }
}

int pt_lane_boot(struct pt_lane *lane, struct pt_buf *rest, bool *pushed, struct pt_err *err)
{
    struct pt_boot *boot = NULL;
    int rc = boot_open(lane, &boot, err);
    if (rc == 0)
        rc = boot_run(lane, boot, rest, err);
    *pushed = boot && pt_boot_pushed(boot);
    pt_boot_destroy(boot);
    return rc;
}
