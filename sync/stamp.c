/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/stamp.h"

#include "common/auto.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

/* Coarser than any kernel's tick; file systems that keep whole seconds keep them in twos at worst. */
#define FINE_NS   (100 * 1000000LL)
#define COARSE_NS (2LL * PT_SECOND_NS)

int64_t pt_timespec_ns(struct timespec t)
{
    return (int64_t)((uint64_t)t.tv_sec * PT_SECOND_NS + (uint64_t)t.tv_nsec);
}

struct timespec pt_ns_timespec(int64_t ns)
{
    int64_t sec = ns / PT_SECOND_NS, rest = ns % PT_SECOND_NS;
    if (rest < 0) {
        sec--;
        rest += PT_SECOND_NS;
    }
    return (struct timespec){.tv_sec = sec, .tv_nsec = rest};
}

struct pt_stamp pt_stamp_of(const struct stat *st)
{
    return (struct pt_stamp){
        .dev = (uint64_t)st->st_dev,
        .ino = (uint64_t)st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_ns = pt_timespec_ns(st->st_mtim),
        .ctime_ns = pt_timespec_ns(st->st_ctim),
    };
}

bool pt_stamp_equal(const struct pt_stamp *a, const struct pt_stamp *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

bool pt_stamp_racy(const struct pt_stamp *stamp, int64_t clock_ns)
{
    int64_t grain = stamp->ctime_ns % PT_SECOND_NS == 0 ? COARSE_NS : FINE_NS;
    if (stamp->ctime_ns >= clock_ns - grain)
        return true;
    return stamp->mtime_ns >= clock_ns - grain && stamp->mtime_ns <= clock_ns + COARSE_NS;
}

int64_t pt_stamp_clock(const char *folder)
{
    struct stat st;
    char *path = NULL;
    if (asprintf(&path, "%s/.clock.XXXXXX", folder) > 0) {
        pt_auto_fd int fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            bool known = fstat(fd, &st) == 0;
            unlink(path);
            if (known) {
                free(path);
                return pt_timespec_ns(st.st_ctim);
            }
        }
        free(path);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return pt_timespec_ns(now);
}
