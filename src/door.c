/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define NAME    80
#define STALE_S 60 /* one that nobody listens at is not just being made after that */
#define PIECE   4096
#define MACHINE 32
#define FOLDER  "doors"

struct caller {
    struct pt_door *door;
    int fd; /* -1: free */
    uint64_t timer;
    struct pt_buf in, out;
};

struct pt_door {
    struct pt_loop *loop;
    int folder, fd;
    char name[NAME];
    pt_door_fn *fn;
    void *arg;
    struct caller callers[PT_DOOR_CALLERS];
};

/* --- where it is --- */

/* "@MACHINE": a folder may be shared with machines whose sockets we cannot judge. */
static void machine_of(char out[MACHINE])
{
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    snprintf(out, MACHINE, "@%.*s", MACHINE - 2, host[0] ? host : "?");
    for (char *c = out; *c; c++)
        if (*c == '/')
            *c = '_';
}

static int name_of(char out[NAME], const char *run)
{
    char machine[MACHINE];
    machine_of(machine);
    int n = snprintf(out, NAME, "%s%s", run, machine);
    return run[0] && run[0] != '.' && !strchr(run, '/') && n < NAME ? 0 : -1;
}

/* By way of the folder's descriptor: its path may be longer than an address can be. */
static struct sockaddr_un address_of(int folder, const char *name)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%s", folder, name);
    return sun;
}
_Static_assert(sizeof("/proc/self/fd/2147483647/") + NAME <= sizeof(((struct sockaddr_un *)0)->sun_path),
               "an address holds the name");

/* Ours alone; -1 with errno. */
static int open_folder(const char *state_dir, bool make)
{
    struct stat st;
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/" FOLDER, state_dir) < 0) {
        path = NULL;
        return -1;
    }
    if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
        return -1;
    pt_auto_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (st.st_uid != geteuid()) {
        errno = EPERM;
        return -1;
    }
    if ((st.st_mode & 077) && fchmod(fd, 0700) < 0)
        return -1;
    return pt_steal_fd(&fd);
}

/* Does the same user have the other end? */
static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.uid == geteuid();
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* -1 with errno. */
static int go_to(int folder, const char *name)
{
    struct sockaddr_un sun = address_of(folder, name);
    pt_auto_fd int fd = new_socket();
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
        return -1;
    if (!is_ours(fd)) {
        errno = EPERM;
        return -1;
    }
    return pt_steal_fd(&fd);
}

static bool is_stale(int folder, const char *name, const char *machine)
{
    struct stat st;
    const char *at = strchr(name, '@');
    if (!at || strcmp(at, machine) != 0 || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISSOCK(st.st_mode) || st.st_mtime + STALE_S > time(NULL) || strlen(name) >= NAME)
        return false;
    pt_auto_fd int fd = go_to(folder, name);
    return fd < 0 && errno == ECONNREFUSED;
}

static void drop_stale(int folder)
{
    char machine[MACHINE];
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    machine_of(machine);
    if (!dir && copy >= 0)
        close(copy);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (is_stale(folder, e->d_name, machine))
            unlinkat(folder, e->d_name, 0);
    if (dir)
        closedir(dir);
}

/* --- who asks --- */

static void hang_up(struct caller *c)
{
    if (c->fd < 0)
        return;
    pt_loop_unwatch(c->door->loop, c->fd);
    pt_loop_cancel(c->door->loop, c->timer);
    close(c->fd);
    pt_buf_fini(&c->in);
    pt_buf_fini(&c->out);
    *c = (struct caller){.door = c->door, .fd = -1};
}

static void on_too_long(void *arg)
{
    struct caller *c = arg;
    c->timer = 0;
    hang_up(c);
}

static void on_writable(void *arg, int fd, short revents)
{
    struct caller *c = arg;
    (void)revents;
    ssize_t n = send(fd, c->out.data, c->out.len, MSG_NOSIGNAL);
    if (n > 0)
        pt_buf_consume(&c->out, (size_t)n);
    if (c->out.len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        hang_up(c);
}

/* The line is whole: n bytes before its newline. */
static void answer(struct caller *c, size_t n)
{
    struct pt_door *door = c->door;
    c->in.data[n] = '\0';
    door->fn(door->arg, (const char *)c->in.data, n, &c->out);
    pt_buf_append(&c->out, "\n", 1);
    if (c->out.bad || c->out.len > PT_DOOR_ANSWER ||
        pt_loop_watch(door->loop, c->fd, POLLOUT, on_writable, c) < 0)
        hang_up(c);
}

static void on_readable(void *arg, int fd, short revents)
{
    struct caller *c = arg;
    (void)revents;
    void *room = c->in.len < PT_DOOR_REQUEST ? pt_buf_reserve(&c->in, PIECE) : NULL;
    ssize_t n = room ? recv(fd, room, PIECE, 0) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->in.len += (size_t)n;
    const unsigned char *end = memchr(c->in.data, '\n', c->in.len);
    if (end && (size_t)(end - c->in.data) < PT_DOOR_REQUEST)
        answer(c, (size_t)(end - c->in.data));
    else if (end)
        hang_up(c);
}

static void on_knock(void *arg, int fd, short revents)
{
    struct pt_door *door = arg;
    struct caller *c = door->callers;
    (void)revents;
    pt_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (c < door->callers + PT_DOOR_CALLERS && c->fd >= 0)
        c++;
    if (peer < 0 || c == door->callers + PT_DOOR_CALLERS || !is_ours(peer) ||
        pt_loop_watch(door->loop, peer, POLLIN, on_readable, c) < 0)
        return;
    c->fd = pt_steal_fd(&peer);
    c->timer = pt_loop_after(door->loop, PT_DOOR_MS, on_too_long, c);
}

/* --- life --- */

static int open_door(struct pt_door *door)
{
    struct sockaddr_un sun = address_of(door->folder, door->name);
    door->fd = new_socket();
    if (door->fd < 0 || bind(door->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
        return -1;
    if (fchmodat(door->folder, door->name, 0600, 0) < 0 || listen(door->fd, PT_DOOR_CALLERS) < 0 ||
        pt_loop_watch(door->loop, door->fd, POLLIN, on_knock, door) < 0) {
        int saved = errno;
        unlinkat(door->folder, door->name, 0);
        errno = saved;
        return -1;
    }
    return 0;
}

struct pt_door *pt_door_create(struct pt_loop *loop, const char *state_dir, const char *run, pt_door_fn *fn,
                               void *arg, struct pt_err *err)
{
    struct pt_door *door = calloc(1, sizeof(*door));
    if (!door) {
        pt_err_set(err, "the run's door: out of memory");
        return NULL;
    }
    *door = (struct pt_door){.loop = loop, .fd = -1, .fn = fn, .arg = arg};
    for (size_t i = 0; i < PT_DOOR_CALLERS; i++)
        door->callers[i] = (struct caller){.door = door, .fd = -1};
    errno = EINVAL;
    door->folder = name_of(door->name, run) < 0 ? -1 : open_folder(state_dir, true);
    if (door->folder >= 0) {
        drop_stale(door->folder);
        if (open_door(door) == 0)
            return door;
    }
    pt_err_set_kind(err, PT_ERR_INFRA, "%s/" FOLDER ": %s", state_dir, strerror(errno));
    if (door->fd >= 0)
        close(door->fd);
    if (door->folder >= 0)
        close(door->folder);
    free(door);
    return NULL;
}

void pt_door_destroy(struct pt_door *door)
{
    if (!door)
        return;
    for (size_t i = 0; i < PT_DOOR_CALLERS; i++)
        hang_up(&door->callers[i]);
    unlinkat(door->folder, door->name, 0);
    pt_loop_unwatch(door->loop, door->fd);
    close(door->fd);
    close(door->folder);
    free(door);
}

/* --- the other side --- */

/* 1 ready, 0 too late, -1 with errno. */
static int wait_until(int fd, short events, int64_t until)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int64_t left = until - pt_now_ms();
        int n = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

/* 0, or -1 with errno. */
static int put_all(int fd, const char *data, size_t n, int64_t until)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        data += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
        int rc = n ? wait_until(fd, POLLOUT, until) : 1;
        if (rc <= 0) {
            errno = rc ? errno : ETIMEDOUT;
            return -1;
        }
    }
    return 0;
}

/* A line, its newline a NUL; -1 with errno: ENODATA when it ended before. */
static int get_line(int fd, struct pt_buf *out, int64_t until)
{
    size_t begun = out->len;
    while (out->len - begun < PT_DOOR_ANSWER) {
        int rc = wait_until(fd, POLLIN, until);
        void *room = rc > 0 ? pt_buf_reserve(out, PIECE) : NULL;
        ssize_t n = room ? recv(fd, room, PIECE, 0) : -1;
        errno = rc == 0 ? ETIMEDOUT : rc > 0 && !room ? ENOMEM : n == 0 ? ENODATA : errno;
        if (n <= 0 && (n == 0 || errno != EAGAIN))
            return -1;
        out->len += n > 0 ? (size_t)n : 0;
        if (out->len > begun && out->data[out->len - 1] == '\n') {
            out->data[out->len - 1] = '\0';
            return 0;
        }
    }
    errno = EMSGSIZE;
    return -1;
}

int pt_door_ask(const char *state_dir, const char *run, const void *question, size_t n, int wait_ms,
                struct pt_buf *out, struct pt_err *err)
{
    char name[NAME];
    int64_t until = pt_now_ms() + wait_ms;
    pt_auto_fd int folder = name_of(name, run) < 0 ? -1 : open_folder(state_dir, false);
    pt_auto_fd int fd = folder >= 0 ? go_to(folder, name) : -1;
    if (fd < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "run %s cannot be asked: %s/" FOLDER "/%s: %s", run,
                               state_dir, name, strerror(errno));
    if (put_all(fd, question, n, until) < 0 || put_all(fd, "\n", 1, until) < 0 ||
        get_line(fd, out, until) < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "run %s gave no answer: %s", run, strerror(errno));
    return 0;
}
