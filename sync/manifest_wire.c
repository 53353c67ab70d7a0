/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/manifest_wire.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/chunk.h"

#include <endian.h>
#include <string.h>

#define MAGIC      0x50544d32u      /* "PTM2" */
#define LEAST      17               /* bytes of the smallest encoded entry */
#define FIXED      (33 + PT_DIGEST) /* bytes of the largest, but for its strings and chunks */
#define CHUNK_SIZE (4 + PT_DIGEST)  /* bytes of an encoded chunk */

void pt_manifest_put_head(struct pt_buf *b, enum pt_digest_algorithm algorithm)
{
    pt_put_u32(b, MAGIC);
    pt_put_u8(b, (uint8_t)algorithm);
}

static unsigned char *put_u32(unsigned char *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

static unsigned char *put_u64(unsigned char *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

static unsigned char *put_raw(unsigned char *p, const void *data, size_t n)
{
    memcpy(p, data, n);
    return p + n;
}

/* A u32 length, then the bytes: what pt_put_str does. */
static unsigned char *put_str(unsigned char *p, const char *s, size_t n)
{
    return put_raw(put_u32(p, (uint32_t)n), s, n);
}

void pt_manifest_put_entry(struct pt_buf *b, const struct pt_entry *e, enum pt_put what)
{
    bool all = what == PT_PUT_ALL, chunks = all && e->size > PT_CHUNKED_FROM;
    size_t path = strlen(e->path), link = e->type == PT_ENTRY_LINK ? strlen(e->link) : 0;
    unsigned char *p =
        pt_buf_reserve(b, FIXED + path + link + (chunks ? (size_t)e->nchunks * CHUNK_SIZE : 0));
    if (!p)
        return;
    unsigned char *from = p;
    *p++ = (unsigned char)e->type;
    p = put_u32(p, e->mode);
    if (all)
        p = put_u64(p, (uint64_t)e->mtime_ns);
    p = put_str(p, e->path, path);
    if (e->type == PT_ENTRY_LINK)
        p = put_str(p, e->link, link);
    if (e->type == PT_ENTRY_FILE)
        p = put_raw(put_u64(p, e->size), e->digest, PT_DIGEST);
    if (chunks)
        p = put_u32(p, e->nchunks);
    for (uint32_t i = 0; chunks && i < e->nchunks; i++)
        p = put_raw(put_u32(p, e->chunks[i].size), e->chunks[i].digest, PT_DIGEST);
    b->len += (size_t)(p - from);
}

void pt_manifest_encode(const struct pt_manifest *m, struct pt_buf *out)
{
    size_t n = pt_manifest_count(m);
    pt_manifest_put_head(out, pt_manifest_algorithm(m));
    pt_buf_append(out, pt_manifest_root(m), PT_DIGEST);
    pt_put_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        pt_manifest_put_entry(out, pt_manifest_get(m, i), PT_PUT_ALL);
}

const char *pt_manifest_get_name(struct pt_reader *r, size_t *n)
{
    const char *s = pt_get_bytes(r, n);
    if (!s || *n == 0 || *n >= PT_PATH_LIMIT || memchr(s, 0, *n)) {
        r->bad = true;
        return NULL;
    }
    return s;
}

/* The chunks of a large file, to be freed. */
static struct pt_chunk *get_chunks(struct pt_reader *r, uint32_t *n)
{
    *n = pt_get_u32(r);
    if (r->bad || *n > r->left / CHUNK_SIZE) {
        r->bad = true;
        return NULL;
    }
    struct pt_chunk *chunks = calloc(*n + (size_t)1, sizeof(*chunks));
    if (!chunks)
        r->bad = true;
    for (uint32_t i = 0; i < *n && !r->bad; i++) {
        chunks[i].size = pt_get_u32(r);
        const void *digest = pt_get_raw(r, PT_DIGEST);
        if (digest)
            memcpy(chunks[i].digest, digest, PT_DIGEST);
    }
    return chunks;
}

static bool in_order(const struct pt_manifest *m)
{
    size_t n = pt_manifest_count(m);
    return n < 2 || strcmp(pt_manifest_get(m, n - 2)->path, pt_manifest_get(m, n - 1)->path) < 0;
}

/* One entry from the reader into m; what is wrong with it in itself makes the reader bad. */
static void get_entry(struct pt_reader *r, struct pt_manifest *m)
{
    size_t path_len = 0, link_len = 0;
    struct pt_entry e = {.type = pt_get_u8(r)};
    e.mode = pt_get_u32(r);
    e.mtime_ns = (int64_t)pt_get_u64(r);
    e.path = pt_manifest_get_name(r, &path_len);
    if (e.type == PT_ENTRY_LINK)
        e.link = pt_manifest_get_name(r, &link_len);
    if (e.type == PT_ENTRY_FILE) {
        e.size = pt_get_u64(r);
        const void *digest = pt_get_raw(r, PT_DIGEST);
        if (digest)
            memcpy(e.digest, digest, PT_DIGEST);
    }
    pt_auto_free struct pt_chunk *chunks = NULL;
    if (!r->bad && e.size > PT_CHUNKED_FROM)
        e.chunks = chunks = get_chunks(r, &e.nchunks);
    if (!r->bad && (pt_manifest_take(m, &e, path_len, link_len) < 0 || !in_order(m)))
        r->bad = true;
}

void pt_manifest_get_entries(struct pt_reader *r, uint32_t n, struct pt_manifest *m)
{
    if (n > r->left / LEAST)
        r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++)
        get_entry(r, m);
}

struct pt_manifest *pt_manifest_decode(const void *data, size_t len, struct pt_err *err)
{
    struct pt_reader r = {.p = data, .left = len};
    unsigned char root[PT_DIGEST] = {0};
    uint32_t magic = pt_get_u32(&r);
    uint8_t algorithm = pt_get_u8(&r);
    const void *raw = pt_get_raw(&r, PT_DIGEST);
    if (raw)
        memcpy(root, raw, PT_DIGEST);
    uint32_t n = pt_get_u32(&r);
    if (magic != MAGIC)
        r.bad = true;
    struct pt_manifest *m = pt_manifest_create(algorithm, NULL, err);
    if (!m)
        return NULL;
    pt_manifest_get_entries(&r, n, m);
    int rc = pt_get_end(&r) ? pt_manifest_seal(m, err) : pt_err_set(err, "manifest: malformed");
    if (rc == 0 && memcmp(root, pt_manifest_root(m), PT_DIGEST) != 0)
        rc = pt_err_set(err, "manifest: its root is not that of its entries");
    if (rc == 0)
        return m;
    pt_manifest_destroy(m);
    return NULL;
}
