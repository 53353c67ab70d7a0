/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

static int64_t native_ms = 60000; /* machines may be busy */
#define NATIVE_MS native_ms
#include "remote/worker/stacks.c"

#include "common/err.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/mman.h>

#define PATIENCE_MS 60000

struct asked {
    struct pt_loop *loop;
    struct pt_stacks *stacks;
    pid_t pid;
    int file;
    int done;
};

static void on_done(void *arg)
{
    struct asked *asked = arg;
    asked->done++;
    pt_loop_stop(asked->loop);
}

static void fail_late(void *arg)
{
    (void)arg;
    cr_assert_fail("no answer");
}

/* Python that runs `code`, with `out` as a file for its stacks; waits until it says so by a byte in it. */
static void start_python(struct asked *asked, const char *code)
{
    const char *python = getenv("PTREMOTE_PYTHON");
    char text[1024];
    cr_assert(python, "PTREMOTE_PYTHON is not set: run this by ctest");
    snprintf(text, sizeof(text),
             "import faulthandler, os, signal, sys, threading, time\n"
             "out = int(sys.argv[1])\n"
             "%s",
             code);
    asked->file = memfd_create("stacks", 0);
    char number[16];
    snprintf(number, sizeof(number), "%d", asked->file);
    asked->pid = fork();
    if (asked->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(python, python, "-c", text, number, NULL);
        _exit(127);
    }
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    while (size_of(asked->file) == 0 && pt_now_ms() < deadline)
        poll(NULL, 0, 5);
    cr_assert_gt(size_of(asked->file), 0, "the process did not come up");
}

static void ask(struct asked *asked, bool native)
{
    struct pt_err err = PT_ERR_INIT;
    asked->loop = pt_loop_create(&err);
    cr_assert(asked->loop, "%s", err.msg);
    asked->stacks = pt_stacks_create(asked->loop, asked->pid, asked->file, native, on_done, asked);
    cr_assert(asked->stacks);
    cr_assert_eq(asked->done, 0);
}

static void wait_done(struct asked *asked)
{
    pt_loop_after(asked->loop, PATIENCE_MS, fail_late, NULL);
    cr_assert_eq(pt_loop_run(asked->loop), 0);
    cr_assert_eq(asked->done, 1);
}

static const char *written(const struct asked *asked)
{
    static char text[65536];
    ssize_t n = pread(asked->file, text, sizeof(text) - 1, pt_stacks_from(asked->stacks));
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static bool lives(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == 0;
}

static void end(struct asked *asked)
{
    pt_stacks_destroy(asked->stacks);
    pt_loop_destroy(asked->loop);
    kill(asked->pid, SIGKILL);
    waitpid(asked->pid, NULL, 0);
    close(asked->file);
}

static const char listening[] = "def inner():\n"
                                "    os.write(out, b'x')\n"
                                "    while True: pass\n"
                                "def other(): time.sleep(1000)\n"
                                "threading.Thread(target=other, daemon=True).start()\n"
                                "faulthandler.register(signal.SIGRTMIN + 5, file=out, all_threads=True)\n"
                                "inner()\n";

Test(stacks, a_busy_process_tells_all_threads_and_goes_on, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, listening);
    for (int round = 0; round < 2; round++) {
        ask(&asked, false);
        wait_done(&asked);
        cr_assert_not(pt_stacks_deaf(asked.stacks));
        cr_assert(strstr(written(&asked), "in inner") && strstr(written(&asked), "in other"), "%s",
                  written(&asked));
        cr_assert_str_eq(pt_stacks_native(asked.stacks), "");
        cr_assert(lives(asked.pid));
        if (round == 1)
            break;
        cr_assert_eq(pt_stacks_from(asked.stacks), 1);
        pt_stacks_destroy(asked.stacks);
        pt_loop_destroy(asked.loop);
        asked.done = 0;
    }
    end(&asked);
}

Test(stacks, who_does_not_listen_is_not_killed, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, "os.write(out, b'x')\ntime.sleep(1000)\n");
    ask(&asked, false);
    wait_done(&asked);
    cr_assert(pt_stacks_deaf(asked.stacks));
    cr_assert(lives(asked.pid));
    end(&asked);
}

Test(stacks, who_is_stopped_or_gone_is_not_waited_for_long, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, listening);
    kill(asked.pid, SIGSTOP);
    ask(&asked, false);
    wait_done(&asked);
    cr_assert_str_eq(written(&asked), "");
    pt_stacks_destroy(asked.stacks);
    pt_loop_destroy(asked.loop);
    kill(asked.pid, SIGKILL);
    waitpid(asked.pid, NULL, 0);
    asked.done = 0;
    ask(&asked, true);
    wait_done(&asked);
    cr_assert(pt_stacks_deaf(asked.stacks));
    pt_stacks_destroy(asked.stacks);
    pt_loop_destroy(asked.loop);
    close(asked.file);
}

/* --- the tool that tells native frames --- */

/* A folder that is all of PATH, with a script of that name. */
static const char *make_tool(const char *name, const char *script)
{
    static char folder[64];
    char path[128];
    strcpy(folder, "/tmp/pt-stacks-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0700);
    cr_assert_eq(write(fd, script, strlen(script)), (ssize_t)strlen(script));
    close(fd);
    setenv("PATH", folder, 1);
    return folder;
}

static void remove_tool(const char *folder)
{
    char command[128];
    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_expect_eq(system(command), 0);
}

Test(stacks, of_what_a_tool_says_frames_are_kept, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, listening);
    const char *folder = make_tool(
        "eu-stack",
        "#!/bin/sh\n"
        "echo warning >&2\n"
        "echo \"$1 $2\" >\"${0%/*}/args\"\n"
        "printf 'PID 1\\nTID 2:\\n#0 0x1 poll\\0\\n\\nTIDY\\n#1 main\\n'\n"
        "printf 'TID 3:\\n#0 a\\n#1 _PyEval_EvalFrameDefault\\n#2 b\\n#3 main\\nThread 4\\n#0 c'\n");
    ask(&asked, true);
    wait_done(&asked);
    cr_assert(strstr(written(&asked), "in inner"));
    cr_assert_str_eq(pt_stacks_native(asked.stacks),
                     "TID 2:\n#0 0x1 poll?\n#1 main\nTID 3:\n#0 a\n#1 _PyEval_EvalFrameDefault\n"
                     "Thread 4\n#0 c\n");
    char path[128], args[64] = "", want[64];
    snprintf(path, sizeof(path), "%s/args", folder);
    snprintf(want, sizeof(want), "-p %d\n", (int)asked.pid);
    FILE *f = fopen(path, "r");
    cr_assert(f && fgets(args, sizeof(args), f));
    fclose(f);
    cr_assert_str_eq(args, want);
    end(&asked);
    remove_tool(folder);
}

/* The pid that the script wrote to FOLDER/pid. */
static pid_t read_pid(struct asked *asked, const char *folder)
{
    char path[128];
    int pid = 0;
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    snprintf(path, sizeof(path), "%s/pid", folder);
    while (!pid && pt_now_ms() < deadline) {
        pt_loop_step(asked->loop, 10);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%d\n", &pid) != 1)
            pid = 0;
        if (f)
            fclose(f);
    }
    cr_assert_gt(pid, 1);
    return pid;
}

static const char hangs[] = "#!/bin/sh\n"
                            "trap '' TERM\n"
                            "echo '#0 stuck'\n"
                            "echo $$ >\"${0%/*}/pid\"\n"
                            "while :; do :; done\n";

Test(stacks, a_tool_that_hangs_is_ended, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, listening);
    const char *folder = make_tool("gdb", hangs);
    native_ms = 8000;
    ask(&asked, true);
    wait_done(&asked);
    cr_assert_str_eq(pt_stacks_native(asked.stacks), "#0 stuck\n");
    cr_assert_eq(kill(read_pid(&asked, folder), 0), -1);
    end(&asked);
    remove_tool(folder);
}

Test(stacks, what_is_given_up_ends_its_tool, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, listening);
    const char *folder = make_tool("gdb", hangs);
    ask(&asked, true);
    pid_t tool = read_pid(&asked, folder);
    cr_assert_eq(asked.done, 0);
    end(&asked);
    cr_assert_eq(kill(tool, 0), -1);
    remove_tool(folder);
}

Test(stacks, floods_are_cut, .timeout = 100)
{
    struct asked asked = {0};
    start_python(&asked, listening);
    const char *folder = make_tool("gdb", "#!/bin/sh\nwhile :; do echo '#1 again'; done\n");
    native_ms = 8000;
    ask(&asked, true);
    wait_done(&asked);
    size_t n = strlen(pt_stacks_native(asked.stacks));
    cr_assert(n >= TEXT_MAX && n < TEXT_MAX + 100, "%zu", n);
    end(&asked);
    remove_tool(folder);
}

Test(stacks, real_tools_tell_native_frames, .timeout = 100)
{
    static const char *const tools[] = {"eu-stack", "gdb"};
    for (size_t i = 0; i < PT_COUNT(tools); i++) {
        struct asked asked = {0};
        char link[128], folder[] = "/tmp/pt-stacks-XXXXXX";
        pt_auto_free char *program = find_program(tools[i]);
        if (!program)
            continue;
        start_python(&asked, listening);
        cr_assert(mkdtemp(folder));
        snprintf(link, sizeof(link), "%s/%s", folder, tools[i]);
        cr_assert_eq(symlink(program, link), 0);
        pt_auto_free char *path = strdup(getenv("PATH"));
        setenv("PATH", folder, 1);
        ask(&asked, true);
        wait_done(&asked);
        setenv("PATH", path, 1);
        cr_assert(strstr(written(&asked), "in inner"));
        cr_assert(strstr(pt_stacks_native(asked.stacks), "#0"), "%s: %s", tools[i],
                  pt_stacks_native(asked.stacks));
        cr_assert(lives(asked.pid));
        end(&asked);
        unlink(link);
        rmdir(folder);
    }
}
