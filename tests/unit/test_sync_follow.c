/* SPDX-License-Identifier: Apache-2.0 */
/* --copy-links: what links out of the tree lead to. */
#include "sync/here/scan.h"
#include "sync_lab.h"

TestSuite(sync_follow, .init = lab_open, .fini = lab_close);

static struct pt_manifest *scan(bool copy, struct pt_err *err)
{
    char root[128];
    snprintf(root, sizeof(root), "%s/here", lab_dir);
    struct pt_tree_spec spec = {.root = root, .algorithm = PT_DIGEST_BLAKE2B, .copy_links = copy};
    return pt_manifest_scan(&spec, err);
}

/* Path, then "/", or "->" and the target, or size and mode. */
static void expect(const char *wanted)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = scan(true, &err);
    cr_assert_not_null(m, "%s", err.msg);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    for (size_t i = 0; i < pt_manifest_count(m); i++) {
        const struct pt_entry *e = pt_manifest_get(m, i);
        if (e->type == PT_ENTRY_LINK)
            fprintf(out, "%s -> %s\n", e->path, e->link);
        else
            fprintf(out, e->type == PT_ENTRY_DIR ? "%s/\n" : "%s %llu %o\n", e->path,
                    (unsigned long long)e->size, e->mode);
    }
    fclose(out);
    cr_assert_str_eq(text, wanted, "wanted:\n%sgot:\n%s", wanted, text);
    free(text);
    pt_manifest_destroy(m);
}

static void refused(const char *words)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(scan(true, &err), "%s", words);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.msg, words), "%s", err.msg);
    cr_assert_not_null(strstr(err.hint, "--exclude"), "%s", err.hint);
}

Test(sync_follow, told_of_when_off)
{
    struct pt_err err = PT_ERR_INIT;
    symlink("../data", "here/link");
    cr_assert_null(scan(false, &err));
    cr_assert_not_null(strstr(err.msg, "link is a link to ../data"), "%s", err.msg);
    cr_assert_not_null(strstr(err.hint, "--exclude 'link'"), "%s", err.hint);
    cr_assert_not_null(strstr(err.hint, "--copy-links"), "%s", err.hint);
}

Test(sync_follow, files_and_folders)
{
    lab_text("data/x", "12");
    lab_text("data/d/y", "123");
    lab_text("data/__pycache__/y", "123");
    lab_run("chmod 0711 data/d/y && mkdir here/sub && mkdir data/empty");
    symlink("../data", "here/folder");
    symlink("../../data/d/y", "here/sub/file");
    symlink("file", "here/sub/within");
    symlink("folder", "here/whole");
    symlink("nowhere", "here/dangling");
    expect("dangling -> nowhere\nfolder/\nfolder/d/\nfolder/d/y 3 711\nfolder/empty/\nfolder/x 2 644\n"
           "sub/\nsub/file 3 711\nsub/within -> file\nwhole -> folder\n");
    lab_run("cd here && git init -q && git add .");
    expect("dangling -> nowhere\nfolder/\nfolder/d/\nfolder/d/y 3 711\nfolder/empty/\nfolder/x 2 644\n"
           "sub/\nsub/file 3 711\nsub/within -> file\nwhole -> folder\n");
}

Test(sync_follow, links_in_what_was_followed)
{
    lab_text("data/d/x", "1");
    lab_text("beside/y", "12");
    symlink("../d/x", "data/d/in");
    symlink("../../beside", "data/d/out");
    char path[128];
    snprintf(path, sizeof(path), "%s/data/d/x", lab_dir);
    symlink(path, "data/absolute");
    symlink("../data", "here/l");
    expect("l/\nl/absolute 1 644\nl/d/\nl/d/in -> ../d/x\nl/d/out/\nl/d/out/y 2 644\nl/d/x 1 644\n");
}

Test(sync_follow, absolute_into_the_tree)
{
    char path[128];
    lab_text("here/d/x", "1");
    snprintf(path, sizeof(path), "%s/here/d", lab_dir);
    symlink(path, "here/l");
    expect("d/\nd/x 1 644\nl/\nl/x 1 644\n");
}

Test(sync_follow, no_end)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/here", lab_dir);
    mkdir("here/d", 0755);
    symlink(path, "here/d/self");
    refused("d/self is a link to");
    refused("it lies in itself");
    unlink("here/d/self");
    symlink("..", "here/up");
    refused("it lies in itself");
    unlink("here/up");
    lab_text("data/a/x", "1");
    lab_run("ln -s ../../data data/a/again && ln -s ../data here/l");
    refused("l/a/again is a link to ../../data");
}

Test(sync_follow, not_there)
{
    symlink("/nonexistent/x", "here/l");
    refused("l is a link to /nonexistent/x, which is not there");
    unlink("here/l");
    symlink("/dev/null", "here/l");
    refused("neither a file nor a folder");
}

/* Each folder leads twice to the next one: 2^40 of them, if nobody counted. */
Test(sync_follow, many_ways)
{
    for (int i = 0; i < 40; i++) {
        char command[256];
        snprintf(command, sizeof(command),
                 "mkdir data%d && ln -s ../data%d data%d/a && ln -s ../data%d data%d/b", i, i + 1, i, i + 1,
                 i);
        lab_run(command);
    }
    lab_run("mkdir data40 && ln -s ../data0 here/l");
    refused("too many folders");
}
