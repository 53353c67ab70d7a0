/* SPDX-License-Identifier: Apache-2.0 */
/* store_check CACHE TREE: opens the store of a host that is at rest, reads every blob of the tree from it,
 * and says in one line how many there are, how many of them it has not, in how many packs one lies at most,
 * and how many files were never finished. */
#include "common/auto.h"
#include "common/err.h"
#include "sync/here/scan.h"
#include "sync/manifest.h"
#include "sync/sealed.h"
#include "sync/there/store.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int die(const struct pt_err *err)
{
    fprintf(stderr, "store_check: %s\n", err->msg);
    return 1;
}

static int is_same(void *arg, uint32_t number, const void *data, uint32_t size)
{
    const struct pt_manifest *m = arg;
    unsigned char digest[PT_DIGEST];
    struct pt_blob blob = pt_manifest_blob(m, number);
    if (pt_digest_buffer(PT_DIGEST_BLAKE2B, data, size, digest, NULL) < 0 || size != blob.size)
        return -1;
    return memcmp(digest, blob.digest, PT_DIGEST) == 0 ? 0 : -1;
}

/* -1 when the store gave what was not asked for. */
static int count_lost(struct pt_store *s, struct pt_manifest *m, size_t *lost, struct pt_err *err)
{
    size_t n = pt_manifest_blobs(m);
    pt_auto_free struct pt_store_want *wants = calloc(n + 1, sizeof(*wants));
    if (!wants)
        return pt_err_set(err, "out of memory");
    for (size_t i = 0; i < n; i++) {
        struct pt_blob blob = pt_manifest_blob(m, (uint32_t)i);
        wants[i].size = blob.size;
        wants[i].number = (uint32_t)i;
        memcpy(wants[i].digest, blob.digest, PT_DIGEST);
    }
    if (pt_store_read(s, wants, n, is_same, m, err) < 0)
        return pt_err_wrap(err, "reading the store");
    for (size_t i = 0; i < n; i++)
        *lost += wants[i].lost;
    return 0;
}

struct digests {
    unsigned char (*v)[PT_DIGEST];
    size_t n;
};

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, PT_DIGEST);
}

/* An index: magic, algorithm, how many segments and blobs, 9 bytes a segment, then digest, offset and size of
 * each blob. */
static void add_index(struct digests *d, const char *path)
{
    struct pt_buf b = {0};
    if (pt_sealed_read(path, &b) < 0)
        return;
    struct pt_reader r = {.p = b.data, .left = b.len};
    pt_get_u32(&r);
    pt_get_u8(&r);
    uint32_t segments = pt_get_u32(&r), blobs = pt_get_u32(&r);
    pt_get_raw(&r, 9 * (size_t)segments);
    d->v = reallocarray(d->v, d->n + blobs + 1, PT_DIGEST);
    if (!d->v)
        abort();
    for (uint32_t i = 0; i < blobs && !r.bad; i++) {
        const void *digest = pt_get_raw(&r, PT_DIGEST);
        pt_get_raw(&r, 12);
        if (!r.bad)
            memcpy(d->v[d->n++], digest, PT_DIGEST);
    }
    if (!pt_get_end(&r))
        fprintf(stderr, "store_check: %s is malformed\n", path);
    pt_buf_fini(&b);
}

static glob_t files_of(const char *cache, const char *suffix)
{
    glob_t g = {0};
    pt_auto_free char *pattern = NULL;
    if (asprintf(&pattern, "%s/store/blake2b/*%s", cache, suffix) < 0)
        abort();
    glob(pattern, 0, NULL, &g);
    return g;
}

/* How often the blob that is there most often is there. */
static size_t most_copies(const char *cache)
{
    struct digests d = {0};
    size_t most = 0, run = 0;
    glob_t g = files_of(cache, ".idx");
    for (size_t i = 0; i < g.gl_pathc; i++)
        add_index(&d, g.gl_pathv[i]);
    if (d.n)
        qsort(d.v, d.n, PT_DIGEST, by_bytes);
    for (size_t i = 0; i < d.n; i++) {
        run = i && memcmp(d.v[i - 1], d.v[i], PT_DIGEST) == 0 ? run + 1 : 1;
        most = run > most ? run : most;
    }
    globfree(&g);
    free(d.v);
    return most;
}

int main(int argc, char **argv)
{
    struct pt_err err = PT_ERR_INIT;
    size_t lost = 0;
    if (argc != 3)
        return 2;
    size_t most = most_copies(argv[1]);
    struct pt_tree_spec spec = {.root = argv[2], .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    struct pt_store *s = m ? pt_store_open(argv[1], PT_DIGEST_BLAKE2B, &err) : NULL;
    int rc = s ? count_lost(s, m, &lost, &err) : -1;
    glob_t parts = files_of(argv[1], ".part");
    if (rc == 0)
        printf("blobs=%u lost=%zu copies=%zu parts=%zu\n", pt_manifest_blobs(m), lost, most, parts.gl_pathc);
    globfree(&parts);
    pt_store_close(s);
    pt_manifest_destroy(m);
    return rc == 0 ? 0 : die(&err);
}
