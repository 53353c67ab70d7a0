/* SPDX-License-Identifier: Apache-2.0 */
/* What a host and its master say to each other over links that break at any moment: whatever the order, each
 * message counts once and in its turn, and what was acknowledged is on the disk. */
#include "backlog.h"
#include "orders.h"
#include "sequence.h"

#include "remote/worker/outbox.c"
#include "remote/worker/spool.c"

#include "common/message.h"

TestSuite(link_orders, .fini = orders_show);

#define EACH  3 /* messages each way, besides those that are there at first */
#define WIRE  64
#define LARGE (4u << 20) /* one of that, and what follows waits on the disk */

enum kind { LINK, TAKE_UP, TAKE_DOWN, SAY, GOT, ACK, ADD, TELL, CUT };

struct item {
    enum { REPORT, TAKEN, WELCOME, ORDER, ACKED } what;
    uint64_t number;
};

struct wire {
    struct item items[WIRE];
    uint32_t n;
};

struct world {
    struct wire up, down; /* from the host, to it */
    bool linked, welcome; /* a link is there; the host knows that it is good */
    struct pt_outbox box;
    uint64_t first, added, got, got_said; /* of the host. first: of those that were there at once */
    uint64_t seq, stored, acked;          /* of the master: taken, on its disk, acknowledged */
    struct pt_backlog log;
    uint64_t told;
    uint32_t cuts;
};

static void put(struct wire *wire, int what, uint64_t number)
{
    cr_assert_lt(wire->n, WIRE);
    wire->items[wire->n++] = (struct item){what, number};
}

static struct item take(struct wire *wire)
{
    struct item first = wire->items[0];
    memmove(wire->items, wire->items + 1, --wire->n * sizeof(first));
    return first;
}

/* --- the host --- */

static void add(struct world *w, size_t n)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_L_NOTE);
    pt_put_u64(&msg, 0);
    pt_put_u64(&msg, ++w->added);
    if (n > msg.len)
        memset(pt_buf_reserve(&msg, n - msg.len), 0, n - msg.len);
    msg.len = n > msg.len ? n : msg.len;
    pt_frame_end(&msg, mark);
    cr_assert_eq(pt_outbox_add(&w->box, msg.data, msg.len), 0);
    pt_buf_fini(&msg);
}

static void say(struct world *w)
{
    struct pt_err err = PT_ERR_INIT;
    const unsigned char *frame;
    size_t n;
    if (pt_outbox_next(&w->box, &frame, &n, &err) != 1)
        return;
    struct pt_reader r = {.p = frame + PT_FRAME_HEAD, .left = n - PT_FRAME_HEAD};
    uint64_t seq = pt_get_u64(&r);
    cr_assert_eq(pt_get_u64(&r), seq, "another message has its number");
    put(&w->up, REPORT, seq);
}

static void host_takes(struct world *w)
{
    struct item item = take(&w->down);
    if (item.what == ORDER) {
        cr_assert_eq(item.number, ++w->got, "an order is lost, or came twice");
        return;
    }
    cr_assert_eq(pt_outbox_ack(&w->box, item.number), 0);
    cr_assert_leq(item.number, w->stored, "what is not on the disk was acknowledged");
    if (item.what == WELCOME) {
        w->welcome = true;
        w->got_said = w->got;
        pt_outbox_rewind(&w->box);
    }
}

/* --- the master --- */

static void tell(struct world *w)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_L_RECALL);
    pt_put_u32(&msg, (uint32_t)++w->told);
    pt_frame_end(&msg, mark);
    cr_assert_eq(pt_backlog_add(&w->log, &msg), 0);
    pt_buf_fini(&msg);
    if (w->linked)
        put(&w->down, ORDER, w->told);
}

static void acknowledge(struct world *w, int what)
{
    w->acked = w->stored = w->seq;
    put(&w->down, what, w->acked);
}

static void master_takes(struct world *w)
{
    struct pt_err err = PT_ERR_INIT;
    struct item item = take(&w->up);
    uint64_t before = w->seq;
    if (item.what == TAKEN)
        cr_assert_eq(pt_backlog_got(&w->log, item.number), 0);
    else
        cr_assert_eq(pt_sequence_next(&w->seq, item.number, &err), item.number > before, "%s", err.msg);
}

/* HELLO is there: what either has not is said again. */
static void link_up(struct world *w)
{
    struct pt_reader body;
    uint8_t type;
    size_t total;
    w->linked = true;
    cr_assert_eq(pt_backlog_got(&w->log, w->got), 0);
    acknowledge(w, WELCOME);
    for (size_t used = 0; used < w->log.frames.len; used += total) {
        cr_assert_eq(pt_frame_next(w->log.frames.data + used, w->log.frames.len - used, PT_MAX_FRAME, &type,
                                   &body, &total),
                     1);
        put(&w->down, ORDER, pt_get_u32(&body));
    }
}

/* --- orders --- */

static uint32_t list_events(const struct world *w, enum kind *list)
{
    uint32_t n = 0;
    const struct {
        bool can;
        enum kind kind;
    } all[] = {{!w->linked, LINK},
               {w->up.n > 0, TAKE_UP},
               {w->down.n > 0, TAKE_DOWN},
               {w->welcome && pt_outbox_waits(&w->box), SAY},
               {w->welcome && w->got > w->got_said, GOT},
               {w->linked && w->seq > w->acked, ACK},
               {w->added < w->first + EACH, ADD},
               {w->told < EACH, TELL},
               {w->linked && w->cuts < 3, CUT}};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (all[i].can)
            list[n++] = all[i].kind;
    return n;
}

static void happen(struct world *w, enum kind kind)
{
    if (kind == LINK) {
        link_up(w);
    } else if (kind == TAKE_UP) {
        master_takes(w);
    } else if (kind == TAKE_DOWN) {
        host_takes(w);
    } else if (kind == SAY) {
        say(w);
    } else if (kind == GOT) {
        put(&w->up, TAKEN, w->got_said = w->got);
    } else if (kind == ACK) {
        acknowledge(w, ACKED);
    } else if (kind == ADD) {
        add(w, 0);
    } else if (kind == TELL) {
        tell(w);
    } else {
        w->up.n = w->down.n = 0;
        w->linked = w->welcome = false;
        w->cuts++;
    }
}

static bool is_over(const struct world *w)
{
    return w->added == w->first + EACH && w->told == EACH && pt_outbox_empty(&w->box) && w->up.n == 0 &&
           w->down.n == 0 && w->got_said == w->told && w->log.frames.len == 0;
}

/* dir: one is there at once that fills the memory, and one that waits on the disk for that. */
static void run_order(const char *dir)
{
    struct world w = {0};
    enum kind list[16];
    pt_outbox_init(&w.box);
    if (dir)
        pt_outbox_spool(&w.box, dir);
    for (; dir && w.first < 2; w.first++)
        add(&w, w.first == 0 ? LARGE : 0);
    for (int step = 0; !is_over(&w); step++) {
        cr_assert_lt(step, 200, "it does not end");
        uint32_t n = list_events(&w, list);
        cr_assert_gt(n, 0);
        happen(&w, list[choose(n)]);
    }
    cr_assert_eq(w.seq, w.added);
    cr_assert_eq(w.got, w.told);
    cr_assert_eq(w.box.spool != NULL, dir != NULL);
    pt_outbox_fini(&w.box);
    pt_backlog_fini(&w.log);
}

Test(link_orders, each_message_counts_once)
{
    orders_begin(9);
    do
        run_order(NULL);
    while (orders_next());
    cr_assert_gt(orders.n, 80000);
}

Test(link_orders, also_what_waits_on_the_disk)
{
    orders_begin(5);
    do
        run_order("/tmp");
    while (orders_next());
    cr_assert_gt(orders.n, 400);
}
