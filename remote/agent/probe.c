/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/probe.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define PROBE_MS 3000
#define OPEN_MAX 256u /* connections at a time */

/* One address of one host. */
struct
try {
    struct pt_probes *probes;
    uint32_t host, address;
    uint16_t port;
    unsigned char token[PT_TOKEN], heard[PT_TOKEN];
    size_t n; /* of heard */
    int fd;   /* or -1: not yet, or no more */
    bool sent;
};

struct pt_probes {
    struct pt_loop *loop;
    pt_probed_fn *done;
    void *arg;
    uint64_t timer;
    struct try *tries;
    size_t n, begun, open;
    struct pt_reached reached; /* room for all of tries */
};

static void on_try(void *arg, int fd, short revents);

static void end_try(struct try *t)
{
    pt_loop_unwatch(t->probes->loop, t->fd);
    close(t->fd);
    t->fd = -1;
    t->probes->open--;
}

/* -1 when it cannot even begin: that address is not reached. */
static int begin_try(struct try *t)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(t->port)};
    addr.sin_addr.s_addr = htonl(t->address);
    pt_auto_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS) ||
        pt_loop_watch(t->probes->loop, fd, POLLOUT, on_try, t) < 0)
        return -1;
    t->fd = pt_steal_fd(&fd);
    t->probes->open++;
    return 0;
}

static void begin_tries(struct pt_probes *p)
{
    while (p->begun < p->n && p->open < OPEN_MAX)
        begin_try(&p->tries[p->begun++]);
}

static bool is_answer(const struct try *t)
{
    for (size_t i = 0; i < PT_TOKEN; i++)
        if (t->heard[i] != t->token[PT_TOKEN - 1 - i])
            return false;
    return true;
}

/* True while it goes on. */
static bool step(struct try *t)
{
    if (!t->sent) {
        t->sent = send(t->fd, t->token, PT_TOKEN, MSG_NOSIGNAL | MSG_DONTWAIT) == PT_TOKEN;
        return t->sent && pt_loop_watch(t->probes->loop, t->fd, POLLIN, on_try, t) == 0;
    }
    ssize_t n = recv(t->fd, t->heard + t->n, PT_TOKEN - t->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    t->n += n > 0 ? (size_t)n : 0;
    if (n > 0 && t->n < PT_TOKEN)
        return true;
    if (n > 0 && is_answer(t)) {
        struct pt_reached *r = &t->probes->reached;
        r->hosts[r->n++] = (struct pt_reached_host){.host = t->host, .address = t->address};
    }
    return false;
}

static void on_try(void *arg, int fd, short revents)
{
    struct try *t = arg;
    struct pt_probes *p = t->probes;
    (void)fd;
    (void)revents;
    if (step(t))
        return;
    end_try(t);
    begin_tries(p);
    if (p->open == 0)
        pt_probes_finish(p);
}

static void on_time(void *arg)
{
    struct pt_probes *p = arg;
    p->timer = 0;
    pt_probes_finish(p);
}

void pt_probes_finish(struct pt_probes *p)
{
    p->done(p->arg, &p->reached);
}

static void list_tries(struct pt_probes *p, const struct pt_probe *probe)
{
    for (uint32_t i = 0; i < probe->n; i++)
        for (uint32_t k = 0; k < probe->hosts[i].n; k++) {
            const struct pt_probe_host *host = &probe->hosts[i];
            struct try *t = &p->tries[p->n++];
            *t = (struct try){.probes = p, .host = host->host, .address = host->addresses[k], .fd = -1};
            t->port = (uint16_t)host->port;
            memcpy(t->token, host->token, PT_TOKEN);
        }
}

struct pt_probes *pt_probes_start(struct pt_loop *loop, const struct pt_probe *probe, pt_probed_fn *done,
                                  void *arg, struct pt_err *err)
{
    struct pt_probes *p = calloc(1, sizeof(*p));
    size_t n = 1;
    for (uint32_t i = 0; i < probe->n; i++)
        n += probe->hosts[i].n;
    if (!p || !(p->tries = calloc(n, sizeof(*p->tries))) ||
        !(p->reached.hosts = calloc(n, sizeof(*p->reached.hosts)))) {
        pt_probes_destroy(p);
        pt_err_set(err, "out of memory");
        return NULL;
    }
    p->loop = loop;
    p->done = done;
    p->arg = arg;
    list_tries(p, probe);
    begin_tries(p);
    p->timer = pt_loop_after(loop, p->open ? PROBE_MS : 0, on_time, p);
    return p;
}

void pt_probes_destroy(struct pt_probes *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->begun; i++)
        if (p->tries[i].fd >= 0)
            end_try(&p->tries[i]);
    if (p->loop)
        pt_loop_cancel(p->loop, p->timer);
    free(p->tries);
    pt_reached_fini(&p->reached);
    free(p);
}
