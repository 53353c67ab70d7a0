/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/python.h"

#include "common/auto.h"
#include "remote/agent/child.h"
#include "remote/agent/mpirun.h"
#include "remote/agent/room.h"
#include "remote/agent/sandbox.h"
#include "remote/agent/scarce.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"
#include "remote/agent/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define START_MS  60000 /* for its first line */
#define LINE_MAX_ 4096

struct pt_python {
    struct pt_agent *agent;
    struct pt_child child;
    char *program;
    int lifeline; /* its stdin: ends with us */
    int said;     /* its stdout */
    struct pt_buf line;
    uint64_t timer;
    bool started, up, done; /* done: it failed, and will not be started again */
    bool cleaned;           /* its bytecode was thrown away and it was started again */
    bool second;            /* the first of PATH has no pytest: the distribution's is tried */
};

#define SYSTEM_PYTHON "/usr/bin/python3"

struct pt_python *pt_python_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_python *p = calloc(1, sizeof(*p));
    if (!p) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    p->agent = a;
    p->lifeline = p->said = p->child.output = -1;
    return p;
}

static void close_said(struct pt_python *p)
{
    if (p->said < 0)
        return;
    pt_loop_unwatch(p->agent->loop, p->said);
    close(p->said);
    p->said = -1;
}

static void forget(struct pt_python *p)
{
    close_said(p);
    if (p->lifeline >= 0)
        close(p->lifeline);
    p->lifeline = -1;
    pt_loop_cancel(p->agent->loop, p->timer);
    p->timer = 0;
    pt_child_fini(&p->child);
    pt_buf_fini(&p->line);
    p->up = false;
}

void pt_python_destroy(struct pt_python *p)
{
    if (!p)
        return;
    forget(p);
    free(p->program);
    free(p);
}

pid_t pt_python_pid(const struct pt_python *p)
{
    return p ? p->child.pid : 0;
}

/* --- what it takes --- */

char *pt_python_find(const struct pt_agent *a, struct pt_err *err)
{
    if (a->python && a->python->program) /* the one that turned out to have pytest */
        return strdup(a->python->program);
    const char *wanted = a->setup.python[0] ? a->setup.python : "python3";
    const char *home = pt_environ_get(&a->env, "HOME");
    pt_auto_free char *path = NULL;
    if (strncmp(wanted, "~/", 2) == 0 && home && asprintf(&path, "%s%s", home, wanted + 1) < 0)
        path = NULL;
    char *found = pt_environ_which(&a->env, path ? path : wanted);
    if (found)
        return found;
    if (a->setup.python[0]) {
        pt_err_set_kind(err, PT_ERR_INFRA, "no Python: --python %s is not a program there", wanted);
        pt_err_hint(err, "give the path of the Python on that host that has pytest");
    } else {
        pt_err_set_kind(err, PT_ERR_INFRA, "no python3");
        pt_err_hint(err,
                    "apt-get install python3 python3-pytest (Debian) or dnf install python3 python3-pytest");
    }
    return NULL;
}

/* FNV-1a: only keeps interpreters apart. */
static uint64_t short_hash(const char *s)
{
    uint64_t h = 14695981039346656037u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

/* Where this interpreter keeps its bytecode of this project (heap). */
static char *bytecode_folder(const struct pt_agent *a, const char *program)
{
    pt_auto_free char *real = realpath(program, NULL);
    char *path = NULL;
    unsigned long long key = short_hash(real ? real : program);
    return asprintf(&path, "%s/pycache/%s-%016llx", a->cache, a->setup.project, key) < 0 ? NULL : path;
}

void pt_python_environ(const struct pt_agent *a, const char *program, struct pt_environ *env)
{
    pt_auto_free char *bytecode = bytecode_folder(a, program);
    char slots[16];
    pt_environ_add(env, a->env.v);
    const char *unwritten = pt_environ_get(env, "PYTHONDONTWRITEBYTECODE");
    /* where none is written, what is installed must stay in reach */
    if (!(unwritten && *unwritten) && bytecode)
        pt_environ_set(env, "PYTHONPYCACHEPREFIX", bytecode);
    pt_environ_set(env, "PYTHONHASHSEED", a->setup.hash_seed[0] ? a->setup.hash_seed : "random");
    snprintf(slots, sizeof(slots), "%u", a->setup.slots);
    pt_environ_set(env, "PTREMOTE_WORKSPACE", a->workspace);
    pt_environ_set(env, "PTREMOTE_SLOTS", slots);
    pt_environ_set(env, "PTREMOTE_RUN", a->setup.run);
    if (!a->dir)
        return;
    pt_environ_set(env, "PTREMOTE_RUN_DIR", a->dir->path);
    pt_mpirun_alone(a->dir->path, a->dir->shm, env);
}

/* --- its one line --- */

static void fail(struct pt_python *p, const char *hint, const char *text)
{
    struct pt_err err = PT_ERR_INIT;
    p->done = true;
    pt_err_set_kind(&err, PT_ERR_INFRA, "%s: %s", p->program ? p->program : "python3", text);
    pt_err_hint(&err, "%s", hint);
    pt_agent_fail(p->agent, PT_STAGE_PYTHON, &err);
}

static void say_up(struct pt_python *p, char *text)
{
    struct pt_buf b = {0};
    char *rest = text;
    size_t mark = pt_frame_begin(&b, PT_C_PYTHON);
    for (int i = 0; i < 3; i++) {
        const char *field = strsep(&rest, "\t");
        pt_put_str(&b, field ? field : "");
    }
    pt_frame_end(&b, mark);
    pt_agent_send(p->agent, &b);
    p->up = true;
}

/* A python3 that comes first in PATH (pyenv's, say) need not be the one that has pytest. */
static bool may_try_second(const struct pt_python *p)
{
    return !p->second && !p->agent->setup.python[0] && p->program && strcmp(p->program, SYSTEM_PYTHON) != 0 &&
           access(SYSTEM_PYTHON, X_OK) == 0;
}

static void on_line(struct pt_python *p, char *line)
{
    static const char ready[] = "READY ", missing[] = "MISSING ";
    char text[900];
    pt_loop_cancel(p->agent->loop, p->timer);
    p->timer = 0;
    if (strncmp(line, ready, strlen(ready)) == 0) {
        say_up(p, line + strlen(ready));
    } else if (strncmp(line, missing, strlen(missing)) == 0 && may_try_second(p)) {
        p->second = true; /* once this one has ended */
    } else if (strncmp(line, missing, strlen(missing)) == 0) {
        snprintf(text, sizeof(text), "missing %.800s", line + strlen(missing));
        fail(p, "apt-get install python3-pytest (Debian), or pip install pytest for that Python", text);
    } else {
        snprintf(text, sizeof(text), "said '%.200s' where we expect a fork server", line);
        fail(p, "see what sitecustomize and .pth files print", text);
    }
}

static void on_said(void *arg, int fd, short revents)
{
    struct pt_python *p = arg;
    (void)revents;
    char *room = pt_buf_reserve(&p->line, 1024);
    ssize_t n = room ? read(fd, room, 1024) : -1;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || p->line.len + (size_t)n > LINE_MAX_) {
        close_said(p);
        return;
    }
    p->line.len += (size_t)n;
    char *end = p->up || p->done ? NULL : memchr(p->line.data, '\n', p->line.len);
    if (end) {
        *end = '\0';
        on_line(p, (char *)p->line.data);
    }
    if (p->up || p->done)
        pt_buf_clear(&p->line);
}

static void on_late(void *arg)
{
    struct pt_python *p = arg;
    p->timer = 0;
    fail(p, "try to import pytest with it on that host", "pytest was not imported within a minute");
    kill(p->child.pid, SIGKILL);
}

/* --- start and end --- */

static int enter_sandbox(const void *run_dir)
{
    return pt_sandbox_enter(run_dir);
}

static int start(struct pt_python *p, struct pt_err *err)
{
    static const char code[] = "import sys; sys.path.insert(0, sys.argv[1]); "
                               "from ptremote.forkserver import main; main()";
    struct pt_agent *a = p->agent;
    struct pt_environ env = {0};
    pt_auto_free char *socket = NULL;
    int in[2], out[2];
    if (!p->program && !(p->program = pt_python_find(a, err)))
        return -1;
    if (asprintf(&socket, "%s/fork.sock", a->dir->path) < 0 || pipe2(in, O_CLOEXEC) < 0)
        return pt_err_set(err, "fork server: %m");
    p->lifeline = in[1];
    if (pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0) {
        close(in[0]);
        return pt_err_set(err, "fork server: %m");
    }
    p->said = out[0];
    fcntl(out[1], F_SETFL, 0);
    pt_auto_free char *bytecode = bytecode_folder(a, p->program);
    pt_room_use(a->room, bytecode);
    pt_python_environ(a, p->program, &env);
    char *argv[] = {p->program, (char *)"-c",     (char *)code, (char *)pt_tools_path(a->tools, "python"),
                    socket,     a->setup.preload, NULL};
    struct pt_child_spec spec = {
        .path = p->program, .argv = argv, .env = env.v, .cwd = a->dir->path, .in = in[0]};
    spec.out = out[1];
    spec.death_signal = SIGTERM;
    if (a->sandbox) {
        pt_sandbox_give(a->sandbox, &spec);
        spec.between = enter_sandbox;
        spec.between_arg = a->dir->path;
    }
    unlink(socket);
    int rc = env.bad ? pt_err_set(err, "out of memory") : pt_child_start(&p->child, a->loop, &spec, err);
    close(in[0]);
    close(out[1]);
    pt_environ_fini(&env);
    if (rc == 0)
        rc = pt_loop_watch(a->loop, p->said, POLLIN, on_said, p);
    p->timer = pt_loop_after(a->loop, START_MS, on_late, p);
    return rc;
}

void pt_python_advance(struct pt_python *p, bool wanted)
{
    if (!p || p->child.pid || p->done || (p->started && !wanted) ||
        (p->agent->setup.flags & PT_SETUP_SYNC_ONLY))
        return;
    if (!p->agent->env_ready || !pt_tools_path(p->agent->tools, "python"))
        return;
    struct pt_err err = PT_ERR_INIT;
    p->started = true;
    if (start(p, &err) < 0) {
        forget(p);
        p->done = true;
        pt_agent_fail(p->agent, PT_STAGE_PYTHON, &err);
    }
}

/* Before it is up, what it wrote last says what is wrong with this Python. */
static void never_up(struct pt_python *p, int status)
{
    char how[48], text[800];
    snprintf(text, sizeof(text), "the fork server ended (%s): %s", pt_agent_status(status, how),
             pt_child_said(&p->child, 600));
    struct pt_err scarce;
    if (pt_scarce(p->agent->dir, &scarce) < 0)
        pt_err_wrap(&scarce, "%s", scarce.hint);
    else
        pt_err_set(&scarce, "try to import pytest with it on that host");
    fail(p, scarce.msg, text);
}

/* A full disk cuts bytecode short, and Python trusts it afterwards: away with it, and once more. */
static bool clean_bytecode(struct pt_python *p, int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) /* not by an exception of Python's */
        return false;
    pt_auto_free char *folder = p->cleaned ? NULL : bytecode_folder(p->agent, p->program);
    p->cleaned = true;
    if (!folder || access(folder, F_OK) < 0)
        return false;
    pt_sweep_folder(folder, NULL);
    return true;
}

bool pt_python_reaped(struct pt_python *p, pid_t pid, int status)
{
    if (!p || pid != p->child.pid)
        return false;
    p->child.pid = 0;
    pt_child_drain(&p->child);
    if (p->said >= 0)
        on_said(p, p->said, POLLIN);
    bool other = p->second && !p->up && strcmp(p->program, SYSTEM_PYTHON) != 0;
    bool again = other || (!p->up && !p->done && clean_bytecode(p, status));
    if (p->up)
        pt_agent_exited(p->agent, PT_PROGRAM_FORKSERVER, status, &p->child.tail);
    else if (!p->done && !again)
        never_up(p, status);
    forget(p);
    if (other) {
        free(p->program);
        p->program = strdup(SYSTEM_PYTHON);
    }
    if (again) {
        p->started = false;
        pt_python_advance(p, true);
    }
    return true;
}
