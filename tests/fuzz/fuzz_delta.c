/* SPDX-License-Identifier: Apache-2.0 */
/* What turns one tree into another: as it came; then with the roots that belong to what it does. */
#include "sync/delta.c"

#include "fuzz_tree.h"

static struct pt_manifest *base;

/* The tree that the changes lead to, as pt_delta_apply makes it; NULL: none. */
static struct pt_manifest *lead(struct pt_reader r, uint8_t algorithm)
{
    bool *gone = calloc(pt_manifest_count(base) + 1, sizeof(*gone));
    struct pt_manifest *changed = NULL, *out = NULL;
    if (gone) {
        get_removed(&r, base, gone);
        changed = get_changed(&r, algorithm, NULL);
        out = changed ? pt_manifest_create(algorithm, NULL, NULL) : NULL;
    }
    bool good = out && pt_get_end(&r) && merge(base, gone, changed, out, NULL) == 0 &&
                pt_manifest_seal(out, NULL) == 0;
    pt_manifest_destroy(changed);
    free(gone);
    if (good)
        return out;
    pt_manifest_destroy(out);
    return NULL;
}

static void apply_again(const struct pt_manifest *to)
{
    struct pt_buf b = {0};
    FUZZ_CHECK(pt_delta_encode(base, to, &b) == 0);
    FUZZ_CHECK(memcmp(pt_delta_base(b.data, b.len), pt_manifest_root(base), PT_DIGEST) == 0);
    struct pt_manifest *again = pt_delta_apply(base, b.data, b.len, NULL);
    FUZZ_CHECK(again && memcmp(pt_manifest_root(again), pt_manifest_root(to), PT_DIGEST) == 0);
    FUZZ_CHECK(pt_manifest_count(again) == pt_manifest_count(to));
    for (size_t i = 0; i < pt_manifest_count(to); i++)
        FUZZ_CHECK(same(pt_manifest_get(again, i), pt_manifest_get(to, i)));
    pt_manifest_destroy(again);
    pt_buf_fini(&b);
}

/* in: algorithm, then the paths that went and the entries that came. */
static void with_roots(struct fuzz_parts in)
{
    struct pt_err err = PT_ERR_INIT;
    uint8_t algorithm = fuzz_byte(&in);
    struct pt_buf b = {0};
    struct pt_manifest *to = lead((struct pt_reader){.p = in.p, .left = in.left}, algorithm);
    pt_put_u32(&b, MAGIC);
    pt_put_u8(&b, algorithm);
    pt_buf_append(&b, pt_manifest_root(base), PT_DIGEST);
    pt_buf_append(&b, to ? pt_manifest_root(to) : pt_manifest_root(base), PT_DIGEST);
    pt_buf_append(&b, in.p, in.left);
    struct pt_manifest *got = b.bad ? NULL : pt_delta_apply(base, b.data, b.len, &err);
    FUZZ_CHECK(fuzz_starved() || (got != NULL) == (to != NULL));
    FUZZ_CHECK(got || b.bad || err.msg[0]);
    if (got) {
        fuzz_feed();
        tree_check(got);
        apply_again(got);
    }
    pt_manifest_destroy(got);
    pt_manifest_destroy(to);
    pt_buf_fini(&b);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    if (!base) {
        unsigned held = fuzz_hold();
        base = tree_make();
        fuzz_release(held);
    }
    if (fuzz_byte(&in) % 2) {
        with_roots(in);
        return;
    }
    struct pt_manifest *got = pt_delta_apply(base, in.p, in.left, &err);
    FUZZ_CHECK(got || err.msg[0]);
    if (got) {
        FUZZ_CHECK(pt_delta_base(in.p, in.left));
        fuzz_feed();
        tree_check(got);
    }
    pt_manifest_destroy(got);
}
