/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/git.h"

#include "common/auto.h"
#include "common/err.h"
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
#define MAX_LIST   (1u << 30)  /* bytes of file names */
#define MAX_SAID   (64u << 10) /* bytes of git's own words */

extern char **environ;

struct git {
    const char *root;
    const volatile int *cancel;
    struct pt_paths *tracked, *untracked, *unread;
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

static int spawn_git(const char *folder, int out, int said, pid_t *pid)
{
    const char *argv[] = {"git", "-C",       folder,     "ls-files",           "-z",
                          "-t",  "--cached", "--others", "--exclude-standard", NULL};
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

/* All of a pipe. -1 when it is too much, memory ends, or the run is cancelled. */
static int read_all(int fd, const volatile int *cancel, struct pt_buf *out)
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

/* Gives git's wait status; -1 when it could not be run to its end, -2 when there is no git. */
static int run_git(const struct git *g, const char *folder, struct pt_buf *out, char said[MAX_SAID],
                   struct pt_err *err)
{
    int ends[2];
    pt_auto_fd int said_fd = memfd_create("git", MFD_CLOEXEC);
    if (said_fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return pt_err_set(err, "cannot run git: %s", strerror(errno));
    pt_auto_fd int from = ends[0];
    pid_t pid;
    int rc = spawn_git(folder, ends[1], said_fd, &pid);
    close(ends[1]);
    if (rc == ENOENT)
        return -2;
    if (rc != 0)
        return pt_err_set(err, "cannot run git: %s", strerror(rc));
    int failed = read_all(from, g->cancel, out);
    if (failed)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    ssize_t n = pread(said_fd, said, MAX_SAID - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    if (failed && g->cancel && *g->cancel)
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while git lists %s", folder);
    return failed ? pt_err_set(err, "cannot read the file list of git in %s", folder) : status;
}

/* git leaves out the folders that it cannot open, with a warning and nothing else. */
static int note_unread(const struct git *g, const char *prefix, char *said)
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
        if (pt_paths_add(g->unread, prefix, line) < 0)
            return -1;
        line = next;
    }
    return 0;
}

static bool exists_below(const char *root, const char *path, const char *name, struct stat *st)
{
    pt_auto_free char *full = NULL;
    if (asprintf(&full, "%s/%s%s", root, path, name) < 0) {
        full = NULL;
        return false;
    }
    return lstat(full, st) == 0;
}

static int list(const struct git *g, const char *prefix, int depth, struct pt_err *err);

/* One record: a tag, a space, the path below prefix. */
static int take(const struct git *g, const char *prefix, char *record, int depth, struct pt_err *err)
{
    struct stat st;
    size_t len = strlen(record);
    if (len < 3 || record[1] != ' ')
        return pt_err_set(err, "git: an unknown line in its file list");
    bool untracked = record[0] == '?';
    if (record[len - 1] == '/')
        record[len - 1] = '\0';
    struct pt_paths *into = untracked ? g->untracked : g->tracked;
    if (pt_paths_add(into, prefix, record + 2) < 0)
        return pt_err_set(err, "git: out of memory");
    const char *path = into->v[into->n - 1];
    if (!exists_below(g->root, path, "", &st) || !S_ISDIR(st.st_mode) ||
        !exists_below(g->root, path, "/.git", &st) || depth >= MAX_NESTED)
        return 0;
    pt_auto_free char *nested = strdup(path);
    return nested ? list(g, nested, depth + 1, err) : pt_err_set(err, "git: out of memory");
}

static int list(const struct git *g, const char *prefix, int depth, struct pt_err *err)
{
    pt_auto_free char *folder = NULL;
    pt_auto_free char *said = malloc(MAX_SAID);
    if (!said || asprintf(&folder, "%s%s%s", g->root, *prefix ? "/" : "", prefix) < 0)
        return pt_err_set(err, "git: out of memory");
    struct pt_buf out = {0};
    int rc = 1, status = run_git(g, folder, &out, said, err);
    if (status == -1) {
        rc = -1;
    } else if (status == -2 || (status != 0 && strstr(said, "not a git repository"))) {
        rc = 0;
    } else if (status != 0) {
        said[strcspn(said, "\n")] = '\0';
        rc = pt_err_set_kind(err, PT_ERR_USAGE, "git cannot list %s: %s", folder, said);
        pt_err_hint(err, "see what `git -C %s ls-files` says", folder);
    } else if (note_unread(g, prefix, said) < 0) {
        rc = pt_err_set(err, "git: out of memory");
    }
    for (size_t at = 0; rc > 0 && at < out.len;) {
        char *record = (char *)out.data + at;
        size_t n = strnlen(record, out.len - at);
        if (n == out.len - at)
            rc = pt_err_set(err, "git: its file list ends within a name");
        else if (take(g, prefix, record, depth, err) < 0)
            rc = -1;
        at += n + 1;
    }
    pt_buf_fini(&out);
    return rc;
}

/* Whether asking git is worth its start: something named .git lies in root or above it. */
static bool in_repository(const char *root)
{
    struct stat st;
    pt_auto_free char *folder = strdup(root);
    while (folder) {
        if (exists_below(folder, "", "/.git", &st))
            return true;
        char *slash = strrchr(folder, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
    return false;
}

int pt_git_list(const char *root, const volatile int *cancel, struct pt_paths *tracked,
                struct pt_paths *untracked, struct pt_paths *unread, struct pt_err *err)
{
    struct git g = {root, cancel, tracked, untracked, unread};
    return in_repository(root) ? list(&g, "", 0, err) : 0;
}
