/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The built agent, spoken to as the master does over two pipes. Python and worker are stand-ins of a few
 * lines, mpirun is the real one. */
#include "agent_driver.h"

#include "common/err.h"
#include "common/message.h"
#include "common/mux.h"

#include <sys/mount.h>

#define MASTER_FRAMES 256
#define MASTER_RELAYS 64
#define CHAT          8 /* what its pings say */
#define CHAT_MS       200

struct frame {
    uint8_t type;
    struct pt_buf body;
    bool taken;
};

/* A stream of kind RELAY; nobody but the test closes it. */
struct relayed {
    uint32_t stream;
    struct pt_buf data;
    bool closed; /* the agent gave its last */
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
    bool stingy; /* gives no credit to links */
    bool chatty; /* pings now and then, where a moment of silence counts */
    int64_t chatted;
    struct relayed relays[MASTER_RELAYS];
    size_t nrelays;
};

static struct {
    char dir[64], cache[96], runtime[96], mark[96], stderr_file[96], shm[96], shell[64];
    char program[4096];
} w;

static struct master m;

/* --- the master's side --- */

static inline void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    (void)arg;
    if (kind == PT_MUX_KIND_RELAY) {
        cr_assert(m.nrelays < MASTER_RELAYS);
        m.relays[m.nrelays++].stream = stream;
        return;
    }
    m.stream = stream;
    m.nopened++;
}

static inline struct relayed *find_relayed(uint32_t stream)
{
    for (size_t i = 0; i < m.nrelays; i++)
        if (m.relays[i].stream == stream)
            return &m.relays[i];
    return NULL;
}

static inline void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    (void)arg;
    if (!m.stingy || stream == PT_MUX_CONTROL)
        pt_mux_credit(m.mux, stream, n);
    struct relayed *relayed = find_relayed(stream);
    if (stream != PT_MUX_CONTROL) {
        pt_buf_append(relayed ? &relayed->data : &m.link, data, n);
        return;
    }
    pt_buf_append(&m.in, data, n);
    struct pt_reader body;
    size_t total;
    uint8_t type;
    while (pt_frame_next(m.in.data, m.in.len, PT_MAX_FRAME, &type, &body, &total) > 0) {
        if (type != PT_C_PONG || body.left != 8 || body.p[7] != CHAT) {
            cr_assert(m.nframes < MASTER_FRAMES);
            struct frame *f = &m.frames[m.nframes++];
            f->type = type;
            pt_buf_append(&f->body, body.p, body.left);
        }
        pt_buf_consume(&m.in, total);
    }
}

static inline void on_closed(void *arg, uint32_t stream)
{
    (void)arg;
    struct relayed *relayed = find_relayed(stream);
    if (relayed) {
        relayed->closed = true;
        return;
    }
    m.nclosed++;
    pt_mux_close(m.mux, stream);
}

static inline void greet(char *buf, ssize_t *n)
{
    static const char hello[] = "PTREMOTE-AGENT 1\n";
    cr_assert(*n >= (ssize_t)strlen(hello) && memcmp(buf, hello, strlen(hello)) == 0);
    *n -= (ssize_t)strlen(hello);
    memmove(buf, buf + strlen(hello), (size_t)*n);
    m.greeted = true;
}

/* Until when it may wait before it has to say something again. */
static inline int64_t chat(int64_t until)
{
    struct pt_buf b = {0};
    if (!m.chatty)
        return until;
    if (pt_now_ms() >= m.chatted + CHAT_MS) {
        size_t mark = pt_frame_begin(&b, PT_C_PING);
        pt_put_u64(&b, CHAT);
        pt_frame_end(&b, mark);
        pt_mux_send(m.mux, PT_MUX_CONTROL, b.data, b.len);
        pt_buf_fini(&b);
        m.chatted = pt_now_ms();
    }
    return m.chatted + CHAT_MS < until ? m.chatted + CHAT_MS : until;
}

/* One round of reading and writing. False when the time is over. */
static inline bool turn(int64_t until)
{
    static char buf[65536];
    if (m.ended)
        return false;
    int64_t soon = chat(until);
    pt_mux_pull(m.mux, &m.out, 1u << 20);
    if (m.out.len) {
        ssize_t n = write(m.p.in, m.out.data, m.out.len);
        if (n > 0)
            pt_buf_consume(&m.out, (size_t)n);
        else if (n < 0 && errno == EPIPE)
            pt_buf_clear(&m.out);
    }
    if (!piped_wait(&m.p, m.out.len > 0, soon))
        return soon < until;
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
static inline struct frame *expect(uint8_t type)
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

static inline bool is_ended(void)
{
    return m.ended;
}

static inline bool got_link(void)
{
    return m.link.len > 0;
}

static inline bool link_closed(void)
{
    return m.nclosed > 0;
}

static inline void turn_until(bool (*done)(void), const char *what)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while (!done() && turn(until))
        ;
    cr_assert(done(), "%s did not happen", what);
}

/* No more descriptors than that, once what was closed here is closed there. */
static inline void expect_descriptors(const char *fds, int most)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while (count_entries(fds) > most && pt_now_ms() < until)
        poll(NULL, 0, 20);
    cr_expect_leq(count_entries(fds), most, "descriptors are left");
}

static inline void send_frame(struct pt_buf *b)
{
    cr_assert(!b->bad);
    pt_mux_send(m.mux, PT_MUX_CONTROL, b->data, b->len);
    pt_buf_fini(b);
}

/* What was said before has been obeyed. */
static inline void ping(void)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_PING);
    pt_put_u64(&b, 7);
    pt_frame_end(&b, mark);
    send_frame(&b);
    expect(PT_C_PONG);
}

/* From here on it may do without us. */
static inline void send_linger(void)
{
    struct pt_buf b = {0};
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_LINGER));
    send_frame(&b);
    ping();
}

static inline void send_u32(uint8_t type, uint32_t value)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_put_u32(&b, value);
    pt_frame_end(&b, mark);
    send_frame(&b);
}

static inline char *fail_text(void)
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

static inline struct pt_setup default_setup(void)
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
static inline void start_agent(void)
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

static inline void send_setup(const struct pt_setup *setup)
{
    struct pt_buf b = {0};
    pt_setup_encode(setup, &b);
    send_frame(&b);
}

static const char python_text[] = "#!/bin/sh\n"
                                  "case $2 in *collector*) echo out; cat <&3 >&4; exit 5;; esac\n"
                                  "env >\"$HOME/python.env\"\n"
                                  "grep Sig /proc/self/status >>\"$HOME/python.env\"\n"
                                  "echo FDS $(ls /proc/self/fd) >>\"$HOME/python.env\"\n"
                                  "echo PRELOAD \"$5\" >>\"$HOME/python.env\"\n"
                                  "printf 'READY 3.99.0\\t7.99\\t%s\\n' \"$0\"\n"
                                  "exec cat >/dev/null\n";

/* A rank: it leaves a daemon; rank 0 takes its keys, tells of them on the link, and echoes what comes. Where
 * the run lingers it comes again when the link ends. */
static const char worker_text[] = "#!/usr/bin/python3\n"
                                  "import os, signal, socket, struct, sys, time\n"
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
                                  "def connect():\n"
                                  "    link = socket.socket(socket.AF_UNIX)\n"
                                  "    link.connect(run_dir + '/link.sock')\n"
                                  "    head = link.recv(4, socket.MSG_WAITALL)\n"
                                  "    body = link.recv(struct.unpack('>I', head)[0], socket.MSG_WAITALL)\n"
                                  "    link.sendall(body + b'|' + ' '.join(sys.argv[1:]).encode() + b'|' + "
                                  "os.environ['PTREMOTE_WORKSPACE'].encode())\n"
                                  "    return link, struct.unpack('>I', body[-4:])[0]\n"
                                  "link, linger = connect()\n"
                                  "while True:\n"
                                  "    data = link.recv(65536)\n"
                                  "    if not data and linger:\n"
                                  "        link, linger = connect()\n"
                                  "        continue\n"
                                  "    if not data or data == b'exit':\n"
                                  "        sys.exit(0)\n"
                                  "    if data == b'stay':\n"
                                  "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                                  "    if data == b'flood':\n"
                                  "        data = b'x' * (48 << 20)\n"
                                  "    if data == b'die':\n"
                                  "        os.kill(os.getpid(), 9)\n"
                                  "    link.sendall(data)\n";

struct test_tool {
    const char *name;
    struct pt_buf bytes;
    unsigned char digest[PT_DIGEST];
};

static struct test_tool tools[2];

static inline void make_tools(void)
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

static inline void offer_tools(void)
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

static inline void send_tool(uint32_t index)
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

static inline uint32_t expect_missing(void)
{
    struct frame *f = expect(PT_C_MISSING);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    return pt_get_u32(&r);
}

static inline void bring_tools(void)
{
    offer_tools();
    if (expect_missing() == 0)
        return;
    send_tool(0);
    send_tool(1);
    cr_assert_eq(expect_missing(), 0);
}

static inline void expect_ready(struct pt_ready *ready)
{
    struct frame *f = expect(PT_C_READY);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    struct pt_err err = PT_ERR_INIT;
    cr_assert(pt_ready_decode(&r, ready, &err) == 0, "%s", err.msg);
}

static inline pid_t launch(uint32_t number)
{
    struct pt_launch l = {.launch = number,
                          .slots = 2,
                          .cert = (char *)"CERT",
                          .key = (char *)"KEY",
                          .ca = (char *)"CA",
                          .address = (char *)""};
    struct pt_buf b = {0};
    pt_launch_encode(&l, PT_C_LAUNCH, &b);
    send_frame(&b);
    struct frame *f = expect(PT_C_LAUNCHED);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    pid_t pid = (pid_t)pt_get_u32(&r);
    turn_until(got_link, "a link");
    return pid;
}

static inline uint32_t expect_exited(uint8_t program, char **output)
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
static inline pid_t whole_start(void)
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
static inline void expect_nothing_left(void)
{
    int64_t until = pt_now_ms() + PATIENCE;
    int there;
    while (((there = count_marked(w.mark, NULL, NULL)) || count_entries(w.runtime)) && pt_now_ms() < until)
        poll(NULL, 0, 20);
    cr_expect_eq(there, 0, "%d processes are left", there);
    cr_expect_eq(count_entries(w.runtime), 0, "folders are left");
    cr_expect(access(w.shm, F_OK) != 0, "%s is left", w.shm);
}

/* Which folder of /dev/shm belongs to the run: the one whose lock the keeper has open. */
static inline void find_shm(void)
{
    pid_t keeper = wait_marked(w.mark, "ptremote-keeper");
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

static inline void stop(void)
{
    send_u32(PT_C_STOP, 100);
    expect(PT_C_STOPPED);
    turn_until(is_ended, "the end of the channel");
}

static inline void set_up(void)
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
static inline void expect_no_sanitizer_report(void)
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
static inline int hang_up(void)
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
    for (size_t i = 0; i < m.nrelays; i++)
        pt_buf_fini(&m.relays[i].data);
    m = (struct master){.p = {.in = -1, .out = -1}};
    return status;
}

static inline void tear_down(void)
{
    hang_up();
    for (size_t i = 0; i < 2; i++)
        pt_buf_fini(&tools[i].bytes);
    expect_nothing_left();
    expect_no_sanitizer_report();
    remove_folder(w.dir);
}

static inline void run_with(struct pt_setup *setup)
{
    start_agent();
    send_setup(setup);
    bring_tools();
}
