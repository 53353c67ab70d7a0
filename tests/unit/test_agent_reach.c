/* SPDX-License-Identifier: Apache-2.0 */
/* Who reaches whom: listening for probes, and probing. */
#include "across_lab.h"

TestSuite(agent_reach, .init = set_up_groups, .fini = tear_down, .timeout = 100);

/* The bytes that come back, until the end; how many. */
static size_t hear(int fd, unsigned char back[64])
{
    size_t n = 0;
    for (ssize_t got; n < 64 && (got = recv(fd, back + n, 64 - n, 0)) > 0;)
        n += (size_t)got;
    return n;
}

static bool is_reversed(const unsigned char *back, const unsigned char *token)
{
    for (size_t i = 0; i < PT_TOKEN; i++)
        if (back[i] != token[PT_TOKEN - 1 - i])
            return false;
    return true;
}

static bool is_version(const char *text)
{
    return text[0] && strspn(text, "0123456789.abrc") == strlen(text) && strchr(text, '.');
}

Test(agent_reach, what_is_told)
{
    struct pt_listening l, again;
    start_all();
    listen_there(&l);
    cr_expect(is_version(l.mpi), "%s", l.mpi);
    cr_expect(strncmp(l.run_dir, w.runtime, strlen(w.runtime)) == 0 && access(l.run_dir, X_OK) == 0);
    cr_expect(strncmp(l.worker, w.cache, strlen(w.cache)) == 0 && access(l.worker, X_OK) == 0, "%s",
              l.worker);
    cr_expect(l.launch == 1 && l.port > 0);
    for (uint32_t i = 0; i < l.n; i++)
        cr_expect(l.addresses[i].address >> 24 != 127 && l.addresses[i].prefix > 0);
    listen_there(&again);
    cr_expect(again.port == l.port && memcmp(again.token, l.token, PT_TOKEN) == 0 && again.n == l.n);
    pt_listening_fini(&l);
    pt_listening_fini(&again);
    stop();
}

Test(agent_reach, probes_are_answered)
{
    unsigned char back[64];
    struct pt_listening l;
    start_all();
    listen_there(&l);
    pt_auto_fd int whole = connect_to(l.port), parted = connect_to(l.port), wrong = connect_to(l.port),
                   silent = connect_to(l.port);
    cr_assert(send(parted, l.token, 7, 0) == 7 && send(whole, l.token, PT_TOKEN, 0) == PT_TOKEN);
    cr_expect(hear(whole, back) == PT_TOKEN && is_reversed(back, l.token));
    cr_assert(send(parted, l.token + 7, PT_TOKEN - 7, 0) == PT_TOKEN - 7);
    cr_expect(hear(parted, back) == PT_TOKEN && is_reversed(back, l.token));
    unsigned char other[PT_TOKEN];
    memcpy(other, l.token, PT_TOKEN);
    other[15] ^= 1;
    cr_assert(send(wrong, other, PT_TOKEN, 0) == PT_TOKEN);
    cr_expect_eq(hear(wrong, back), 0, "a wrong token was answered");
    for (size_t i = 0; i < 70; i++)
        close(connect_to(l.port));
    cr_expect_eq(hear(silent, back), 0, "who says nothing for long must go");
    pt_listening_fini(&l);
    stop();
}

Test(agent_reach, cannot_take_part)
{
    struct pt_setup setup = default_setup();
    struct pt_ready ready;
    struct pt_listening l;
    char path[128];
    start_agent();
    send_setup(&setup);
    expect_ready(&ready);
    pt_ready_fini(&ready);
    listen_there(&l);
    cr_expect(l.n == 0 && l.port == 0, "before workers run");
    pt_listening_fini(&l);
    stop();
    hang_up();
    start_with_mpirun(path, "exit 0");
    write_file(path, "#!/bin/sh\necho 'HYDRA build details: 4.0'\n", 0700);
    listen_there(&l);
    cr_expect(l.n == 0 && strcmp(l.mpi, "") == 0, "another mpirun: %s", l.mpi);
    pt_listening_fini(&l);
    unlink(path);
    listen_there(&l);
    cr_expect(l.n == 0 && strcmp(l.mpi, "") == 0, "no mpirun");
    pt_listening_fini(&l);
    write_file(path, "#!/bin/sh\necho 'mpirun (Open MPI) 5.0.3rc1'\n", 0700);
    listen_there(&l);
    cr_expect_str_eq(l.mpi, "5.0.3rc1");
    pt_listening_fini(&l);
    stop();
}

/* --- probing --- */

static void send_probe(struct pt_probe_host *hosts, uint32_t n)
{
    struct pt_buf b = {0};
    pt_probe_encode(&(struct pt_probe){.n = n, .hosts = hosts}, &b);
    send_frame(&b);
}

static void expect_reached(struct pt_reached *reached)
{
    struct pt_err err = PT_ERR_INIT;
    struct frame *f = expect(PT_C_REACHED);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_assert(pt_reached_decode(&r, reached, &err) == 0, "%s", err.msg);
}

/* What comes to a listener, answered with what is said: a fixed answer is no reversed one. */
static void answer_once(int listener, const char *said)
{
    pt_auto_fd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    char token[PT_TOKEN];
    cr_assert(recv(fd, token, PT_TOKEN, MSG_WAITALL) == PT_TOKEN);
    cr_assert(send(fd, said, strlen(said), MSG_NOSIGNAL) == (ssize_t)strlen(said));
}

Test(agent_reach, who_is_reached)
{
    uint32_t loopback[] = {LOOPBACK, LOOPBACK + 1}, wrong_port, short_port, closed_port;
    struct pt_listening l;
    struct pt_reached reached;
    pt_auto_fd int wrong = listen_here(&wrong_port), cut = listen_here(&short_port);
    close(listen_here(&closed_port));
    start_all();
    listen_there(&l);
    struct pt_probe_host hosts[] = {
        {.host = 1, .port = l.port, .n = 2, .addresses = loopback},
        {.host = 2, .port = l.port, .n = 1, .addresses = loopback}, /* another's token */
        {.host = 5, .port = wrong_port, .n = 1, .addresses = loopback},
        {.host = 6, .port = short_port, .n = 1, .addresses = loopback},
        {.host = 7, .port = closed_port, .n = 2, .addresses = loopback},
        {.host = 8, .port = l.port, .n = 0},
    };
    memcpy(hosts[0].token, l.token, PT_TOKEN);
    send_probe(hosts, PT_COUNT(hosts));
    turn(pt_now_ms() + 1);
    answer_once(wrong, "0123456789abcdef");
    answer_once(cut, "0123");
    expect_reached(&reached);
    cr_assert_eq(reached.n, 2);
    cr_expect(reached.hosts[0].host == 1 && reached.hosts[1].host == 1 &&
              reached.hosts[0].address + reached.hosts[1].address == 2 * LOOPBACK + 1);
    pt_reached_fini(&reached);
    pt_listening_fini(&l);
    stop();
}

/* Whoever does not answer is waited for, but not for long; the next PROBE does not wait. */
Test(agent_reach, who_does_not_answer)
{
    uint32_t loopback[] = {LOOPBACK}, port;
    struct pt_reached reached;
    int silent = listen_here(&port);
    struct pt_probe_host host = {.host = 1, .port = port, .n = 1, .addresses = loopback};
    start_all();
    for (int i = 0; i < 2; i++)
        send_probe(&host, 1);
    send_probe(NULL, 0);
    send_probe(&host, 1);
    for (int i = 0; i < 4; i++) {
        expect_reached(&reached);
        cr_expect_eq(reached.n, 0);
        pt_reached_fini(&reached);
    }
    close(silent);
    stop();
}

/* More than are tried at a time. */
Test(agent_reach, many_addresses)
{
    uint32_t addresses[PT_ADDRESSES_MAX];
    struct pt_listening l;
    struct pt_reached reached;
    struct pt_probe_host hosts[8];
    start_all();
    listen_there(&l);
    for (uint32_t i = 0; i < PT_ADDRESSES_MAX; i++)
        addresses[i] = LOOPBACK + i;
    for (uint32_t i = 0; i < PT_COUNT(hosts); i++) {
        hosts[i] =
            (struct pt_probe_host){.host = i, .port = l.port, .n = PT_ADDRESSES_MAX, .addresses = addresses};
        memcpy(hosts[i].token, l.token, PT_TOKEN);
        hosts[i].token[0] ^= (unsigned char)(i % 2); /* every second is a stranger */
    }
    send_probe(hosts, PT_COUNT(hosts));
    expect_reached(&reached);
    cr_expect_gt(reached.n, PT_ADDRESSES_MAX); /* some callers may have given way to others */
    for (uint32_t i = 0; i < reached.n; i++)
        cr_expect_eq(reached.hosts[i].host % 2, 0);
    pt_reached_fini(&reached);
    pt_listening_fini(&l);
    stop();
}

/* --- malformed --- */

static void expect_failed(struct pt_buf *frame, const char *what)
{
    struct pt_setup setup = default_setup();
    run_with(&setup);
    send_frame(frame);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, what) != NULL, "%s", text);
    hang_up();
}

Test(agent_reach, malformed_messages)
{
    static const struct {
        uint8_t type;
        const char *what;
    } messages[] = {
        {PT_C_LISTEN, "listen: malformed"},
        {PT_C_PROBE, "probe: malformed"},
        {PT_C_PEERS, "peers: malformed"},
        {PT_C_RELAY, "relay: malformed"},
    };
    struct pt_peer bad = {.host = 1, .run_dir = (char *)"run", .worker = (char *)"/w"};
    struct pt_buf b = {0};
    for (size_t i = 0; i < PT_COUNT(messages); i++) {
        size_t mark = pt_frame_begin(&b, messages[i].type);
        pt_buf_append(&b, "\0\0\0\1\0", 5);
        pt_frame_end(&b, mark);
        expect_failed(&b, messages[i].what);
    }
    pt_peers_encode(&(struct pt_peers){.n = 1, .hosts = &bad}, &b);
    expect_failed(&b, "not absolute");
}
