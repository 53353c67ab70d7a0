/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts that went on without a master say to the next one, in any order: a test that has an outcome
 * keeps it, no other has two, and nothing is acknowledged that did not come. The input: what is remembered of
 * the hosts; then what their lanes and links do. */
#include "gather.h"

#include "fuzz.h"

#include "common/err.h"
#include "common/message.h"
#include "common/tls.h"
#include "fuzz_loop.h"
#include "lane.h"
#include "ledger.h"
#include "link.h"
#include "master.h"
#include "verdict.h"

#include <stdatomic.h>
#include <unistd.h>

#define HOSTS 3
#define TESTS 8
#define STEPS 300

struct pt_lane {
    bool there, stopping, attached;
    uint32_t host;
    void (*on_event)(void *arg, struct pt_lane_event *event);
    void *arg;
};

struct pt_link {
    bool there, greeted;
    uint64_t said, acked;
    const struct pt_link_callbacks *cb;
    void *arg;
};

static struct {
    struct fuzz_parts *in;
    struct pt_lane lanes[HOSTS];
    struct pt_link links[HOSTS]; /* of each lane */
    uint32_t nlanes, steps, linking;
    bool told[TESTS];
    atomic_int cancel;
    bool full; /* the disk */
} lab;

/* --- the ledger --- */

struct pt_ledger *pt_ledger_open(const char *state_dir, struct pt_err *err)
{
    (void)state_dir, (void)err;
    return (struct pt_ledger *)&lab;
}

void pt_ledger_close(struct pt_ledger *l)
{
    (void)l;
}

int pt_ledger_get_run(struct pt_ledger *l, int64_t run, struct pt_ledger_run *out, struct pt_err *err)
{
    (void)l, (void)run, (void)err;
    *out = (struct pt_ledger_run){.id = 1, .name = "r1", .master = "gone"};
    return 0;
}

void pt_ledger_continue(struct pt_ledger *l, int64_t run)
{
    (void)l, (void)run;
}

int pt_ledger_commit(struct pt_ledger *l, struct pt_err *err)
{
    (void)l;
    return lab.full ? pt_err_set(err, "no room") : 0;
}

int pt_ledger_add_note(struct pt_ledger *l, uint32_t host, const char *kind, const void *json, size_t n,
                       struct pt_err *err)
{
    (void)l, (void)host, (void)kind, (void)json, (void)n, (void)err;
    return 0;
}

int pt_ledger_each_note(struct pt_ledger *l, int64_t run, const char *kind, pt_ledger_note_fn *fn, void *arg,
                        struct pt_err *err)
{
    (void)l, (void)run, (void)kind, (void)err;
    int rc = 0;
    for (uint8_t n = fuzz_byte(lab.in) % (HOSTS + 1); rc == 0 && n > 0; n--) {
        char json[256];
        uint8_t how = fuzz_byte(lab.in);
        unsigned held = fuzz_hold();
        char *text = how & 128 ? fuzz_text(lab.in) : NULL;
        fuzz_release(held);
        snprintf(json, sizeof(json), "{\"name\":\"h%u\",\"remote_dir\":\"\",\"dir\":\"/x\",\"launch\":%u}",
                 how & 3, how >> 2 & 3);
        rc = text ? fn(arg, how & 3, text, strlen(text)) : fn(arg, how & 3, json, strlen(json));
        free(text);
    }
    return rc;
}

int pt_ledger_get_result(struct pt_ledger *l, int64_t run, uint32_t test, pt_ledger_result_fn *fn, void *arg,
                         struct pt_err *err)
{
    char id[32];
    (void)l, (void)run;
    struct pt_ledger_report row = {.test = test, .counted = PT_COUNTED_FIRST, .try_ = 1};
    struct pt_ledger_test t = {.number = test, .nodeid = id, .file = "a.py"};
    if (test >= TESTS)
        return 1;
    snprintf(id, sizeof(id), "a.py::%u", test);
    row.rerun = test % 4 == 3 && !lab.told[test];
    int rc = fn(arg, &t, &row, lab.told[test] || row.rerun);
    return rc ? pt_err_set(err, "out of memory") : 0;
}

int pt_ledger_add_report(struct pt_ledger *l, const struct pt_ledger_report *row, struct pt_err *err)
{
    (void)l, (void)err;
    FUZZ_CHECK(row->test < TESTS && !lab.told[row->test]);
    FUZZ_CHECK(row->counted == PT_COUNTED_FIRST && row->host < HOSTS + 1 && row->json && row->outcome);
    FUZZ_CHECK(row->try_ == (row->test % 4 == 3 ? 2 : 1));
    lab.told[row->test] = true;
    return 0;
}

/* --- keys, lanes, links --- */

struct pt_tls_ca *pt_tls_ca_create(const char *run, long seconds, struct pt_err *err)
{
    (void)run, (void)seconds, (void)err;
    return (struct pt_tls_ca *)&lab;
}

void pt_tls_ca_destroy(struct pt_tls_ca *ca)
{
    (void)ca;
}

int pt_tls_ca_issue(struct pt_tls_ca *ca, const char *role, struct pt_tls_identity *out, struct pt_err *err)
{
    static char none[] = "";
    (void)ca, (void)role, (void)err;
    *out = (struct pt_tls_identity){none, none, none, NULL};
    return 0;
}

void pt_tls_identity_fini(struct pt_tls_identity *id)
{
    (void)id;
}

struct pt_lane *pt_lane_create(const struct pt_lane_options *o, struct pt_err *err)
{
    (void)err;
    FUZZ_CHECK(lab.nlanes < HOSTS + 1 && o->attach && o->target.host);
    if (lab.nlanes == HOSTS) {
        pt_err_set(err, "no thread");
        return NULL;
    }
    struct pt_lane *lane = &lab.lanes[lab.nlanes++];
    *lane = (struct pt_lane){.there = true, .host = o->host, .on_event = o->on_event, .arg = o->arg};
    return lane;
}

void pt_lane_destroy(struct pt_lane *lane)
{
    FUZZ_CHECK(!lane || !lane->there);
}

void pt_lane_send(struct pt_lane *lane, struct pt_buf *frame)
{
    (void)lane;
    FUZZ_CHECK(frame->bad ? fuzz_starved() : frame->data[4] == PT_C_RELINK);
    pt_buf_fini(frame);
}

void pt_lane_stop(struct pt_lane *lane, uint32_t grace_ms)
{
    (void)grace_ms;
    lane->stopping = true;
}

struct pt_link *pt_link_create(struct pt_loop *loop, int fd, const struct pt_tls_identity *id,
                               const char *run, long host, const struct pt_link_callbacks *cb, void *arg,
                               struct pt_err *err)
{
    (void)loop, (void)fd, (void)id, (void)run, (void)err;
    struct pt_link *link = &lab.links[lab.linking];
    FUZZ_CHECK(!link->there && host == lab.lanes[lab.linking].host);
    *link = (struct pt_link){.there = true, .cb = cb, .arg = arg};
    return link;
}

void pt_link_destroy(struct pt_link *link)
{
    if (link)
        link->there = false;
}

void pt_link_welcome(struct pt_link *link, uint64_t acked)
{
    FUZZ_CHECK(link->there);
    link->said = link->acked = acked;
}

void pt_link_refuse(struct pt_link *link, const char *reason)
{
    FUZZ_CHECK(link->there && reason[0]);
    link->there = false;
    link->cb->closed(link->arg, link, reason);
}

void pt_link_send(struct pt_link *link, const struct pt_buf *frames)
{
    struct pt_reader r;
    uint8_t type;
    size_t total;
    if (frames->bad)
        return;
    FUZZ_CHECK(link->there);
    FUZZ_CHECK(pt_frame_next(frames->data, frames->len, PT_MAX_FRAME, &type, &r, &total) == 1);
    if (type != PT_L_ACK)
        return;
    uint64_t seq = pt_get_u64(&r);
    FUZZ_CHECK(seq >= link->acked && seq <= link->said);
    link->acked = seq;
}

/* --- what hosts do --- */

static void emit(struct pt_lane *lane, enum pt_lane_kind kind, uint64_t bytes)
{
    struct pt_lane_event e = {.kind = kind, .host = lane->host, .bytes = bytes, .fd = -1, .err = PT_ERR_INIT};
    if (!lane->there || (kind == PT_LANE_ATTACHED && lane->attached)) /* a lane tells it once */
        return;
    lane->attached |= kind == PT_LANE_ATTACHED;
    e.program = bytes & 1 ? PT_PROGRAM_WORKERS : PT_PROGRAM_WORKERS + 1;
    if (kind == PT_LANE_DOWN) {
        lane->there = false;
        if (bytes & 1)
            pt_err_set(&e.err, "the connection broke");
    }
    lab.linking = (uint32_t)(lane - lab.lanes);
    if (kind == PT_LANE_LINK && lab.links[lab.linking].there)
        e.fd = dup(2); /* it is closed: there is one */
    lane->on_event(lane->arg, &e);
    FUZZ_CHECK(e.fd == -1);
}

static void put_body(struct pt_buf *b, uint8_t type, uint8_t how, struct fuzz_parts *in)
{
    uint32_t test = how & 15;
    pt_put_u32(b, type == PT_L_BYE && how & 64 ? PT_NONE : 0);
    if (type != PT_L_REPORT)
        return;
    char json[96], *text = how & 128 ? fuzz_text(in) : NULL;
    snprintf(json, sizeof(json), "{\"nodeid\":\"a.py::%u\",\"outcome\":\"%s\"}", how & 64 ? test + 1 : test,
             how & 32   ? "failed"
             : how & 16 ? "x"
                        : "passed");
    pt_put_u32(b, 1);
    pt_put_u32(b, 1);
    pt_put_u32(b, test);
    pt_put_u8(b, 1);
    pt_put_bytes(b, text ? text : json, strlen(text ? text : json));
    free(text);
}

static void put_death(struct pt_buf *b, uint8_t how)
{
    static char none[] = "";
    struct pt_buf frame = {0};
    struct pt_death d = {.bundle = 1,
                         .attempt = 1,
                         .test = how & 15,
                         .file = PT_NONE,
                         .path = none,
                         .phase = how >> 4 & 3,
                         .cause = 1 + (how >> 6),
                         .status = 9,
                         .stack = none,
                         .output = none};
    pt_death_encode(&d, 0, &frame);
    pt_buf_append(b, frame.data + PT_FRAME_HEAD + 8, frame.len - PT_FRAME_HEAD - 8);
    pt_buf_fini(&frame);
}

static void say(struct pt_link *link, uint8_t kind, struct fuzz_parts *in)
{
    static const uint8_t types[] = {PT_L_REPORT, PT_L_DEATH, PT_L_BYE, PT_L_NOTE,
                                    PT_L_REPORT, PT_L_GOT,   PT_L_DONE};
    uint8_t type = types[kind % sizeof(types)], how = fuzz_byte(in);
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    uint64_t seq = link->said + (kind < 240) + (kind > 250);
    unsigned held = fuzz_hold();
    if (kind % 32 < 31)
        pt_put_u64(&b, seq);
    if (kind % 32 == 30) {
        struct fuzz_parts part = fuzz_part(in);
        pt_buf_append(&b, part.p, part.left);
    } else if (type == PT_L_DEATH) {
        put_death(&b, how);
    } else {
        put_body(&b, type, how, in);
    }
    fuzz_release(held);
    if (type != PT_L_GOT && kind % 32 < 31 && seq == link->said + 1)
        link->said++;
    struct pt_reader r = {.p = b.data, .left = b.len};
    if (link->cb->message(link->arg, link, type, &r, &err) < 0) {
        FUZZ_CHECK(err.msg[0]);
        link->there = false;
        link->cb->closed(link->arg, link, err.msg);
    }
    pt_buf_fini(&b);
}

static void link_happens(struct pt_link *link, uint8_t what, struct fuzz_parts *in)
{
    if (!link->there)
        return;
    if (!link->greeted) {
        uint8_t how = fuzz_byte(in);
        const struct pt_hello hello = {
            .host = lab.lanes[link - lab.links].host, .launch = how & 3, .slots = 1, .acked = how >> 6};
        link->greeted = true;
        link->cb->hello(link->arg, link, &hello);
    } else if (what % 16 == 15) {
        link->there = false;
        link->cb->closed(link->arg, link, what & 16 ? "" : "cut");
    } else {
        say(link, fuzz_byte(in), in);
    }
}

/* The loop of pt_gather: what happens next; in the end every lane comes to its end. */
int pt_loop_step(struct pt_loop *loop, int64_t max_ms)
{
    (void)loop, (void)max_ms;
    bool over = lab.in->left == 0 || ++lab.steps > STEPS;
    uint8_t what = fuzz_byte(lab.in);
    struct pt_lane *lane = &lab.lanes[(what >> 4) % HOSTS];
    if (over) {
        for (uint32_t i = 0; i < lab.nlanes; i++)
            emit(&lab.lanes[i], PT_LANE_DOWN, 1);
    } else if (what % 16 < 3) {
        static const enum pt_lane_kind kinds[] = {PT_LANE_ATTACHED, PT_LANE_LINK, PT_LANE_EXITED};
        emit(lane, kinds[what % 16], what % 16 ? what >> 6 : fuzz_byte(lab.in) & 3);
    } else if (what % 16 == 3) {
        uint8_t how = fuzz_byte(lab.in);
        emit(lane, how & 1 || lane->stopping ? PT_LANE_DOWN : PT_LANE_LOG, how >> 1);
    } else if (what == 0xf4) {
        lab.cancel = 1;
    } else if (what == 0xf5) {
        lab.full = true;
    } else if (what % 16 == 4) {
        loop_pass();
    } else {
        link_happens(&lab.links[(what >> 4) % HOSTS], what, lab.in);
    }
    return 0;
}

static void on_note(void *arg, const char *line)
{
    (void)arg;
    FUZZ_CHECK(line[0]);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    uint8_t how = fuzz_byte(&in);
    memset(&lab, 0, sizeof(lab));
    loop_begin();
    lab.in = &in;
    for (uint32_t i = 0; i < TESTS; i++)
        lab.told[i] = how >> (i % 4) & 1 && i % 4 < 3;
    struct pt_transport_options transport = {.cancel = &lab.cancel};
    struct pt_gather_options o = {.state_dir = "x",
                                  .run = 1,
                                  .transport = &transport,
                                  .grace_ms = 1000,
                                  .reruns = how >> 7,
                                  .note = on_note};
    int rc = pt_gather(&o, &err);
    FUZZ_CHECK(rc == 0 || err.msg[0]);
    for (uint32_t i = 0; i < HOSTS; i++)
        FUZZ_CHECK(!lab.links[i].there && !lab.lanes[i].there);
    loop_end();
}
