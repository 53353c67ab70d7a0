/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Random edits of a tree on disk. */
#include "sync_random.h"

/* --- edits: each does what it can, and nothing where it cannot --- */

typedef void random_edit(struct random_tree *t);

static void random_new_file(struct random_tree *t)
{
    pt_auto_free char *path = random_place(t);
    RANDOM_SPOT at = random_spot(t, path);
    size_t n = random_size(t);
    pt_auto_free unsigned char *data = malloc(n + 1);
    random_fill(data, n, (unsigned)random_below(3));
    random_write(at, data, n, random_mode(false, t->wild));
    if (random_percent(30))
        random_times(at);
}

static void random_new_sparse(struct random_tree *t)
{
    pt_auto_free char *path = random_place(t);
    RANDOM_SPOT at = random_spot(t, path);
    random_write(at, "x", 1, 0644);
    random_resize(at, (off_t)(t->large ? RANDOM_LARGE : 1 + random_below(200000)));
}

static void random_new_folder(struct random_tree *t)
{
    pt_auto_free char *path = random_place(t);
    size_t deeper = random_percent(10) ? 7 : 1 + random_below(2);
    mode_t mode = random_mode(true, t->wild);
    for (size_t i = 0; i < deeper; i++) {
        RANDOM_SPOT at = random_spot(t, path);
        if (at.dir < 0 || mkdirat(at.dir, at.name, 0755) < 0)
            return;
        if (i + 1 == deeper)
            fchmodat(at.dir, at.name, mode, AT_SYMLINK_NOFOLLOW);
        char *next = NULL;
        cr_assert_gt(asprintf(&next, "%s/%.20s", path, random_name()), 0);
        free(path);
        path = next;
    }
}

/* A target that stays in the tree as long as nothing is moved. */
static char *random_target(const struct random_tree *t, const char *from)
{
    char up[1024] = "", *out = NULL;
    if (t->wild && random_percent(40)) {
        cr_assert_gt(asprintf(&out, "%s%s", t->outside, random_percent(50) ? "/victim" : ""), 0);
        return out;
    }
    const struct shot_entry *to = random_pick(t, random_percent(40) ? S_IFLNK : 0);
    if (!to || random_percent(20))
        return strdup(random_name());
    for (const char *p = from; (p = strchr(p, '/')) && strlen(up) < 900; p++)
        strcat(up, "../");
    cr_assert_gt(asprintf(&out, "%s%s%s", up, to->path, random_percent(10) ? "/below" : ""), 0);
    return out;
}

static void random_new_link(struct random_tree *t)
{
    pt_auto_free char *path = random_place(t);
    RANDOM_SPOT at = random_spot(t, path);
    pt_auto_free char *target = random_target(t, path);
    if (at.dir >= 0 && random_percent(50))
        unlinkat(at.dir, at.name, 0);
    if (at.dir >= 0 && symlinkat(target, at.dir, at.name) < 0)
        return;
}

static void random_take_away(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, random_percent(60) ? S_IFREG : 0);
    if (!e)
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    random_remove_at(at.dir, at.name);
}

static void random_move(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, 0);
    if (!e)
        return;
    pt_auto_free char *to = random_place(t);
    RANDOM_SPOT at = random_spot(t, e->path);
    RANDOM_SPOT there = random_spot(t, to);
    if (at.dir < 0 || there.dir < 0)
        return;
    if (renameat(at.dir, at.name, there.dir, there.name) < 0 && errno != EINVAL && random_percent(50)) {
        random_remove_at(there.dir, there.name);
        if (renameat(at.dir, at.name, there.dir, there.name) < 0)
            return;
    }
}

/* Two paths become each other: files, folders, links, of any two types. */
static void random_swap(struct random_tree *t)
{
    const struct shot_entry *a = random_pick(t, 0), *b = random_pick(t, 0);
    if (!a || !b)
        return;
    RANDOM_SPOT x = random_spot(t, a->path);
    RANDOM_SPOT y = random_spot(t, b->path);
    if (x.dir >= 0 && y.dir >= 0)
        renameat2(x.dir, x.name, y.dir, y.name, RENAME_EXCHANGE);
}

/* Something of another type at the same path. */
static void random_retype(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, 0);
    if (!e)
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    pt_auto_free char *target = random_target(t, e->path);
    random_remove_at(at.dir, at.name);
    switch (random_below(3)) {
    case 0:
        random_write(at, e->path, strlen(e->path), 0644);
        break;
    case 1:
        if (at.dir >= 0 && mkdirat(at.dir, at.name, 0755) < 0)
            return;
        break;
    default:
        if (at.dir >= 0 && symlinkat(target, at.dir, at.name) < 0)
            return;
    }
}

/* Other bytes, the same size; the mtime of before, mostly. */
static void random_overwrite(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, S_IFREG);
    struct stat st;
    size_t n;
    if (!e)
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    pt_auto_free unsigned char *data = at.dir < 0 ? NULL : shot_read_at(at.dir, at.name, &n);
    if (!data || !n || fstatat(at.dir, at.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    data[random_below(n)] ^= (unsigned char)(1 + random_below(255));
    if (random_percent(30)) { /* another inode */
        unlinkat(at.dir, at.name, 0);
        random_write(at, data, n, st.st_mode & 07777);
    } else {
        random_write(at, data, n, (mode_t)-1);
    }
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (random_percent(80))
        utimensat(at.dir, at.name, times, AT_SYMLINK_NOFOLLOW);
}

/* Bytes put in or taken out at the front, somewhere, or at the end. */
static void random_splice(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, S_IFREG);
    size_t n;
    if (!e)
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    pt_auto_free unsigned char *data = at.dir < 0 ? NULL : shot_read_at(at.dir, at.name, &n);
    if (!data)
        return;
    size_t from = random_percent(40) ? 0 : random_below(n + 1), put = 1 + random_below(50);
    size_t take = random_percent(30) ? random_below(n - from + 1) : 0;
    if (n > RANDOM_FULL)
        take = n - from;
    pt_auto_free unsigned char *out = malloc(n + put);
    memcpy(out, data, from);
    random_fill(out + from, put, 0);
    memcpy(out + from + put, data + from + take, n - from - take);
    random_write(at, out, n + put - take, (mode_t)-1);
}

static void random_cut_short(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, S_IFREG);
    if (!e)
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    random_resize(at, random_percent(50) ? 0 : e->size / 2);
}

static void random_copy(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, S_IFREG);
    size_t n;
    if (!e)
        return;
    pt_auto_free char *to = random_place(t);
    RANDOM_SPOT at = random_spot(t, e->path);
    RANDOM_SPOT there = random_spot(t, to);
    pt_auto_free unsigned char *data = at.dir < 0 ? NULL : shot_read_at(at.dir, at.name, &n);
    if (data)
        random_write(there, data, n, random_mode(false, t->wild));
}

/* Two names of one inode: what is written to one is in the other. */
static void random_hard_link(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, S_IFREG);
    if (!e)
        return;
    pt_auto_free char *to = random_place(t);
    RANDOM_SPOT at = random_spot(t, e->path);
    RANDOM_SPOT there = random_spot(t, to);
    if (at.dir >= 0 && there.dir >= 0 && linkat(at.dir, at.name, there.dir, there.name, 0) < 0)
        return;
}

static void random_change_mode(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, 0);
    if (!e || S_ISLNK(e->mode))
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    if (at.dir >= 0)
        fchmodat(at.dir, at.name, random_mode(S_ISDIR(e->mode), t->wild), AT_SYMLINK_NOFOLLOW);
}

static void random_set_time(struct random_tree *t)
{
    const struct shot_entry *e = random_pick(t, 0);
    if (!e)
        return;
    RANDOM_SPOT at = random_spot(t, e->path);
    random_times(at);
}

static void random_special(struct random_tree *t)
{
    if (!t->wild)
        return;
    pt_auto_free char *path = random_place(t);
    RANDOM_SPOT at = random_spot(t, path);
    if (at.dir >= 0 && mknodat(at.dir, at.name, (random_percent(50) ? S_IFSOCK : S_IFIFO) | 0600, 0) < 0)
        return;
}

static const struct {
    random_edit *edit;
    unsigned weight;
} random_edits[] = {
    {random_new_file, 20},  {random_new_sparse, 2},  {random_new_folder, 8}, {random_new_link, 8},
    {random_take_away, 12}, {random_move, 8},        {random_swap, 6},       {random_retype, 8},
    {random_overwrite, 16}, {random_splice, 10},     {random_cut_short, 3},  {random_copy, 8},
    {random_hard_link, 3},  {random_change_mode, 8}, {random_set_time, 6},   {random_special, 3},
};

static void random_edit_once(struct random_tree *t)
{
    unsigned total = 0, which;
    if (t->now.n > RANDOM_MOST && random_percent(40)) {
        random_take_away(t);
        return;
    }
    for (size_t i = 0; i < PT_COUNT(random_edits); i++)
        total += random_edits[i].weight;
    which = (unsigned)random_below(total);
    for (size_t i = 0; i < PT_COUNT(random_edits); i++) {
        if (which < random_edits[i].weight) {
            random_edits[i].edit(t);
            return;
        }
        which -= random_edits[i].weight;
    }
}

/* True when the kernel says that a link leads out of the tree. */
static bool random_leaves(int root, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    long fd;
    do /* EAGAIN: somebody else renamed something */
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN);
    int error = errno;
    if (fd >= 0)
        close((int)fd);
    return fd < 0 && error == EXDEV;
}

/* Takes away what no tree may have: links that lead out of it since something was moved, paths without end.
 */
static void random_tidy(struct random_tree *t)
{
    pt_auto_fd int root = open(t->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (bool again = true; again;) {
        again = false;
        shot_fini(&t->now);
        t->now = shot_take(t->root);
        for (size_t i = 0; i < t->now.n; i++) {
            const struct shot_entry *e = &t->now.e[i];
            RANDOM_SPOT at = random_spot(t, e->path);
            bool out = S_ISLNK(e->mode) && random_leaves(root, e->path);
            if (strlen(e->path) > RANDOM_PATH || (out && !t->wild)) {
                random_remove_at(at.dir, at.name);
                again = true;
            }
        }
    }
}

/* So many edits; t->now is then what lies there. */
static void random_edit_tree(struct random_tree *t, size_t edits)
{
    shot_fini(&t->now);
    t->now = shot_take(t->root);
    for (size_t i = 0; i < edits; i++)
        random_edit_once(t);
    random_tidy(t);
}

/* Takes some of the files away that cost most time. */
__attribute__((unused)) static void random_drop_large(const struct random_tree *t, unsigned percent)
{
    for (size_t i = 0; i < t->now.n; i++) {
        RANDOM_SPOT at = random_spot(t, t->now.e[i].path);
        if (at.dir >= 0 && t->now.e[i].size > RANDOM_LARGE / 2 && random_percent(percent))
            unlinkat(at.dir, at.name, 0);
    }
}
