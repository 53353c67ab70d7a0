/* SPDX-License-Identifier: Apache-2.0 */
/* .ptremoteignore: as git reads .gitignore. */
#include "sync/here/ignore.h"
#include "sync_lab.h"

TestSuite(sync_ignore, .init = lab_open, .fini = lab_close);

static struct pt_ignore *rules(const char *text, size_t n, struct pt_err *err)
{
    struct pt_ignore *g = NULL;
    lab_write("here/" PT_IGNORE_NAME, text, n);
    int here = open("here", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(pt_ignore_read(here, &g, err), err->msg[0] ? -1 : 0);
    close(here);
    return g;
}

struct row {
    const char *text, *path;
    bool folder, out;
};

Test(sync_ignore, table)
{
    static const struct row rows[] = {
        {"a", "a", 0, 1},
        {"a", "d/a", 0, 1},
        {"a", "ab", 0, 0},
        {"/a", "a", 0, 1},
        {"/a", "d/a", 0, 0},
        {"d/a", "d/a", 0, 1},
        {"d/a", "e/d/a", 0, 0},
        {"a/", "a", 0, 0},
        {"a/", "a", 1, 1},
        {"a/", "d/a", 1, 1},
        {"*.o", "d/x.o", 0, 1},
        {"*.o", "x.oo", 0, 0},
        {"*", "x", 0, 1},
        {"?", "x", 0, 1},
        {"x?", "x", 0, 0},
        {"[ab]c", "bc", 0, 1},
        {"[!ab]c", "bc", 0, 0},
        {"[[:digit:]x]", "7", 0, 1},
        {"[[:digit:]x]", "x", 0, 1},
        {"[[:digit:]x]", "y", 0, 0},
        {"[![:alpha:]]", "y", 0, 0},
        {"**/a", "a", 0, 1},
        {"**/a", "x/y/a", 0, 1},
        {"a/**", "a", 1, 0},
        {"a/**", "a/x", 0, 1},
        {"a/**", "a/x/y", 0, 1},
        {"a/**/b", "a/b", 0, 1},
        {"a/**/b", "a/x/y/b", 0, 1},
        {"a/*", "a/x", 0, 1},
        {"a/*", "a/x/y", 0, 0},
        {"a/*.c", "a/x/y.c", 0, 0},
        {"# a", "# a", 0, 0},
        {"\\#a", "#a", 0, 1},
        {"\\!a", "!a", 0, 1},
        {"\\*", "*", 0, 1},
        {"\\*", "x", 0, 0},
        {"a  ", "a", 0, 1},
        {"a\\ ", "a ", 0, 1},
        {"a\\  ", "a ", 0, 1},
        {"a b", "a b", 0, 1},
        {"a\t", "a\t", 0, 1},
        {"\n\n   \na\n", "a", 0, 1},
        {"a\r\nb\r\n", "b", 0, 1},
        {"\xef\xbb\xbf"
         "a",
         "a", 0, 1},
        {"*\n!a", "a", 0, 0},
        {"!a\n*", "a", 0, 1},
        {"*.o\n!keep.o\nkeep.*", "keep.o", 0, 1},
        {"/*\n!/src/", "src", 1, 0},
        {"/*\n!/src/", "src", 0, 1},
        {"\xff*", "\xff\xfe", 0, 1},
    };
    for (size_t i = 0; i < PT_COUNT(rows); i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_ignore *g = rules(rows[i].text, strlen(rows[i].text), &err);
        const char *slash = strrchr(rows[i].path, '/');
        cr_expect_eq(pt_ignore_has(g, rows[i].path, slash ? slash + 1 : rows[i].path, rows[i].folder),
                     rows[i].out, "'%s' %s", rows[i].text, rows[i].path);
        pt_ignore_destroy(g);
    }
}

static void refused(const char *text, size_t n, const char *words)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ignore *g = NULL;
    lab_write("here/" PT_IGNORE_NAME, text, n);
    int here = open("here", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(pt_ignore_read(here, &g, &err), -1, "%s", words);
    close(here);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.msg, words), "%s", err.msg);
}

Test(sync_ignore, what_cannot_be)
{
    refused("a\n\n[b", 5, "line 3: a '['");
    refused("[b/c]", 5, "line 1: a '['");
    refused("[[:what:]]", 10, "line 1");
    refused("a\\", 2, "line 1: a backslash");
    refused("a\n/\n", 4, "line 2: there is no pattern");
    refused("!", 1, "line 1: there is no pattern");
    refused("a\0b", 3, "line 1: a NUL");
    char *text = malloc(3u << 20);
    memset(text, 'x', 3u << 20);
    refused(text, 5000, "line 1: the pattern is too long");
    for (size_t i = 1; i < (1u << 20); i += 2)
        text[i] = '\n';
    refused(text, 1u << 20, "too many lines");
    refused(text, 3u << 20, "more than");
    free(text);
    cr_assert_eq(unlink("here/" PT_IGNORE_NAME), 0);
    cr_assert_eq(mkdir("here/" PT_IGNORE_NAME, 0755), 0);
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(lab_scan_with(NULL, 0, NULL, 0, &err));
    cr_assert_not_null(strstr(err.msg, "is not a file"), "%s", err.msg);
}

/* The files of the tree, one a line. */
static char *files_of(const struct pt_manifest *m)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    for (size_t i = 0; i < pt_manifest_count(m); i++)
        if (pt_manifest_get(m, i)->type != PT_ENTRY_DIR)
            fprintf(out, "%s\n", pt_manifest_get(m, i)->path);
    fclose(out);
    return text;
}

static char *said_by(const char *command)
{
    char *text = calloc(1, 65536);
    FILE *from = popen(command, "r");
    cr_assert_not_null(from);
    size_t n = fread(text, 1, 65535, from);
    cr_assert_eq(pclose(from), 0, "%s", command);
    text[n] = '\0';
    return text;
}

static const char *pick(const char *const *from, size_t n)
{
    return from[(size_t)random() % n];
}

static void write_random_rules(void)
{
    static const char *const parts[] = {"a",   "b", "ab",   "c.o",  "*",  "a*",
                                        "*.o", "?", "[ab]", "[!a]", "**", "*b*"};
    static const char *const before[] = {"", "", "", "/", "!", "!", "!/"}, *const after[] = {"", "", "/",
                                                                                             "/**"};
    FILE *out = fopen("here/" PT_IGNORE_NAME, "we");
    for (long lines = random() % 5 + 1; lines > 0; lines--) {
        fputs(pick(before, PT_COUNT(before)), out);
        for (long n = random() % 3; n > 0; n--)
            fprintf(out, "%s/", pick(parts, PT_COUNT(parts)));
        fprintf(out, "%s%s\n", pick(parts, PT_COUNT(parts)), pick(after, PT_COUNT(after)));
    }
    fclose(out);
}

Test(sync_ignore, as_git_does)
{
    static const char *const names[] = {"a", "b", "ab", "c.o"};
    lab_run("git init -q --bare repo");
    for (size_t i = 0; i < 64; i++) {
        char path[64];
        snprintf(path, sizeof(path), "here/d%s/%s/%s", names[i % 4], names[i / 4 % 4], names[i / 16]);
        lab_text(path, "1");
        snprintf(path, sizeof(path), "here/%s/%s.o", names[i % 4], names[i / 4 % 4]);
        lab_text(path, "1");
    }
    for (unsigned round = 0; round < 150; round++) {
        srandom(round);
        write_random_rules();
        struct pt_manifest *m = lab_scan();
        pt_auto_free char *ours = files_of(m);
        pt_auto_free char *gits = said_by("cd here && git --git-dir=../repo --work-tree=. ls-files -o "
                                          "--exclude-from=" PT_IGNORE_NAME " | LC_ALL=C sort");
        pt_auto_free char *text = lab_read("here/" PT_IGNORE_NAME);
        cr_assert_str_eq(ours, gits, "%s---\nours:\n%s---\ngit's:\n%s", text, ours, gits);
        pt_manifest_destroy(m);
    }
}

Test(sync_ignore, of_a_tree)
{
    lab_text("here/" PT_IGNORE_NAME, "*.log\n/build/\n!keep.log\n");
    lab_text("here/a.log", "1");
    lab_text("here/d/keep.log", "1");
    lab_text("here/build/keep.log", "1");
    lab_text("here/d/build/x", "1");
    const char *extra = "**/*.log";
    for (int round = 0; round < 2; round++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_manifest *m = lab_scan_with(&extra, 1, NULL, 0, &err);
        cr_assert_not_null(m, "%s", err.msg);
        pt_auto_free char *text = files_of(m);
        cr_assert_str_eq(text, PT_IGNORE_NAME "\nd/build/x\nd/keep.log\n", "%s", text);
        pt_manifest_destroy(m);
        lab_run("cd here && git init -q && git add -f .");
    }
}
