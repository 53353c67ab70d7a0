/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "listener.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define DEADLINE_MS 60000

struct guests {
    int fd[64];
    size_t n;
};

static void on_accepted(void *arg, int fd)
{
    struct guests *g = arg;
    cr_assert_lt(g->n, PT_COUNT(g->fd));
    g->fd[g->n++] = fd;
}

static void wait_for(struct pt_loop *loop, const struct guests *g, size_t n)
{
    int64_t end = pt_now_ms() + DEADLINE_MS;
    while (g->n < n && pt_now_ms() < end)
        cr_assert_eq(pt_loop_step(loop, 100), 0);
    cr_assert_eq(g->n, n, "%zu of %zu came", g->n, n);
}

static void guests_fini(struct guests *g)
{
    for (size_t i = 0; i < g->n; i++)
        close(g->fd[i]);
}

/* The way a worker takes the address: the last colon parts the port. */
static int connect_to(const char *address)
{
    char host[128];
    const char *colon = strrchr(address, ':');
    cr_assert_not_null(colon);
    unsigned port = (unsigned)atoi(colon + 1);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    bool v6 = host[0] == '[';
    if (v6) {
        host[strlen(host) - 1] = '\0';
        cr_assert_eq(inet_pton(AF_INET6, host + 1, &six.sin6_addr), 1);
    } else {
        cr_assert_eq(inet_pton(AF_INET, host, &four.sin_addr), 1);
    }
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = v6 ? connect(fd, (struct sockaddr *)&six, sizeof(six))
                : connect(fd, (struct sockaddr *)&four, sizeof(four));
    if (rc == 0)
        return fd;
    close(fd);
    return -1;
}

static struct pt_listener *listen_on(struct pt_loop *loop, const char *address, struct guests *g)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_listener *l = pt_listener_create(loop, address, on_accepted, g, &err);
    cr_assert_not_null(l, "%s", err.msg);
    return l;
}

static void comes_and_talks(const char *address, const char *prefix)
{
    struct guests g = {.n = 0};
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, address, &g);
    const char *real = pt_listener_address(l);
    cr_expect(strncmp(real, prefix, strlen(prefix)) == 0 && atoi(real + strlen(prefix)) > 0, "%s", real);
    pt_auto_fd int here = connect_to(real);
    cr_assert_geq(here, 0);
    wait_for(loop, &g, 1);
    char c = 'x';
    cr_expect_eq(read(g.fd[0], &c, 1), -1, "a guest's descriptor does not block");
    cr_expect(errno == EAGAIN && fcntl(g.fd[0], F_GETFD) == FD_CLOEXEC);
    cr_expect_eq(write(g.fd[0], "y", 1), 1);
    cr_expect(read(here, &c, 1) == 1 && c == 'y');
    pt_listener_destroy(l);
    guests_fini(&g);
    pt_loop_destroy(loop);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    pt_auto_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0;
}

Test(listener, takes_guests_over_ipv4)
{
    comes_and_talks("127.0.0.1:0", "127.0.0.1:");
}

Test(listener, takes_guests_over_ipv6)
{
    if (!has_ipv6())
        cr_skip_test("no IPv6 here");
    comes_and_talks("[::1]:0", "[::1]:");
}

Test(listener, a_name_is_an_address_too)
{
    struct guests g = {.n = 0};
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, "localhost:0", &g);
    cr_expect_eq(strncmp(pt_listener_address(l), "localhost:", 10), 0);
    cr_expect_gt(atoi(pt_listener_address(l) + 10), 0);
    pt_listener_destroy(l);
    pt_loop_destroy(loop);
}

Test(listener, many_come_at_once)
{
    struct guests g = {.n = 0};
    int here[40];
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, "127.0.0.1:0", &g);
    for (size_t i = 0; i < PT_COUNT(here); i++)
        cr_assert_geq(here[i] = connect_to(pt_listener_address(l)), 0);
    wait_for(loop, &g, PT_COUNT(here));
    for (size_t i = 0; i < PT_COUNT(here); i++)
        close(here[i]);
    pt_listener_destroy(l);
    guests_fini(&g);
    pt_loop_destroy(loop);
}

Test(listener, after_destroy_nobody_can_come)
{
    char address[128];
    struct guests g = {.n = 0};
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, "127.0.0.1:0", &g);
    snprintf(address, sizeof(address), "%s", pt_listener_address(l));
    pt_listener_destroy(l);
    cr_expect_lt(connect_to(address), 0);
    cr_expect_eq(pt_loop_step(loop, 0), 0);
    cr_expect_eq(g.n, 0);
    pt_listener_destroy(NULL);
    pt_loop_destroy(loop);
}

/* A guest that gave up before it was taken does not stop the ones behind it. */
Test(listener, a_guest_that_left_is_no_trouble)
{
    struct guests g = {.n = 0};
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, "127.0.0.1:0", &g);
    struct linger now = {.l_onoff = 1};
    int gone = connect_to(pt_listener_address(l));
    setsockopt(gone, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* a reset */
    close(gone);
    pt_auto_fd int here = connect_to(pt_listener_address(l));
    int64_t end = pt_now_ms() + DEADLINE_MS;
    char c = 0;
    cr_assert_eq(write(here, "z", 1), 1);
    while (c != 'z' && pt_now_ms() < end) {
        pt_loop_step(loop, 100);
        if (g.n && read(g.fd[g.n - 1], &c, 1) < 0)
            c = 0;
    }
    cr_expect_eq(c, 'z');
    pt_listener_destroy(l);
    guests_fini(&g);
    pt_loop_destroy(loop);
}

/* Without descriptors a guest waits at the door, and the loop does not spin meanwhile. */
Test(listener, takes_guests_again_when_there_are_descriptors)
{
    struct guests g = {.n = 0};
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, "127.0.0.1:0", &g);
    pt_auto_fd int here = connect_to(pt_listener_address(l));
    cr_assert_geq(here, 0);
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int64_t end = pt_now_ms() + 350;
    int steps = 0;
    for (; pt_now_ms() < end; steps++)
        pt_loop_step(loop, 50);
    setrlimit(RLIMIT_NOFILE, &before);
    cr_expect_eq(g.n, 0);
    cr_expect_lt(steps, 100, "%d turns", steps);
    wait_for(loop, &g, 1);
    pt_listener_destroy(l);
    guests_fini(&g);
    pt_loop_destroy(loop);
}

Test(listener, bad_addresses_are_usage_errors)
{
    static const char *const bad[] = {"",
                                      ":",
                                      "127.0.0.1",
                                      ":7000",
                                      "127.0.0.1:",
                                      "127.0.0.1:x",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:+1",
                                      "127.0.0.1: 1",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:99999",
                                      "127.0.0.1:123456",
                                      "[]:7000",
                                      "[::1]",
                                      "[::1:7000",
                                      "256.0.0.1:0",
                                      "no such name:0",
                                      "203.0.113.7:0"}; /* of no interface here */
    struct pt_loop *loop = pt_loop_create(NULL);
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        struct pt_err err = PT_ERR_INIT;
        cr_expect_null(pt_listener_create(loop, bad[i], on_accepted, NULL, &err), "'%s'", bad[i]);
        cr_expect(err.kind == PT_ERR_USAGE && strncmp(err.msg, "--listen", 8) == 0 && strlen(err.msg) > 12,
                  "'%s': %s", bad[i], err.msg);
    }
    char lengthy[300];
    memset(lengthy, 'a', sizeof(lengthy));
    snprintf(lengthy + 290, 10, ":1");
    struct pt_err err = PT_ERR_INIT;
    cr_expect_null(pt_listener_create(loop, lengthy, on_accepted, NULL, &err));
    pt_loop_destroy(loop);
}

Test(listener, a_port_that_is_taken_is_told)
{
    struct pt_err err = PT_ERR_INIT;
    struct guests g = {.n = 0};
    struct pt_loop *loop = pt_loop_create(NULL);
    struct pt_listener *l = listen_on(loop, "127.0.0.1:0", &g);
    cr_expect_null(pt_listener_create(loop, pt_listener_address(l), on_accepted, &g, &err));
    cr_expect_not_null(strstr(err.msg, strerror(EADDRINUSE)), "%s", err.msg);
    pt_listener_destroy(l);
    pt_loop_destroy(loop);
}
