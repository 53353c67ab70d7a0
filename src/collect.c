/* SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
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
#define OUTPUT_KEEP    (64u << 10)
#define NO_PYTEST      97 /* exit status of BOOT when this Python has no pytest */
#define MAX_CRASHES    1000

/* argv: folder of the package, number of the descriptor with the orders. */
static const char BOOT[] = "import sys, importlib.util as u\n"
                           "u.find_spec('pytest') or sys.exit(97)\n"
                           "sys.path.append(sys.argv[1])\n"
                           "from ptremote import collector\n"
                           "collector.main()\n";

struct pt_collect {
    struct pt_loop *loop;
    struct pt_collect_spec spec;
    struct pt_collect_callbacks cb;
    void *arg;
    bool remote;
    const char *pythons[5];
    size_t python;
    pid_t pid;
    int fd;     /* lines come here */
    int output; /* memfd with stdout and stderr of the child */
    struct pt_buf in;
    char *importing;
    bool finished; /* `final` or `fail` came */
    char **seen;   /* paths of `file` lines of this and earlier children, sorted only by time */
    size_t nseen, seen_before;
    char **skip; /* files that crashed it */
    size_t nskip;
    bool busy, doomed;
};

static void on_lines(void *arg, int fd, short revents);

/* --- orders --- */

static void put_words(struct pt_json_out *o, const char *key, char *const *words, size_t n)
{
    pt_json_open_array(o, key);
    for (size_t i = 0; i < n; i++)
        pt_json_put_str(o, NULL, words[i]);
    pt_json_close(o);
}

static int make_orders(const struct pt_collect *c, int out_fd, struct pt_buf *out)
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
    put_words(&o, "skip_files", c->skip, c->nskip);
    pt_json_close(&o);
    int rc = pt_json_out_end(&o);
    *out = o.buf;
    return rc;
}

char *pt_collect_again(const struct pt_collect *c, size_t *n)
{
    struct pt_buf b = {0};
    *n = 0;
    if (make_orders(c, -1, &b) < 0) {
        pt_buf_fini(&b);
        return NULL;
    }
    *n = b.len;
    pt_buf_append(&b, "", 1);
    return (char *)b.data;
}

/* --- the child --- */

static void child(const struct pt_collect *c, int orders, int out, int output)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", orders);
    char *argv[] = {(char *)c->pythons[c->python], (char *)"-c", (char *)BOOT,
                    (char *)c->spec.package,       number,       NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(output, 1);
    dup2(output, 2);
    fcntl(orders, F_SETFD, 0);
    fcntl(out, F_SETFD, 0);
    setenv("PYTHONHASHSEED", c->spec.hash_seed, 1);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? NO_PYTEST : 126);
}

static int orders_fd(const struct pt_collect *c, int out_fd)
{
    struct pt_buf b = {0};
    int fd = memfd_create("orders", MFD_CLOEXEC);
    if (fd >= 0 && (make_orders(c, out_fd, &b) < 0 || write(fd, b.data, b.len) != (ssize_t)b.len ||
                    write(fd, "\n", 1) != 1 || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        fd = -1;
    }
    pt_buf_fini(&b);
    return fd;
}

static int start(struct pt_collect *c, struct pt_err *err)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return pt_err_set(err, "collecting: %s", strerror(errno));
    pt_auto_fd int out = pipes[1];
    pt_auto_fd int in = pipes[0];
    pt_auto_fd int orders = orders_fd(c, out);
    pt_auto_fd int output = memfd_create("output", MFD_CLOEXEC);
    if (orders < 0 || output < 0 || fcntl(output, F_SETFL, O_APPEND) < 0 ||
        fcntl(in, F_SETFL, O_NONBLOCK) < 0)
        return pt_err_set(err, "collecting: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        child(c, orders, out, output);
    if (pid < 0)
        return pt_err_set(err, "collecting: %s", strerror(errno));
    setpgid(pid, pid);
    if (c->output >= 0)
        close(c->output);
    c->pid = pid;
    c->fd = pt_steal_fd(&in);
    c->output = pt_steal_fd(&output);
    if (pt_loop_watch(c->loop, c->fd, POLLIN, on_lines, c) < 0)
        return pt_err_set(err, "collecting: out of memory");
    return 0;
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

/* Files that an earlier child told of come again after a restart. */
static bool told_before(const struct pt_collect *c, const char *path)
{
    for (size_t i = 0; i < c->seen_before; i++)
        if (strcmp(c->seen[i], path) == 0)
            return true;
    return false;
}

static int on_line(struct pt_collect *c, const char *text, size_t n, struct pt_err *err)
{
    struct pt_json *json = pt_json_parse(text, n, err);
    const char *what = pt_json_text(pt_json_get(json, "t"));
    const char *path = pt_json_text(pt_json_get(json, "path"));
    if (!json || !what) {
        pt_json_destroy(json);
        return json ? pt_err_set(err, "a line without its kind") : -1;
    }
    if (strcmp(what, "importing") == 0) {
        free(c->importing);
        c->importing = strdup(path ? path : "");
    } else if (strcmp(what, "file") == 0 && path && told_before(c, path)) {
        pt_debug("%s was told already", path);
    } else if (c->nskip == 0 || (strcmp(what, "session") != 0 && strcmp(what, "warning") != 0)) {
        if (strcmp(what, "file") == 0 && path && add_string(&c->seen, &c->nseen, path) < 0)
            abort();
        if (strcmp(what, "final") == 0 || strcmp(what, "fail") == 0)
            c->finished = true;
        c->cb.line(c->arg, what, json);
    }
    pt_json_destroy(json);
    return 0;
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
    off_t size = c->output >= 0 ? lseek(c->output, 0, SEEK_END) : 0;
    off_t from = size > (off_t)OUTPUT_KEEP ? size - (off_t)OUTPUT_KEEP : 0;
    char *text = calloc(1, (size_t)(size - from) + 1);
    if (text && size > from && pread(c->output, text, (size_t)(size - from), from) < 0)
        text[0] = '\0';
    return text;
}

static void end(struct pt_collect *c, const struct pt_err *err)
{
    c->cb.ended(c->arg, err);
}

static bool try_again(struct pt_collect *c, struct pt_err *err)
{
    if (c->fd >= 0) {
        pt_loop_unwatch(c->loop, c->fd);
        close(c->fd);
        c->fd = -1;
    }
    pt_buf_clear(&c->in);
    return start(c, err) == 0;
}

/* Which Python has pytest? The first of the list that does not say NO_PYTEST. */
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

static void after_crash(struct pt_collect *c, uint32_t status, struct pt_err *err)
{
    pt_auto_free char *output = last_output(c);
    if (!c->importing || c->nskip >= MAX_CRASHES) {
        const char *line = output ? strrchr(output, '\n') : NULL;
        while (line && line > output && !line[1]) {
            output[line - output] = '\0';
            line = strrchr(output, '\n');
        }
        pt_err_set_kind(err, PT_ERR_USAGE, "the collector ended (status %u): %s", status,
                        line     ? line + 1
                        : output ? output
                                 : "");
        end(c, err);
        return;
    }
    pt_auto_free char *path = c->importing;
    c->importing = NULL;
    if (add_string(&c->skip, &c->nskip, path) < 0)
        abort();
    c->seen_before = c->nseen;
    c->cb.crashed(c->arg, path, status, output ? output : "");
    if (!c->remote && !c->doomed && !try_again(c, err))
        end(c, err);
}

static void on_end(struct pt_collect *c)
{
    struct pt_err err = PT_ERR_INIT;
    int status = 0;
    pt_loop_unwatch(c->loop, c->fd);
    close(c->fd);
    c->fd = -1;
    if (c->pid > 0) {
        while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
            ;
        c->pid = 0;
    }
    if (c->finished)
        end(c, &err);
    else if (!c->remote && WIFEXITED(status) && WEXITSTATUS(status) == NO_PYTEST)
        next_python(c, &err);
    else
        after_crash(c, (uint32_t)status, &err);
}

static void release(struct pt_collect *c)
{
    if (c->fd >= 0) {
        pt_loop_unwatch(c->loop, c->fd);
        close(c->fd);
    }
    if (c->pid > 0) {
        kill(-c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (c->output >= 0)
        close(c->output);
    for (size_t i = 0; i < c->nseen; i++)
        free(c->seen[i]);
    for (size_t i = 0; i < c->nskip; i++)
        free(c->skip[i]);
    free(c->seen);
    free(c->skip);
    free(c->importing);
    pt_buf_fini(&c->in);
    free(c);
}

static void on_lines(void *arg, int fd, short revents)
{
    (void)revents;
    struct pt_collect *c = arg;
    struct pt_err err = PT_ERR_INIT;
    c->busy = true;
    void *room = pt_buf_reserve(&c->in, 256u << 10);
    ssize_t n = room ? read(fd, room, 256u << 10) : -1;
    if (n > 0) {
        c->in.len += (size_t)n;
        if (take_lines(c, &err) < 0) {
            pt_err_wrap(&err, "the collector wrote something strange");
            end(c, &err);
        }
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        on_end(c);
    }
    c->busy = false;
    if (c->doomed)
        release(c);
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
    *c = (struct pt_collect){.loop = loop, .spec = *spec, .cb = *cb, .arg = arg, .fd = -1, .output = -1};
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

void pt_collect_attach(struct pt_collect *c, int fd)
{
    pt_buf_clear(&c->in);
    c->fd = fd;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || pt_loop_watch(c->loop, fd, POLLIN, on_lines, c) < 0)
        abort();
}

void pt_collect_destroy(struct pt_collect *c)
{
    if (!c)
        return;
    c->doomed = true;
    if (!c->busy)
        release(c);
}
