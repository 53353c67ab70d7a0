/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Groups of ranks: a hub that does as it is told asks the agent for them, over the real mpirun. */
#include "agent_master.h"

#include "remote/agent/groups.h"

#include <glob.h>

/* Frames of the hub to us, besides ENDED. */
#define HUB_UP     98
#define HUB_LOST   99 /* the agent closed the socket */
#define HUB_SECOND 97 /* u8 1: a second connection was taken */

/* Rank 0 of the workers passes on what comes over the link: u8 what, u32 length, bytes. Members say that they
 * are up by a file, leave a daemon, and sleep. */
static const char hub_text[] =
    "#!/usr/bin/python3\n"
    "import os, select, signal, socket, struct, sys, time\n"
    "def word(name):\n"
    "    return sys.argv[sys.argv.index(name) + 1]\n"
    "def connect(name):\n"
    "    s = socket.socket(socket.AF_UNIX)\n"
    "    s.connect(word('--run-dir') + '/' + name)\n"
    "    return s\n"
    "def frame(kind, body=b''):\n"
    "    return struct.pack('>IB', len(body) + 1, kind) + body\n"
    "def daemon():\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        if os.fork() == 0:\n"
    "            os.closerange(0, 64)\n"
    "            time.sleep(1000)\n"
    "        os._exit(0)\n"
    "rank = os.environ['OMPI_COMM_WORLD_RANK']\n"
    "if '--group' in sys.argv:\n"
    "    said = ' '.join(sys.argv[1:])\n"
    "    if os.path.exists(os.environ['HOME'] + '/speak'):\n"
    "        from mpi4py import MPI\n"
    "        said = '%d of %d' % (MPI.COMM_WORLD.allreduce(1), MPI.COMM_WORLD.size)\n"
    "    if os.path.exists(os.environ['HOME'] + '/stay'):\n"
    "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    daemon()\n"
    "    if os.path.exists(os.environ['HOME'] + '/ask'):\n"
    "        asked = connect('relay.sock')\n"
    "        asked.sendall(b'of member ' + rank.encode())\n"
    "        said = asked.recv(100).decode()\n"
    "    said += '\\ncwd ' + os.getcwd()\n"
    "    print('member', rank, 'is up', flush=True)\n"
    "    name = '%s/up.%s.%s' % (os.environ['HOME'], word('--group'), rank)\n"
    "    with open(name + '.new', 'w') as f:\n"
    "        f.write(said + '\\n' + '\\n'.join('%s=%s' % v for v in os.environ.items()) + '\\n')\n"
    "    os.rename(name + '.new', name)\n"
    "if rank != '0' or '--group' in sys.argv:\n"
    "    time.sleep(1000)\n"
    "def up():\n"
    "    link = connect('link.sock')\n"
    "    keys = link.recv(struct.unpack('>I', link.recv(4, socket.MSG_WAITALL))[0], socket.MSG_WAITALL)\n"
    "    link.sendall(frame(98))\n"
    "    return link, struct.unpack('>I', keys[-4:])[0]\n"
    "link, linger = up()\n"
    "sock, got = None, b''\n"
    "while True:\n"
    "    ready = select.select([s for s in (link, sock) if s], [], [])[0]\n"
    "    if sock in ready:\n"
    "        try:\n"
    "            data = sock.recv(65536)\n"
    "        except OSError:\n"
    "            data = b''\n"
    "        link.sendall(data or frame(99))\n"
    "        sock = sock if data else sock.close()\n"
    "    if link not in ready:\n"
    "        continue\n"
    "    data = link.recv(65536)\n"
    "    if not data and linger:\n"
    "        link, linger = up()\n"
    "    elif not data:\n"
    "        sys.exit(0)\n"
    "    got += data\n"
    "    while len(got) >= 5 and len(got) >= 5 + struct.unpack('>I', got[1:5])[0]:\n"
    "        end = 5 + struct.unpack('>I', got[1:5])[0]\n"
    "        what, body, got = got[:1], got[5:end], got[end:]\n"
    "        if what == b'o':\n"
    "            sock = connect('group.sock')\n"
    "        if what == b'c':\n"
    "            sock = sock.close()\n"
    "        if what == b'k':\n"
    "            os.kill(os.getpid(), 9)\n"
    "        if what == b's':\n"
    "            try:\n"
    "                sock.sendall(body)\n"
    "            except OSError:\n"
    "                pass\n"
    "        if what == b'h':\n"
    "            hub = socket.socket(socket.AF_UNIX)\n"
    "            hub.bind(word('--run-dir') + '/rank.new')\n"
    "            hub.listen(8)\n"
    "            os.rename(word('--run-dir') + '/rank.new', word('--run-dir') + '/rank.sock')\n"
    "            if os.fork() == 0:\n"
    "                while True:\n"
    "                    member = hub.accept()[0]\n"
    "                    while (data := member.recv(65536)):\n"
    "                        member.sendall(data.upper())\n"
    "                    member.close()\n"
    "        if what == b'2':\n"
    "            other = connect('group.sock')\n"
    "            link.sendall(frame(97, b'\\1' if other.recv(1) else b'\\0'))\n";

static inline void set_up_groups(void)
{
    set_up();
    pt_buf_fini(&tools[0].bytes);
    pt_buf_append(&tools[0].bytes, hub_text, strlen(hub_text));
    pt_digest_buffer(PT_DIGEST_SHA256, tools[0].bytes.data, tools[0].bytes.len, tools[0].digest, NULL);
}

/* --- the hub --- */

static inline void tell_hub(char what, const void *data, size_t n)
{
    struct pt_buf b = {0};
    pt_put_u8(&b, (uint8_t)what);
    pt_put_bytes(&b, data, n);
    cr_assert(pt_mux_send(m.mux, m.stream, b.data, b.len) == 0);
    pt_buf_fini(&b);
}

/* The hub's next frame. */
static inline uint8_t hub_says(struct pt_buf *body)
{
    int64_t until = pt_now_ms() + PATIENCE;
    do {
        struct pt_reader r;
        uint8_t type;
        size_t total;
        if (pt_frame_next(m.link.data, m.link.len, PT_MAX_FRAME, &type, &r, &total) <= 0)
            continue;
        pt_buf_clear(body);
        pt_buf_append(body, r.p, r.left);
        pt_buf_consume(&m.link, total);
        return type;
    } while (turn(until));
    cr_assert(false, "the hub says nothing");
    return 0;
}

static inline void expect_hub(uint8_t want)
{
    struct pt_buf body = {0};
    cr_assert_eq(hub_says(&body), want);
    pt_buf_fini(&body);
}

/* Its wait status; its last words go to *words. */
static inline int expect_group_ended(uint32_t want, char **words)
{
    struct pt_buf body = {0};
    cr_assert_eq(hub_says(&body), PT_G_ENDED);
    struct pt_reader r = {.p = body.data, .left = body.len};
    uint32_t number = pt_get_u32(&r), status = pt_get_u32(&r);
    size_t n;
    const char *text = pt_get_bytes(&r, &n);
    cr_assert(pt_get_end(&r));
    cr_assert_eq(number, want, "group %u ended", number);
    cr_expect(n <= PT_GROUP_OUTPUT);
    if (words)
        *words = strndup(text ? text : "", n);
    pt_buf_fini(&body);
    return (int)status;
}

static inline void put_start(struct pt_buf *b, uint32_t group, uint32_t ranks, uint8_t yield)
{
    size_t mark = pt_frame_begin(b, PT_G_START);
    pt_put_u32(b, group);
    pt_put_u32(b, ranks);
    pt_put_u8(b, yield);
    pt_put_spread(b, NULL, 0);
    pt_frame_end(b, mark);
}

static inline void start_group(uint32_t group, uint32_t ranks, uint8_t yield)
{
    struct pt_buf b = {0};
    put_start(&b, group, ranks, yield);
    tell_hub('s', b.data, b.len);
    pt_buf_fini(&b);
}

static inline void end_group(uint32_t group)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_G_END);
    pt_put_u32(&b, group);
    pt_frame_end(&b, mark);
    tell_hub('s', b.data, b.len);
    pt_buf_fini(&b);
}

/* Until the file is there, and whole. */
static inline void wait_file(const char *path)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while (access(path, F_OK) != 0 && pt_now_ms() < until)
        turn(pt_now_ms() + 10);
    cr_assert(access(path, F_OK) == 0, "%s did not come", path);
}

/* What a member says of itself; the file is used up. */
static inline char *wait_member(uint32_t group, uint32_t rank)
{
    char path[128];
    struct pt_buf text = {0};
    snprintf(path, sizeof(path), "%s/up.%u.%u", w.dir, group, rank);
    wait_file(path);
    read_file(path, &text);
    unlink(path);
    pt_buf_append(&text, "", 1);
    return (char *)text.data;
}

static inline void wait_members(uint32_t group, uint32_t ranks)
{
    for (uint32_t i = 0; i < ranks; i++)
        free(wait_member(group, i));
}

static inline void start_launch(const struct pt_setup *setup)
{
    struct pt_ready ready;
    start_agent();
    send_setup(setup);
    expect_ready(&ready);
    pt_ready_fini(&ready);
    bring_tools();
    expect(PT_C_PYTHON);
    launch(1);
    expect_hub(HUB_UP);
    find_shm();
    tell_hub('o', NULL, 0);
}

/* A file of this name tells members what to do: "speak" MPI, "stay" when SIGTERM comes, "ask" at relay.sock.
 */
static inline void tell_members(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", w.dir, name);
    write_file(path, "", 0600);
}

static inline void start_all(void)
{
    struct pt_setup setup = default_setup();
    start_launch(&setup);
}

/* Ours for groups, the real one for the workers: `body` is what a group gets for mpirun. */
static inline void start_with_mpirun(char path[128], const char *body)
{
    static char text[1024];
    struct pt_setup setup = default_setup();
    snprintf(path, 128, "%s/mpirun", w.dir);
    snprintf(text, sizeof(text), "#!/bin/sh\ncase \"$*\" in *--group*) ;; *) exec mpirun \"$@\";; esac\n%s\n",
             body);
    write_file(path, text, 0700);
    setup.mpirun = path;
    start_launch(&setup);
}

/* --- what is there --- */

static inline bool has_word(const char *pid, const char *word)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    return n > 0 && memmem(text, (size_t)n, word, strlen(word)) != NULL;
}

/* Live processes of this run that are called with --group: with `comm`, of that name. */
static inline int count_members(const char *comm, pid_t *pid)
{
    int found = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *d; (d = readdir(dir));) {
        char name[32], state;
        int parent;
        if (d->d_name[0] < '0' || d->d_name[0] > '9' || !proc_stat(d->d_name, name, &state, &parent) ||
            state == 'Z' || (comm && strcmp(name, comm) != 0) || !has_word(d->d_name, "--group") ||
            !is_marked(d->d_name, w.mark))
            continue;
        if (pid && !found)
            *pid = atoi(d->d_name);
        found++;
    }
    closedir(dir);
    return found;
}

static inline int count_folders(const char *below, const char *name)
{
    char path[256];
    glob_t g;
    snprintf(path, sizeof(path), "%s/%s", below, name);
    int n = glob(path, 0, NULL, &g) == 0 ? (int)g.gl_pathc : 0;
    globfree(&g);
    return n;
}

static inline int count_session_folders(void)
{
    return count_folders(w.runtime, "ptremote-*/mpi*.*");
}

static inline int count_segment_folders(void)
{
    return count_folders(w.shm, "seg*.*") + count_folders(w.runtime, "ptremote-*/seg*.*");
}

/* Holds as soon as ENDED was said. */
static inline void expect_no_groups(void)
{
    cr_expect_eq(count_members(NULL, NULL), 0, "ranks or their daemons are left");
    cr_expect_eq(count_marked(w.mark, "ptremote-group", NULL), 0, "guards are left");
    cr_expect_eq(count_session_folders(), 0, "session folders are left");
    cr_expect_eq(count_segment_folders(), 0, "segments are left");
}

/* When nobody is there to be told. */
static inline void wait_no_groups(void)
{
    int64_t until = pt_now_ms() + PATIENCE;
    while ((count_marked(w.mark, "ptremote-group", NULL) || count_session_folders()) && pt_now_ms() < until)
        turn(pt_now_ms() + 20);
    expect_no_groups();
}
