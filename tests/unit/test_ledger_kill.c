/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 while 10,000 reports a second come: what was said to be on disk is there, and the file is whole. */
#include "ledger_lab.h"
#include "ledger_writer.h"

#include <signal.h>

TestSuite(ledger_kill, .init = lab_make, .fini = lab_remove);

#define MOST   12000
#define ROUNDS 12

static pid_t start(const char *network, int *acks)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct writer w = {.dir = lab_dir, .network = network, .rate = 10000, .most = MOST, .acks = fds[1]};
        struct pt_ledger *l = writer_open(&w);
        close(fds[0]);
        writer_begin(l, MOST);
        writer_write(&w, l);
        pause(); /* whoever is to kill it was late */
        _exit(1);
    }
    close(fds[1]);
    *acks = fds[0];
    return pid;
}

/* The next number that was acknowledged; false at the end of it. */
static bool next(int acks, uint32_t *number)
{
    size_t got = 0;
    while (got < sizeof(*number)) {
        ssize_t n = read(acks, (char *)number + got, sizeof(*number) - got);
        cr_assert_geq(n, 0);
        if (n == 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

struct found {
    bool there[MOST];
    uint32_t n;
};

static int look(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *r, size_t n)
{
    struct found *f = arg;
    char text[WRITER_TEXT + 1];
    if (!test || n == 0)
        return 0;
    writer_json(test->number, text);
    cr_assert(n == 1 && test->number < MOST && r[0].outcome == PT_OUTCOME_PASSED);
    cr_assert(r[0].json_len == WRITER_TEXT && memcmp(r[0].json, text, WRITER_TEXT) == 0,
              "report %u is another", test->number);
    f->there[test->number] = true;
    f->n++;
    return 0;
}

static void integrity(struct pt_ledger *l)
{
    sqlite3_stmt *s = NULL;
    cr_assert_eq(sqlite3_prepare_v2(l->db, "PRAGMA integrity_check", -1, &s, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(s), SQLITE_ROW);
    cr_assert_str_eq((const char *)sqlite3_column_text(s, 0), "ok");
    sqlite3_finalize(s);
}

static void check(const char *network, uint32_t acked)
{
    static struct found f;
    struct pt_err err = PT_ERR_INIT;
    struct writer w = {.dir = lab_dir, .network = network};
    f = (struct found){.n = 0};
    struct pt_ledger *l = writer_open(&w);
    cr_assert_str_eq(pt_ledger_note(l), "", "set aside");
    integrity(l);
    cr_assert_eq(pt_ledger_each_result(l, pt_ledger_find_run(l, NULL, &err), ~0u, look, &f, &err), 0, "%s",
                 err.msg);
    for (uint32_t i = 0; i < acked; i++)
        cr_assert(f.there[i], "%u of %u acknowledged reports is gone", i, acked);
    for (uint32_t i = f.n; i < MOST; i++)
        cr_assert(!f.there[i], "report %u without those before it", i);
    pt_ledger_close(l);
}

/* At moments from the first acknowledged report on, and anywhere between two commits. */
static void kill_at_many_moments(const char *network)
{
    srandom(5);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct timespec more = {.tv_nsec = (random() % 60000) * 1000L};
        uint32_t until = round * 400, number, acked = 0;
        int acks, status;
        pid_t pid = start(network, &acks);
        while (acked <= until && next(acks, &number))
            cr_assert_eq(number, acked++);
        nanosleep(&more, NULL);
        kill(pid, SIGKILL);
        while (next(acks, &number))
            cr_assert_eq(number, acked++);
        close(acks);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        cr_assert_gt(acked, until);
        check(network, acked);
        lab_remove();
        lab_make();
    }
}

Test(ledger_kill, with_a_log)
{
    kill_at_many_moments(NULL);
}

Test(ledger_kill, with_the_journal_of_a_network)
{
    kill_at_many_moments("NFS");
}
