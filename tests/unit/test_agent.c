/* SPDX-License-Identifier: Apache-2.0 */
/* The built agent, spoken to as the master does over two pipes; its processes are killed for real. Python and
 * worker are stand-ins of a few lines, mpirun is the real one. */
#include "agent_driver.h"

#include "common/err.h"
#include "common/message.h"
#include "common/mux.h"

extern char **environ;

#define MASTER_FRAMES 256

struct frame {
    uint8_t type;
    struct pt_buf body;
    bool taken;
};

struct master {
    struct piped p;
    struct pt_mux *mux;
    struct pt_buf out, in, link;
    struct frame frames[MASTER_FRAMES];
    size_t nframes;
    uint32_t stream; /* the last that was opened */
    size_t nopened, nclosed;
    bool greeted, ended;
};

static struct {
    char dir[64], cache[96], runtime[96], mark[96], stderr_file[96], shm[96], shell[64];
    char program[4096];
} w;

static struct master m;

/* --- the master's side --- */

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    (void)arg;
    (void)kind;
    m.stream = stream;
    m.nopened++;
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    (void)arg;
    pt_mux_credit(m.mux, stream, n);
    if (stream != PT_MUX_CONTROL) {
        pt_buf_append(&m.link, data, n);
        return;
    }
    pt_buf_append(&m.in, data, n);
    struct pt_reader body;
    size_t total;
    uint8_t type;
    while (pt_frame_next(m.in.data, m.in.len, PT_MAX_FRAME, &type, &body, &total) > 0) {
        cr_assert(m.nframes < MASTER_FRAMES);
        struct frame *f = &m.frames[m.nframes++];
        f->type = type;
        pt_buf_append(&f->body, body.p, body.left);
        pt_buf_consume(&m.in, total);
    }
}

static void on_closed(void *arg, uint32_t stream)
{
    (void)arg;
    m.nclosed++;
    pt_mux_close(m.mux, stream);
}

static void greet(char *buf, ssize_t *n)
{
    static const char hello[] = "PTREMOTE-AGENT 1\n";
    cr_assert(*n >= (ssize_t)strlen(hello) && memcmp(buf, hello, strlen(hello)) == 0);
    *n -= (ssize_t)strlen(hello);
    memmove(buf, buf + strlen(hello), (size_t)*n);
    m.greeted = true;
}

/* One round of reading and writing. False when the time is over. */
static bool turn(int64_t until)
{
    static char buf[65536];
    if (m.ended)
        return false;
    pt_mux_pull(m.mux, &m.out, 1u << 20);
    if (m.out.len) {
        ssize_t n = write(m.p.in, m.out.data, m.out.len);
        if (n > 0)
            pt_buf_consume(&m.out, (size_t)n);
        else if (n < 0 && errno == EPIPE)
            pt_buf_clear(&m.out);
    }
    if (!piped_wait(&m.p, m.out.len > 0, until))
        return false;
    ssize_t n = read(m.p.out, buf, sizeof(buf));
    if (n == 0)
        m.ended = true;
    if (n > 0 && !m.greeted)
        greet(buf, &n);
    struct pt_err err = PT_ERR_INIT;
    if (n > 0)
        cr_assert(pt_mux_feed(m.mux, buf, (size_t)n, &err) == 0, "%s", err.msg);
    return true;
}

/* The first frame of a type that was not taken yet; a FAIL or the end on the way ends the test. */
static struct frame *expect(uint8_t type)
{
    int64_t until = pt_now_ms() + PATIENCE;
    do {
        for (size_t i = 0; i < m.nframes; i++)
            if (!m.frames[i].taken && m.frames[i].type == type) {
                m.frames[i].taken = true;
                return &m.frames[i];
            }
        for (size_t i = 0; i < m.nframes; i++)
            if (!m.frames[i].taken && m.frames[i].type == PT_C_FAIL) {
                struct pt_reader r = {.p = m.frames[i].body.data + 1, .left = m.frames[i].body.len - 1};
                pt_auto_free char *text = pt_get_str(&r, PT_MAX_TEXT);
                cr_assert(false, "waited for %u, got FAIL: %s", type, text);
            }
    } while (turn(until));
    cr_assert(false, "message %u did not come", type);
    return NULL;
}

static bool is_ended(void)
{
    return m.ended;
}

static bool got_link(void)
{
    return m.link.len > 0;
}

static bool link_closed(void)
{
    return m.nclosed > 0;
}

static void turn_until(bool (*done)(void), const char *what)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while (!done() && turn(until))
        ;
    cr_assert(done(), "%s did not happen", what);
}

static void send_frame(struct pt_buf *b)
{
    cr_assert(!b->bad);
    pt_mux_send(m.mux, PT_MUX_CONTROL, b->data, b->len);
    pt_buf_fini(b);
}

static void send_u32(uint8_t type, uint32_t value)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_put_u32(&b, value);
    pt_frame_end(&b, mark);
    send_frame(&b);
}

static char *fail_text(void)
{
    struct frame *f = NULL;
    int64_t until = pt_now_ms() + PATIENCE;
    do
        for (size_t i = 0; i < m.nframes && !f; i++)
            f = m.frames[i].type == PT_C_FAIL ? &m.frames[i] : NULL;
    while (!f && turn(until));
    cr_assert(f != NULL, "no FAIL came");
    f->taken = true;
    struct pt_reader r = {.p = f->body.data + 1, .left = f->body.len - 1};
    pt_auto_free char *msg = pt_get_str(&r, PT_MAX_TEXT), *hint = pt_get_str(&r, PT_MAX_TEXT);
    char *both = NULL;
    cr_assert(pt_get_end(&r) && asprintf(&both, "%s (%s)", msg, hint) > 0);
    return both;
}

/* --- a run --- */

static struct pt_setup default_setup(void)
{
    static char python[128];
    snprintf(python, sizeof(python), "%s/python", w.dir);
    return (struct pt_setup){.protocol = PT_PROTOCOL,
                             .run = (char *)"run1",
                             .host = 3,
                             .slots = 2,
                             .project = (char *)"proj",
                             .cwd = (char *)"",
                             .python = python,
                             .mpirun = (char *)"",
                             .init = (char *)"",
                             .hash_seed = (char *)"7",
                             .silence_ms = 60000};
}

/* With the variables of a batch job and of an mpirun around us, as some hosts have them. */
static void start_agent(void)
{
    static const struct pt_mux_callbacks callbacks = {
        .opened = on_opened, .data = on_data, .closed = on_closed};
    char runtime[128], home[128], asan[160], ubsan[160];
    snprintf(runtime, sizeof(runtime), "XDG_RUNTIME_DIR=%s", w.runtime);
    snprintf(home, sizeof(home), "HOME=%s", w.dir);
    snprintf(asan, sizeof(asan), "ASAN_OPTIONS=detect_leaks=0:log_path=%s/sanitizer", w.dir);
    snprintf(ubsan, sizeof(ubsan), "UBSAN_OPTIONS=print_stacktrace=1:log_path=%s/sanitizer", w.dir);
    char *argv[] = {w.program, (char *)"proxy", w.cache, NULL};
    char *env[] = {runtime,
                   home,
                   w.mark,
                   w.shell,
                   asan,
                   ubsan,
                   (char *)"PATH=/usr/local/bin:/usr/bin:/bin",
                   (char *)"SLURM_JOB_ID=12",
                   (char *)"SLURM_JOBID=12",
                   (char *)"SLURM_NODELIST=other[1-2]",
                   (char *)"SLURM_JOB_NODELIST=other[1-2]",
                   (char *)"SLURM_TASKS_PER_NODE=1(x2)",
                   (char *)"SLURM_NNODES=2",
                   (char *)"OMPI_UNIVERSE_SIZE=4",
                   (char *)"OMPI_MCA_btl=tcp",
                   (char *)"PMIX_RANK=0",
                   NULL};
    m.mux = pt_mux_create(&callbacks, NULL, NULL);
    piped_start(&m.p, w.program, argv, env, w.stderr_file);
}

static void send_setup(const struct pt_setup *setup)
{
    struct pt_buf b = {0};
    pt_setup_encode(setup, &b);
    send_frame(&b);
}

static const char python_text[] = "#!/bin/sh\n"
                                  "env >\"$HOME/python.env\"\n"
                                  "printf 'READY 3.99.0\\t7.99\\t%s\\n' \"$0\"\n"
                                  "exec cat >/dev/null\n";

/* A rank: it leaves a daemon; rank 0 takes its keys, tells of them on the link, and echoes what comes. */
static const char worker_text[] = "#!/usr/bin/python3\n"
                                  "import os, socket, struct, sys, time\n"
                                  "if os.fork() == 0:\n"
                                  "    os.setsid()\n"
                                  "    if os.fork() == 0:\n"
                                  "        os.closerange(0, 64)\n"
                                  "        time.sleep(1000)\n"
                                  "    os._exit(0)\n"
                                  "rank = int(os.environ['OMPI_COMM_WORLD_RANK'])\n"
                                  "print('rank', rank, 'is up', flush=True)\n"
                                  "if rank:\n"
                                  "    time.sleep(1000)\n"
                                  "run_dir = sys.argv[sys.argv.index('--run-dir') + 1]\n"
                                  "link = socket.socket(socket.AF_UNIX)\n"
                                  "link.connect(run_dir + '/link.sock')\n"
                                  "head = link.recv(4, socket.MSG_WAITALL)\n"
                                  "body = link.recv(struct.unpack('>I', head)[0], socket.MSG_WAITALL)\n"
                                  "link.sendall(body + b'|' + ' '.join(sys.argv[1:]).encode() + b'|' + "
                                  "os.environ['PTREMOTE_WORKSPACE'].encode())\n"
                                  "while True:\n"
                                  "    data = link.recv(65536)\n"
                                  "    if not data or data == b'exit':\n"
                                  "        sys.exit(0)\n"
                                  "    if data == b'die':\n"
                                  "        os.kill(os.getpid(), 9)\n"
                                  "    link.sendall(data)\n";

struct test_tool {
    const char *name;
    struct pt_buf bytes;
    unsigned char digest[PT_DIGEST];
};

static struct test_tool tools[2];

static void make_tools(void)
{
    char command[512], path[128];
    tools[0].name = "ptremote-worker";
    pt_buf_append(&tools[0].bytes, worker_text, strlen(worker_text));
    tools[1].name = "python";
    snprintf(command, sizeof(command),
             "mkdir %s/pkg && echo x >%s/pkg/x.py && tar cf %s/pkg.tar -C %s/pkg x.py", w.dir, w.dir, w.dir,
             w.dir);
    cr_assert(system(command) == 0);
    snprintf(path, sizeof(path), "%s/pkg.tar", w.dir);
    read_file(path, &tools[1].bytes);
    for (size_t i = 0; i < 2; i++)
        cr_assert(pt_digest_buffer(PT_DIGEST_SHA256, tools[i].bytes.data, tools[i].bytes.len, tools[i].digest,
                                   NULL) == 0);
}

static void offer_tools(void)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_TOOLS);
    pt_put_u32(&b, 2);
    for (size_t i = 0; i < 2; i++) {
        pt_put_str(&b, tools[i].name);
        pt_buf_append(&b, tools[i].digest, PT_DIGEST);
        pt_put_u64(&b, tools[i].bytes.len);
    }
    pt_frame_end(&b, mark);
    send_frame(&b);
}

static void send_tool(uint32_t index)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_B_TOOL);
    pt_put_u32(&b, index);
    pt_frame_end(&b, mark);
    for (size_t at = 0; at < tools[index].bytes.len; at += 1000) {
        size_t left = tools[index].bytes.len - at;
        mark = pt_frame_begin(&b, PT_B_DATA);
        pt_buf_append(&b, tools[index].bytes.data + at, left < 1000 ? left : 1000);
        pt_frame_end(&b, mark);
    }
    pt_frame_end(&b, pt_frame_begin(&b, PT_B_END));
    pt_mux_send(m.mux, PT_MUX_BULK, b.data, b.len);
    pt_buf_fini(&b);
}

static uint32_t expect_missing(void)
{
    struct frame *f = expect(PT_C_MISSING);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    return pt_get_u32(&r);
}

static void bring_tools(void)
{
    offer_tools();
    if (expect_missing() == 0)
        return;
    send_tool(0);
    send_tool(1);
    cr_assert_eq(expect_missing(), 0);
}

static void expect_ready(struct pt_ready *ready)
{
    struct frame *f = expect(PT_C_READY);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    struct pt_err err = PT_ERR_INIT;
    cr_assert(pt_ready_decode(&r, ready, &err) == 0, "%s", err.msg);
}

static pid_t launch(uint32_t number)
{
    struct pt_launch l = {.launch = number,
                          .slots = 2,
                          .cert = (char *)"CERT",
                          .key = (char *)"KEY",
                          .ca = (char *)"CA",
                          .address = (char *)""};
    struct pt_buf b = {0};
    pt_launch_encode(&l, &b);
    send_frame(&b);
    struct frame *f = expect(PT_C_LAUNCHED);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    pid_t pid = (pid_t)pt_get_u32(&r);
    turn_until(got_link, "a link");
    return pid;
}

static uint32_t expect_exited(uint8_t program, char **output)
{
    struct frame *f = expect(PT_C_EXITED);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_assert_eq(pt_get_u8(&r), program);
    uint32_t status = pt_get_u32(&r);
    size_t n;
    const char *text = pt_get_bytes(&r, &n);
    cr_assert(pt_get_end(&r));
    if (output)
        *output = strndup(text ? text : "", n);
    return status;
}

/* SETUP to the two ranks running. */
static pid_t whole_start(void)
{
    struct pt_setup setup = default_setup();
    struct pt_ready ready;
    start_agent();
    send_setup(&setup);
    expect_ready(&ready);
    pt_ready_fini(&ready);
    bring_tools();
    expect(PT_C_PYTHON);
    return launch(1);
}

/* No process and no folder of this run is left on the machine. */
static void expect_nothing_left(void)
{
    int64_t until = pt_now_ms() + 10000;
    while ((count_marked(w.mark, NULL, NULL) || count_entries(w.runtime)) && pt_now_ms() < until)
        poll(NULL, 0, 20);
    cr_expect_eq(count_marked(w.mark, NULL, NULL), 0, "processes are left");
    cr_expect_eq(count_entries(w.runtime), 0, "folders are left");
    cr_expect(access(w.shm, F_OK) != 0, "%s is left", w.shm);
}

/* Which folder of /dev/shm belongs to the run: the one whose lock the keeper has open. */
static void find_shm(void)
{
    pid_t keeper = 0;
    cr_assert(count_marked(w.mark, "ptremote-keeper", &keeper) == 1);
    char fds[64];
    snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)keeper);
    DIR *dir = opendir(fds);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        char path[4096];
        ssize_t n = readlinkat(dirfd(dir), d->d_name, path, sizeof(path) - 1);
        path[n > 0 ? n : 0] = '\0';
        if (strncmp(path, "/dev/shm/ptremote-", 18) == 0 && strrchr(path, '/') - path < 64) {
            *strrchr(path, '/') = '\0';
            strcpy(w.shm, path);
        }
    }
    closedir(dir);
}

static void stop(void)
{
    send_u32(PT_C_STOP, 100);
    expect(PT_C_STOPPED);
    turn_until(is_ended, "the end of the channel");
}

static void set_up(void)
{
    static int counter;
    signal(SIGPIPE, SIG_IGN);
    strcpy(w.dir, "/tmp/ptagent.XXXXXX");
    cr_assert(mkdtemp(w.dir) != NULL);
    snprintf(w.cache, sizeof(w.cache), "%s/cache", w.dir);
    snprintf(w.runtime, sizeof(w.runtime), "%s/run", w.dir);
    snprintf(w.stderr_file, sizeof(w.stderr_file), "%s/stderr", w.dir);
    snprintf(w.mark, sizeof(w.mark), "MARK_OF_TEST=%d.%d.%lld", (int)getpid(), counter++,
             (long long)pt_now_ms());
    snprintf(w.shm, sizeof(w.shm), "/dev/shm/none-such");
    cr_assert(mkdir(w.cache, 0700) == 0 && mkdir(w.runtime, 0700) == 0);
    strcpy(w.shell, "SHELL=/bin/bash");
    agent_program(w.program);
    char python[128];
    snprintf(python, sizeof(python), "%s/python", w.dir);
    write_file(python, python_text, 0700);
    make_tools();
}

/* The agent's own stderr goes nowhere. */
static void expect_no_sanitizer_report(void)
{
    DIR *dir = opendir(w.dir);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        char path[512];
        if (strncmp(d->d_name, "sanitizer", 9) != 0)
            continue;
        struct pt_buf text = {0};
        snprintf(path, sizeof(path), "%s/%s", w.dir, d->d_name);
        read_file(path, &text);
        cr_expect(false, "%.*s", (int)text.len, (char *)text.data);
        pt_buf_fini(&text);
    }
    closedir(dir);
}

/* Hang up, wait for the proxy, and be ready for another agent. The proxy's wait status. */
static int hang_up(void)
{
    int status = 0;
    piped_close(&m.p);
    if (m.p.pid)
        waitpid(m.p.pid, &status, 0);
    for (size_t i = 0; i < m.nframes; i++)
        pt_buf_fini(&m.frames[i].body);
    pt_mux_destroy(m.mux);
    pt_buf_fini(&m.in);
    pt_buf_fini(&m.out);
    pt_buf_fini(&m.link);
    m = (struct master){.p = {.in = -1, .out = -1}};
    return status;
}

static void tear_down(void)
{
    hang_up();
    for (size_t i = 0; i < 2; i++)
        pt_buf_fini(&tools[i].bytes);
    expect_nothing_left();
    expect_no_sanitizer_report();
    remove_folder(w.dir);
}

TestSuite(agent, .init = set_up, .fini = tear_down, .timeout = 100);

/* --- tests --- */

Test(agent, setup_tools_stop)
{
    struct pt_setup setup = default_setup();
    struct pt_ready ready;
    start_agent();
    send_setup(&setup);
    expect_ready(&ready);
    cr_expect(ready.protocol == PT_PROTOCOL && ready.cores >= 1 && ready.memory > 0 && ready.machine_id[0]);
    cr_expect(strcmp(ready.cache, w.cache) == 0);
    cr_expect(strncmp(ready.workspace, w.cache, strlen(w.cache)) == 0);
    pt_ready_fini(&ready);
    bring_tools();
    struct frame *f = expect(PT_C_PYTHON);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    pt_auto_free char *version = pt_get_str(&r, 99), *pytest = pt_get_str(&r, 99),
                      *path = pt_get_str(&r, 4096);
    cr_expect(strcmp(version, "3.99.0") == 0 && strcmp(pytest, "7.99") == 0 &&
              strcmp(path, setup.python) == 0);
    find_shm();
    stop();
}

Test(agent, second_time_nothing_is_missing)
{
    for (int i = 0; i < 2; i++) {
        struct pt_setup setup = default_setup();
        start_agent();
        send_setup(&setup);
        offer_tools();
        cr_expect_eq(expect_missing(), i == 0 ? 2 : 0);
        if (i == 0) {
            send_tool(1);
            send_tool(0);
            cr_expect_eq(expect_missing(), 0);
        }
        stop();
        hang_up();
    }
}

Test(agent, damaged_tool)
{
    struct pt_setup setup = default_setup();
    start_agent();
    send_setup(&setup);
    offer_tools();
    expect_missing();
    tools[0].bytes.data[5] ^= 1;
    send_tool(0);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "ptremote-worker came damaged") != NULL, "%s", text);
    stop();
}

Test(agent, ping)
{
    start_agent();
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_PING);
    pt_put_u64(&b, 0x1122334455667788u);
    pt_frame_end(&b, mark);
    send_frame(&b);
    struct frame *f = expect(PT_C_PONG);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_expect_eq(pt_get_u64(&r), 0x1122334455667788u);
    stop();
}

Test(agent, other_protocol)
{
    struct pt_setup setup = default_setup();
    setup.protocol = PT_PROTOCOL + 1;
    start_agent();
    send_setup(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "the master speaks protocol 2, this agent 1") != NULL, "%s", text);
    turn_until(is_ended, "the end of the channel");
}

static void expect_bad_setup(const struct pt_setup *setup, const char *why)
{
    start_agent();
    send_setup(setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, why) != NULL, "%s", text);
    turn_until(is_ended, "the end of the channel");
}

Test(agent, project_outside)
{
    struct pt_setup setup = default_setup();
    setup.project = (char *)"../x";
    expect_bad_setup(&setup, "bad key");
}

Test(agent, cwd_outside)
{
    struct pt_setup setup = default_setup();
    setup.cwd = (char *)"a/../..";
    expect_bad_setup(&setup, "leaves the project");
}

Test(agent, link_carries_bytes_both_ways)
{
    whole_start();
    struct pt_buf want = {0};
    pt_put_str(&want, "run1");
    cr_expect(m.link.data[0] == PT_K_LINK && memcmp(m.link.data + 1, want.data, want.len) == 0);
    pt_buf_fini(&want);
    pt_buf_append(&m.link, "", 1);
    cr_expect(memmem(m.link.data, m.link.len, "--host 3 --launch 1", 19) != NULL);
    pt_buf_clear(&m.link);
    /* far more than any window or socket buffer */
    size_t size = 5u << 20;
    struct pt_buf big = {0};
    unsigned char *bytes = pt_buf_reserve(&big, size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
    cr_assert(pt_mux_send(m.mux, m.stream, bytes, size) == 0);
    int64_t until = pt_now_ms() + PATIENCE;
    while (m.link.len < size && turn(until))
        ;
    cr_expect(m.link.len == size && memcmp(m.link.data, bytes, size) == 0, "%zu bytes came back", m.link.len);
    pt_buf_fini(&big);
    find_shm();
    stop();
}

Test(agent, workers_end_and_start_again)
{
    for (uint32_t i = 1; i <= 2; i++) {
        if (i == 1)
            whole_start();
        else
            launch(i);
        pt_auto_free char *output = NULL;
        send_u32(PT_C_END_WORKERS, 3000);
        expect_exited(PT_PROGRAM_WORKERS, &output);
        cr_expect(strstr(output, "rank 0 is up") && strstr(output, "rank 1 is up"), "%s", output);
        cr_expect_eq(count_marked(w.mark, "python3", NULL), 0, "ranks or their daemons are left");
        turn_until(link_closed, "the end of the link");
        m.nclosed = 0;
        pt_buf_clear(&m.link);
    }
    stop();
}

/* --- kill -9 --- */

Test(agent, rank_dies)
{
    whole_start();
    pt_mux_send(m.mux, m.stream, "die", 3);
    uint32_t status = expect_exited(PT_PROGRAM_WORKERS, NULL);
    cr_expect(status != 0);
    cr_expect_eq(count_marked(w.mark, "python3", NULL), 0, "ranks or their daemons are left");
    pt_buf_clear(&m.link);
    launch(2);
    stop();
}

Test(agent, mpirun_is_killed)
{
    pid_t mpirun = whole_start();
    find_shm();
    kill(mpirun, SIGKILL);
    uint32_t status = expect_exited(PT_PROGRAM_WORKERS, NULL);
    cr_expect(WIFSIGNALED((int)status) && WTERMSIG((int)status) == SIGKILL);
    cr_expect_eq(count_marked(w.mark, "python3", NULL), 0, "ranks or their daemons are left");
    cr_expect_eq(count_marked(w.mark, "cat", NULL), 1, "the fork server must live");
    pt_buf_clear(&m.link);
    launch(2);
    stop();
}

static void kill_role(const char *comm)
{
    pid_t pid = 0;
    cr_assert_eq(count_marked(w.mark, comm, &pid), 1, "%s", comm);
    cr_assert(kill(pid, SIGKILL) == 0);
}

Test(agent, proxy_is_killed)
{
    whole_start();
    find_shm();
    kill_role("ptremote-proxy");
    turn_until(is_ended, "the end of the channel");
}

Test(agent, agent_is_killed)
{
    whole_start();
    find_shm();
    kill_role("ptremote-agent");
    turn_until(is_ended, "the end of the channel");
}

Test(agent, keeper_is_killed)
{
    whole_start();
    find_shm();
    kill_role("ptremote-keeper");
    turn_until(is_ended, "the end of the channel");
}

Test(agent, fork_server_is_killed)
{
    whole_start();
    kill_role("cat");
    uint32_t status = expect_exited(PT_PROGRAM_FORKSERVER, NULL);
    cr_expect(WIFSIGNALED((int)status));
    send_u32(PT_C_END_WORKERS, 0);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    pt_buf_clear(&m.link);
    launch(2);
    expect(PT_C_PYTHON);
    stop();
}

/* What a killed run left is removed by the next one. */
Test(agent, stale_folders_are_swept)
{
    char path[160], lock[200];
    snprintf(path, sizeof(path), "%s/ptremote-abcdef", w.runtime);
    snprintf(lock, sizeof(lock), "%s/lock", path);
    cr_assert(mkdir(path, 0700) == 0);
    write_file(lock, "", 0600);
    start_agent();
    stop();
}

/* --- the end --- */

Test(agent, channel_ends)
{
    whole_start();
    find_shm();
    close(m.p.in);
    m.p.in = -1;
    int64_t until = pt_now_ms() + PATIENCE;
    while (!m.ended && piped_wait(&m.p, false, until)) {
        char buf[4096];
        m.ended = read(m.p.out, buf, sizeof(buf)) == 0;
    }
    cr_expect(m.ended);
}

Test(agent, silent_master)
{
    struct pt_setup setup = default_setup();
    setup.silence_ms = 1;
    start_agent();
    send_setup(&setup);
    turn_until(is_ended, "the end of the channel");
}

Test(agent, garbage)
{
    uint32_t seed = 99;
    for (int round = 0; round < 20; round++) {
        start_agent();
        struct pt_setup setup = default_setup();
        if (round % 2)
            send_setup(&setup);
        pt_mux_pull(m.mux, &m.out, 1u << 20);
        for (size_t i = 0; i < 4096; i++)
            pt_put_u8(&m.out, (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24));
        turn_until(is_ended, "the end of the channel");
        hang_up();
    }
}

/* Control and bulk frames of any type with any bytes, well framed: refused, never a crash. */
Test(agent, nonsense_frames)
{
    uint32_t seed = 5;
    for (int round = 0; round < 12; round++) {
        start_agent();
        struct pt_setup setup = default_setup();
        send_setup(&setup);
        for (int i = 0; i < 30; i++) {
            struct pt_buf b = {0};
            seed = seed * 1664525u + 1013904223u;
            uint8_t type = (uint8_t)(seed >> 24) % 10;
            size_t mark = pt_frame_begin(&b, type == PT_C_STOP ? PT_C_PING : type);
            for (uint32_t k = 0; k < (seed >> 8) % 64; k++)
                pt_put_u8(&b, (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24) % (i % 2 ? 3 : 255));
            pt_frame_end(&b, mark);
            pt_mux_send(m.mux, i % 4 ? PT_MUX_CONTROL : PT_MUX_BULK, b.data, b.len);
            pt_buf_fini(&b);
        }
        pt_auto_free char *text = fail_text();
        cr_expect(text[0] != '\0');
        int status = hang_up();
        cr_expect(WIFEXITED(status) || WTERMSIG(status) == SIGPIPE);
    }
}

/* --- environment --- */

static void python_env(struct pt_buf *out)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/python.env", w.dir);
    read_file(path, out);
    pt_buf_append(out, "", 1);
}

static void run_with(struct pt_setup *setup)
{
    start_agent();
    send_setup(setup);
    bring_tools();
}

Test(agent, environment)
{
    struct pt_setup setup = default_setup();
    struct pt_env env[] = {{(char *)"DATA", (char *)"{workspace}/data:{workspace}"},
                           {(char *)"LANG", (char *)"C"}};
    setup.env = env;
    setup.nenv = 2;
    setup.init = (char *)"export FROM_INIT='a b'; export OMPI_COMM_WORLD_RANK=3 PMIX_RANK=3";
    run_with(&setup);
    expect(PT_C_PYTHON);
    struct pt_ready ready;
    expect_ready(&ready);
    struct pt_buf got = {0};
    char line[512];
    stop();
    python_env(&got);
    const char *text = (const char *)got.data;
    snprintf(line, sizeof(line), "\nDATA=%s/data:%s\n", ready.workspace, ready.workspace);
    cr_expect(strstr(text, line) != NULL, "%s", text);
    cr_expect(strstr(text, "FROM_INIT=a b\n") && strstr(text, "LANG=C\n") &&
              strstr(text, "PYTHONHASHSEED=7\n"));
    cr_expect(strstr(text, "PYTHONPYCACHEPREFIX=") && strstr(text, "PTREMOTE_RUN=run1\n"));
    cr_expect(!strstr(text, "OMPI_") && !strstr(text, "PMIX_"));
    pt_buf_fini(&got);
    pt_ready_fini(&ready);
}

/* --init is words of the login shell, whatever that is; it sees what a login sets up. */
static void init_in(const char *shell, const char *init, const char *want)
{
    struct pt_setup setup = default_setup();
    struct pt_buf got = {0};
    if (access(shell, X_OK) != 0)
        cr_skip_test("%s is not here", shell);
    snprintf(w.shell, sizeof(w.shell), "SHELL=%s", shell);
    setup.init = (char *)init;
    run_with(&setup);
    expect(PT_C_PYTHON);
    stop();
    python_env(&got);
    cr_expect(strstr((char *)got.data, want) != NULL, "%s", (char *)got.data);
    pt_buf_fini(&got);
}

Test(agent, init_in_csh)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/.login", w.dir);
    write_file(path, "setenv LOGIN seen\n", 0600);
    init_in("/bin/csh", "echo noise; setenv A \"$LOGIN twice\"", "A=seen twice\n");
}

Test(agent, init_in_bash)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/.profile", w.dir);
    write_file(path, "export LOGIN=seen\n", 0600);
    init_in("/bin/bash", "echo noise; f() { export A=\"$1 twice\"; }; f $LOGIN # done", "A=seen twice\n");
}

Test(agent, init_in_sh)
{
    init_in("/bin/sh", "A='two\nlines'; export A", "A=two\nlines\n");
}

Test(agent, init_fails_in_csh)
{
    struct pt_setup setup = default_setup();
    strcpy(w.shell, "SHELL=/bin/csh");
    if (access("/bin/csh", X_OK) != 0)
        cr_skip_test("csh is not here");
    setup.init = (char *)"echo no such module; false";
    start_agent();
    send_setup(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "no such module") != NULL, "%s", text);
    stop();
}

Test(agent, init_fails)
{
    struct pt_setup setup = default_setup();
    setup.init = (char *)"echo no such module; false";
    start_agent();
    send_setup(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "--init failed (exit status 1): no such module") != NULL, "%s", text);
    stop();
}

Test(agent, no_python)
{
    struct pt_setup setup = default_setup();
    setup.python = (char *)"/no/python3";
    run_with(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "--python /no/python3") != NULL, "%s", text);
    stop();
}

Test(agent, no_mpirun)
{
    struct pt_setup setup = default_setup();
    setup.init = (char *)"mkdir -p ~/bin; export PATH=$HOME/bin";
    setup.mpirun = (char *)"mpirun";
    run_with(&setup);
    struct pt_launch l = {.launch = 1, .slots = 1, .cert = (char *)"", .key = (char *)"", .ca = (char *)""};
    struct pt_buf b = {0};
    pt_launch_encode(&l, &b);
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "no mpirun") != NULL, "%s", text);
    stop();
}

Test(agent, no_pytest)
{
    char python[128];
    snprintf(python, sizeof(python), "%s/python", w.dir);
    write_file(python, "#!/bin/sh\necho MISSING no module named pytest\n", 0700);
    struct pt_setup setup = default_setup();
    run_with(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "no module named pytest (apt-get install python3-pytest") != NULL, "%s", text);
    stop();
}

/* A process of the user that is no worker gets no keys. */
Test(agent, stranger_at_the_link)
{
    whole_start();
    char command[400];
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c \"import socket,glob; s=socket.socket(socket.AF_UNIX); "
             "s.connect(glob.glob('%s/*/link.sock')[0]); assert s.recv(100) == b''\"",
             w.runtime);
    cr_expect_eq(system(command), 0, "a stranger was served");
    expect(PT_C_LOG);
    stop();
}
