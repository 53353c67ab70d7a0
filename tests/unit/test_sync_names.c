/* SPDX-License-Identifier: Apache-2.0 */
/* Names, modes and numbers of files that a scan must take as they are. */
#include "sync/here/files.h"
#include "sync/here/scan.h"
#include "sync/here/walk.h"
#include "sync_lab.h"

TestSuite(sync_names, .init = lab_open, .fini = lab_close);

static const struct pt_entry *entry(const struct pt_manifest *m, const char *path)
{
    const struct pt_entry *e = pt_manifest_find(m, path);
    cr_assert_not_null(e, "%s", path);
    return e;
}

Test(sync_names, any_bytes)
{
    static const char *const names[] = {
        "caf\xc3\xa9", "cafe\xcc\x81", "new\nline", "tab\there", "\xff\xfe\x80", " ", "-rf",     "a",
        "A",           "\\",           "'\"$(x)",   "...",       "..a",          "*", "\x01\x7f"};
    char longest[256];
    memset(longest, 'x', 255);
    longest[255] = '\0';
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i <= PT_COUNT(names); i++) {
            char path[600];
            const char *name = i < PT_COUNT(names) ? names[i] : longest;
            snprintf(path, sizeof(path), "here/%s/%s", name, name);
            lab_text(path, name);
        }
        struct pt_manifest *m = lab_scan();
        cr_assert_eq(pt_manifest_count(m), 2 * (PT_COUNT(names) + 1));
        for (size_t i = 0; i <= PT_COUNT(names); i++) {
            char path[600];
            unsigned char digest[PT_DIGEST];
            const char *name = i < PT_COUNT(names) ? names[i] : longest;
            snprintf(path, sizeof(path), "%s/%s", name, name);
            cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, name, strlen(name), digest, NULL), 0);
            cr_assert_arr_eq(entry(m, path)->digest, digest, PT_DIGEST, "%s", name);
        }
        pt_manifest_destroy(m);
        lab_run("cd here && git init -q && git add . 2>/dev/null");
    }
}

Test(sync_names, modes)
{
    static const unsigned modes[] = {0644, 0755, 0600, 0400, 0777, 0711};
    for (size_t i = 0; i < PT_COUNT(modes); i++) {
        char path[64];
        snprintf(path, sizeof(path), "here/d%zu/f%zu", i, i);
        lab_text(path, "1");
        cr_assert_eq(chmod(path, modes[i]), 0);
    }
    chmod("here/d0", 02750);
    struct pt_manifest *m = lab_scan();
    for (size_t i = 0; i < PT_COUNT(modes); i++) {
        char path[64];
        snprintf(path, sizeof(path), "d%zu/f%zu", i, i);
        cr_assert_eq(entry(m, path)->mode, modes[i]);
    }
    cr_assert_eq(entry(m, "d0")->mode, 0750);
    pt_manifest_destroy(m);
}

Test(sync_names, empty_folders)
{
    lab_run("mkdir -p here/a/b/c here/d");
    lab_text("here/d/x", "1");
    for (int round = 0; round < 2; round++) {
        struct pt_manifest *m = lab_scan();
        cr_assert_eq(pt_manifest_count(m), 5);
        cr_assert_eq(entry(m, "a/b/c")->type, PT_ENTRY_DIR);
        pt_manifest_destroy(m);
        lab_run("cd here && git init -q && git add .");
    }
}

/* "a", "a.b", "a/b", "ab": the order is that of whole paths, not of folders. */
Test(sync_names, order)
{
    static const char *const parts[] = {"a",  "a.b",  "a-",    "ab", "a b", "b",
                                        "a0", "\x01", "a\x01", "b.", "b+c"};
    srandom(7);
    for (int i = 0; i < 400; i++) {
        char path[128] = "here";
        for (long depth = random() % 5; depth >= 0; depth--) {
            strcat(path, "/");
            strcat(path, parts[(size_t)random() % PT_COUNT(parts)]);
        }
        pt_auto_free char *command = NULL;
        struct stat st;
        if (stat(path, &st) == 0)
            continue;
        cr_assert_gt(asprintf(&command, "mkdir -p '%s' 2>/dev/null || true", path), 0);
        lab_run(command);
        strcat(path, "/f");
        lab_text(path, "1");
    }
    char root[128];
    snprintf(root, sizeof(root), "%s/here", lab_dir);
    struct pt_tree_spec spec = {.root = root, .algorithm = PT_DIGEST_BLAKE2B};
    for (int round = 0; round < 2; round++) {
        struct pt_files *f = pt_files_start(&spec, NULL);
        struct pt_hashcache *cache = pt_hashcache_open(NULL, PT_DIGEST_BLAKE2B);
        size_t n;
        int fd;
        cr_assert_eq(pt_files_list(f, cache, NULL), 0);
        struct pt_item *const *items = pt_files_items(f, &n, &fd);
        cr_assert_gt(n, 400);
        for (size_t i = 1; i < n; i++)
            cr_assert_lt(strcmp(items[i - 1]->path, items[i]->path), 0, "%s, %s", items[i - 1]->path,
                         items[i]->path);
        pt_files_destroy(f);
        pt_hashcache_destroy(cache);
        lab_run("cd here && git init -q && git add .");
    }
}

Test(sync_names, too_deep)
{
    char name[201];
    memset(name, 'd', 200);
    name[200] = '\0';
    int at = open("here", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 25; i++) {
        cr_assert_eq(mkdirat(at, name, 0755), 0);
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(lab_scan_with(NULL, 0, NULL, 0, &err));
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.msg, "too long"), "%s", err.msg);
    lab_run("rm -r here/d*"); /* too deep for nftw */
}

Test(sync_names, a_hundred_thousand_files)
{
    char path[64];
    for (int d = 0; d < 500; d++) {
        snprintf(path, sizeof(path), "here/%03d", d);
        cr_assert_eq(mkdir(path, 0755), 0);
        int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 200; i++) {
            snprintf(path, sizeof(path), "%03d", i);
            int fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            cr_assert_eq(write(fd, &i, sizeof(i)), sizeof(i));
            close(fd);
        }
        close(dir);
    }
    struct pt_manifest *one = lab_scan(), *two = lab_scan();
    cr_assert_eq(pt_manifest_count(one), 100500);
    cr_assert_eq(pt_manifest_bytes(one), 400000);
    cr_assert_arr_eq(pt_manifest_root(one), pt_manifest_root(two), PT_DIGEST);
    pt_manifest_destroy(one);
    pt_manifest_destroy(two);
}
