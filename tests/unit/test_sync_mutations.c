/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that sync decodes, in thousands of damaged forms: it is refused, or what came out of it is
 * sound; under the sanitizers nothing is read or written that is not there. The damage is the same in every
 * run. */
#include "sent.h"
#include "sync/compress.h"
#include "sync/delta.h"
#include "sync/here/hashcache.h"
#include "sync/here/scan.h"
#include "sync/sealed.h"
#include "sync/there/record.h"
#include "sync/there/store.h"
#include "sync/there/untar.h"
#include "sync_lab.h"

#include <archive.h>
#include <archive_entry.h>
#include <glob.h>

#define ROUNDS 3000
#define ROOM   (1u << 20)

TestSuite(sync_mutations, .init = lab_open, .fini = lab_close);

static uint64_t state;

static size_t below(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (size_t)(state >> 33) % n : 0;
}

/* --- damage --- */

static void set_number(unsigned char *at, size_t room)
{
    static const uint32_t numbers[] = {0,          1,          2,          255,      65536,
                                       0x7fffffff, 0x80000000, 0xffffffff, 1u << 20, 8u << 20};
    uint32_t number = htobe32(numbers[below(PT_COUNT(numbers))]);
    memcpy(at, &number, room < 4 ? room : 4);
}

static size_t mutate_once(unsigned char *p, size_t n)
{
    size_t at = below(n), len = below(n - at < 40 ? n - at : 40);
    if (n == 0)
        return 0;
    switch (below(7)) {
    case 0:
        p[at] ^= (unsigned char)(1u << below(8));
        return n;
    case 1:
        p[at] = (unsigned char)below(256);
        return n;
    case 2:
        set_number(p + at, n - at);
        return n;
    case 3:
        return at;
    case 4: /* something goes */
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    case 5: /* something comes twice */
        if (n + len > ROOM)
            return n;
        memmove(p + at + len, p + at, n - at);
        return n + len;
    default:
        memmove(p + below(n - len + 1), p + at, len);
        return n;
    }
}

/* A damaged copy in memory of exactly its size. */
static struct pt_buf mutant(const struct pt_buf *whole)
{
    static unsigned char work[ROOM];
    struct pt_buf out = {0};
    size_t n = whole->len;
    cr_assert_leq(n, sizeof(work));
    memcpy(work, whole->data, n);
    for (size_t i = 1 + below(3); i > 0; i--)
        n = mutate_once(work, n);
    out.data = malloc(n ? n : 1);
    out.len = out.cap = n;
    memcpy(out.data, work, n);
    return out;
}

/* --- trees --- */

static struct pt_manifest *a_tree(const char *changed)
{
    static unsigned char large[(8u << 20) + 5000];
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (unsigned char)(i * i >> 7);
    lab_text("here/a.py", "alpha");
    lab_text("here/d/e/f.py", changed);
    lab_text("here/d/same", "alpha");
    lab_text("here/empty", "");
    lab_write("here/large", large, sizeof(large));
    mkdir("here/void", 0700);
    if (symlink("d/e", "here/link") < 0)
        cr_assert_eq(errno, EEXIST);
    struct pt_err err = PT_ERR_INIT;
    char root[128];
    snprintf(root, sizeof(root), "%s/here", lab_dir);
    struct pt_tree_spec spec = {.root = root, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    cr_assert_not_null(m, "%s", err.msg);
    return m;
}

/* What was accepted is a manifest in every respect. */
static void is_sound(struct pt_manifest *m)
{
    struct pt_buf b = {0};
    pt_manifest_encode(m, &b);
    struct pt_manifest *again = pt_manifest_decode(b.data, b.len, NULL);
    cr_assert_not_null(again);
    cr_assert_arr_eq(pt_manifest_root(again), pt_manifest_root(m), PT_DIGEST);
    for (size_t i = 0; i < pt_manifest_count(m); i++)
        cr_assert(pt_path_valid(pt_manifest_get(m, i)->path));
    pt_manifest_destroy(again);
    pt_manifest_destroy(m);
    pt_buf_fini(&b);
}

Test(sync_mutations, manifests)
{
    struct pt_buf b = {0};
    struct pt_manifest *m = a_tree("one");
    pt_manifest_encode(m, &b);
    for (int i = 0; i < ROUNDS; i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_buf bad = mutant(&b);
        struct pt_manifest *got = pt_manifest_decode(bad.data, bad.len, &err);
        cr_assert(got || err.msg[0]);
        if (got)
            is_sound(got);
        pt_buf_fini(&bad);
    }
    pt_manifest_destroy(m);
    pt_buf_fini(&b);
}

Test(sync_mutations, deltas)
{
    struct pt_buf b = {0};
    struct pt_manifest *base = a_tree("one");
    lab_run("rm -r here/d/e here/large && mv here/a.py here/b.py");
    struct pt_manifest *target = lab_scan();
    cr_assert_eq(pt_delta_encode(target, base, &b), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_buf bad = mutant(&b);
        struct pt_manifest *got = pt_delta_apply(target, bad.data, bad.len, &err);
        cr_assert(got || err.msg[0]);
        if (got)
            is_sound(got);
        pt_buf_fini(&bad);
    }
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
    pt_buf_fini(&b);
}

/* --- messages --- */

Test(sync_mutations, offers_and_answers)
{
    char one[] = "**/*.o", two[] = "build", *keep[] = {one, two};
    unsigned char bits[] = {0xa5, 0x01};
    struct pt_offer offer = {.algorithm = PT_DIGEST_BLAKE2B,
                             .how = PT_OFFER_DELTA,
                             .archive = true,
                             .blobs = 9,
                             .sent = bits,
                             .keep = keep,
                             .nkeep = 2};
    struct pt_buf frame = {0}, body = {0};
    pt_offer_encode(&offer, &frame);
    pt_buf_append(&body, frame.data + PT_FRAME_HEAD, frame.len - PT_FRAME_HEAD);
    for (int i = 0; i < ROUNDS; i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_offer got;
        struct pt_synced synced;
        struct pt_buf bad = mutant(&body);
        struct pt_reader r = {.p = bad.data, .left = bad.len}, again = r;
        if (pt_offer_decode(&r, &got, &err) == 0) {
            cr_assert(got.how <= PT_OFFER_WHOLE && got.nkeep <= PT_KEEP_MAX);
            pt_offer_fini(&got);
        }
        pt_synced_decode(&again, &synced, NULL);
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&frame);
    pt_buf_fini(&body);
}

Test(sync_mutations, what_a_store_is_thought_to_have)
{
    struct pt_buf b = {0};
    struct pt_manifest *m = a_tree("one");
    struct pt_known *k = pt_known_create();
    pt_known_add(k, m);
    pt_known_encode(k, &b);
    for (int i = 0; i < ROUNDS; i++) {
        struct pt_buf bad = mutant(&b);
        struct pt_reader r = {.p = bad.data, .left = bad.len};
        struct pt_known *got = pt_known_decode(&r);
        cr_assert(got || r.bad);
        if (got) {
            pt_known_has(got, pt_manifest_blob(m, 0).digest);
            cr_assert_geq(pt_known_add(got, m), 0);
            cr_assert(pt_known_has(got, pt_manifest_blob(m, 0).digest));
        }
        pt_known_destroy(got);
        pt_buf_fini(&bad);
    }
    pt_known_destroy(k);
    pt_manifest_destroy(m);
    pt_buf_fini(&b);
}

/* --- archives --- */

Test(sync_mutations, segments)
{
    static char text[20000];
    struct pt_buf b = {0};
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + below(3));
    cr_assert_eq(pt_segment_pack(text, sizeof(text), 3, &b, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_buf bad = mutant(&b);
        uint32_t raw = below(4) ? sizeof(text) : (uint32_t)below(3 * sizeof(text));
        pt_auto_free char *out = malloc(raw + 1);
        struct pt_segment s = {
            .data = bad.data, .size = (uint32_t)bad.len, .raw = raw, .packed = below(10) > 0};
        cr_assert(pt_segment_unpack(&s, out, &err) == 0 || err.msg[0]);
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
}

static void a_tar(struct pt_buf *out)
{
    static unsigned char tar[64 << 10];
    size_t used = 0;
    struct archive *a = archive_write_new();
    archive_write_set_format_ustar(a);
    cr_assert_eq(archive_write_open_memory(a, tar, sizeof(tar), &used), ARCHIVE_OK);
    for (int i = 0; i < 4; i++) {
        char name[16];
        struct archive_entry *e = archive_entry_new();
        snprintf(name, sizeof(name), "%d", 3 * i);
        archive_entry_set_pathname(e, name);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_size(e, 700 * i);
        cr_assert_eq(archive_write_header(a, e), ARCHIVE_OK);
        archive_write_data(a, tar, (size_t)(700 * i));
        archive_entry_free(e);
    }
    archive_write_free(a);
    pt_buf_append(out, tar, used);
}

struct bytes {
    struct pt_buf *b;
    size_t at, piece;
};

static ssize_t read_bytes(void *arg, const void **data)
{
    struct bytes *s = arg;
    size_t left = s->b->len - s->at, n = left < s->piece ? left : s->piece;
    *data = s->b->data + s->at;
    s->at += n;
    return (ssize_t)n;
}

Test(sync_mutations, tars)
{
    struct pt_buf b = {0};
    a_tar(&b);
    for (int i = 0; i < ROUNDS; i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_untar_entry e;
        struct pt_buf bad = mutant(&b);
        struct bytes source = {&bad, 0, 1 + below(3000)};
        struct pt_untar *u = pt_untar_create(read_bytes, &source, &err);
        int rc;
        uint64_t sum = 0;
        while ((rc = pt_untar_next(u, 10000, &e, &err)) == 1) {
            cr_assert(e.name && e.size <= 10000);
            for (uint32_t j = 0; j < e.size; j++)
                sum += ((const unsigned char *)e.data)[j];
        }
        cr_assert(rc == 0 || rc == 2 || (rc == -1 && err.msg[0]), "%d %llu", rc, (unsigned long long)sum);
        pt_untar_destroy(u);
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
}

/* --- what lies on disk --- */

static void read_file(const char *path, struct pt_buf *out)
{
    char chunk[8192];
    ssize_t n;
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s", path);
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        pt_buf_append(out, chunk, (size_t)n);
}

static char *only_file(const char *pattern)
{
    glob_t g;
    cr_assert_eq(glob(pattern, 0, NULL, &g), 0, "%s", pattern);
    cr_assert_eq(g.gl_pathc, 1, "%s", pattern);
    char *out = strdup(g.gl_pathv[0]);
    globfree(&g);
    return out;
}

static struct pt_manifest *asked;
static size_t given;

static int is_right(void *arg, uint32_t number, const void *data, uint32_t size)
{
    unsigned char digest[PT_DIGEST];
    struct pt_blob blob = pt_manifest_blob(asked, number);
    (void)arg;
    cr_assert_eq(size, blob.size);
    pt_digest_buffer(PT_DIGEST_BLAKE2B, data, size, digest, NULL);
    cr_assert_arr_eq(digest, blob.digest, PT_DIGEST);
    given++;
    return 0;
}

/* Opens it and reads all that a tree needs; what it gives is right. */
static void use_store(void)
{
    struct pt_err err = PT_ERR_INIT;
    size_t n = pt_manifest_blobs(asked);
    struct pt_store *s = pt_store_open("cache", PT_DIGEST_BLAKE2B, &err);
    cr_assert_not_null(s, "%s", err.msg);
    pt_auto_free struct pt_store_want *wants = calloc(n, sizeof(*wants));
    for (size_t i = 0; i < n; i++) {
        struct pt_blob blob = pt_manifest_blob(asked, (uint32_t)i);
        wants[i].size = blob.size;
        wants[i].number = (uint32_t)i;
        memcpy(wants[i].digest, blob.digest, PT_DIGEST);
    }
    cr_assert_eq(pt_store_read(s, wants, n, is_right, NULL, &err), 0, "%s", err.msg);
    pt_store_close(s);
}

/* A store with the small files of a tree in one pack. */
static void make_store(void)
{
    for (int i = 0; i < 20; i++) {
        char path[32], text[400];
        snprintf(path, sizeof(path), "here/f%d", i);
        snprintf(text, sizeof(text), "%0*d", 20 * i + 1, i);
        lab_text(path, text);
    }
    asked = lab_scan();
    lab_sync();
}

Test(sync_mutations, indexes)
{
    make_store();
    pt_auto_free char *path = only_file("cache/store/blake2b/*.idx");
    struct pt_buf b = {0};
    cr_assert_eq(pt_sealed_read(path, &b), 0);
    use_store();
    cr_assert_gt(given, 0);
    for (int i = 0; i < ROUNDS / 10; i++) {
        struct pt_buf bad = mutant(&b);
        cr_assert_eq(pt_sealed_write(path, &bad), 0);
        use_store();
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
    pt_manifest_destroy(asked);
}

Test(sync_mutations, packs)
{
    make_store();
    pt_auto_free char *path = only_file("cache/store/blake2b/*.pack");
    struct pt_buf b = {0};
    read_file(path, &b);
    for (int i = 0; i < ROUNDS / 10; i++) {
        struct pt_buf bad = mutant(&b);
        lab_write(path, bad.data, bad.len);
        use_store();
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
    pt_manifest_destroy(asked);
}

/* What a writer left that was killed: it is taken in, as far as it is right. */
Test(sync_mutations, unfinished_packs)
{
    make_store();
    pt_auto_free char *pack = only_file("cache/store/blake2b/*.pack");
    pt_auto_free char *index = only_file("cache/store/blake2b/*.idx");
    pt_auto_free char *part = strdup(pack);
    strcpy(strrchr(part, '.'), ".part");
    struct pt_buf b = {0};
    read_file(pack, &b);
    given = 0;
    for (int i = 0; i < ROUNDS / 10; i++) {
        struct pt_buf bad = mutant(&b);
        unlink(index);
        unlink(pack);
        lab_write(part, bad.data, bad.len);
        use_store();
        pt_buf_fini(&bad);
    }
    cr_assert_gt(given, 0);
    pt_buf_fini(&b);
    pt_manifest_destroy(asked);
}

Test(sync_mutations, records)
{
    lab_text("here/d/a", "1");
    lab_sync();
    struct pt_buf b = {0};
    cr_assert_eq(pt_sealed_read("cache/ws/machine/project/record", &b), 0);
    for (int i = 0; i < ROUNDS / 3; i++) {
        struct pt_record r;
        struct pt_buf bad = mutant(&b);
        cr_assert_eq(pt_sealed_write("record", &bad), 0);
        pt_record_load(&r, "record");
        pt_record_fini(&r);
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
}

/* A file is not known, or with the digest that it had. */
Test(sync_mutations, hash_caches)
{
    static const unsigned char zeros[PT_DIGEST];
    struct pt_stamp stamp = {1, 2, 9u << 20, 3, 4};
    struct pt_chunk chunks[] = {{.size = 5u << 20}, {.size = 4u << 20}};
    struct pt_content content = {.stamp = stamp, .chunks = chunks, .nchunks = 2};
    struct pt_hashcache *c = pt_hashcache_open("hashes", PT_DIGEST_BLAKE2B);
    struct pt_hashed h;
    pt_hashcache_put(c, &content);
    cr_assert_eq(pt_hashcache_save(c), 0);
    pt_hashcache_destroy(c);
    struct pt_buf b = {0};
    read_file("hashes", &b);
    for (int i = 0; i < ROUNDS / 3; i++) {
        struct pt_buf bad = mutant(&b);
        lab_write("hashes", bad.data, bad.len);
        c = pt_hashcache_open("hashes", PT_DIGEST_BLAKE2B);
        if (pt_hashcache_get(c, &stamp, &h)) {
            cr_assert_arr_eq(h.digest, zeros, PT_DIGEST);
            cr_assert(h.nchunks == 2 && h.chunks[0].size == 5u << 20 && h.chunks[1].size == 4u << 20);
        }
        cr_assert_eq(pt_hashcache_save(c), 0);
        pt_hashcache_destroy(c);
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
}

Test(sync_mutations, memories_of_hosts)
{
    struct pt_manifest *m = a_tree("one");
    struct pt_sent *s = pt_sent_load(".", "h", "");
    cr_assert(pt_sent_tree(s, m, false, NULL) == 0 && pt_sent_save(s, NULL) == 0);
    pt_sent_destroy(s);
    pt_auto_free char *path = only_file("sent/*");
    struct pt_buf b = {0};
    cr_assert_eq(pt_sealed_read(path, &b), 0);
    for (int i = 0; i < ROUNDS / 3; i++) {
        struct pt_buf bad = mutant(&b);
        cr_assert_eq(pt_sealed_write(path, &bad), 0);
        s = pt_sent_load(".", "h", "");
        cr_assert_not_null(s);
        const struct pt_manifest *base = pt_sent_manifest(s);
        cr_assert(!base || memcmp(pt_manifest_root(base), pt_sent_root(s), PT_DIGEST) == 0);
        pt_known_has(pt_sent_known(s), pt_manifest_root(m));
        pt_sent_destroy(s);
        pt_buf_fini(&bad);
    }
    pt_buf_fini(&b);
    pt_manifest_destroy(m);
}
