/* SPDX-License-Identifier: Apache-2.0 */
#include "logs.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/message.h"
#include "common/quote.h"
#include "interned.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What is known of a node's output. */
struct node {
    char *logged; /* the test whose heading stands last in the file; "" none's */
    char *shown;  /* the test that `rest` is of; NULL: none's */
    struct pt_buf rest;
    bool begun, in_line; /* the file is; its last byte is not the end of a line */
};

/* A rank of a group, numbered from PT_LOGS_NODES. */
struct member {
    struct node node;
    char *host, *file;
    uint32_t group, rank;
};
#define MAX_MEMBERS (64u << 10)

struct pt_logs {
    char *top, *run; /* STATE/logs, and the folder's name in it */
    char *folder;    /* NULL until it is made */
    int fd;          /* of it */
    bool failed;     /* it cannot be written */
    struct node *nodes;
    size_t n;
    struct pt_interned names; /* of members, in their order */
    struct member *members;
    uint32_t nmembers;
};

#define SAFE "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

static bool name_ok(const char *s)
{
    return *s && *s != '.' && strlen(s) < 100 && s[strspn(s, SAFE)] == '\0';
}

struct pt_logs *pt_logs_create(const char *state_dir, const char *run, struct pt_err *err)
{
    struct pt_logs *l = calloc(1, sizeof(*l));
    if (!l || !name_ok(run) || asprintf(&l->top, "%s/logs", state_dir) < 0 || !(l->run = strdup(run)))
        goto error;
    l->fd = -1;
    return l;
error:
    pt_err_set(err, "logs of run %s: out of memory, or no name for a folder", run);
    if (l)
        free(l->top);
    free(l);
    return NULL;
}

static void node_fini(struct node *node)
{
    free(node->logged);
    free(node->shown);
    pt_buf_fini(&node->rest);
}

void pt_logs_destroy(struct pt_logs *l)
{
    if (!l)
        return;
    int saved = errno;
    for (size_t i = 0; i < l->n; i++)
        node_fini(&l->nodes[i]);
    for (uint32_t i = 0; i < l->nmembers; i++) {
        node_fini(&l->members[i].node);
        free(l->members[i].host);
        free(l->members[i].file);
    }
    if (l->fd >= 0)
        close(l->fd);
    pt_interned_fini(&l->names);
    free(l->members);
    free(l->nodes);
    free(l->folder);
    free(l->top);
    free(l->run);
    free(l);
    errno = saved;
}

const char *pt_logs_folder(const struct pt_logs *l)
{
    return l ? l->folder : NULL;
}

/* --- nodes --- */

static struct member *get_member(const struct pt_logs *l, uint32_t node)
{
    bool is = node >= PT_LOGS_NODES && node - PT_LOGS_NODES < l->nmembers;
    return is ? &l->members[node - PT_LOGS_NODES] : NULL;
}

static int add_member(struct pt_logs *l, const char *host, uint32_t group, uint32_t rank)
{
    struct member *members =
        l->nmembers < MAX_MEMBERS ? realloc(l->members, (l->nmembers + 1) * sizeof(*members)) : NULL;
    if (!members)
        return -1;
    l->members = members;
    struct member *m = &members[l->nmembers];
    *m = (struct member){.host = strdup(host), .group = group, .rank = rank};
    if (!m->host || asprintf(&m->file, "%.100s-group%u-rank%u.log", host, group, rank) < 0) {
        free(m->host);
        return -1;
    }
    for (char *p = m->file; *(p += strspn(p, SAFE)); p++)
        *p = '_';
    m->file[0] = m->file[0] == '.' ? '_' : m->file[0];
    l->nmembers++;
    return 0;
}

uint32_t pt_logs_member(struct pt_logs *l, const char *host, uint32_t group, uint32_t rank)
{
    pt_auto_free char *name = NULL;
    if (asprintf(&name, "%u %u %s", group, rank, host) < 0) {
        name = NULL;
        return PT_NONE;
    }
    uint32_t i = pt_interned_find(&l->names, name);
    if (i == PT_NONE && add_member(l, host, group, rank) == 0 &&
        (i = pt_interned_add(&l->names, name)) == PT_NONE) {
        struct member *m = &l->members[--l->nmembers];
        free(m->host);
        free(m->file);
    }
    return i == PT_NONE ? PT_NONE : PT_LOGS_NODES + i;
}

void pt_logs_who(const struct pt_logs *l, uint32_t node, char *out, size_t size)
{
    const struct member *m = get_member(l, node);
    if (m)
        snprintf(out, size, "group %u rank %u", m->group, m->rank);
    else
        snprintf(out, size, "gw%u", node);
}

static struct node *get_node(struct pt_logs *l, uint32_t node)
{
    struct member *m = get_member(l, node);
    if (m || node >= PT_LOGS_NODES)
        return m ? &m->node : NULL;
    if (node >= l->n) {
        struct node *nodes = realloc(l->nodes, (node + 1) * sizeof(*nodes));
        if (!nodes)
            return NULL;
        memset(nodes + l->n, 0, (node + 1 - l->n) * sizeof(*nodes));
        l->nodes = nodes;
        l->n = node + 1;
    }
    return &l->nodes[node];
}

/* --- folders --- */

/* One run's folder: only plain files are in it. Nothing is followed. */
static void drop_folder(int top, const char *name)
{
    int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(fd, e->d_name, 0);
    closedir(dir);
    unlinkat(top, name, AT_REMOVEDIR);
}

static int is_run(const struct dirent *e)
{
    return name_ok(e->d_name);
}

/* Names of runs begin with the time, so the oldest come first. */
static void drop_old(const char *top)
{
    struct dirent **list = NULL;
    int n = scandir(top, &list, is_run, alphasort);
    pt_auto_fd int fd = open(top, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (int i = 0; i < n; i++) {
        if (fd >= 0 && i < n - PT_LOGS_RUNS)
            drop_folder(fd, list[i]->d_name);
        free(list[i]);
    }
    free(list);
}

static int make_folder(struct pt_logs *l, struct pt_err *err)
{
    pt_auto_free char *path = NULL;
    if (l->folder)
        return 0;
    if (asprintf(&path, "%s/%s", l->top, l->run) < 0)
        return pt_err_set(err, "logs: out of memory");
    if ((mkdir(l->top, 0700) < 0 && errno != EEXIST) || (mkdir(path, 0700) < 0 && errno != EEXIST))
        return pt_err_set_kind(err, PT_ERR_INFRA, "logs %s: %s", path, strerror(errno));
    l->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (l->fd < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "logs %s: %s", path, strerror(errno));
    l->folder = pt_steal_ptr(&path);
    drop_old(l->top);
    return 0;
}

/* --- files --- */

static void put_heading(struct pt_buf *b, const char *text)
{
    pt_buf_append(b, "=== ", 4);
    pt_quote_print(b, text, strlen(text), 0);
    pt_buf_append(b, "\n", 1);
}

/* What stands before these bytes: whose they are, when that changes. */
static int put_headings(struct node *at, const char *who, const char *host, const char *nodeid,
                        struct pt_buf *b)
{
    pt_auto_free char *first = NULL;
    const char *test = nodeid ? nodeid : "";
    bool same = at->logged && strcmp(at->logged, test) == 0;
    if (!at->begun) {
        if (asprintf(&first, "%s on %s", who, host) < 0) {
            first = NULL;
            return -1;
        }
        put_heading(b, first);
    }
    if (same)
        return 0;
    char *copy = strdup(test);
    if (!copy)
        return -1;
    if (at->in_line)
        pt_buf_append(b, "\n", 1);
    if (at->logged || *test)
        put_heading(b, *test ? test : "(between tests)");
    free(at->logged);
    at->logged = copy;
    return 0;
}

static int write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t rc = write(fd, p, n);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0)
            return -1;
        p += rc;
        n -= (size_t)rc;
    }
    return 0;
}

int pt_logs_add(struct pt_logs *l, uint32_t node, const char *host, const char *nodeid, const void *bytes,
                size_t n, struct pt_err *err)
{
    char who[PT_LOGS_WHO];
    char own[PT_LOGS_WHO + 4];
    struct pt_buf head = {0};
    struct node *at = get_node(l, node);
    const struct member *m = get_member(l, node);
    if (n == 0 || l->failed)
        return 0;
    pt_logs_who(l, node, who, sizeof(who));
    if (!at || put_headings(at, who, host, nodeid, &head) < 0 || head.bad) {
        if (at)
            free(pt_steal_ptr(&at->logged)); /* it will be told again */
        pt_buf_fini(&head);
        return pt_err_set(err, "logs: out of memory");
    }
    snprintf(own, sizeof(own), "%s.log", who);
    const char *name = m ? m->file : own;
    pt_auto_fd int fd =
        make_folder(l, err) < 0
            ? -2
            : openat(l->fd, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    int rc = fd < 0 || write_all(fd, head.data, head.len) < 0 || write_all(fd, bytes, n) < 0 ? -1 : 0;
    if (rc < 0 && fd != -2)
        pt_err_set_kind(err, PT_ERR_INFRA, "logs %s/%s: %s", l->folder, name, strerror(errno));
    pt_buf_fini(&head);
    l->failed = rc < 0;
    at->begun = true;
    at->in_line = ((const char *)bytes)[n - 1] != '\n';
    return rc;
}

/* --- lines --- */

static void show(uint32_t node, const struct node *at, const char *line, size_t n, pt_logs_line_fn *fn,
                 void *arg)
{
    struct pt_buf safe = {0};
    if (n && line[n - 1] == '\r')
        n--;
    pt_quote_print(&safe, line, n, 1);
    if (!safe.bad)
        fn(arg, node, at->shown, (const char *)safe.data, safe.len);
    pt_buf_fini(&safe);
}

/* Length of the piece of s[0..n), which has no line end, that is shown by itself: never part of a character.
 */
static size_t piece(const char *s, size_t n)
{
    size_t len = n < PT_LOGS_LINE ? n : PT_LOGS_LINE;
    for (size_t back = 1; n > len && back < 4; back++)
        if (((unsigned char)s[len - back] & 0xc0) != 0x80)
            return (unsigned char)s[len - back] >= 0xc0 ? len - back : len;
    return len;
}

/* Show what is whole; the rest stays. `all`: nothing stays. */
static void show_rest(uint32_t node, struct node *at, bool all, pt_logs_line_fn *fn, void *arg)
{
    size_t done = 0;
    while (done < at->rest.len) {
        const char *s = (const char *)at->rest.data + done;
        size_t left = at->rest.len - done;
        const char *end = memchr(s, '\n', left < PT_LOGS_LINE ? left : PT_LOGS_LINE);
        if (!end && left <= PT_LOGS_LINE && !all)
            break;
        size_t n = end ? (size_t)(end - s) : piece(s, left);
        show(node, at, s, n, fn, arg);
        done += n + (end != NULL);
    }
    pt_buf_consume(&at->rest, done);
}

void pt_logs_flush(struct pt_logs *l, uint32_t node, pt_logs_line_fn *fn, void *arg)
{
    struct member *m = get_member(l, node);
    struct node *at = m ? &m->node : node < l->n ? &l->nodes[node] : NULL;
    if (at && at->rest.len)
        show_rest(node, at, true, fn, arg);
}

void pt_logs_flush_members(struct pt_logs *l, const char *host, pt_logs_line_fn *fn, void *arg)
{
    for (uint32_t i = 0; i < l->nmembers; i++)
        if (strcmp(l->members[i].host, host) == 0)
            pt_logs_flush(l, PT_LOGS_NODES + i, fn, arg);
}

int pt_logs_lines(struct pt_logs *l, uint32_t node, const char *nodeid, const void *bytes, size_t n,
                  pt_logs_line_fn *fn, void *arg)
{
    struct node *at = get_node(l, node);
    if (!at)
        return -1;
    bool same = nodeid ? at->shown && strcmp(nodeid, at->shown) == 0 : !at->shown;
    if (!same) {
        char *copy = nodeid ? strdup(nodeid) : NULL;
        if (nodeid && !copy)
            return -1;
        pt_logs_flush(l, node, fn, arg);
        free(at->shown);
        at->shown = copy;
    }
    pt_buf_append(&at->rest, bytes, n);
    if (at->rest.bad) {
        pt_buf_fini(&at->rest);
        return -1;
    }
    show_rest(node, at, false, fn, arg);
    return 0;
}
