/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are the tree, and which of them are read. */
#include "sync/here/hashcache.h"
#include "sync/here/scan.h"
#include "sync_lab.h"

TestSuite(sync_scan, .init = lab_open, .fini = lab_close);

static void expect_with(const char *extra, const char *exclude, const char *wanted)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = lab_scan_with(&extra, extra ? 1 : 0, &exclude, exclude ? 1 : 0, &err);
    cr_assert_not_null(m, "%s", err.msg);
    pt_auto_free char *text = lab_paths(m);
    cr_assert_str_eq(text, wanted, "wanted:\n%sgot:\n%s", wanted, text);
    pt_manifest_destroy(m);
}

static void expect(const char *wanted)
{
    expect_with(NULL, NULL, wanted);
}

static void refused_with(const char *extra, enum pt_err_kind kind, const char *words)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(lab_scan_with(&extra, extra ? 1 : 0, NULL, 0, &err));
    cr_assert_eq(err.kind, kind, "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, words), "%s", err.msg);
    cr_assert(err.hint[0], "%s", err.msg);
}

static void git(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof(command),
             "export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t; "
             "cd here && git -c init.defaultBranch=main -c protocol.file.allow=always %s >/dev/null 2>&1",
             arguments);
    lab_run(command);
}

Test(sync_scan, without_git)
{
    lab_text("here/a.py", "1");
    lab_text("here/d/b.py", "2");
    lab_text("here/d/__pycache__/b.pyc", "x");
    lab_text("here/.hg/store", "x");
    lab_text("here/.pytest_cache/x", "x");
    lab_text("here/.mypy_cache/x", "x");
    lab_text("here/.tox/x", "x");
    lab_text("here/.ptremote/ledger", "x");
    lab_text("here/env/pyvenv.cfg", "home = /usr/bin\n");
    symlink("/usr/bin/python3", "here/env/python");
    lab_text("here/.github/w.yml", "x");
    lab_text("here/build/lib.so", "x");
    mkdir("here/empty", 0755);
    mkfifo("here/pipe", 0644);
    expect(".github/\n.github/w.yml\na.py\nbuild/\nbuild/lib.so\nd/\nd/b.py\nempty/\n");
}

Test(sync_scan, with_git)
{
    git("init");
    lab_text("here/.gitignore", "*.so\n/out/\n__pycache__/\n");
    lab_text("here/tracked.py", "1");
    lab_text("here/d/gone.py", "1");
    lab_text("here/\xff\n.py", "1");
    lab_text("here/tracked.so", "1");
    git("add -f . && git commit -qm x");
    lab_text("here/untracked.py", "1");
    lab_text("here/ignored.so", "1");
    lab_text("here/out/log", "1");
    lab_text("here/__pycache__/x", "1");
    unlink("here/d/gone.py");
    mkdir("here/empty", 0755);
    mkdir("here/empty/er", 0755);
    expect(".gitignore\nd/\nempty/\nempty/er/\ntracked.py\ntracked.so\nuntracked.py\n\xff\n.py\n");
    expect_with(
        "**/*.so", NULL,
        ".gitignore\nd/\nempty/\nempty/er/\nignored.so\ntracked.py\ntracked.so\nuntracked.py\n\xff\n.py\n");
    expect_with("out", "*.py", ".gitignore\nd/\nempty/\nempty/er/\nout/\nout/log\ntracked.so\n");
}

Test(sync_scan, git_without_ignore_rules)
{
    git("init");
    lab_text("here/t.py", "1");
    lab_text("here/p/__pycache__/t.pyc", "1");
    lab_text("here/venv/pyvenv.cfg", "1");
    lab_text("here/venv/bin/x", "1");
    symlink("/usr/bin/python3", "here/venv/bin/python");
    lab_text("here/.ptremote/x", "1");
    expect("t.py\n");
}

Test(sync_scan, git_from_within)
{
    /* The root may lie below the top of the repository, or in a part of it that it ignores. */
    lab_run("git init -q . && echo here/sub/ignored > .gitignore");
    lab_text("here/sub/a.py", "1");
    lab_text("here/sub/ignored/b.py", "1");
    lab_text("above.py", "1");
    expect("sub/\nsub/a.py\n");
    lab_run("echo here > .gitignore");
    expect("sub/\nsub/a.py\nsub/ignored/\nsub/ignored/b.py\n");
}

Test(sync_scan, submodules_and_nested)
{
    lab_run("mkdir module && cd module && git init -q && echo 1 > m.py && echo '*.o' > .gitignore && git add "
            ". && "
            "git -c user.name=t -c user.email=t@t commit -qm x");
    git("init");
    git("submodule add ../module sub && git commit -qm y");
    lab_text("here/sub/untracked.py", "1");
    lab_text("here/sub/x.o", "1");
    lab_run("mkdir here/nested && cd here/nested && git init -q && echo 1 > n.py");
    expect(".gitmodules\nnested/\nnested/n.py\nsub/\nsub/.gitignore\nsub/m.py\nsub/untracked.py\n");
}

Test(sync_scan, git_in_a_hook)
{
    git("init");
    lab_text("here/a.py", "1");
    setenv("GIT_DIR", "/nonexistent", 1);
    setenv("GIT_INDEX_FILE", "/nonexistent/index", 1);
    expect("a.py\n");
}

Test(sync_scan, no_git_program)
{
    git("init");
    lab_text("here/a.py", "1");
    setenv("PATH", "/nonexistent", 1);
    expect("a.py\n");
}

Test(sync_scan, git_that_fails)
{
    git("init");
    lab_text("here/.git/index", "garbage");
    refused_with(NULL, PT_ERR_USAGE, "git cannot list");
}

Test(sync_scan, tracked_below_what_became_a_link)
{
    git("init");
    lab_text("here/d/x.py", "1");
    lab_text("here/e/x.py", "1");
    git("add . && git commit -qm x");
    lab_run("rm -r here/d && ln -s e here/d");
    expect("d\ne/\ne/x.py\n");
}

Test(sync_scan, globs)
{
    lab_text("here/a/b.log", "1");
    lab_text("here/b.log", "1");
    lab_text("here/build/x", "1");
    lab_text("here/src/build/x", "1");
    lab_text("here/src/y", "1");
    lab_text("here/__pycache__/z", "1");
    expect_with(NULL, "*.log", "a/\nbuild/\nbuild/x\nsrc/\nsrc/build/\nsrc/build/x\nsrc/y\n");
    expect_with(NULL, "build/", "a/\na/b.log\nb.log\nsrc/\nsrc/y\n");
    expect_with(NULL, "/build", "a/\na/b.log\nb.log\nsrc/\nsrc/build/\nsrc/build/x\nsrc/y\n");
    expect_with(NULL, "src/**", "a/\na/b.log\nb.log\nbuild/\nbuild/x\n");
    expect_with("__pycache__/*", "src", "__pycache__/\n__pycache__/z\na/\na/b.log\nb.log\nbuild/\nbuild/x\n");
    refused_with("*.so", PT_ERR_USAGE, "'*.so'");
}

Test(sync_scan, links_out_of_the_tree)
{
    symlink("/etc/passwd", "here/link");
    refused_with(NULL, PT_ERR_USAGE, "link is a link to /etc/passwd");
    expect_with(NULL, "link", "");
}

Test(sync_scan, no_such_folder)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tree_spec spec = {.root = "/nonexistent/x", .algorithm = PT_DIGEST_BLAKE2B};
    cr_assert_null(pt_manifest_scan(&spec, &err));
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.msg, "/nonexistent/x"));
}

Test(sync_scan, cancelled)
{
    static atomic_int cancel = 1;
    struct pt_err err = PT_ERR_INIT;
    char root[128];
    lab_text("here/a", "1");
    snprintf(root, sizeof(root), "%s/here", lab_dir);
    struct pt_tree_spec spec = {.root = root, .algorithm = PT_DIGEST_BLAKE2B, .cancel = &cancel};
    cr_assert_null(pt_manifest_scan(&spec, &err));
    cr_assert_eq(err.kind, PT_ERR_INTERRUPTED);
}

/* Runs fn as a user who may not read everything; its failure is the test's. */
static void as_nobody(void (*fn)(void))
{
    if (geteuid() == 0)
        lab_run("chown -R 65534:65534 .");
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(3);
        fn();
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

static void try_unreadable(void)
{
    struct pt_err err = PT_ERR_INIT;
    lab_text("here/x/secret", "s");
    chmod("here/x/secret", 0);
    const char *exclude = "secret";
    if (lab_scan_with(NULL, 0, NULL, 0, &err) || err.kind != PT_ERR_USAGE || !strstr(err.msg, "x/secret") ||
        !strstr(err.hint, "--exclude 'x/secret'") || !lab_scan_with(NULL, 0, &exclude, 1, &err))
        _exit(1);
    chmod("here/x/secret", 0600);
    chmod("here/x", 0);
    if (lab_scan_with(NULL, 0, NULL, 0, &err) || err.kind != PT_ERR_USAGE || !strstr(err.msg, " x:"))
        _exit(2);
    chmod("here/x", 0700);
}

Test(sync_scan, unreadable)
{
    lab_text("here/a", "1");
    as_nobody(try_unreadable);
}

static void try_unreadable_git(void)
{
    struct pt_err err = PT_ERR_INIT;
    const char *exclude = "closed";
    if (system("cd here && git init -q . && mkdir closed && echo 1 > closed/x && chmod 0 closed") != 0)
        _exit(4);
    if (lab_scan_with(NULL, 0, NULL, 0, &err) || err.kind != PT_ERR_USAGE || !strstr(err.msg, "closed"))
        _exit(1);
    if (!lab_scan_with(NULL, 0, &exclude, 1, &err))
        _exit(2);
    chmod("here/closed", 0700);
}

Test(sync_scan, unreadable_and_git)
{
    lab_text("here/a", "1");
    as_nobody(try_unreadable_git);
}

/* As nobody, since no mode stops root. */
static void try_modes_there(void)
{
    lab_text("here/ro/a", "1");
    lab_text("here/ro/deep/b", "2");
    chmod("here/ro/deep", 0555);
    chmod("here/ro", 0555);
    lab_sync();
    if (lab_sync().sent)
        _exit(1);
    chmod("here/ro", 0755);
    chmod("here/ro/deep", 0755);
    lab_text("here/ro/deep/b", "3");
    unlink("here/ro/a");
    chmod("here/ro/deep", 0555);
    chmod("here/ro", 0555);
    lab_sync();
    if (system("chmod 0 " LAB_TREE "/ro/deep/b && chmod 0 " LAB_TREE "/ro/deep && chmod 0700 " LAB_TREE
               "/ro && "
               "mkdir -p " LAB_TREE "/ro/left/over && chmod 0 " LAB_TREE "/ro/left/over " LAB_TREE
               "/ro/left") != 0)
        _exit(2);
    lab_sync();
    if (system("chmod -R u+rwX .") != 0)
        _exit(3);
}

Test(sync_scan, folders_closed_to_writing)
{
    as_nobody(try_modes_there);
}

/* --- hash cache --- */

static struct pt_stamp stamp_of(const char *path)
{
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0);
    return pt_stamp_of(&st);
}

static bool cache_has(struct pt_hashcache *c, const struct pt_stamp *stamp, const unsigned char *digest)
{
    struct pt_hashed h;
    return pt_hashcache_get(c, stamp, &h) && memcmp(h.digest, digest, PT_DIGEST) == 0;
}

static void cache_put(struct pt_hashcache *c, const char *path, unsigned char first)
{
    struct pt_content content = {.stamp = stamp_of(path), .digest = {first}};
    pt_hashcache_put(c, &content);
}

/* Waits until what was written before is older than any clock's grain. */
static void let_it_age(const char *path)
{
    struct pt_stamp s = stamp_of(path);
    for (int i = 0; i < 1000 && pt_stamp_racy(&s, pt_stamp_clock(".")); i++)
        poll(NULL, 0, 10);
    cr_assert_not(pt_stamp_racy(&s, pt_stamp_clock(".")));
}

Test(sync_scan, cache_knows_old_files_only)
{
    unsigned char digest[PT_DIGEST] = {7};
    struct pt_hashed h;
    lab_text("old", "1");
    lab_text("other", "1");
    let_it_age("other");
    struct pt_hashcache *c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
    lab_text("fresh", "1");
    struct pt_stamp old = stamp_of("old"), fresh = stamp_of("fresh");
    cache_put(c, "old", 7);
    cache_put(c, "fresh", 7);
    cr_assert_eq(pt_hashcache_save(c), 0);
    pt_hashcache_destroy(c);
    c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
    cr_assert(cache_has(c, &old, digest));
    cr_assert_not(pt_hashcache_get(c, &fresh, &h), "it could change unseen");
    struct pt_stamp changed[] = {old, old, old, old, old};
    changed[0].ino++, changed[1].size++, changed[2].mtime_ns++, changed[3].ctime_ns++, changed[4].dev++;
    for (size_t i = 0; i < 5; i++)
        cr_assert_not(pt_hashcache_get(c, &changed[i], &h), "%zu", i);
    pt_hashcache_destroy(c);
    c = pt_hashcache_open("cachefile", PT_DIGEST_SHA256);
    cr_assert_not(pt_hashcache_get(c, &old, &h), "of another algorithm");
    pt_hashcache_destroy(c);
}

/* A byte that differs may lie where it does not count, but never makes another digest. */
Test(sync_scan, damaged_caches_are_ignored)
{
    unsigned char digest[PT_DIGEST] = {7};
    struct pt_hashed h;
    lab_text("old", "1");
    let_it_age("old");
    struct pt_stamp old = stamp_of("old");
    struct pt_hashcache *c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
    cache_put(c, "old", 7);
    cr_assert_eq(pt_hashcache_save(c), 0);
    pt_hashcache_destroy(c);
    struct stat st;
    stat("cachefile", &st);
    cr_assert_eq(st.st_mode & 0777, 0600);
    char data[1024];
    int fd = open("cachefile", O_RDONLY);
    ssize_t size = read(fd, data, sizeof(data)), unknown = 0;
    cr_assert(size > 0 && size < (ssize_t)sizeof(data));
    close(fd);
    for (ssize_t i = 0; i < 2 * size; i++) {
        bool cut = i >= size;
        char copy[1024];
        memcpy(copy, data, (size_t)size);
        if (!cut)
            copy[i] ^= 4;
        lab_write("cachefile", copy, cut ? (size_t)(i - size) : (size_t)size);
        c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
        bool known = pt_hashcache_get(c, &old, &h);
        unknown += !known;
        cr_assert(!known || (!cut && memcmp(h.digest, digest, PT_DIGEST) == 0), "%zd", i);
        pt_hashcache_destroy(c);
    }
    cr_assert_geq(unknown, size + 32 + 88, "%zd of %zd", unknown, size);
}

/* A file that the cache knows and that cannot be read any more without notice: only a scan that reads would
 * fail. */
Test(sync_scan, unchanged_files_are_not_read)
{
    lab_text("here/a.py", "1");
    let_it_age("here/a.py");
    struct pt_manifest *one = lab_scan();
    struct stat before, after;
    struct timespec times[2] = {{1000, 0}, {0, UTIME_OMIT}};
    cr_assert_eq(stat("here/a.py", &before), 0);
    pt_manifest_destroy(one);
    /* Of a cache that lies: what the scan gives comes from it, not from the file. */
    unsigned char lie[PT_DIGEST] = {42};
    struct pt_hashcache *c = pt_hashcache_open("hashcache", PT_DIGEST_BLAKE2B);
    cache_put(c, "here/a.py", 42);
    cr_assert_eq(pt_hashcache_save(c), 0);
    pt_hashcache_destroy(c);
    struct pt_manifest *two = lab_scan();
    cr_assert_arr_eq(pt_manifest_find(two, "a.py")->digest, lie, PT_DIGEST);
    pt_manifest_destroy(two);
    /* Any touch is a change. */
    cr_assert_eq(utimensat(AT_FDCWD, "here/a.py", times, 0), 0);
    cr_assert_eq(stat("here/a.py", &after), 0);
    struct pt_manifest *three = lab_scan();
    cr_assert(memcmp(pt_manifest_find(three, "a.py")->digest, lie, PT_DIGEST) != 0);
    pt_manifest_destroy(three);
}

Test(sync_scan, racy_by_whole_seconds)
{
    struct pt_stamp s = {.mtime_ns = 5 * (int64_t)PT_SECOND_NS, .ctime_ns = 100 * (int64_t)PT_SECOND_NS};
    cr_assert(pt_stamp_racy(&s, 101 * (int64_t)PT_SECOND_NS), "a file system that keeps whole seconds");
    cr_assert_not(pt_stamp_racy(&s, 103 * (int64_t)PT_SECOND_NS));
    s.ctime_ns += 7;
    cr_assert_not(pt_stamp_racy(&s, 101 * (int64_t)PT_SECOND_NS));
    cr_assert(pt_stamp_racy(&s, s.ctime_ns + 1000));
    cr_assert(pt_stamp_racy(&s, s.ctime_ns - 1000));
}

Test(sync_scan, equal_trees_equal_roots)
{
    lab_text("here/a/x", "1");
    symlink("a", "here/l");
    struct pt_manifest *one = lab_scan();
    lab_run("cp -a here copy && rm -r here && mv copy here && touch here/a/x && mv here/a here/b && mv "
            "here/b here/a");
    struct pt_manifest *two = lab_scan();
    cr_assert_arr_eq(pt_manifest_root(one), pt_manifest_root(two), PT_DIGEST);
    lab_text("here/a/x", "2");
    struct pt_manifest *three = lab_scan();
    cr_assert(memcmp(pt_manifest_root(one), pt_manifest_root(three), PT_DIGEST) != 0);
    pt_manifest_destroy(one);
    pt_manifest_destroy(two);
    pt_manifest_destroy(three);
}
