/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/sshdial.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/shortage.h"
#include "remote/sshconfig.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct pt_limit pt_limit_after(int ms, const atomic_int *cancel)
{
    return (struct pt_limit){.end_ms = pt_now_ms() + ms, .cancel = cancel};
}

int pt_limit_left(const struct pt_limit *limit)
{
    int64_t left = limit->end_ms - pt_now_ms();
    return left <= 0 ? 0 : left < PT_SLICE_MS ? (int)left : PT_SLICE_MS;
}

bool pt_limit_cancelled(const struct pt_limit *limit, struct pt_err *err)
{
    if (!limit->cancel || !*limit->cancel)
        return false;
    pt_err_set_kind(err, PT_ERR_INTERRUPTED, "given up on request");
    return true;
}

void pt_limit_sleep(const struct pt_limit *limit, int ms)
{
    for (int64_t end = pt_now_ms() + ms, left; (left = end - pt_now_ms()) > 0;) {
        if (limit->cancel && *limit->cancel)
            return;
        poll(NULL, 0, left < PT_SLICE_MS ? (int)left : PT_SLICE_MS);
    }
}

/* --- names: the resolver blocks as long as it likes, so it gets a thread that may be left behind --- */

struct resolve {
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    int refs, rc;
    bool done;
    char host[256], port[8];
    struct addrinfo hints, *found;
};

static void resolve_unref(struct resolve *r)
{
    pthread_mutex_lock(&r->lock);
    int refs = --r->refs;
    pthread_mutex_unlock(&r->lock);
    if (refs)
        return;
    if (r->found)
        freeaddrinfo(r->found);
    pthread_cond_destroy(&r->done_cond);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void *resolve_thread(void *arg)
{
    struct resolve *r = arg;
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(r->host, r->port, &r->hints, &found);
    pthread_mutex_lock(&r->lock);
    r->rc = rc;
    r->found = rc ? NULL : found;
    r->done = true;
    pthread_cond_signal(&r->done_cond);
    pthread_mutex_unlock(&r->lock);
    resolve_unref(r);
    return NULL;
}

static struct resolve *resolve_new(const char *host, int port, int family)
{
    struct resolve *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->refs = 1;
    r->hints = (struct addrinfo){.ai_family = family == PT_FAMILY_INET    ? AF_INET
                                              : family == PT_FAMILY_INET6 ? AF_INET6
                                                                          : AF_UNSPEC,
                                 .ai_socktype = SOCK_STREAM};
    snprintf(r->host, sizeof(r->host), "%s", host);
    snprintf(r->port, sizeof(r->port), "%d", port);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->done_cond, NULL);
    return r;
}

static struct timespec soon(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* 1 found, 0 no time left, -1 with err. */
static int resolve_wait(struct resolve *r, const struct pt_limit *limit, struct pt_err *err)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r->refs++;
    int rc = pthread_create(&thread, &attr, resolve_thread, r);
    pthread_attr_destroy(&attr);
    if (rc) {
        r->refs--;
        return pt_err_set_kind(err, PT_ERR_INFRA, "cannot start a thread: %s", strerror(rc));
    }
    pthread_mutex_lock(&r->lock);
    int left = 1;
    while (!r->done && (left = pt_limit_left(limit)) > 0 && !pt_limit_cancelled(limit, err)) {
        struct timespec t = soon(left);
        pthread_cond_clockwait(&r->done_cond, &r->lock, CLOCK_MONOTONIC, &t);
    }
    rc = r->done ? 1 : left > 0 ? -1 : 0;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int resolve_failed(const struct resolve *r, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_INFRA, "unknown host name '%s' (%s)", r->host, gai_strerror(r->rc));
    return pt_err_hint(err, "check the name, or give its HostName in the ssh configuration");
}

/* --- connecting --- */

static void tune(int fd)
{
    const int on = 1, idle = 5, count = 4, user_ms = 30000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof(user_ms));
}

void pt_dial_quickack(int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* A socket, or -1 with errno (ETIMEDOUT, ECANCELED among them). */
static int connect_one(const struct addrinfo *a, const struct pt_limit *limit)
{
    pt_auto_fd int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t n = sizeof(int);
        int left, ready = 0;
        if (errno != EINPROGRESS)
            return -1;
        while ((left = pt_limit_left(limit)) > 0 && !pt_limit_cancelled(limit, NULL) && ready <= 0)
            ready = poll(&p, 1, left);
        if (ready <= 0) {
            errno = left > 0 ? ECANCELED : ETIMEDOUT;
            return -1;
        }
        int failed = 0;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n) < 0 || failed) {
            errno = failed ? failed : errno;
            return -1;
        }
    }
    tune(fd);
    return pt_steal_fd(&fd);
}

static int dial_failed(const char *host, int port, int why, struct pt_err *err)
{
    if (why == ECANCELED)
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "given up on request");
    pt_err_set_kind(err, PT_ERR_INFRA, "connect to %s port %d: %s", host, port,
                    why == ETIMEDOUT      ? "timed out"
                    : why == ECONNREFUSED ? "connection refused"
                                          : strerror(why));
    if (why == EMFILE || why == ENFILE || why == ENOMEM)
        return pt_shortage_hint(err);
    if (why == ECONNREFUSED)
        return pt_err_hint(err, "see that sshd runs there, and on that port (Port in the ssh configuration)");
    return pt_err_hint(err, "see that the host is up and can be reached: ping %s", host);
}

int pt_dial(const char *host, int port, int family, const struct pt_limit *limit, struct pt_err *err)
{
    struct resolve *r = resolve_new(host, port, family);
    if (!r)
        return pt_err_set(err, "no memory for a connection");
    int fd = -1, why = EHOSTUNREACH, got = resolve_wait(r, limit, err);
    if (got == 0) {
        pt_err_set_kind(err, PT_ERR_INFRA, "looking up '%s': timed out", host);
        pt_err_hint(err, "see that the name server answers: getent hosts %s", host);
    } else if (got == 1 && r->rc) {
        resolve_failed(r, err);
    } else if (got == 1) {
        int left = 0;
        for (const struct addrinfo *a = r->found; a; a = a->ai_next)
            left++;
        for (const struct addrinfo *a = r->found; a && fd < 0 && why != ECANCELED; a = a->ai_next, left--) {
            int64_t now = pt_now_ms();
            struct pt_limit part = {.end_ms = now + (limit->end_ms - now) / left, .cancel = limit->cancel};
            fd = connect_one(a, &part);
            why = fd < 0 ? errno : 0;
        }
        if (fd < 0)
            dial_failed(host, port, why, err);
    }
    resolve_unref(r);
    return fd;
}

/* --- the gate --- */

struct pt_gate {
    struct pt_gate *next;
    unsigned inside, waiting;
    char name[];
};

static pthread_mutex_t gates_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gates_cond = PTHREAD_COND_INITIALIZER;
static struct pt_gate *gates;

static struct pt_gate *find_gate(const char *name)
{
    for (struct pt_gate *g = gates; g; g = g->next)
        if (!strcmp(g->name, name))
            return g;
    struct pt_gate *g = calloc(1, sizeof(*g) + strlen(name) + 1);
    if (g) {
        strcpy(g->name, name);
        g->next = gates;
        gates = g;
    }
    return g;
}

static void drop_gate(struct pt_gate *gate)
{
    if (gate->inside || gate->waiting)
        return;
    for (struct pt_gate **g = &gates; *g; g = &(*g)->next)
        if (*g == gate) {
            *g = gate->next;
            free(gate);
            return;
        }
}

struct pt_gate *pt_gate_enter(const char *name, const struct pt_limit *limit, struct pt_err *err)
{
    pthread_mutex_lock(&gates_lock);
    struct pt_gate *g = find_gate(name);
    if (!g) {
        pt_err_set(err, "no memory for a connection");
    } else {
        g->waiting++;
        while (g->inside >= PT_GATE_WIDTH && !pt_limit_cancelled(limit, NULL)) {
            struct timespec t = soon(PT_SLICE_MS);
            pthread_cond_clockwait(&gates_cond, &gates_lock, CLOCK_MONOTONIC, &t);
        }
        g->waiting--;
        if (g->inside < PT_GATE_WIDTH) {
            g->inside++;
        } else {
            drop_gate(g);
            g = NULL;
            pt_limit_cancelled(limit, err);
        }
    }
    pthread_mutex_unlock(&gates_lock);
    return g;
}

void pt_gate_leave(struct pt_gate *gate)
{
    if (!gate)
        return;
    pthread_mutex_lock(&gates_lock);
    gate->inside--;
    pthread_cond_broadcast(&gates_cond);
    drop_gate(gate);
    pthread_mutex_unlock(&gates_lock);
}
