/* SPDX-License-Identifier: Apache-2.0 */
#include "listener.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct pt_listener {
    struct pt_loop *loop;
    int fd;
    uint64_t pause; /* timer while nobody can be taken */
    char address[128];
    void (*accepted)(void *arg, int fd);
    void *arg;
};

/* "ADDR:PORT" or "[V6]:PORT" apart; -1 when it is neither. */
static int split(const char *address, char host[96], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1] || strlen(colon + 1) > 5 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || atol(colon + 1) > 65535)
        return -1;
    size_t n = (size_t)(colon - address);
    if (address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (!n || n >= 96)
        return -1;
    memcpy(host, address, n);
    host[n] = '\0';
    snprintf(port, 8, "%s", colon + 1);
    return 0;
}

#define PAUSE_MS 100
#define BACKLOG  4096
#define AT_ONCE  64 /* guests that are taken before others have their turn */

static void on_accept(void *arg, int fd, short revents);

static void on_pause_over(void *arg)
{
    struct pt_listener *l = arg;
    l->pause = 0;
    pt_loop_watch(l->loop, l->fd, POLLIN, on_accept, l);
}

/* -1 when there is none, or none can be taken now. */
static int take_guest(struct pt_listener *l, int fd)
{
    int one = 1, peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0) { /* without descriptors the guest stays at the door: do not spin */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            l->pause = pt_loop_after(l->loop, PAUSE_MS, on_pause_over, l);
        if (l->pause)
            pt_loop_watch(l->loop, l->fd, 0, on_accept, l);
        return -1;
    }
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(peer, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    l->accepted(l->arg, peer);
    return 0;
}

static void on_accept(void *arg, int fd, short revents)
{
    (void)revents;
    for (int i = 0; i < AT_ONCE && take_guest(arg, fd) == 0; i++)
        ;
}

static int bind_first(struct addrinfo *list)
{
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        int one = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
            return fd;
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return -1;
}

static void name_socket(struct pt_listener *l, const char *host)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    unsigned port = 0;
    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) == 0)
        port = ss.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&ss)->sin6_port)
                                        : ntohs(((struct sockaddr_in *)&ss)->sin_port);
    snprintf(l->address, sizeof(l->address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

struct pt_listener *pt_listener_create(struct pt_loop *loop, const char *address,
                                       void (*accepted)(void *arg, int fd), void *arg, struct pt_err *err)
{
    char host[96], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *list = NULL;
    if (split(address, host, port) < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "--listen: want ADDR:PORT, got '%s'", address);
        return NULL;
    }
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "--listen %s: %s", address, gai_strerror(rc));
        return NULL;
    }
    struct pt_listener *l = calloc(1, sizeof(*l));
    if (l) {
        *l = (struct pt_listener){.loop = loop, .fd = bind_first(list), .accepted = accepted, .arg = arg};
        if (l->fd >= 0)
            name_socket(l, host);
    }
    freeaddrinfo(list);
    if (!l || l->fd < 0 || pt_loop_watch(loop, l->fd, POLLIN, on_accept, l) < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "--listen %s: %s", address, strerror(errno));
        pt_listener_destroy(l);
        return NULL;
    }
    return l;
}

void pt_listener_destroy(struct pt_listener *l)
{
    if (!l)
        return;
    pt_loop_cancel(l->loop, l->pause);
    if (l->fd >= 0) {
        pt_loop_unwatch(l->loop, l->fd);
        close(l->fd);
    }
    free(l);
}

const char *pt_listener_address(const struct pt_listener *l)
{
    return l->address;
}
