/* SPDX-License-Identifier: Apache-2.0 */
/* A master that goes and comes, in all orders with what happens on the host meanwhile: it hears of the end of
 * the workers that it launched last, and of no others, and nothing goes on without it for too long. */
#include "common/message.h"
#include "orders.h"
#include "remote/agent/absence.c"

TestSuite(agent_absence, .fini = orders_show);

#define LINGER 1000

enum kind { COME, READ, LAUNCH, ARM, EXIT, SERVER, FAIL, CUT, OVERTAKE, TIME };

struct world {
    struct pt_absence absence;
    uint32_t runs, launched, ended; /* launches */
    bool channel, failed, over;
    int64_t now, left;
    struct pt_buf wire; /* said, and not read yet */
    /* what the master knows */
    uint32_t thinks; /* the launch that runs; 0: none */
    bool failure;
};

static bool may_linger(const struct world *w)
{
    return w->absence.armed && !w->failed && w->runs;
}

static void send(struct world *w, struct pt_buf *frame)
{
    bool kept = pt_absence_keep(&w->absence, frame, w->ended);
    cr_assert_eq(kept, w->absence.away);
    if (!kept && w->channel)
        pt_buf_append(&w->wire, frame->data, frame->len);
    pt_buf_fini(frame);
}

static void send_exited(struct world *w, uint8_t program)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_EXITED);
    pt_put_u8(&b, program);
    pt_frame_end(&b, mark);
    send(w, &b);
}

/* --- the master --- */

static void take(struct world *w, uint8_t type, struct pt_reader *body)
{
    if (type == PT_C_ATTACHED) {
        uint32_t launch = pt_get_u32(body);
        cr_assert(launch == w->launched, "launch %u is told, of %u", launch, w->launched);
    } else if (type == PT_C_FAIL) {
        w->failure = true;
    } else if (pt_get_u8(body) == PT_PROGRAM_WORKERS) {
        cr_assert_eq(w->runs, 0, "what runs is said to have ended");
        w->thinks = 0;
    }
}

static void read_all(struct world *w)
{
    struct pt_reader body;
    uint8_t type;
    size_t total;
    for (size_t used = 0; used < w->wire.len; used += total) {
        cr_assert_eq(
            pt_frame_next(w->wire.data + used, w->wire.len - used, PT_MAX_FRAME, &type, &body, &total), 1);
        take(w, type, &body);
    }
    pt_buf_clear(&w->wire);
    cr_assert_eq(w->thinks, w->runs, "it thinks that launch %u runs, and %u does", w->thinks, w->runs);
    cr_assert_eq(w->failure, w->failed);
}

/* --- what happens --- */

static void cut(struct world *w)
{
    pt_buf_clear(&w->wire);
    w->channel = false;
    w->over = !may_linger(w);
    if (w->over)
        return;
    w->left = w->now;
    pt_absence_begin(&w->absence, w->now + LINGER);
}

static void come(struct world *w)
{
    w->channel = true;
    pt_absence_end(&w->absence, w->runs, &w->wire);
    cr_assert_not(w->absence.away);
}

/* It came again before anyone here knew that it was gone. */
static void overtake(struct world *w)
{
    pt_buf_clear(&w->wire);
    w->left = w->now;
    pt_absence_begin(&w->absence, w->now + LINGER);
    come(w);
}

static void happen(struct world *w, enum kind kind)
{
    struct pt_buf b = {0};
    if (kind == COME) {
        come(w);
    } else if (kind == READ) {
        read_all(w);
    } else if (kind == LAUNCH) {
        pt_absence_forget(&w->absence);
        w->thinks = w->runs = ++w->launched;
    } else if (kind == ARM) {
        w->absence.armed = true;
    } else if (kind == EXIT) {
        w->ended = w->runs;
        w->runs = 0;
        send_exited(w, PT_PROGRAM_WORKERS);
    } else if (kind == SERVER) {
        send_exited(w, PT_PROGRAM_FORKSERVER);
    } else if (kind == FAIL) {
        w->failed = true;
        pt_frame_end(&b, pt_frame_begin(&b, PT_C_FAIL));
        send(w, &b);
    } else if (kind == CUT) {
        cut(w);
    } else if (kind == OVERTAKE) {
        overtake(w);
    } else {
        w->now += LINGER / 2;
    }
    if (!w->channel)
        cr_assert_eq(pt_absence_over(&w->absence, w->now), !w->over && w->now - w->left >= LINGER);
    w->over |= pt_absence_over(&w->absence, w->now);
}

static uint32_t list_events(const struct world *w, enum kind *list)
{
    const struct {
        bool can;
        enum kind kind;
    } all[] = {
        {!w->channel, COME},
        {w->wire.len > 0, READ},
        {w->channel && !w->wire.len && !w->runs && !w->thinks && !w->failed && w->launched < 3, LAUNCH},
        {w->channel && w->runs && !w->absence.armed, ARM},
        {w->runs, EXIT},
        {w->runs, SERVER},
        {!w->failed, FAIL},
        {w->channel, CUT},
        {w->channel && !w->failed && (w->absence.exited.len > 0 || may_linger(w)), OVERTAKE},
        {!w->channel, TIME}};
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (all[i].can)
            list[n++] = all[i].kind;
    return n;
}

Test(agent_absence, who_comes_back_knows_what_became_of_its_workers)
{
    enum kind list[16];
    uint64_t away = 0;
    orders_begin(10);
    do {
        struct world w = {.channel = true, .now = 1};
        for (uint32_t i = 0; i < 10 && !w.over; i++) {
            uint32_t n = list_events(&w, list);
            happen(&w, list[choose(n)]);
        }
        away += w.left > 0;
        if (!w.over && !w.channel)
            happen(&w, COME);
        if (!w.over)
            read_all(&w);
        pt_absence_fini(&w.absence);
        pt_buf_fini(&w.wire);
    } while (orders_next());
    cr_assert(orders.n > 30000 && away > 10000);
}
