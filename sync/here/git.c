/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/git.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "common/wire.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_NESTED 32          /* repositories within repositories */
#define MAX_AHEAD  8           /* of these, that work before all of the list is wanted */
#define MAX_LIST   (1u << 30)  /* bytes of file names */
#define MAX_SAID   (64u << 10) /* bytes of git's own words */

extern char **environ;

/* One git, at work or done. */
struct call {
    pid_t pid; /* 0 when it is not running */
    int from, said;
    struct pt_buf out;
};

/* One repository. */
struct job {
    char *prefix, *folder;
    int depth;
    bool started, tracked_told;
    struct call tracked, others;
};

struct pt_git {
    const char *root;
    const atomic_int *cancel;
    struct job *jobs;
    size_t n;
    struct pt_paths unread;
};

/* What a hook that started us, or the user's language, must not decide here. */
static bool env_dropped(const char *var)
{
    static const char *const names[] = {
        "GIT_DIR=",       "GIT_WORK_TREE=",      "GIT_INDEX_FILE=", "GIT_PREFIX=", "GIT_COMMON_",
        "GIT_NAMESPACE=", "GIT_LITERAL_PATHSPE", "LC_ALL=",         "LANGUAGE=",   "GIT_OPTIONAL_"};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        if (strncmp(var, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static char **make_env(void)
{
    static char c_locale[] = "LC_ALL=C", no_locks[] = "GIT_OPTIONAL_LOCKS=0";
    size_t n = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 3, sizeof(*env));
    if (!env)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!env_dropped(environ[i]))
            env[kept++] = environ[i];
    env[kept++] = c_locale;
    env[kept] = no_locks;
    return env;
}

static int spawn_git(const char *folder, const char *const *what, int out, int said, pid_t *pid)
{
    const char *argv[8] = {"git", "-C", folder, "ls-files", "-z", what[0], what[1], NULL};
    char **env = make_env();
    if (!env)
        return ENOMEM;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, said, 2);
    int rc = posix_spawnp(pid, "git", &actions, NULL, (char **)(uintptr_t)argv, env);
    posix_spawn_file_actions_destroy(&actions);
    free(env);
    return rc;
}

/* 1, 0 when there is no git, -1. */
static int start_call(struct call *c, const char *folder, const char *const *what, struct pt_err *err)
{
    int ends[2];
    c->said = memfd_create("git", MFD_CLOEXEC);
    if (c->said < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return pt_err_set(err, "cannot run git: %s", strerror(errno));
    c->from = ends[0];
    int rc = spawn_git(folder, what, ends[1], c->said, &c->pid);
    close(ends[1]);
    if (rc == 0)
        return 1;
    c->pid = 0;
    return rc == ENOENT ? 0 : pt_err_set(err, "cannot run git: %s", strerror(rc));
}

/* Both of a job: what is not tracked takes longer, so that goes first. */
static int start_job(const struct pt_git *g, struct job *j, struct pt_err *err)
{
    static const char *const tracked[] = {"--stage", NULL}, *const others[] = {"--others",
                                                                               "--exclude-standard"};
    if (j->started)
        return 1;
    if (asprintf(&j->folder, "%s%s%s", g->root, *j->prefix ? "/" : "", j->prefix) < 0) {
        j->folder = NULL;
        return pt_err_set(err, "git: out of memory");
    }
    j->started = true;
    int rc = start_call(&j->others, j->folder, others, err);
    return rc > 0 ? start_call(&j->tracked, j->folder, tracked, err) : rc;
}

static int end_call(struct call *c)
{
    int status = 0;
    while (c->pid && waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    return status;
}

static void drop_call(struct call *c)
{
    if (c->pid)
        kill(c->pid, SIGKILL);
    end_call(c);
    if (c->from >= 0)
        close(c->from);
    if (c->said >= 0)
        close(c->said);
    pt_buf_fini(&c->out);
}

/* All of a pipe. -1 when it is too much, memory ends, or the run is cancelled. */
static int read_all(int fd, const atomic_int *cancel, struct pt_buf *out)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, 100);
        if ((cancel && *cancel) || out->len > MAX_LIST)
            return -1;
        if (ready <= 0)
            continue;
        void *room = pt_buf_reserve(out, 64u << 10);
        if (!room)
            return -1;
        ssize_t n = read(fd, room, 64u << 10);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
        out->len += n > 0 ? (size_t)n : 0;
    }
}

/* 1 when out has all that git lists, 0 when it knows no repository there. said is what it wrote beside. */
static int finish_call(const struct pt_git *g, const struct job *j, struct call *c, char said[MAX_SAID],
                       struct pt_err *err)
{
    int failed = read_all(c->from, g->cancel, &c->out);
    if (failed)
        kill(c->pid, SIGKILL);
    int status = end_call(c);
    ssize_t n = pread(c->said, said, MAX_SAID - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    close(pt_steal_fd(&c->from));
    close(pt_steal_fd(&c->said));
    if (failed && g->cancel && *g->cancel)
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while git lists %s", j->folder);
    if (failed)
        return pt_err_set(err, "cannot read the file list of git in %s", j->folder);
    if (status == 0)
        return 1;
    if (strstr(said, "not a git repository"))
        return 0;
    said[strcspn(said, "\n")] = '\0';
    pt_err_set_kind(err, PT_ERR_USAGE, "git cannot list %s: %s", j->folder, said);
    pt_auto_free char *word = pt_quoted(j->folder, true);
    return pt_err_hint(err, "see what `git -C %s ls-files` says", word ? word : "FOLDER");
}

/* git leaves out the folders that it cannot open, with a warning and nothing else. */
static int note_unread(struct pt_git *g, const char *prefix, char *said)
{
    static const char words[] = "could not open directory '";
    for (char *line = said; (line = strstr(line, words));) {
        line += sizeof(words) - 1;
        char *end = strstr(line, "': ");
        if (!end)
            break;
        char *next = end + 1;
        if (end > line && end[-1] == '/')
            end--;
        *end = '\0';
        if (pt_paths_add(&g->unread, prefix, line) < 0)
            return -1;
        line = next;
    }
    return 0;
}

static bool exists(const char *folder, const char *name)
{
    struct stat st;
    pt_auto_free char *full = NULL;
    if (asprintf(&full, "%s/%s", folder, name) < 0) {
        full = NULL;
        return false;
    }
    return lstat(full, &st) == 0;
}

/* A folder that git names: list it too, if it is a repository. */
static int nest(struct pt_git *g, size_t from, const char *path)
{
    pt_auto_free char *prefix = NULL, *folder = NULL;
    const struct job *j = &g->jobs[from];
    if (asprintf(&prefix, "%s%s%s", j->prefix, *j->prefix ? "/" : "", path) < 0) {
        prefix = NULL;
        return -1;
    }
    if (asprintf(&folder, "%s/%s", g->root, prefix) < 0) {
        folder = NULL;
        return -1;
    }
    if (j->depth >= MAX_NESTED || !exists(folder, ".git"))
        return 0;
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->jobs[i].prefix, prefix) == 0)
            return 0;
    struct job *jobs = reallocarray(g->jobs, g->n + 1, sizeof(*jobs));
    if (!jobs)
        return -1;
    g->jobs = jobs;
    jobs[g->n++] = (struct job){.prefix = pt_steal_ptr(&prefix),
                                .depth = jobs[from].depth + 1,
                                .tracked = {.from = -1, .said = -1},
                                .others = {.from = -1, .said = -1}};
    return 0;
}

static int unknown_line(struct pt_err *err)
{
    return pt_err_set(err, "git: an unknown line in its file list");
}

/* One record: a path; of what is tracked its mode, digest and stage before it. */
static int take_record(struct pt_git *g, size_t from, char *record, size_t n, bool tracked, pt_git_take *take,
                       void *arg, struct pt_err *err)
{
    static const char submodule[] = "160000 ";
    char *path = tracked ? memchr(record, '\t', n) : record;
    bool nested = false;
    if (tracked) {
        nested = n > sizeof(submodule) && memcmp(record, submodule, sizeof(submodule) - 1) == 0;
        path += path != NULL;
    } else if (n && record[n - 1] == '/') {
        record[n - 1] = '\0';
        nested = true;
    }
    if (!path || !*path)
        return unknown_line(err);
    if (take(arg, g->jobs[from].prefix, path, tracked) < 0 || (nested && nest(g, from, path) < 0))
        return pt_err_set(err, "git: out of memory");
    return 0;
}

static int take_list(struct pt_git *g, size_t from, bool tracked, pt_git_take *take, void *arg,
                     struct pt_err *err)
{
    struct job *j = &g->jobs[from];
    struct pt_buf list = tracked ? j->tracked.out : j->others.out;
    for (size_t at = 0; at < list.len;) {
        char *record = (char *)list.data + at;
        size_t n = strnlen(record, list.len - at);
        if (n == list.len - at)
            return pt_err_set(err, "git: its file list ends within a name");
        if (take_record(g, from, record, n, tracked, take, arg, err) < 0)
            return -1;
        at += n + 1;
    }
    return 1;
}

static int finish(struct pt_git *g, size_t from, bool tracked, pt_git_take *take, void *arg,
                  struct pt_err *err)
{
    struct job *j = &g->jobs[from];
    pt_auto_free char *said = malloc(MAX_SAID);
    if (!said)
        return pt_err_set(err, "git: out of memory");
    int rc = start_job(g, j, err);
    if (rc > 0)
        rc = finish_call(g, j, tracked ? &j->tracked : &j->others, said, err);
    if (rc > 0 && note_unread(g, j->prefix, said) < 0)
        rc = pt_err_set(err, "git: out of memory");
    j->tracked_told = true;
    if (rc > 0)
        rc = take_list(g, from, tracked, take, arg, err);
    for (size_t i = from + 1; rc > 0 && i < g->n && i < MAX_AHEAD; i++)
        if (start_job(g, &g->jobs[i], err) < 0)
            rc = -1;
    return rc;
}

int pt_git_tracked(struct pt_git *g, pt_git_take *take, void *arg, struct pt_err *err)
{
    for (size_t i = 0; i < g->n && i < MAX_AHEAD; i++) {
        int rc = finish(g, i, true, take, arg, err);
        if (rc < 0 || (rc == 0 && i == 0))
            return rc;
    }
    return 1;
}

int pt_git_rest(struct pt_git *g, pt_git_take *take, void *arg, struct pt_err *err)
{
    for (size_t i = 0; i < g->n; i++) {
        int rc = g->jobs[i].tracked_told ? 1 : finish(g, i, true, take, arg, err);
        if (rc >= 0)
            rc = finish(g, i, false, take, arg, err);
        if (rc < 0 || (rc == 0 && i == 0))
            return rc;
    }
    return 1;
}

const struct pt_paths *pt_git_unread(const struct pt_git *g)
{
    return &g->unread;
}

/* Whether asking git is worth its start: something named .git lies in root or above it. */
static bool in_repository(const char *root)
{
    pt_auto_free char *folder = strdup(root);
    while (folder) {
        if (exists(folder, ".git"))
            return true;
        char *slash = strrchr(folder, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
    return false;
}

int pt_git_start(const char *root, const atomic_int *cancel, struct pt_git **out, struct pt_err *err)
{
    *out = NULL;
    if (!in_repository(root))
        return 0;
    struct pt_git *g = calloc(1, sizeof(*g));
    struct job *top = g ? g->jobs = calloc(1, sizeof(*g->jobs)) : NULL;
    int rc = -1;
    if (top) {
        g->n = 1;
        g->root = root;
        g->cancel = cancel;
        top->tracked = top->others = (struct call){.from = -1, .said = -1};
        top->prefix = strdup("");
    }
    if (!top || !top->prefix)
        pt_err_set(err, "git: out of memory");
    else
        rc = start_job(g, top, err);
    if (rc > 0)
        *out = g;
    else
        pt_git_destroy(g);
    return rc;
}

void pt_git_destroy(struct pt_git *g)
{
    if (!g)
        return;
    int saved = errno;
    for (size_t i = 0; i < g->n; i++) {
        drop_call(&g->jobs[i].tracked);
        drop_call(&g->jobs[i].others);
        free(g->jobs[i].prefix);
        free(g->jobs[i].folder);
    }
    free(g->jobs);
    pt_paths_fini(&g->unread);
    free(g);
    errno = saved;
}
