/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of boot and agent share: the built agent, programs behind two pipes, and looking for what a
 * run left on this machine. */
#include "common/auto.h"
#include "common/loop.h"
#include "common/wire.h"
#include "sync/digest.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define PATIENCE 60000 /* ms after which a test gives up */

static inline void agent_program(char out[4096])
{
    const char *build = getenv("PTREMOTE_BUILD");
    if (build) {
        snprintf(out, 4096, "%s/bin/ptremote-agent", build);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", out, 4000);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    strcpy(slash ? slash : out, "/../bin/ptremote-agent");
}

static inline void read_file(const char *path, struct pt_buf *out)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
    for (ssize_t n = 1; n > 0;) {
        void *room = pt_buf_reserve(out, 1u << 20);
        n = read(fd, room, 1u << 20);
        cr_assert(n >= 0);
        out->len += (size_t)n;
    }
}

static inline void write_file(const char *path, const char *text, mode_t mode)
{
    pt_auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
}

static inline void remove_folder(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

/* A program with its stdin and stdout in our hands; stderr goes to a file. */
struct piped {
    pid_t pid;
    int in, out;
};

static inline void piped_start(struct piped *p, const char *path, char *const *argv, char *const *env,
                               const char *stderr_file)
{
    int in[2], out[2];
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    p->pid = fork();
    cr_assert(p->pid >= 0);
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        signal(SIGPIPE, SIG_DFL);
        int err = open(stderr_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err, 2);
        execve(path, argv, env);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->in = in[1];
    p->out = out[0];
    fcntl(p->in, F_SETFL, O_NONBLOCK);
    fcntl(p->out, F_SETFL, O_NONBLOCK);
}

static inline void piped_close(struct piped *p)
{
    if (p->in >= 0)
        close(p->in);
    if (p->out >= 0)
        close(p->out);
    p->in = p->out = -1;
}

/* Wait until it may go on: bytes came, or (with `write`) may be written. False at the deadline. */
static inline bool piped_wait(const struct piped *p, bool write, int64_t until)
{
    struct pollfd fds[] = {{.fd = p->out, .events = POLLIN}, {.fd = p->in, .events = write ? POLLOUT : 0}};
    int64_t left = until - pt_now_ms();
    return left > 0 && poll(fds, write ? 2 : 1, (int)left) > 0;
}

/* 1 when /proc/PID/environ has the entry, 0 when not, -1 when it may not be read. */
static inline int has_environ(const char *pid, const char *entry)
{
    char path[64], buf[65536];
    snprintf(path, sizeof(path), "/proc/%.20s/environ", pid);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? -1 : 0;
    size_t have = 0;
    for (ssize_t n; (n = read(fd, buf + have, sizeof(buf) - have)) > 0;)
        have += (size_t)n;
    for (size_t i = 0; i < have; i += strlen(buf + i) + 1)
        if (strcmp(buf + i, entry) == 0)
            return 1;
    return 0;
}

/* Name, state and parent of a process. */
static inline bool proc_stat(const char *pid, char name[32], char *state, int *parent)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close || sscanf(close + 1, " %c %d", state, parent) != 2)
        return false;
    snprintf(name, 32, "%.*s", (int)(close - open - 1), open + 1);
    return true;
}

/* A process that hides its environment (the agent does) is marked when its parent is. */
static inline bool is_marked(const char *pid, const char *entry)
{
    char name[32], state, parent[16];
    int ppid, has = has_environ(pid, entry);
    if (has >= 0 || !proc_stat(pid, name, &state, &ppid) || ppid <= 1)
        return has == 1;
    snprintf(parent, sizeof(parent), "%d", ppid);
    return is_marked(parent, entry);
}

/* How many live processes have the entry in their environment; with `comm`, only those of that name: the
 * first of them goes to *pid. */
static inline int count_marked(const char *entry, const char *comm, pid_t *pid)
{
    int found = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *d; (d = readdir(dir));) {
        char name[32], state;
        int parent;
        if (d->d_name[0] < '0' || d->d_name[0] > '9' || atoi(d->d_name) == getpid() ||
            !proc_stat(d->d_name, name, &state, &parent) || state == 'Z' ||
            (comm && strcmp(name, comm) != 0) || !is_marked(d->d_name, entry))
            continue;
        if (pid && !found)
            *pid = atoi(d->d_name);
        found++;
    }
    closedir(dir);
    return found;
}

/* The only process of that name; it may be just about to take it. */
static inline pid_t wait_marked(const char *entry, const char *comm)
{
    pid_t pid = 0;
    int64_t until = pt_now_ms() + PATIENCE;
    while (count_marked(entry, comm, &pid) != 1 && pt_now_ms() < until)
        poll(NULL, 0, 10);
    cr_assert_eq(count_marked(entry, comm, &pid), 1, "%s", comm);
    return pid;
}

static inline int count_entries(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *d; dir && (d = readdir(dir));)
        n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return n;
}
