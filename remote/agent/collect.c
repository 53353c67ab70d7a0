/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/collect.h"

#include "common/auto.h"
#include "remote/agent/child.h"
#include "remote/agent/links.h"
#include "remote/agent/python.h"
#include "remote/agent/state.h"
#include "remote/agent/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct pt_collector {
    struct pt_agent *agent;
    struct pt_child child;
    bool wanted;
    struct pt_buf json;
};

struct pt_collector *pt_collector_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_collector *c = calloc(1, sizeof(*c));
    if (!c) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    c->agent = a;
    c->child.output = -1;
    return c;
}

void pt_collector_destroy(struct pt_collector *c)
{
    if (!c)
        return;
    pt_child_fini(&c->child);
    pt_buf_fini(&c->json);
    free(c);
}

void pt_collector_end(struct pt_collector *c)
{
    if (!c)
        return;
    c->wanted = false;
    if (c->child.pid > 0)
        kill(c->child.pid, SIGKILL);
}

pid_t pt_collector_pid(const struct pt_collector *c)
{
    return c ? c->child.pid : 0;
}

int pt_collector_want(struct pt_collector *c, struct pt_reader *body, struct pt_err *err)
{
    size_t n;
    const void *json = pt_get_bytes(body, &n);
    if (!pt_get_end(body) || c->wanted || c->child.pid)
        return pt_err_set(err, "COLLECT is malformed, or one runs already");
    pt_buf_clear(&c->json);
    pt_buf_append(&c->json, json, n);
    pt_buf_append(&c->json, "\n", 1);
    if (c->json.bad)
        return pt_err_set(err, "out of memory");
    c->wanted = true;
    pt_collector_advance(c);
    return 0;
}

/* The JSON as a file that can be read once from its start. */
static int json_file(const struct pt_buf *json)
{
    int fd = memfd_create("collect", MFD_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < json->len) {
        ssize_t n = write(fd, json->data + done, json->len - done);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static int start(struct pt_collector *c, struct pt_err *err)
{
    static const char code[] = "import sys; sys.path.insert(0, sys.argv[1]); "
                               "from ptremote.collector import main; main()";
    struct pt_agent *a = c->agent;
    struct pt_environ env = {0};
    int pair[2];
    pt_auto_free char *program = pt_python_find(a, err), *cwd = NULL;
    pt_auto_fd int json = json_file(&c->json);
    if (!program)
        return -1;
    if (json < 0 || asprintf(&cwd, "%s/%s", a->workspace, a->setup.cwd) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return pt_err_set(err, "collector: %m");
    pt_python_environ(a, program, &env);
    char *argv[] = {program,     (char *)"-c", (char *)code, (char *)pt_tools_path(a->tools, "python"),
                    (char *)"3", NULL};
    struct pt_child_spec spec = {
        .path = program, .argv = argv, .env = env.v, .cwd = cwd, .in = -1, .out = -1};
    spec.fds[0] = json;
    spec.fds[1] = pair[1];
    spec.nfds = 2;
    spec.death_signal = SIGKILL;
    int rc = env.bad ? pt_err_set(err, "out of memory") : pt_child_start(&c->child, a->loop, &spec, err);
    close(pair[1]);
    pt_environ_fini(&env);
    if (rc < 0) {
        close(pair[0]);
        return -1;
    }
    return pt_links_carry(a->links, pair[0], PT_MUX_KIND_COLLECT, NULL, err);
}

void pt_collector_advance(struct pt_collector *c)
{
    struct pt_agent *a = c ? c->agent : NULL;
    if (!c || !c->wanted || !a->env_ready || !a->synced || !pt_tools_path(a->tools, "python"))
        return;
    struct pt_err err = PT_ERR_INIT;
    c->wanted = false;
    if (start(c, &err) < 0)
        pt_agent_fail(a, PT_STAGE_PYTHON, &err);
}

bool pt_collector_reaped(struct pt_collector *c, pid_t pid, int status)
{
    if (!c || pid != c->child.pid)
        return false;
    c->child.pid = 0;
    pt_child_drain(&c->child);
    pt_agent_exited(c->agent, PT_PROGRAM_COLLECTOR, status, &c->child.tail);
    pt_child_fini(&c->child);
    return true;
}
