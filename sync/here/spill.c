/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/spill.h"

#include "common/auto.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct pt_spill {
    pthread_mutex_t lock; /* of all but size and folder; not held while bytes move */
    size_t size;
    char *folder;
    int fd;         /* or -1; never changes once it is a file */
    uint32_t used;  /* slots that the file has */
    uint32_t *free; /* stack of those that may be used again */
    size_t nfree, cap;
};

struct pt_spill *pt_spill_create(const char *folder, size_t slot_size)
{
    struct pt_spill *s = calloc(1, sizeof(*s));
    if (!s || !(s->folder = strdup(folder))) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->size = slot_size;
    s->fd = -1;
    return s;
}

void pt_spill_destroy(struct pt_spill *s)
{
    if (!s)
        return;
    int saved = errno;
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s->free);
    free(s->folder);
    free(s);
    errno = saved;
}

static int open_nameless(const char *folder)
{
    char *path = NULL;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || asprintf(&path, "%s/.spill.XXXXXX", folder) < 0)
        return fd;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

/* Its room on the stack of free slots is made here, so that a drop cannot fail. */
static uint32_t new_slot(struct pt_spill *s)
{
    if (s->fd < 0 && (s->fd = open_nameless(s->folder)) < 0)
        return PT_SPILL_NONE;
    if (s->nfree > 0)
        return s->free[--s->nfree];
    if (s->used == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        uint32_t *grown = reallocarray(s->free, cap, sizeof(*grown));
        if (!grown)
            return PT_SPILL_NONE;
        s->free = grown;
        s->cap = cap;
    }
    return s->used++;
}

uint32_t pt_spill_put(struct pt_spill *s, const void *data, size_t n)
{
    pthread_mutex_lock(&s->lock);
    uint32_t slot = new_slot(s);
    pthread_mutex_unlock(&s->lock);
    if (slot == PT_SPILL_NONE)
        return slot;
    off_t at = (off_t)slot * (off_t)s->size;
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(s->fd, (const char *)data + done, n - done, at + (off_t)done);
        if (w > 0)
            done += (size_t)w;
        else if (w == 0 || errno != EINTR) {
            pt_spill_drop(s, slot);
            return PT_SPILL_NONE;
        }
    }
    return slot;
}

int pt_spill_get(const struct pt_spill *s, uint32_t slot, void *out, size_t n)
{
    off_t at = (off_t)slot * (off_t)s->size;
    for (size_t done = 0; done < n;) {
        ssize_t r = pread(s->fd, (char *)out + done, n - done, at + (off_t)done);
        if (r == 0)
            errno = EIO;
        if (r == 0 || (r < 0 && errno != EINTR))
            return -1;
        if (r > 0)
            done += (size_t)r;
    }
    return 0;
}

/* Nothing is kept any more: give the disk its room back. */
static void start_over(struct pt_spill *s)
{
    if (ftruncate(s->fd, 0) == 0)
        s->used = s->nfree = 0;
}

void pt_spill_drop(struct pt_spill *s, uint32_t slot)
{
    if (slot == PT_SPILL_NONE)
        return;
    int saved = errno;
    pthread_mutex_lock(&s->lock);
    s->free[s->nfree++] = slot;
    if (s->nfree == s->used)
        start_over(s);
    pthread_mutex_unlock(&s->lock);
    errno = saved;
}
