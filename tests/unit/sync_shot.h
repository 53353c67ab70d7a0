/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What lies in a folder, taken without any of the code under test: by fts(3), lstat, readlink and read. */
#include "common/auto.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct shot_entry {
    char *path; /* below the folder */
    mode_t mode;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    uint64_t content; /* of a file's bytes, or of a link's target */
};

/* In the order of strcmp. */
struct shot {
    struct shot_entry *e;
    size_t n, cap;
};

__attribute__((unused)) static void shot_fini(struct shot *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->e[i].path);
    free(s->e);
    *s = (struct shot){0};
}

static uint64_t shot_mix(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    for (; n > 0; p++, n--)
        h = (h ^ *p) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The whole of a file; heap, at least one byte. NULL when it cannot be read. */
static unsigned char *shot_read_at(int dir, const char *path, size_t *size)
{
    struct stat st;
    pt_auto_fd int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return NULL;
    unsigned char *data = malloc((size_t)st.st_size + 1);
    cr_assert_not_null(data);
    for (*size = 0; *size < (size_t)st.st_size;) {
        ssize_t n = read(fd, data + *size, (size_t)st.st_size - *size);
        cr_assert_gt(n, 0, "%s shrinks while it is read", path);
        *size += (size_t)n;
    }
    return data;
}

static unsigned char *shot_read(const char *path, size_t *size)
{
    return shot_read_at(AT_FDCWD, path, size);
}

static uint64_t shot_content(const char *path, const struct stat *st)
{
    char target[4096];
    size_t size = 0;
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(path, target, sizeof(target));
        cr_assert_gt(n, 0, "%s: %s", path, strerror(errno));
        return shot_mix(1, target, (size_t)n);
    }
    if (!S_ISREG(st->st_mode))
        return 0;
    pt_auto_free unsigned char *data = shot_read(path, &size);
    cr_assert_not_null(data, "%s: %s", path, strerror(errno));
    return shot_mix(size, data, size);
}

static void shot_add(struct shot *s, const char *path, const struct stat *st, uint64_t content)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 128;
        s->e = reallocarray(s->e, s->cap, sizeof(*s->e));
        cr_assert_not_null(s->e);
    }
    s->e[s->n++] = (struct shot_entry){.path = strdup(path),
                                       .mode = st->st_mode,
                                       .ino = st->st_ino,
                                       .size = st->st_size,
                                       .mtime = st->st_mtim,
                                       .content = content};
}

static int shot_order(const void *a, const void *b)
{
    return strcmp(((const struct shot_entry *)a)->path, ((const struct shot_entry *)b)->path);
}

/* Everything beneath the folder; while others work there (moving), without contents or what goes meanwhile.
 */
static struct shot shot_walk(const char *folder, bool moving)
{
    struct shot s = {0};
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    cr_assert_not_null(walk);
    const FTSENT *f;
    while ((errno = 0, f = fts_read(walk))) {
        bool bad = f->fts_info == FTS_ERR || f->fts_info == FTS_DNR || f->fts_info == FTS_NS;
        cr_assert(!bad || (moving && f->fts_errno == ENOENT), "%s: %s", f->fts_path, strerror(f->fts_errno));
        if (!bad && f->fts_level > 0 && f->fts_info != FTS_DP)
            shot_add(&s, f->fts_path + strlen(folder) + 1, f->fts_statp,
                     moving ? 0 : shot_content(f->fts_path, f->fts_statp));
    }
    cr_assert_eq(errno, 0, "%s: %s", folder, strerror(errno));
    fts_close(walk);
    if (s.n)
        qsort(s.e, s.n, sizeof(*s.e), shot_order);
    return s;
}

static struct shot shot_take(const char *folder)
{
    return shot_walk(folder, false);
}

static const struct shot_entry *shot_find(const struct shot *s, const char *path)
{
    struct shot_entry key = {.path = (char *)(uintptr_t)path};
    return s->n ? bsearch(&key, s->e, s->n, sizeof(*s->e), shot_order) : NULL;
}

/* --- two folders --- */

static bool shot_same_bytes(const char *a, const char *b)
{
    size_t na = 0, nb = 0;
    pt_auto_free unsigned char *x = shot_read(a, &na);
    pt_auto_free unsigned char *y = shot_read(b, &nb);
    return x && y && na == nb && memcmp(x, y, na) == 0;
}

static bool shot_same_target(const char *a, const char *b)
{
    char x[4096], y[4096];
    ssize_t na = readlink(a, x, sizeof(x)), nb = readlink(b, y, sizeof(y));
    return na > 0 && na == nb && memcmp(x, y, (size_t)na) == 0;
}

/* NULL when both are alike, else what differs. */
static const char *shot_pair(const char *a, const char *b, const struct shot_entry *x,
                             const struct shot_entry *y)
{
    if (!y)
        return "is missing";
    if ((x->mode & S_IFMT) != (y->mode & S_IFMT))
        return "is of another type";
    if (!S_ISLNK(x->mode) && x->mode != y->mode)
        return "has another mode";
    if (S_ISREG(x->mode) && !shot_same_bytes(a, b))
        return "has other bytes";
    if (S_ISLNK(x->mode) && !shot_same_target(a, b))
        return "leads elsewhere";
    return NULL;
}

/* Empty when the folders hold the same, byte for byte, mode for mode, link for link, else the first path that
 * differs; heap. */
static char *shot_differ(const char *wanted, const struct shot *w, const char *got, const struct shot *g)
{
    char *out = NULL;
    for (size_t i = 0; !out && i < w->n; i++) {
        const struct shot_entry *x = &w->e[i], *y = shot_find(g, x->path);
        pt_auto_free char *a = NULL;
        pt_auto_free char *b = NULL;
        cr_assert(asprintf(&a, "%s/%s", wanted, x->path) > 0 && asprintf(&b, "%s/%s", got, x->path) > 0);
        const char *what = shot_pair(a, b, x, y);
        if (what)
            cr_assert_geq(asprintf(&out, "'%s' %s (mode %o, %lld bytes; got %o, %lld)", x->path, what,
                                   x->mode, (long long)x->size, y ? y->mode : 0, y ? (long long)y->size : -1),
                          0);
    }
    for (size_t i = 0; !out && i < g->n; i++)
        if (!shot_find(w, g->e[i].path))
            cr_assert_geq(asprintf(&out, "'%s' should not be there (mode %o)", g->e[i].path, g->e[i].mode),
                          0);
    return out ? out : strdup("");
}
