/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "sent.h"
#include "sync/here/scan.h"
#include "sync/sealed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/pt-sent.XXXXXX";
static char tree[64], state[64];

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", tree, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static struct pt_manifest *scan(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tree_spec spec = {.root = tree, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    cr_assert(m, "%s", err.msg);
    return m;
}

static void setup(void)
{
    cr_assert(mkdtemp(folder));
    snprintf(tree, sizeof(tree), "%s/tree", folder);
    snprintf(state, sizeof(state), "%s/state", folder);
    cr_assert(mkdir(tree, 0700) == 0 && mkdir(state, 0700) == 0);
    write_text("a", "one");
    write_text("b", "four");
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert(system(command) == 0);
}

TestSuite(sent, .init = setup, .fini = teardown);

static void check_missing(const struct pt_manifest *m, const struct pt_manifest *has, uint64_t files,
                          uint64_t bytes)
{
    uint64_t got_files, got_bytes;
    pt_sent_missing(m, has, &got_files, &got_bytes);
    cr_expect(got_files == files && got_bytes == bytes, "%llu files, %llu bytes",
              (unsigned long long)got_files, (unsigned long long)got_bytes);
}

static struct pt_sent *load(const char *host)
{
    struct pt_sent *s = pt_sent_load(state, host, "");
    cr_assert_not_null(s);
    return s;
}

static void save(const char *host, const struct pt_manifest *m, uint64_t rate)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_sent *s = load(host);
    pt_sent_set_rate(s, rate);
    cr_assert_eq(pt_sent_tree(s, m, false, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_sent_save(s, &err), 0, "%s", err.msg);
    pt_sent_destroy(s);
}

/* A command of the shell, in the folder with the files. */
static void run(const char *command)
{
    char whole[256];
    snprintf(whole, sizeof(whole), "cd '%s/sent' && %s", state, command);
    cr_assert_eq(system(whole), 0, "%s", command);
}

Test(sent, nothing_is_known_at_first)
{
    struct pt_manifest *m = scan();
    struct pt_sent *s = load("h1");
    cr_assert(!pt_sent_root(s) && !pt_sent_manifest(s) && !pt_sent_known(s) && !pt_sent_rate(s));
    check_missing(m, NULL, 2, 7);
    pt_sent_destroy(s);
    pt_manifest_destroy(m);
}

Test(sent, what_was_saved_is_known)
{
    struct pt_manifest *m = scan();
    save("odd/../name\n", m, 5000000);
    struct pt_sent *s = load("odd/../name\n");
    cr_assert(pt_sent_root(s) && memcmp(pt_sent_root(s), pt_manifest_root(m), PT_DIGEST) == 0);
    cr_assert_eq(pt_sent_rate(s), 5000000);
    check_missing(m, pt_sent_manifest(s), 0, 0);
    cr_assert(pt_known_has(pt_sent_known(s), pt_manifest_find(m, "b")->digest));
    pt_manifest_destroy(m);
    write_text("b", "five");
    m = scan();
    check_missing(m, pt_sent_manifest(s), 1, 4);
    pt_sent_destroy(s);
    s = load("another");
    cr_expect_null(pt_sent_root(s));
    pt_sent_destroy(s);
    s = pt_sent_load(state, "odd/../name\n", "/elsewhere");
    cr_expect_null(pt_sent_root(s), "another cache on that host");
    pt_sent_destroy(s);
    pt_manifest_destroy(m);
}

/* The store keeps what the workspace had before, unless it was found to have lost some. */
Test(sent, what_the_store_has_is_remembered_until_it_lost_some)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *before = scan();
    save("h1", before, 0);
    write_text("b", "five");
    struct pt_manifest *now = scan();
    save("h1", now, 0);
    struct pt_sent *s = load("h1");
    cr_expect(pt_known_has(pt_sent_known(s), pt_manifest_find(before, "b")->digest));
    cr_expect(pt_known_has(pt_sent_known(s), pt_manifest_find(now, "b")->digest));
    cr_assert_eq(pt_sent_tree(s, now, true, &err), 0);
    cr_expect_not(pt_known_has(pt_sent_known(s), pt_manifest_find(before, "b")->digest));
    cr_expect(pt_known_has(pt_sent_known(s), pt_manifest_find(now, "b")->digest));
    pt_sent_destroy(s);
    pt_manifest_destroy(before);
    pt_manifest_destroy(now);
}

Test(sent, only_news_is_written)
{
    struct pt_manifest *m = scan();
    save("h1", m, 0);
    struct pt_sent *s = load("h1");
    run("rm -f *");
    cr_assert_eq(pt_sent_tree(s, m, false, NULL), 0);
    pt_sent_set_rate(s, 0);
    cr_assert_eq(pt_sent_save(s, NULL), 0);
    run("test -z \"$(ls)\"");
    pt_sent_set_rate(s, 1000);
    cr_assert_eq(pt_sent_save(s, NULL), 0);
    run("test -n \"$(ls)\"");
    run("rm -f *");
    pt_sent_set_rate(s, 1100); /* much the same */
    cr_assert_eq(pt_sent_save(s, NULL), 0);
    run("test -z \"$(ls)\"");
    pt_sent_destroy(s);
    pt_manifest_destroy(m);
}

Test(sent, a_damaged_memory_is_no_memory)
{
    static const char *const damages[] = {
        "for f in *; do truncate -s -3 \"$f\"; done", "for f in *; do : >\"$f\"; done",
        "for f in *; do printf x | dd of=\"$f\" bs=1 seek=20 conv=notrunc 2>/dev/null; done",
        "for f in *; do rm $f; ln -s /dev/zero $f; done", "for f in *; do rm $f; mkfifo $f; done"};
    struct pt_manifest *m = scan();
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        save("h1", m, 7000000);
        run(damages[i]);
        struct pt_sent *s = load("h1");
        cr_expect(!pt_sent_root(s) && !pt_sent_manifest(s) && !pt_sent_known(s) && !pt_sent_rate(s), "%zu",
                  i);
        pt_sent_destroy(s);
    }
    save("h1", m, 0);
    struct pt_sent *s = load("h1");
    cr_expect(pt_sent_manifest(s));
    pt_sent_destroy(s);
    pt_manifest_destroy(m);
}

/* A file that is whole and says nonsense: sealed, so of a program like this one, and yet not believed. */
Test(sent, nonsense_is_no_memory)
{
    struct pt_manifest *m = scan();
    struct pt_buf good = {0};
    char path[128] = "", command[160];
    save("h1", m, 0);
    snprintf(command, sizeof(command), "ls -d %s/sent/*", state);
    FILE *p = popen(command, "r");
    cr_assert(p && fgets(path, sizeof(path), p));
    pclose(p);
    path[strcspn(path, "\n")] = '\0';
    cr_assert_eq(pt_sealed_read(path, &good), 0);
    for (size_t n = 0; n < good.len; n += n < 60 ? 1 : 13) {
        struct pt_buf part = {.data = good.data, .len = n};
        cr_assert_eq(pt_sealed_write(path, &part), 0);
        struct pt_sent *s = load("h1");
        cr_assert(!pt_sent_root(s) && !pt_sent_known(s), "%zu", n);
        pt_sent_destroy(s);
    }
    good.data[60] ^= 1; /* within the tree: found when it is asked for */
    cr_assert_eq(pt_sealed_write(path, &good), 0);
    struct pt_sent *s = load("h1");
    cr_assert_null(pt_sent_manifest(s));
    cr_assert_null(pt_sent_root(s));
    pt_sent_destroy(s);
    pt_buf_fini(&good);
    pt_manifest_destroy(m);
}
