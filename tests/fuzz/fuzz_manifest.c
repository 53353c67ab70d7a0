/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as it came: first as it is; then its entries with digests that are right. */
#include "fuzz_tree.h"

/* As decode takes them from behind the head. */
static void take_entries(struct fuzz_parts in)
{
    struct pt_err err = PT_ERR_INIT;
    enum pt_digest_algorithm algorithm = PT_DIGEST_BLAKE2B + fuzz_byte(&in) % 2;
    struct pt_reader r = {.p = in.p, .left = in.left};
    struct pt_manifest *m = pt_manifest_create(algorithm, NULL, &err);
    if (!m) {
        FUZZ_CHECK(fuzz_starved() && err.msg[0]);
        return;
    }
    while (!r.bad && r.left > 0)
        pt_manifest_get_entries(&r, 1, m);
    tree_repair(m);
    if (pt_manifest_seal(m, &err) == 0) {
        fuzz_feed();
        tree_check(m);
    } else {
        FUZZ_CHECK(err.msg[0]);
    }
    pt_manifest_destroy(m);
}

/* In any order; each path once. */
static void add_backwards(const struct pt_manifest *m)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *twin = pt_manifest_create(pt_manifest_algorithm(m), "/from", &err);
    bool ok = twin != NULL;
    for (size_t i = pt_manifest_count(m); ok && i-- > 0;)
        ok = pt_manifest_add(twin, pt_manifest_get(m, i), &err) == 0;
    ok = ok && pt_manifest_seal(twin, &err) == 0;
    FUZZ_CHECK(ok || (fuzz_starved() && err.msg[0]));
    if (ok)
        FUZZ_CHECK(memcmp(pt_manifest_root(twin), pt_manifest_root(m), PT_DIGEST) == 0 &&
                   pt_manifest_folder(twin));
    if (ok && pt_manifest_count(m) > 0 && pt_manifest_add(twin, pt_manifest_get(m, 0), &err) == 0)
        FUZZ_CHECK(pt_manifest_seal(twin, &err) < 0);
    pt_manifest_destroy(twin);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    uint8_t how = fuzz_byte(&in);
    if (how % 2) {
        take_entries(in);
        return;
    }
    struct pt_manifest *m = pt_manifest_decode(in.p, in.left, &err);
    FUZZ_CHECK(m || err.msg[0]);
    if (m) {
        if (how & 2)
            add_backwards(m);
        fuzz_feed();
        tree_check(m);
    }
    pt_manifest_destroy(m);
}
