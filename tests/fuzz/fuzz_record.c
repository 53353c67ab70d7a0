/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a workspace: the bytes of the file; then what is sealed in it; then stamps around a tree that
 * is one. */
#include "fuzz_tree.h"
#include "sync/sealed.h"
#include "sync/there/record.h"

static struct pt_buf encoded;

static void make_tree(void)
{
    unsigned held = fuzz_hold();
    struct pt_manifest *tree = tree_make();
    pt_manifest_encode(tree, &encoded);
    pt_manifest_destroy(tree);
    fuzz_release(held);
}

static void seal(const char *path, struct fuzz_parts in, uint8_t how)
{
    struct pt_buf b = {0};
    if (how & 2) {
        pt_put_u32(&b, 0x50545233u);
        char *boot = fuzz_text(&in);
        pt_put_str(&b, boot);
        pt_put_bytes(&b, encoded.data, encoded.len);
        free(boot);
    }
    pt_buf_append(&b, in.p, in.left);
    if (pt_sealed_write(path, &b) < 0)
        FUZZ_CHECK(fuzz_starved());
    pt_buf_fini(&b);
}

static void check(const struct pt_record *r, const char *path)
{
    struct pt_record again;
    size_t n = pt_manifest_count(r->manifest);
    for (size_t i = 0; i < n; i++)
        if (pt_record_vouches(r, i, &r->stamps[i]))
            FUZZ_CHECK(!r->rebooted && r->stamps[i].ino);
    FUZZ_CHECK(pt_record_save(r, path) == 0);
    pt_record_load(&again, path);
    FUZZ_CHECK(again.manifest && pt_manifest_count(again.manifest) == n && !again.rebooted);
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(pt_stamp_equal(&again.stamps[i], &r->stamps[i]));
    pt_record_fini(&again);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_record r;
    char path[300];
    uint8_t how = fuzz_byte(&in);
    if (!encoded.len)
        make_tree();
    snprintf(path, sizeof(path), "%s", fuzz_path("record"));
    if (how & 1)
        seal(path, in, how);
    else
        fuzz_file("record", in.p, in.left);
    pt_record_load(&r, path);
    FUZZ_CHECK(!r.manifest || r.stamps);
    if (r.manifest) {
        fuzz_feed();
        check(&r, path);
    }
    pt_record_fini(&r);
    struct pt_buf none = {.bad = true}, some = {0};
    FUZZ_CHECK(pt_sealed_write(path, &none) < 0 && pt_sealed_read("/dev/null/none", &none) < 0);
    FUZZ_CHECK(pt_sealed_write("/dev/null/none", &some) < 0 && pt_sealed_write(fuzz_folder(), &some) < 0);
    fuzz_feed();
    fuzz_remove("record");
    pt_record_load(&r, path);
    FUZZ_CHECK(!r.manifest);
}
