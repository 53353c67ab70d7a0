/* SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"

#include "collect_ask.h"
#include "collect_child.h"
#include "collect_said.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define LINE_MAX_BYTES PT_JSON_MAX
#define READ_SIZE      (256u << 10)
#define MAX_CRASHES    1000
#define MAX_DOUBTFUL   2 /* then it is not the files that crash it */

struct pt_collect {
    struct pt_loop *loop;
    struct pt_collect_spec spec;
    struct pt_collect_callbacks cb;
    void *arg;
    bool remote;
    const char *pythons[5];
    size_t python;
    struct pt_collect_child child; /* not with a collector on a host */
    int fd;                        /* lines come here */
    struct pt_buf in;
    char *importing;
    bool finished;          /* `final` or `fail` came */
    bool controls, over;    /* it is the plugins' controller; and was, to the end */
    struct pt_ask ask;      /* not with a collector on a host */
    struct pt_said said;    /* by all children */
    char **skip;            /* files that crashed it */
    size_t nskip, doubtful; /* how many of them had been imported well before */
    bool imported_before;   /* `importing` was, by an earlier child */
    bool busy, doomed;
    /* Of one on a host: it has ended, so (heap, or NULL); no more of its lines come, and that is to be told.
     */
    bool exited, waits;
    uint32_t status;
    char *words;
};

static void on_lines(void *arg, int fd, short revents);
static void on_exit_of_child(void *arg, int fd, short revents);

/* --- orders --- */

static void put_words(struct pt_json_out *o, const char *key, char *const *words, size_t n)
{
    pt_json_open_array(o, key);
    for (size_t i = 0; i < n; i++)
        pt_json_put_str(o, NULL, words[i]);
    pt_json_close(o);
}

static int make_orders(const struct pt_collect *c, int out_fd, int ask_fd, struct pt_buf *out)
{
    const struct pt_options *opts = c->spec.opts;
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    put_words(&o, "paths", opts->paths.item, opts->paths.n);
    put_words(&o, "pytest_args", opts->pytest_args.item, opts->pytest_args.n);
    pt_json_put_str(&o, "k", opts->keyword);
    pt_json_put_str(&o, "m", opts->markers);
    pt_json_put_int(&o, "maxfail", opts->maxfail);
    pt_json_put_int(&o, "verbosity", (int64_t)opts->verbose - (int64_t)opts->quiet);
    pt_json_put_str(&o, "stream", opts->stream_collection ? "always" : "auto");
    pt_json_put_bool(&o, "strict", opts->strict_collection);
    pt_json_put_bool(&o, "want_junit", opts->junitxml != NULL);
    pt_json_put_str(&o, "project", c->spec.project);
    pt_json_put_int(&o, "out_fd", out_fd);
    if (ask_fd >= 0)
        pt_json_put_int(&o, "ask_fd", ask_fd);
    put_words(&o, "skip_files", c->skip, c->nskip);
    if (opts->last_failed || opts->failed_first) {
        pt_json_put_bool(&o, "last_failed", opts->last_failed);
        pt_json_put_bool(&o, "failed_first", opts->failed_first);
        pt_json_put(&o, "failed", c->spec.failed);
    }
    pt_json_close(&o);
    int rc = pt_json_out_end(&o);
    *out = o.buf;
    return rc;
}

char *pt_collect_again(const struct pt_collect *c, size_t *n)
{
    struct pt_buf b = {0};
    *n = 0;
    if (make_orders(c, -1, -1, &b) < 0) {
        pt_buf_fini(&b);
        return NULL;
    }
    *n = b.len;
    pt_buf_append(&b, "", 1);
    return (char *)b.data;
}

/* --- the child --- */

static int orders_fd(const struct pt_collect *c, int out_fd, int ask_fd)
{
    struct pt_buf b = {0};
    int fd = memfd_create("orders", MFD_CLOEXEC);
    if (fd >= 0 && (make_orders(c, out_fd, ask_fd, &b) < 0 || write(fd, b.data, b.len) != (ssize_t)b.len ||
                    write(fd, "\n", 1) != 1 || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        fd = -1;
    }
    pt_buf_fini(&b);
    return fd;
}

static int watch_child(struct pt_collect *c)
{
    if (c->child.pidfd >= 0 && pt_loop_watch(c->loop, c->child.pidfd, POLLIN, on_exit_of_child, c) < 0)
        return -1;
    return pt_loop_watch(c->loop, c->fd, POLLIN, on_lines, c);
}

static int start(struct pt_collect *c, struct pt_err *err)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return pt_err_set(err, "collecting: %s", strerror(errno));
    pt_auto_fd int out = pipes[1];
    pt_auto_fd int in = pipes[0];
    pt_auto_fd int ask = pt_ask_open(&c->ask, err);
    if (ask < 0)
        return -1;
    pt_auto_fd int orders = orders_fd(c, out, ask);
    if (orders < 0 || fcntl(in, F_SETFL, O_NONBLOCK) < 0)
        return pt_err_set(err, "collecting: %s", strerror(errno));
    const struct pt_collect_child_spec spec = {.python = c->pythons[c->python],
                                               .package = c->spec.package,
                                               .hash_seed = c->spec.hash_seed,
                                               .orders = orders,
                                               .out = out,
                                               .ask = ask};
    if (pt_collect_child_start(&c->child, &spec, err) < 0)
        return -1;
    c->fd = pt_steal_fd(&in);
    return watch_child(c) < 0 ? pt_err_set(err, "collecting: out of memory") : 0;
}

static void hang_up(struct pt_collect *c)
{
    if (c->fd >= 0) {
        pt_loop_unwatch(c->loop, c->fd);
        close(c->fd);
    }
    if (c->child.pidfd >= 0)
        pt_loop_unwatch(c->loop, c->child.pidfd);
    pt_collect_child_unwatch(&c->child);
    c->fd = -1;
    pt_ask_close(&c->ask);
}

/* --- lines --- */

static int add_string(char ***list, size_t *n, const char *s)
{
    char *copy = strdup(s);
    char **grown = copy ? realloc(*list, (*n + 1) * sizeof(*grown)) : NULL;
    if (!grown) {
        free(copy);
        return -1;
    }
    *list = grown;
    grown[(*n)++] = copy;
    return 0;
}

/* What a line is known by: a file by its path, a report by its node, all else by its words. */
static char *key_of(const char *what, const struct pt_json *json, const char *text, size_t n)
{
    char *key = NULL;
    const char *name = strcmp(what, "file") == 0     ? pt_json_text(pt_json_get(json, "path"))
                       : strcmp(what, "report") == 0 ? pt_json_text(pt_json_get(json, "nodeid"))
                                                     : NULL;
    int rc = strcmp(what, "session") == 0 ? asprintf(&key, "session")
             : name                       ? asprintf(&key, "%s %s", what, name)
                                          : asprintf(&key, "%s %.*s", what, (int)n, text);
    return rc < 0 ? NULL : key;
}

static int on_importing(struct pt_collect *c, const char *path)
{
    char *key = NULL;
    free(c->importing);
    c->importing = strdup(path ? path : "");
    int before = asprintf(&key, "importing %s", path ? path : "") < 0 ? -1 : pt_said_now(&c->said, key);
    c->imported_before = before == 1;
    return c->importing && before >= 0 ? 0 : -1;
}

/* What a controller says is never said again by another: it answers what is asked. */
static bool is_answer(const char *what)
{
    return strcmp(what, "node") == 0 || strcmp(what, "text") == 0 || strcmp(what, "ended") == 0;
}

static int tell(struct pt_collect *c, const char *what, const struct pt_json *json, const char *text,
                size_t n)
{
    if (strcmp(what, "importing") == 0)
        return on_importing(c, pt_json_text(pt_json_get(json, "path")));
    if (strcmp(what, "final") == 0 || strcmp(what, "fail") == 0) {
        c->finished = true;
    } else if (is_answer(what)) {
        c->over = strcmp(what, "ended") == 0;
    } else {
        const char *path = strcmp(what, "file") == 0 ? pt_json_text(pt_json_get(json, "path")) : NULL;
        if (path && c->importing && strcmp(path, c->importing) == 0) { /* it survived that */
            free(c->importing);
            c->importing = NULL;
        }
        if (strcmp(what, "session") == 0)
            c->controls = !c->remote && pt_json_kind(pt_json_get(json, "nodes")) == PT_JSON_BOOL;
        int before = pt_said_now(&c->said, key_of(what, json, text, n));
        if (before != 0)
            return before > 0 ? 0 : -1;
    }
    c->cb.line(c->arg, what, json);
    return 0;
}

static int on_line(struct pt_collect *c, const char *text, size_t n, struct pt_err *err)
{
    struct pt_json *json = pt_json_parse(text, n, err);
    if (!json)
        return -1;
    const char *what = pt_json_text(pt_json_get(json, "t"));
    int rc = 0;
    if (!what)
        rc = pt_err_set(err, "a line without its kind");
    else if ((!c->finished || (c->controls && !c->over && is_answer(what))) &&
             tell(c, what, json, text, n) < 0)
        rc = pt_err_set(err, "out of memory");
    pt_json_destroy(json);
    return rc;
}

static int take_lines(struct pt_collect *c, struct pt_err *err)
{
    size_t used = 0;
    char *end;
    while (!c->doomed && used < c->in.len && (end = memchr(c->in.data + used, '\n', c->in.len - used))) {
        const char *text = (const char *)c->in.data + used;
        used += (size_t)(end - text) + 1;
        if (end != text && on_line(c, text, (size_t)(end - text), err) < 0)
            return -1;
    }
    pt_buf_consume(&c->in, used);
    return c->in.len > LINE_MAX_BYTES ? pt_err_set(err, "a line without end") : 0;
}

/* --- the end of a child --- */

static char *last_output(const struct pt_collect *c)
{
    if (c->remote)
        return c->words ? strdup(c->words) : NULL;
    return pt_collect_child_said(&c->child);
}

static void end(struct pt_collect *c, const struct pt_err *err)
{
    c->cb.ended(c->arg, err);
}

static bool try_again(struct pt_collect *c, struct pt_err *err)
{
    pt_buf_clear(&c->in);
    return start(c, err) == 0;
}

/* Which Python has pytest? The first of the list that does not say PT_NO_PYTEST. */
static void next_python(struct pt_collect *c, struct pt_err *err)
{
    if (c->pythons[++c->python] && try_again(c, err))
        return;
    if (!err->msg[0]) {
        pt_err_set_kind(err, PT_ERR_USAGE, "no Python with pytest here (tried %s)", c->pythons[0]);
        pt_err_hint(err, "install python3-pytest, name one with --python, or use --collect remote");
    }
    end(c, err);
}

static const char *last_line(char *text)
{
    size_t n = text ? strlen(text) : 0;
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    const char *line = n ? strrchr(text, '\n') : NULL;
    return line ? line + 1 : n ? text : "it said nothing";
}

static void describe(int status, char how[64])
{
    if (WIFSIGNALED(status))
        snprintf(how, 64, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, 64, "ended with status %d", WEXITSTATUS(status));
}

static void give_up(struct pt_collect *c, int status, char *output, struct pt_err *err)
{
    char how[64];
    describe(status, how);
    pt_err_set_kind(err, PT_ERR_USAGE, "the collector %s: %s", how, last_line(output));
    /* while pytest captures, what a C library writes before it exits is lost with the process */
    if (!c->importing)
        pt_err_hint(
            err,
            "a conftest.py or a plugin ends it: 'python3 -m pytest --collect-only -s' shows what it says");
    end(c, err);
}

static void after_crash(struct pt_collect *c, int status, struct pt_err *err)
{
    pt_auto_free char *output = last_output(c);
    c->doubtful += c->imported_before;
    if (!c->importing || c->nskip >= MAX_CRASHES || c->doubtful > MAX_DOUBTFUL) {
        give_up(c, status, output, err);
        return;
    }
    pt_auto_free char *path = c->importing;
    c->importing = NULL;
    if (add_string(&c->skip, &c->nskip, path) < 0)
        abort();
    pt_said_expect_again(&c->said);
    c->cb.crashed(c->arg, path, (uint32_t)status, output ? output : "");
    if (!c->remote && !c->doomed && !try_again(c, err))
        end(c, err);
}

static void controller_died(struct pt_collect *c, int status, struct pt_err *err)
{
    char how[64];
    pt_auto_free char *output = last_output(c);
    describe(status, how);
    pt_err_set_kind(err, PT_ERR_INTERNAL, "the controller of the plugins here %s: %s", how,
                    last_line(output));
    end(c, err);
}

static void on_end(struct pt_collect *c)
{
    struct pt_err err = PT_ERR_INIT;
    hang_up(c);
    c->waits = c->remote && !c->finished && !c->exited;
    if (c->waits)
        return;
    int status = c->remote ? (int)c->status : pt_collect_child_reap(&c->child);
    if (c->finished && c->controls && !c->over)
        controller_died(c, status, &err);
    else if (c->finished)
        end(c, &err);
    else if (!c->remote && !c->importing && WIFEXITED(status) && WEXITSTATUS(status) == PT_NO_PYTEST)
        next_python(c, &err);
    else
        after_crash(c, status, &err);
}

static void stop_child(struct pt_collect *c)
{
    hang_up(c);
    pt_collect_child_fini(&c->child);
}

static void release(struct pt_collect *c)
{
    stop_child(c);
    for (size_t i = 0; i < c->nskip; i++)
        free(c->skip[i]);
    pt_said_fini(&c->said);
    pt_ask_fini(&c->ask);
    free(c->skip);
    free(c->importing);
    free(c->words);
    pt_buf_fini(&c->in);
    free(c);
}

/* 1 when there may be more, 0 when there is nothing now, -1 when no more comes. After garbage nothing is left
 * to read from. */
static int read_lines(struct pt_collect *c)
{
    struct pt_err err = PT_ERR_INIT;
    void *room = pt_buf_reserve(&c->in, READ_SIZE);
    ssize_t n = room ? read(c->fd, room, READ_SIZE) : -1;
    if (n <= 0)
        return room && n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    c->in.len += (size_t)n;
    if (take_lines(c, &err) == 0)
        return 1;
    stop_child(c);
    pt_err_wrap(&err, "the collector wrote something strange");
    end(c, &err);
    return 0;
}

static void leave(struct pt_collect *c)
{
    c->busy = false;
    if (c->doomed)
        release(c);
}

static void on_lines(void *arg, int fd, short revents)
{
    (void)revents;
    struct pt_collect *c = arg;
    c->busy = true;
    if (read_lines(c) < 0) {
        if (c->child.pidfd < 0) {
            on_end(c);
        } else { /* the end of the process follows */
            pt_loop_unwatch(c->loop, fd);
            close(fd);
            c->fd = -1;
        }
    }
    leave(c);
}

/* Whoever still holds the child's end of the pipe is not waited for. */
static void on_exit_of_child(void *arg, int fd, short revents)
{
    (void)fd;
    (void)revents;
    struct pt_collect *c = arg;
    c->busy = true;
    while (c->fd >= 0 && !c->doomed && read_lines(c) > 0)
        ;
    if (c->child.pid > 0 && !c->doomed)
        on_end(c);
    leave(c);
}

/* --- making --- */

static struct pt_collect *make(struct pt_loop *loop, const struct pt_collect_spec *spec,
                               const struct pt_collect_callbacks *cb, void *arg, struct pt_err *err)
{
    struct pt_collect *c = calloc(1, sizeof(*c));
    if (!c) {
        pt_err_set(err, "collecting: out of memory");
        return NULL;
    }
    *c = (struct pt_collect){
        .loop = loop, .spec = *spec, .cb = *cb, .arg = arg, .child = PT_COLLECT_CHILD_INIT, .fd = -1};
    pt_ask_init(&c->ask, loop);
    return c;
}

struct pt_collect *pt_collect_create(struct pt_loop *loop, const struct pt_collect_spec *spec,
                                     const struct pt_collect_callbacks *cb, void *arg, struct pt_err *err)
{
    struct pt_collect *c = make(loop, spec, cb, arg, err);
    if (!c)
        return NULL;
    size_t n = 0;
    if (spec->opts->python)
        c->pythons[n++] = spec->opts->python;
    c->pythons[n++] = "python3";
    c->pythons[n++] = "python";
    c->pythons[n++] = "/usr/bin/python3";
    if (start(c, err) < 0) {
        release(c);
        return NULL;
    }
    return c;
}

struct pt_collect *pt_collect_create_remote(struct pt_loop *loop, const struct pt_collect_spec *spec, int fd,
                                            const struct pt_collect_callbacks *cb, void *arg,
                                            struct pt_err *err)
{
    struct pt_collect *c = make(loop, spec, cb, arg, err);
    if (!c) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    c->remote = true;
    if (fd >= 0)
        pt_collect_attach(c, fd);
    return c;
}

static void forget_exit(struct pt_collect *c)
{
    free(c->words);
    c->words = NULL;
    c->exited = c->waits = false;
}

void pt_collect_exited(struct pt_collect *c, uint32_t status, const char *output)
{
    bool waits = c->waits;
    forget_exit(c);
    c->exited = true;
    c->status = status;
    c->words = output ? strdup(output) : NULL;
    if (!waits)
        return;
    c->busy = true;
    on_end(c);
    leave(c);
}

void pt_collect_lost(struct pt_collect *c)
{
    if (c->finished)
        return;
    hang_up(c);
    forget_exit(c);
    free(c->importing);
    c->importing = NULL;
    pt_said_expect_again(&c->said);
}

void pt_collect_attach(struct pt_collect *c, int fd)
{
    hang_up(c); /* a host that has two */
    forget_exit(c);
    pt_buf_clear(&c->in);
    c->fd = fd;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || pt_loop_watch(c->loop, fd, POLLIN, on_lines, c) < 0)
        abort();
}

int pt_collect_ask(struct pt_collect *c, const void *line, size_t n)
{
    int rc = pt_ask_put(&c->ask, line, n);
    if (c->finished)
        pt_ask_forget(&c->ask);
    return rc;
}

void pt_collect_destroy(struct pt_collect *c)
{
    if (!c)
        return;
    c->doomed = true;
    if (!c->busy)
        release(c);
}
