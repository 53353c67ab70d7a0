/* SPDX-License-Identifier: Apache-2.0 */
#include "collect_child.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/harden.h"
#include "sync/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_KEEP (64u << 10)
#define SEED        "PYTHONHASHSEED="
#define SESSIONS    "OMPI_MCA_orte_tmpdir_base="

/* argv: folder of the package, number of the descriptor with the orders. */
static const char BOOT[] = "import sys, importlib.util as u\n"
                           "u.find_spec('pytest') or sys.exit(97)\n"
                           "sys.path.append(sys.argv[1])\n"
                           "from ptremote import collector\n"
                           "collector.main()\n";

/* --- Open MPI's folder --- */

/* A suite that imports mpi4py.MPI makes the collector a world of one, and those of one user that come and go
 * at the same time fail where their folder is the same. Without one of its own (NULL), which only such a
 * suite misses, it goes on. */
static char *make_folder(void)
{
    const char *above = getenv("TMPDIR");
    char *folder = NULL;
    if (asprintf(&folder, "%s/ptremote-mpi.XXXXXX", above && above[0] == '/' ? above : "/tmp") < 0)
        return NULL;
    if (!mkdtemp(folder)) {
        free(folder);
        return NULL;
    }
    return folder;
}

static void remove_folder(struct pt_collect_child *c)
{
    int dir = c->folder ? open(c->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (dir >= 0) {
        pt_purge(dir);
        close(dir);
        rmdir(c->folder);
    }
    free(c->folder);
    c->folder = NULL;
}

/* --- start --- */

static bool begins_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

/* This process's environment with that seed, and with that folder (NULL: none) unless the user chose one;
 * heap, the strings borrowed. */
static char **make_environ(char *seed, char *folder)
{
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **env = malloc((n + 3) * sizeof(*env));
    for (size_t i = 0; env && i < n; i++) {
        if (!begins_with(environ[i], SEED))
            env[kept++] = environ[i];
        if (begins_with(environ[i], SESSIONS))
            folder = NULL;
    }
    if (env) {
        env[kept++] = seed;
        if (folder)
            env[kept++] = folder;
        env[kept] = NULL;
    }
    return env;
}

/* Other threads may hold any lock now, for memory or the environment: nothing that takes one is called. */
static void child(const struct pt_collect_child_spec *spec, char **env, int output)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", spec->orders);
    char *argv[] = {(char *)spec->python, (char *)"-c", (char *)BOOT, (char *)spec->package, number, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(output, 1);
    dup2(output, 2);
    fcntl(spec->orders, F_SETFD, 0);
    fcntl(spec->out, F_SETFD, 0);
    fcntl(spec->ask, F_SETFD, 0);
    pt_harden_not();
    execvpe(argv[0], argv, env);
    _exit(PT_NO_PYTEST);
}

int pt_collect_child_start(struct pt_collect_child *c, const struct pt_collect_child_spec *spec,
                           struct pt_err *err)
{
    char seed[64];
    pt_auto_free char *sessions = NULL;
    snprintf(seed, sizeof(seed), SEED "%s", spec->hash_seed);
    c->folder = make_folder();
    if (c->folder && asprintf(&sessions, SESSIONS "%s", c->folder) < 0)
        sessions = NULL;
    pt_auto_free char **env = make_environ(seed, sessions);
    pt_auto_fd int output = memfd_create("output", MFD_CLOEXEC);
    pid_t pid = -1;
    if (!env)
        errno = ENOMEM;
    else if (output >= 0 && fcntl(output, F_SETFL, O_APPEND) == 0)
        pid = fork();
    if (pid == 0)
        child(spec, env, output);
    if (pid < 0) {
        pt_err_set(err, "collecting: %s", strerror(errno));
        remove_folder(c);
        return -1;
    }
    setpgid(pid, pid);
    if (c->output >= 0)
        close(c->output);
    c->pid = pid;
    c->output = pt_steal_fd(&output);
#ifdef SYS_pidfd_open
    c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
#endif
    return 0;
}

/* --- end --- */

int pt_collect_child_reap(struct pt_collect_child *c)
{
    siginfo_t info;
    int status = 0;
    if (c->pid <= 0)
        return 0;
    while (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    remove_folder(c);
    return status;
}

char *pt_collect_child_said(const struct pt_collect_child *c)
{
    off_t size = c->output >= 0 ? lseek(c->output, 0, SEEK_END) : 0;
    off_t from = size > (off_t)OUTPUT_KEEP ? size - (off_t)OUTPUT_KEEP : 0;
    char *text = calloc(1, (size_t)(size - from) + 1);
    if (text && size > from && pread(c->output, text, (size_t)(size - from), from) < 0)
        text[0] = '\0';
    return text;
}

void pt_collect_child_unwatch(struct pt_collect_child *c)
{
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->pidfd = -1;
}

void pt_collect_child_fini(struct pt_collect_child *c)
{
    if (c->pid > 0)
        kill(-c->pid, SIGKILL);
    pt_collect_child_reap(c);
    pt_collect_child_unwatch(c);
    if (c->output >= 0)
        close(c->output);
    c->output = -1;
}
