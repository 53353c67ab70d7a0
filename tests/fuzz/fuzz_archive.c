/* SPDX-License-Identifier: Apache-2.0 */
/* An archive of a tree, in segments: only what was asked for comes out of it, whatever its names and sizes
 * are. */
#include "fuzz_tree.h"
#include "sync/compress.h"
#include "sync/there/unpack.h"
#include "sync/there/untar.h"

struct source {
    struct fuzz_parts in;
    uint8_t how; /* bit 0: segments are packed; bits 1 to 3: how long pieces are */
    bool given_up;
    struct pt_buf packed;
    unsigned warned;
};

static struct pt_manifest *tree;

static size_t piece(struct source *s)
{
    static const size_t lengths[] = {65536, 128, 514, 300, 1026, 77, 1538, 13}; /* some end within content */
    size_t n = lengths[s->how >> 1 & 7];
    return n < s->in.left ? n : s->in.left;
}

static int next(void *arg, struct pt_segment *out, struct pt_err *err)
{
    struct source *s = arg;
    size_t n = piece(s);
    if (n == 0 && (s->how & 16)) {
        s->given_up = true;
        return pt_err_set(err, "given up");
    }
    if (n == 0)
        return 0;
    *out = (struct pt_segment){.data = s->in.p, .size = (uint32_t)n, .raw = (uint32_t)n};
    pt_buf_clear(&s->packed);
    if ((s->how & 1) && pt_segment_pack(s->in.p, n, 1, &s->packed, NULL) == 0)
        *out = (struct pt_segment){
            .data = s->packed.data, .size = (uint32_t)s->packed.len, .raw = (uint32_t)n, .packed = true};
    if (s->how & 32)
        out->raw = s->in.p[0];
    s->in.p += n;
    s->in.left -= n;
    return 1;
}

static void warn(void *arg, const struct pt_err *err)
{
    struct source *s = arg;
    FUZZ_CHECK(err->msg[0]);
    s->warned++;
}

static void unpack(struct source *s)
{
    const unsigned char expected[1] = {3}; /* "alpha" and "beta" */
    struct pt_err err = PT_ERR_INIT;
    struct pt_unpack u = {.manifest = tree, .expected = expected, .next = next, .warn = warn, .arg = s};
    if (s->how & 64)
        u.store = pt_store_open(fuzz_folder(), PT_DIGEST_BLAKE2B, &err);
    int rc = pt_unpack_archive(&u, &err);
    FUZZ_CHECK(rc == 0 || err.msg[0]);
    FUZZ_CHECK(s->warned <= 1);
    if (!u.store)
        return;
    struct pt_blob alpha = pt_manifest_blob(tree, 0), beta = pt_manifest_blob(tree, 1);
    if (pt_store_end(u.store, &err) == 0 && rc == 0 && !s->warned && !fuzz_starved())
        FUZZ_CHECK(pt_store_has(u.store, alpha.digest, alpha.size) &&
                   pt_store_has(u.store, beta.digest, beta.size));
    pt_store_close(u.store);
    fuzz_remove("");
}

static ssize_t read_bytes(void *arg, const void **data)
{
    struct source *s = arg;
    size_t n = piece(s);
    if (n == 0 && (s->how & 16)) {
        s->given_up = true;
        return -1;
    }
    *data = s->in.p;
    s->in.p += n;
    s->in.left -= n;
    return (ssize_t)n;
}

static void untar(struct source *s)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_untar_entry e;
    struct pt_untar *u = pt_untar_create(read_bytes, s, &err);
    int rc = -1;
    uint64_t sum = 0;
    while (u && (rc = pt_untar_next(u, 3000, &e, &err)) == 1) {
        FUZZ_CHECK(e.name && e.size <= 3000);
        for (uint32_t i = 0; i < e.size; i++)
            sum += ((const unsigned char *)e.data)[i];
    }
    FUZZ_CHECK(sum < UINT64_MAX && (rc == 0 || rc == 2 || s->given_up || err.msg[0]));
    if (u)
        FUZZ_CHECK(pt_untar_next(u, 3000, &e, &err) == rc);
    pt_untar_destroy(u);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct source s = {.in = {data, size}};
    s.how = fuzz_byte(&s.in);
    if (!tree) {
        unsigned held = fuzz_hold();
        tree = tree_make();
        fuzz_release(held);
    }
    if (s.how & 128)
        untar(&s);
    else
        unpack(&s);
    pt_buf_fini(&s.packed);
}
