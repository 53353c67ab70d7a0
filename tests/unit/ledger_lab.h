/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A ledger in a folder of its own, filled as a run fills it. */
#include "common/err.h"
#include "ledger.h"
#include "remove_tree.h"
#include "verdict.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char lab_dir[64];

__attribute__((unused)) static void lab_make(void)
{
    const char *above = getenv("TMPDIR");
    snprintf(lab_dir, sizeof(lab_dir), "%.30s/ptremote-ledger-XXXXXX", above && *above ? above : "/tmp");
    cr_assert_not_null(mkdtemp(lab_dir));
}

__attribute__((unused)) static void lab_remove(void)
{
    remove_tree(lab_dir);
}

__attribute__((unused)) static const char *lab_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", lab_dir, name);
    return path;
}

/* How many files whose names end so were set aside; "": ledgers. */
__attribute__((unused)) static size_t lab_aside(const char *end)
{
    char pattern[192];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/ledger.sqlite.damaged-*[0-9]%s", lab_dir, end);
    size_t n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

__attribute__((unused)) static struct pt_ledger *lab_open(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = pt_ledger_open(lab_dir, &err);
    cr_assert_not_null(l, "%s", err.msg);
    return l;
}

__attribute__((unused)) static int64_t lab_begin(struct pt_ledger *l, const char *name)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run run = {.name = name, .command = "ptremote", .started = 1700000000.25};
    cr_assert_eq(pt_ledger_begin_run(l, &run, &err), 0, "%s", err.msg);
    return run.id;
}

__attribute__((unused)) static void lab_test(struct pt_ledger *l, uint32_t number, const char *nodeid)
{
    char file[256];
    snprintf(file, sizeof(file), "%.*s", (int)strcspn(nodeid, ":"), nodeid);
    struct pt_ledger_test test = {.number = number, .nodeid = nodeid, .file = file};
    cr_assert_eq(pt_ledger_add_test(l, &test, NULL), 0);
}

/* json NULL: none. */
__attribute__((unused)) static void lab_report(struct pt_ledger *l, uint32_t test, uint8_t outcome,
                                               int counted, bool extra, const char *json)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_report r = {.test = test,
                                 .counted = counted,
                                 .extra = extra,
                                 .attempt = 1,
                                 .host = 0,
                                 .worker = 2,
                                 .outcome = outcome,
                                 .phase = PT_PHASE_CALL,
                                 .started = 1700000001.5,
                                 .duration = 0.5,
                                 .setup = 0.125,
                                 .call = 0.25,
                                 .teardown = 0.125,
                                 .json = json,
                                 .json_len = json ? strlen(json) : 0};
    cr_assert_eq(pt_ledger_add_report(l, &r, &err), 0, "%s", err.msg);
}

/* What another program does to the file. */
__attribute__((unused)) static void lab_alter(const char *sql)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        execlp("/usr/bin/python3", "python3", "-c",
               "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()",
               lab_path("ledger.sqlite"), sql, NULL);
        _exit(1);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
}
