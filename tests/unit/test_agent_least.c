/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's processes can still do: those that start no runner hardly anything, the others all that a
 * login can. First each limit from inside, on this kernel; then who has which on a host. */
#include "agent_master.h"

/* The agent is a program: its parts are no library. */
#include "remote/agent/landlock.c"
#include "remote/agent/least.c"
#include "remote/agent/seccomp.c"

#include <sys/socket.h>
#include <sys/statvfs.h>

TestSuite(agent_least, .init = set_up, .fini = tear_down, .timeout = 100);

static void want_kernel(void)
{
    char lacks[200];
    if (pt_least_lacks(lacks))
        cr_skip_test("%s", lacks);
}

/* What went wrong in a child that limits itself, "" when nothing. */
static char said[512];

static void run_limited(void (*inside)(int to))
{
    int ends[2], status = 0;
    memset(said, 0, sizeof(said));
    cr_assert(pipe2(ends, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        inside(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    for (size_t have = 0, n = 1; n > 0 && have < sizeof(said) - 1; have += n) {
        ssize_t k = read(ends[0], said + have, sizeof(said) - 1 - have);
        n = k > 0 ? (size_t)k : 0;
    }
    close(ends[0]);
    cr_assert(waitpid(pid, &status, 0) == pid);
    cr_expect_eq(status, 0, "wait status %d", status);
    cr_expect_str_empty(said);
}

/* In the child: by write(2) alone, as that is all some of them can. */
static void want(int to, bool right, const char *what)
{
    if (right)
        return;
    (void)!write(to, what, strlen(what));
    (void)!write(to, "; ", 2);
}

/* A call that gives -1 with this errno. */
#define REFUSED(call, with) (errno = 0, (call) < 0 && errno == (with))

/* --- what each can do --- */

static void inside_files(int to)
{
    char path[160], other[160];
    struct pt_err err = PT_ERR_INIT;
    want(to, pt_least_files((const char *const[]){w.cache, "/no/such/folder", NULL}, &err) == 0, err.msg);
    snprintf(path, sizeof(path), "%s/a", w.cache);
    snprintf(other, sizeof(other), "%s/b", w.cache);
    want(to, mkdir(path, 0700) == 0 && mkdir(other, 0700) == 0, "no folder is made");
    snprintf(path, sizeof(path), "%s/a/file", w.cache);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    want(to, fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0, "no file is written");
    snprintf(other, sizeof(other), "%s/b/file", w.cache);
    want(to, rename(path, other) == 0 && symlink("../b/file", path) == 0, "no file is moved");
    want(to, open(path, O_RDONLY) >= 0 && unlink(path) == 0 && unlink(other) == 0, "no file is removed");
    want(to, open("/proc/sys/kernel/random/boot_id", O_RDONLY) >= 0, "the boot has no name");

    snprintf(path, sizeof(path), "%s/new", w.dir);
    want(to, REFUSED(open("/etc/passwd", O_RDONLY), EACCES), "reads outside");
    want(to, REFUSED(open(w.dir, O_RDONLY | O_DIRECTORY), EACCES), "lists outside");
    want(to, REFUSED(open(path, O_WRONLY | O_CREAT, 0600), EACCES), "writes outside");
    want(to, REFUSED(open("/proc/self/environ", O_RDONLY), EACCES), "reads /proc");
    snprintf(path, sizeof(path), "%s/out", w.cache);
    want(to, symlink("/etc/passwd", path) == 0 && REFUSED(open(path, O_RDONLY), EACCES), "follows a link");
    want(to, unlink(path) == 0, "the link stays");
    snprintf(path, sizeof(path), "%s/python", w.dir);
    want(to, REFUSED(unlink(path), EACCES), "removes outside");
    want(to, REFUSED(execl("/bin/true", "true", (char *)NULL), EPERM), "starts programs");
    want(to, REFUSED(socket(AF_INET, SOCK_STREAM, 0), EPERM), "has sockets");
    want(to, REFUSED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM), "has sockets of this machine");
    want(to, REFUSED(kill(getppid(), 0), EPERM), "signals others");
    want(to, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "may get privileges");
}

Test(agent_least, files_below_a_folder_and_no_others)
{
    want_kernel();
    run_limited(inside_files);
    cr_expect_eq(count_entries(w.cache), 2);
}

static void inside_pulse(int to)
{
    struct statvfs vfs;
    want(to, pt_least_files(&(const char *){NULL}, NULL) == 0, "is not limited");
    want(to, statvfs(w.cache, &vfs) == 0, "a file system is not asked");
    want(to, REFUSED(open(w.cache, O_RDONLY), EACCES), "opens a folder");
    want(to, REFUSED(open("/proc/sys/kernel/random/boot_id", O_RDONLY), EACCES), "opens a file");
}

Test(agent_least, no_files)
{
    want_kernel();
    run_limited(inside_pulse);
}

static void inside_bytes(int to)
{
    char byte;
    int ends[2];
    want(to, pipe(ends) == 0 && pt_least_bytes(NULL) == 0, "is not limited");
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    want(to, write(ends[1], "x", 1) == 1 && poll(&p, 1, PATIENCE) == 1 && read(ends[0], &byte, 1) == 1,
         "passes no bytes");
    want(to, REFUSED(open("/etc/passwd", O_RDONLY), EPERM), "opens files");
    want(to, REFUSED(open("/dev/null", O_RDWR), EPERM), "opens devices");
    want(to, REFUSED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM), "has sockets");
    want(to, REFUSED(fork(), EPERM), "forks");
    want(to, REFUSED(kill(1, 0), EPERM), "signals others");
    want(to, REFUSED(execl("/bin/true", "true", (char *)NULL), EPERM), "starts programs");
}

Test(agent_least, bytes_alone)
{
    want_kernel();
    run_limited(inside_bytes);
}

static void inside_sweep(int to)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/left", w.dir);
    want(to, pt_least_sweep(NULL) == 0, "is not limited");
    want(to, mkdir(path, 0700) == 0 && rmdir(path) == 0, "removes nothing");
    want(to, open("/proc/self/stat", O_RDONLY) >= 0, "sees no process");
    want(to, kill(getppid(), 0) == 0, "ends nobody");
    want(to, REFUSED(execl("/bin/true", "true", (char *)NULL), EPERM), "starts programs");
    want(to, REFUSED(socket(AF_INET, SOCK_STREAM, 0), EPERM), "has sockets");
}

Test(agent_least, all_but_programs_and_sockets)
{
    want_kernel();
    run_limited(inside_sweep);
}

/* --- who has which --- */

/* The number after NAME: in /proc/PID/status. */
static int status_of(pid_t pid, const char *name)
{
    char path[64], line[64];
    struct pt_buf text = {0};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    read_file(path, &text);
    pt_buf_append(&text, "", 1);
    snprintf(line, sizeof(line), "\n%s:\t", name);
    const char *at = strstr((char *)text.data, line);
    int value = at ? atoi(at + strlen(line)) : -1;
    pt_buf_fini(&text);
    return value;
}

static bool is_limited(pid_t pid)
{
    return status_of(pid, "NoNewPrivs") == 1 && status_of(pid, "Seccomp") == 2;
}

static bool is_as_here(pid_t pid)
{
    return status_of(pid, "NoNewPrivs") == status_of(getpid(), "NoNewPrivs") &&
           status_of(pid, "Seccomp") == status_of(getpid(), "Seccomp");
}

static pid_t find_process(const char *name)
{
    pid_t pid = 0;
    cr_assert_eq(count_marked(w.mark, name, &pid), 1, "%s", name);
    return pid;
}

static void expect_limited(pid_t pid, const char *name)
{
    char path[64];
    int64_t until = pt_now_ms() + PATIENCE; /* it may just have begun */
    while (!is_limited(pid) && pt_now_ms() < until)
        poll(NULL, 0, 5);
    cr_expect(is_limited(pid), "%s is not limited", name);
    snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
    struct pt_buf text = {0};
    read_file(path, &text);
    pt_buf_append(&text, "", 1);
    const char *core = strstr((char *)text.data, "Max core file size");
    unsigned soft = 1, hard = 1;
    cr_expect(core && sscanf(core + 18, " %u %u", &soft, &hard) == 2 && soft == 0 && hard == 0,
              "%s leaves core files", name);
    pt_buf_fini(&text);
}

/* Descriptors of a process that lead to somebody. */
static int count_sockets(pid_t pid)
{
    char path[64], link[400];
    int n = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link));
        n += len > 7 && memcmp(link, "socket:", 7) == 0;
    }
    closedir(dir);
    return n;
}

Test(agent_least, who_starts_runners_keeps_what_a_login_has)
{
    char fds[64];
    want_kernel();
    pid_t mpirun = whole_start();
    expect_limited(m.p.pid, "the proxy");
    expect_limited(find_process("ptremote-tree"), "the receiver");
    expect_limited(find_process("ptremote-keeper"), "the keeper");
    cr_expect_eq(count_sockets(find_process("ptremote-tree")), 1, "the receiver has more than the agent");
    cr_expect_eq(count_sockets(find_process("ptremote-keeper")), 0, "the keeper has a way out");
    cr_expect_gt(count_sockets(find_process("ptremote-agent")), 1);
    snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)m.p.pid);
    cr_expect_eq(count_entries(fds), 4,
                 "the proxy has more than stdin, stdout, stderr and the way to the agent");
    cr_expect(is_as_here(find_process("ptremote-agent")), "the agent is limited");
    cr_expect(is_as_here(mpirun), "mpirun is limited");
    cr_expect(is_as_here(find_process("cat")), "the server of runners is limited");
    stop();
}

Test(agent_least, says_what_the_kernel_lacks)
{
    char line[200] = "";
    bool lacks = pt_least_lacks(line);
    cr_expect_eq(lacks, pt_landlock_abi() < PT_LANDLOCK_MOVES || !pt_seccomp_is_there());
    if (lacks)
        cr_expect(strstr(line, "Landlock") || strstr(line, "seccomp"), "%s", line);
}
