/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/stacks.h"

#include "common/auto.h"
#include "common/loop.h"
#include "common/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ASK_MS    1000 /* for the file to grow */
#define SETTLE_MS 50   /* without growth: that was all */
#define WHOLE_MS  200  /* from the first growth on, whatever follows */
#define STEP_MS   10
#ifndef NATIVE_MS
#define NATIVE_MS 3000
#endif
#define RAW_MAX  (1u << 20) /* of what the tool says, as it says it */
#define TEXT_MAX (64u << 10)

struct pt_stacks {
    struct pt_loop *loop;
    pid_t pid;
    int file;
    bool native, deaf;
    pt_stacks_fn *done;
    void *arg;
    uint64_t timer;
    off_t from, size;
    int64_t began, grew, moved; /* asked; first and last growth, 0: none */
    pid_t tool;
    int pipe;
    struct pt_buf raw, text;
};

static void set_timer(struct pt_stacks *stacks, int64_t ms, pt_call_fn *fn)
{
    pt_loop_cancel(stacks->loop, stacks->timer);
    stacks->timer = pt_loop_after(stacks->loop, ms, fn, stacks);
}

static off_t size_of(int fd)
{
    struct stat st = {.st_size = 0};
    return fstat(fd, &st) == 0 ? st.st_size : 0;
}

static bool catches(pid_t pid, int sig)
{
    char path[64], line[256];
    unsigned long long caught = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f) && sscanf(line, "SigCgt: %llx", &caught) != 1)
        continue;
    if (f)
        fclose(f);
    return caught >> (sig - 1) & 1;
}

/* --- native frames --- */

static bool starts(const char *line, size_t n, const char *what)
{
    return n >= strlen(what) && memcmp(line, what, strlen(what)) == 0;
}

/* Only lines that name a thread or a frame; of the interpreter's own frames only the innermost, as the Python
 * stacks have told the rest. */
static void keep_frames(struct pt_stacks *stacks)
{
    static const char interpreter[] = "PyEval_EvalFrame";
    const char *p = (const char *)stacks->raw.data, *end = p ? p + stacks->raw.len : NULL;
    bool inside = false;
    while (p < end && stacks->text.len < TEXT_MAX) {
        const char *line = p, *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - line);
        bool thread = starts(line, n, "Thread ") || starts(line, n, "TID ");
        p = stop ? stop + 1 : end;
        inside = inside && !thread;
        if (inside || (!thread && !starts(line, n, "#")))
            continue;
        pt_buf_append(&stacks->text, line, n);
        pt_put_u8(&stacks->text, '\n');
        inside = memmem(line, n, interpreter, strlen(interpreter)) != NULL;
    }
    for (size_t i = 0; i < stacks->text.len; i++)
        if (!stacks->text.data[i])
            stacks->text.data[i] = '?';
    pt_put_u8(&stacks->text, '\0');
}

static void end_tool(struct pt_stacks *stacks)
{
    if (stacks->pipe >= 0) {
        pt_loop_unwatch(stacks->loop, stacks->pipe);
        close(pt_steal_fd(&stacks->pipe));
    }
    if (stacks->tool <= 0)
        return;
    kill(stacks->tool, SIGKILL);
    while (waitpid(stacks->tool, NULL, 0) < 0 && errno == EINTR)
        continue;
    stacks->tool = 0;
}

static void finish(void *arg)
{
    struct pt_stacks *stacks = arg;
    stacks->timer = 0;
    end_tool(stacks);
    keep_frames(stacks);
    stacks->done(stacks->arg);
}

static void on_pipe(void *arg, int fd, short revents)
{
    struct pt_stacks *stacks = arg;
    char chunk[4096];
    (void)revents;
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n > 0 && stacks->raw.len < RAW_MAX)
        pt_buf_append(&stacks->raw, chunk, (size_t)n);
    if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
        return;
    pt_loop_unwatch(stacks->loop, fd);
    close(pt_steal_fd(&stacks->pipe));
    set_timer(stacks, 0, finish);
}

/* NAME as a program in a folder of PATH; heap, NULL: it is in none. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    for (const char *p = path; p && *p;) {
        size_t n = strcspn(p, ":");
        char *file = NULL;
        if (p[0] == '/' && asprintf(&file, "%.*s/%s", (int)n, p, name) >= 0) {
            if (access(file, X_OK) == 0)
                return file;
            free(file);
        }
        p += n + (p[n] == ':');
    }
    return NULL;
}

static void become_tool(const char *program, char *const argv[], int out, pid_t parent)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    unsetenv("DEBUGINFOD_URLS"); /* nothing is fetched for this */
    if (getppid() == parent && null >= 0 && dup2(null, 0) == 0 && dup2(out, 1) == 1 && dup2(null, 2) == 2)
        execv(program, argv);
    _exit(127);
}

static int run_tool(struct pt_stacks *stacks, const char *program, char *const argv[])
{
    int ends[2];
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    stacks->tool = fork();
    if (stacks->tool == 0)
        become_tool(program, argv, ends[1], parent);
    close(ends[1]);
    if (stacks->tool < 0 || pt_loop_watch(stacks->loop, ends[0], POLLIN, on_pipe, stacks) < 0) {
        close(ends[0]);
        end_tool(stacks);
        return -1;
    }
    stacks->pipe = ends[0];
    return 0;
}

static int start_tool(struct pt_stacks *stacks)
{
    static char p[] = "-p", nx[] = "-nx", batch[] = "-batch", iex[] = "-iex", ex[] = "-ex";
    static char no_load[] = "set auto-load no", all[] = "thread apply all backtrace 64";
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)stacks->pid);
    pt_auto_free char *eu_stack = find_program("eu-stack"), *gdb = find_program("gdb");
    char *const eu_argv[] = {eu_stack, p, pid, NULL};
    char *const gdb_argv[] = {gdb, nx, batch, iex, no_load, ex, all, p, pid, NULL};
    if (eu_stack)
        return run_tool(stacks, eu_stack, eu_argv);
    return gdb ? run_tool(stacks, gdb, gdb_argv) : -1;
}

static void begin_native(struct pt_stacks *stacks)
{
    if (stacks->native && start_tool(stacks) == 0)
        set_timer(stacks, NATIVE_MS, finish);
    else
        set_timer(stacks, 0, finish);
}

/* --- Python's stacks --- */

static void on_step(void *arg)
{
    struct pt_stacks *stacks = arg;
    int64_t now = pt_now_ms();
    off_t size = size_of(stacks->file);
    stacks->timer = 0;
    if (size > stacks->size) {
        stacks->size = size;
        stacks->moved = now;
        stacks->grew = stacks->grew ? stacks->grew : now;
    }
    bool all = stacks->grew && (now - stacks->moved >= SETTLE_MS || now - stacks->grew >= WHOLE_MS);
    if (all || now - stacks->began >= ASK_MS)
        begin_native(stacks);
    else
        set_timer(stacks, STEP_MS, on_step);
}

struct pt_stacks *pt_stacks_create(struct pt_loop *loop, pid_t pid, int file, bool native, pt_stacks_fn *done,
                                   void *arg)
{
    struct pt_stacks *stacks = calloc(1, sizeof(*stacks));
    if (!stacks)
        return NULL;
    *stacks = (struct pt_stacks){
        .loop = loop, .pid = pid, .file = file, .native = native, .done = done, .arg = arg, .pipe = -1};
    stacks->from = stacks->size = size_of(file);
    stacks->began = pt_now_ms();
    stacks->deaf = !catches(pid, PT_STACKS_SIGNAL) || kill(pid, PT_STACKS_SIGNAL) < 0;
    if (stacks->deaf)
        stacks->began -= ASK_MS;
    set_timer(stacks, 0, on_step);
    if (!stacks->timer) {
        free(stacks);
        return NULL;
    }
    return stacks;
}

void pt_stacks_destroy(struct pt_stacks *stacks)
{
    if (!stacks)
        return;
    pt_loop_cancel(stacks->loop, stacks->timer);
    end_tool(stacks);
    pt_buf_fini(&stacks->raw);
    pt_buf_fini(&stacks->text);
    free(stacks);
}

bool pt_stacks_deaf(const struct pt_stacks *stacks)
{
    return stacks->deaf;
}

off_t pt_stacks_from(const struct pt_stacks *stacks)
{
    return stacks->from;
}

const char *pt_stacks_native(const struct pt_stacks *stacks)
{
    bool there = stacks->text.len && !stacks->text.bad;
    return there ? (const char *)stacks->text.data : "";
}
