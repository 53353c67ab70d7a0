/* SPDX-License-Identifier: Apache-2.0 */
/* The file itself: set aside when damaged, written as fits where it lies, and what is told when it cannot be.
 */
#include "ledger_inside.h"
#include "ledger_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

TestSuite(ledger_file, .init = lab_make, .fini = lab_remove);

static void put(const char *name, const char *bytes, size_t n)
{
    int fd = open(lab_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

static void one_run(struct pt_ledger *l, const char *name)
{
    lab_begin(l, name);
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
}

static int count_run(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    (void)run;
    *(uint32_t *)arg += counts[PT_OUTCOME_PASSED];
    return 0;
}

/* Tests that passed over all runs. */
static uint32_t passed(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    uint32_t n = 0;
    cr_assert_eq(pt_ledger_each_run(l, count_run, &n, &err), 0, "%s", err.msg);
    return n;
}

static void refused_to_look(const char *what)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(pt_ledger_look(lab_dir, &err));
    cr_expect_eq(err.kind, PT_ERR_USAGE, "%s", what);
    cr_expect(strstr(err.msg, "ledger.sqlite is damaged"), "%s: %s", what, err.msg);
    cr_expect(strstr(err.hint, "the next run sets it aside"), "%s: %s", what, err.hint);
    cr_expect_eq(lab_aside(""), 0, "%s: looking changes nothing", what);
}

/* --- damaged --- */

Test(ledger_file, all_that_belongs_to_a_damaged_file_goes_with_it)
{
    put("ledger.sqlite", "no database", 11);
    put("ledger.sqlite-wal", "log", 3);
    put("ledger.sqlite-shm", "shm", 3);
    refused_to_look("no database");
    struct pt_ledger *l = lab_open();
    cr_expect(strstr(pt_ledger_note(l), lab_path("ledger.sqlite was damaged: set aside as ")), "%s",
              pt_ledger_note(l));
    cr_expect(lab_aside("") == 1 && lab_aside("-wal") == 1 && lab_aside("-shm") == 1);
    one_run(l, "r1");
    pt_ledger_close(l);
}

/* SQLite takes an empty file for a new one, and removes the log that it finds beside it. */
Test(ledger_file, a_log_whose_file_was_emptied_or_is_gone_is_kept)
{
    for (int gone = 0; gone < 2; gone++) {
        put("ledger.sqlite", "", 0);
        put("ledger.sqlite-wal", "all that there was", 18);
        refused_to_look("emptied");
        if (gone)
            unlink(lab_path("ledger.sqlite"));
        struct pt_ledger *l = lab_open();
        cr_expect(strstr(pt_ledger_note(l), "was damaged"), "%s", pt_ledger_note(l));
        pt_ledger_close(l);
        cr_expect_eq(lab_aside("-wal"), 1);
        lab_remove();
        lab_make();
    }
}

Test(ledger_file, an_empty_file_is_a_new_one)
{
    struct pt_err err = PT_ERR_INIT;
    put("ledger.sqlite", "", 0);
    cr_assert_null(pt_ledger_look(lab_dir, &err));
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, "no runs are recorded"), "%s", err.msg);
    struct pt_ledger *l = lab_open();
    cr_expect_str_eq(pt_ledger_note(l), "");
    one_run(l, "r1");
    pt_ledger_close(l);
}

Test(ledger_file, a_database_of_another_program_is_set_aside)
{
    lab_alter("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1); PRAGMA user_version=9; PRAGMA "
              "application_id=7");
    refused_to_look("theirs");
    struct pt_ledger *l = lab_open();
    cr_expect_eq(lab_aside(""), 1);
    one_run(l, "r1");
    pt_ledger_close(l);
}

/* Found only when it is read: told then, in the same words. */
Test(ledger_file, damage_that_shows_while_reading)
{
    struct pt_err err = PT_ERR_INIT;
    char page[4096];
    struct stat st;
    uint32_t n = 0;
    memset(page, 0xa5, sizeof(page));
    struct pt_ledger *l = lab_open();
    one_run(l, "r1");
    for (uint32_t i = 1; i < 500; i++)
        lab_test(l, i, "a.py::y");
    cr_assert_eq(pt_ledger_commit(l, NULL), 0);
    pt_ledger_close(l);
    cr_assert_eq(stat(lab_path("ledger.sqlite"), &st), 0);
    int fd = open(lab_path("ledger.sqlite"), O_WRONLY);
    for (off_t at = 4096 * 8L; at < st.st_size; at += 4096) /* the tables' own pages stay */
        cr_assert_eq(pwrite(fd, page, 4096, at), 4096);
    close(fd);
    cr_assert_not_null(l = pt_ledger_look(lab_dir, &err), "%s", err.msg);
    cr_assert_lt(pt_ledger_each_run(l, count_run, &n, &err), 0);
    pt_ledger_close(l);
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, "ledger.sqlite is damaged"), "%s", err.msg);
    cr_expect(strstr(err.hint, "the next run sets it aside"), "%s", err.hint);
}

/* Two runs begin at once: the one that comes second must not put away what the first has begun. */
Test(ledger_file, a_file_that_another_process_made_anew_is_not_set_aside)
{
    struct pt_err err = PT_ERR_INIT;
    put("ledger.sqlite", "no database", 11);
    struct pt_ledger *late = calloc(1, sizeof(*late));
    late->path = strdup(lab_path("ledger.sqlite"));
    pt_ledger_remember_file(late);
    struct pt_ledger *l = lab_open();
    one_run(l, "r1");
    cr_assert_eq(pt_ledger_begin_anew(late, &err), 0, "%s", err.msg);
    cr_expect_eq(lab_aside(""), 1);
    cr_expect_eq(passed(late), 1);
    cr_expect_str_eq(late->note, "");
    pt_ledger_close(late);
    pt_ledger_close(l);
}

/* --- where it lies --- */

Test(ledger_file, which_file_systems_machines_share)
{
    cr_expect_str_eq(pt_ledger_network(0x6969), "NFS");
    cr_expect_str_eq(pt_ledger_network(0x517b), "SMB");
    cr_expect_str_eq(pt_ledger_network(0xff534d42), "SMB");
    cr_expect_str_eq(pt_ledger_network((unsigned long)(int)0xff534d42), "SMB");
    cr_expect_str_eq(pt_ledger_network(0x01021997), "9p");
    cr_expect_str_eq(pt_ledger_network(0x65735546), "FUSE");
    cr_expect_null(pt_ledger_network(0xef53), "ext4");
    cr_expect_null(pt_ledger_network(0x58465342), "XFS");
    cr_expect_null(pt_ledger_network(0x9123683e), "Btrfs");
    cr_expect_null(pt_ledger_network(0x01021994), "tmpfs");
    cr_expect_null(pt_ledger_network(0x794c7630), "overlay");
    cr_expect_null(pt_ledger_network_of(lab_dir));
    cr_expect_null(pt_ledger_network_of("/nowhere"));
}

/* The ledger in the lab's folder, opened as on that kind of file system. */
static struct pt_ledger *open_on(const char *network, bool looks, struct pt_err *err)
{
    struct pt_ledger *l = calloc(1, sizeof(*l));
    l->path = strdup(lab_path("ledger.sqlite"));
    l->network = network;
    l->most = PT_LEDGER_BYTES;
    if ((looks ? pt_ledger_look_file(l, err) : pt_ledger_open_file(l, err)) == 0)
        return l;
    pt_ledger_close(l);
    return NULL;
}

static struct pt_ledger *must_open_on(const char *network, bool looks)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = open_on(network, looks, &err);
    cr_assert_not_null(l, "%s", err.msg);
    return l;
}

static bool there(const char *name)
{
    return access(lab_path(name), F_OK) == 0;
}

Test(ledger_file, over_a_network_it_has_no_log)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = must_open_on("NFS", false);
    cr_expect(!l->logs);
    one_run(l, "r1");
    lab_begin(l, "r2");
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    cr_expect(!there("ledger.sqlite-wal") && !there("ledger.sqlite-shm"));
    struct pt_ledger *other = must_open_on("NFS", true); /* while a transaction is open */
    cr_assert_eq(pt_ledger_hold(other, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_ledger_commit(l, &err), 0, "a reader does not hold up a commit: %s", err.msg);
    cr_expect_eq(passed(other), 1, "it sees what was there");
    cr_expect_lt(pt_ledger_exec(other, "DELETE FROM runs", NULL), 0, "it only looks");
    pt_ledger_close(other);
    pt_ledger_close(l);
    l = must_open_on("NFS", true);
    cr_expect_eq(passed(l), 2);
    pt_ledger_close(l);
}

/* The server of a network file system has the file on a disk of its own. */
Test(ledger_file, a_file_without_a_log_stays_so_on_a_local_disk)
{
    struct pt_ledger *client = must_open_on("NFS", false);
    one_run(client, "r1");
    struct pt_ledger *server = must_open_on(NULL, false);
    cr_expect(!server->logs);
    one_run(server, "r2");
    one_run(client, "r3");
    cr_expect_eq(passed(server), 3);
    cr_expect(!there("ledger.sqlite-wal"));
    pt_ledger_close(client);
    pt_ledger_close(server);
    client = must_open_on(NULL, true);
    cr_expect(!client->logs);
    cr_expect_eq(passed(client), 3);
    pt_ledger_close(client);
}

/* A local disk's ledger, met over the network: by a writer or by a reader. */
Test(ledger_file, a_log_is_given_up_over_a_network)
{
    for (int looks = 0; looks < 2; looks++) {
        struct pt_ledger *l = must_open_on(NULL, false);
        cr_expect(l->logs);
        one_run(l, "r1");
        pt_ledger_close(l);
        l = must_open_on("9p", looks);
        cr_expect(!l->logs);
        cr_expect_eq(passed(l), 1);
        struct pt_ledger *other = must_open_on("9p", false); /* no lock was left behind */
        one_run(other, "r2");
        cr_expect_eq(passed(l), 2);
        pt_ledger_close(other);
        pt_ledger_close(l);
        lab_remove();
        lab_make();
    }
}

/* kill -9 left a log with what was committed last. */
Test(ledger_file, what_a_log_holds_is_not_lost_over_a_network)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        one_run(must_open_on(NULL, false), "r1");
        kill(getpid(), SIGKILL);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(there("ledger.sqlite-wal"));
    struct pt_ledger *l = must_open_on("NFS", false);
    cr_expect_eq(passed(l), 1);
    cr_expect(!there("ledger.sqlite-wal"));
    pt_ledger_close(l);
}

/* A process of its own, as locks are a process's: has the file open on its local disk until a byte comes. */
static pid_t hold_open(int ready, int go)
{
    pid_t pid = fork();
    if (pid == 0) {
        char c = 0;
        struct pt_ledger *l = must_open_on(NULL, false);
        one_run(l, "r1");
        _exit(write(ready, &c, 1) != 1 || read(go, &c, 1) != 1);
    }
    return pid;
}

Test(ledger_file, a_log_in_use_is_refused_over_a_network, .timeout = 100)
{
    struct pt_err err = PT_ERR_INIT;
    int ready[2], go[2], status;
    char c = 0;
    cr_assert(pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = hold_open(ready[1], go[0]);
    cr_assert_eq(read(ready[0], &c, 1), 1);
    cr_expect_null(open_on("NFS", false, &err));
    cr_expect(strstr(err.msg, "lies on NFS and is open elsewhere"), "%s", err.msg);
    cr_expect(strstr(err.hint, "--state-dir DIR"), "%s", err.hint);
    cr_expect_eq(lab_aside(""), 0);
    cr_assert_eq(write(go[1], &c, 1), 1);
    cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
    struct pt_ledger *l = must_open_on("NFS", false);
    cr_expect_eq(passed(l), 1);
    pt_ledger_close(l);
}

/* --- disks that are full or cannot be written --- */

/* A small tmpfs on the lab's folder, for this process alone; false when this user may not. */
static bool mount_on_lab(const char *options)
{
    if (unshare(CLONE_NEWNS) < 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", lab_dir, "tmpfs", 0, options) == 0;
}

static void skip(void)
{
    lab_remove(); /* nobody tears down what is skipped */
    cr_skip_test("no file system can be mounted here");
}

Test(ledger_file, a_disk_that_gets_full_is_told_with_a_way_out)
{
    static char json[32 << 10];
    struct pt_err err = PT_ERR_INIT, again = PT_ERR_INIT;
    if (!mount_on_lab("size=1m"))
        skip();
    memset(json, 'x', sizeof(json) - 1);
    struct pt_ledger *l = lab_open();
    struct pt_ledger_report r = {.counted = 1, .json = json, .json_len = sizeof(json) - 1};
    lab_begin(l, "r1");
    for (r.test = 0; r.test < 100 && !err.msg[0]; r.test++) {
        lab_test(l, r.test, "a.py::x");
        if (pt_ledger_add_report(l, &r, &err) == 0)
            pt_ledger_commit(l, &err);
    }
    cr_assert_lt(r.test, 100, "1 MB took 3 MB");
    cr_expect(strstr(err.msg, lab_path("ledger.sqlite: write: ")) && strstr(err.msg, "full"), "%s", err.msg);
    cr_expect(strstr(err.hint, "make room there, or keep the record elsewhere with --state-dir DIR"), "%s",
              err.hint);
    cr_expect_lt(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, &again), 0);
    cr_expect_str_eq(again.msg, err.msg, "the cause is told to whoever asks last, too");
    cr_expect_eq(again.kind, PT_ERR_INFRA);
    pt_ledger_close(l);
    umount2(lab_dir, MNT_DETACH);
}

Test(ledger_file, a_full_disk_leaves_no_half_folder)
{
    struct pt_err err = PT_ERR_INIT;
    if (!mount_on_lab("size=4k,nr_inodes=10"))
        skip();
    put("filler", lab_dir, sizeof(lab_dir)); /* its page is the only one */
    cr_assert_null(pt_ledger_open(lab_dir, &err));
    cr_expect(strstr(err.msg, "No space left") && strstr(err.hint, "room") && strstr(err.hint, "--state-dir"),
              "%s; %s", err.msg, err.hint);
    cr_expect(!there(".gitignore"), "an empty one ignores nothing");
    umount2(lab_dir, MNT_DETACH);
}

Test(ledger_file, what_cannot_be_written_can_be_looked_at)
{
    struct pt_err err = PT_ERR_INIT;
    if (!mount_on_lab("size=4m"))
        skip();
    struct pt_ledger *open = lab_open(), *l;
    one_run(open, "left open");
    l = lab_open();
    one_run(l, "r1");
    pt_ledger_close(l);
    cr_assert_eq(mkdir(lab_path("a %?#b"), 0700), 0);
    snprintf(lab_dir + strlen(lab_dir), 16, "/a %%?#b");
    l = lab_open();
    one_run(l, "r1");
    pt_ledger_close(l);
    char top[64];
    snprintf(top, sizeof(top), "%.*s", (int)(strrchr(lab_dir, '/') - lab_dir), lab_dir);
    cr_assert_eq(mount(NULL, top, NULL, MS_REMOUNT | MS_RDONLY, NULL), -1, "its first ledger is open");
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(mount(lab_dir, lab_dir, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(mount(NULL, lab_dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    cr_expect_null(pt_ledger_open(lab_dir, &err));
    cr_expect(err.kind == PT_ERR_INFRA && strstr(err.hint, "--state-dir DIR"), "%s; %s", err.msg, err.hint);
    cr_assert_not_null(l = pt_ledger_look(lab_dir, &err), "%s", err.msg);
    cr_assert_eq(pt_ledger_hold(l, &err), 0, "%s", err.msg);
    cr_expect_eq(passed(l), 1);
    pt_ledger_close(l);
    umount2(lab_dir, MNT_DETACH);
    *strrchr(lab_dir, '/') = '\0';
    pt_ledger_close(open);
    umount2(lab_dir, MNT_DETACH);
}
