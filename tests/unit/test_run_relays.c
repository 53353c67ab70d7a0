/* SPDX-License-Identifier: Apache-2.0 */
/* What agents want of each other's hosts: who is told, who is joined, and who is refused with what words. */
#include "across_run_lab.h"

#include "src/run_across.c"
#include "src/run_relays.c"

#define DEADLINE_MS 60000

/* The agents' ends of their streams. */
static int ends[8];
static size_t nends;

static int open_stream(uint32_t host)
{
    int sv[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    pt_run_relay(&lab.at[host], sv[1]);
    ends[nends++] = sv[0];
    return sv[0];
}

static void all_peers(void)
{
    nends = 0;
    lab_start();
    lab_all_up();
    lab_round();
}

static void stop(void)
{
    lab_stop();
    while (nends)
        close(ends[--nends]);
}

static void send_buf(int fd, struct pt_buf *b)
{
    cr_assert_eq(write(fd, b->data, b->len), (ssize_t)b->len);
    pt_buf_fini(b);
}

static int want(uint32_t from, struct pt_relay m)
{
    struct pt_buf b = {0};
    int fd = open_stream(from);
    pt_relay_encode(&m, PT_Y_WANT, &b);
    send_buf(fd, &b);
    return fd;
}

static int here(uint32_t from, uint32_t id)
{
    struct pt_buf b = {0};
    int fd = open_stream(from);
    size_t mark = pt_frame_begin(&b, PT_Y_HERE);
    pt_put_u32(&b, id);
    pt_frame_end(&b, mark);
    send_buf(fd, &b);
    return fd;
}

/* What that end hears next; 0: its end. */
static size_t hear(int fd, void *data, size_t n)
{
    for (int64_t end = pt_now_ms() + DEADLINE_MS;;) {
        ssize_t got = recv(fd, data, n, MSG_DONTWAIT);
        if (got >= 0)
            return (size_t)got;
        cr_assert_eq(errno, EAGAIN);
        cr_assert_lt(pt_now_ms(), end, "nothing came");
        cr_assert_eq(pt_loop_step(lab.run.loop, 50), 0);
    }
}

static void expect_refused(int fd, const char *want_why)
{
    unsigned char wire[512];
    struct pt_reader body;
    uint8_t type;
    size_t total;
    size_t n = hear(fd, wire, sizeof(wire));
    cr_assert_eq(pt_frame_next(wire, n, sizeof(wire), &type, &body, &total), 1);
    cr_expect_eq(type, PT_Y_REFUSED);
    pt_auto_free char *why = pt_get_str(&body, 400);
    cr_expect_str_eq(why, want_why);
    cr_expect_eq(hear(fd, wire, sizeof(wire)), 0);
}

static void expect_closed(int fd)
{
    char one;
    cr_expect_eq(hear(fd, &one, 1), 0);
}

/* Until so many frames went to hosts. */
static void until_frames(size_t n)
{
    for (int64_t end = pt_now_ms() + DEADLINE_MS; lab.nframes < lab.taken + n;) {
        cr_assert_lt(pt_now_ms(), end, "no host is told");
        cr_assert_eq(pt_loop_step(lab.run.loop, 50), 0);
    }
}

/* The one that is wanted is told: the number to answer with. */
static uint32_t expect_relay(uint32_t host, uint32_t from, uint8_t what)
{
    struct pt_relay m;
    until_frames(1);
    struct pt_reader r = lab_expect(host, PT_C_RELAY);
    cr_assert_eq(pt_relay_decode(&r, &m, NULL), 0);
    cr_expect(m.host == from && m.what == what && m.address == 0);
    uint32_t id = m.id;
    pt_relay_fini(&m);
    return id;
}

static void expect_passes(int a, int b)
{
    char text[8] = "";
    cr_assert_eq(write(a, "over", 4), 4);
    cr_assert_eq(hear(b, text, 4), 4);
    cr_expect_str_eq(text, "over");
}

Test(run_relays, an_orted_of_a_host_by_its_address)
{
    char *words[] = {(char *)"orted", (char *)"-x y"};
    struct pt_relay m;
    all_peers();
    int a = want(
        0, (struct pt_relay){
               .host = PT_NONE, .address = ADDRESS(2), .what = PT_RELAY_ORTED, .words = words, .nwords = 2});
    until_frames(1);
    struct pt_reader r = lab_expect(2, PT_C_RELAY);
    cr_assert_eq(pt_relay_decode(&r, &m, NULL), 0);
    cr_assert(m.nwords == 2 && m.host == 0);
    cr_expect_str_eq(m.words[1], "-x y");
    cr_expect_not(pt_run_relays_led(&lab.at[2]));
    int b = here(2, m.id);
    pt_relay_fini(&m);
    expect_passes(a, b);
    expect_passes(b, a);
    cr_expect(pt_run_relays_led(&lab.at[2]) && !pt_run_relays_led(&lab.at[0]));
    shutdown(a, SHUT_WR);
    shutdown(b, SHUT_WR);
    expect_closed(a);
    expect_closed(b);
    cr_expect(!pt_run_relays_led(&lab.at[2]) && lab.parted == 1);
    stop();
}

Test(run_relays, the_hub_of_a_host_by_its_number)
{
    all_peers();
    int a = want(2, (struct pt_relay){.host = 0, .what = PT_RELAY_HUB});
    uint32_t first = expect_relay(0, 2, PT_RELAY_HUB);
    int c = want(1, (struct pt_relay){.host = 0, .what = PT_RELAY_HUB});
    uint32_t second = expect_relay(0, 1, PT_RELAY_HUB);
    cr_expect_neq(first, second);
    int d = here(0, second);
    int b = here(0, first);
    expect_passes(a, b);
    expect_passes(d, c);
    cr_expect(pt_run_relays_led(&lab.at[2]) && pt_run_relays_led(&lab.at[1]) &&
              !pt_run_relays_led(&lab.at[0]));
    stop();
}

Test(run_relays, who_is_refused_hears_why)
{
    static const char nobody[] = "the two are no hosts that run tests together";
    struct pt_relay orted = {.host = PT_NONE, .address = 0x7f000001, .what = PT_RELAY_ORTED};
    all_peers();
    expect_refused(want(0, orted), nobody);
    expect_refused(want(0, (struct pt_relay){.host = 0, .what = PT_RELAY_HUB}), nobody);
    expect_refused(want(0, (struct pt_relay){.host = 77, .what = PT_RELAY_HUB}), nobody);
    lab.at[1].state = PT_HOST_ENDING;
    expect_refused(want(0, (struct pt_relay){.host = 1, .what = PT_RELAY_HUB}), "h2 is not up");
    lab_expect_none();
    stop();
}

Test(run_relays, only_peers_have_anything_for_each_other)
{
    nends = 0;
    lab_start();
    lab_all_up();
    expect_refused(want(0, (struct pt_relay){.host = 1, .what = PT_RELAY_HUB}),
                   "the two are no hosts that run tests together");
    lab_round();
    lab.coming = true;
    lab_lose(2);
    expect_refused(want(0, (struct pt_relay){.host = 2, .what = PT_RELAY_HUB}),
                   "the two are no hosts that run tests together");
    expect_refused(want(2, (struct pt_relay){.host = 0, .what = PT_RELAY_HUB}),
                   "the two are no hosts that run tests together");
    stop();
}

Test(run_relays, no_answer_in_time_or_never)
{
    all_peers();
    int a = want(0, (struct pt_relay){.host = 1, .what = PT_RELAY_HUB});
    uint32_t id = expect_relay(1, 0, PT_RELAY_HUB);
    lab_late();
    expect_refused(a, "h2 did not answer in 20 s");
    expect_closed(here(1, id));
    a = want(0, (struct pt_relay){.host = 1, .what = PT_RELAY_HUB});
    int b = want(1, (struct pt_relay){.host = 2, .what = PT_RELAY_HUB});
    expect_relay(1, 0, PT_RELAY_HUB);
    id = expect_relay(2, 1, PT_RELAY_HUB);
    lab.coming = true;
    lab_lose(1);
    expect_refused(a, "h2 was lost");
    expect_refused(b, "h2 was lost");
    expect_closed(here(2, id));
    stop();
}

Test(run_relays, an_answer_of_another_host_is_none)
{
    all_peers();
    int a = want(0, (struct pt_relay){.host = 1, .what = PT_RELAY_HUB});
    uint32_t id = expect_relay(1, 0, PT_RELAY_HUB);
    expect_closed(here(2, id));
    expect_closed(here(1, id + 1));
    expect_passes(here(1, id), a);
    stop();
}

Test(run_relays, what_makes_no_sense_is_closed)
{
    static const uint8_t types[] = {PT_Y_WANT, PT_Y_HERE, PT_Y_OUTPUT, 77};
    all_peers();
    for (size_t i = 0; i < 4; i++) {
        struct pt_buf b = {0};
        int fd = open_stream(0);
        size_t mark = pt_frame_begin(&b, types[i]);
        pt_put_u8(&b, 1);
        pt_frame_end(&b, mark);
        send_buf(fd, &b);
        expect_closed(fd);
    }
    lab_expect_none();
    cr_expect_eq(pt_relays_count(lab.run.across->relays), 0);
    stop();
}

Test(run_relays, streams_of_a_run_that_asked_nobody)
{
    nends = 0;
    lab_start();
    expect_closed(open_stream(0));
    stop();
}
