/* SPDX-License-Identifier: Apache-2.0 */
#include "project.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "sync/digest.h"
#include "tools.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>

extern char **environ;

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The nearest folder from `path` upwards that holds `what`: 1, and cuts path there; 0 when there is none, -1
 * when memory ends. */
static int find_above(char *path, const char *what)
{
    for (;;) {
        pt_auto_free char *there = NULL;
        if (asprintf(&there, "%s/%s", strcmp(path, "/") ? path : "", what) < 0)
            return -1;
        if (access(there, F_OK) == 0)
            return 1;
        char *slash = strrchr(path, '/');
        if (!slash || strcmp(path, "/") == 0)
            return 0;
        slash[slash == path] = '\0';
    }
}

char *pt_project_find(const char *option, struct pt_err *err)
{
    char *path = realpath(option ? option : ".", NULL);
    if (option && (!path || !is_folder(path))) {
        pt_err_set_kind(err, PT_ERR_USAGE, "--project %s: %s", option,
                        path ? "not a folder" : strerror(errno));
        free(path);
        return NULL;
    }
    int found = option ? 1 : path ? find_above(path, ".git") : errno == ENOMEM ? -1 : 0;
    if (found > 0)
        return path;
    if (found < 0)
        pt_err_set(err, "looking for the project's folder: out of memory");
    free(path);
    return NULL;
}

int pt_project_check(const char *root, bool explicit_root, struct pt_err *err)
{
    const char *named = getenv("HOME");
    errno = 0;
    pt_auto_free char *home = named && named[0] ? realpath(named, NULL) : NULL;
    if (!home && errno == ENOMEM)
        return pt_err_set(err, "the home folder %s: out of memory", named);
    if (!explicit_root && (strcmp(root, "/") == 0 || (home && strcmp(root, home) == 0))) {
        pt_err_set_kind(err, PT_ERR_USAGE, "would send all of %s", root);
        return pt_err_hint(err, "give the project's folder with --project DIR");
    }
    return 0;
}

char *pt_project_state(const char *root, const char *option)
{
    char *path = NULL;
    if (option && option[0] == '/')
        return strdup(option);
    if (option) {
        pt_auto_free char *cwd = realpath(".", NULL);
        return cwd && asprintf(&path, "%s/%s", cwd, option) >= 0 ? path : NULL;
    }
    return asprintf(&path, "%s/.ptremote", root) >= 0 ? path : NULL;
}

char *pt_project_state_here(const char *project, const char *state_dir, struct pt_err *err)
{
    struct pt_err none = PT_ERR_INIT;
    pt_auto_free char *root = state_dir ? NULL : pt_project_find(project, &none);
    if (none.msg[0]) {
        if (err)
            *err = none;
        return NULL;
    }
    int found = 1;
    if (!state_dir && !root && (root = realpath(".", NULL)))
        found = find_above(root, ".ptremote/ledger.sqlite");
    if (found == 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "no runs are recorded here, nor in a folder above");
        pt_err_hint(err, "name the project's folder with --project DIR");
        return NULL;
    }
    char *path = found > 0 && (root || state_dir) ? pt_project_state(root, state_dir) : NULL;
    if (!path)
        pt_err_set_kind(err, errno == ENOMEM ? PT_ERR_INTERNAL : PT_ERR_USAGE, "the working directory: %s",
                        strerror(errno));
    return path;
}

char *pt_project_key(const char *root)
{
    unsigned char digest[PT_DIGEST];
    char hex[PT_DIGEST_HEX], machine[64] = "", name[33];
    pt_auto_fd int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, machine, sizeof(machine) - 1) : 0;
    machine[got > 0 ? got : 0] = '\0';
    pt_auto_free char *text = NULL;
    char *key = NULL;
    if (asprintf(&text, "%s:%u:%s", machine, (unsigned)getuid(), root) < 0 ||
        pt_digest_buffer(PT_DIGEST_BLAKE2B, text, strlen(text), digest, NULL) < 0)
        return NULL;
    pt_digest_hex(digest, hex);
    const char *base = strrchr(root, '/') ? strrchr(root, '/') + 1 : root;
    snprintf(name, sizeof(name), "%s", base);
    for (char *p = name; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p))
            *p = '_';
    return asprintf(&key, "%s-%.12s", name[0] ? name : "project", hex) >= 0 ? key : NULL;
}

char *pt_project_cwd(const char *root)
{
    pt_auto_free char *cwd = realpath(".", NULL);
    size_t n = strcmp(root, "/") ? strlen(root) : 0;
    if (!cwd && errno == ENOMEM)
        return NULL;
    if (!cwd || strncmp(cwd, root, n) != 0 || cwd[n] != '/')
        return strdup("");
    return strdup(cwd + n + 1);
}

static bool forwarded(const char *entry)
{
    static const char *const names[] = {"LANG=", "LANGUAGE=", "TZ=", "PYTEST_ADDOPTS="};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return strncmp(entry, "LC_", 3) == 0 && strchr(entry, '=');
}

/* "NAME=VALUE" apart; "NAME" takes the value it has here, and is left out when it has none. */
static int add_env(struct pt_env *env, uint32_t *n, const char *word)
{
    const char *eq = strchr(word, '=');
    const char *value = eq ? eq + 1 : getenv(word);
    if (!value)
        return 0;
    env[*n].name = eq ? strndup(word, (size_t)(eq - word)) : strdup(word);
    env[*n].value = strdup(value);
    (*n)++;
    return env[*n - 1].name && env[*n - 1].value ? 0 : -1;
}

struct pt_env *pt_project_env(const struct pt_words *option, uint32_t *n)
{
    size_t most = option->n + 1;
    for (char **e = environ; *e; e++)
        most += forwarded(*e);
    struct pt_env *env = calloc(most, sizeof(*env));
    *n = 0;
    int rc = env ? 0 : -1;
    for (char **e = environ; rc == 0 && *e; e++)
        if (forwarded(*e))
            rc = add_env(env, n, *e);
    for (size_t i = 0; rc == 0 && i < option->n; i++)
        rc = add_env(env, n, option->item[i]);
    if (rc == 0)
        return env;
    pt_project_env_free(env, *n);
    return NULL;
}

void pt_project_env_free(struct pt_env *env, uint32_t n)
{
    for (uint32_t i = 0; env && i < n; i++) {
        free(env[i].name);
        free(env[i].value);
    }
    free(env);
}

static int make_folders(char *path, struct pt_err *err)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            int rc = mkdir(path, 0700);
            *p = '/';
            if (rc < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
                return pt_err_set_kind(err, PT_ERR_USAGE, "cannot make %s: %s", path, strerror(errno));
        }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return pt_err_set_kind(err, PT_ERR_USAGE, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

char *pt_project_package(const char *state_dir, struct pt_err *err)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    pt_auto_free char *folder = NULL;
    int rc = state_dir                ? asprintf(&folder, "%s", state_dir)
             : xdg && xdg[0] == '/'   ? asprintf(&folder, "%s/ptremote", xdg)
             : home && home[0] == '/' ? asprintf(&folder, "%s/.cache/ptremote", home)
                                      : asprintf(&folder, "/var/tmp/ptremote-%u", (unsigned)getuid());
    if (rc < 0) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    if (make_folders(folder, err) < 0)
        return NULL;
    return pt_tools_python(folder, err);
}

/* One byte of the answer; -1 at its end or when the run was cancelled (Ctrl-C reaches the loop, not us). */
static int next_byte(int tty, char *c, const atomic_int *cancel)
{
    struct pollfd p = {.fd = tty, .events = POLLIN};
    while (!*cancel)
        if (poll(&p, 1, 200) > 0)
            return read(tty, c, 1) == 1 ? 0 : -1;
    return -1;
}

static int read_answer(int tty, char *answer, size_t size, const atomic_int *cancel)
{
    size_t n = 0;
    char c;
    int rc;
    while ((rc = next_byte(tty, &c, cancel)) == 0 && c != '\n')
        if (n + 1 < size)
            answer[n++] = c;
    answer[n] = '\0';
    return rc;
}

int pt_project_ask(const char *host, const char *prompt, bool echo, char *answer, size_t size,
                   const atomic_int *cancel)
{
    pt_auto_fd int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    struct termios before, quiet;
    struct pt_buf text = {0};
    if (tty < 0 || tcgetattr(tty, &before) < 0)
        return -1;
    pt_quote_print(&text, host, strlen(host), 0);
    pt_buf_append(&text, ": ", 2);
    pt_quote_print(&text, prompt, strlen(prompt), 0);
    quiet = before;
    if (!echo)
        quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(tty, TCSAFLUSH, &quiet);
    int rc = write(tty, text.data, text.len) < 0 ? -1 : read_answer(tty, answer, size, cancel);
    tcsetattr(tty, TCSAFLUSH, &before);
    if (!echo && write(tty, "\n", 1) < 0)
        rc = -1;
    pt_buf_fini(&text);
    return rc;
}
