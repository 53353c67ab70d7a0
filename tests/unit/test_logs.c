/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "common/wire.h"
#include "logs.h"
#include "remove_tree.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct pt_logs *logs;

static void make(void)
{
    struct pt_err err = PT_ERR_INIT;
    snprintf(dir, sizeof(dir), "/tmp/ptremote-logs-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    logs = pt_logs_create(dir, "20261121-101112-abcdef", &err);
    cr_assert_not_null(logs, "%s", err.msg);
}

static void clean(void)
{
    pt_logs_destroy(logs);
    remove_tree(dir);
}

TestSuite(logs, .init = make, .fini = clean);

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/logs/20261121-101112-abcdef/%s", dir, name);
    return path;
}

static void check_file(const char *name, const char *want)
{
    char got[8192];
    FILE *f = fopen(path_of(name), "r");
    cr_assert_not_null(f, "%s", name);
    got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
    fclose(f);
    cr_assert_str_eq(got, want, "%s", name);
}

static void add(uint32_t node, const char *host, const char *nodeid, const char *text)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_logs_add(logs, node, host, nodeid, text, strlen(text), &err), 0, "%s", err.msg);
}

Test(logs, a_file_for_each_node_and_nothing_before_it_is_needed)
{
    struct stat st;
    cr_assert_null(pt_logs_folder(logs));
    cr_assert_eq(pt_logs_add(logs, 0, "h1", NULL, "", 0, NULL), 0);
    cr_assert_null(pt_logs_folder(logs));
    cr_assert_eq(access(path_of(""), F_OK), -1);
    add(0, "h1", NULL, "early\n");
    add(3, "h2", "a.py::x", "one\n");
    add(0, "h1", "a.py::y", "two");
    add(0, "h1", "a.py::y", " and\nthree");
    add(0, "h1", "a.py::z", "\x1b[31mred\n");
    add(0, "h1", NULL, "late\n");
    check_file("gw0.log", "=== gw0 on h1\nearly\n=== a.py::y\ntwo and\nthree\n=== a.py::z\n\x1b[31mred\n"
                          "=== (between tests)\nlate\n");
    check_file("gw3.log", "=== gw3 on h2\n=== a.py::x\none\n");
    cr_assert(strstr(path_of(""), pt_logs_folder(logs)) == path_of(""));
    cr_assert(stat(path_of("gw0.log"), &st) == 0 && (st.st_mode & 0777) == 0600);
    cr_assert(stat(pt_logs_folder(logs), &st) == 0 && (st.st_mode & 0777) == 0700);
}

Test(logs, names_from_hosts_are_made_safe)
{
    add(0, "h1\n=== gw7\x1b[2J/../x", "a.py::x[\n=== b.py::y]", "text\n");
    check_file("gw0.log", "=== gw0 on h1\\x0a=== gw7\\x1b[2J/../x\n=== a.py::x[\\x0a=== b.py::y]\ntext\n");
    cr_assert_eq(pt_logs_add(logs, PT_LOGS_NODES, "h", NULL, "x", 1, NULL), -1);
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(pt_logs_create(dir, "../up", &err));
    cr_assert_null(pt_logs_create(dir, "a/b", &err));
    cr_assert_null(pt_logs_create(dir, "", &err));
}

Test(logs, no_link_is_followed)
{
    char target[128];
    add(0, "h1", NULL, "x\n");
    snprintf(target, sizeof(target), "%s/elsewhere", dir);
    cr_assert_eq(symlink(target, path_of("gw1.log")), 0);
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_logs_add(logs, 1, "h1", NULL, "x", 1, &err), -1);
    cr_assert_not_null(strstr(err.msg, "gw1.log"), "%s", err.msg);
    cr_assert_eq(access(target, F_OK), -1);
}

Test(logs, the_last_runs_are_kept)
{
    char path[256];
    char up[128];
    snprintf(path, sizeof(path), "%s/logs", dir);
    mkdir(path, 0700);
    for (int i = 0; i < 15; i++) {
        snprintf(path, sizeof(path), "%s/logs/20261121-0000%02d-aaaaaa", dir, i);
        cr_assert_eq(mkdir(path, 0700), 0);
        strcat(path, "/gw0.log");
        fclose(fopen(path, "w"));
    }
    snprintf(up, sizeof(up), "%s/kept", dir);
    cr_assert_eq(mkdir(up, 0700), 0);
    strcat(up, "/file");
    fclose(fopen(up, "w"));
    snprintf(path, sizeof(path), "%s/logs/00000000-link", dir);
    cr_assert_eq(symlink("../kept", path), 0);
    add(0, "h1", NULL, "x\n");
    int n = 0;
    snprintf(path, sizeof(path), "%s/logs", dir);
    DIR *d = opendir(path);
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] == '2';
    closedir(d);
    cr_assert_eq(n, PT_LOGS_RUNS);
    snprintf(path, sizeof(path), "%s/logs/20261121-000014-aaaaaa", dir);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(access(up, F_OK), 0, "what a link points to stays");
    check_file("gw0.log", "=== gw0 on h1\nx\n");
}

Test(logs, a_folder_that_cannot_be_made_is_named)
{
    char path[128];
    struct pt_err err = PT_ERR_INIT;
    snprintf(path, sizeof(path), "%s/logs", dir);
    fclose(fopen(path, "w"));
    cr_assert_eq(pt_logs_add(logs, 0, "h1", NULL, "x", 1, &err), -1);
    cr_assert_eq(err.kind, PT_ERR_INFRA);
    cr_assert_not_null(strstr(err.msg, "/logs"), "%s", err.msg);
    cr_assert_null(pt_logs_folder(logs));
    cr_assert_eq(pt_logs_add(logs, 0, "h1", NULL, "x", 1, &err), 0, "said once");
}

/* --- lines --- */

static struct pt_buf shown;

static void take(void *arg, uint32_t node, const char *nodeid, const char *line, size_t n)
{
    char head[128];
    (void)arg;
    snprintf(head, sizeof(head), "[%u %s]", node, nodeid ? nodeid : "-");
    pt_buf_append(&shown, head, strlen(head));
    pt_buf_append(&shown, line, n);
    pt_buf_append(&shown, "|", 1);
}

static void lines(uint32_t node, const char *nodeid, const char *text)
{
    cr_assert_eq(pt_logs_lines(logs, node, nodeid, text, strlen(text), take, NULL), 0);
}

static void check_shown(const char *want)
{
    pt_buf_append(&shown, "", 1);
    cr_assert_str_eq((char *)shown.data, want);
    pt_buf_fini(&shown);
}

Test(logs, whole_lines_are_shown)
{
    lines(0, "t", "one\ntw");
    lines(1, "u", "other\n");
    check_shown("[0 t]one|[1 u]other|");
    lines(0, "t", "o\n\nthree");
    check_shown("[0 t]two|[0 t]|");
    lines(0, "v", "four\r\n");
    check_shown("[0 t]three|[0 v]four|");
    lines(0, NULL, "five");
    pt_logs_flush(logs, 0, take, NULL);
    pt_logs_flush(logs, 0, take, NULL);
    pt_logs_flush(logs, 99, take, NULL);
    check_shown("[0 -]five|");
}

Test(logs, nothing_steers_the_terminal)
{
    lines(0, "t", "a\tb\x1b[2J\x07\xff\xc2\x9b\xe2\x80\xae\rc\n");
    check_shown("[0 t]a\tb\\x1b[2J\\x07\\xff\\x9b\\u202e\\x0dc|");
}

Test(logs, a_long_line_comes_in_pieces_of_whole_characters)
{
    size_t n = 10 * PT_LOGS_LINE;
    char *text = malloc(n + 1);
    for (size_t offset = 0; offset < 4; offset++) {
        memset(text, 'x', offset);
        for (size_t i = offset; i + 3 <= n; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        size_t len = offset + (n - offset) / 3 * 3;
        cr_assert_eq(pt_logs_lines(logs, 0, NULL, text, len, take, NULL), 0);
        pt_logs_flush(logs, 0, take, NULL);
        size_t euros = 0;
        for (size_t i = 0; i + 3 <= shown.len; i++)
            euros += memcmp(shown.data + i, "\xe2\x82\xac", 3) == 0;
        cr_assert_eq(euros, (n - offset) / 3, "none was cut");
        cr_assert_null(memchr(shown.data, '\\', shown.len));
        pt_buf_fini(&shown);
    }
    free(text);
}

Test(logs, ranks_of_groups_have_files_of_their_own)
{
    char who[PT_LOGS_WHO];
    uint32_t one = pt_logs_member(logs, "h1", 0, 1);
    uint32_t other = pt_logs_member(logs, "../h 2", 3, 0);
    cr_assert(one >= PT_LOGS_NODES && other == one + 1 && pt_logs_member(logs, "h1", 0, 1) == one);
    add(one, "h1", "a.py::x", "one\n");
    add(other, "../h 2", NULL, "two");
    add(0, "h1", NULL, "plain\n");
    check_file("h1-group0-rank1.log", "=== group 0 rank 1 on h1\n=== a.py::x\none\n");
    check_file("_._h_2-group3-rank0.log", "=== group 3 rank 0 on ../h 2\ntwo");
    check_file("gw0.log", "=== gw0 on h1\nplain\n");
    pt_logs_who(logs, other, who, sizeof(who));
    cr_assert_str_eq(who, "group 3 rank 0");
    pt_logs_who(logs, 7, who, sizeof(who));
    cr_assert_str_eq(who, "gw7");
    pt_logs_lines(logs, one, "t", "rest", 4, take, NULL);
    pt_logs_lines(logs, other, "t", "more", 4, take, NULL);
    pt_logs_flush_members(logs, "h1", take, NULL);
    char want[64];
    snprintf(want, sizeof(want), "[%u t]rest|", one);
    check_shown(want);
    cr_assert_eq(pt_logs_add(logs, other + 1, "h1", NULL, "x", 1, NULL), -1, "no such member");
}

Test(logs, the_same_lines_however_it_is_cut)
{
    static const char text[] = "a\n\nbc\r\nd\xe2\x82\xac\x1b"
                               "e\nlast";
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        pt_logs_lines(logs, 0, "t", text, cut, take, NULL);
        pt_logs_lines(logs, 0, "t", text + cut,
                      sizeof(text) - 1 - (cut < sizeof(text) - 1 ? cut : sizeof(text) - 1), take, NULL);
        pt_logs_flush(logs, 0, take, NULL);
        if (cut < sizeof(text) - 1)
            check_shown("[0 t]a|[0 t]|[0 t]bc|[0 t]d\xe2\x82\xac\\x1be|[0 t]last|");
        else
            pt_buf_fini(&shown);
    }
}
