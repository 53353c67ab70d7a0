/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/ignore.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/glob.h"
#include "sync/manifest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_SIZE  (1u << 20)
#define MAX_RULES 10000

/* How a rule is compared: the cheap ways are for what most rules are. */
enum how { NAME_IS, NAME_ENDS, NAME_LIKE, PATH_IS, PATH_LIKE };

struct rule {
    const char *glob;
    size_t len;
    enum how how;
    bool negate, folders;
};

struct pt_ignore {
    char *text; /* the file, cut into globs */
    char *more; /* globs that had to grow */
    struct rule *rules;
    size_t n, cap;
};

static int bad_line(struct pt_err *err, size_t line, const char *what)
{
    return pt_err_set_kind(err, PT_ERR_USAGE, "%s: line %zu: %s", PT_IGNORE_NAME, line, what);
}

/* The length without spaces at the end, but for one after a backslash. */
static size_t trim(const char *s, size_t n)
{
    size_t end = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\' && i + 1 < n)
            i++;
        else if (s[i] == ' ')
            continue;
        end = i + 1;
    }
    return end;
}

/* What keeps a glob from having a meaning, or NULL. *plain: it stands for itself. */
static const char *fault_of(const char *glob, size_t n, bool *plain)
{
    *plain = true;
    if (n == 0)
        return "there is no pattern";
    if (n >= PT_PATH_LIMIT)
        return "the pattern is too long";
    for (size_t i = 0; i < n; i++) {
        if (glob[i] == '\0')
            return "a NUL byte";
        *plain = *plain && !strchr("*?[\\", glob[i]);
        if (glob[i] == '\\' && ++i == n)
            return "a backslash at the end";
        if (glob[i] != '[' || (i && glob[i - 1] == '\\'))
            continue;
        const char *slash = memchr(glob + i, '/', n - i);
        size_t set = pt_glob_set(glob + i, slash ? (size_t)(slash - glob) - i : n - i);
        if (!set)
            return "a '[' without its ']', or an unknown [:class:]";
        i += set - 1;
    }
    return NULL;
}

static int add_rule(struct pt_ignore *g, const struct rule *rule, size_t line, struct pt_err *err)
{
    if (g->n == MAX_RULES)
        return bad_line(err, line, "too many lines");
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 16;
        struct rule *rules = reallocarray(g->rules, cap, sizeof(*rules));
        if (!rules)
            return pt_err_set(err, "out of memory");
        g->rules = rules;
        g->cap = cap;
    }
    g->rules[g->n++] = *rule;
    return 0;
}

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t len = strlen(end);
    return n >= len && memcmp(s + n - len, end, len) == 0;
}

/* One line without its end, which may be written to: one byte after it belongs to it. */
static int take_line(struct pt_ignore *g, char **more, char *s, size_t n, size_t line, struct pt_err *err)
{
    struct rule r = {.negate = false};
    bool plain;
    n = trim(s, n);
    if (n == 0 || *s == '#')
        return 0;
    if (*s == '!') {
        r.negate = true;
        s++, n--;
    }
    if (n && s[n - 1] == '/') {
        r.folders = true;
        n--;
    }
    bool path = memchr(s, '/', n) != NULL;
    if (n && *s == '/')
        s++, n--;
    const char *fault = fault_of(s, n, &plain);
    if (fault)
        return bad_line(err, line, fault);
    if (path && ends_with(s, n, "/**")) { /* all that lies in it, not the folder itself */
        memcpy(*more, s, n);
        memcpy(*more + n, "/*", 3);
        s = *more;
        *more += n + 3;
    } else {
        s[n] = '\0';
    }
    r.glob = s;
    r.len = strlen(s);
    r.how = path ? (plain ? PATH_IS : PATH_LIKE) : plain ? NAME_IS : NAME_LIKE;
    if (r.how == NAME_LIKE && *s == '*' && !strpbrk(s + 1, "*?[\\")) {
        r.how = NAME_ENDS;
        r.glob++;
        r.len--;
    }
    return add_rule(g, &r, line, err);
}

static int parse(struct pt_ignore *g, size_t size, struct pt_err *err)
{
    char *p = g->text, *end = g->text + size, *more = g->more;
    if (size >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        p += 3;
    for (size_t line = 1; p < end; line++) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        size_t n = (size_t)(stop - p);
        if (n && p[n - 1] == '\r')
            n--;
        if (take_line(g, &more, p, n, line, err) < 0)
            return -1;
        p = stop + 1;
    }
    return 0;
}

/* Bytes read, or -1. */
static ssize_t read_text(int fd, char *text, struct pt_err *err)
{
    size_t got = 0;
    while (got <= MAX_SIZE) {
        ssize_t n = read(fd, text + got, MAX_SIZE + 1 - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pt_err_set_kind(err, PT_ERR_USAGE, "cannot read %s: %s", PT_IGNORE_NAME, strerror(errno));
        if (n == 0)
            return (ssize_t)got;
        got += (size_t)n;
    }
    return pt_err_set_kind(err, PT_ERR_USAGE, "%s has more than %u bytes", PT_IGNORE_NAME, MAX_SIZE);
}

int pt_ignore_read(int root, struct pt_ignore **out, struct pt_err *err)
{
    struct stat st;
    *out = NULL;
    pt_auto_fd int fd = openat(root, PT_IGNORE_NAME, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return pt_err_set_kind(err, PT_ERR_USAGE, "cannot read %s: %s", PT_IGNORE_NAME, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s is not a file", PT_IGNORE_NAME);
    struct pt_ignore *g = calloc(1, sizeof(*g));
    if (!g || !(g->text = malloc(MAX_SIZE + 2)) || !(g->more = malloc(2 * MAX_SIZE))) {
        pt_ignore_destroy(g);
        return pt_err_set(err, "out of memory");
    }
    ssize_t n = read_text(fd, g->text, err);
    if (n < 0 || parse(g, (size_t)n, err) < 0) {
        pt_ignore_destroy(g);
        return -1;
    }
    *out = g;
    return 0;
}

void pt_ignore_destroy(struct pt_ignore *g)
{
    if (!g)
        return;
    free(g->text);
    free(g->more);
    free(g->rules);
    free(g);
}

static bool matches(const struct rule *r, const char *path, const char *name)
{
    size_t n;
    switch (r->how) {
    case NAME_IS:
        return strcmp(r->glob, name) == 0;
    case NAME_ENDS:
        n = strlen(name);
        return n >= r->len && memcmp(name + n - r->len, r->glob, r->len) == 0;
    case NAME_LIKE:
        return pt_glob_match(r->glob, name);
    case PATH_IS:
        return strcmp(r->glob, path) == 0;
    case PATH_LIKE:
        return pt_glob_match(r->glob, path);
    }
    return false;
}

bool pt_ignore_has(const struct pt_ignore *g, const char *path, const char *name, bool is_folder)
{
    for (size_t i = g ? g->n : 0; i-- > 0;) {
        const struct rule *r = &g->rules[i];
        if ((is_folder || !r->folders) && matches(r, path, name))
            return !r->negate;
    }
    return false;
}
