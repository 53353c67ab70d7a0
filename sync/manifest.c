/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/manifest.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/chunk.h"
#include "sync/links.h"
#include "sync/manifest_wire.h"

#include <string.h>

#define MAGIC      0x50544d32u /* "PTM2" */
#define LEAST      17          /* bytes of the smallest encoded entry */
#define ARENA_SIZE (64u << 10)
#define CHUNK_SIZE (4 + PT_DIGEST) /* bytes of an encoded chunk */

struct arena {
    struct arena *next;
    size_t used, size;
    _Alignas(8) char data[];
};

struct pt_manifest {
    enum pt_digest_algorithm algorithm;
    struct pt_entry *entries;
    size_t n, cap;
    struct arena *arena;
    char *folder;
    uint64_t bytes;
    uint32_t *first_blob; /* n + 1 numbers, once sealed */
    unsigned char root[PT_DIGEST];
};

struct pt_manifest *pt_manifest_create(enum pt_digest_algorithm algorithm, const char *folder,
                                       struct pt_err *err)
{
    struct pt_manifest *m = calloc(1, sizeof(*m));
    if (!m || (folder && !(m->folder = strdup(folder)))) {
        pt_manifest_destroy(m);
        pt_err_set(err, "manifest: out of memory");
        return NULL;
    }
    m->algorithm = algorithm;
    return m;
}

void pt_manifest_destroy(struct pt_manifest *m)
{
    if (!m)
        return;
    int saved = errno;
    for (struct arena *c = m->arena, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(m->entries);
    free(m->first_blob);
    free(m->folder);
    free(m);
    errno = saved;
}

/* Room for n bytes that lives as long as the manifest. */
static void *room(struct pt_manifest *m, size_t n, size_t align)
{
    struct arena *a = m->arena;
    size_t from = a ? (a->used + align - 1) & ~(align - 1) : 0;
    if (!a || from > a->size || a->size - from < n) {
        size_t size = n > ARENA_SIZE ? n : ARENA_SIZE;
        a = malloc(sizeof(*a) + size);
        if (!a)
            return NULL;
        *a = (struct arena){.next = m->arena, .size = size};
        m->arena = a;
        from = 0;
    }
    a->used = from + n;
    return a->data + from;
}

/* A copy of n bytes and a NUL. */
static const char *keep(struct pt_manifest *m, const char *s, size_t n)
{
    char *out = room(m, n + 1, 1);
    if (!out)
        return NULL;
    memcpy(out, s, n);
    out[n] = '\0';
    return out;
}

static const struct pt_chunk *keep_chunks(struct pt_manifest *m, const struct pt_chunk *chunks, size_t n)
{
    struct pt_chunk *out = room(m, n * sizeof(*out), _Alignof(struct pt_chunk));
    return out ? memcpy(out, chunks, n * sizeof(*out)) : NULL;
}

static int add(struct pt_manifest *m, const struct pt_entry *entry, size_t path_len, size_t link_len)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 256;
        struct pt_entry *entries = reallocarray(m->entries, cap, sizeof(*entries));
        if (!entries)
            return -1;
        m->entries = entries;
        m->cap = cap;
    }
    struct pt_entry *e = &m->entries[m->n];
    *e = *entry;
    e->path = keep(m, entry->path, path_len);
    e->link = entry->link ? keep(m, entry->link, link_len) : NULL;
    if (entry->nchunks)
        e->chunks = keep_chunks(m, entry->chunks, entry->nchunks);
    if (!e->path || (entry->link && !e->link) || (entry->nchunks && !e->chunks))
        return -1;
    m->n++;
    return 0;
}

int pt_manifest_add(struct pt_manifest *m, const struct pt_entry *entry, struct pt_err *err)
{
    if (add(m, entry, strlen(entry->path), entry->link ? strlen(entry->link) : 0) < 0)
        return pt_err_set(err, "manifest: out of memory");
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct pt_entry *)a)->path, ((const struct pt_entry *)b)->path);
}

static int by_name(const void *key, const void *entry)
{
    return strcmp(key, ((const struct pt_entry *)entry)->path);
}

const struct pt_entry *pt_manifest_find(const struct pt_manifest *m, const char *path)
{
    return m->n ? bsearch(path, m->entries, m->n, sizeof(*m->entries), by_name) : NULL;
}

bool pt_path_valid(const char *path)
{
    size_t len = strlen(path);
    if (len == 0 || len >= PT_PATH_LIMIT)
        return false;
    for (const char *p = path;; p++) {
        const char *end = strchrnul(p, '/');
        size_t n = (size_t)(end - p);
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (!*end)
            return true;
        p = end;
    }
}

static bool parent_is_dir(const struct pt_manifest *m, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return true;
    char parent[PT_PATH_LIMIT];
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = '\0';
    const struct pt_entry *e = pt_manifest_find(m, parent);
    return e && e->type == PT_ENTRY_DIR;
}

int pt_chunks_digest(enum pt_digest_algorithm algorithm, const struct pt_chunk *chunks, size_t n,
                     unsigned char out[PT_DIGEST])
{
    struct pt_buf b = {0};
    for (size_t i = 0; i < n; i++) {
        pt_put_u32(&b, chunks[i].size);
        pt_buf_append(&b, chunks[i].digest, PT_DIGEST);
    }
    int rc = b.bad ? -1 : pt_digest_buffer(algorithm, b.data, b.len, out, NULL);
    pt_buf_fini(&b);
    return rc;
}

static bool chunks_fit(const struct pt_manifest *m, const struct pt_entry *e)
{
    unsigned char digest[PT_DIGEST];
    uint64_t size = 0;
    if (e->type != PT_ENTRY_FILE)
        return false;
    for (uint32_t i = 0; i < e->nchunks; i++) {
        if (e->chunks[i].size == 0 || e->chunks[i].size > PT_CHUNK_MAX)
            return false;
        size += e->chunks[i].size;
    }
    return size == e->size && pt_chunks_digest(m->algorithm, e->chunks, e->nchunks, digest) == 0 &&
           memcmp(digest, e->digest, PT_DIGEST) == 0;
}

static int check_entry(const struct pt_manifest *m, const struct pt_entry *e, struct pt_err *err)
{
    if (!pt_path_valid(e->path))
        return pt_err_set(err, "'%.200s' is no name for a file in a tree", e->path);
    if (e->type < PT_ENTRY_FILE || e->type > PT_ENTRY_LINK || (e->mode & ~0777u) ||
        (e->type == PT_ENTRY_LINK) != (e->link != NULL) || (e->type == PT_ENTRY_LINK && e->mode))
        return pt_err_set(err, "'%s': malformed entry", e->path);
    if (e->nchunks && !chunks_fit(m, e))
        return pt_err_set(err, "'%s': its chunks are not those of a file of that size and digest", e->path);
    if (!parent_is_dir(m, e->path))
        return pt_err_set(err, "'%s' lies in something that is not a folder of the tree", e->path);
    if (e->type == PT_ENTRY_LINK && pt_link_leaves(m, e)) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s is a link to %s, outside of the tree", e->path, e->link);
        return pt_err_hint(err, "leave it out with --exclude '%s', or follow it with --copy-links", e->path);
    }
    return 0;
}

void pt_manifest_put_entry(struct pt_buf *b, const struct pt_entry *e, enum pt_put what)
{
    bool all = what == PT_PUT_ALL;
    pt_put_u8(b, (uint8_t)e->type);
    pt_put_u32(b, e->mode);
    if (all)
        pt_put_u64(b, (uint64_t)e->mtime_ns);
    pt_put_str(b, e->path);
    if (e->type == PT_ENTRY_LINK)
        pt_put_str(b, e->link);
    if (e->type == PT_ENTRY_FILE) {
        pt_put_u64(b, e->size);
        pt_buf_append(b, e->digest, PT_DIGEST);
    }
    if (all && e->size > PT_CHUNKED_FROM) {
        pt_put_u32(b, e->nchunks);
        for (uint32_t i = 0; i < e->nchunks; i++) {
            pt_put_u32(b, e->chunks[i].size);
            pt_buf_append(b, e->chunks[i].digest, PT_DIGEST);
        }
    }
}

/* Which blobs belong to which entry. */
static int number_blobs(struct pt_manifest *m, struct pt_err *err)
{
    free(m->first_blob);
    m->first_blob = calloc(m->n + 1, sizeof(*m->first_blob));
    if (!m->first_blob)
        return pt_err_set(err, "manifest: out of memory");
    uint64_t total = 0;
    for (size_t i = 0; i < m->n; i++) {
        m->first_blob[i] = (uint32_t)total;
        total += m->entries[i].nchunks ? m->entries[i].nchunks : m->entries[i].size > 0;
        if (total > UINT32_MAX)
            return pt_err_set(err, "the tree is too large");
    }
    m->first_blob[m->n] = (uint32_t)total;
    return 0;
}

/* The digest over the canonical encoding of all entries, without their mtimes. */
static int compute_root(struct pt_manifest *m, struct pt_err *err)
{
    struct pt_digest *d = pt_digest_create(m->algorithm, err);
    if (!d)
        return -1;
    struct pt_buf b = {0};
    pt_put_u32(&b, MAGIC);
    pt_put_u8(&b, (uint8_t)m->algorithm);
    for (size_t i = 0; i < m->n; i++) {
        pt_manifest_put_entry(&b, &m->entries[i], PT_PUT_ROOT);
        if (b.len >= ARENA_SIZE) {
            pt_digest_add(d, b.data, b.len);
            b.len = 0;
        }
    }
    pt_digest_add(d, b.data, b.len);
    int rc = pt_digest_end(d, m->root);
    if (rc < 0 || b.bad)
        rc = pt_err_set(err, "manifest: cannot compute the root");
    pt_digest_destroy(d);
    pt_buf_fini(&b);
    return rc;
}

int pt_manifest_seal(struct pt_manifest *m, struct pt_err *err)
{
    if (m->n)
        qsort(m->entries, m->n, sizeof(*m->entries), by_path);
    m->bytes = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct pt_entry *e = &m->entries[i];
        if (i && strcmp(m->entries[i - 1].path, e->path) == 0)
            return pt_err_set(err, "'%s' is listed twice", e->path);
        if (check_entry(m, e, err) < 0)
            return -1;
        if (__builtin_add_overflow(m->bytes, e->size, &m->bytes))
            return pt_err_set(err, "the tree is too large");
    }
    return number_blobs(m, err) < 0 ? -1 : compute_root(m, err);
}

void pt_manifest_encode(const struct pt_manifest *m, struct pt_buf *out)
{
    pt_put_u32(out, MAGIC);
    pt_put_u8(out, (uint8_t)m->algorithm);
    pt_buf_append(out, m->root, PT_DIGEST);
    pt_put_u32(out, (uint32_t)m->n);
    for (size_t i = 0; i < m->n; i++)
        pt_manifest_put_entry(out, &m->entries[i], PT_PUT_ALL);
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
    struct pt_chunk *chunks = calloc(*n + 1, sizeof(*chunks));
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
    if (r->bad)
        return;
    if (add(m, &e, path_len, link_len) < 0)
        r->bad = true;
    else if (m->n > 1 && strcmp(m->entries[m->n - 2].path, m->entries[m->n - 1].path) >= 0)
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
    if (!pt_get_end(&r)) {
        pt_err_set(err, "manifest: malformed");
        goto error;
    }
    if (pt_manifest_seal(m, err) < 0)
        goto error;
    if (memcmp(root, m->root, PT_DIGEST) != 0) {
        pt_err_set(err, "manifest: its root is not that of its entries");
        goto error;
    }
    return m;
error:
    pt_manifest_destroy(m);
    return NULL;
}

size_t pt_manifest_count(const struct pt_manifest *m)
{
    return m->n;
}

const struct pt_entry *pt_manifest_get(const struct pt_manifest *m, size_t i)
{
    return &m->entries[i];
}

const unsigned char *pt_manifest_root(const struct pt_manifest *m)
{
    return m->root;
}

enum pt_digest_algorithm pt_manifest_algorithm(const struct pt_manifest *m)
{
    return m->algorithm;
}

const char *pt_manifest_folder(const struct pt_manifest *m)
{
    return m->folder;
}

uint64_t pt_manifest_bytes(const struct pt_manifest *m)
{
    return m->bytes;
}

uint32_t pt_manifest_blobs(const struct pt_manifest *m)
{
    return m->first_blob[m->n];
}

uint32_t pt_manifest_first_blob(const struct pt_manifest *m, size_t i)
{
    return m->first_blob[i];
}

struct pt_blob pt_manifest_blob(const struct pt_manifest *m, uint32_t number)
{
    size_t low = 0, high = m->n; /* the last entry whose first blob is not beyond */
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (m->first_blob[mid] <= number)
            low = mid;
        else
            high = mid;
    }
    const struct pt_entry *e = &m->entries[low];
    struct pt_blob b = {.entry = (uint32_t)low, .chunk = number - m->first_blob[low]};
    if (!e->nchunks) {
        b.size = (uint32_t)e->size;
        b.digest = e->digest;
        return b;
    }
    for (uint32_t i = 0; i < b.chunk; i++)
        b.offset += e->chunks[i].size;
    b.size = e->chunks[b.chunk].size;
    b.digest = e->chunks[b.chunk].digest;
    return b;
}
