/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/reach.h"

#include "common/auto.h"
#include "remote/agent/addresses.h"
#include "remote/agent/child.h"
#include "remote/agent/kit.h"
#include "remote/agent/launch.h"
#include "remote/agent/mpirun.h"
#include "remote/agent/probe.h"
#include "remote/agent/state.h"

#include <ctype.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define LISTEN_MS   60000
#define VERSION_MS  20000 /* for mpirun --version */
#define CALLERS_MAX 64    /* that have not said all: the oldest gives way */

struct caller {
    struct pt_reach *reach;
    int fd; /* or -1 */
    unsigned char said[PT_TOKEN];
    size_t n;
};

struct pt_reach {
    struct pt_agent *agent;
    int listener; /* or -1 */
    uint32_t port;
    unsigned char token[PT_TOKEN];
    uint64_t listens; /* timer: the end of that */
    struct caller callers[CALLERS_MAX];
    size_t next;
    struct pt_child mpirun; /* while it is asked for its version */
    uint64_t patience;
    char *version;            /* NULL: not known yet */
    uint32_t asked;           /* LISTENs that wait for it */
    struct pt_probes *probes; /* NULL: none under way */
};

/* --- those who probe us --- */

static void drop_caller(struct caller *c)
{
    if (c->fd < 0)
        return;
    pt_loop_unwatch(c->reach->agent->loop, c->fd);
    close(c->fd);
    c->fd = -1;
}

/* The answer of 16 bytes fits into any socket that is new. */
static void answer(struct caller *c)
{
    unsigned char back[PT_TOKEN];
    for (size_t i = 0; i < PT_TOKEN; i++)
        back[i] = c->said[PT_TOKEN - 1 - i];
    if (memcmp(c->said, c->reach->token, PT_TOKEN) == 0 &&
        send(c->fd, back, PT_TOKEN, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        pt_warn("probe: %s", strerror(errno));
    drop_caller(c);
}

static void on_caller(void *arg, int fd, short revents)
{
    struct caller *c = arg;
    (void)revents;
    ssize_t n = recv(fd, c->said + c->n, PT_TOKEN - c->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->n += n > 0 ? (size_t)n : 0;
    if (n <= 0)
        drop_caller(c);
    else if (c->n == PT_TOKEN)
        answer(c);
}

static void on_call(void *arg, int fd, short revents)
{
    struct pt_reach *r = arg;
    (void)revents;
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0)
        return;
    struct caller *c = &r->callers[r->next++ % CALLERS_MAX];
    drop_caller(c);
    *c = (struct caller){.reach = r, .fd = peer};
    if (pt_loop_watch(r->agent->loop, peer, POLLIN, on_caller, c) < 0)
        drop_caller(c);
}

static void close_listener(struct pt_reach *r)
{
    for (size_t i = 0; i < CALLERS_MAX; i++)
        drop_caller(&r->callers[i]);
    pt_loop_cancel(r->agent->loop, r->listens);
    r->listens = 0;
    if (r->listener < 0)
        return;
    pt_loop_unwatch(r->agent->loop, r->listener);
    close(r->listener);
    r->listener = -1;
}

static void on_listened(void *arg)
{
    struct pt_reach *r = arg;
    r->listens = 0;
    close_listener(r);
}

static int open_listener(struct pt_reach *r, struct pt_err *err)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t n = sizeof(addr);
    pt_auto_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || getrandom(r->token, PT_TOKEN, 0) != PT_TOKEN || bind(fd, (struct sockaddr *)&addr, n) < 0 ||
        listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *)&addr, &n) < 0 ||
        pt_loop_watch(r->agent->loop, fd, POLLIN, on_call, r) < 0)
        return pt_err_set(err, "cannot listen for other hosts: %s", strerror(errno));
    r->port = ntohs(addr.sin_port);
    r->listener = pt_steal_fd(&fd);
    return 0;
}

/* --- LISTENING --- */

/* Without a launch, an mpirun or a network there are no addresses, so nobody will ask. */
static void say_listening(struct pt_reach *r)
{
    struct pt_agent *a = r->agent;
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    struct pt_address addresses[PT_ADDRESSES_MAX];
    const struct pt_launch *launch = pt_launcher_running(a->launcher);
    pt_auto_free char *program = pt_mpirun_find(&a->env, a->setup.mpirun, &err);
    pt_auto_free char *worker = program ? pt_kit_worker(a->kit, program, &err) : NULL;
    if (r->listener < 0 && launch && worker)
        open_listener(r, &err);
    if (err.msg[0])
        pt_warn("%s", err.msg);
    struct pt_listening m = {.mpi = r->version,
                             .run_dir = a->dir->path,
                             .worker = worker ? worker : (char *)"",
                             .launch = launch ? launch->launch : 0,
                             .port = r->listener < 0 ? 0 : r->port,
                             .addresses = addresses};
    memcpy(m.token, r->token, PT_TOKEN);
    if (r->listener >= 0 && launch && worker && r->version[0])
        m.n = pt_addresses_get(addresses);
    pt_loop_cancel(a->loop, r->listens);
    r->listens = pt_loop_after(a->loop, LISTEN_MS, on_listened, r);
    pt_listening_encode(&m, &b);
    pt_agent_send(a, &b);
}

/* "mpirun (Open MPI) 4.1.4": the last word of the first line, if it is a version. Heap; "" when there is
 * none.
 */
static char *find_version(const struct pt_buf *output)
{
    const char *text = output->len ? (const char *)output->data : "", *end = memchr(text, '\n', output->len);
    size_t n = end ? (size_t)(end - text) : output->len, from = n;
    if (!memmem(text, n, "Open MPI", 8) && !memmem(text, n, "OpenRTE", 7))
        return strdup("");
    while (from > 0 && text[from - 1] != ' ')
        from--;
    return strndup(text + from, isdigit((unsigned char)text[from]) && n - from < 32 ? n - from : 0);
}

static void say_version(struct pt_reach *r, char *version)
{
    r->version = version;
    for (; r->asked > 0 && r->version; r->asked--)
        say_listening(r);
    if (r->version && !r->version[0])
        free(pt_steal_ptr(&r->version)); /* the next may have more luck */
}

static void on_patience(void *arg)
{
    struct pt_reach *r = arg;
    r->patience = 0;
    if (r->mpirun.pid > 0)
        kill(r->mpirun.pid, SIGKILL);
}

bool pt_reach_reaped(struct pt_reach *r, pid_t pid, int status)
{
    (void)status;
    if (!r || r->mpirun.pid != pid)
        return false;
    r->mpirun.pid = 0;
    pt_child_drain(&r->mpirun);
    pt_loop_cancel(r->agent->loop, r->patience);
    r->patience = 0;
    say_version(r, find_version(&r->mpirun.tail));
    pt_child_fini(&r->mpirun);
    return true;
}

static int ask_version(struct pt_reach *r, struct pt_err *err)
{
    struct pt_agent *a = r->agent;
    struct pt_environ env = {0};
    pt_auto_free char *program = pt_mpirun_find(&a->env, a->setup.mpirun, err);
    if (!program)
        return -1;
    char *argv[] = {program, (char *)"--version", NULL};
    pt_environ_add(&env, a->env.v);
    pt_mpirun_environ(program, a->dir->path, &env);
    struct pt_child_spec spec = {
        .path = program, .argv = argv, .env = env.v, .cwd = a->dir->path, .in = -1, .out = -1};
    spec.death_signal = SIGKILL;
    int rc = env.bad ? pt_err_set(err, "out of memory") : pt_child_start(&r->mpirun, a->loop, &spec, err);
    pt_environ_fini(&env);
    if (rc == 0)
        r->patience = pt_loop_after(a->loop, VERSION_MS, on_patience, r);
    return rc;
}

int pt_reach_listen(struct pt_reach *r, struct pt_reader *body, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    if (!pt_get_end(body))
        return pt_err_set(err, "listen: malformed message");
    r->asked++;
    if (r->version) {
        say_version(r, r->version);
    } else if (r->mpirun.pid == 0 && ask_version(r, &why) < 0) {
        pt_warn("%s", why.msg);
        say_version(r, strdup(""));
    }
    return 0;
}

/* --- those whom we probe --- */

static void on_probed(void *arg, const struct pt_reached *reached)
{
    struct pt_reach *r = arg;
    struct pt_buf b = {0};
    pt_reached_encode(reached, &b);
    pt_agent_send(r->agent, &b);
    pt_probes_destroy(pt_steal_ptr(&r->probes));
}

int pt_reach_probe(struct pt_reach *r, struct pt_reader *body, struct pt_err *err)
{
    struct pt_probe probe;
    if (pt_probe_decode(body, &probe, err) < 0)
        return -1;
    if (r->probes)
        pt_probes_finish(r->probes);
    r->probes = pt_probes_start(r->agent->loop, &probe, on_probed, r, err);
    pt_probe_fini(&probe);
    return r->probes ? 0 : -1;
}

struct pt_reach *pt_reach_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_reach *r = calloc(1, sizeof(*r));
    if (!r) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    r->agent = a;
    r->listener = -1;
    r->mpirun.output = -1;
    for (size_t i = 0; i < CALLERS_MAX; i++)
        r->callers[i].fd = -1;
    return r;
}

void pt_reach_destroy(struct pt_reach *r)
{
    if (!r)
        return;
    close_listener(r);
    pt_probes_destroy(r->probes);
    pt_loop_cancel(r->agent->loop, r->patience);
    pt_child_fini(&r->mpirun);
    free(r->version);
    free(r);
}
