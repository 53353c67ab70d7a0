/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that are passed on, over socket pairs: what their far ends say and hear. */
#include "relay.h"

#include "common/err.h"
#include "common/loop.h"
#include "common/message_across.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_MS 60000
#define ENDS        4

static struct {
    struct pt_loop *loop;
    struct pt_relays *relays;
    int fd[ENDS]; /* the far ends */
    struct pt_relayed *told[ENDS];
    uint32_t from[ENDS];
    uint8_t type[ENDS];
    size_t body[ENDS]; /* bytes of it */
    uint32_t ntold;
    uint32_t closed, tag;
    bool bad;  /* the next frame makes no sense */
    bool join; /* the second that is told with the first, at once */
} l;

static int on_first(void *arg, struct pt_relayed *stream, uint8_t type, struct pt_reader *body)
{
    (void)arg;
    cr_assert_lt(l.ntold, ENDS);
    if (l.bad)
        return -1;
    l.told[l.ntold] = stream;
    l.from[l.ntold] = pt_relayed_from(stream);
    l.type[l.ntold] = type;
    l.body[l.ntold++] = body->left;
    if (l.join && l.ntold == 2)
        pt_relayed_join(l.told[0], stream, 5);
    return 0;
}

static void on_closed(void *arg, uint32_t tag)
{
    (void)arg;
    l.closed++;
    l.tag = tag;
}

static void start(uint32_t ends)
{
    static const struct pt_relays_callbacks callbacks = {.first = on_first, .closed = on_closed};
    struct pt_err err = PT_ERR_INIT;
    memset(&l, 0, sizeof(l));
    l.loop = pt_loop_create(NULL);
    l.relays = pt_relays_create(l.loop, &callbacks, NULL, &err);
    cr_assert_not_null(l.relays, "%s", err.msg);
    for (uint32_t i = 0; i < ENDS; i++)
        l.fd[i] = -1;
    for (uint32_t i = 0; i < ends; i++) {
        int sv[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
        l.fd[i] = sv[0];
        cr_assert_eq(pt_relays_add(l.relays, sv[1], 100 + i, &err), 0, "%s", err.msg);
    }
}

static void stop(void)
{
    pt_relays_destroy(l.relays);
    pt_loop_destroy(l.loop);
    for (uint32_t i = 0; i < ENDS; i++)
        if (l.fd[i] >= 0)
            close(l.fd[i]);
}

static void hang_up(uint32_t end)
{
    close(l.fd[end]);
    l.fd[end] = -1;
}

static void turn(int64_t end)
{
    cr_assert_eq(pt_loop_step(l.loop, 50), 0);
    cr_assert_lt(pt_now_ms(), end, "waited too long");
}

static void until_told(uint32_t n)
{
    for (int64_t end = pt_now_ms() + DEADLINE_MS; l.ntold < n;)
        turn(end);
}

static void until_open(size_t n)
{
    for (int64_t end = pt_now_ms() + DEADLINE_MS; pt_relays_count(l.relays) != n;)
        turn(end);
}

static void say(uint32_t end, const void *data, size_t n)
{
    cr_assert_eq(send(l.fd[end], data, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* A frame with n bytes in it, and what comes right behind it. */
static void say_frame(uint32_t end, uint8_t type, size_t n, const char *behind)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    for (size_t i = 0; i < n; i++)
        pt_put_u8(&b, (uint8_t)i);
    pt_frame_end(&b, mark);
    pt_buf_append(&b, behind, strlen(behind));
    say(end, b.data, b.len);
    pt_buf_fini(&b);
}

/* Read until so many bytes are there, or the end, while the loop turns: how many. */
static size_t hear(uint32_t end, void *data, size_t n)
{
    size_t got = 0;
    for (int64_t late = pt_now_ms() + DEADLINE_MS; got < n;) {
        ssize_t now = recv(l.fd[end], (char *)data + got, n - got, MSG_DONTWAIT);
        if (now == 0)
            return got;
        cr_assert(now > 0 || errno == EAGAIN, "%s", strerror(errno));
        if (now > 0)
            got += (size_t)now;
        else
            turn(late);
    }
    return got;
}

static void expect_heard(uint32_t end, const char *want)
{
    char text[64] = "";
    cr_assert_lt(strlen(want), sizeof(text));
    hear(end, text, strlen(want));
    cr_expect_str_eq(text, want);
}

static void expect_end(uint32_t end)
{
    char one;
    cr_expect_eq(hear(end, &one, 1), 0, "more came");
}

static void join_two(const char *a, const char *b)
{
    start(2);
    say_frame(0, PT_Y_WANT, 3, a);
    until_told(1);
    say_frame(1, PT_Y_HERE, 4, b);
    until_told(2);
    pt_relayed_join(l.told[0], l.told[1], 5);
}

Test(relay, the_first_frame_is_told_once_it_is_whole)
{
    start(1);
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_Y_WANT);
    pt_put_u64(&b, 7);
    pt_frame_end(&b, mark);
    for (size_t i = 0; i < b.len; i++) {
        cr_expect_eq(l.ntold, 0, "after %zu bytes", i);
        say(0, b.data + i, 1);
        cr_assert_eq(pt_loop_step(l.loop, 1000), 0);
    }
    until_told(1);
    cr_expect(l.from[0] == 100 && l.type[0] == PT_Y_WANT && l.body[0] == 8);
    pt_buf_fini(&b);
    stop();
}

Test(relay, what_is_joined_passes_both_ways_with_what_came_behind_the_first_frames)
{
    join_two("from a ", "from b ");
    say(0, "more", 4);
    say(1, "and more", 8);
    expect_heard(1, "from a more");
    expect_heard(0, "from b and more");
    cr_expect_eq(pt_relays_count(l.relays), 2);
    stop();
}

Test(relay, they_may_be_joined_while_the_second_is_told)
{
    start(2);
    l.join = true;
    say_frame(0, PT_Y_WANT, 1000, "one");
    until_told(1);
    say_frame(1, PT_Y_HERE, 4, "two");
    expect_heard(1, "one");
    expect_heard(0, "two");
    stop();
}

Test(relay, an_end_is_passed_on_and_the_other_way_goes_on)
{
    join_two("", "");
    say(0, "last", 4);
    shutdown(l.fd[0], SHUT_WR);
    expect_heard(1, "last");
    expect_end(1);
    say(1, "answer", 6);
    expect_heard(0, "answer");
    cr_expect_eq(pt_relays_count(l.relays), 2);
    shutdown(l.fd[1], SHUT_WR);
    expect_end(0);
    until_open(0);
    stop();
}

/* It ended before the other one came: that one hears all it said, and the end. */
Test(relay, an_end_before_they_were_joined)
{
    start(2);
    say_frame(0, PT_Y_WANT, 3, "words");
    shutdown(l.fd[0], SHUT_WR);
    until_told(1);
    say_frame(1, PT_Y_HERE, 4, "");
    until_told(2);
    pt_relayed_join(l.told[0], l.told[1], 5);
    expect_heard(1, "words");
    expect_end(1);
    stop();
}

Test(relay, one_that_is_gone_ends_both)
{
    for (uint32_t who = 0; who < 2; who++) {
        join_two("", "");
        hang_up(who);
        say(1 - who, "to nobody", 9);
        until_open(0);
        cr_expect(l.closed == 1 && l.tag == 5);
        expect_end(1 - who);
        stop();
    }
}

/* With one that reads nothing, the other's socket fills up, and no more is kept here than the bound. */
Test(relay, a_slow_reader_stops_the_other)
{
    static char chunk[64u << 10];
    size_t sent = 0;
    join_two("", "");
    for (size_t i = 0; i < sizeof(chunk); i++)
        chunk[i] = (char)(i * 31 >> 3);
    for (int idle = 0; idle < 50;) {
        ssize_t n = send(l.fd[0], chunk + sent % sizeof(chunk), sizeof(chunk) - sent % sizeof(chunk),
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        cr_assert_eq(pt_loop_step(l.loop, 0), 0);
        cr_assert_lt(sent, 64u << 20, "nothing holds it up");
    }
    cr_expect_gt(sent, PT_RELAY_BUFFER);
    shutdown(l.fd[0], SHUT_WR);
    for (size_t got = 0; got < sent;) {
        char piece[4096];
        size_t n = hear(1, piece, sent - got < sizeof(piece) ? sent - got : sizeof(piece));
        cr_assert_gt(n, 0, "%zu of %zu bytes came", got, sent);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(piece[i], chunk[(got + i) % sizeof(chunk)], "byte %zu", got + i);
        got += n;
    }
    expect_end(1);
    stop();
}

Test(relay, who_is_refused_hears_why)
{
    start(1);
    say_frame(0, PT_Y_WANT, 3, "and what it would have said to the other");
    until_told(1);
    pt_relayed_refuse(l.told[0], "h2 is not up");
    cr_expect_eq(pt_relays_count(l.relays), 0);
    unsigned char wire[64];
    struct pt_reader body;
    uint8_t type;
    size_t total;
    size_t n = recv(l.fd[0], wire, sizeof(wire), 0);
    cr_assert_eq(pt_frame_next(wire, n, sizeof(wire), &type, &body, &total), 1);
    cr_expect(type == PT_Y_REFUSED && total == n);
    char *why = pt_get_str(&body, 100);
    cr_expect(pt_get_end(&body));
    cr_expect_str_eq(why, "h2 is not up");
    free(why);
    stop();
}

Test(relay, refusing_one_that_is_gone_does_no_harm)
{
    start(1);
    say_frame(0, PT_Y_WANT, 3, "");
    until_told(1);
    hang_up(0);
    pt_relayed_refuse(l.told[0], "too late");
    cr_expect_eq(pt_relays_count(l.relays), 0);
    stop();
}

Test(relay, what_makes_no_sense_is_closed)
{
    static const unsigned char odd[][5] = {{0, 0, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff, 1}, {0, 0x20, 0, 0, 1}};
    for (size_t i = 0; i < 3; i++) {
        start(1);
        say(0, odd[i], 5);
        expect_end(0);
        cr_expect(pt_relays_count(l.relays) == 0 && l.ntold == 0);
        stop();
    }
    start(2);
    l.bad = true;
    say_frame(0, PT_Y_WANT, 3, "");
    until_open(1);
    say(1, "\0\0", 2); /* it ends within its first frame */
    hang_up(1);
    until_open(0);
    stop();
}

Test(relay, destroy_closes_whatever_state_they_are_in)
{
    start(4);
    say_frame(0, PT_Y_WANT, 3, "x");
    say_frame(1, PT_Y_HERE, 3, "y");
    say_frame(2, PT_Y_HERE, 3, "z");
    until_told(3);
    pt_relayed_join(l.told[0], l.told[1], 5);
    cr_expect_eq(pt_relays_count(l.relays), 4);
    pt_relays_destroy(l.relays);
    l.relays = NULL;
    cr_expect_eq(l.closed, 0);
    for (uint32_t i = 0; i < 4; i++) {
        char rest[8];
        while (recv(l.fd[i], rest, sizeof(rest), MSG_DONTWAIT) > 0)
            ;
        cr_expect(recv(l.fd[i], rest, sizeof(rest), MSG_DONTWAIT) == 0 || errno != EAGAIN, "end %u", i);
    }
    stop();
}
