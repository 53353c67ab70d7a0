/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Trees on disk for the tests of sync/: made, changed, compared, and sent from a push to a receiver. */
#include "common/auto.h"
#include "common/err.h"
#include "common/message.h"
#include "remove_tree.h"
#include "sync/here/push.h"
#include "sync/here/scan.h"
#include "sync/manifest.h"
#include "sync/there/receive.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char lab_dir[64];

/* A folder of the test's own, with here/ and cache/ in it. */
static void lab_open(void)
{
    strcpy(lab_dir, "/tmp/ptremote-sync.XXXXXX");
    cr_assert_not_null(mkdtemp(lab_dir));
    cr_assert_eq(chdir(lab_dir), 0);
    cr_assert_eq(mkdir("here", 0755), 0);
}

static void lab_close(void)
{
    cr_assert_eq(chdir("/"), 0);
    remove_tree(lab_dir);
}

/* Folders above `path` (below the lab) are made. */
__attribute__((unused)) static void lab_write(const char *path, const void *data, size_t n)
{
    char folder[4096];
    snprintf(folder, sizeof(folder), "%s", path);
    for (char *slash = folder; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(folder, 0755);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    close(fd);
}

__attribute__((unused)) static void lab_text(const char *path, const char *text)
{
    lab_write(path, text, strlen(text));
}

/* The whole content, NUL after it; heap. */
__attribute__((unused)) static char *lab_read(const char *path)
{
    char *out = calloc(1, 1 << 20);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    ssize_t n = read(fd, out, (1 << 20) - 1);
    cr_assert_geq(n, 0);
    close(fd);
    return out;
}

__attribute__((unused)) static void lab_mtime(const char *path, time_t sec, long nsec)
{
    struct timespec times[2] = {{sec, nsec}, {sec, nsec}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

__attribute__((unused)) static void lab_run(const char *command)
{
    int status = system(command);
    cr_assert_eq(status, 0, "%s: %d", command, status);
}

/* --- what lies in a folder, as text --- */

static int lab_by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void lab_describe(const char *path, const char *shown, FILE *out)
{
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0, "%s", path);
    fprintf(out, "%06o %zu:%s", S_ISLNK(st.st_mode) ? 0120000u : st.st_mode, strlen(shown), shown);
    if (S_ISLNK(st.st_mode)) {
        char target[4096] = "";
        cr_assert_gt(readlink(path, target, sizeof(target) - 1), 0);
        fprintf(out, " -> %s", target);
    } else if (S_ISREG(st.st_mode)) {
        unsigned char digest[PT_DIGEST];
        char hex[PT_DIGEST_HEX];
        cr_assert_eq(pt_digest_file(PT_DIGEST_SHA256, path, digest, NULL), 0, "%s", path);
        pt_digest_hex(digest, hex);
        fprintf(out, " %lld %s", (long long)st.st_size, hex);
    }
    fputc('\n', out);
}

static void lab_list(const char *path, const char *shown, FILE *out)
{
    char *names[8192];
    size_t n = 0;
    DIR *d = opendir(path);
    cr_assert_not_null(d, "%s", path);
    for (const struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n < PT_COUNT(names))
            names[n++] = strdup(e->d_name);
    closedir(d);
    qsort(names, n, sizeof(*names), lab_by_name);
    for (size_t i = 0; i < n; i++) {
        char below[8192], name[8192];
        struct stat st;
        snprintf(below, sizeof(below), "%s/%s", path, names[i]);
        snprintf(name, sizeof(name), "%s/%s", shown, names[i]);
        lab_describe(below, name, out);
        if (lstat(below, &st) == 0 && S_ISDIR(st.st_mode))
            lab_list(below, name, out);
        free(names[i]);
    }
}

/* Every path beneath with mode, target, size and digest; heap. */
static char *lab_dump(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    lab_list(path, "", out);
    fclose(out);
    return text;
}

__attribute__((unused)) static void lab_same(const char *a, const char *b)
{
    pt_auto_free char *x = lab_dump(a);
    pt_auto_free char *y = lab_dump(b);
    cr_assert_str_eq(x, y, "trees differ:\n%s---\n%s", x, y);
}

/* --- from here to there --- */

static struct pt_manifest *lab_scan_with(const char *const *extra, size_t nextra, const char *const *exclude,
                                         size_t nexclude, struct pt_err *err)
{
    char root[128], cache[128];
    snprintf(root, sizeof(root), "%s/here", lab_dir);
    snprintf(cache, sizeof(cache), "%s/hashcache", lab_dir);
    struct pt_tree_spec spec = {.root = root,
                                .extra = extra,
                                .nextra = nextra,
                                .exclude = exclude,
                                .nexclude = nexclude,
                                .cache = cache,
                                .algorithm = PT_DIGEST_BLAKE2B};
    return pt_manifest_scan(&spec, err);
}

__attribute__((unused)) static struct pt_manifest *lab_scan(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = lab_scan_with(NULL, 0, NULL, 0, &err);
    cr_assert_not_null(m, "%s", err.msg);
    return m;
}

/* The paths of a manifest, one a line, folders with a "/"; heap. */
__attribute__((unused)) static char *lab_paths(const struct pt_manifest *m)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    for (size_t i = 0; i < pt_manifest_count(m); i++)
        fprintf(out, "%s%s\n", pt_manifest_get(m, i)->path,
                pt_manifest_get(m, i)->type == PT_ENTRY_DIR ? "/" : "");
    fclose(out);
    return text;
}

/* A receiver in a process of its own, with its workspace. */
struct lab_host {
    pid_t pid;
    int fd, lock;
    char *tree;
};

static void lab_start(struct lab_host *h)
{
    char cache[128];
    int pair[2];
    struct pt_err err = PT_ERR_INIT;
    snprintf(cache, sizeof(cache), "%s/cache", lab_dir);
    struct pt_receive_options o = {.cache = cache, .machine_id = "machine", .project = "project"};
    h->lock = -1;
    h->tree = pt_workspace_take(&o, &h->lock, &err);
    cr_assert_not_null(h->tree, "%s", err.msg);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    h->pid = fork();
    cr_assert_geq(h->pid, 0);
    if (h->pid == 0) {
        if (dup2(pair[1], 3) != 3 || close_range(4, ~0u, 0) < 0)
            _exit(3);
        _exit(pt_receive(3, h->tree, cache, NULL) < 0);
    }
    close(pair[1]);
    h->fd = pair[0];
}

/* Gives the receiver's exit status. */
static int lab_stop(struct lab_host *h)
{
    int status = 0;
    close(h->fd);
    cr_assert_eq(waitpid(h->pid, &status, 0), h->pid);
    close(h->lock);
    free(h->tree);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct lab_result {
    enum pt_push_state state;
    int tree;    /* 1: the host asked for the whole manifest */
    size_t need; /* bits that NEED had */
    int logs;    /* LOG frames */
    uint64_t files, bytes, removed, sent;
    struct pt_synced synced;
    struct pt_err err; /* a FAIL of the host, or of the push */
    char why[1024];    /* RESEND */
};

/* What the master remembers of the host: the tree that was pushed last, and what its store has. */
static struct pt_manifest *lab_base;
static struct pt_known *lab_known;

__attribute__((unused)) static void lab_forget(void)
{
    pt_manifest_destroy(lab_base);
    pt_known_destroy(lab_known);
    lab_base = NULL;
    lab_known = NULL;
}

/* A manifest of its own that says the same. */
static struct pt_manifest *lab_copy(const struct pt_manifest *m)
{
    struct pt_manifest *out = pt_manifest_create(pt_manifest_algorithm(m), pt_manifest_folder(m), NULL);
    for (size_t i = 0; i < pt_manifest_count(m); i++)
        cr_assert_eq(pt_manifest_add(out, pt_manifest_get(m, i), NULL), 0);
    cr_assert_eq(pt_manifest_seal(out, NULL), 0);
    return out;
}

static void lab_remember(const struct pt_manifest *m)
{
    pt_manifest_destroy(lab_base);
    lab_base = lab_copy(m);
    if (!lab_known)
        lab_known = pt_known_create();
    cr_assert_geq(pt_known_add(lab_known, m), 0);
}

static bool lab_write_all(int fd, struct pt_buf *b)
{
    for (size_t done = 0; done < b->len;) {
        ssize_t n = send(fd, b->data + done, b->len - done, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    b->len = 0;
    return true;
}

static void lab_note(struct lab_result *r, uint8_t type, struct pt_reader body)
{
    size_t n;
    r->logs += type == PT_C_LOG;
    if (type == PT_C_TREE)
        r->tree = pt_get_u8(&body);
    if (type == PT_C_NEED) {
        pt_get_u32(&body);
        const unsigned char *bits = pt_get_bytes(&body, &n);
        for (size_t i = 0; i < 8 * n; i++)
            r->need += bits[i / 8] >> (i % 8) & 1;
    }
    if (type == PT_C_SYNCED && pt_synced_decode(&body, &r->synced, &r->err) == 0) {
        r->files = r->synced.files_sent;
        r->bytes = r->synced.bytes_sent;
        r->removed = r->synced.removed;
    }
    if (type == PT_C_FAIL) {
        pt_get_u8(&body);
        char *msg = pt_get_str(&body, PT_MAX_TEXT), *hint = pt_get_str(&body, PT_MAX_TEXT);
        pt_err_set(&r->err, "%s", msg);
        pt_err_hint(&r->err, "%s", hint);
        free(msg);
        free(hint);
    }
}

/* One frame from the host, within ten seconds; false at its end. */
static bool lab_frame(int fd, struct pt_buf *in, uint8_t *type, struct pt_reader *body, size_t *total)
{
    for (;;) {
        if (pt_frame_next(in->data, in->len, PT_MAX_FRAME, type, body, total) > 0)
            return true;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        cr_assert_gt(poll(&p, 1, 60000), 0, "the receiver says nothing");
        void *room = pt_buf_reserve(in, 65536);
        ssize_t n = recv(fd, room, 65536, 0);
        if (n <= 0)
            return false;
        in->len += (size_t)n;
    }
}

static const char *const *lab_keep; /* --keep globs */
static size_t lab_nkeep;
static int lab_level = 1;

/* Called before each frame goes to the bulk stream's end; may be NULL. */
typedef void lab_hook(void *arg, const struct pt_push *push);

__attribute__((unused)) static struct lab_result
lab_push_hooked(struct lab_host *h, const struct pt_manifest *m, lab_hook *hook, void *arg)
{
    struct lab_result r = {.err = PT_ERR_INIT};
    struct pt_buf out = {0}, in = {0};
    struct pt_push_figures figures;
    struct pt_fanout *f = pt_fanout_create(lab_copy(m), lab_dir, 1, &r.err);
    cr_assert_not_null(f, "%s", r.err.msg);
    struct pt_push_spec spec = {
        .fanout = f, .base = lab_base, .known = lab_known, .keep = lab_keep, .nkeep = lab_nkeep};
    struct pt_push *p = pt_push_create(&spec, &out, &r.err);
    cr_assert_not_null(p, "%s", r.err.msg);
    bool alive = lab_write_all(h->fd, &out);
    while (alive && pt_push_state(p) != PT_PUSH_DONE && pt_push_state(p) != PT_PUSH_STALE && !r.err.msg[0]) {
        int rc;
        while (alive && (rc = pt_push_pull(p, &out, 100000, lab_level, &r.err)) > 0) {
            if (hook)
                hook(arg, p);
            alive = lab_write_all(h->fd, &out);
        }
        if (rc < 0)
            break;
        uint8_t type;
        struct pt_reader body;
        size_t total;
        if (pt_frame_next(in.data, in.len, PT_MAX_FRAME, &type, &body, &total) <= 0) {
            struct pollfd fds[2] = {{.fd = h->fd, .events = POLLIN}, {.fd = pt_push_fd(p), .events = POLLIN}};
            cr_assert_gt(poll(fds, 2, 60000), 0, "nothing happens in state %d", (int)pt_push_state(p));
            if (!fds[0].revents)
                continue;
            if (!lab_frame(h->fd, &in, &type, &body, &total))
                break;
        }
        lab_note(&r, type, body);
        if (type != PT_C_FAIL && type != PT_C_LOG)
            cr_assert_eq(pt_push_control(p, type, &body, &r.err), 0, "%s", r.err.msg);
        pt_buf_consume(&in, total);
    }
    r.state = pt_push_state(p);
    pt_push_get_figures(p, &figures);
    r.sent = figures.wire;
    snprintf(r.why, sizeof(r.why), "%s", pt_push_why(p));
    if (r.state == PT_PUSH_DONE)
        lab_remember(m);
    pt_push_destroy(p);
    pt_fanout_destroy(f);
    pt_buf_fini(&out);
    pt_buf_fini(&in);
    return r;
}

__attribute__((unused)) static struct lab_result lab_push(struct lab_host *h, const struct pt_manifest *m)
{
    return lab_push_hooked(h, m, NULL, NULL);
}

/* Scan, send, and compare; gives what happened. */
__attribute__((unused)) static struct lab_result lab_sync(void)
{
    struct lab_host h;
    struct pt_manifest *m = lab_scan();
    lab_start(&h);
    struct lab_result r = lab_push(&h, m);
    cr_assert_eq(r.state, PT_PUSH_DONE, "%s", r.err.msg);
    lab_same("here", h.tree);
    cr_assert_eq(lab_stop(&h), 0);
    pt_manifest_destroy(m);
    return r;
}

/* The first workspace of the lab. */
#define LAB_TREE "cache/ws/machine/project/tree"
