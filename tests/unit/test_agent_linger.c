/* SPDX-License-Identifier: Apache-2.0 */
/* A host goes on without its master: the channel breaks, workers live, and a new channel is handed to the
 * agent that was there before. */
#include "agent_master.h"

#include <sys/socket.h>
#include <sys/un.h>

#define SECRET    "0123456789abcdef0123456789abcdef"
#define LINGER_MS 60000

static char tree[128], run_dir[256];
static pid_t mpirun;

static void set_up_linger(void)
{
    char proof[256];
    set_up();
    snprintf(tree, sizeof(tree), "%s/shared", w.dir);
    snprintf(proof, sizeof(proof), "%s/.ptremote", tree);
    cr_assert(mkdir(tree, 0755) == 0 && mkdir(proof, 0700) == 0);
    snprintf(proof, sizeof(proof), "%s/.ptremote/shared-1", tree);
    write_file(proof, SECRET, 0600);
}

TestSuite(agent_linger, .init = set_up_linger, .fini = tear_down, .timeout = 100);

/* A tree that is seen in place, so that it is there at once. */
static struct pt_setup linger_setup(uint32_t linger_ms)
{
    struct pt_setup setup = default_setup();
    setup.shared = tree;
    setup.proof = (char *)".ptremote/shared-1";
    setup.secret = (char *)SECRET;
    setup.linger_ms = linger_ms;
    return setup;
}

static void start_with(const struct pt_setup *setup)
{
    struct pt_ready ready;
    start_agent();
    send_setup(setup);
    expect_ready(&ready);
    snprintf(run_dir, sizeof(run_dir), "%s", ready.dir);
    pt_ready_fini(&ready);
    bring_tools();
    expect(PT_C_PYTHON);
    mpirun = launch(1);
    send_linger();
    find_shm();
}

static void start_lingering(uint32_t linger_ms)
{
    struct pt_setup setup = linger_setup(linger_ms);
    start_with(&setup);
}

static void attach_as(const char *run, uint32_t host, const char *dir)
{
    struct pt_buf b = {0};
    struct pt_attach attach = {.protocol = PT_PROTOCOL, .run = (char *)run, .host = host, .dir = (char *)dir};
    start_agent();
    pt_attach_encode(&attach, &b);
    send_frame(&b);
}

static uint32_t attach(void)
{
    attach_as("run1", 3, run_dir);
    struct frame *f = expect(PT_C_ATTACHED);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    uint32_t launched = pt_get_u32(&r);
    cr_assert(pt_get_end(&r));
    return launched;
}

static void relink(uint32_t number, const char *key)
{
    struct pt_launch l = {.launch = number,
                          .slots = 2,
                          .cert = (char *)"CERT",
                          .key = (char *)key,
                          .ca = (char *)"CA",
                          .address = (char *)""};
    struct pt_buf b = {0};
    pt_launch_encode(&l, PT_C_RELINK, &b);
    send_frame(&b);
}

static bool link_has(const char *text)
{
    return m.link.len && memmem(m.link.data, m.link.len, text, strlen(text));
}

static bool got_new_key(void)
{
    return link_has("KEY-2");
}

static bool got_echo(void)
{
    return link_has("hello");
}

static void expect_link(void)
{
    turn_until(got_new_key, "the link with new keys");
    pt_mux_send(m.mux, m.stream, "hello", 5);
    turn_until(got_echo, "an echo");
}

/* Waits for so many processes of that name. */
static void expect_count(const char *comm, int n)
{
    int64_t until = pt_now_ms() + PATIENCE;
    int there;
    while ((there = count_marked(w.mark, comm, NULL)) != n && pt_now_ms() < until)
        poll(NULL, 0, 10);
    cr_assert_eq(there, n, "%d of %s", there, comm);
}

static void expect_alive(void)
{
    cr_assert(kill(mpirun, 0) == 0, "mpirun is gone");
    cr_assert_eq(access(run_dir, F_OK), 0);
}

Test(agent_linger, goes_on_and_is_attached)
{
    start_lingering(LINGER_MS);
    hang_up();
    expect_alive();
    cr_assert_eq(attach(), 1);
    ping();
    cr_expect_eq(m.nopened, 0, "a link before RELINK");
    relink(1, "KEY-2");
    expect_link();
    expect_alive();
    expect_count("ptremote-agent", 1);
    expect_count("ptremote-keeper", 1);
    expect_count("ptremote-proxy", 1);
    stop();
}

Test(agent_linger, proxy_is_killed)
{
    pid_t proxy = 0;
    start_lingering(LINGER_MS);
    proxy = wait_marked(w.mark, "ptremote-proxy");
    kill(proxy, SIGKILL);
    turn_until(is_ended, "the end of the channel");
    hang_up();
    cr_assert_eq(attach(), 1);
    relink(1, "KEY-2");
    expect_link();
    stop();
}

Test(agent_linger, several_times)
{
    start_lingering(LINGER_MS);
    for (int i = 0; i < 4; i++) {
        hang_up();
        cr_assert_eq(attach(), 1);
        if (i == 1)
            continue; /* gone before RELINK */
        relink(1, "KEY-2");
        expect_link();
    }
    send_u32(PT_C_END_WORKERS, 0);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    pt_buf_clear(&m.link);
    launch(2);
    send_linger();
    stop();
}

/* Nobody noticed yet that the old channel is dead. */
Test(agent_linger, new_channel_wins)
{
    start_lingering(LINGER_MS);
    struct master old = m;
    m = (struct master){.p = {.in = -1, .out = -1}};
    cr_assert_eq(attach(), 1);
    relink(1, "KEY-2");
    expect_link();
    int64_t until = pt_now_ms() + PATIENCE;
    ssize_t n = 1;
    while (n != 0 && piped_wait(&old.p, false, until)) {
        char buf[4096];
        n = read(old.p.out, buf, sizeof(buf));
    }
    cr_expect_eq(n, 0, "the old channel is open still");
    struct master new = m;
    m = old;
    hang_up();
    m = new;
    expect_count("ptremote-proxy", 1);
    ping();
    stop();
}

Test(agent_linger, silent_master)
{
    struct pt_setup setup = linger_setup(LINGER_MS);
    setup.silence_ms = 5000;
    m.chatty = true; /* until it may be without us */
    start_with(&setup);
    m.chatty = false;
    turn_until(is_ended, "the end of the channel");
    hang_up();
    expect_alive();
    cr_assert_eq(attach(), 1);
    relink(1, "KEY-2");
    expect_link();
    stop();
}

static void expect_refused(const char *run, uint32_t host, const char *dir)
{
    attach_as(run, host, dir);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "does not linger here any more (") != NULL, "%s", text);
    turn_until(is_ended, "the end of the channel");
    hang_up();
}

Test(agent_linger, others_are_refused)
{
    char folder[256], link[256];
    start_lingering(LINGER_MS);
    hang_up();
    snprintf(folder, sizeof(folder), "%s/ptremote-zyxwvu", w.dir);
    snprintf(link, sizeof(link), "%s/ptremote-linked", w.dir);
    cr_assert(mkdir(folder, 0700) == 0 && symlink(run_dir, link) == 0);
    expect_refused("run2", 3, run_dir);
    expect_refused("run1", 4, run_dir);
    expect_refused("run1", 3, "");
    expect_refused("run1", 3, "/");
    expect_refused("run1", 3, "ptremote-abcdef");
    expect_refused("run1", 3, "/tmp");
    expect_refused("run1", 3, "/no/such/place/ptremote-abcdef");
    expect_refused("run1", 3, folder);
    expect_refused("run1", 3, link);
    cr_assert_eq(rmdir(folder), 0);
    cr_assert_eq(attach(), 1);
    stop();
}

Test(agent_linger, malformed_attach_is_refused)
{
    start_lingering(LINGER_MS);
    hang_up();
    start_agent();
    struct pt_buf b = {0};
    struct pt_attach want = {.protocol = PT_PROTOCOL, .run = (char *)"run1", .host = 3, .dir = run_dir};
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_ATTACH));
    send_frame(&b);
    free(fail_text());
    hang_up();
    start_agent();
    pt_attach_encode(&want, &b);
    pt_put_u8(&b, 0); /* the beginning of more */
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "not all") != NULL, "%s", text);
    hang_up();
    cr_assert_eq(attach(), 1);
    stop();
}

/* Two descriptors, of which neither is a channel, with bytes. */
static void send_two(int fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    char byte = 'x';
    int fds[2] = {0, 1};
    struct iovec io = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(c), fds, sizeof(fds));
    cr_assert_eq(sendmsg(fd, &msg, MSG_NOSIGNAL), 1);
}

/* Whoever can open the door, and says other things there. */
Test(agent_linger, nonsense_at_the_door)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    pid_t agent = 0;
    char fds[64];
    start_lingering(LINGER_MS);
    hang_up();
    agent = wait_marked(w.mark, "ptremote-agent");
    snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)agent);
    cr_assert_eq(attach(), 1); /* so that the channel of before is closed */
    hang_up();
    cr_assert_eq(attach(), 1);
    int before = count_entries(fds);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s/attach.sock", run_dir);
    for (int i = 0; i < 40; i++) {
        static char junk[20000];
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
        memset(junk, i, sizeof(junk));
        if (i % 5 == 0)
            send_two(fd);
        else if (i % 4)
            cr_assert(send(fd, junk, (size_t)(i % 2 ? 7 : 20000), MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
        if (i % 3 == 0) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            shutdown(fd, SHUT_WR);
            cr_expect_eq(poll(&p, 1, PATIENCE), 1);
        }
        close(fd);
    }
    hang_up();
    cr_assert_eq(attach(), 1);
    expect_descriptors(fds, before);
    stop();
}

Test(agent_linger, time_is_over)
{
    start_lingering(200);
    hang_up();
    expect_nothing_left();
    expect_refused("run1", 3, run_dir);
}

Test(agent_linger, not_without_linger)
{
    start_lingering(0);
    hang_up();
    expect_nothing_left();
    expect_refused("run1", 3, run_dir);
}

/* Something may be lacking still. */
Test(agent_linger, not_before_it_was_said)
{
    struct pt_setup setup = linger_setup(LINGER_MS);
    start_agent();
    send_setup(&setup);
    bring_tools();
    expect(PT_C_PYTHON);
    launch(1);
    hang_up();
    expect_nothing_left();
}

/* There is nothing to go on with. */
Test(agent_linger, not_without_workers)
{
    struct pt_setup setup = linger_setup(LINGER_MS);
    start_agent();
    send_setup(&setup);
    bring_tools();
    expect(PT_C_PYTHON);
    hang_up();
    expect_nothing_left();
}

Test(agent_linger, not_after_stop)
{
    start_lingering(LINGER_MS);
    pt_mux_send(m.mux, m.stream, "stay", 4);
    send_u32(PT_C_STOP, 500);
    ping();
    hang_up();
    expect_nothing_left();
}

Test(agent_linger, workers_die_while_nobody_is_there)
{
    start_lingering(LINGER_MS);
    hang_up();
    kill(mpirun, SIGKILL);
    expect_count("ptremote-worker", 0);
    cr_assert_eq(attach(), 1);
    relink(1, "KEY-2");
    uint32_t status = expect_exited(PT_PROGRAM_WORKERS, NULL);
    cr_expect(WIFSIGNALED((int)status) && WTERMSIG((int)status) == SIGKILL);
    launch(2);
    send_linger();
    hang_up();
    cr_assert_eq(attach(), 2);
    for (size_t i = 0; i < m.nframes; i++)
        cr_expect_neq(m.frames[i].type, PT_C_EXITED, "of launch 1, again");
    relink(2, "KEY-2");
    expect_link();
    stop();
}

Test(agent_linger, fork_server_dies_while_nobody_is_there)
{
    pid_t server = 0;
    start_lingering(LINGER_MS);
    hang_up();
    server = wait_marked(w.mark, "cat");
    kill(server, SIGKILL);
    int64_t until = pt_now_ms() + PATIENCE; /* the agent reaped it, and has started another */
    while (kill(server, 0) == 0 && pt_now_ms() < until)
        poll(NULL, 0, 10);
    cr_assert_eq(attach(), 1);
    expect_exited(PT_PROGRAM_FORKSERVER, NULL);
    relink(1, "KEY-2");
    expect_link();
    stop();
}

Test(agent_linger, keys_of_another_launch)
{
    start_lingering(LINGER_MS);
    hang_up();
    cr_assert_eq(attach(), 1);
    relink(7, "KEY-2");
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "RELINK of launch 7, while 1 runs") != NULL, "%s", text);
    stop();
}

static void killed_while_away(const char *role)
{
    pid_t pid = 0;
    start_lingering(LINGER_MS);
    hang_up();
    expect_count("ptremote-proxy", 0);
    cr_assert_eq(count_marked(w.mark, role, &pid), 1);
    kill(pid, SIGKILL);
    expect_nothing_left();
    expect_refused("run1", 3, run_dir);
}

Test(agent_linger, agent_is_killed_while_away)
{
    killed_while_away("ptremote-agent");
}

Test(agent_linger, keeper_is_killed_while_away)
{
    killed_while_away("ptremote-keeper");
}
