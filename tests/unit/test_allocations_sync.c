/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn in what a tree's way needs: manifests and what differs, what a host is
 * thought to have, digests that were read before, what is chosen, a host's store. A memory that cannot be had
 * costs a question or a reading, never a wrong tree. */
#include "allocations.h"
#include "allocations_dir.h"

#include "common/auto.h"
#include "common/err.h"
#include "sent.h"
#include "sync/delta.h"
#include "sync/here/choose.h"
#include "sync/here/guess.h"
#include "sync/here/hashcache.h"
#include "sync/here/known.h"
#include "sync/here/scan.h"
#include "sync/manifest.h"
#include "sync/offer.h"
#include "sync/paths.h"
#include "sync/there/record.h"
#include "sync/there/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(allocations_sync, .init = make_dir, .fini = remove_dir, .timeout = 110);

/* Files a, b .. of which each has a content of its own; NULL with err. */
static struct pt_manifest *make(const char *names, struct pt_err *err)
{
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, "/t", err);
    for (const char *p = names; m && *p; p++) {
        char path[] = {*p, 0};
        struct pt_entry e = {
            .path = path, .type = PT_ENTRY_FILE, .mode = 0644, .size = 3, .digest = {(unsigned char)*p}};
        if (pt_manifest_add(m, &e, err) < 0) {
            pt_manifest_destroy(m);
            return NULL;
        }
    }
    if (m && pt_manifest_seal(m, err) < 0) {
        pt_manifest_destroy(m);
        return NULL;
    }
    return m;
}

static struct pt_manifest *spare(const char *names)
{
    allocations_pause();
    struct pt_manifest *m = make(names, NULL);
    allocations_resume();
    return m;
}

static bool same(const struct pt_manifest *a, const struct pt_manifest *b)
{
    return memcmp(pt_manifest_root(a), pt_manifest_root(b), PT_DIGEST) == 0;
}

/* --- trees and what differs --- */

static bool manifest(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    struct pt_manifest *m = make("abc", &err);
    cr_assert(m || err.msg[0]);
    bool ok = m != NULL;
    pt_manifest_destroy(m);
    return ok;
}

static bool delta(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *a = spare("abcd"), *b = spare("bcdef"), *got = NULL;
    struct pt_buf out = {0};
    (void)arg;
    bool ok = pt_delta_encode(a, b, &out) == 0;
    if (ok && !(got = pt_delta_apply(a, out.data, out.len, &err)))
        cr_assert(err.msg[0]);
    cr_assert(!got || same(got, b));
    ok = got != NULL;
    pt_manifest_destroy(got);
    pt_manifest_destroy(a);
    pt_manifest_destroy(b);
    pt_buf_fini(&out);
    return ok;
}

static bool offer(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    unsigned char bits[] = {5};
    char glob[] = "*.x";
    char *keep[] = {glob, glob};
    struct pt_offer o = {.archive = true, .blobs = 3, .sent = bits, .keep = keep, .nkeep = 2}, got;
    struct pt_buf b = {0};
    struct pt_reader body;
    uint8_t type;
    size_t total;
    (void)arg;
    pt_offer_encode(&o, &b);
    bool ok = !b.bad;
    if (ok) {
        cr_assert_eq(pt_frame_next(b.data, b.len, PT_FRAME_MAX, &type, &body, &total), 1);
        ok = pt_offer_decode(&body, &got, &err) == 0;
        cr_assert(ok ? got.nkeep == 2 && got.sent[0] == 5 : err.msg[0] != '\0');
        pt_offer_fini(&got);
    }
    pt_buf_fini(&b);
    return ok;
}

Test(allocations_sync, trees)
{
    ALLOCATIONS_CHECK("manifest", manifest, 4);
    ALLOCATIONS_CHECK("delta", delta, 8);
    ALLOCATIONS_CHECK("offer", offer, 5);
}

/* --- what a host is thought to have --- */

static bool known(void *arg)
{
    struct pt_manifest *a = spare("abc"), *b = spare("bcd");
    struct pt_known *k = pt_known_create(), *back = NULL;
    struct pt_buf out = {0};
    bool ok = k != NULL;
    (void)arg;
    if (ok) {
        int first = pt_known_add(k, a);
        size_t n = pt_known_count(k);
        int second = pt_known_add(k, b);
        cr_assert(first > 0 ? n == 3 : n == 0);
        cr_assert(second > 0 || pt_known_count(k) == n);
        ok = first > 0 && second > 0;
        pt_known_encode(k, &out);
        struct pt_reader r = {.p = out.data, .left = out.len};
        back = out.bad ? NULL : pt_known_decode(&r);
        cr_assert(!back || pt_known_count(back) == pt_known_count(k));
        ok = ok && back;
    }
    pt_known_destroy(back);
    pt_known_destroy(k);
    pt_manifest_destroy(a);
    pt_manifest_destroy(b);
    pt_buf_fini(&out);
    return ok;
}

static bool guess(void *arg)
{
    struct pt_manifest *a = spare("abc"), *b = spare("abcde");
    (void)arg;
    unsigned char *bits = pt_guess(a, b, NULL, 1000);
    bool ok = bits != NULL;
    cr_assert(!ok || bits[0] == 0x18);
    free(bits);
    pt_manifest_destroy(a);
    pt_manifest_destroy(b);
    return ok;
}

/* What is loaded is what was saved, or nothing. */
static bool sent(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = spare("abc");
    (void)arg;
    struct pt_sent *s = pt_sent_load(dir, "h1", "");
    bool ok = s != NULL;
    if (ok) {
        pt_sent_set_rate(s, 1000);
        bool taken = pt_sent_tree(s, m, true, &err) == 0;
        cr_assert(taken || (strstr(err.msg, "memory") && !pt_sent_root(s)));
        ok = taken && allocations_told(pt_sent_save(s, &err), &err);
        cr_assert(!taken || pt_sent_root(s));
        pt_sent_destroy(s);
    }
    if (ok && (s = pt_sent_load(dir, "h1", ""))) {
        const struct pt_manifest *got = pt_sent_manifest(s);
        cr_assert(!got || same(got, m));
        ok = got && pt_sent_known(s);
        pt_sent_destroy(s);
    } else {
        ok = false;
    }
    pt_manifest_destroy(m);
    unlink(at("sent"));
    return ok;
}

Test(allocations_sync, hosts)
{
    ALLOCATIONS_CHECK("known", known, 6);
    ALLOCATIONS_CHECK("guess", guess, 2);
    allocations_check("sent", sent, NULL, ALLOCATIONS_BORNE, 15);
}

/* --- what was read before, what is chosen --- */

static bool hashcache(void *arg)
{
    struct pt_stamp stamp = {.dev = 1, .ino = 2, .size = 3, .mtime_ns = 4, .ctime_ns = 5};
    struct pt_content content = {.stamp = stamp, .digest = {7}};
    struct pt_hashed got;
    (void)arg;
    unlink(at("cache"));
    struct pt_hashcache *c = pt_hashcache_open(at("cache"), PT_DIGEST_BLAKE2B);
    bool ok = c != NULL;
    if (c) {
        pt_hashcache_put(c, &content);
        ok = pt_hashcache_save(c) == 0;
        pt_hashcache_destroy(c);
    }
    c = ok ? pt_hashcache_open(at("cache"), PT_DIGEST_BLAKE2B) : NULL;
    bool has = c && pt_hashcache_get(c, &stamp, &got);
    cr_assert(!has || got.digest[0] == 7);
    pt_hashcache_destroy(c);
    return has;
}

static bool choose(void *arg)
{
    static const char *const exclude[] = {"*.o", "a/b"};
    struct pt_tree_spec spec = {.root = dir, .exclude = exclude, .nexclude = 2};
    struct pt_err err = PT_ERR_INIT;
    struct pt_choose c;
    (void)arg;
    pt_auto_fd int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = allocations_told(pt_choose_init(&c, &spec, root, &err), &err);
    cr_assert(!ok ||
              (!pt_choose_wants(&c, "x.o", "x.o", false) && !pt_choose_wants(&c, "b.log", "b.log", false) &&
               pt_choose_wants(&c, "x.c", "x.c", false)));
    pt_choose_fini(&c);
    return ok;
}

static bool paths(void *arg)
{
    struct pt_paths p = {0}, above = {0};
    bool ok = true;
    char name[24];
    (void)arg;
    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "%d/f", i % 65);
        size_t n = p.n;
        int rc = pt_paths_add(&p, "top", name);
        cr_assert_eq(p.n, n + (rc == 0));
        ok = ok && rc == 0;
    }
    pt_paths_sort(&p);
    ok = pt_paths_parents(&p, &above) == 0 && ok;
    cr_assert(!ok || (p.n == 65 && above.n == 66 && pt_paths_has(&above, "top/64")));
    pt_paths_fini(&p);
    pt_paths_fini(&above);
    return ok;
}

/* A tree is whole, or there is none. */
static bool scan(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tree_spec spec = {.root = at("tree"), .cache = at("scanned"), .algorithm = PT_DIGEST_BLAKE2B};
    (void)arg;
    unlink(spec.cache);
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    bool ok = m != NULL;

    cr_assert(ok ? pt_manifest_count(m) == 5 : err.msg[0] != '\0', "%zu", ok ? pt_manifest_count(m) : 0);
    pt_manifest_destroy(m);
    return ok;
}

Test(allocations_sync, reading)
{
    allocations_check("hashcache", hashcache, NULL, ALLOCATIONS_BORNE, 10);
    put(PT_IGNORE_NAME, "*.log\n!keep.log\n/build/\nx/**\n");
    ALLOCATIONS_CHECK("choose, ignore", choose, 9);
    ALLOCATIONS_CHECK("paths", paths, 120);
    cr_assert(mkdir(at("tree"), 0700) == 0 && mkdir(at("tree/d"), 0700) == 0);
    put("tree/a", "a");
    put("tree/b.log", "b");
    put("tree/d/c", "c");
    cr_assert_eq(symlink("a", at("tree/link")), 0);
    allocations_check("scan", scan, NULL, ALLOCATIONS_BORNE,
                      20); /* digests that are not kept are read again */
}

/* --- there --- */

static bool record(void *arg)
{
    struct pt_record r = {.manifest = spare("abc")}, back;
    (void)arg;
    r.stamps = calloc(3, sizeof(*r.stamps));
    bool ok = r.stamps && pt_record_save(&r, at("record")) == 0;
    if (ok) {
        pt_record_load(&back, at("record"));
        cr_assert(!back.manifest || same(back.manifest, r.manifest));
        ok = back.manifest != NULL;
        pt_record_fini(&back);
    }
    pt_record_fini(&r);
    return ok;
}

static int give(void *arg, uint32_t number, const void *data, uint32_t size)
{
    cr_assert(number == 9 && size == 5 && memcmp(data, "hello", 5) == 0);
    ++*(int *)arg;
    return 0;
}

/* What was kept is given back as it came, or not at all. */
static bool store(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_segment segment = {.data = "hello", .size = 5, .raw = 5};
    struct pt_store_want want = {.size = 5, .number = 9};
    char command[128];
    int given = 0;
    (void)arg;
    allocations_pause();
    cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, "hello", 5, want.digest, NULL), 0);
    allocations_resume();
    struct pt_store *s = pt_store_open(at("store"), PT_DIGEST_BLAKE2B, &err);
    bool ok = s != NULL;
    cr_assert(ok || err.msg[0]);
    ok = ok && pt_store_begin(s, &err) == 0 && pt_store_segment(s, &segment, &err) == 0;
    if (ok)
        pt_store_note(s, want.digest, 0, 5);
    if (s && (pt_store_end(s, &err) < 0 || !pt_store_has(s, want.digest, 5)))
        ok = false;
    int rc = s ? pt_store_read(s, &want, 1, give, &given, &err) : -1;
    cr_assert(given == 0 || !want.lost);
    ok = ok && rc == 0 && given == 1;
    pt_store_close(s);
    snprintf(command, sizeof(command), "rm -rf %s/store", dir);
    cr_assert_eq(system(command), 0);
    return ok;
}

Test(allocations_sync, there)
{
    ALLOCATIONS_CHECK("record", record, 8);
    cr_assert(mkdir(at("store"), 0700) == 0);
    allocations_check("store", store, NULL, ALLOCATIONS_BORNE, 15);
}
