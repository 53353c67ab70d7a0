/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Random names, modes, sizes and contents for a tree on disk, by a seed. Whatever links lie in the tree,
 * nothing here follows one: the folder of a path is opened beneath the root and through no link, and names in
 * it are never followed. So what is changed lies in the tree, also when the test is root. */
#include "sync_shot.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- numbers --- */

static uint64_t random_state;

static uint64_t random_next(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* From 0 to n - 1. */
static size_t random_below(size_t n)
{
    return n ? (size_t)(random_next() % n) : 0;
}

static bool random_percent(unsigned p)
{
    return random_below(100) < p;
}

/* --- a tree that is edited --- */

struct random_tree {
    const char *root;
    const char *outside; /* absolute: a folder of the test's, where links of wild trees lead */
    bool wild;           /* also what only tests leave behind: sockets, links that leave, modes of no use */
    bool large;          /* files of more than 8 MiB may come */
    struct shot now;
};

#define RANDOM_PATH  3000 /* longer ones are taken away */
#define RANDOM_MOST  300  /* paths; then more goes than comes */
#define RANDOM_LARGE ((9u << 20) + 12345)
#define RANDOM_FULL  (14u << 20)

/* A name in a folder of the tree; `dir` is -1 where there is no way to it but through a link. */
struct random_spot {
    int dir;
    const char *name;
};

static int random_open(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    long fd;
    do /* EAGAIN: somebody else renamed something */
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN);
    return (int)fd;
}

static void random_leave(struct random_spot *s)
{
    if (s->dir >= 0)
        close(s->dir);
}

#define RANDOM_SPOT __attribute__((cleanup(random_leave))) struct random_spot

static struct random_spot random_spot(const struct random_tree *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    pt_auto_free char *folder = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    pt_auto_fd int root = open(t->root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct random_spot s = {.dir = -1, .name = slash ? slash + 1 : path};
    if (root >= 0)
        s.dir = random_open(root, folder, O_PATH | O_DIRECTORY);
    return s;
}

static void random_remove_at(int dir, const char *name)
{
    if (dir == -1 || unlinkat(dir, name, 0) == 0 || unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    if (!d)
        return;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            random_remove_at(fd, e->d_name);
    closedir(d);
    unlinkat(dir, name, AT_REMOVEDIR);
}

/* A path that is there; NULL in an empty tree. */
static const struct shot_entry *random_pick(const struct random_tree *t, mode_t kind)
{
    for (int i = 0; t->now.n && i < 40; i++) {
        const struct shot_entry *e = &t->now.e[random_below(t->now.n)];
        if (!kind || (e->mode & S_IFMT) == kind)
            return e;
    }
    return NULL;
}

static const char *random_name(void)
{
    static char out[256];
    static const char *const odd[] = {"caf\xc3\xa9",
                                      "cafe\xcc\x81",
                                      "with\nnewline",
                                      "and\ttab",
                                      " spaces ",
                                      "not\xff\xfeutf8",
                                      "-rf",
                                      "Case",
                                      "case",
                                      "CASE",
                                      "*?[a-z]",
                                      "back\\slash",
                                      "quote'\"$(id)`",
                                      ".hidden",
                                      "...",
                                      "..x",
                                      "0",
                                      "17",
                                      "\xe6\x97\xa5\xe6\x9c\xac",
                                      "a.py",
                                      "conftest.py",
                                      "a",
                                      "b",
                                      "\x01\x7f",
                                      "Stra\xc3\x9f"
                                      "e",
                                      "\xef\xbb\xbf"
                                      "bom",
                                      "a.b",
                                      "left.o",
                                      "left.o",
                                      "a0"};
    size_t which = random_below(100);
    if (which < 45) {
        snprintf(out, sizeof(out), "%s", odd[random_below(PT_COUNT(odd))]);
    } else if (which < 48) {
        memset(out, 'a' + (int)random_below(3), 255);
        out[255] = '\0';
    } else {
        snprintf(out, sizeof(out), "n%zu.py", random_below(60));
    }
    return out;
}

/* A path in a folder that is there, or at the top; heap. It may be taken. */
static char *random_place(const struct random_tree *t)
{
    char *out = NULL;
    const struct shot_entry *folder = random_percent(75) ? random_pick(t, S_IFDIR) : NULL;
    if (folder && strlen(folder->path) < RANDOM_PATH / 2)
        cr_assert_gt(asprintf(&out, "%s/%s", folder->path, random_name()), 0);
    else
        out = strdup(random_name());
    return out;
}

static mode_t random_mode(bool folder, bool wild)
{
    static const mode_t files[] = {0644, 0755, 0600, 0664, 0444, 0555, 0640, 0700, 0777, 0666};
    static const mode_t odd_files[] = {0000, 0200, 0111, 0001, 0070, 0400};
    static const mode_t folders[] = {0755, 0700, 0750, 0711, 0775, 0777};
    static const mode_t odd_folders[] = {0555, 0500, 0111, 0000, 0300};
    bool odd = geteuid() == 0 && random_percent(20);
    mode_t special = wild && random_percent(10) ? (mode_t)(1 + random_below(7)) << 9 : 0;
    if (folder)
        return special | (odd ? odd_folders[random_below(PT_COUNT(odd_folders))]
                              : folders[random_below(PT_COUNT(folders))]);
    return special |
           (odd ? odd_files[random_below(PT_COUNT(odd_files))] : files[random_below(PT_COUNT(files))]);
}

/* --- content --- */

static void random_fill(unsigned char *data, size_t n, unsigned how)
{
    if (how == 0) { /* does not compress */
        for (size_t i = 0; i < n; i += 8) {
            uint64_t word = random_next();
            memcpy(data + i, &word, n - i < 8 ? n - i : 8);
        }
        return;
    }
    uint64_t line = random_below(how == 1 ? 1u << 30 : 8); /* few kinds: the same content at several places */
    for (size_t i = 0; i < n; line++) {
        char text[64];
        size_t len = (size_t)snprintf(text, sizeof(text), "line %llu of it\n", (unsigned long long)line);
        len = len < n - i ? len : n - i;
        memcpy(data + i, text, len);
        i += len;
    }
}

static size_t random_size(const struct random_tree *t)
{
    size_t which = random_below(100);
    if (t->large && random_percent(20))
        return RANDOM_LARGE + random_below(1000);
    return which < 12   ? 0
           : which < 75 ? 1 + random_below(3000)
           : which < 85 ? 512 * (1 + random_below(4))
           : which < 97 ? 1 + random_below(40000)
                        : 90000 + random_below(30000);
}

/* Not where a folder, a link or anything but a file is. */
static void random_write(struct random_spot s, const void *data, size_t n, mode_t mode)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    pt_auto_fd int fd = s.dir == -1 ? -1 : openat(s.dir, s.name, flags, 0644);
    if (fd < 0)
        return;
    if (n)
        cr_assert_eq(write(fd, data, n), (ssize_t)n);
    if (mode != (mode_t)-1)
        fchmod(fd, mode);
}

static void random_resize(struct random_spot s, off_t size)
{
    pt_auto_fd int fd =
        s.dir < 0 ? -1 : openat(s.dir, s.name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && ftruncate(fd, size) < 0)
        return;
}

static void random_times(struct random_spot s)
{
    static const time_t seconds[] = {0, 1, 1000000000, 1700000000, 1700000001, 4000000000, -5};
    struct timespec t = {.tv_sec = seconds[random_below(PT_COUNT(seconds))],
                         .tv_nsec = random_percent(50) ? 0 : (long)random_below(1000000000)};
    struct timespec times[2] = {t, t};
    if (s.dir >= 0)
        utimensat(s.dir, s.name, times, AT_SYMLINK_NOFOLLOW);
}
