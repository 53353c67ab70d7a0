/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: `option = value` lines under the names of the long options. */
#include "common/auto.h"
#include "common/err.h"
#include "options_table.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_MAX   (1u << 20) /* bytes of a file */
#define CONFIG_NAME  "ptremote.conf"
#define GRACE_MS     10000
#define MPI_GRACE_MS 3000
#define HEARTBEAT_MS 5000
#define CACHE_SIZE   (UINT64_C(20) << 30)

struct config {
    const char *path;
    enum pt_options_from from;
    struct pt_options *opts; /* what this file says */
    unsigned line;
};

/* The whole file with a NUL after it; *text stays NULL when there is none. */
static int read_file(const char *path, char **text, struct pt_err *err)
{
    struct stat st;
    pt_auto_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0 || fstat(fd, &st))
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: want a file of at most %u bytes", path, CONFIG_MAX);
    size_t size = (size_t)st.st_size;
    size_t have = 0;
    pt_auto_free char *buf = malloc(size + 1);
    if (!buf)
        return pt_err_set(err, "%s: out of memory", path);
    while (have < size) {
        ssize_t n = read(fd, buf + have, size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", path, strerror(errno));
        if (n == 0)
            break;
        have += (size_t)n;
    }
    buf[have] = '\0';
    if (strlen(buf) != have)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: has a NUL byte, so it is no text", path);
    *text = pt_steal_ptr(&buf);
    return 0;
}

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n > 0 && strchr(" \t\r", s[n - 1]))
        n--;
    s[n] = '\0';
    return s;
}

/* A path of a file is meant from that file's folder, or from home. */
static char *resolve(const struct config *config, const char *value)
{
    char *out = NULL;
    const char *home = getenv("HOME");
    const char *slash = strrchr(config->path, '/');
    int rc;
    if (!strncmp(value, "~/", 2) && home)
        rc = asprintf(&out, "%s%s", home, value + 1);
    else if (value[0] == '/' || !slash || !*value)
        rc = asprintf(&out, "%s", value);
    else
        rc = asprintf(&out, "%.*s/%s", (int)(slash - config->path), config->path, value);
    return rc < 0 ? NULL : out;
}

static int set(struct config *config, const struct pt_option_row *row, const char *value, struct pt_err *err)
{
    if (row->kind != PT_OPTION_FILE && row->kind != PT_OPTION_FOLDER)
        return pt_option_set(config->opts, row, value, err);
    pt_auto_free char *path = resolve(config, value);
    if (!path)
        return pt_err_set(err, "out of memory");
    return pt_option_set(config->opts, row, path, err);
}

static int check_place(const struct config *config, const struct pt_option_row *row, struct pt_err *err)
{
    if (row->files == PT_FILES_NONE)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s can only be given on the command line", row->name);
    if (row->files == PT_FILES_USER && config->from == PT_OPTIONS_PROJECT) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s cannot be set by a project's file", row->name);
        return pt_err_hint(err, "give --%s on the command line, or set it in ~/.config/" CONFIG_NAME,
                           row->name);
    }
    if (pt_options_given(config->opts, row->means ? row->means : row->name) && !pt_option_repeats(row))
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s is set a second time", row->name);
    return 0;
}

static int read_line(struct config *config, char *line, struct pt_err *err)
{
    line = trim(line);
    if (!*line || *line == '#' || !strcmp(line, "[ptremote]"))
        return 0;
    char *equals = strchr(line, '=');
    if (!equals || equals == line) {
        pt_err_set_kind(err, PT_ERR_USAGE, "want 'option = value', got '%.80s'", line);
        return -1;
    }
    *equals = '\0';
    const char *name = trim(line);
    const struct pt_option_row *row = pt_option_find(name, strlen(name));
    if (!row) {
        const struct pt_option_row *near = pt_option_near(name, strlen(name));
        pt_err_set_kind(err, PT_ERR_USAGE, "unknown option '%.80s'", name);
        return near ? pt_err_hint(err, "did you mean %s?", near->name) : -1;
    }
    if (check_place(config, row, err))
        return -1;
    return set(config, row, trim(equals + 1), err) ? pt_err_wrap(err, "%s", row->name) : 0;
}

static int read_lines(struct config *config, char *text, struct pt_err *err)
{
    char *line;
    while ((line = strsep(&text, "\n"))) {
        config->line++;
        if (read_line(config, line, err))
            return pt_err_wrap(err, "%s:%u", config->path, config->line);
    }
    return 0;
}

/* --- merging --- */

static int put_before(struct pt_words *words, const struct pt_words *lower)
{
    struct pt_words all = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < lower->n; i++)
        rc = pt_words_add(&all, lower->item[i]);
    for (size_t i = 0; rc == 0 && i < words->n; i++)
        rc = pt_words_add(&all, words->item[i]);
    struct pt_words *drop = rc ? &all : words;
    for (size_t i = 0; i < drop->n; i++)
        free(drop->item[i]);
    free(drop->item);
    if (rc == 0)
        *words = all;
    return rc;
}

static bool is_host_source(const struct pt_option_row *row)
{
    return row->offset == offsetof(struct pt_options, hosts) ||
           row->offset == offsetof(struct pt_options, hostfile);
}

static void take(struct pt_options *opts, struct pt_options *lower, const struct pt_option_row *row)
{
    void *to = (char *)opts + row->offset;
    void *from = (char *)lower + row->offset;
    switch (row->kind) {
    case PT_OPTION_FLAG:
        *(bool *)to = *(bool *)from;
        break;
    case PT_OPTION_SIZE:
        *(uint64_t *)to = *(uint64_t *)from;
        break;
    case PT_OPTION_STRING:
    case PT_OPTION_MAYBE:
    case PT_OPTION_FILE:
    case PT_OPTION_FOLDER:
        *(char **)to = pt_steal_ptr(from);
        break;
    default:
        *(uint32_t *)to = *(uint32_t *)from;
    }
}

/* Where the hosts come from is one question: a list above hides a file below. */
static int merge(struct pt_options *opts, struct pt_options *lower)
{
    bool has_hosts = opts->hosts || opts->hostfile;
    for (size_t i = 0; i < pt_option_count; i++) {
        const struct pt_option_row *row = &pt_option_rows[i];
        if (!lower->given[i])
            continue;
        if (pt_option_repeats(row)) {
            if (put_before((struct pt_words *)((char *)opts + row->offset),
                           (const struct pt_words *)((char *)lower + row->offset)))
                return -1;
        } else if (!opts->given[i] && !(is_host_source(row) && has_hosts)) {
            take(opts, lower, row);
        } else {
            continue;
        }
        opts->given[i] = true;
    }
    return 0;
}

int pt_options_load_config(struct pt_options *opts, enum pt_options_from from, const char *path,
                           struct pt_err *err)
{
    pt_auto_free char *text = NULL;
    if (read_file(path, &text, err))
        return -1;
    if (!text)
        return 0;
    struct pt_options found;
    pt_option_defaults(&found);
    struct config config = {.path = path, .from = from, .opts = &found};
    int rc = read_lines(&config, text, err);
    if (rc == 0 && merge(opts, &found))
        rc = pt_err_set(err, "%s: out of memory", path);
    pt_options_fini(&found);
    return rc;
}

/* --- the order of sources --- */

static int set_hosts(struct pt_options *opts, const char *hosts, struct pt_err *err)
{
    if (opts->hosts || opts->hostfile || !hosts || !*hosts)
        return 0;
    if (!(opts->hosts = strdup(hosts)))
        return pt_err_set(err, "out of memory for the options");
    return 0;
}

static int load_from(struct pt_options *opts, enum pt_options_from from, const char *dir, const char *below,
                     struct pt_err *err)
{
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s%s/%s", dir, below, CONFIG_NAME) < 0)
        return pt_err_set(err, "out of memory for the options");
    return pt_options_load_config(opts, from, path, err);
}

int pt_options_load_user(struct pt_options *opts, struct pt_err *err)
{
    const char *dir = getenv("XDG_CONFIG_HOME");
    if (dir && dir[0] == '/')
        return load_from(opts, PT_OPTIONS_USER, dir, "", err);
    dir = getenv("HOME");
    return dir && dir[0] == '/' ? load_from(opts, PT_OPTIONS_USER, dir, "/.config", err) : 0;
}

/* A glob that is one name means that name in every folder. */
static int spread_keep(struct pt_options *opts, struct pt_err *err)
{
    for (size_t i = 0; i < opts->keep.n; i++) {
        char *glob = opts->keep.item[i], *spread = NULL;
        size_t n = strlen(glob);
        while (n > 1 && glob[n - 1] == '/')
            n--;
        if (memchr(glob, '/', n))
            continue;
        if (asprintf(&spread, "**/%s", glob) < 0)
            return pt_err_set(err, "out of memory for the options");
        opts->keep.item[i] = spread;
        free(glob);
    }
    return 0;
}

/* Placement that is told exactly leaves nothing to choose. */
static int check_placement(const struct pt_options *opts, struct pt_err *err)
{
    const char *exact = opts->replay                               ? "--replay"
                        : opts->schedule == PT_SCHEDULE_SEQUENTIAL ? "--schedule sequential"
                                                                   : NULL;
    const char *other = opts->replay && pt_options_given(opts, "schedule") ? "--schedule"
                        : opts->replay && pt_options_given(opts, "dist")   ? "--dist"
                        : opts->replay && opts->shuffle                    ? "--shuffle"
                        : opts->target_ms                                  ? "--target"
                        : opts->speculate                                  ? "--speculate"
                                                                           : NULL;
    if (exact && other)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s leaves %s nothing to decide", exact, other);
    if (opts->only_rerun.n && !opts->reruns)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--only-rerun chooses among reruns: give --reruns N too");
    return 0;
}

/* What makes no sense together. */
static int check_together(const struct pt_options *opts, struct pt_err *err)
{
    if (opts->sync_only && opts->dry_run)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--sync-only and --dry-run exclude each other");
    if (opts->leave_ms && !opts->linger_ms)
        return pt_err_set_kind(err, PT_ERR_USAGE,
                               "--leave-with-hosts is for a run that lingers: give --linger TIME too");
    if (opts->sandbox && opts->mpi_across)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--mpi-across needs a network, and --sandbox has none");
    if (opts->sync_only && opts->shared_fs)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--sync-only has nothing to send with --shared-fs");
    if (opts->detach && (opts->sync_only || opts->dry_run))
        return pt_err_set_kind(err, PT_ERR_USAGE, "--detach is for runs of tests, not for %s",
                               opts->dry_run ? "--dry-run" : "--sync-only");
    return 0;
}

int pt_options_complete(struct pt_options *opts, const char *project_root, struct pt_err *err)
{
    if (set_hosts(opts, getenv("PTREMOTE_HOSTS"), err))
        return -1;
    if (load_from(opts, PT_OPTIONS_PROJECT, project_root ? project_root : ".", "", err))
        return -1;
    if (pt_options_load_user(opts, err))
        return -1;
    if (set_hosts(opts, "local", err) || spread_keep(opts, err))
        return -1;
    if (!pt_options_given(opts, "grace"))
        opts->grace_ms = GRACE_MS;
    if (!pt_options_given(opts, "cache-size"))
        opts->cache_size = CACHE_SIZE;
    if (!pt_options_given(opts, "mpi-grace"))
        opts->mpi_grace_ms = MPI_GRACE_MS;
    if (!pt_options_given(opts, "heartbeat"))
        opts->heartbeat_ms = HEARTBEAT_MS;
    return check_together(opts, err) < 0 ? -1 : check_placement(opts, err);
}
