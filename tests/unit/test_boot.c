/* SPDX-License-Identifier: Apache-2.0 */
/* The first words with a host, spoken to real shells, with the real agent to bring. */
#include "agent_driver.h"

#include "common/err.h"
#include "remote/boot.h"

#include <sys/mount.h>

struct world {
    char dir[64]; /* everything of this test */
    char program[4096], digest[PT_DIGEST_HEX];
    struct pt_buf agent;
    struct utsname uts;
    char stderr_file[128];
};

static struct world w;

static void set_up(void)
{
    unsigned char raw[PT_DIGEST];
    signal(SIGPIPE, SIG_IGN);
    strcpy(w.dir, "/tmp/ptboot.XXXXXX");
    cr_assert(mkdtemp(w.dir) != NULL);
    agent_program(w.program);
    read_file(w.program, &w.agent);
    /* a digest of its own for each test: what others left is not found */
    pt_put_u64(&w.agent, (uint64_t)pt_now_ms());
    pt_put_u32(&w.agent, (uint32_t)getpid());
    cr_assert(pt_digest_buffer(PT_DIGEST_SHA256, w.agent.data, w.agent.len, raw, NULL) == 0);
    pt_digest_hex(raw, w.digest);
    uname(&w.uts);
    snprintf(w.stderr_file, sizeof(w.stderr_file), "%s/stderr", w.dir);
}

static void tear_down(void)
{
    pt_buf_fini(&w.agent);
    remove_folder(w.dir);
}

/* Criterion does not tear down what it skips. */
#define skip(...) (tear_down(), cr_skip_test(__VA_ARGS__))

TestSuite(boot, .init = set_up, .fini = tear_down, .timeout = 100);

struct talk {
    const char *shell;
    const char *remote_dir;
    const char *noise; /* command run by the login shell first */
    const char *home;
    const char *machine;
    size_t cut;              /* the agent's bytes end early, and the channel with them */
    void (*meanwhile)(void); /* done while the agent is asked for, before a byte of it goes */
    /* what came of it */
    int rc;
    bool pushed;
    struct pt_err err;
};

/* All but the last `keep` bytes. */
static int give(const struct piped *p, struct pt_buf *out, size_t keep)
{
    while (out->len > keep) {
        ssize_t n = write(p->in, out->data, out->len - keep);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        pt_buf_consume(out, (size_t)n);
    }
    return 0;
}

static void converse(struct talk *t, struct piped *p)
{
    struct pt_boot_agent agent = {.data = w.agent.data,
                                  .size = w.agent.len,
                                  .digest = w.digest,
                                  .machine = t->machine ? t->machine : w.uts.machine};
    struct pt_buf out = {0}, rest = {0};
    int64_t until = pt_now_ms() + PATIENCE;
    struct pt_boot *boot = pt_boot_create(&agent, t->remote_dir ? t->remote_dir : "", &out, &t->err);
    cr_assert(boot != NULL);
    t->rc = 0;
    while (t->rc == 0) {
        char buf[4096];
        if (t->meanwhile && pt_boot_pushed(boot)) {
            t->meanwhile();
            t->meanwhile = NULL;
        }
        size_t keep = t->cut && pt_boot_pushed(boot) ? w.agent.len - t->cut : 0;
        if (keep && out.len <= keep) {
            piped_close(p);
            break;
        }
        if (give(p, &out, keep) < 0)
            pt_buf_clear(&out);
        cr_assert(piped_wait(p, out.len > 0, until), "no answer in time");
        ssize_t n = read(p->out, buf, sizeof(buf));
        if (n == 0)
            break;
        if (n > 0)
            t->rc = pt_boot_feed(boot, buf, (size_t)n, &out, &rest, &t->err);
    }
    t->pushed = pt_boot_pushed(boot);
    pt_boot_destroy(boot);
    pt_buf_fini(&out);
    pt_buf_fini(&rest);
}

/* As sshd does: the login shell runs the command with -c. */
static void talk(struct talk *t)
{
    char home[4096], script[65536];
    snprintf(home, sizeof(home), "HOME=%s", t->home ? t->home : w.dir);
    snprintf(script, sizeof(script), "%s%s", t->noise ? t->noise : "", pt_boot_command());
    char *argv[] = {(char *)t->shell, (char *)"-c", script, NULL};
    char *env[] = {home, (char *)"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
    struct piped p;
    piped_start(&p, t->shell, argv, env, w.stderr_file);
    converse(t, &p);
    piped_close(&p);
    waitpid(p.pid, NULL, 0);
}

static void installed_path(char out[4096], const char *cache)
{
    snprintf(out, 4096, "%s/bin/%s/ptremote-agent", cache, w.digest);
}

static void expect_installed(const char *cache)
{
    char path[4096];
    struct pt_buf have = {0};
    installed_path(path, cache);
    read_file(path, &have);
    cr_expect(have.len == w.agent.len && memcmp(have.data, w.agent.data, have.len) == 0);
    pt_buf_fini(&have);
    *strrchr(path, '/') = '\0';
    cr_expect_eq(count_entries(path), 1, "something was left beside the agent");
}

static bool stderr_says(const char *text)
{
    struct pt_buf have = {0};
    read_file(w.stderr_file, &have);
    pt_buf_append(&have, "", 1);
    bool yes = strstr((char *)have.data, text) != NULL;
    pt_buf_fini(&have);
    return yes;
}

/* First time pushed, second time found. */
static void first_and_second(const char *shell, const char *noise)
{
    char cache[128];
    if (access(shell, X_OK) != 0)
        skip("%s is not here", shell);
    snprintf(cache, sizeof(cache), "%s/.cache/ptremote", w.dir);
    for (int i = 0; i < 2; i++) {
        struct talk t = {.shell = shell, .noise = noise};
        talk(&t);
        cr_assert_eq(t.rc, 1, "%s: %s", shell, t.err.msg);
        cr_expect_eq(t.pushed, i == 0);
        expect_installed(cache);
    }
}

Test(boot, sh)
{
    first_and_second("/bin/sh", NULL);
}

Test(boot, bash)
{
    first_and_second("/bin/bash", NULL);
}

Test(boot, csh)
{
    first_and_second("/bin/csh", NULL);
}

Test(boot, other_shells)
{
    static const char *const shells[] = {"/bin/zsh",      "/usr/bin/tcsh", "/usr/bin/fish",
                                         "/usr/bin/mksh", "/bin/dash",     "/usr/bin/ksh"};
    for (size_t i = 0; i < PT_COUNT(shells); i++)
        if (access(shells[i], X_OK) == 0) {
            first_and_second(shells[i], NULL);
            char cache[128];
            snprintf(cache, sizeof(cache), "%s/.cache", w.dir);
            remove_folder(cache);
        }
}

Test(boot, noise_of_10_kb)
{
    first_and_second("/bin/bash", "head -c 10240 /dev/zero | tr '\\0' x; ");
}

Test(boot, noise_of_60_kb)
{
    first_and_second("/bin/sh", "for i in 1 2 3 4 5 6; do head -c 10240 /dev/zero | tr '\\0' '\\n'; done; ");
}

Test(boot, echoed_command_is_no_marker)
{
    first_and_second("/bin/sh", "cat /proc/$$/cmdline; ");
}

Test(boot, too_much_noise)
{
    struct talk t = {.shell = "/bin/sh", .noise = "head -c 80000 /dev/zero | tr '\\0' x; "};
    talk(&t);
    cr_expect_eq(t.rc, -1);
    cr_expect(strstr(t.err.msg, "64 KB") != NULL, "%s", t.err.msg);
    cr_expect(t.err.hint[0] != '\0');
}

Test(boot, other_machine)
{
    struct talk t = {.shell = "/bin/sh", .machine = "riscv64"};
    talk(&t);
    cr_expect_eq(t.rc, -1);
    cr_expect_eq(t.pushed, 0);
    cr_expect(strstr(t.err.msg, "carries programs for riscv64") && strstr(t.err.msg, w.uts.machine));
    cr_expect(t.err.hint[0] != '\0');
}

Test(boot, remote_dir)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/a $(b) \"c\" d'e", w.dir);
    struct talk t = {.shell = "/bin/sh", .remote_dir = dir};
    talk(&t);
    cr_expect_eq(t.rc, 1, "%s", t.err.msg);
    expect_installed(dir);
    struct stat st;
    cr_expect(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700);
}

Test(boot, remote_dir_in_home)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/x/y", w.dir);
    struct talk t = {.shell = "/bin/csh", .remote_dir = "~/x/y"};
    talk(&t);
    cr_expect_eq(t.rc, 1, "%s", t.err.msg);
    expect_installed(dir);
}

Test(boot, remote_dir_with_a_line_break)
{
    struct pt_boot_agent agent = {.data = "x", .size = 1, .digest = w.digest, .machine = "m"};
    struct pt_buf out = {0};
    struct pt_err err = PT_ERR_INIT;
    cr_expect(pt_boot_create(&agent, "/a\nb", &out, &err) == NULL);
    cr_expect_eq(err.kind, PT_ERR_USAGE);
    pt_buf_fini(&out);
}

static void expect_refused(const char *dir, const char *reason)
{
    struct talk t = {.shell = "/bin/sh", .remote_dir = dir};
    talk(&t);
    cr_expect_eq(t.rc, -1);
    cr_expect(strstr(t.err.msg, reason) && strstr(t.err.msg, dir), "%s", t.err.msg);
    cr_expect_eq(t.err.kind, PT_ERR_INFRA);
    cr_expect(strstr(t.err.hint, "--remote-dir") != NULL, "%s", t.err.hint);
}

Test(boot, remote_dir_is_a_file)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/file", w.dir);
    write_file(dir, "x", 0600);
    expect_refused(dir, "is not a folder");
    strcat(dir, "/below");
    expect_refused(dir, "Not a directory");
}

Test(boot, remote_dir_of_another_user)
{
    if (geteuid() != 0)
        skip("needs root");
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/theirs", w.dir);
    cr_assert(mkdir(dir, 0777) == 0 && chown(dir, 65534, 65534) == 0);
    expect_refused(dir, "belongs to another user");
}

Test(boot, remote_dir_open_to_everyone)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/open", w.dir);
    cr_assert(mkdir(dir, 0700) == 0 && chmod(dir, 0777) == 0);
    expect_refused(dir, "can be written by everyone");
}

Test(boot, remote_dir_without_permission)
{
    if (geteuid() == 0)
        skip("root may write everywhere");
    expect_refused("/usr/ptremote-nowhere", "Permission denied");
}

static bool mount_on(const char *dir, const char *options, unsigned long flags)
{
    cr_assert(mkdir(dir, 0700) == 0);
    if (geteuid() != 0 || mount("none", dir, "tmpfs", flags, options) < 0)
        return false;
    return true;
}

Test(boot, noexec)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/noexec", w.dir);
    if (!mount_on(dir, "size=64m,mode=0700", MS_NOEXEC))
        skip("needs root");
    expect_refused(dir, "noexec");
    umount(dir);
}

Test(boot, full)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/full", w.dir);
    if (!mount_on(dir, "size=64k,mode=0700", 0))
        skip("needs root");
    expect_refused(dir, "No space left");
    char path[4096];
    installed_path(path, dir);
    *strrchr(path, '/') = '\0';
    cr_expect_eq(count_entries(path), 0, "the half-written agent was left");
    umount(dir);
}

/* Each bad place is named and the next is taken: home is full, or noexec, so the agent lands in /var/tmp. */
static void expect_next_place(const char *options, unsigned long flags, const char *reason)
{
    char home[128], next[128];
    snprintf(home, sizeof(home), "%s/home", w.dir);
    snprintf(next, sizeof(next), "/var/tmp/ptremote-%u", (unsigned)geteuid());
    if (!mount_on(home, options, flags))
        skip("needs root");
    struct talk t = {.shell = "/bin/csh", .home = home};
    talk(&t);
    cr_expect_eq(t.rc, 1, "%s", t.err.msg);
    cr_expect(stderr_says(reason) && stderr_says(home));
    expect_installed(next);
    umount(home);
    rmdir(home);
    char path[4096];
    installed_path(path, next);
    *strrchr(path, '/') = '\0';
    remove_folder(path);
}

/* One after the other, as there is one such place. */
Test(boot, full_or_noexec_then_next)
{
    expect_next_place("size=64k,mode=0700", 0, "No space left");
    expect_next_place("size=64m,mode=0700", MS_NOEXEC, "noexec");
}

Test(boot, damaged_on_the_way)
{
    w.agent.data[w.agent.len / 2] ^= 1;
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/c", w.dir);
    expect_refused(dir, "came damaged");
    char path[4096];
    installed_path(path, dir);
    cr_expect(access(path, F_OK) != 0);
}

/* The channel ends in the middle: nothing is left under the agent's name, and the next try works. */
Test(boot, cut_short)
{
    char dir[128], path[4096];
    snprintf(dir, sizeof(dir), "%s/c", w.dir);
    struct talk t = {.shell = "/bin/sh", .remote_dir = dir, .cut = 100000};
    talk(&t);
    cr_expect_eq(t.rc, 0);
    installed_path(path, dir);
    cr_expect(access(path, F_OK) != 0);
    t.cut = 0;
    talk(&t);
    cr_expect_eq(t.rc, 1, "%s", t.err.msg);
    expect_installed(dir);
}

Test(boot, umask_of_the_login_is_kept)
{
    char cache[128];
    struct talk t = {.shell = "/bin/sh", .noise = "umask 027; "};
    snprintf(cache, sizeof(cache), "%s/.cache/ptremote", w.dir);
    talk(&t);
    cr_expect_eq(t.rc, 1, "%s", t.err.msg);
    struct stat st;
    cr_expect(stat(cache, &st) == 0 && (st.st_mode & 0777) == 0700);
}

/* Five logins at once on one cache, as hosts with a shared home. */
Test(boot, at_the_same_time)
{
    pid_t pids[5];
    for (size_t i = 0; i < PT_COUNT(pids); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct talk t = {.shell = "/bin/sh"};
            talk(&t);
            _exit(t.rc == 1 ? 0 : 1);
        }
    }
    for (size_t i = 0; i < PT_COUNT(pids); i++) {
        int status;
        waitpid(pids[i], &status, 0);
        cr_expect_eq(status, 0);
    }
    char cache[128];
    snprintf(cache, sizeof(cache), "%s/.cache/ptremote", w.dir);
    expect_installed(cache);
}

static struct stat theirs;

static void another_login(void)
{
    char cache[128], path[4096];
    struct talk t = {.shell = "/bin/sh"};
    snprintf(cache, sizeof(cache), "%s/.cache/ptremote", w.dir);
    talk(&t);
    installed_path(path, cache);
    cr_assert(t.rc == 1 && stat(path, &theirs) == 0);
}

static void a_broken_one(void)
{
    another_login();
    char cache[128], path[4096];
    snprintf(cache, sizeof(cache), "%s/.cache/ptremote", w.dir);
    installed_path(path, cache);
    cr_assert_eq(unlink(path), 0);
    pt_auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    cr_assert(fd >= 0 && write(fd, w.agent.data, 100) == 100 && fstat(fd, &theirs) == 0);
}

/* Gives the inode that is there in the end. */
static ino_t after(void (*meanwhile)(void))
{
    struct stat st = {0};
    char cache[128], path[4096];
    struct talk t = {.shell = "/bin/sh", .meanwhile = meanwhile};
    talk(&t);
    cr_assert_eq(t.rc, 1, "%s", t.err.msg);
    snprintf(cache, sizeof(cache), "%s/.cache/ptremote", w.dir);
    expect_installed(cache);
    installed_path(path, cache);
    cr_assert_eq(stat(path, &st), 0);
    return st.st_ino;
}

/* The other's agent runs from its file by now: on a shared home that file may not go. */
Test(boot, one_that_came_meanwhile_stays)
{
    cr_expect_eq(after(another_login), theirs.st_ino);
}

Test(boot, a_broken_one_that_came_meanwhile_does_not)
{
    cr_expect_neq(after(a_broken_one), theirs.st_ino);
}

/* --- pure --- */

static struct pt_boot *fresh(struct pt_buf *out)
{
    static const struct pt_boot_agent agent = {.data = "AGENT", .size = 5, .digest = "d", .machine = "m"};
    struct pt_boot *boot = pt_boot_create(&agent, "", out, NULL);
    pt_buf_clear(out);
    return boot;
}

/* However the bytes are cut, the same comes of them. */
Test(boot, any_split)
{
    static const char said[] = "hi\nPTREMOTE-BOOT need m\nhm PTREMOTE-AGENT 1\nrest";
    for (size_t cut = 0; cut < sizeof(said); cut++) {
        struct pt_buf out = {0}, rest = {0};
        struct pt_err err = PT_ERR_INIT;
        struct pt_boot *boot = fresh(&out);
        int rc = pt_boot_feed(boot, said, cut, &out, &rest, &err);
        cr_expect(rc >= 0);
        if (rc == 0)
            rc = pt_boot_feed(boot, said + cut, sizeof(said) - 1 - cut, &out, &rest, &err);
        else
            pt_buf_append(&rest, said + cut, sizeof(said) - 1 - cut);
        cr_expect_eq(rc, 1, "cut at %zu: %s", cut, err.msg);
        cr_expect(out.len == 5 && memcmp(out.data, "AGENT", 5) == 0);
        cr_expect(rest.len == 4 && memcmp(rest.data, "rest", 4) == 0, "cut at %zu", cut);
        pt_boot_destroy(boot);
        pt_buf_fini(&out);
        pt_buf_fini(&rest);
    }
}

static void expect_words(const char *said, const char *reason)
{
    struct pt_buf out = {0}, rest = {0};
    struct pt_err err = PT_ERR_INIT;
    struct pt_boot *boot = fresh(&out);
    cr_expect(pt_boot_feed(boot, said, strlen(said), &out, &rest, &err) == -1, "%s", said);
    cr_expect(strstr(err.msg, reason) != NULL, "%s", err.msg);
    cr_expect_eq(err.kind, PT_ERR_INFRA);
    pt_boot_destroy(boot);
    pt_buf_fini(&out);
    pt_buf_fini(&rest);
}

Test(boot, bad_words)
{
    expect_words("PTREMOTE-AGENT 2\n", "version '2'");
    expect_words("PTREMOTE-BOOT what\n", "no word we know");
    expect_words("PTREMOTE-BOOT fail /x: No space left on device\n", "/x: No space left on device");
    expect_words("PTREMOTE-BOOT need m\nPTREMOTE-BOOT need m\nPTREMOTE-BOOT need m\nPTREMOTE-BOOT need m\n"
                 "PTREMOTE-BOOT need m\n",
                 "again and again");
    char line[10000] = "PTREMOTE-BOOT fail ";
    memset(line + 19, 'x', sizeof(line) - 20);
    expect_words(line, "without end");
}

Test(boot, garbage)
{
    uint32_t seed = 7;
    for (int round = 0; round < 200; round++) {
        struct pt_buf out = {0}, rest = {0};
        struct pt_err err = PT_ERR_INIT;
        struct pt_boot *boot = fresh(&out);
        for (int i = 0, rc = 0; i < 20 && rc == 0; i++) {
            char bytes[997];
            for (size_t k = 0; k < sizeof(bytes); k++)
                bytes[k] = (char)((seed = seed * 1664525u + 1013904223u) >> 24);
            if (i % 3 == 0)
                memcpy(bytes + seed % 900, "PTREMOTE-BOOT ", 14);
            rc = pt_boot_feed(boot, bytes, sizeof(bytes), &out, &rest, &err);
        }
        pt_boot_destroy(boot);
        pt_buf_fini(&out);
        pt_buf_fini(&rest);
    }
}
