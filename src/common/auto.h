/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Scope cleanup for locals: `pt_auto_fd int fd = -1;` closes at the end of the block; pt_steal_* hands over.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void pt_auto_free_fn(void *p)
{
    int saved = errno;
    free(*(void **)p);
    errno = saved;
}

static inline void pt_auto_fd_fn(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    errno = saved;
}

static inline int pt_steal_fd(int *fd)
{
    int out = *fd;
    *fd = -1;
    return out;
}

static inline void *pt_steal_ptr(void *pp)
{
    void *out = *(void **)pp;
    *(void **)pp = NULL;
    return out;
}

#define pt_auto_free __attribute__((cleanup(pt_auto_free_fn)))
#define pt_auto_fd   __attribute__((cleanup(pt_auto_fd_fn)))

#define PT_COUNT(a) (sizeof(a) / sizeof((a)[0]))
