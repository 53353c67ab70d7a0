/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for a collector, the collector's end held here. */
#include "collect_ask.h"

#include "common/err.h"
#include "common/loop.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pt_loop *loop;
static struct pt_ask ask;

static void setup(void)
{
    struct pt_err err = PT_ERR_INIT;
    loop = pt_loop_create(&err);
    pt_ask_init(&ask, loop);
}

static void teardown(void)
{
    pt_ask_fini(&ask);
    pt_loop_destroy(loop);
}

TestSuite(collect_ask, .init = setup, .fini = teardown);

static int opened(void)
{
    struct pt_err err = PT_ERR_INIT;
    int fd = pt_ask_open(&ask, &err);
    cr_assert_geq(fd, 0, "%s", err.msg);
    return fd;
}

static void put(const char *line)
{
    cr_assert_eq(pt_ask_put(&ask, line, strlen(line)), 0);
}

static void want(int fd, const char *text)
{
    char got[256];
    ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
    got[n > 0 ? n : 0] = '\0';
    cr_assert_str_eq(got, text);
}

Test(collect_ask, a_collector_that_starts_anew_is_asked_again)
{
    put("early");
    int fd = opened();
    want(fd, "early\n");
    put("a");
    want(fd, "a\n");
    close(fd);
    put("b"); /* nobody is there: no signal, no loss */
    fd = opened();
    want(fd, "early\na\nb\n");
    pt_ask_forget(&ask);
    put("c");
    want(fd, "c\n");
    close(fd);
    fd = opened();
    want(fd, "c\n");
    close(fd);
}

Test(collect_ask, the_end_is_the_end_of_the_socket)
{
    char byte;
    int fd = opened();
    pt_ask_close(&ask);
    cr_assert_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

Test(collect_ask, one_who_does_not_listen_is_waited_for)
{
    size_t size = 4u << 20, got = 0;
    char *big = malloc(size), *room = malloc(size);
    int fd = opened();
    memset(big, 'x', size);
    cr_assert_eq(pt_ask_put(&ask, big, size), 0);
    while (got < size + 1) {
        ssize_t n = recv(fd, room, size, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        cr_assert_eq(pt_loop_step(loop, n > 0 ? 0 : 1000), 0);
    }
    cr_assert_eq(got, size + 1);
    cr_assert_not(ask.waiting);
    close(fd);
    free(big);
    free(room);
}

Test(collect_ask, one_who_goes_while_it_is_waited_for)
{
    size_t size = 4u << 20;
    char *big = calloc(1, size);
    int fd = opened();
    cr_assert_eq(pt_ask_put(&ask, big, size), 0);
    cr_assert(ask.waiting);
    close(fd);
    while (ask.waiting)
        cr_assert_eq(pt_loop_step(loop, 1000), 0);
    cr_assert_eq(ask.fd, -1);
    free(big);
}
