/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/manifest.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "sync/arena.h"
#include "sync/chunk.h"
#include "sync/links.h"
#include "sync/manifest_wire.h"

#include <string.h>

#define BATCH (64u << 10) /* bytes that are digested at once */

struct pt_manifest {
    enum pt_digest_algorithm algorithm;
    struct pt_entry *entries;
    size_t n, cap;
    struct pt_arena arena;
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
    pt_arena_fini(&m->arena);
    free(m->entries);
    free(m->first_blob);
    free(m->folder);
    free(m);
    errno = saved;
}

/* A copy of n bytes and a NUL. */
static const char *keep(struct pt_manifest *m, const char *s, size_t n)
{
    char *out = pt_arena_take(&m->arena, n + 1, 1);
    if (!out)
        return NULL;
    memcpy(out, s, n);
    out[n] = '\0';
    return out;
}

static const struct pt_chunk *keep_chunks(struct pt_manifest *m, const struct pt_chunk *chunks, size_t n)
{
    struct pt_chunk *out = pt_arena_take(&m->arena, n * sizeof(*out), _Alignof(struct pt_chunk));
    return out ? memcpy(out, chunks, n * sizeof(*out)) : NULL;
}

int pt_manifest_take(struct pt_manifest *m, const struct pt_entry *entry, size_t path_len, size_t link_len)
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
    if (pt_manifest_take(m, entry, strlen(entry->path), entry->link ? strlen(entry->link) : 0) < 0)
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

/* The folders that the last path lies in, the innermost last: the next one mostly lies in one of them. */
struct place {
    const struct pt_entry *folder[32];
    size_t len[32], n;
};

static const struct pt_entry *find_folder(const struct pt_manifest *m, const char *path, size_t len)
{
    char folder[PT_PATH_LIMIT];
    if (len >= sizeof(folder))
        return NULL;
    memcpy(folder, path, len);
    folder[len] = '\0';
    const struct pt_entry *e = pt_manifest_find(m, folder);
    return e && e->type == PT_ENTRY_DIR ? e : NULL;
}

/* True when the first len bytes of path name a folder of the tree. */
static bool in_folder(const struct pt_manifest *m, const char *path, size_t len, struct place *at)
{
    for (; at->n; at->n--) {
        size_t n = at->len[at->n - 1];
        if (n > len || memcmp(at->folder[at->n - 1]->path, path, n) != 0)
            continue;
        if (n == len)
            return true;
        if (path[n] == '/')
            break;
    }
    const struct pt_entry *e = find_folder(m, path, len);
    if (!e)
        return false;
    if (at->n == PT_COUNT(at->folder))
        at->n = 0;
    at->folder[at->n] = e;
    at->len[at->n++] = len;
    return true;
}

/* What a path in a folder that is known to be right may end with. */
static bool is_name(const char *name)
{
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
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

static int check_entry(const struct pt_manifest *m, const struct pt_entry *e, struct place *at,
                       struct pt_err *err)
{
    size_t len = strlen(e->path);
    const char *slash = memrchr(e->path, '/', len);
    bool placed = !slash || in_folder(m, e->path, (size_t)(slash - e->path), at);
    bool named = placed && len < PT_PATH_LIMIT && is_name(slash ? slash + 1 : e->path);
    if (!named && !pt_path_valid(e->path))
        return pt_err_set(err, "'%.200s' is no name for a file in a tree", e->path);
    if (e->type < PT_ENTRY_FILE || e->type > PT_ENTRY_LINK || (e->mode & ~0777u) ||
        (e->type == PT_ENTRY_LINK) != (e->link != NULL) || (e->type == PT_ENTRY_LINK && e->mode))
        return pt_err_set(err, "'%s': malformed entry", e->path);
    if ((e->nchunks > 0) != (e->size > PT_CHUNKED_FROM) || (e->nchunks && !chunks_fit(m, e)))
        return pt_err_set(err, "'%s': its chunks are not those of a file of that size and digest", e->path);
    if (!placed)
        return pt_err_set(err, "'%s' lies in something that is not a folder of the tree", e->path);
    if (e->type == PT_ENTRY_LINK && pt_link_leaves(m, e)) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s is a link to %s, outside of the tree", e->path, e->link);
        pt_auto_free char *path = pt_quoted(e->path, false);
        return pt_err_hint(err, "leave it out with --exclude %s, or follow it with --copy-links",
                           path ? path : "GLOB");
    }
    return 0;
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
    pt_manifest_put_head(&b, m->algorithm);
    for (size_t i = 0; i < m->n; i++) {
        pt_manifest_put_entry(&b, &m->entries[i], PT_PUT_ROOT);
        if (b.len >= BATCH) {
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

static bool is_sorted(const struct pt_manifest *m)
{
    for (size_t i = 1; i < m->n; i++)
        if (strcmp(m->entries[i - 1].path, m->entries[i].path) >= 0)
            return false;
    return true;
}

static int sort(struct pt_manifest *m, struct pt_err *err)
{
    if (is_sorted(m))
        return 0;
    qsort(m->entries, m->n, sizeof(*m->entries), by_path);
    for (size_t i = 1; i < m->n; i++)
        if (strcmp(m->entries[i - 1].path, m->entries[i].path) == 0)
            return pt_err_set(err, "'%s' is listed twice", m->entries[i].path);
    return 0;
}

int pt_manifest_seal(struct pt_manifest *m, struct pt_err *err)
{
    struct place at = {.n = 0};
    if (sort(m, err) < 0)
        return -1;
    m->bytes = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct pt_entry *e = &m->entries[i];
        if (check_entry(m, e, &at, err) < 0)
            return -1;
        if (__builtin_add_overflow(m->bytes, e->size, &m->bytes))
            return pt_err_set(err, "the tree is too large");
    }
    return number_blobs(m, err) < 0 ? -1 : compute_root(m, err);
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
