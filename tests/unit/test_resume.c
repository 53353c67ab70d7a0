/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_lab.h"
#include "resume.h"
#include "sync/manifest.h"

TestSuite(resume, .init = lab_make, .fini = lab_remove);

/* A tree of those files, one word each: a file with "!" behind its name has another content. */
static struct pt_manifest *tree(const char *files)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, &err);
    char copy[512], *rest = copy, *word;
    snprintf(copy, sizeof(copy), "%s", files);
    while ((word = strsep(&rest, " "))) {
        bool folder = word[strlen(word) - 1] == '/', other = word[strlen(word) - 1] == '!';
        struct pt_entry e = {
            .path = word, .type = folder ? PT_ENTRY_DIR : PT_ENTRY_FILE, .mode = folder ? 0755 : 0644};
        if (folder || other)
            word[strlen(word) - 1] = '\0';
        e.size = folder ? 0 : 5;
        memset(e.digest, folder ? 0 : other ? 2 : 1, sizeof(e.digest));
        cr_assert_eq(pt_manifest_add(m, &e, &err), 0, "%s", err.msg);
    }
    cr_assert_eq(pt_manifest_seal(m, &err), 0, "%s", err.msg);
    return m;
}

#define TREE "a/ a/conftest.py a/test_a.py b/ b/__init__.py b/test_b.py conftest.py lib.py test_top.py"

/* A run of that tree: in each file ::done passed, ::bad failed, ::gone was lost, ::not did not run, ::cut has
 * nothing. */
static struct pt_resume *make(const char *files)
{
    static const char *const paths[] = {"a/test_a.py", "b/test_b.py", "test_top.py"};
    static const char *const names[] = {"done", "bad", "gone", "not", "cut"};
    static const uint8_t outcomes[] = {PT_OUTCOME_PASSED, PT_OUTCOME_FAILED, PT_OUTCOME_LOST,
                                       PT_OUTCOME_NOTRUN};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf bytes = {0};
    char nodeid[64];
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run run = {
        .name = "r1", .hash_seed = "77", .how = "{\"seed\":\"42\"}", .argv = "[]", .cwd = "/", .master = "m"};
    struct pt_ledger_host host = {.number = 3, .name = "h4", .state = "ok"};
    cr_assert_eq(pt_ledger_begin_run(l, &run, &err), 0, "%s", err.msg);
    for (uint32_t i = 0; i < 15; i++) {
        snprintf(nodeid, sizeof(nodeid), "%s::%s", paths[i / 5], names[i % 5]);
        lab_test(l, i, nodeid);
        if (i % 5 < 4)
            lab_report(l, i, outcomes[i % 5], PT_COUNTED_FIRST, false, "{}");
    }
    cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
    if (files) {
        struct pt_manifest *m = tree(files);
        pt_manifest_encode(m, &bytes);
        cr_assert_eq(pt_ledger_put_tree(l, "r", 1, bytes.data, bytes.len, NULL), 0);
        pt_buf_fini(&bytes);
        pt_manifest_destroy(m);
    }
    struct pt_resume *r = pt_resume_load(l, run.id, &err);
    cr_assert_not_null(r, "%s", err.msg);
    pt_ledger_close(l);
    return r;
}

Test(resume, keeps_what_has_an_outcome)
{
    struct pt_resume *r = make(TREE);
    struct pt_manifest *now = tree(TREE);
    cr_expect_str_eq(pt_resume_name(r), "r1");
    cr_expect_str_eq(pt_resume_hash_seed(r), "77");
    cr_expect_str_eq(pt_resume_seed(r), "42");
    cr_expect_str_eq(pt_resume_host(r, 3), "h4");
    cr_expect(!pt_resume_host(r, 2) && !pt_resume_host(r, 4));
    cr_expect_eq(pt_resume_tests(r), 15);
    cr_expect_eq(pt_resume_tree(r, now, false, NULL), 0);
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::done", 0), 0);
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::done", 0), PT_NONE, "once");
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::done", 1), PT_NONE, "another of that id");
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::bad", 0), 1);
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::gone", 0), PT_NONE);
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::not", 0), PT_NONE);
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::cut", 0), PT_NONE);
    cr_expect_eq(pt_resume_take(r, "a/test_a.py", "a/test_a.py::new", 0), PT_NONE);
    cr_expect_eq(pt_resume_taken(r), 2);
    cr_expect(pt_resume_took(r, "a/test_a.py::bad") && !pt_resume_took(r, "test_top.py::bad"));
    pt_manifest_destroy(now);
    pt_resume_destroy(r);
}

/* Which of the three files' tests are kept with that tree now: "atb", the others as "-"; NULL: refused. */
static const char *kept(const char *files, bool changed, const char *below, struct pt_err *err)
{
    static char text[4];
    struct pt_resume *r = make(TREE);
    struct pt_manifest *now = tree(files);
    int rc = pt_resume_tree(r, now, changed, err);
    pt_resume_below(r, below);
    snprintf(text, sizeof(text), "%c%c%c",
             pt_resume_take(r, "a/test_a.py", "a/test_a.py::done", 0) == PT_NONE ? '-' : 'a',
             pt_resume_take(r, "b/test_b.py", "b/test_b.py::done", 0) == PT_NONE ? '-' : 'b',
             pt_resume_take(r, "test_top.py", "test_top.py::done", 0) == PT_NONE ? '-' : 't');
    pt_manifest_destroy(now);
    pt_resume_destroy(r);
    lab_remove();
    lab_make();
    return rc < 0 ? NULL : text;
}

Test(resume, a_tree_that_changed_is_refused_by_name)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_null(
        kept("a/ a/conftest.py a/test_a.py! b/ b/__init__.py b/test_b.py conftest.py lib.py test_top.py",
             false, "", &err));
    cr_expect_eq(err.kind, PT_ERR_USAGE);
    cr_expect_str_eq(err.msg, "--resume: the tree has changed since run r1: a/test_a.py");
    cr_expect(strstr(err.hint, "--resume=r1,changed"), "%s", err.hint);
    cr_expect_null(kept("x.py", false, "", &err));
    cr_expect_str_eq(err.msg,
                     "--resume: the tree has changed since run r1: a/conftest.py, a/test_a.py, b/__init__.py "
                     "and 5 more");
}

Test(resume, what_a_changed_file_could_touch_runs_again)
{
    static const struct {
        const char *files, *kept;
    } cases[] = {
        {TREE, "abt"},
        {"a/ a/conftest.py a/test_a.py! b/ b/__init__.py b/test_b.py conftest.py lib.py test_top.py", "-bt"},
        {"a/ a/conftest.py! a/test_a.py b/ b/__init__.py b/test_b.py conftest.py lib.py test_top.py", "-bt"},
        {"a/ a/test_a.py b/ b/__init__.py b/test_b.py conftest.py lib.py test_top.py", "-bt"},
        {"a/ a/conftest.py a/test_a.py b/ b/__init__.py! b/test_b.py! conftest.py lib.py test_top.py", "a-t"},
        {"a/ a/conftest.py a/test_a.py b/ b/__init__.py b/test_b.py conftest.py! lib.py test_top.py", "---"},
        {"a/ a/conftest.py a/test_a.py b/ b/__init__.py b/test_b.py conftest.py lib.py! test_top.py", "---"},
        {"a/ a/conftest.py a/test_a.py b/ b/__init__.py b/test_b.py conftest.py test_top.py", "---"},
        {"a/ a/conftest.py a/test_a.py b/ b/__init__.py b/test_b.py c/ conftest.py lib.py test_top.py",
         "abt"},
        {"a/ a/conftest.py a/test_a.py a/test_new.py b/ b/__init__.py b/test_b.py conftest.py lib.py "
         "test_top.py",
         "abt"},
        {"a/ a/conftest.py a/data.bin a/test_a.py b/ b/__init__.py b/test_b.py conftest.py lib.py "
         "test_top.py",
         "---"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pt_err err = PT_ERR_INIT;
        const char *got = kept(cases[i].files, true, "", &err);
        cr_expect_str_eq(got ? got : err.msg, cases[i].kept, "case %zu: %s", i, got ? got : err.msg);
    }
}

/* pytest's rootdir is the folder p: test files are told without it. */
Test(resume, paths_begin_where_pytest_does)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_str_eq(kept("p/ p/a/ p/a/test_a.py", true, "p", &err), "---", "everything of before is gone");
    static const struct {
        const char *now, *kept;
    } cases[] = {{"p/ p/a/ p/a/test_a.py! p/test_top.py", "-bt"},
                 {"p/ p/a/ p/a/conftest.py p/a/test_a.py p/test_top.py", "-bt"},
                 {"conftest.py p/ p/a/ p/a/test_a.py p/test_top.py", "---"},
                 {"p/ p/a/ p/a/test_a.py p/test_top.py q/ q/conftest.py", "abt"},
                 {"p/ p/a/ p/a/test_a.py p/test_top.py q.txt", "---"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pt_resume *r = make("p/ p/a/ p/a/test_a.py p/test_top.py");
        struct pt_manifest *now = tree(cases[i].now);
        cr_assert_eq(pt_resume_tree(r, now, true, &err), 0, "%s", err.msg);
        cr_assert_eq(pt_resume_below(r, "p"), 0);
        char text[4] = {pt_resume_take(r, "a/test_a.py", "a/test_a.py::done", 0) == PT_NONE ? '-' : 'a',
                        pt_resume_take(r, "b/test_b.py", "b/test_b.py::done", 0) == PT_NONE ? '-' : 'b',
                        pt_resume_take(r, "test_top.py", "test_top.py::done", 0) == PT_NONE ? '-' : 't'};
        cr_expect_str_eq(text, cases[i].kept, "case %zu: %s", i, text);
        pt_manifest_destroy(now);
        pt_resume_destroy(r);
        lab_remove();
        lab_make();
    }
}

/* A conftest.py above pytest's rootdir counts, one of a folder whose name begins alike does not. */
Test(resume, folders_are_not_taken_for_others)
{
    static const char *const changed[] = {"pq/conftest.py", "p/conftest.py"};
    for (int i = 0; i < 2; i++) {
        char files[64];
        struct pt_resume *r = make("pq/ pq/r/ pq/r/test_top.py");
        snprintf(files, sizeof(files),
                 i ? "p/ %s pq/ pq/r/ pq/r/test_top.py" : "pq/ %s pq/r/ pq/r/test_top.py", changed[i]);
        struct pt_manifest *now = tree(files);
        cr_assert_eq(pt_resume_tree(r, now, true, NULL), 0);
        cr_assert_eq(pt_resume_below(r, "pq/r"), 0);
        cr_expect_eq(pt_resume_take(r, "test_top.py", "test_top.py::done", 0) == PT_NONE, i == 0, "%s",
                     changed[i]);
        pt_manifest_destroy(now);
        pt_resume_destroy(r);
        lab_remove();
        lab_make();
    }
}

Test(resume, outcomes_without_a_tree_cannot_be_kept)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_resume *r = make(NULL);
    struct pt_manifest *now = tree(TREE);
    cr_expect_eq(pt_resume_tree(r, now, true, &err), -1);
    cr_expect_str_eq(err.msg, "--resume: the tree of run r1 is not recorded");
    pt_manifest_destroy(now);
    pt_resume_destroy(r);
}
