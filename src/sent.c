/* SPDX-License-Identifier: Apache-2.0 */
#include "sent.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x50545332u /* "PTS2" */

struct pt_sent {
    char *path;
    unsigned char root[PT_DIGEST];
    bool has_root, changed;
    bool unfinished;       /* PATH.unfinished is there */
    struct pt_buf encoded; /* the tree of that root */
    struct pt_manifest *manifest;
    struct pt_known *known;
    uint64_t rate;
};

/* A host's name may hold anything: its digest names the file. */
static char *path_of(const char *state_dir, const char *host, const char *remote_dir)
{
    unsigned char digest[PT_DIGEST];
    char hex[PT_DIGEST_HEX], *path = NULL;
    struct pt_buf b = {0};
    pt_put_str(&b, host);
    pt_put_str(&b, remote_dir);
    int rc = b.bad ? -1 : pt_digest_buffer(PT_DIGEST_BLAKE2B, b.data, b.len, digest, NULL);
    pt_buf_fini(&b);
    if (rc < 0)
        return NULL;
    pt_digest_hex(digest, hex);
    return asprintf(&path, "%s/sent/%.24s", state_dir, hex) < 0 ? NULL : path;
}

static char *mark_of(const struct pt_sent *s)
{
    char *mark = NULL;
    return asprintf(&mark, "%s.unfinished", s->path) < 0 ? NULL : mark;
}

static int make_folder(struct pt_sent *s)
{
    char *slash = strrchr(s->path, '/');
    *slash = '\0';
    int rc = mkdir(s->path, 0700) < 0 && errno != EEXIST ? -1 : 0;
    *slash = '/';
    return rc;
}

static void forget(struct pt_sent *s)
{
    pt_manifest_destroy(s->manifest);
    pt_known_destroy(s->known);
    pt_buf_fini(&s->encoded);
    s->manifest = NULL;
    s->known = NULL;
    s->has_root = false;
}

static bool decode(struct pt_sent *s, struct pt_reader *r)
{
    size_t n;
    uint32_t magic = pt_get_u32(r);
    s->rate = pt_get_u64(r);
    const void *root = pt_get_raw(r, PT_DIGEST);
    const void *encoded = pt_get_bytes(r, &n);
    if (r->bad || magic != MAGIC || !(s->known = pt_known_decode(r)) || !pt_get_end(r))
        return false;
    memcpy(s->root, root, PT_DIGEST);
    pt_buf_append(&s->encoded, encoded, n);
    s->has_root = !s->encoded.bad;
    return s->has_root;
}

struct pt_sent *pt_sent_load(const char *state_dir, const char *host, const char *remote_dir)
{
    struct pt_buf b = {0};
    struct pt_sent *s = calloc(1, sizeof(*s));
    if (!s || !(s->path = path_of(state_dir, host, remote_dir))) {
        free(s);
        return NULL;
    }
    if (pt_sealed_read(s->path, &b) == 0) {
        struct pt_reader r = {.p = b.data, .left = b.len};
        if (!decode(s, &r)) {
            forget(s);
            s->rate = 0;
        }
    }
    pt_buf_fini(&b);
    pt_auto_free char *mark = mark_of(s);
    s->unfinished = mark && access(mark, F_OK) == 0;
    return s;
}

void pt_sent_destroy(struct pt_sent *s)
{
    if (!s)
        return;
    forget(s);
    free(s->path);
    free(s);
}

const unsigned char *pt_sent_root(const struct pt_sent *s)
{
    return s->has_root ? s->root : NULL;
}

const struct pt_manifest *pt_sent_manifest(struct pt_sent *s)
{
    if (s->has_root && !s->manifest) {
        s->manifest = pt_manifest_decode(s->encoded.data, s->encoded.len, NULL);
        if (!s->manifest || memcmp(pt_manifest_root(s->manifest), s->root, PT_DIGEST) != 0)
            forget(s);
    }
    return s->manifest;
}

const struct pt_known *pt_sent_known(const struct pt_sent *s)
{
    return s->known;
}

uint64_t pt_sent_rate(const struct pt_sent *s)
{
    return s->rate;
}

bool pt_sent_unfinished(const struct pt_sent *s)
{
    return s->unfinished;
}

void pt_sent_set_unfinished(struct pt_sent *s)
{
    pt_auto_free char *mark = s->unfinished ? NULL : mark_of(s);
    if (!mark || make_folder(s) < 0)
        return;
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    s->unfinished = true;
}

static void set_finished(struct pt_sent *s)
{
    pt_auto_free char *mark = s->unfinished ? mark_of(s) : NULL;
    if (mark)
        unlink(mark);
    s->unfinished = false;
}

int pt_sent_tree(struct pt_sent *s, const struct pt_manifest *m, bool forgot, struct pt_err *err)
{
    bool same = s->has_root && memcmp(s->root, pt_manifest_root(m), PT_DIGEST) == 0;
    set_finished(s);
    if (same && !forgot)
        return 0;
    if (forgot) {
        pt_known_destroy(s->known);
        s->known = NULL;
    }
    pt_manifest_destroy(s->manifest);
    s->manifest = NULL;
    s->has_root = false;
    pt_buf_clear(&s->encoded);
    pt_manifest_encode(m, &s->encoded);
    if (s->encoded.bad || (!s->known && !(s->known = pt_known_create())) || pt_known_add(s->known, m) < 0)
        return pt_err_set(err, "out of memory");
    memcpy(s->root, pt_manifest_root(m), PT_DIGEST);
    s->has_root = s->changed = true;
    return 0;
}

/* A little more or less is not worth a file. */
void pt_sent_set_rate(struct pt_sent *s, uint64_t rate)
{
    uint64_t low = s->rate / 4 * 3, high = s->rate + s->rate / 3;
    if (rate >= low && rate <= high && s->rate)
        return;
    s->changed |= s->rate != rate;
    s->rate = rate;
}

int pt_sent_save(struct pt_sent *s, struct pt_err *err)
{
    if (!s->changed || !s->has_root)
        return 0;
    struct pt_buf b = {0};
    pt_put_u32(&b, MAGIC);
    pt_put_u64(&b, s->rate);
    pt_buf_append(&b, s->root, PT_DIGEST);
    pt_put_bytes(&b, s->encoded.data, s->encoded.len);
    pt_known_encode(s->known, &b);
    int rc = make_folder(s);
    if (rc == 0)
        rc = pt_sealed_write(s->path, &b);
    if (rc < 0)
        pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", s->path, strerror(errno));
    pt_buf_fini(&b);
    s->changed = rc < 0;
    return rc;
}

void pt_sent_missing(const struct pt_manifest *m, const struct pt_manifest *has, uint64_t *files,
                     uint64_t *bytes)
{
    *files = *bytes = 0;
    for (size_t i = 0; i < pt_manifest_count(m); i++) {
        const struct pt_entry *e = pt_manifest_get(m, i);
        const struct pt_entry *old = has ? pt_manifest_find(has, e->path) : NULL;
        if (e->type != PT_ENTRY_FILE ||
            (old && old->type == e->type && old->size == e->size && old->mode == e->mode &&
             memcmp(old->digest, e->digest, PT_DIGEST) == 0))
            continue;
        ++*files;
        *bytes += e->size;
    }
}
