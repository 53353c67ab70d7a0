/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that git keeps: submodules, worktrees, repositories within. */
#include "sync/here/scan.h"
#include "sync_lab.h"

TestSuite(sync_repositories, .init = lab_open, .fini = lab_close);

#define GIT "git -c user.name=t -c user.email=t@t -c protocol.file.allow=always "

static void expect(const char *folder, const char *const *extra, size_t nextra, const char *wanted)
{
    char root[128];
    struct pt_err err = PT_ERR_INIT;
    snprintf(root, sizeof(root), "%s/%s", lab_dir, folder);
    struct pt_tree_spec spec = {
        .root = root, .algorithm = PT_DIGEST_BLAKE2B, .extra = extra, .nextra = nextra};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    cr_assert_not_null(m, "%s", err.msg);
    pt_auto_free char *text = lab_paths(m);
    cr_assert_str_eq(text, wanted, "wanted:\n%sgot:\n%s", wanted, text);
    pt_manifest_destroy(m);
}

Test(sync_repositories, worktree)
{
    lab_text("main/a.py", "1");
    lab_text("main/.gitignore", "*.o\n");
    lab_run("cd main && git init -q && git add . && " GIT
            "commit -qm x && git worktree add -q ../work 2>/dev/null");
    lab_text("work/b.py", "1");
    lab_text("work/c.o", "1");
    expect("work", NULL, 0, ".gitignore\na.py\nb.py\n");
}

Test(sync_repositories, many_submodules_one_within_another)
{
    char wanted[2048] = ".gitmodules\n";
    lab_text("inner/i.py", "1");
    lab_text("outer/o.py", "1");
    lab_run("cd inner && git init -q && git add . && " GIT
            "commit -qm x && cd ../outer && git init -q && git add . && " GIT "commit -qm x && " GIT
            "submodule --quiet add ../inner deep && " GIT "commit -qm y");
    lab_run("cd here && git init -q && for i in 1 2 3 4 5 6 7 8 9; do " GIT
            "submodule --quiet add ../inner s$i; done && " GIT "submodule --quiet add ../outer t && " GIT
            "submodule --quiet update --init --recursive");
    for (int i = 1; i < 10; i++) {
        char path[64];
        snprintf(path, sizeof(path), "here/s%d/new.py", i);
        lab_text(path, "1");
        snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "s%d/\ns%d/i.py\ns%d/new.py\n", i,
                 i, i);
    }
    strcat(wanted, "t/\nt/.gitmodules\nt/deep/\nt/deep/i.py\nt/o.py\n");
    expect("here", NULL, 0, wanted);
}

Test(sync_repositories, submodule_that_is_not_there)
{
    lab_text("inner/i.py", "1");
    lab_run("cd inner && git init -q && git add . && " GIT "commit -qm x");
    lab_run("mkdir from && cd from && git init -q && " GIT "submodule --quiet add ../inner s && " GIT
            "commit -qm x && rm -r ../here && " GIT "clone -q . ../here");
    expect("here", NULL, 0, ".gitmodules\ns/\n");
}

Test(sync_repositories, empty_and_extra_folders)
{
    static const char *const extra[] = {"build/**/*.so"};
    lab_text("here/.gitignore", "build\n/cache/\n");
    lab_text("here/build/x/lib.so", "1");
    lab_text("here/build/x/lib.o", "1");
    lab_text("here/cache/y", "1");
    lab_text("here/src/a.py", "1");
    lab_text("here/new/b.py", "1");
    lab_run("cd here && git init -q && git add src && mkdir -p src/empty/er new/empty build/empty && mkfifo "
            "src/pipe");
    expect("here", NULL, 0,
           ".gitignore\nnew/\nnew/b.py\nnew/empty/\nsrc/\nsrc/a.py\nsrc/empty/\nsrc/empty/er/\n");
    expect("here", extra, 1,
           ".gitignore\nbuild/\nbuild/x/\nbuild/x/lib.so\nnew/\nnew/b.py\nnew/empty/\nsrc/\nsrc/a.py\nsrc/"
           "empty/\n"
           "src/empty/er/\n");
}

Test(sync_repositories, what_became_something_else)
{
    lab_text("here/file", "1");
    lab_text("here/folder/x", "1");
    lab_text("here/link", "1");
    lab_text("here/gone/x", "1");
    lab_run("cd here && git init -q && git add . && " GIT
            "commit -qm x && rm -r file folder link gone && mkdir file && "
            "echo 1 > file/y && echo 1 > folder && ln -s folder link");
    expect("here", NULL, 0, "file/\nfile/y\nfolder\nlink\n");
}
