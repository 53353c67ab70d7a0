/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/settle.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/beneath.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int pt_settle_cannot(const char *verb, const char *path, struct pt_err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    bool denied = errno == EACCES || errno == EPERM;
    pt_err_set_kind(err, PT_ERR_INFRA, "cannot %s '%s' on the host: %s", verb, path, strerror(errno));
    if (full)
        return pt_err_hint(err, "make room on the host, or name another place with --remote-dir");
    return denied ? pt_err_hint(err, "see whose it is on the host, and remove it there") : -1;
}

/* --- removing --- */

static int drop(const struct pt_site *site, struct pt_beneath *b, const struct pt_node *node, size_t number,
                struct pt_err *err)
{
    const char *name;
    char gone[32];
    int dir = pt_beneath_parent(b, node->path, &name);
    if (dir < 0)
        return errno == ENOENT ? 0 : pt_settle_cannot("remove", node->path, err);
    if (!S_ISDIR(node->mode))
        return unlinkat(dir, name, 0) == 0 || errno == ENOENT ? 0
                                                              : pt_settle_cannot("remove", node->path, err);
    snprintf(gone, sizeof(gone), "old.%zu", number);
    int rc = renameat(dir, name, site->temp, gone);
    if (rc < 0)
        pt_settle_cannot("remove", node->path, err);
    pt_beneath_forget(b);
    return rc;
}

/* A folder whose owner may not write in it is opened up for as long as it takes. */
static int open_up(struct pt_beneath *b, const struct pt_node *node, struct pt_err *err)
{
    const char *name;
    if (!S_ISDIR(node->mode) || (node->mode & 0700) == 0700)
        return 0;
    int dir = pt_beneath_parent(b, node->path, &name);
    if (dir >= 0 && fchmodat(dir, name, (node->mode & 0777) | 0700, 0) == 0)
        return 0;
    return errno == ENOENT ? 0 : pt_settle_cannot("open", node->path, err);
}

/* Folders go whole: what lies below one that went is passed over. */
static int remove_going(const struct pt_site *site, struct pt_beneath *b, struct pt_err *err)
{
    const struct pt_survey *survey = site->present.survey;
    const char *gone = NULL;
    size_t len = 0;
    for (size_t i = 0; i < survey->n; i++) {
        const struct pt_node *node = &survey->nodes[i];
        if (gone && strncmp(node->path, gone, len) == 0 && node->path[len] == '/')
            continue;
        if (open_up(b, node, err) < 0)
            return -1;
        if (!site->diff->going[i])
            continue;
        if (drop(site, b, node, i, err) < 0)
            return -1;
        if (S_ISDIR(node->mode)) {
            gone = node->path;
            len = strlen(gone);
        }
    }
    return 0;
}

/* --- making --- */

static const char *parent_end(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash : path;
}

static bool same_parent(const char *a, const char *b)
{
    size_t n = (size_t)(parent_end(a) - a);
    return n == (size_t)(parent_end(b) - b) && memcmp(a, b, n) == 0;
}

int pt_settle_collision(const struct pt_site *site, size_t i, struct pt_err *err)
{
    struct pt_beneath b = PT_BENEATH(site->present.tree);
    struct stat there, st;
    const char *path = pt_manifest_get(site->target, i)->path;
    int rc = pt_beneath_stat(&b, path, &there) < 0 ? 1 : 0;
    for (size_t j = 0; rc == 0 && j < pt_manifest_count(site->target); j++) {
        const char *other = pt_manifest_get(site->target, j)->path;
        if (j == i || !same_parent(path, other) || pt_beneath_stat(&b, other, &st) < 0 ||
            st.st_ino != there.st_ino || st.st_dev != there.st_dev)
            continue;
        pt_err_set_kind(err, PT_ERR_INFRA, "'%s' and '%s' are one and the same on the host's file system",
                        other, path);
        rc = pt_err_hint(err, "rename one of them, leave it out with --exclude, or name another place on the "
                              "host with --remote-dir");
    }
    pt_beneath_fini(&b);
    return rc < 0 ? -1 : 0;
}

static int make(const struct pt_site *site, struct pt_beneath *b, size_t i, struct pt_err *err)
{
    const char *name;
    const struct pt_entry *e = pt_manifest_get(site->target, i);
    int dir = pt_beneath_parent(b, e->path, &name);
    int rc = dir < 0                   ? -1
             : e->type == PT_ENTRY_DIR ? mkdirat(dir, name, 0700)
                                       : symlinkat(e->link, dir, name);
    if (rc == 0)
        return 0;
    int saved = errno;
    if (saved == EEXIST && dir >= 0 && pt_settle_collision(site, i, err) < 0)
        return -1;
    errno = saved;
    return pt_settle_cannot("make", e->path, err);
}

int pt_settle(const struct pt_site *site, struct pt_err *err)
{
    struct pt_beneath b = PT_BENEATH(site->present.tree);
    int rc = pt_purge(site->temp) < 0 ? pt_settle_cannot("remove", "what was left over", err) : 0;
    if (rc == 0)
        rc = remove_going(site, &b, err);
    pt_beneath_forget(&b);
    if (rc == 0 && site->diff->local && pt_purge(site->temp) < 0)
        rc = pt_settle_cannot("remove", "what was left over", err);
    size_t n = pt_manifest_count(site->target);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (site->diff->entries[i].make)
            rc = make(site, &b, i, err);
    pt_beneath_fini(&b);
    return rc;
}

/* --- sealing --- */

static void vouch(struct pt_stamp *stamp, const struct pt_stamp *now, int64_t clock_ns)
{
    *stamp = *now;
    if (pt_stamp_racy(stamp, clock_ns))
        stamp->ino = 0;
}

static bool as_wanted(const struct pt_entry *e, const struct stat *st)
{
    switch (e->type) {
    case PT_ENTRY_FILE:
        return S_ISREG(st->st_mode) && (uint64_t)st->st_size == e->size;
    case PT_ENTRY_DIR:
        return S_ISDIR(st->st_mode);
    default:
        return S_ISLNK(st->st_mode);
    }
}

static int seal_entry(struct pt_beneath *b, const struct pt_entry *e, int64_t clock_ns,
                      struct pt_stamp *stamp, struct pt_err *err)
{
    struct stat st;
    const char *name;
    int dir = pt_beneath_parent(b, e->path, &name);
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return pt_settle_cannot("find", e->path, err);
    if (!as_wanted(e, &st))
        return pt_err_set_kind(err, PT_ERR_INFRA, "'%s' in the workspace was changed by somebody else",
                               e->path);
    if (e->type != PT_ENTRY_LINK && (st.st_mode & 07777) != e->mode &&
        (fchmodat(dir, name, (mode_t)e->mode, 0) < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0))
        return pt_settle_cannot("set the mode of", e->path, err);
    struct pt_stamp now = pt_stamp_of(&st);
    vouch(stamp, &now, clock_ns);
    return 0;
}

int pt_settle_seal(const struct pt_site *site, int64_t clock_ns, struct pt_stamp *stamps, struct pt_err *err)
{
    struct pt_beneath b = PT_BENEATH(site->present.tree);
    const struct pt_survey *survey = site->present.survey;
    int rc = 0;
    /* Backwards: what lies in a folder comes before the mode that may close it. */
    for (size_t i = pt_manifest_count(site->target); rc == 0 && i-- > 0;) {
        const struct pt_match *m = &site->diff->entries[i];
        if (m->touch || m->shuts_out)
            rc = seal_entry(&b, pt_manifest_get(site->target, i), clock_ns, &stamps[i], err);
        else
            vouch(&stamps[i], &survey->nodes[m->node].stamp, survey->clock_ns);
    }
    pt_beneath_fini(&b);
    return rc;
}
