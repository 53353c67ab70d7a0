/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/diff.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/beneath.h"
#include "sync/glob.h"

#include <fcntl.h>
#include <string.h>

#define READ_SIZE (256u << 10)

/* Three sorted lists side by side: the tree, what is there, what was written last. */
struct sides {
    struct pt_diff *diff;
    const struct pt_manifest *target, *was;
    const struct pt_present *present;
    struct pt_beneath beneath;
    struct pt_digest *digest;
    unsigned char *buffer; /* made when a file must be read */
};

void pt_diff_fini(struct pt_diff *d)
{
    free(d->entries);
    free(d->going);
    *d = (struct pt_diff){0};
}

static bool same_kind(const struct pt_entry *e, mode_t mode)
{
    return (e->type == PT_ENTRY_FILE && S_ISREG(mode)) || (e->type == PT_ENTRY_DIR && S_ISDIR(mode)) ||
           (e->type == PT_ENTRY_LINK && S_ISLNK(mode));
}

/* --- content --- */

/* The next n bytes of fd have that digest. */
static bool piece_same(struct sides *s, int fd, uint64_t n, const unsigned char wanted[PT_DIGEST])
{
    unsigned char digest[PT_DIGEST];
    uint64_t left = n;
    while (left > 0) {
        ssize_t got = read(fd, s->buffer, left < READ_SIZE ? (size_t)left : READ_SIZE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        pt_digest_add(s->digest, s->buffer, (size_t)got);
        left -= (uint64_t)got;
    }
    return pt_digest_end(s->digest, digest) == 0 && left == 0 && memcmp(digest, wanted, PT_DIGEST) == 0;
}

/* The file is read. */
static bool read_same(struct sides *s, const struct pt_entry *e)
{
    const char *name;
    char beyond;
    int dir = pt_beneath_parent(&s->beneath, e->path, &name);
    pt_auto_fd int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (!s->buffer)
        s->buffer = malloc(READ_SIZE);
    if (fd < 0 || !s->buffer)
        return false;
    bool same = e->nchunks || piece_same(s, fd, e->size, e->digest);
    for (uint32_t i = 0; same && i < e->nchunks; i++)
        same = piece_same(s, fd, e->chunks[i].size, e->chunks[i].digest);
    return same && read(fd, &beyond, 1) == 0;
}

static const struct pt_entry *vouched(const struct sides *s, const struct pt_match *m,
                                      const struct pt_node *node)
{
    if (m->was == PT_NOWHERE || !pt_record_vouches(s->present->record, m->was, &node->stamp))
        return NULL;
    return pt_manifest_get(s->was, m->was);
}

static bool file_right(struct sides *s, const struct pt_entry *e, const struct pt_match *m,
                       const struct pt_node *node)
{
    const struct pt_entry *was = vouched(s, m, node);
    if (node->stamp.size != e->size || node->shared)
        return false;
    if (was && was->type == PT_ENTRY_FILE &&
        pt_manifest_algorithm(s->was) == pt_manifest_algorithm(s->target))
        return memcmp(was->digest, e->digest, PT_DIGEST) == 0;
    if (!read_same(s, e))
        return false;
    s->diff->reread = true;
    return true;
}

static bool link_right(struct sides *s, const struct pt_entry *e, const struct pt_match *m,
                       const struct pt_node *node)
{
    const struct pt_entry *was = vouched(s, m, node);
    if (was && was->type == PT_ENTRY_LINK)
        return strcmp(was->link, e->link) == 0;
    const char *name;
    char target[PT_PATH_LIMIT];
    int dir = pt_beneath_parent(&s->beneath, e->path, &name);
    ssize_t n = dir < 0 ? -1 : readlinkat(dir, name, target, sizeof(target));
    return n >= 0 && (size_t)n == strlen(e->link) && memcmp(target, e->link, (size_t)n) == 0;
}

/* --- one entry --- */

static void compare_file(struct sides *s, const struct pt_entry *e, struct pt_match *m,
                         const struct pt_node *node)
{
    m->wrong = !node || !same_kind(e, node->mode) || !file_right(s, e, m, node);
    if (m->wrong) {
        s->diff->wrong++;
        return;
    }
    s->diff->right++;
    s->diff->right_bytes += e->size;
}

static void compare(struct sides *s, size_t i)
{
    struct pt_diff *d = s->diff;
    const struct pt_entry *e = pt_manifest_get(s->target, i);
    struct pt_match *m = &d->entries[i];
    const struct pt_node *node = m->node == PT_NOWHERE ? NULL : &s->present->survey->nodes[m->node];
    if (e->type == PT_ENTRY_FILE)
        compare_file(s, e, m, node);
    else
        m->make =
            !node || !same_kind(e, node->mode) || (e->type == PT_ENTRY_LINK && !link_right(s, e, m, node));
    if (node && (!same_kind(e, node->mode) || (m->make && e->type == PT_ENTRY_LINK)))
        d->going[m->node] = true;
    bool other_mode = node && e->type != PT_ENTRY_LINK && (node->mode & 07777) != e->mode;
    m->shuts_out = node && !m->make && e->type == PT_ENTRY_DIR && (node->mode & 0700) != 0700;
    m->touch = m->wrong || m->make || other_mode;
    d->local |= m->make || other_mode || (node && d->going[m->node]);
}

/* Which node and which entry of the record belong to each entry; the nodes that belong to none are going. */
static void join(struct sides *s)
{
    struct pt_diff *d = s->diff;
    const struct pt_survey *survey = s->present->survey;
    size_t n = pt_manifest_count(s->target), nwas = s->was ? pt_manifest_count(s->was) : 0;
    size_t node = 0, was = 0;
    for (size_t i = 0; i < n; i++) {
        const char *path = pt_manifest_get(s->target, i)->path;
        int order = -1;
        for (; node < survey->n && (order = strcmp(survey->nodes[node].path, path)) < 0; node++)
            d->going[node] = true;
        d->entries[i].node = node < survey->n && order == 0 ? (uint32_t)node++ : PT_NOWHERE;
        if (s->was == s->target) {
            d->entries[i].was = (uint32_t)i;
            continue;
        }
        for (order = -1; was < nwas && (order = strcmp(pt_manifest_get(s->was, was)->path, path)) < 0;)
            was++;
        d->entries[i].was = was < nwas && order == 0 ? (uint32_t)was++ : PT_NOWHERE;
    }
    for (; node < survey->n; node++)
        d->going[node] = true;
}

/* --- what stays --- */

static bool kept(const char *path, char *const *keep, size_t nkeep)
{
    for (size_t i = 0; i < nkeep; i++)
        if (pt_glob_covers(keep[i], path))
            return true;
    return false;
}

/* The folders above a path that stays do so too. */
static void keep_above(struct pt_diff *d, const struct pt_survey *survey, const char *path)
{
    char folder[PT_PATH_LIMIT];
    size_t len = strlen(path);
    if (len >= sizeof(folder))
        return;
    memcpy(folder, path, len + 1);
    for (char *slash; (slash = strrchr(folder, '/'));) {
        *slash = '\0';
        const struct pt_node *node = pt_survey_find(survey, folder);
        if (!node || !d->going[node - survey->nodes])
            return;
        d->going[node - survey->nodes] = false;
    }
}

static void choose_going(struct sides *s, char *const *keep, size_t nkeep)
{
    struct pt_diff *d = s->diff;
    const struct pt_survey *survey = s->present->survey;
    for (size_t i = 0; nkeep && i < survey->n; i++) {
        if (!d->going[i] || !kept(survey->nodes[i].path, keep, nkeep))
            continue;
        d->going[i] = false;
        keep_above(d, survey, survey->nodes[i].path);
    }
    for (size_t i = 0; i < survey->n; i++)
        d->extra += d->going[i];
    d->local |= d->extra > 0;
}

int pt_diff_make(struct pt_diff *d, const struct pt_manifest *target, const struct pt_present *present,
                 char *const *keep, size_t nkeep, struct pt_err *err)
{
    size_t n = pt_manifest_count(target);
    struct sides s = {.diff = d,
                      .target = target,
                      .was = present->record->manifest,
                      .present = present,
                      .beneath = PT_BENEATH(present->tree)};
    *d = (struct pt_diff){.entries = calloc(n + 1, sizeof(*d->entries)),
                          .going = calloc(present->survey->n + 1, sizeof(*d->going)),
                          .local = present->survey->loosened};
    s.digest = pt_digest_create(pt_manifest_algorithm(target), err);
    if (!d->entries || !d->going || !s.digest) {
        pt_diff_fini(d);
        pt_digest_destroy(s.digest);
        return s.digest ? pt_err_set(err, "out of memory") : -1;
    }
    join(&s);
    choose_going(&s, keep, nkeep);
    for (size_t i = 0; i < n; i++)
        compare(&s, i);
    pt_beneath_fini(&s.beneath);
    pt_digest_destroy(s.digest);
    free(s.buffer);
    return 0;
}

/* --- mtimes --- */

static int64_t whole_second(int64_t ns)
{
    return pt_ns_timespec(ns).tv_sec;
}

static int64_t second_later(int64_t ns)
{
    int64_t out;
    return __builtin_add_overflow(ns, PT_SECOND_NS, &out) ? ns : out;
}

int64_t pt_diff_mtime(const struct pt_diff *d, const struct pt_manifest *target, size_t i,
                      const struct pt_present *present)
{
    const struct pt_match *m = &d->entries[i];
    const struct pt_entry *e = pt_manifest_get(target, i);
    int64_t mtime = e->mtime_ns;
    if (m->was != PT_NOWHERE) {
        const struct pt_entry *was = pt_manifest_get(present->record->manifest, m->was);
        int64_t before = present->record->stamps[m->was].mtime_ns;
        if (was->type == PT_ENTRY_FILE && memcmp(was->digest, e->digest, PT_DIGEST) == 0)
            mtime = before;
        else if (was->type == PT_ENTRY_FILE && whole_second(mtime) <= whole_second(before))
            mtime = second_later(before);
    }
    const struct pt_node *node = m->node == PT_NOWHERE ? NULL : &present->survey->nodes[m->node];
    if (node && S_ISREG(node->mode) && whole_second(node->stamp.mtime_ns) == whole_second(mtime))
        mtime = second_later(mtime);
    return mtime;
}
