/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent says on the control stream becomes events of the run: in whatever pieces it comes, the same
 * ones. What is about the tree goes on to the push, which is not here. */
#define pt_loop_post         fuzz_loop_post
#define pt_lane_push_control fuzz_push_control
#include "lane_agent.c"

#include "fuzz.h"

static struct pt_buf *events; /* of the lane that is fed */

int fuzz_loop_post(struct pt_loop *loop, pt_call_fn *fn, void *arg)
{
    (void)loop;
    fn(arg);
    return 0;
}

int fuzz_push_control(struct pt_lane *lane, uint8_t type, struct pt_reader *r, struct pt_err *err)
{
    (void)lane;
    pt_put_u8(events, type);
    return r->left < 300 ? 0 : pt_err_set(err, "too long");
}

static void on_event(void *arg, struct pt_lane_event *e)
{
    (void)arg;
    FUZZ_CHECK(e->at > 0 && e->host == 3);
    pt_put_u8(events, (uint8_t)e->kind);
    pt_put_u64(events, e->bytes);
    pt_put_u32(events, e->status);
    pt_put_str(events, e->text);
    pt_put_str(events, e->ready.dir);
    pt_put_u32(events, e->listening.n);
    pt_put_u32(events, e->reached.n);
}

static int feed(struct fuzz_parts in, bool attaching, bool pieces, struct pt_buf *out)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_lane lane = {.o = {.on_event = on_event, .host = 3}, .attaching = attaching};
    int rc = 0;
    events = out;
    while (rc == 0 && in.left > 0) {
        size_t n = pieces ? 1 + (size_t)in.p[0] % 17 : in.left;
        n = n < in.left ? n : in.left;
        rc = pt_lane_control(&lane, in.p, n, &err);
        in.p += n;
        in.left -= n;
    }
    FUZZ_CHECK(rc == 0 || err.msg[0]);
    FUZZ_CHECK(lane.ntools <= PT_TOOLS);
    for (size_t i = 0; i < lane.ntools; i++)
        FUZZ_CHECK(lane.tools[i] < PT_TOOLS);
    pt_put_str(out, err.msg);
    pt_buf_fini(&lane.control);
    return rc;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_buf whole = {0}, parts = {0};
    fuzz_feed(); /* without memory a lane ends the program */
    bool attaching = fuzz_byte(&in) % 2;
    int one = feed(in, attaching, false, &whole), two = feed(in, attaching, true, &parts);
    FUZZ_CHECK(one == two && whole.len == parts.len && memcmp(whole.data, parts.data, whole.len) == 0);
    pt_buf_fini(&whole);
    pt_buf_fini(&parts);
}
