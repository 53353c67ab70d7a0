/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/logind.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/wire.h"
#include "remote/agent/scope.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX (64u << 10)
#define DROP_INS 64

static const char *const places[] = {"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd",
                                     "/usr/lib/systemd", "/lib/systemd"};

/* --- what the files say --- */

struct rules {
    bool kills, said; /* said: by a line that is no comment */
    bool login;       /* within [Login] */
    bool spared;      /* the user is one of KillExcludeUsers */
    bool only, named; /* KillOnlyUsers has any; has the user */
};

static bool has_word(const char *list, size_t n, const char *word)
{
    for (size_t at = 0, len; at < n; at += len) {
        at += strspn(list + at, " \t");
        len = strcspn(list + at, " \t\r\n");
        if (len == 0)
            return false;
        if (len == strlen(word) && memcmp(list + at, word, len) == 0)
            return true;
    }
    return false;
}

static bool is_yes(const char *value, size_t n)
{
    return has_word(value, n, "yes") || has_word(value, n, "true") || has_word(value, n, "1") ||
           has_word(value, n, "on");
}

/* The value when the line sets that, else NULL. */
static const char *value_of(const char *line, size_t n, const char *key)
{
    size_t k = strlen(key);
    if (n <= k || memcmp(line, key, k) != 0)
        return NULL;
    k += strspn(line + k, " \t");
    return k < n && line[k] == '=' ? line + k + 1 : NULL;
}

/* A comment that sets it is how the file tells what was compiled in. */
static void read_line(struct rules *rules, const char *line, size_t n, const char *user)
{
    bool comment = n && line[0] == '#';
    const char *end = line + n, *value;
    line += comment;
    if (!comment && n && line[0] == '[')
        rules->login = strncmp(line, "[Login]", 7) == 0;
    if (!rules->login)
        return;
    if ((value = value_of(line, (size_t)(end - line), "KillUserProcesses"))) {
        if (!comment || !rules->said)
            rules->kills = is_yes(value, (size_t)(end - value));
        rules->said |= !comment;
    } else if (comment) {
        return;
    } else if ((value = value_of(line, n, "KillExcludeUsers"))) {
        size_t left = (size_t)(end - value);
        bool empty = strspn(value, " \t\r") >= left;
        rules->spared = !empty && (rules->spared || has_word(value, left, user));
    } else if ((value = value_of(line, n, "KillOnlyUsers"))) {
        size_t left = (size_t)(end - value);
        rules->only = strspn(value, " \t\r") < left;
        rules->named = rules->only && (rules->named || has_word(value, left, user));
    }
}

static bool is_of_login(const char *cgroup)
{
    const char *at = strstr(cgroup, "/session-");
    size_t n = at ? strcspn(at, "\n") : 0;
    return at && memmem(at, n, ".scope", 6);
}

bool pt_logind_kills(const char *conf, const char *cgroup, const char *user)
{
    struct rules rules = {.spared = strcmp(user, "root") == 0};
    for (const char *line = conf; *line;) {
        size_t n = strcspn(line, "\n");
        read_line(&rules, line, n, user);
        line += n + (line[n] == '\n');
    }
    return rules.kills && !rules.spared && (!rules.only || rules.named) && is_of_login(cgroup);
}

/* --- the files --- */

/* False when it is not there. */
static bool add_file(struct pt_buf *out, const char *path)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *room = fd < 0 ? NULL : pt_buf_reserve(out, TEXT_MAX);
    ssize_t n = room ? read(fd, room, TEXT_MAX) : 0;
    out->len += n > 0 ? (size_t)n : 0;
    pt_buf_append(out, "\n", 1);
    return fd >= 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Of drop-ins of one name the first place's counts; all of them in the order of their names. */
static void add_drop_ins(struct pt_buf *out)
{
    static char names[DROP_INS][NAME_MAX + 1];
    char path[PATH_MAX];
    size_t n = 0;
    for (size_t i = 0; i < PT_COUNT(places); i++) {
        snprintf(path, sizeof(path), "%s/logind.conf.d", places[i]);
        DIR *dir = opendir(path);
        for (struct dirent *d; dir && n < DROP_INS && (d = readdir(dir));) {
            size_t len = strlen(d->d_name);
            if (len > 5 && strcmp(d->d_name + len - 5, ".conf") == 0)
                snprintf(names[n++], sizeof(names[0]), "%s", d->d_name);
        }
        if (dir)
            closedir(dir);
    }
    qsort(names, n, sizeof(names[0]), by_name);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < PT_COUNT(places) && (k == 0 || strcmp(names[k], names[k - 1]) != 0); i++) {
            snprintf(path, sizeof(path), "%s/logind.conf.d/%.*s", places[i], NAME_MAX, names[k]);
            if (add_file(out, path))
                break;
        }
}

static bool ends_logins(const char *user)
{
    struct pt_buf conf = {0}, cgroup = {0};
    char path[PATH_MAX];
    for (size_t i = 0; i < PT_COUNT(places); i++) {
        snprintf(path, sizeof(path), "%s/logind.conf", places[i]);
        if (add_file(&conf, path))
            break;
    }
    add_drop_ins(&conf);
    add_file(&cgroup, "/proc/self/cgroup");
    pt_buf_append(&conf, "", 1);
    pt_buf_append(&cgroup, "", 1);
    bool ends = !conf.bad && !cgroup.bad && pt_logind_kills((char *)conf.data, (char *)cgroup.data, user);
    pt_buf_fini(&conf);
    pt_buf_fini(&cgroup);
    return ends;
}

/* --- outlasting it --- */

/* loginctl enable-linger: logind keeps the user's own manager, and what that runs, also without a login. */
static bool keeps_manager(const char *user)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/var/lib/systemd/linger/%s", user);
    return user[0] && !strchr(user, '/') && access(path, F_OK) == 0;
}

void pt_logind_outlast(const char *name)
{
    const char *login = getenv("USER"), *user = geteuid() == 0 ? "root" : login ? login : "";
    uint32_t pids[] = {(uint32_t)getpid(), (uint32_t)getppid()};
    char manager[64], scope[64];
    struct pt_err err = PT_ERR_INIT;
    if (!ends_logins(user))
        return;
    snprintf(manager, sizeof(manager), "/run/user/%u/systemd/private", (unsigned)geteuid());
    snprintf(scope, sizeof(scope), "%.50s.scope", name);
    int rc = pt_scope_enter(manager, scope, pids, PT_COUNT(pids), &err);
    if (!keeps_manager(user))
        pt_warn(
            "logind ends here what a login leaves running (KillUserProcesses=yes), so the tests would not go "
            "on without it: `loginctl enable-linger %s` there lets them",
            user);
    else if (rc < 0)
        pt_warn(
            "logind ends here what a login leaves running (KillUserProcesses=yes), so the tests would not go "
            "on without it, as the service manager of %s does not take them (%s): have KillExcludeUsers=%s "
            "set in logind.conf",
            user, err.msg, user);
    else
        pt_info("moved out of the login, which logind ends with all in it, to %s", scope);
}
