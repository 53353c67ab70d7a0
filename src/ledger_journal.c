/* SPDX-License-Identifier: Apache-2.0 */
/* How the file is written. On a disk of this machine by SQLite's write-ahead log: readers never wait, a
 * commit is one flush. Its index is memory that all who have the file open share, and machines share none, so
 * that over a network it would give wrong answers or damage. There the file has a rollback journal and byte
 * locks: the file's own head says which of the two it is, and SQLite goes by that in every program.
 *
 * Once it has a rollback journal it keeps it, on a local disk too: the server of a network file system may be
 * writing the file that its clients read, and one that has a rollback journal holds no lock between
 * transactions which would tell. A file with a log is taken over to the journal only while nobody has it
 * open; it is opened without the shared index for that, which needs all of its locks.
 *
 * The journal is truncated, not removed: one flush less, and nothing of the folder has to reach the disk
 * before a commit may be told. A reader would keep a writer from its commit for as long as it reads, and a
 * pager can hold that up for hours: so it reads from a copy (pt_ledger_hold). */
#include "common/auto.h"
#include "common/err.h"
#include "ledger_inside.h"

#include <string.h>
#include <sys/vfs.h>

#define BUSY_MS  10000
#define OURS_MS  2000 /* to have the file for ourselves */
#define AGAIN_MS 20

/* As statfs(2) has them. Of what is in user space (FUSE) nobody can tell; the journal works with all of it.
 */
static const struct {
    unsigned type;
    const char *name;
} network[] = {
    {0x00006969, "NFS"},   {0x0000517b, "SMB"},    {0xff534d42, "SMB"},  {0xfe534d42, "SMB"},
    {0x01021997, "9p"},    {0x65735546, "FUSE"},   {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"},  {0x19830326, "BeeGFS"}, {0x5346414f, "AFS"},  {0x6b414653, "AFS"},
    {0x73757245, "Coda"},  {0x7461636f, "OCFS2"},  {0x01161970, "GFS2"}, {0xaad7aaea, "PanFS"},
    {0x20030528, "PVFS2"}, {0x786f4256, "vboxsf"}, {0x0000564c, "NCP"},  {0xbacbacbc, "vmhgfs"},
};

const char *pt_ledger_network(unsigned long type)
{
    for (size_t i = 0; i < PT_COUNT(network); i++)
        if (network[i].type == (unsigned)type) /* on some machines it is a signed word */
            return network[i].name;
    return NULL;
}

const char *pt_ledger_network_of(const char *dir)
{
    struct statfs fs;
    return statfs(dir, &fs) == 0 ? pt_ledger_network((unsigned long)fs.f_type) : NULL;
}

/* 1: a write-ahead log, 0: not; -1 err. */
static int has_log(struct pt_ledger *l, struct pt_err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(l->db, "PRAGMA journal_mode", -1, &s, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
        l->logs = strcmp(pt_column_text(s, 0), "wal") == 0;
    sqlite3_finalize(s);
    return rc == SQLITE_ROW ? l->logs : pt_ledger_fail(l, err, "open");
}

static int in_use(struct pt_ledger *l, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_INFRA,
                    "ledger %s lies on %s and is open elsewhere, in a way that works on one machine only",
                    l->path, l->network);
    return pt_err_hint(
        err,
        "wait until that run has ended, or keep the record on a disk of this machine with --state-dir DIR");
}

/* Nobody else can have the file open when this gets it. */
static int take_over(struct pt_ledger *l, struct pt_err *err)
{
    sqlite3_busy_timeout(l->db, OURS_MS);
    int rc = has_log(l, err);
    if (rc > 0)
        rc = pt_ledger_exec(l, "PRAGMA journal_mode=TRUNCATE", err) < 0 ? -1 : has_log(l, err);
    if (rc > 0 || (rc < 0 && !l->damaged && (sqlite3_errcode(l->db) & 0xff) == SQLITE_BUSY))
        return in_use(l, err);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    return rc;
}

/* SQLite waits for nobody when another process makes the same change to a new file. */
static int use_log(struct pt_ledger *l, struct pt_err *err)
{
    struct pt_err local = PT_ERR_INIT;
    l->logs = true;
    for (int waited = 0; pt_ledger_exec(l, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", &local) < 0;
         waited += AGAIN_MS) {
        if ((sqlite3_errcode(l->db) & 0xff) != SQLITE_BUSY || waited >= BUSY_MS) {
            if (err)
                *err = local;
            return -1;
        }
        sqlite3_sleep(AGAIN_MS);
    }
    return 0;
}

int pt_ledger_journal(struct pt_ledger *l, struct pt_err *err)
{
    bool ok;
    sqlite3_busy_timeout(l->db, BUSY_MS);
    if (l->network) {
        if (pt_ledger_exec(l, "PRAGMA locking_mode=EXCLUSIVE", err) < 0 || take_over(l, err) < 0)
            return -1;
        return pt_ledger_exec(l,
                              "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=EXTRA;"
                              " PRAGMA locking_mode=NORMAL; SELECT COUNT(*) FROM sqlite_master",
                              err);
    }
    /* In this order: another process may begin the file meanwhile, and what has a page has its journal. */
    bool fresh = !l->looks && pt_ledger_ask(l, "PRAGMA page_count", &ok) == 0;
    int log = has_log(l, err);
    if (log < 0)
        return -1;
    if (!log && !fresh)
        return pt_ledger_exec(l, "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=EXTRA", err);
    return use_log(l, err);
}

int pt_ledger_copy(struct pt_ledger *l, struct pt_err *err)
{
    sqlite3 *copy = NULL;
    int rc =
        sqlite3_open_v2("", &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_backup *b = rc == SQLITE_OK ? sqlite3_backup_init(copy, "main", l->db, "main") : NULL;
    if (b)
        sqlite3_backup_step(b, -1);
    rc = b ? sqlite3_backup_finish(b) : SQLITE_NOMEM;
    if (rc == SQLITE_OK) {
        pt_ledger_close_file(l);
        l->db = copy;
        return pt_ledger_prepare_all(l, err) < 0 ? -1 : pt_ledger_exec(l, "PRAGMA query_only=1", err);
    }
    pt_err_set_kind(err, PT_ERR_INFRA, "ledger %s: read: %s", l->path, sqlite3_errstr(rc));
    sqlite3_close(copy);
    return -1;
}
