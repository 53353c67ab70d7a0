/* SPDX-License-Identifier: Apache-2.0 */
/* A child makes the namespaces, the agent says who is who in them (only who is outside may, for more users
 * than one), the child sets them up and the agent opens them; then it ends. They live as long as they are
 * open, or somebody is in them. */
#include "remote/agent/sandbox.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STEP_MS  10000 /* for the child to say that it did its part */
#define TEXT_MAX 256
#define FIRST_FD 3 /* of a child that was given them */

/* mount_setattr(2), of Linux 5.12, as the C library need not have it yet. */
#define CALL_SETATTR   442
#define ATTR_READ_ONLY 1u
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/* In the order in which they are entered: who has not entered the first may not enter the others. */
static const struct {
    const char *name;
    int flag;
} kinds[] = {{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS}, {"net", CLONE_NEWNET}};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct pt_sandbox {
    int fds[KINDS];
};

/* --- the child that makes it --- */

/* What came of a step, "" when all is well. */
static void say(int to, const char *what)
{
    char text[TEXT_MAX] = "";
    if (what)
        snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
    pt_write_all(to, text, sizeof(text));
}

static int raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    pt_auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &request);
}

static int make_read_only(const char *tree)
{
    const uint64_t attr[4] = {ATTR_READ_ONLY}; /* to set, to clear, propagation, owner */
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
                   mount(tree, tree, NULL, MS_BIND | MS_REC, NULL) < 0
               ? -1
               : (int)syscall(CALL_SETATTR, AT_FDCWD, tree, AT_RECURSIVE, attr, sizeof(attr));
}

static _Noreturn void make(const char *tree, int fd, pid_t agent)
{
    int flags = 0;
    char go;
    for (size_t i = 0; i < KINDS; i++)
        flags |= kinds[i].flag;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* else who is who is root's to say */
    if (getppid() != agent)
        _exit(1);
    say(fd, unshare(flags) < 0 ? "user namespaces" : NULL);
    if (read(fd, &go, 1) != 1)
        _exit(1);
    say(fd, raise_loopback() < 0       ? "a network of its own"
            : make_read_only(tree) < 0 ? "a tree that is read-only"
                                       : NULL);
    (void)!read(fd, &go, 1); /* its end: all are open */
    _exit(0);
}

/* --- the agent's part --- */

static int hear(int fd, struct pt_err *err)
{
    char text[TEXT_MAX];
    for (size_t have = 0; have < sizeof(text);) {
        ssize_t n = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, STEP_MS) == 1
                        ? recv(fd, text + have, sizeof(text) - have, MSG_DONTWAIT)
                        : -1;
        if (n <= 0)
            return pt_err_set(err, "who makes it does not answer");
        have += (size_t)n;
    }
    text[sizeof(text) - 1] = '\0';
    return text[0] ? pt_err_set(err, "%s", text) : 0;
}

static int put(pid_t pid, const char *name, const char *text, struct pt_err *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    pt_auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return pt_err_set(err, "user namespaces: %s: %s", name, strerror(errno));
    return 0;
}

/* Everyone who is somebody here is the same inside. */
static int same_for_all(pid_t pid, const char *name, struct pt_err *err)
{
    char path[64], text[4096];
    unsigned inside, outside, n;
    size_t at = 0;
    snprintf(path, sizeof(path), "/proc/self/%s", name);
    FILE *f = fopen(path, "re");
    while (f && at < sizeof(text) - 64 && fscanf(f, "%u %u %u", &inside, &outside, &n) == 3)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%u %u %u\n", inside, inside, n);
    if (f)
        fclose(f);
    return at ? put(pid, name, text, err) : pt_err_set(err, "%s cannot be read", path);
}

static int same_for_one(pid_t pid, const char *name, unsigned id, struct pt_err *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%u %u 1\n", id, id);
    return put(pid, name, text, err);
}

static int say_who_is_who(pid_t pid, struct pt_err *err)
{
    if (geteuid() == 0)
        return same_for_all(pid, "uid_map", err) < 0 ? -1 : same_for_all(pid, "gid_map", err);
    if (put(pid, "setgroups", "deny", err) < 0 || same_for_one(pid, "uid_map", geteuid(), err) < 0)
        return -1;
    return same_for_one(pid, "gid_map", getegid(), err);
}

static int open_all(struct pt_sandbox *s, pid_t pid, struct pt_err *err)
{
    for (size_t i = 0; i < KINDS; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kinds[i].name);
        if ((s->fds[i] = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            return pt_err_set(err, "%s: %s", path, strerror(errno));
    }
    return 0;
}

/* With the child at the other end of fd. */
static int lead(struct pt_sandbox *s, int fd, pid_t pid, struct pt_err *err)
{
    if (hear(fd, err) < 0 || say_who_is_who(pid, err) < 0)
        return -1;
    if (pt_write_all(fd, "", 1) < 0)
        return pt_err_set(err, "who makes it is gone");
    return hear(fd, err) < 0 ? -1 : open_all(s, pid, err);
}

/* What is known to forbid it. */
static int refuse(struct pt_err *err)
{
    static const struct {
        const char *name;
        char forbids;
        const char *set;
    } switches[] = {
        {"user/max_user_namespaces", '0', "user.max_user_namespaces=10000"},
        {"kernel/unprivileged_userns_clone", '0', "kernel.unprivileged_userns_clone=1"},
        {"kernel/apparmor_restrict_unprivileged_userns", '1',
         "kernel.apparmor_restrict_unprivileged_userns=0"},
    };
    err->kind = PT_ERR_INFRA;
    pt_err_wrap(err, "--sandbox cannot be kept there");
    for (size_t i = 0; i < PT_COUNT(switches); i++) {
        char path[80], value[2] = "";
        snprintf(path, sizeof(path), "/proc/sys/%s", switches[i].name);
        pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, value, 2) > 0 && value[0] == switches[i].forbids && value[1] < '0')
            return pt_err_hint(err, "sysctl -w %s on that host, or leave out the host or --sandbox",
                               switches[i].set);
    }
    return pt_err_hint(err,
                       "it needs Linux 5.12 and user namespaces, which a container may forbid: leave out "
                       "the host or --sandbox");
}

struct pt_sandbox *pt_sandbox_create(const char *tree, struct pt_err *err)
{
    struct pt_sandbox *s = calloc(1, sizeof(*s));
    int pair[2];
    if (!s || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        pt_err_set(err, "sandbox: %s", strerror(errno));
        free(s);
        return NULL;
    }
    for (size_t i = 0; i < KINDS; i++)
        s->fds[i] = -1;
    pid_t agent = getpid(), pid = fork();
    if (pid == 0) {
        close(pair[0]);
        make(tree, pair[1], agent);
    }
    close(pair[1]);
    int rc = pid < 0 ? pt_err_set(err, "sandbox: %s", strerror(errno)) : lead(s, pair[0], pid, err);
    close(pair[0]);
    if (pid > 0 && rc < 0)
        kill(pid, SIGKILL);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (rc == 0)
        return s;
    refuse(err);
    pt_sandbox_destroy(s);
    return NULL;
}

void pt_sandbox_destroy(struct pt_sandbox *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < KINDS; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    free(s);
}

/* --- entering --- */

void pt_sandbox_give(const struct pt_sandbox *s, struct pt_child_spec *spec)
{
    memcpy(spec->fds, s->fds, sizeof(s->fds));
    spec->nfds = KINDS;
}

int pt_sandbox_enter(const char *cwd)
{
    int death_signal = 0;
    prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
    for (size_t i = 0; i < KINDS; i++) {
        if (setns(FIRST_FD + (int)i, kinds[i].flag) < 0)
            return -1;
        close(FIRST_FD + (int)i);
    }
    /* Where this is root it is so inside too, but must not be able to take back what was made. */
    if (geteuid() == 0 && (prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) < 0 ||
                           prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) < 0))
        return -1;
    prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0); /* other rights, none of the old signal */
    return chdir(cwd);
}
