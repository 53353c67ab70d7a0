/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/sharing.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/fair.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define VERSION   2u
#define RUNS_MAX  64
#define SLOTS_MAX 4096u
#define MAKE_MAX  5    /* times that others may remove what is being made */
#define AGAIN_MS  50   /* between two looks of who waits */
#define TELL_MS   1000 /* that it waited, before it says so */
#define STALE_MS  5000 /* a wish that was not renewed for so long is that of a stopped process */

/* What run.* holds. */
struct said {
    uint32_t version, host;
    struct pt_fair fair;
    int64_t beat; /* ms */
    int64_t born; /* ns */
    char run[64], who[128];
};

struct slot {
    int fd; /* -1: not opened */
    bool held;
};

struct pt_sharing {
    struct pt_loop *loop;
    struct pt_sharing_callbacks callbacks;
    void *arg;
    int dir, file;
    char name[16];
    struct said self, written;
    struct said others[RUNS_MAX];
    uint32_t nothers, nslots;
    struct slot *slots;
    uint64_t timer;
    int64_t short_since; /* ms; 0: it has all it could use */
    struct pt_fair_turn turn;
    bool off;      /* nothing is locked any more */
    char told[64]; /* the run that it said it waits for */
};

/* --- the clock that all processes of a machine have, and that does not stop in its sleep --- */

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t clock_ms(void)
{
    return clock_ns() / 1000000;
}

static void give_up(struct pt_sharing *s, const char *what)
{
    if (!s->off)
        pt_warn("the slots are not shared with other runs any more: %s: %s", what, strerror(errno));
    s->off = true;
}

/* --- what is said --- */

static void say(struct pt_sharing *s)
{
    if (s->off)
        return;
    if (s->self.fair.step && clock_ms() - s->self.beat > STALE_MS / 5)
        s->self.beat = clock_ms();
    /* Gaps are copied as well. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*) */
    if (memcmp(&s->self, &s->written, sizeof(s->self)) == 0)
        return;
    if (pwrite(s->file, &s->self, sizeof(s->self), 0) == (ssize_t)sizeof(s->self))
        s->written = s->self;
    else
        give_up(s, "the run's file");
}

static bool is_sane(const struct said *said)
{
    const struct pt_fair *f = &said->fair;
    return said->version == VERSION && f->slots > 0 && f->slots <= SLOTS_MAX && f->base <= SLOTS_MAX &&
           f->held <= f->slots && f->step <= f->slots && f->want <= f->slots && said->run[0] &&
           memchr(said->run, '\0', sizeof(said->run)) && memchr(said->who, '\0', sizeof(said->who));
}

/* One of another run that lives; what dead ones left goes. */
static void look_at(struct pt_sharing *s, const char *name)
{
    struct said *said = &s->others[s->nothers];
    pt_auto_fd int fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
        unlinkat(s->dir, name, 0);
        return;
    }
    if (pread(fd, said, sizeof(*said), 0) != (ssize_t)sizeof(*said) || !is_sane(said))
        return;
    if (clock_ms() - said->beat > STALE_MS)
        said->fair.step = said->fair.want = 0;
    s->nothers++;
}

static void look(struct pt_sharing *s)
{
    s->nothers = 0;
    pt_auto_fd int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        give_up(s, "the folder");
        return;
    }
    fd = -1;
    for (const struct dirent *e; s->nothers < RUNS_MAX && (e = readdir(dir));)
        if (strncmp(e->d_name, "run.", 4) == 0 && strcmp(e->d_name, s->name) != 0)
            look_at(s, e->d_name);
    closedir(dir);
}

/* Of the same run, and another host, or the same before it was lost: that one may be stopped for good. */
static bool is_below(const struct pt_sharing *s, const struct said *other)
{
    if (strcmp(other->run, s->self.run) != 0)
        return false;
    return other->host < s->self.host || (other->host == s->self.host && other->born < s->self.born);
}

/* Hosts of one run that are one machine stand one above the other, as its user asked for both. */
static void find_base(struct pt_sharing *s)
{
    uint32_t base = 0;
    for (uint32_t i = 0; i < s->nothers; i++)
        if (is_below(s, &s->others[i]))
            base += s->others[i].fair.slots;
    if (base == s->self.fair.base || base > SLOTS_MAX)
        return;
    for (uint32_t i = 0; i < s->nslots; i++)
        if (s->slots[i].fd >= 0)
            close(pt_steal_fd(&s->slots[i].fd));
    s->self.fair.base = base;
}

/* --- slots --- */

static int open_slot(struct pt_sharing *s, uint32_t i)
{
    char name[32];
    snprintf(name, sizeof(name), "slot.%u", s->self.fair.base + i);
    if (s->slots[i].fd < 0)
        s->slots[i].fd = openat(s->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    return s->slots[i].fd;
}

/* A file that was removed before it was locked has no more to do with the slot. */
static bool lock_slot(struct pt_sharing *s, uint32_t i)
{
    struct stat st;
    for (int tries = 0; tries < MAKE_MAX; tries++) {
        int fd = open_slot(s, i);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
            return false;
        if (fd < 0 || fstat(fd, &st) < 0) {
            give_up(s, "a slot's file");
            return false;
        }
        if (st.st_nlink > 0)
            return s->slots[i].held = true;
        close(pt_steal_fd(&s->slots[i].fd));
    }
    return false;
}

/* The highest first: runs of fewer slots can use only the lower ones. */
static bool lock_more(struct pt_sharing *s, uint32_t n)
{
    for (uint32_t i = s->nslots; i-- > 0 && n > 0 && !s->off;)
        if (!s->slots[i].held && lock_slot(s, i)) {
            s->self.fair.held++;
            n--;
        }
    return n == 0;
}

static void unlock_beyond(struct pt_sharing *s, uint32_t held)
{
    for (uint32_t i = 0; i < s->nslots && s->self.fair.held > held; i++)
        if (s->slots[i].held) {
            flock(s->slots[i].fd, LOCK_UN);
            s->slots[i].held = false;
            s->self.fair.held--;
        }
}

void pt_sharing_keep(struct pt_sharing *s, uint32_t held)
{
    pt_fair_keep(&s->self.fair, &s->turn, held);
    unlock_beyond(s, held);
    say(s);
}

/* --- asking --- */

static uint32_t find_most(struct pt_sharing *s)
{
    struct pt_fair runs[RUNS_MAX + 1];
    runs[0] = s->self.fair;
    for (uint32_t i = 0; i < s->nothers; i++)
        runs[1 + i] = s->others[i].fair;
    return pt_fair_look(runs, 1 + s->nothers, &s->turn);
}

/* As long as the one that was named has any, it is not said again. */
static void tell(struct pt_sharing *s)
{
    const struct said *most = NULL;
    uint32_t slots = s->self.fair.slots;
    for (uint32_t i = 0; i < s->nothers; i++) {
        if (!most || s->others[i].fair.held > most->fair.held)
            most = &s->others[i];
        if (s->others[i].fair.slots > slots)
            slots = s->others[i].fair.slots;
        if (s->others[i].fair.held && strcmp(s->others[i].run, s->told) == 0)
            return;
    }
    if (!most || most->fair.held == 0)
        return;
    memcpy(s->told, most->run, sizeof(s->told));
    s->callbacks.waits(s->arg, most->run, most->who, most->fair.held, slots);
}

static void on_again(void *arg)
{
    struct pt_sharing *s = arg;
    s->timer = 0;
    s->callbacks.may_have(s->arg);
    if (!s->timer)
        pt_sharing_rest(s); /* it did not ask again */
    if (s->self.fair.step && !s->off && clock_ms() - s->short_since >= TELL_MS)
        tell(s);
}

/* There is more that it could use. */
static void wait_for_more(struct pt_sharing *s)
{
    if (!s->short_since)
        s->short_since = clock_ms();
    if (!s->timer)
        s->timer = pt_loop_after(s->loop, AGAIN_MS, on_again, s);
    if (!s->timer)
        give_up(s, "no timer");
    say(s);
}

static bool refuse(struct pt_sharing *s)
{
    if (!s->off)
        wait_for_more(s);
    return s->off;
}

bool pt_sharing_take(struct pt_sharing *s, uint32_t n, uint32_t spare, const struct pt_sharing_wish *wish)
{
    struct pt_fair *fair = &s->self.fair;
    uint32_t held = fair->held;
    if (s->off)
        return true;
    pt_fair_wish(fair, &s->turn, wish->step, wish->want, clock_ns());
    look(s);
    if (held == 0)
        find_base(s);
    if (held + n + spare > find_most(s))
        return refuse(s);
    if (!lock_more(s, n)) {
        if (!s->off)
            unlock_beyond(s, held);
        return refuse(s);
    }
    find_most(s);
    if (pt_fair_rests(fair, n))
        pt_sharing_rest(s);
    else
        wait_for_more(s);
    return true;
}

void pt_sharing_rest(struct pt_sharing *s)
{
    s->self.fair.step = s->self.fair.want = 0;
    s->short_since = 0;
    pt_loop_cancel(s->loop, s->timer);
    s->timer = 0;
    say(s);
}

uint32_t pt_sharing_held(const struct pt_sharing *s)
{
    return s->self.fair.held;
}

/* --- create, destroy --- */

static int open_folder(const char *folder, struct pt_err *err)
{
    struct stat st;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return pt_err_set(err, "%s: %s", folder, strerror(errno));
    pt_auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return pt_err_set(err, "%s: %s", folder, strerror(errno));
    if (st.st_uid != geteuid() || (st.st_mode & 077))
        return pt_err_set(err, "%s is not this user's alone", folder);
    return pt_steal_fd(&fd);
}

/* The lock is taken before the file has its name, so nobody ever sees that of a live run without it. 1:
 * others removed it meanwhile. */
static int make_file(struct pt_sharing *s, const char *folder, struct pt_err *err)
{
    pt_auto_free char *fresh = NULL;
    if (asprintf(&fresh, "%s/new.XXXXXX", folder) < 0)
        return pt_err_set(err, "out of memory");
    s->file = mkostemp(fresh, O_CLOEXEC);
    if (s->file < 0 && errno != ENOENT)
        return pt_err_set(err, "%s: %s", folder, strerror(errno));
    const char *base = fresh + strlen(folder) + 1;
    snprintf(s->name, sizeof(s->name), "run.%s", base + 4);
    if (s->file < 0 || flock(s->file, LOCK_EX | LOCK_NB) < 0 || renameat(s->dir, base, s->dir, s->name) < 0) {
        unlinkat(s->dir, base, 0);
        return 1;
    }
    say(s);
    return s->off ? pt_err_set(err, "%s: cannot write", folder) : 0;
}

static int join(struct pt_sharing *s, const char *folder, struct pt_err *err)
{
    int rc = 1;
    for (int tries = 0; rc == 1 && tries < MAKE_MAX; tries++) {
        if (s->file >= 0)
            close(pt_steal_fd(&s->file));
        if (s->dir >= 0)
            close(pt_steal_fd(&s->dir));
        if ((s->dir = open_folder(folder, err)) < 0)
            return -1;
        rc = make_file(s, folder, err);
    }
    return rc == 1 ? pt_err_set(err, "%s is removed all the time", folder) : rc;
}

struct pt_sharing *pt_sharing_create(struct pt_loop *loop, const struct pt_sharing_config *config,
                                     const struct pt_sharing_callbacks *callbacks, void *arg,
                                     struct pt_err *err)
{
    struct pt_sharing *s = calloc(1, sizeof(*s));
    struct slot *slots = calloc(config->slots, sizeof(*slots));
    if (!s || !slots) {
        free(s);
        free(slots);
        pt_err_set(err, "out of memory");
        return NULL;
    }
    s->loop = loop;
    s->callbacks = *callbacks;
    s->arg = arg;
    s->dir = s->file = -1;
    s->slots = slots;
    s->nslots = config->slots;
    for (uint32_t i = 0; i < config->slots; i++)
        slots[i].fd = -1;
    s->self.version = VERSION;
    s->self.host = config->host;
    s->self.born = clock_ns();
    s->self.fair.slots = config->slots;
    s->self.fair.order = (uint32_t)getpid();
    snprintf(s->self.run, sizeof(s->self.run), "%s", config->run);
    snprintf(s->self.who, sizeof(s->self.who), "%s", config->who);
    if (join(s, config->folder, err) == 0)
        return s;
    pt_sharing_destroy(s);
    return NULL;
}

void pt_sharing_destroy(struct pt_sharing *s)
{
    if (!s)
        return;
    pt_loop_cancel(s->loop, s->timer);
    for (uint32_t i = 0; i < s->nslots; i++)
        if (s->slots[i].fd >= 0)
            close(s->slots[i].fd);
    if (s->file >= 0 && s->dir >= 0)
        unlinkat(s->dir, s->name, 0);
    if (s->file >= 0)
        close(s->file);
    if (s->dir >= 0)
        close(s->dir);
    free(s->slots);
    free(s);
}
