/* SPDX-License-Identifier: Apache-2.0 */
/* What was sent to a host: the bytes of the file; then what is sealed in it; then digests beside a tree that
 * is one. */
#include "fuzz_tree.h"
#include "sent.h"
#include "sync/sealed.h"

#include <dirent.h>
#include <sys/stat.h>

static struct pt_manifest *tree;
static struct pt_buf encoded;

static void make_tree(void)
{
    tree = tree_make();
    pt_manifest_encode(tree, &encoded);
}

/* Where it lies: the name is a digest. */
static void find_file(char path[400])
{
    DIR *d = opendir(fuzz_path("sent"));
    FUZZ_CHECK(d);
    path[0] = '\0';
    for (const struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            snprintf(path, 400, "%s/sent/%s", fuzz_folder(), e->d_name);
    closedir(d);
    FUZZ_CHECK(path[0]);
}

static void put_file(const char *path, struct fuzz_parts in, uint8_t how)
{
    struct pt_buf b = {0};
    if (how & 2) {
        pt_put_u32(&b, 0x50545332u);
        pt_put_u64(&b, fuzz_byte(&in));
        unsigned char root[PT_DIGEST];
        memcpy(root, pt_manifest_root(tree), PT_DIGEST);
        root[0] ^= fuzz_byte(&in);
        pt_buf_append(&b, root, PT_DIGEST);
        pt_put_bytes(&b, encoded.data, encoded.len - fuzz_byte(&in) % encoded.len);
    }
    pt_buf_append(&b, in.p, in.left);
    FUZZ_CHECK(pt_sealed_write(path, &b) == 0 || fuzz_starved());
    pt_buf_fini(&b);
}

static void use(struct pt_sent *s)
{
    struct pt_err err = PT_ERR_INIT;
    uint64_t files, bytes;
    const unsigned char *root = pt_sent_root(s);
    const struct pt_manifest *m = pt_sent_manifest(s);
    FUZZ_CHECK(!m || (root && memcmp(pt_manifest_root(m), root, PT_DIGEST) == 0));
    FUZZ_CHECK(!pt_sent_unfinished(s));
    pt_sent_missing(tree, m, &files, &bytes);
    FUZZ_CHECK(files <= pt_manifest_count(tree) && bytes <= pt_manifest_bytes(tree));
    pt_known_has(pt_sent_known(s), pt_manifest_root(tree));
    pt_sent_set_unfinished(s);
    pt_sent_set_rate(s, pt_sent_rate(s) + pt_sent_rate(s) / 2 + 1);
    bool same = root && memcmp(root, pt_manifest_root(tree), PT_DIGEST) == 0; /* then it is not looked at */
    if (pt_sent_tree(s, tree, pt_sent_rate(s) % 2, &err) == 0) {
        FUZZ_CHECK(same || pt_known_has(pt_sent_known(s), pt_manifest_blob(tree, 0).digest));
        FUZZ_CHECK(pt_sent_save(s, &err) == 0 || fuzz_starved());
    } else {
        FUZZ_CHECK(fuzz_starved() && err.msg[0]);
    }
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static char path[400];
    struct fuzz_parts in = {data, size};
    uint8_t how = fuzz_byte(&in);
    unsigned held = fuzz_hold();
    if (!tree) {
        make_tree();
        struct pt_sent *first = pt_sent_load(fuzz_folder(), "host", "");
        FUZZ_CHECK(first && pt_sent_tree(first, tree, false, NULL) == 0 && pt_sent_save(first, NULL) == 0);
        pt_sent_destroy(first);
        find_file(path);
    }
    fuzz_release(held);
    if (how & 1) {
        put_file(path, in, how);
    } else {
        FILE *f = fopen(path, "we");
        FUZZ_CHECK(f && fwrite(in.p, 1, in.left, f) == in.left);
        fclose(f);
    }
    struct pt_sent *s = pt_sent_load(fuzz_folder(), "host", "");
    FUZZ_CHECK(s || fuzz_starved());
    if (s)
        use(s);
    pt_sent_destroy(s);
    fuzz_feed();
    if (!fuzz_starved()) {
        s = pt_sent_load(fuzz_folder(), "host", "");
        FUZZ_CHECK(s && pt_sent_manifest(s) && pt_sent_root(s));
        pt_sent_destroy(s);
    } else {
        char mark[420];
        snprintf(mark, sizeof(mark), "%s.unfinished", path);
        remove(mark);
    }
    pt_sent_destroy(NULL);
}
