/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Groups over several hosts: what the master asks of one agent, which is host 3. Host 4 is the same agent at
 * another address of the loopback, so that one machine will do. */
#include "group_lab.h"

#include "common/message_across.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define HERE_HOST 3u
#define FAR_HOST  4u
#define LOOPBACK  0x7f000001u

static inline void send_empty(uint8_t type)
{
    struct pt_buf b = {0};
    pt_frame_end(&b, pt_frame_begin(&b, type));
    send_frame(&b);
}

/* LISTEN, and what it gave. */
static inline void listen_there(struct pt_listening *listening)
{
    struct pt_err err = PT_ERR_INIT;
    send_empty(PT_C_LISTEN);
    struct frame *f = expect(PT_C_LISTENING);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_assert(pt_listening_decode(&r, listening, &err) == 0, "%s", err.msg);
}

static inline int connect_to(uint32_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "%s", strerror(errno));
    return fd;
}

/* A socket on the loopback, and its port. */
static inline int listen_here(uint32_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t n = sizeof(addr);
    addr.sin_addr.s_addr = htonl(LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&addr, n) == 0 && listen(fd, 8) == 0 &&
              getsockname(fd, (struct sockaddr *)&addr, &n) == 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

/* --- peers --- */

/* PEERS of both hosts, with what LISTENING said. */
static inline void make_peers(void)
{
    struct pt_listening l;
    struct pt_buf b = {0};
    listen_there(&l);
    struct pt_peer hosts[2];
    for (uint32_t i = 0; i < 2; i++)
        hosts[i] = (struct pt_peer){.host = i ? FAR_HOST : HERE_HOST,
                                    .address = {.address = LOOPBACK + i, .prefix = 8},
                                    .run_dir = l.run_dir,
                                    .worker = l.worker,
                                    .launch = l.launch};
    pt_peers_encode(&(struct pt_peers){.n = 2, .hosts = hosts}, &b);
    send_frame(&b);
    expect(PT_C_PEERED);
    pt_listening_fini(&l);
}

static inline void start_peers(void)
{
    start_all();
    make_peers();
}

static inline void put_spread_start(struct pt_buf *b, uint32_t group, const struct pt_share *shares,
                                    uint32_t n)
{
    uint32_t ranks = 0;
    for (uint32_t i = 0; i < n; i++)
        ranks += shares[i].ranks;
    size_t mark = pt_frame_begin(b, PT_G_START);
    pt_put_u32(b, group);
    pt_put_u32(b, ranks);
    pt_put_u8(b, 1);
    pt_put_spread(b, shares, n);
    pt_frame_end(b, mark);
}

static inline void start_spread(uint32_t group, uint32_t here, uint32_t far)
{
    const struct pt_share shares[] = {{HERE_HOST, here}, {FAR_HOST, far}};
    struct pt_buf b = {0};
    put_spread_start(&b, group, shares, 2);
    tell_hub('s', b.data, b.len);
    pt_buf_fini(&b);
}

/* --- relays --- */

static inline void ask_relay(uint32_t host, uint32_t id, enum pt_relay_what what, char **words, uint32_t n)
{
    struct pt_relay relay = {.host = host, .id = id, .what = (uint8_t)what, .words = words, .nwords = n};
    struct pt_buf b = {0};
    pt_relay_encode(&relay, PT_C_RELAY, &b);
    send_frame(&b);
}

static inline struct relayed *wait_relayed(size_t index)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while (m.nrelays <= index && turn(until))
        ;
    cr_assert(m.nrelays > index, "no stream was opened");
    return &m.relays[index];
}

/* The next frame of a stream; its fields go to *body, which is the caller's to free. */
static inline uint8_t relayed_says(struct relayed *s, struct pt_buf *body)
{
    int64_t until = pt_now_ms() + PATIENCE;
    do {
        struct pt_reader r;
        uint8_t type;
        size_t total;
        if (pt_frame_next(s->data.data, s->data.len, PT_MAX_FRAME, &type, &r, &total) <= 0)
            continue;
        pt_buf_clear(body);
        pt_buf_append(body, r.p, r.left);
        pt_buf_consume(&s->data, total);
        return type;
    } while (!s->closed && turn(until));
    cr_assert(false, "the stream says nothing");
    return 0;
}

static inline uint32_t expect_u32(struct relayed *s, uint8_t type)
{
    struct pt_buf body = {0};
    cr_assert_eq(relayed_says(s, &body), type);
    struct pt_reader r = {.p = body.data, .left = body.len};
    uint32_t value = pt_get_u32(&r);
    cr_assert(pt_get_end(&r));
    pt_buf_fini(&body);
    return value;
}

/* OUTPUT or REFUSED; heap. */
static inline char *expect_words(struct relayed *s, uint8_t type)
{
    struct pt_buf body = {0};
    cr_assert_eq(relayed_says(s, &body), type);
    struct pt_reader r = {.p = body.data, .left = body.len};
    char *text = pt_get_str(&r, PT_MAX_TEXT);
    cr_assert(pt_get_end(&r));
    pt_buf_fini(&body);
    return text;
}

static inline void wait_closed(const struct relayed *s)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while (!s->closed && turn(until))
        ;
    cr_assert(s->closed, "the stream did not end");
}

/* What one stream says goes to the other, its end too; both ways, until both ended or *stop came. */
static inline void pass_between(struct relayed *a, struct relayed *b, const char *until_file)
{
    struct relayed *const ends[] = {a, b};
    bool passed[2] = {false, false};
    int64_t until = pt_now_ms() + PATIENCE;
    while (!(passed[0] && passed[1]) && !(until_file && access(until_file, F_OK) == 0) &&
           pt_now_ms() < until) {
        for (size_t i = 0; i < 2; i++) {
            struct relayed *from = ends[i];
            if (from->data.len > 0)
                pt_mux_send(m.mux, ends[!i]->stream, from->data.data, from->data.len);
            pt_buf_clear(&from->data);
            if (from->closed && !passed[i])
                pt_mux_close(m.mux, ends[!i]->stream);
            passed[i] = from->closed;
        }
        turn(pt_now_ms() + 20);
    }
}
