/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a store that are cut, flipped, forged and removed: it opens, and gives only right content. */
#include "sync/sealed.h"

#include "store_lab.h"

TestSuite(sync_store_damage, .init = lab_open, .fini = lab_close);

static size_t reopen(struct lab_set *set)
{
    struct pt_store *s = lab_store();
    size_t got = lab_get(s, set);
    pt_store_close(s);
    return got;
}

static void put_one(const struct lab_set *set, size_t piece, int level)
{
    struct pt_store *s = lab_store();
    lab_put(s, set, piece, level);
    pt_store_close(s);
}

/* The pack of a writer that died: its bytes up to `end`, no index. */
static void leave_part(const struct pt_buf *pack, size_t end)
{
    lab_spill(LAB_STORE "/00000000000000aa.part", pack->data, end);
}

Test(sync_store_damage, what_was_whole_in_a_torn_part_is_salvaged)
{
    for (int level = 0; level < 2; level++) {
        struct lab_set set = set_make(1, 12, 900);
        struct pt_buf pack = {0};
        size_t before = 0;
        put_one(&set, 700, level);
        lab_slurp(lab_find(".pack"), &pack);
        unlink(lab_find(".pack"));
        unlink(lab_find(".idx"));
        for (size_t end = 0; end <= pack.len; end += end < 60 ? 1 : 37) {
            leave_part(&pack, end);
            size_t got = reopen(&set);
            cr_assert_geq(got, before, "%zu", end);
            cr_assert_eq(lab_count(".part"), end < 32 ? 1 : 0, "%zu", end);
            cr_assert_eq(lab_count(".pack"), got > 0, "%zu", end);
            cr_assert_eq(reopen(&set), got, "%zu", end);
            before = got;
            unlink(lab_find(".pack"));
            unlink(lab_find(".part"));
            unlink(lab_find(".idx"));
        }
        leave_part(&pack, pack.len);
        cr_assert_eq(reopen(&set), set.n);
        unlink(lab_find(".pack"));
        unlink(lab_find(".idx"));
        pt_buf_fini(&pack);
        set_free(&set);
    }
}

/* The boot id in the head is another's: only time can tell. */
Test(sync_store_damage, parts_of_other_machines_are_left_until_they_are_old)
{
    struct lab_set set = set_make(2, 12, 900);
    struct pt_buf pack = {0};
    put_one(&set, 700, 1);
    lab_slurp(lab_find(".pack"), &pack);
    unlink(lab_find(".pack"));
    unlink(lab_find(".idx"));
    pack.data[20] ^= 1;
    leave_part(&pack, pack.len);
    cr_assert_eq(reopen(&set), 0);
    cr_assert_eq(lab_count(".part"), 1);
    lab_age(lab_find(".part"), 700);
    cr_assert_eq(reopen(&set), set.n);
    cr_assert_eq(lab_count(".part"), 0);
    pt_buf_fini(&pack);
    set_free(&set);
}

Test(sync_store_damage, a_part_with_its_index_is_taken_as_it_is)
{
    struct lab_set set = set_make(3, 12, 900);
    char from[512], to[512];
    put_one(&set, 700, 1);
    snprintf(from, sizeof(from), "%s", lab_find(".pack"));
    snprintf(to, sizeof(to), "%s", from);
    strcpy(strstr(to, ".pack"), ".part");
    cr_assert_eq(rename(from, to), 0);
    cr_assert_eq(reopen(&set), set.n);
    cr_assert_eq(lab_count(".pack"), 1);
    set_free(&set);
}

Test(sync_store_damage, a_pack_without_its_index_is_salvaged)
{
    struct lab_set set = set_make(4, 12, 900);
    put_one(&set, 700, 1);
    unlink(lab_find(".idx"));
    cr_assert_eq(reopen(&set), set.n);
    cr_assert_eq(lab_count(".idx"), 1);
    set_free(&set);
}

Test(sync_store_damage, flipped_bytes_in_an_index)
{
    struct lab_set set = set_make(5, 5, 300);
    struct pt_buf index = {0}, pack = {0};
    put_one(&set, 700, 1);
    char path[512], packed[512];
    snprintf(path, sizeof(path), "%s", lab_find(".idx"));
    snprintf(packed, sizeof(packed), "%s", lab_find(".pack"));
    lab_slurp(path, &index);
    lab_slurp(packed, &pack);
    for (size_t i = 0; i < index.len; i += 3) {
        index.data[i] ^= 0x10;
        lab_spill(path, index.data, index.len);
        index.data[i] ^= 0x10;
        cr_assert_eq(reopen(&set), set.n, "%zu", i);
    }
    for (size_t n = 0; n < index.len; n += 7) {
        lab_spill(path, index.data, n);
        cr_assert_eq(reopen(&set), set.n, "%zu", n);
    }
    pt_buf_fini(&index);
    pt_buf_fini(&pack);
    set_free(&set);
}

Test(sync_store_damage, flipped_bytes_in_a_pack)
{
    for (int level = 0; level < 2; level++) {
        struct lab_set set = set_make(6, 30, 3000);
        struct pt_buf index = {0}, pack = {0};
        put_one(&set, 700, level);
        char path[512], packed[512];
        snprintf(path, sizeof(path), "%s", lab_find(".idx"));
        snprintf(packed, sizeof(packed), "%s", lab_find(".pack"));
        lab_slurp(path, &index);
        lab_slurp(packed, &pack);
        for (size_t i = 40; i < pack.len; i += pack.len / 50) {
            pack.data[i] ^= 0x10;
            lab_spill(packed, pack.data, pack.len);
            lab_spill(path, index.data, index.len);
            pack.data[i] ^= 0x10;
            size_t got = reopen(&set);
            cr_assert_geq(got, set.n - 3, "%zu", i);
            cr_assert_eq(reopen(&set), got, "%zu", i);
        }
        unlink(packed);
        unlink(path);
        pt_buf_fini(&index);
        pt_buf_fini(&pack);
        set_free(&set);
    }
}

/* A copy elsewhere helps where one is damaged. */
Test(sync_store_damage, what_is_twice_survives_once)
{
    struct lab_set set = set_make(7, 30, 3000);
    struct pt_buf pack = {0};
    put_one(&set, 700, 1);
    char packed[512];
    snprintf(packed, sizeof(packed), "%s", lab_find(".pack"));
    put_one(&set, 5000, 0);
    lab_slurp(packed, &pack);
    memset(pack.data + 40, 'x', pack.len - 40);
    lab_spill(packed, pack.data, pack.len);
    cr_assert_eq(reopen(&set), set.n);
    cr_assert_eq(reopen(&set), set.n);
    pt_buf_fini(&pack);
    set_free(&set);
}

Test(sync_store_damage, a_pack_shorter_than_its_index_says)
{
    struct lab_set set = set_make(8, 30, 3000);
    struct pt_store *s = lab_store();
    struct stat st;
    lab_put(s, &set, 700, 1);
    cr_assert_eq(stat(lab_find(".pack"), &st), 0);
    cr_assert_eq(truncate(lab_find(".pack"), st.st_size / 2), 0);
    size_t got = lab_get(s, &set);
    cr_assert(got > 0 && got < set.n, "%zu", got);
    pt_store_close(s);
    cr_assert_eq(reopen(&set), got);
    set_free(&set);
}

Test(sync_store_damage, packs_removed_under_an_open_store)
{
    struct lab_set a = set_make(9, 10, 3000), b = set_make(10, 10, 3000);
    struct pt_store *s = lab_store();
    lab_put(s, &a, 700, 1);
    unlink(lab_find(".pack"));
    lab_put(s, &b, 700, 1);
    cr_assert_eq(lab_get(s, &a), 0);
    cr_assert_eq(lab_get(s, &b), 10);
    lab_put(s, &a, 700, 1);
    cr_assert_eq(lab_get(s, &a), 10);
    pt_store_close(s);
    set_free(&a);
    set_free(&b);
}

Test(sync_store_damage, the_folder_removed_under_an_open_store)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set a = set_make(11, 10, 3000);
    struct pt_store *s = lab_store();
    lab_put(s, &a, 700, 1);
    cr_assert_eq(pt_store_begin(s, &err), 0);
    cr_assert_eq(system("rm -r cache/store"), 0);
    lab_segments(s, &a.tar, a.tar.len, 700, 1);
    pt_store_note(s, a.v[0].digest, a.v[0].at, a.v[0].size);
    cr_assert_eq(pt_store_end(s, &err), -1);
    cr_assert(err.msg[0]);
    cr_assert_eq(lab_get(s, &a), 0);
    cr_assert_eq(pt_store_begin(s, &err), -1);
    pt_store_tidy(s, 0);
    pt_store_close(s);
    set_free(&a);
}

Test(sync_store_damage, names_that_are_no_files)
{
    struct lab_set a = set_make(12, 10, 3000);
    put_one(&a, 700, 1);
    static const char *const names[] = {LAB_STORE "/00000000000000b0.pack", LAB_STORE "/00000000000000b0.idx",
                                        LAB_STORE "/00000000000000b1.part",
                                        LAB_STORE "/00000000000000b2.merge"};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        cr_assert_eq(mkdir(names[i], 0700), 0);
    cr_assert_eq(symlink("/etc/passwd", LAB_STORE "/00000000000000b3.pack"), 0);
    cr_assert_eq(symlink("/etc/passwd", LAB_STORE "/00000000000000b3.idx"), 0);
    cr_assert_eq(symlink("/etc/passwd", LAB_STORE "/00000000000000b4.part"), 0);
    cr_assert_eq(mkfifo(LAB_STORE "/00000000000000b5.pack", 0600), 0);
    cr_assert_eq(mkfifo(LAB_STORE "/00000000000000b5.idx", 0600), 0);
    cr_assert_eq(mkfifo(LAB_STORE "/00000000000000b6.part", 0600), 0);
    struct pt_store *s = lab_store();
    cr_assert_eq(lab_get(s, &a), 10);
    pt_store_tidy(s, UINT64_MAX);
    cr_assert_eq(lab_get(s, &a), 10);
    pt_store_close(s);
    set_free(&a);
}

/* --- forged indexes: sealed as they should be, and lying --- */

struct forged {
    uint32_t magic, nsegments, nblobs;
    uint8_t algorithm, packed;
    uint32_t size, raw; /* of the segment */
    uint64_t offset;
    uint32_t blob; /* size */
    size_t more;   /* bytes after it all */
};

static void forge(const char *path, const struct forged *f, const struct lab_blob *b)
{
    struct pt_buf out = {0};
    pt_put_u32(&out, f->magic);
    pt_put_u8(&out, f->algorithm);
    pt_put_u32(&out, f->nsegments);
    pt_put_u32(&out, f->nblobs);
    pt_put_u32(&out, f->size);
    pt_put_u32(&out, f->raw);
    pt_put_u8(&out, f->packed);
    pt_buf_append(&out, b->digest, PT_DIGEST);
    pt_put_u64(&out, f->offset);
    pt_put_u32(&out, f->blob);
    tar_zeros(&out, f->more);
    cr_assert_eq(pt_sealed_write(path, &out), 0);
    pt_buf_fini(&out);
}

Test(sync_store_damage, indexes_that_lie)
{
    struct lab_set set = set_make(13, 1, 900);
    struct stat st;
    put_one(&set, PT_SEGMENT_MAX, 0);
    char path[512];
    snprintf(path, sizeof(path), "%s", lab_find(".idx"));
    const struct lab_blob *b = &set.v[0];
    uint32_t tar = (uint32_t)set.tar.len;
    const struct forged good = {.magic = 0x50545831,
                                .nsegments = 1,
                                .nblobs = 1,
                                .algorithm = PT_DIGEST_BLAKE2B,
                                .size = tar,
                                .raw = tar,
                                .offset = b->at,
                                .blob = b->size};
    struct forged lies[24];
    size_t n = 0;
#define LIE(...) (lies[n] = good, lies[n].__VA_ARGS__, n++)
    LIE(magic = 1);
    LIE(algorithm = PT_DIGEST_SHA256);
    LIE(nsegments = 0);
    LIE(nsegments = 1000000000);
    LIE(nsegments = UINT32_MAX);
    LIE(nblobs = 0);
    LIE(nblobs = 1000000000);
    LIE(nblobs = UINT32_MAX);
    LIE(size = 0);
    LIE(size = UINT32_MAX);
    LIE(raw = 0);
    LIE(raw = UINT32_MAX);
    LIE(raw = tar + 1);
    LIE(packed = 1); /* it is no frame */
    LIE(packed = 2);
    LIE(offset = UINT64_MAX);
    LIE(offset = tar);
    LIE(offset = b->at + 1);
    LIE(offset = 0);
    LIE(blob = 0);
    LIE(blob = UINT32_MAX);
    LIE(blob = PT_BLOB_MAX);
    LIE(blob = tar);
    LIE(more = 12);
    cr_assert_eq(n, PT_COUNT(lies));
    forge(path, &good, b);
    cr_assert_eq(reopen(&set), 1);
    for (size_t i = 0; i < n; i++) {
        forge(path, &lies[i], b);
        struct pt_store *s = lab_store();
        for (uint32_t size = 0; size < 3; size++) {
            struct pt_store_want w = {.size = size ? tar >> size : lies[i].blob};
            memcpy(w.digest, b->digest, PT_DIGEST);
            if (w.size != b->size)
                cr_assert_eq(pt_store_read(s, &w, 1, lab_check, &set, NULL), 0);
            cr_assert(w.size == b->size || w.lost, "lie %zu", i);
        }
        lab_get(s, &set);
        pt_store_close(s);
        if (stat(lab_find(".pack"), &st) < 0) /* it was found to have nothing */
            put_one(&set, PT_SEGMENT_MAX, 0);
        snprintf(path, sizeof(path), "%s", lab_find(".idx"));
        cr_assert_eq(lab_count(".pack"), 1);
    }
    set_free(&set);
}
