/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/diff.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/beneath.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void pt_diff_fini(struct pt_diff *d)
{
    free(d->need);
    *d = (struct pt_diff){0};
}

static int cannot(const char *verb, const char *path, struct pt_err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    pt_err_set_kind(err, PT_ERR_INFRA, "cannot %s '%s' in the workspace: %s", verb, path, strerror(errno));
    if (full)
        return pt_err_hint(err, "make room on the host, or name another place with --remote-dir");
    if (errno == EACCES || errno == EPERM)
        return pt_err_hint(err, "see whose it is on the host, and remove it there");
    return -1;
}

/* What the workspace has at a path, against what the tree has. */
struct match {
    struct pt_beneath beneath;
    struct pt_digest *digest;
};

static bool same_kind(const struct pt_entry *e, mode_t mode)
{
    return (e->type == PT_ENTRY_FILE && S_ISREG(mode)) || (e->type == PT_ENTRY_DIR && S_ISDIR(mode)) ||
           (e->type == PT_ENTRY_LINK && S_ISLNK(mode));
}

static bool same_link(struct pt_beneath *b, const struct pt_entry *e)
{
    const char *name;
    char target[PT_PATH_LIMIT];
    int dir = pt_beneath_parent(b, e->path, &name);
    ssize_t n = dir < 0 ? -1 : readlinkat(dir, name, target, sizeof(target));
    return n >= 0 && (size_t)n == strlen(e->link) && memcmp(target, e->link, (size_t)n) == 0;
}

/* True when nothing must go for the entry to be there: the right kind of thing, and of a link the target. */
static bool stays(struct pt_beneath *b, const struct pt_entry *e, const struct pt_node *node)
{
    return same_kind(e, node->mode) && (e->type != PT_ENTRY_LINK || same_link(b, e));
}

static bool read_same(struct match *m, const struct pt_entry *e)
{
    const char *name;
    unsigned char digest[PT_DIGEST];
    uint64_t size;
    int dir = pt_beneath_parent(&m->beneath, e->path, &name);
    pt_auto_fd int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 && pt_digest_fd(m->digest, fd, digest, &size) == 0 && size == e->size &&
           memcmp(digest, e->digest, PT_DIGEST) == 0;
}

/* True when the file at node has the content of e. */
static bool same_content(struct match *m, const struct pt_entry *e, const struct pt_node *node,
                         const struct pt_record *record, enum pt_digest_algorithm algorithm, bool *reread)
{
    const struct pt_entry *was;
    const struct pt_stamp *stamp = pt_record_find(record, e->path, &was);
    if (node->stamp.size != e->size)
        return false;
    if (stamp && was->type == PT_ENTRY_FILE && pt_manifest_algorithm(record->manifest) == algorithm &&
        pt_stamp_equal(stamp, &node->stamp) && !pt_stamp_racy(stamp, record->clock_ns))
        return memcmp(was->digest, e->digest, PT_DIGEST) == 0;
    if (!read_same(m, e))
        return false;
    *reread = true;
    return true;
}

static void compare(struct pt_diff *d, struct match *m, const struct pt_manifest *target, size_t i,
                    const struct pt_record *record, const struct pt_survey *survey)
{
    const struct pt_entry *e = pt_manifest_get(target, i);
    const struct pt_node *node = pt_survey_find(survey, e->path);
    bool there = node && stays(&m->beneath, e, node);
    if (e->type == PT_ENTRY_FILE) {
        there = there && same_content(m, e, node, record, pt_manifest_algorithm(target), &d->reread);
        if (!there) {
            d->need[i / 8] |= (unsigned char)(1u << (i % 8));
            d->nneed++;
        }
    }
    if (!there || (e->type != PT_ENTRY_LINK && (node->mode & 07777) != e->mode))
        d->local = true;
}

int pt_diff_make(struct pt_diff *d, const struct pt_manifest *target, const struct pt_record *record,
                 const struct pt_survey *survey, const struct pt_place *place, struct pt_err *err)
{
    size_t n = pt_manifest_count(target);
    struct match m = {.beneath = PT_BENEATH(place->tree)};
    *d = (struct pt_diff){.need = calloc(n / 8 + 1, 1), .local = survey->loosened};
    m.digest = pt_digest_create(pt_manifest_algorithm(target), err);
    if (!d->need || !m.digest) {
        pt_diff_fini(d);
        pt_digest_destroy(m.digest);
        return m.digest ? pt_err_set(err, "out of memory") : -1;
    }
    for (size_t i = 0; i < n; i++)
        compare(d, &m, target, i, record, survey);
    for (size_t i = 0; i < survey->n; i++)
        if (!pt_manifest_find(target, survey->nodes[i].path))
            d->extra++;
    pt_beneath_fini(&m.beneath);
    pt_digest_destroy(m.digest);
    return 0;
}

/* --- settle --- */

static int drop(const struct pt_place *place, struct pt_beneath *b, const struct pt_node *node, size_t number,
                struct pt_err *err)
{
    const char *name;
    char gone[32];
    int dir = pt_beneath_parent(b, node->path, &name);
    if (dir < 0)
        return errno == ENOENT ? 0 : cannot("remove", node->path, err);
    if (!S_ISDIR(node->mode))
        return unlinkat(dir, name, 0) == 0 || errno == ENOENT ? 0 : cannot("remove", node->path, err);
    snprintf(gone, sizeof(gone), "old.%zu", number);
    int rc = renameat(dir, name, place->temp, gone);
    if (rc < 0)
        cannot("remove", node->path, err);
    pt_beneath_forget(b);
    return rc;
}

/* Folders go whole: what lies below one that went is passed over. */
static int remove_extra(const struct pt_manifest *target, const struct pt_survey *survey,
                        const struct pt_place *place, struct pt_beneath *b, struct pt_err *err)
{
    const char *gone = NULL;
    size_t len = 0;
    for (size_t i = 0; i < survey->n; i++) {
        const struct pt_node *node = &survey->nodes[i];
        if (gone && strncmp(node->path, gone, len) == 0 && node->path[len] == '/')
            continue;
        const struct pt_entry *e = pt_manifest_find(target, node->path);
        if (e && stays(b, e, node))
            continue;
        if (drop(place, b, node, i, err) < 0)
            return -1;
        if (S_ISDIR(node->mode)) {
            gone = node->path;
            len = strlen(gone);
        }
    }
    return 0;
}

static int make(struct pt_beneath *b, const struct pt_entry *e, struct pt_err *err)
{
    const char *name;
    int dir = pt_beneath_parent(b, e->path, &name);
    int rc = dir < 0                   ? -1
             : e->type == PT_ENTRY_DIR ? mkdirat(dir, name, 0700)
                                       : symlinkat(e->link, dir, name);
    return rc == 0 || (errno == EEXIST && dir >= 0) ? 0 : cannot("make", e->path, err);
}

int pt_diff_settle(const struct pt_manifest *target, const struct pt_survey *survey,
                   const struct pt_place *place, struct pt_err *err)
{
    struct pt_beneath b = PT_BENEATH(place->tree);
    int rc = pt_purge(place->temp) < 0 ? cannot("remove", "what was left over", err) : 0;
    if (rc == 0)
        rc = remove_extra(target, survey, place, &b, err);
    pt_beneath_forget(&b);
    if (rc == 0 && pt_purge(place->temp) < 0)
        rc = cannot("remove", "what was left over", err);
    size_t n = pt_manifest_count(target);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct pt_entry *e = pt_manifest_get(target, i);
        if (e->type != PT_ENTRY_FILE)
            rc = make(&b, e, err);
    }
    pt_beneath_fini(&b);
    return rc;
}

/* --- seal --- */

static int seal_entry(struct pt_beneath *b, const struct pt_entry *e, struct pt_stamp *stamp,
                      struct pt_err *err)
{
    struct stat st;
    const char *name;
    int dir = pt_beneath_parent(b, e->path, &name);
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cannot("find", e->path, err);
    if (!same_kind(e, st.st_mode) || (e->type == PT_ENTRY_FILE && (uint64_t)st.st_size != e->size))
        return pt_err_set_kind(err, PT_ERR_INFRA, "'%s' in the workspace was changed by somebody else",
                               e->path);
    if (e->type != PT_ENTRY_LINK && (st.st_mode & 07777) != e->mode &&
        (fchmodat(dir, name, (mode_t)e->mode, 0) < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0))
        return cannot("set the mode of", e->path, err);
    *stamp = pt_stamp_of(&st);
    return 0;
}

int pt_diff_seal(const struct pt_manifest *target, const struct pt_place *place, struct pt_stamp *stamps,
                 struct pt_err *err)
{
    struct pt_beneath b = PT_BENEATH(place->tree);
    int rc = 0;
    /* Backwards: what lies in a folder comes before the mode that may close it. */
    for (size_t i = pt_manifest_count(target); rc == 0 && i-- > 0;)
        rc = seal_entry(&b, pt_manifest_get(target, i), &stamps[i], err);
    pt_beneath_fini(&b);
    return rc;
}

static int64_t whole_second(int64_t ns)
{
    return pt_ns_timespec(ns).tv_sec;
}

static int64_t second_later(int64_t ns)
{
    int64_t out;
    return __builtin_add_overflow(ns, PT_SECOND_NS, &out) ? ns : out;
}

int64_t pt_diff_mtime(const struct pt_entry *e, const struct pt_record *record,
                      const struct pt_survey *survey)
{
    const struct pt_entry *was = NULL;
    const struct pt_stamp *stamp = pt_record_find(record, e->path, &was);
    const struct pt_node *node = pt_survey_find(survey, e->path);
    int64_t mtime = e->mtime_ns;
    if (stamp && was->type == PT_ENTRY_FILE) {
        if (memcmp(was->digest, e->digest, PT_DIGEST) == 0)
            mtime = stamp->mtime_ns;
        else if (whole_second(mtime) <= whole_second(stamp->mtime_ns))
            mtime = second_later(stamp->mtime_ns);
    }
    if (node && S_ISREG(node->mode) && whole_second(node->stamp.mtime_ns) == whole_second(mtime))
        mtime = second_later(mtime);
    return mtime;
}
