/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/init.h"

#include "common/auto.h"
#include "common/quote.h"
#include "common/self.h"
#include "remote/agent/child.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ENV_MAX (4u << 20)

extern char **environ;

struct pt_init {
    struct pt_agent *agent;
    struct pt_child child;
    uint64_t timer;
    int fifo;
    char *fifo_path;
    struct pt_buf got; /* what printenv wrote */
};

static const char *login_shell(void)
{
    const char *shell = getenv("SHELL");
    return shell && shell[0] == '/' && access(shell, X_OK) == 0 ? shell : "/bin/sh";
}

static bool is_csh(const char *name)
{
    return strcmp(name, "csh") == 0 || strcmp(name, "tcsh") == 0 || strcmp(name, "bsd-csh") == 0;
}

/* CMD, and if it went well our printenv in its place; how to ask "went well" depends on the shell. */
static void put_script(struct pt_buf *out, const char *name, const char *init, const char *fifo)
{
    const char *ask = is_csh(name)                ? "\nif ( $status == 0 ) exec "
                      : strcmp(name, "fish") == 0 ? "\ntest $status -eq 0; and exec "
                                                  : "\ntest $? -eq 0 && exec ";
    char self[PT_SELF_MAX] = "";
    pt_self_path(self);
    pt_buf_append(out, init, strlen(init));
    pt_buf_append(out, ask, strlen(ask));
    pt_quote_sh(out, self);
    pt_buf_append(out, " printenv ", 10);
    pt_quote_sh(out, fifo);
    pt_buf_append(out, "\n", 2);
}

/* The script as a file to read from; -1. */
static int script_file(const struct pt_buf *script)
{
    int fd = memfd_create("init", MFD_CLOEXEC);
    size_t n = script->len - 1;
    if (fd >= 0 && (write(fd, script->data, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* As login(1) starts it: a '-' before its name. csh is a login shell only without arguments, so it reads the
 * script from its stdin; for the others CMD may read an empty stdin of its own. */
static int start_shell(struct pt_init *init, const char *shell, struct pt_err *err)
{
    const char *base = strrchr(shell, '/') + 1, *home = getenv("HOME");
    struct pt_buf script = {0};
    char name[256];
    snprintf(name, sizeof(name), "-%.250s", base);
    put_script(&script, base, init->agent->setup.init, init->fifo_path);
    pt_auto_fd int in = is_csh(base) && !script.bad ? script_file(&script) : -1;
    char *argv[] = {name, in < 0 ? (char *)"-c" : NULL, (char *)script.data, NULL};
    struct pt_child_spec spec = {.path = shell, .argv = argv, .env = environ, .in = in, .out = -1};
    spec.cwd = home && access(home, X_OK) == 0 ? home : "/";
    spec.death_signal = SIGKILL;
    int rc = script.bad ? pt_err_set(err, "--init: out of memory")
                        : pt_child_start(&init->child, init->agent->loop, &spec, err);
    pt_buf_fini(&script);
    return rc;
}

/* What the master sent, with {workspace} replaced. */
static void put_sent(struct pt_environ *env, const struct pt_agent *a)
{
    static const char mark[] = "{workspace}";
    for (uint32_t i = 0; i < a->setup.nenv; i++) {
        struct pt_buf value = {0};
        const char *s = a->setup.env[i].value;
        for (const char *at; (at = strstr(s, mark)); s = at + strlen(mark)) {
            pt_buf_append(&value, s, (size_t)(at - s));
            pt_buf_append(&value, a->workspace, strlen(a->workspace));
        }
        pt_buf_append(&value, s, strlen(s) + 1);
        if (value.bad)
            env->bad = true;
        else
            pt_environ_set(env, a->setup.env[i].name, (char *)value.data);
        pt_buf_fini(&value);
    }
}

static void finish(struct pt_agent *a, char *const *base)
{
    pt_environ_add(&a->env, base);
    pt_environ_unlaunch(&a->env);
    pt_environ_unset(&a->env, "_");
    put_sent(&a->env, a);
    a->env_ready = true;
}

static void read_fifo(struct pt_init *init)
{
    for (;;) {
        char *room = pt_buf_reserve(&init->got, 65536);
        ssize_t n = room && init->got.len < ENV_MAX ? read(init->fifo, room, 65536) : -1;
        if (n <= 0)
            return;
        init->got.len += (size_t)n;
    }
}

static void on_fifo(void *arg, int fd, short revents)
{
    (void)fd;
    (void)revents;
    read_fifo(arg);
}

static void on_late(void *arg)
{
    struct pt_init *init = arg;
    struct pt_err err = PT_ERR_INIT;
    init->timer = 0;
    pt_child_drain(&init->child);
    pt_err_set_kind(&err, PT_ERR_INFRA, "--init did not end within %d s: %s", PT_INIT_MS / 1000,
                    pt_child_said(&init->child, PT_CHILD_TAIL));
    kill(-init->child.pid, SIGKILL);
    pt_agent_fail(init->agent, PT_STAGE_SETUP, &err);
}

static int start(struct pt_init *init, struct pt_err *err)
{
    struct pt_agent *a = init->agent;
    if (asprintf(&init->fifo_path, "%s/env", a->dir->path) < 0 || mkfifo(init->fifo_path, 0600) < 0 ||
        (init->fifo = open(init->fifo_path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0 ||
        pt_loop_watch(a->loop, init->fifo, POLLIN, on_fifo, init) < 0)
        return pt_err_set(err, "--init: %s", strerror(errno));
    init->timer = pt_loop_after(a->loop, PT_INIT_MS, on_late, init);
    return start_shell(init, login_shell(), err);
}

struct pt_init *pt_init_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_init *init = calloc(1, sizeof(*init));
    if (!init) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    init->agent = a;
    init->fifo = init->child.output = -1;
    if (!a->setup.init[0] || (a->setup.flags & PT_SETUP_SYNC_ONLY)) {
        finish(a, environ);
        return init;
    }
    if (start(init, err) == 0)
        return init;
    pt_init_destroy(init);
    return NULL;
}

static void end(struct pt_init *init)
{
    if (init->fifo >= 0) {
        pt_loop_unwatch(init->agent->loop, init->fifo);
        close(init->fifo);
        unlink(init->fifo_path);
    }
    pt_loop_cancel(init->agent->loop, init->timer);
    init->timer = 0;
    init->fifo = -1;
    pt_child_fini(&init->child);
    pt_buf_fini(&init->got);
}

void pt_init_destroy(struct pt_init *init)
{
    if (!init)
        return;
    end(init);
    free(init->fifo_path);
    free(init);
}

pid_t pt_init_pid(const struct pt_init *init)
{
    return init ? init->child.pid : 0;
}

static void take(struct pt_init *init)
{
    struct pt_environ env = {0};
    const char *p = (const char *)init->got.data, *stop = p + init->got.len;
    while (p < stop && !env.bad) {
        char *one[2] = {(char *)p, NULL};
        pt_environ_add(&env, one);
        p += strlen(p) + 1;
    }
    pt_environ_unset(&env, "SHLVL");
    finish(init->agent, env.v);
    init->agent->env.bad |= env.bad;
    pt_environ_fini(&env);
}

bool pt_init_reaped(struct pt_init *init, pid_t pid, int status)
{
    if (!init || pid != init->child.pid)
        return false;
    struct pt_agent *a = init->agent;
    struct pt_err err = PT_ERR_INIT;
    char text[48];
    init->child.pid = 0;
    pt_child_drain(&init->child);
    read_fifo(init);
    if (status == 0 && init->got.len && init->got.data[init->got.len - 1] == '\0') {
        take(init);
    } else {
        pt_err_set_kind(&err, PT_ERR_INFRA, "--init failed (%s): %s", pt_agent_status(status, text),
                        pt_child_said(&init->child, PT_CHILD_TAIL));
        pt_err_hint(&err, "it is run by the login shell %s; try it there", login_shell());
        pt_agent_fail(a, PT_STAGE_SETUP, &err);
    }
    end(init);
    pt_agent_advance(a);
    return true;
}

int pt_init_print(const char *file)
{
    pt_auto_fd int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return 1;
    for (char **v = environ; *v; v++) {
        size_t left = strlen(*v) + 1;
        for (const char *p = *v; left;) {
            ssize_t n = write(fd, p, left);
            if (n < 0 && errno != EINTR)
                return 1;
            p += n > 0 ? n : 0;
            left -= n > 0 ? (size_t)n : 0;
        }
    }
    return 0;
}
