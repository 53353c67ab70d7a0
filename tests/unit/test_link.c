/* SPDX-License-Identifier: Apache-2.0 */
/* The master's end of a link against a worker's TLS, over a socket pair. */
#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/tls.h"
#include "link.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RUN         "20261121-abc"
#define DEADLINE_MS 60000

enum act { NOTHING, DESTROY, REFUSE, FINISH, FAIL };

/* Both ends, and what was heard. */
struct lab {
    struct pt_loop *loop;
    struct pt_link *link;
    struct pt_tls_ca *ca;
    struct pt_tls_identity master, worker;
    enum act on_hello, on_message, on_closed;
    int hellos, closes;
    size_t messages;
    struct pt_buf types; /* of the messages, in order */
    size_t bytes;        /* of their bodies */
    size_t reply;        /* bytes that answer each of them */
    uint32_t host, launch, slots;
    char why[PT_ERR_MAX];
    /* the worker's end */
    int fd;
    struct pt_tls *tls;
    struct pt_buf plain, wire;
    size_t piece; /* most bytes of one write */
    bool eof;
};

static void act(struct lab *lab, struct pt_link *link, enum act what)
{
    if (what == DESTROY) {
        pt_link_destroy(link);
        lab->link = NULL;
    } else if (what == REFUSE) {
        pt_link_refuse(link, "not wanted");
    } else if (what == FINISH) {
        pt_link_finish(link);
    }
}

static void on_hello(void *arg, struct pt_link *link, const struct pt_hello *hello)
{
    struct lab *lab = arg;
    lab->hellos++;
    lab->host = hello->host;
    lab->launch = hello->launch;
    lab->slots = hello->slots;
    if (lab->on_hello == NOTHING)
        pt_link_welcome(link, 7);
    act(lab, link, lab->on_hello);
}

static int on_message(void *arg, struct pt_link *link, uint8_t type, struct pt_reader *body,
                      struct pt_err *err)
{
    struct lab *lab = arg;
    lab->messages++;
    lab->bytes += body->left;
    pt_put_u8(&lab->types, type);
    if (lab->reply) {
        struct pt_buf b = {0};
        size_t mark = pt_frame_begin(&b, PT_L_BUNDLE);
        memset(pt_buf_reserve(&b, lab->reply), 'x', lab->reply);
        b.len += lab->reply;
        pt_frame_end(&b, mark);
        pt_link_send(link, &b);
        pt_buf_fini(&b);
    }
    act(lab, link, lab->on_message);
    return lab->on_message == FAIL ? pt_err_set(err, "message %u is nonsense", type) : 0;
}

static void on_closed(void *arg, struct pt_link *link, const char *why)
{
    struct lab *lab = arg;
    lab->closes++;
    snprintf(lab->why, sizeof(lab->why), "%s", why);
    if (lab->on_closed == DESTROY)
        pt_link_destroy(link);
    lab->link = NULL;
}

static const struct pt_link_callbacks callbacks = {
    .hello = on_hello, .message = on_message, .closed = on_closed};

static struct lab *lab_create(const char *role, long host)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab *lab = calloc(1, sizeof(*lab));
    int sv[2];
    lab->piece = SIZE_MAX;
    lab->loop = pt_loop_create(&err);
    lab->ca = pt_tls_ca_create(RUN, 600, &err);
    cr_assert(lab->loop && lab->ca, "%s", err.msg);
    cr_assert_eq(pt_tls_ca_issue(lab->ca, "master", &lab->master, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_tls_ca_issue(lab->ca, role, &lab->worker, &err), 0, "%s", err.msg);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
    lab->fd = sv[1];
    lab->link = pt_link_create(lab->loop, sv[0], &lab->master, RUN, host, &callbacks, lab, &err);
    cr_assert_not_null(lab->link, "%s", err.msg);
    lab->tls = pt_tls_create(&lab->worker, 0, RUN, "master", &err);
    cr_assert_not_null(lab->tls, "%s", err.msg);
    return lab;
}

static void lab_destroy(struct lab *lab)
{
    pt_link_destroy(lab->link);
    pt_loop_destroy(lab->loop);
    pt_tls_destroy(lab->tls);
    pt_tls_ca_destroy(lab->ca);
    pt_tls_identity_fini(&lab->master);
    pt_tls_identity_fini(&lab->worker);
    pt_buf_fini(&lab->types);
    pt_buf_fini(&lab->plain);
    pt_buf_fini(&lab->wire);
    if (lab->fd >= 0)
        close(lab->fd);
    free(lab);
}

static void worker_write(struct lab *lab)
{
    if (lab->tls)
        pt_tls_pull(lab->tls, &lab->wire);
    size_t n = lab->wire.len < lab->piece ? lab->wire.len : lab->piece;
    ssize_t sent = n ? send(lab->fd, lab->wire.data, n, MSG_NOSIGNAL) : 0;
    if (sent > 0)
        pt_buf_consume(&lab->wire, (size_t)sent);
    else if (sent < 0 && errno != EAGAIN)
        pt_buf_clear(&lab->wire);
}

static void worker_read(struct lab *lab)
{
    char buf[16384];
    struct pt_err err = PT_ERR_INIT;
    ssize_t n = read(lab->fd, buf, sizeof(buf));
    if (n == 0 || (n < 0 && errno != EAGAIN))
        lab->eof = true;
    if (n > 0 && lab->tls)
        pt_tls_feed(lab->tls, buf, (size_t)n, &lab->plain, &err);
}

/* Until cond holds. */
#define RUN_UNTIL(lab, cond)                                                                                 \
    do {                                                                                                     \
        int64_t until = pt_now_ms() + DEADLINE_MS;                                                           \
        while (!(cond) && pt_now_ms() < until) {                                                             \
            worker_write(lab);                                                                               \
            cr_assert_eq(pt_loop_step((lab)->loop, 1), 0);                                                   \
            worker_read(lab);                                                                                \
        }                                                                                                    \
        cr_assert(cond);                                                                                     \
    } while (0)

static void worker_send(struct lab *lab, const struct pt_buf *b)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_send(lab->tls, b->data, b->len, &err), 0, "%s", err.msg);
}

static void put_hello(struct pt_buf *b, uint32_t version, const char *run, uint32_t host)
{
    size_t mark = pt_frame_begin(b, PT_L_HELLO);
    pt_put_u32(b, version);
    pt_put_str(b, run);
    pt_put_u32(b, host);
    pt_put_u32(b, 3);
    pt_put_u32(b, 16);
    pt_put_u64(b, 0);
    pt_put_u64(b, 0);
    pt_frame_end(b, mark);
}

static void put_message(struct pt_buf *b, uint8_t type, size_t n)
{
    size_t mark = pt_frame_begin(b, type);
    for (size_t i = 0; i < n; i++)
        pt_put_u8(b, (uint8_t)i);
    pt_frame_end(b, mark);
}

static void send_hello(struct lab *lab, uint32_t version, const char *run, uint32_t host)
{
    struct pt_buf b = {0};
    put_hello(&b, version, run, host);
    worker_send(lab, &b);
    pt_buf_fini(&b);
}

static void send_message(struct lab *lab, uint8_t type, size_t n)
{
    struct pt_buf b = {0};
    put_message(&b, type, n);
    worker_send(lab, &b);
    pt_buf_fini(&b);
}

/* The first frame that the worker has got; its body's bytes are the lab's. */
static uint8_t answer(struct lab *lab, struct pt_reader *body)
{
    size_t total;
    uint8_t type = 0;
    if (pt_frame_next(lab->plain.data, lab->plain.len, PT_MAX_FRAME, &type, body, &total) != 1)
        return 0;
    return type;
}

static struct lab *joined(void)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    send_hello(lab, PT_PROTOCOL, RUN, 5);
    RUN_UNTIL(lab, lab->plain.len > 0);
    return lab;
}

Test(link, a_good_hello_is_told_and_welcomed)
{
    struct lab *lab = joined();
    struct pt_reader body;
    cr_expect(lab->hellos == 1 && lab->host == 5 && lab->launch == 3 && lab->slots == 16);
    cr_expect_eq(answer(lab, &body), PT_L_WELCOME);
    cr_expect_eq(pt_get_u32(&body), PT_PROTOCOL);
    cr_expect_eq(pt_get_u64(&body), 7);
    cr_expect(pt_get_end(&body));
    lab_destroy(lab);
}

Test(link, any_host_of_the_run_may_come_directly)
{
    struct lab *lab = lab_create("host/41/worker", -1);
    send_hello(lab, PT_PROTOCOL, RUN, 41);
    RUN_UNTIL(lab, lab->hellos == 1);
    cr_expect_eq(lab->host, 41);
    lab_destroy(lab);
}

/* The link ends, nobody was told of a worker, and the reason has `want` in it. */
static void ends_because(struct lab *lab, const char *want)
{
    RUN_UNTIL(lab, lab->closes == 1);
    cr_expect_eq(lab->hellos, 0);
    cr_expect_eq(lab->messages, 0);
    cr_expect_not_null(strstr(lab->why, want), "%s", lab->why);
    RUN_UNTIL(lab, lab->eof);
    cr_expect_eq(lab->closes, 1);
    lab_destroy(lab);
}

Test(link, who_claims_another_host_is_cut)
{
    struct lab *lab = lab_create("host/5/worker", -1);
    send_hello(lab, PT_PROTOCOL, RUN, 6);
    ends_because(lab, "said it was host 6");
}

Test(link, the_certificate_of_another_host_is_cut)
{
    struct lab *lab = lab_create("host/6/worker", 5);
    send_hello(lab, PT_PROTOCOL, RUN, 5);
    ends_because(lab, "host/6/worker");
}

Test(link, the_certificate_of_the_master_is_no_workers)
{
    struct lab *lab = lab_create("master", -1);
    send_hello(lab, PT_PROTOCOL, RUN, 0);
    ends_because(lab, "TLS");
}

Test(link, another_run_is_cut)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    send_hello(lab, PT_PROTOCOL, "20261121-xyz", 5);
    ends_because(lab, "20261121-xyz");
}

Test(link, the_certificate_of_another_run_is_cut)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    struct pt_err err = PT_ERR_INIT;
    struct pt_tls_ca *other = pt_tls_ca_create(RUN, 600, &err);
    struct pt_tls_identity id;
    cr_assert_eq(pt_tls_ca_issue(other, "host/5/worker", &id, &err), 0);
    free(id.ca_pem);
    id.ca_pem = strdup(lab->master.ca_pem); /* trusts the real master */
    pt_tls_destroy(lab->tls);
    cr_assert_not_null(lab->tls = pt_tls_create(&id, 0, RUN, "master", &err));
    send_hello(lab, PT_PROTOCOL, RUN, 5);
    pt_tls_identity_fini(&id);
    pt_tls_ca_destroy(other);
    ends_because(lab, "TLS");
}

static void another_version(const struct pt_buf *hello)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    struct pt_reader body = {0};
    worker_send(lab, hello);
    RUN_UNTIL(lab, lab->closes == 1 && lab->plain.len > 0);
    cr_expect_eq(lab->hellos, 0);
    cr_expect_not_null(strstr(lab->why, "protocol 99"), "%s", lab->why);
    cr_assert_eq(answer(lab, &body), PT_L_REFUSED);
    pt_auto_free char *reason = pt_get_str(&body, 1024);
    cr_assert(reason && pt_get_end(&body));
    cr_expect(strstr(reason, "protocol") && !strchr(reason, '\n'), "%s", reason);
    lab_destroy(lab);
}

Test(link, another_protocol_is_refused_in_one_clear_line)
{
    struct pt_buf b = {0};
    put_hello(&b, 99, RUN, 5);
    another_version(&b);
    pt_buf_fini(&b);
}

Test(link, another_protocol_may_greet_in_another_way)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_L_HELLO);
    pt_put_u32(&b, 99);
    pt_put_str(&b, "fields of another time");
    pt_frame_end(&b, mark);
    another_version(&b);
    pt_buf_fini(&b);
}

Test(link, every_cut_hello_is_refused)
{
    struct pt_buf whole = {0};
    put_hello(&whole, PT_PROTOCOL, RUN, 5);
    for (size_t n = 0; n < whole.len - PT_FRAME_HEAD; n++) {
        struct lab *lab = lab_create("host/5/worker", 5);
        struct pt_buf b = {0};
        size_t mark = pt_frame_begin(&b, PT_L_HELLO);
        pt_buf_append(&b, whole.data + PT_FRAME_HEAD, n);
        pt_frame_end(&b, mark);
        worker_send(lab, &b);
        pt_buf_fini(&b);
        ends_because(lab, "malformed HELLO");
    }
    pt_buf_fini(&whole);
}

Test(link, a_hello_with_more_behind_it_is_refused)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    struct pt_buf b = {0};
    put_hello(&b, PT_PROTOCOL, RUN, 5);
    pt_put_u8(&b, 0);
    pt_frame_end(&b, 0);
    worker_send(lab, &b);
    pt_buf_fini(&b);
    ends_because(lab, "malformed HELLO");
}

Test(link, nothing_comes_before_hello)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    send_message(lab, PT_L_REPORT, 20);
    ends_because(lab, "before HELLO");
}

Test(link, a_second_hello_is_a_message_like_others)
{
    struct lab *lab = joined();
    send_hello(lab, PT_PROTOCOL, RUN, 5);
    RUN_UNTIL(lab, lab->messages == 1);
    cr_expect_eq(lab->hellos, 1);
    cr_expect_eq(lab->types.data[0], PT_L_HELLO);
    lab_destroy(lab);
}

static void impossible_length(uint32_t length)
{
    struct lab *lab = joined();
    struct pt_buf b = {0};
    pt_put_u32(&b, length);
    pt_put_u8(&b, PT_L_REPORT);
    worker_send(lab, &b);
    pt_buf_fini(&b);
    RUN_UNTIL(lab, lab->closes == 1);
    cr_expect_not_null(strstr(lab->why, "impossible length"), "%s", lab->why);
    cr_expect_eq(lab->messages, 0);
    lab_destroy(lab);
}

Test(link, a_frame_of_impossible_length_ends_it)
{
    impossible_length(0);
    impossible_length(PT_MAX_FRAME + 1);
    impossible_length(UINT32_MAX);
}

Test(link, many_frames_in_one_write_come_in_order)
{
    enum { COUNT = 5000 };
    struct lab *lab = joined();
    struct pt_buf b = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < COUNT; i++) {
        put_message(&b, (uint8_t)(32 + i % 90), i % 50);
        bytes += i % 50;
    }
    worker_send(lab, &b);
    pt_buf_fini(&b);
    RUN_UNTIL(lab, lab->messages == COUNT);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert_eq(lab->types.data[i], 32 + i % 90);
    cr_expect_eq(lab->bytes, bytes);
    cr_expect_eq(lab->closes, 0);
    lab_destroy(lab);
}

Test(link, the_longest_frame_passes)
{
    struct lab *lab = joined();
    send_message(lab, PT_L_NOTE, PT_MAX_FRAME - 1);
    RUN_UNTIL(lab, lab->messages == 1);
    cr_expect_eq(lab->bytes, PT_MAX_FRAME - 1);
    lab_destroy(lab);
}

Test(link, one_byte_at_a_time_is_as_good)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    lab->piece = 1;
    send_hello(lab, PT_PROTOCOL, RUN, 5);
    send_message(lab, PT_L_DONE, 21);
    send_message(lab, PT_L_BYE, 12);
    RUN_UNTIL(lab, lab->messages == 2);
    cr_expect_eq(lab->hellos, 1);
    cr_expect_eq(lab->bytes, 33);
    lab_destroy(lab);
}

Test(link, plain_garbage_is_cut)
{
    static const char *const garbage[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-x\r\n",
                                          "\x16\x03\x01", "\xff\xff\xff\xff\xff\xff\xff\xff", "\n"};
    for (size_t i = 0; i < PT_COUNT(garbage); i++) {
        struct lab *lab = lab_create("host/5/worker", 5);
        pt_tls_destroy(lab->tls);
        lab->tls = NULL;
        pt_buf_append(&lab->wire, garbage[i], strlen(garbage[i]));
        worker_write(lab);
        shutdown(lab->fd, SHUT_WR);
        ends_because(lab, "");
    }
}

/* Who does not take what it is told is not listened to, until it does. */
Test(link, who_never_reads_is_not_listened_to)
{
    enum { MANY = 100 };
    struct lab *lab = joined();
    lab->reply = 1u << 20;
    int64_t quiet = 0;
    size_t before = 0;
    for (size_t said = 0; quiet < 200;) {
        if (said < MANY && !lab->wire.len) {
            send_message(lab, PT_L_REPORT, 40000);
            said++;
        }
        worker_write(lab);
        cr_assert_eq(pt_loop_step(lab->loop, 1), 0);
        quiet = lab->messages == before && said > 1 ? quiet + 1 : 0;
        before = lab->messages;
    }
    cr_expect_geq(lab->messages, 60);
    cr_expect_leq(lab->messages, 70, "64 MiB wait and nobody took them");
    cr_expect_eq(lab->closes, 0);
    pt_buf_clear(&lab->plain);
    size_t heard = 0;
    while (heard < MANY * lab->reply && lab->closes == 0) {
        if (lab->messages < MANY && !lab->wire.len && before < MANY) {
            send_message(lab, PT_L_REPORT, 40000);
            before++;
        }
        worker_write(lab);
        cr_assert_eq(pt_loop_step(lab->loop, 1), 0);
        worker_read(lab);
        heard += lab->plain.len;
        pt_buf_clear(&lab->plain);
    }
    cr_expect_geq(lab->messages, MANY);
    cr_expect_eq(lab->closes, 0);
    lab_destroy(lab);
}

Test(link, a_peer_that_goes_says_so_properly)
{
    struct lab *lab = joined();
    pt_tls_close(lab->tls);
    RUN_UNTIL(lab, lab->closes == 1);
    cr_expect_str_eq(lab->why, "");
    lab_destroy(lab);
}

Test(link, a_peer_that_was_cut_did_not_end_properly)
{
    struct lab *lab = joined();
    shutdown(lab->fd, SHUT_RDWR);
    RUN_UNTIL(lab, lab->closes == 1);
    cr_expect_str_neq(lab->why, "");
    lab_destroy(lab);
}

Test(link, half_a_frame_is_no_message_and_no_proper_end)
{
    for (int proper = 0; proper < 2; proper++) {
        struct lab *lab = joined();
        struct pt_buf b = {0};
        put_message(&b, PT_L_REPORT, 100);
        b.len -= 1;
        worker_send(lab, &b);
        pt_buf_fini(&b);
        if (proper)
            pt_tls_close(lab->tls);
        while (pt_tls_pull(lab->tls, &lab->wire), lab->wire.len)
            worker_write(lab);
        shutdown(lab->fd, SHUT_WR);
        RUN_UNTIL(lab, lab->closes == 1);
        cr_expect_str_neq(lab->why, "", "%s", proper ? "closed" : "cut");
        cr_expect_eq(lab->messages, 0);
        lab_destroy(lab);
    }
}

Test(link, a_refused_worker_hears_why_and_says_nothing_more)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    struct pt_buf b = {0};
    struct pt_reader body = {0};
    lab->on_hello = REFUSE;
    put_hello(&b, PT_PROTOCOL, RUN, 5);
    put_message(&b, PT_L_DONE, 21);
    worker_send(lab, &b);
    pt_buf_fini(&b);
    RUN_UNTIL(lab, lab->closes == 1 && lab->eof);
    cr_assert_eq(answer(lab, &body), PT_L_REFUSED);
    pt_auto_free char *reason = pt_get_str(&body, 64);
    cr_expect_str_eq(reason, "not wanted");
    cr_expect_eq(lab->messages, 0);
    lab_destroy(lab);
}

Test(link, a_message_that_is_refused_ends_the_link)
{
    struct lab *lab = joined();
    struct pt_buf b = {0};
    lab->on_message = FAIL;
    put_message(&b, 77, 1);
    put_message(&b, 78, 1);
    worker_send(lab, &b);
    pt_buf_fini(&b);
    RUN_UNTIL(lab, lab->closes == 1);
    cr_expect_eq(lab->messages, 1);
    cr_expect_str_eq(lab->why, "message 77 is nonsense");
    lab_destroy(lab);
}

Test(link, it_may_be_destroyed_from_hello)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    struct pt_buf b = {0};
    lab->on_hello = DESTROY;
    put_hello(&b, PT_PROTOCOL, RUN, 5);
    put_message(&b, PT_L_DONE, 21);
    worker_send(lab, &b);
    pt_buf_fini(&b);
    RUN_UNTIL(lab, lab->eof);
    cr_expect(lab->hellos == 1 && lab->messages == 0 && lab->closes == 0);
    lab_destroy(lab);
}

Test(link, it_may_be_destroyed_from_a_message)
{
    struct lab *lab = joined();
    struct pt_buf b = {0};
    lab->on_message = DESTROY;
    put_message(&b, PT_L_DONE, 21);
    put_message(&b, PT_L_DONE, 21);
    worker_send(lab, &b);
    pt_buf_fini(&b);
    RUN_UNTIL(lab, lab->eof);
    cr_expect(lab->messages == 1 && lab->closes == 0);
    lab_destroy(lab);
}

Test(link, it_may_be_destroyed_from_closed)
{
    struct lab *lab = joined();
    lab->on_closed = DESTROY;
    shutdown(lab->fd, SHUT_WR);
    RUN_UNTIL(lab, lab->eof);
    cr_expect_eq(lab->closes, 1);
    lab_destroy(lab);
}

Test(link, destroy_at_any_time_is_silent)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    pt_link_destroy(lab->link);
    pt_link_destroy(NULL);
    lab->link = NULL;
    RUN_UNTIL(lab, lab->eof);
    cr_expect_eq(lab->closes, 0);
    lab_destroy(lab);
}

Test(link, what_was_queued_goes_out_before_a_finish)
{
    enum { BYTES = 4 << 20 };
    struct lab *lab = joined();
    struct pt_buf b = {0};
    size_t before = lab->plain.len;
    put_message(&b, PT_L_SESSION, BYTES);
    pt_link_send(lab->link, &b);
    pt_link_finish(lab->link);
    pt_link_finish(lab->link);
    pt_link_send(lab->link, &b); /* too late, and no trouble */
    RUN_UNTIL(lab, lab->eof);
    cr_expect(lab->closes == 1 && !lab->why[0], "%s", lab->why);
    cr_expect_eq(lab->plain.len - before, PT_FRAME_HEAD + BYTES);
    pt_buf_fini(&b);
    lab_destroy(lab);
}

Test(link, finish_from_a_message_ends_properly)
{
    struct lab *lab = joined();
    lab->on_message = FINISH;
    send_message(lab, PT_L_BYE, 12);
    RUN_UNTIL(lab, lab->closes == 1);
    cr_expect_str_eq(lab->why, "");
    lab_destroy(lab);
}

/* Frames may be sent before the handshake is through. */
Test(link, what_is_sent_early_waits)
{
    struct lab *lab = lab_create("host/5/worker", 5);
    struct pt_buf b = {0};
    struct pt_reader body = {0};
    put_message(&b, PT_L_CANCEL, 0);
    pt_link_send(lab->link, &b);
    pt_buf_fini(&b);
    send_hello(lab, PT_PROTOCOL, RUN, 5);
    RUN_UNTIL(lab, lab->plain.len > 0);
    cr_expect_eq(answer(lab, &body), PT_L_CANCEL);
    lab_destroy(lab);
}

static void no_log(void *arg, enum pt_log_level level, const char *line)
{
    (void)level;
    (void)line;
    ++*(int *)arg;
}

/* A frame that memory did not suffice for must not be left out in silence. */
Test(link, a_hole_in_what_is_sent_ends_it)
{
    int warned = 0;
    struct lab *lab = joined();
    struct pt_buf b = {.bad = true};
    pt_log_redirect(no_log, &warned);
    pt_link_send(lab->link, &b);
    RUN_UNTIL(lab, lab->closes == 1);
    pt_log_redirect(NULL, NULL);
    cr_expect_eq(warned, 1);
    cr_expect_str_neq(lab->why, "");
    lab_destroy(lab);
}

Test(link, without_an_identity_there_is_none_and_the_socket_is_closed)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tls_identity none = {0};
    struct pt_loop *loop = pt_loop_create(NULL);
    int sv[2];
    char c;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    cr_expect_null(pt_link_create(loop, sv[0], &none, RUN, 5, &callbacks, NULL, &err));
    cr_expect_str_neq(err.msg, "");
    cr_expect_eq(read(sv[1], &c, 1), 0);
    close(sv[1]);
    pt_loop_destroy(loop);
}
