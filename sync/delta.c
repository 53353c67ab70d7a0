/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/delta.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/manifest_wire.h"

#include <string.h>

#define MAGIC      0x50544431u /* "PTD1" */
#define LEAST_PATH 5           /* bytes of the smallest encoded path */

static bool same(const struct pt_entry *a, const struct pt_entry *b)
{
    return a->type == b->type && a->mode == b->mode && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->nchunks == b->nchunks && memcmp(a->digest, b->digest, PT_DIGEST) == 0 &&
           (a->type != PT_ENTRY_LINK || strcmp(a->link, b->link) == 0);
}

/* Two sorted manifests side by side. */
struct pair {
    const struct pt_manifest *base, *target;
    size_t b, t;
};

/* The next path of either; one of the two is NULL when only the other has it. False at the end. */
static bool next_pair(struct pair *p, const struct pt_entry **b, const struct pt_entry **t)
{
    *b = p->b < pt_manifest_count(p->base) ? pt_manifest_get(p->base, p->b) : NULL;
    *t = p->t < pt_manifest_count(p->target) ? pt_manifest_get(p->target, p->t) : NULL;
    int order = *b && *t ? strcmp((*b)->path, (*t)->path) : 0;
    if (order < 0)
        *t = NULL;
    if (order > 0)
        *b = NULL;
    p->b += *b != NULL;
    p->t += *t != NULL;
    return *b || *t;
}

int pt_delta_encode(const struct pt_manifest *base, const struct pt_manifest *target, struct pt_buf *out)
{
    const struct pt_entry *b, *t;
    uint32_t removed = 0, changed = 0;
    pt_put_u32(out, MAGIC);
    pt_put_u8(out, (uint8_t)pt_manifest_algorithm(target));
    pt_buf_append(out, pt_manifest_root(base), PT_DIGEST);
    pt_buf_append(out, pt_manifest_root(target), PT_DIGEST);
    size_t mark = out->len;
    pt_put_u32(out, 0);
    for (struct pair p = {base, target, 0, 0}; next_pair(&p, &b, &t);) {
        if (t)
            continue;
        pt_put_str(out, b->path);
        removed++;
    }
    pt_set_u32(out, mark, removed);
    mark = out->len;
    pt_put_u32(out, 0);
    for (struct pair p = {base, target, 0, 0}; next_pair(&p, &b, &t);) {
        if (!t || (b && same(b, t)))
            continue;
        pt_manifest_put_entry(out, t, PT_PUT_ALL);
        changed++;
    }
    pt_set_u32(out, mark, changed);
    return out->bad ? -1 : 0;
}

/* Mark in gone which entries of base the delta removes. */
static void get_removed(struct pt_reader *r, const struct pt_manifest *base, bool *gone)
{
    char path[PT_PATH_LIMIT];
    const struct pt_entry *before = NULL;
    uint32_t n = pt_get_u32(r);
    if (n > r->left / LEAST_PATH)
        r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        size_t len;
        const char *name = pt_manifest_get_name(r, &len);
        if (!name)
            return;
        memcpy(path, name, len);
        path[len] = '\0';
        const struct pt_entry *e = pt_manifest_find(base, path);
        if (!e || (before && e <= before)) {
            r->bad = true;
            return;
        }
        gone[e - pt_manifest_get(base, 0)] = true;
        before = e;
    }
}

static struct pt_manifest *get_changed(struct pt_reader *r, enum pt_digest_algorithm algorithm,
                                       struct pt_err *err)
{
    struct pt_manifest *m = pt_manifest_create(algorithm, NULL, err);
    uint32_t n = pt_get_u32(r);
    if (m)
        pt_manifest_get_entries(r, n, m);
    return m;
}

/* What base and the changes make together, not sealed. A path that went and came is neither. */
static int merge(const struct pt_manifest *base, const bool *gone, const struct pt_manifest *changed,
                 struct pt_manifest *out, struct pt_err *err)
{
    const struct pt_entry *b, *t;
    for (struct pair p = {base, changed, 0, 0}; next_pair(&p, &b, &t);) {
        bool went = b && gone[b - pt_manifest_get(base, 0)];
        if (went && t)
            return pt_err_set(err, "delta: malformed");
        if (!went && pt_manifest_add(out, t ? t : b, err) < 0)
            return -1;
    }
    return 0;
}

static struct pt_manifest *apply(const struct pt_manifest *base, struct pt_reader *r, bool *gone,
                                 struct pt_err *err)
{
    uint32_t magic = pt_get_u32(r);
    enum pt_digest_algorithm algorithm = pt_get_u8(r);
    const void *from = pt_get_raw(r, PT_DIGEST), *to = pt_get_raw(r, PT_DIGEST);
    if (!to || magic != MAGIC) {
        pt_err_set(err, "delta: malformed");
        return NULL;
    }
    if (memcmp(from, pt_manifest_root(base), PT_DIGEST) != 0) {
        pt_err_set(err, "delta: made from another manifest");
        return NULL;
    }
    get_removed(r, base, gone);
    struct pt_manifest *changed = get_changed(r, algorithm, err);
    struct pt_manifest *out = changed ? pt_manifest_create(algorithm, NULL, err) : NULL;
    int rc = out ? 0 : -1;
    if (rc == 0 && !pt_get_end(r))
        rc = pt_err_set(err, "delta: malformed");
    if (rc == 0 && (rc = merge(base, gone, changed, out, err)) == 0)
        rc = pt_manifest_seal(out, err);
    if (rc == 0 && memcmp(pt_manifest_root(out), to, PT_DIGEST) != 0)
        rc = pt_err_set(err, "delta: its root is not that of its entries");
    pt_manifest_destroy(changed);
    if (rc == 0)
        return out;
    pt_manifest_destroy(out);
    return NULL;
}

struct pt_manifest *pt_delta_apply(const struct pt_manifest *base, const void *data, size_t len,
                                   struct pt_err *err)
{
    struct pt_reader r = {.p = data, .left = len};
    pt_auto_free bool *gone = calloc(pt_manifest_count(base) + 1, sizeof(*gone));
    if (gone)
        return apply(base, &r, gone, err);
    pt_err_set(err, "delta: out of memory");
    return NULL;
}

const unsigned char *pt_delta_base(const void *data, size_t len)
{
    struct pt_reader r = {.p = data, .left = len};
    uint32_t magic = pt_get_u32(&r);
    pt_get_u8(&r);
    const unsigned char *root = pt_get_raw(&r, PT_DIGEST);
    return magic == MAGIC ? root : NULL;
}
