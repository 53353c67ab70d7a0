/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Private sshd servers on loopback ports, run by the current user, with keys and files in a folder of their
 * own. */
#include "common/err.h"
#include "common/loop.h"
#include "remote/transport.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAB_WAIT_MS 60000

struct lab_sshd {
    pid_t pid;
    int port;
    char name[32];
};

static char lab_dir[64];
static struct lab_sshd lab_servers[4];
static size_t lab_nservers;
static pid_t lab_agent;
static atomic_int lab_cancel;
static struct pt_transport_options lab_options;

__attribute__((format(printf, 1, 2))) static inline int lab_run(const char *fmt, ...)
{
    char command[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

__attribute__((format(printf, 2, 3))) static inline void lab_write(const char *name, const char *fmt, ...)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", lab_dir, name);
    FILE *f = fopen(path, "ae");
    cr_assert(f, "%s", path);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    fclose(f);
}

static inline const char *lab_path(const char *name)
{
    static char paths[8][128];
    static size_t at;
    at = (at + 1) % 8;
    snprintf(paths[at], sizeof(paths[at]), "%s/%s", lab_dir, name);
    return paths[at];
}

static inline const char *lab_user(void)
{
    struct passwd *pw = getpwuid(getuid());
    return pw ? pw->pw_name : "root";
}

static inline void lab_keygen(const char *name, const char *args)
{
    cr_assert_eq(lab_run("ssh-keygen -q -t ed25519 -N '' -C %s -f %s/%s %s </dev/null >/dev/null 2>&1", name,
                         lab_dir, name, args),
                 0);
}

static inline bool lab_listening(int port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char banner[4];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && recv(fd, banner, 4, MSG_WAITALL) == 4 &&
              !memcmp(banner, "SSH-", 4);
    close(fd);
    return ok;
}

static inline int lab_free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

static inline pid_t lab_spawn(char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is skipped or killed leaves none behind */
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* Start (or start again) a server; `extra` lines go to its configuration. The wrapper, if any, runs it. */
static inline struct lab_sshd *lab_sshd(const char *name, const char *extra, const char *wrapper)
{
    struct lab_sshd *s = &lab_servers[lab_nservers++];
    char conf[160], log[160], key[64];
    snprintf(s->name, sizeof(s->name), "%s", name);
    snprintf(key, sizeof(key), "host_%s", name);
    lab_keygen(key, "");
    snprintf(conf, sizeof(conf), "%s/sshd_%s.conf", lab_dir, name);
    snprintf(log, sizeof(log), "%s/sshd_%s.log", lab_dir, name);
    for (int try = 0; try < 5; try++) {
        s->port = lab_free_port();
        unlink(conf);
        snprintf(key, sizeof(key), "sshd_%s.conf", name);
        lab_write(
            key,
            "%sPort %d\nListenAddress 127.0.0.1\nHostKey %s/host_%s\nAuthorizedKeysFile %s/authorized_keys\n"
            "StrictModes no\nPidFile none\nPermitRootLogin yes\nUsePAM no\nLogLevel VERBOSE\n",
            extra, s->port, lab_dir, name, lab_dir);
        char *plain[] = {(char *)"/usr/sbin/sshd", (char *)"-D", (char *)"-f", conf, (char *)"-E", log, NULL};
        char line[512];
        snprintf(line, sizeof(line), "%s exec /usr/sbin/sshd -D -f %s -E %s", wrapper ? wrapper : "", conf,
                 log);
        char *wrapped[] = {(char *)"unshare", (char *)"-m", (char *)"sh", (char *)"-c", line, NULL};
        s->pid = lab_spawn(wrapper ? wrapped : plain);
        for (int64_t end = pt_now_ms() + LAB_WAIT_MS; pt_now_ms() < end;) {
            if (lab_listening(s->port))
                return s;
            if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
                break;
            usleep(5000);
        }
    }
    cr_skip_test("sshd does not start: see %s", log);
    return NULL;
}

/* End every connection that the server has. */
static inline void lab_kill_connections(const struct lab_sshd *s)
{
    lab_run("for c in $(pgrep -P %d); do d=$(pgrep -P $c); kill -KILL $c $d; done", (int)s->pid);
}

/* Make `name` known (or wrongly known, with another's key) in the file `known`. */
static inline void lab_know(const struct lab_sshd *s, const char *key_of)
{
    cr_assert_eq(
        lab_run("printf '[127.0.0.1]:%%d ' %d >> %s/known; cut -d' ' -f1,2 %s/host_%s.pub >> %s/known",
                s->port, lab_dir, lab_dir, key_of, lab_dir),
        0);
}

/* A block of the client's configuration. */
static inline void lab_host(const char *alias, const struct lab_sshd *s, const char *identity,
                            const char *extra)
{
    lab_write("config",
              "Host %s\n HostName 127.0.0.1\n Port %d\n IdentityFile %s/%s\n UserKnownHostsFile %s/known\n"
              " GlobalKnownHostsFile /dev/null\n User %s\n%s\n",
              alias, s->port, lab_dir, identity, lab_dir, lab_user(), extra);
}

static inline void lab_stop_all(void)
{
    for (size_t i = 0; i < lab_nservers; i++)
        if (lab_servers[i].pid > 0) {
            kill(lab_servers[i].pid, SIGKILL);
            waitpid(lab_servers[i].pid, NULL, 0);
        }
    if (lab_agent > 0) {
        kill(lab_agent, SIGKILL);
        waitpid(lab_agent, NULL, 0);
    }
    if (lab_dir[0])
        lab_run("rm -rf %s", lab_dir);
}

/* A folder, one user key `id`, one server h1 that takes it and is known. */
static inline struct lab_sshd *lab_start(const char *extra)
{
    if (access("/usr/sbin/sshd", X_OK) < 0)
        cr_skip_test("sshd is not installed");
    if (getuid() == 0)
        mkdir("/run/sshd", 0755);
    snprintf(lab_dir, sizeof(lab_dir), "/tmp/pt-ssh-XXXXXX");
    cr_assert(mkdtemp(lab_dir));
    unsetenv("SSH_AUTH_SOCK");
    lab_options = (struct pt_transport_options){
        .ssh_config = strdup(lab_path("config")), .step_ms = 10000, .cancel = &lab_cancel};
    lab_keygen("id", "");
    lab_run("cat %s/id.pub >> %s/authorized_keys", lab_dir, lab_dir);
    struct lab_sshd *s = lab_sshd("h1", extra, NULL);
    lab_know(s, "h1");
    lab_host("h1", s, "id", "");
    return s;
}

static inline void lab_start_agent(void)
{
    char *argv[] = {(char *)"ssh-agent", (char *)"-D", (char *)"-a", (char *)lab_path("agent.sock"), NULL};
    lab_agent = lab_spawn(argv);
    setenv("SSH_AUTH_SOCK", argv[3], 1);
    /* Its socket is there before it listens on it. ssh-add gives 2 as long as no agent answers. */
    for (int64_t end = pt_now_ms() + LAB_WAIT_MS; lab_run("ssh-add -l >/dev/null 2>&1") == 2;) {
        cr_assert(pt_now_ms() < end, "no ssh-agent");
        usleep(5000);
    }
}

static inline struct pt_transport *lab_open(const char *alias, struct pt_err *err)
{
    struct pt_target target = {.name = alias, .host = alias};
    *err = PT_ERR_INIT;
    return pt_ssh_open(&target, &lab_options, err);
}

/* Everything the command writes, at most size - 1 bytes, as text. */
static inline void lab_read_all(struct pt_transport *t, char *out, size_t size)
{
    size_t n = 0;
    struct pt_err err = PT_ERR_INIT;
    for (int64_t end = pt_now_ms() + LAB_WAIT_MS;;) {
        ssize_t got = t->ops->read(t, out + n, size - 1 - n);
        if (got == 0)
            break;
        if (got > 0) {
            n += (size_t)got;
            continue;
        }
        cr_assert_eq(errno, EAGAIN, "%s", t->ops->why(t));
        cr_assert_eq(t->ops->wait(t, NULL, 0, false, 1000, &err), 0, "%s", err.msg);
        cr_assert(pt_now_ms() < end, "no end of the output");
    }
    out[n] = '\0';
}

/* Open, run a command, compare what it says, close. */
static inline void lab_works(const char *alias)
{
    struct pt_err err;
    char out[64];
    struct pt_transport *t = lab_open(alias, &err);
    cr_assert(t, "%s: %s (%s)", alias, err.msg, err.hint);
    cr_assert_eq(t->ops->exec(t, "echo hello; exit 3", &err), 0, "%s", err.msg);
    lab_read_all(t, out, sizeof(out));
    cr_assert_str_eq(out, "hello\n");
    cr_assert_eq(t->ops->status(t), 3 << 8);
    t->ops->close(t);
}

static inline void lab_fails(const char *alias, const char *msg, const char *hint)
{
    struct pt_err err;
    struct pt_transport *t = lab_open(alias, &err);
    cr_assert_null(t);
    cr_assert(strstr(err.msg, msg), "wanted '%s' in: %s", msg, err.msg);
    cr_assert(strstr(err.hint, hint), "wanted '%s' in the hint: %s", hint, err.hint);
}

static inline void *lab_open_and_close(void *arg)
{
    struct pt_err err;
    struct pt_transport *t = lab_open("h1", &err);
    (void)arg;
    if (!t) {
        fprintf(stderr, "lane: %s\n", err.msg);
        return NULL;
    }
    t->ops->close(t);
    return (void *)1;
}

/* So many lanes at once; how many got in. */
static inline int lab_lanes(int n)
{
    pthread_t threads[32];
    int good = 0;
    for (int i = 0; i < n; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, lab_open_and_close, NULL), 0);
    for (int i = 0; i < n; i++) {
        void *got;
        pthread_join(threads[i], &got);
        good += got != NULL;
    }
    return good;
}
