/* SPDX-License-Identifier: Apache-2.0 */
#include "sshd_lab.h"

#include <netinet/in.h>
#include <pthread.h>

TestSuite(ssh, .fini = lab_stop_all, .timeout = 100);
TestSuite(local, .timeout = 100);

/* --- the network --- */

Test(ssh, refused_port)
{
    lab_start("");
    lab_servers[1].port = lab_free_port();
    lab_host("h2", &lab_servers[1], "id", "");
    lab_fails("h2", "connection refused", "sshd runs there");
}

Test(ssh, unknown_name)
{
    lab_start("");
    lab_write("config", "Host h2\n HostName no-such-host.invalid\n");
    lab_fails("h2", "unknown host name 'no-such-host.invalid'", "check the name");
}

/* A port where connections are taken (or, with a full backlog, not) and nothing is ever said. */
static int silent_port(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 8) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

Test(ssh, silent_server_runs_into_the_deadline)
{
    lab_start("");
    int fd = silent_port(&lab_servers[1].port);
    lab_host("h2", &lab_servers[1], "id", "");
    lab_options.step_ms = 300;
    lab_fails("h2", "timed out", "see that the host");
    close(fd);
}

static void *cancel_soon(void *arg)
{
    int fd = *(int *)arg;
    struct sockaddr_in from;
    socklen_t n = sizeof(from);
    int peer = accept(fd, (struct sockaddr *)&from, &n); /* it is in the middle of connecting now */
    lab_cancel = 1;
    return (void *)(intptr_t)peer;
}

Test(ssh, cancel)
{
    lab_start("");
    pthread_t thread;
    int fd = silent_port(&lab_servers[1].port);
    lab_host("h2", &lab_servers[1], "id", "");
    lab_options.step_ms = 60000;
    pthread_create(&thread, NULL, cancel_soon, &fd);
    struct pt_err err;
    cr_assert_null(lab_open("h2", &err));
    cr_assert_eq(err.kind, PT_ERR_INTERRUPTED);
    pthread_join(thread, NULL);
}

Test(ssh, proxy_command_is_refused)
{
    lab_start("");
    lab_host("h2", &lab_servers[0], "id", " ProxyCommand touch /nonexistent/ran\n");
    lab_fails("h2", "ProxyCommand", "ProxyJump");
}

Test(ssh, sixteen_lanes_at_once)
{
    lab_start("MaxStartups 10:30:100\n");
    cr_assert_eq(lab_lanes(16), 16);
}

Test(ssh, dropped_before_log_in_and_tried_again)
{
    lab_start("MaxStartups 4:30:30\n");
    cr_assert_eq(lab_lanes(12), 12);
}

/* --- jump hosts --- */

static void jump_lab(void)
{
    lab_start("");
    struct lab_sshd *target = lab_sshd("h2", "", NULL);
    lab_know(target, "h2");
    lab_host("h2", target, "id", " ProxyJump h1\n");
    lab_host("h3", target, "id", " ProxyJump h1,h1b\n");
    lab_host("h1b", &lab_servers[0], "id", "");
}

Test(ssh, jump)
{
    jump_lab();
    lab_works("h2");
}

Test(ssh, two_jumps)
{
    jump_lab();
    lab_works("h3");
}

Test(ssh, jump_shared_by_lanes)
{
    jump_lab();
    struct pt_err err;
    struct pt_transport *all[6];
    for (size_t i = 0; i < 6; i++)
        cr_assert((all[i] = lab_open("h2", &err)), "%s", err.msg);
    cr_assert_eq(lab_run("test $(grep -c 'Accepted publickey' %s/sshd_h1.log) = 1", lab_dir), 0);
    for (size_t i = 0; i < 6; i++) {
        char out[32];
        cr_assert_eq(all[i]->ops->exec(all[i], "head -c 3000000 /dev/zero | wc -c", &err), 0);
        lab_read_all(all[i], out, sizeof(out));
        cr_assert_str_eq(out, "3000000\n");
    }
    for (size_t i = 0; i < 6; i++)
        all[i]->ops->close(all[i]);
}

Test(ssh, jump_host_with_an_unknown_key)
{
    jump_lab();
    unlink(lab_path("known"));
    lab_know(&lab_servers[1], "h2");
    lab_fails("h2", "jump host h1: host key of", "accept-new");
}

Test(ssh, jump_to_a_refused_port)
{
    jump_lab();
    lab_servers[2].port = lab_free_port();
    lab_host("h4", &lab_servers[2], "id", " ProxyJump h1\n");
    lab_fails("h4", "cannot get from there to 127.0.0.1", "AllowTcpForwarding");
}

Test(ssh, jump_in_a_circle)
{
    lab_start("");
    lab_host("a", &lab_servers[0], "id", " ProxyJump b\n");
    lab_host("b", &lab_servers[0], "id", " ProxyJump a\n");
    lab_fails("a", "circle", "exempt");
}

Test(ssh, jump_host_dies)
{
    jump_lab();
    struct pt_err err;
    struct pt_transport *t = lab_open("h2", &err);
    cr_assert(t, "%s", err.msg);
    cr_assert_eq(t->ops->exec(t, "sleep 60", &err), 0);
    lab_kill_connections(&lab_servers[0]);
    int rc = 0;
    for (int64_t end = pt_now_ms() + LAB_WAIT_MS; rc == 0 && pt_now_ms() < end;)
        rc = t->ops->wait(t, NULL, 0, false, 1000, &err);
    cr_assert_eq(rc, -1);
    cr_assert(strstr(t->ops->why(t), "jump host h1"), "%s", t->ops->why(t));
    t->ops->close(t);
}

/* --- the stream --- */

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 2654435761u >> 13);
}

#define ECHO_BYTES (64u << 20)

static void echo(struct pt_transport *t)
{
    enum { STEP = 100000 };
    static unsigned char out[STEP], in[STEP];
    struct pt_err err = PT_ERR_INIT;
    size_t sent = 0, got = 0;
    while (got < ECHO_BYTES) {
        size_t n = ECHO_BYTES - sent < STEP ? ECHO_BYTES - sent : STEP;
        for (size_t i = 0; i < n; i++)
            out[i] = pattern(sent + i);
        ssize_t put = n ? t->ops->write(t, out, n) : 0;
        cr_assert(put >= 0 || errno == EAGAIN, "%s", t->ops->why(t));
        sent += put > 0 ? (size_t)put : 0;
        ssize_t back = t->ops->read(t, in, sizeof(in));
        cr_assert(back > 0 || (back < 0 && errno == EAGAIN), "%s", t->ops->why(t));
        for (ssize_t i = 0; i < back; i++)
            if (in[i] != pattern(got + (size_t)i))
                cr_assert(false, "byte %zu differs", got + (size_t)i);
        got += back > 0 ? (size_t)back : 0;
        if (put <= 0 && back <= 0)
            cr_assert_eq(t->ops->wait(t, NULL, 0, n > 0, 20000, &err), 0, "%s", err.msg);
    }
}

Test(ssh, echo)
{
    lab_start("");
    struct pt_err err;
    struct pt_transport *t = lab_open("h1", &err);
    cr_assert(t, "%s", err.msg);
    cr_assert_eq(t->ops->exec(t, "exec cat", &err), 0, "%s", err.msg);
    echo(t);
    t->ops->close(t);
}

Test(ssh, echo_while_keys_are_exchanged_anew)
{
    lab_start("RekeyLimit 8M\n");
    struct pt_err err;
    struct pt_transport *t = lab_open("h1", &err);
    cr_assert(t, "%s", err.msg);
    cr_assert_eq(t->ops->exec(t, "exec cat", &err), 0, "%s", err.msg);
    echo(t);
    t->ops->close(t);
}

Test(ssh, echo_through_a_jump_host)
{
    jump_lab();
    struct pt_err err;
    struct pt_transport *t = lab_open("h2", &err);
    cr_assert(t, "%s", err.msg);
    cr_assert_eq(t->ops->exec(t, "exec cat", &err), 0, "%s", err.msg);
    echo(t);
    t->ops->close(t);
}

Test(ssh, stderr_and_signal)
{
    lab_start("");
    struct pt_err err;
    char out[64], text[64];
    struct pt_transport *t = lab_open("h1", &err);
    cr_assert_eq(t->ops->exec(t, "echo out; echo err >&2; kill -TERM $$", &err), 0);
    lab_read_all(t, out, sizeof(out));
    cr_assert_str_eq(out, "out\n");
    ssize_t n = t->ops->read_err(t, text, sizeof(text));
    cr_assert_eq(n, 4);
    int status = t->ops->status(t);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "%x", (unsigned)status);
    t->ops->close(t);
}

Test(ssh, wait_watches_other_descriptors)
{
    lab_start("");
    struct pt_err err;
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    struct pt_transport *t = lab_open("h1", &err);
    cr_assert_eq(t->ops->exec(t, "exec cat", &err), 0);
    struct pollfd fds[2] = {{.fd = ends[0], .events = POLLIN}, {.fd = -1}};
    cr_assert_eq(t->ops->wait(t, fds, 2, false, 0, &err), 0);
    cr_assert_eq(fds[0].revents, 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(t->ops->wait(t, fds, 2, false, -1, &err), 0);
    cr_assert(fds[0].revents & POLLIN);
    t->ops->close(t);
}

Test(ssh, server_killed)
{
    lab_start("");
    struct pt_err err;
    char buf[16];
    struct pt_transport *t = lab_open("h1", &err);
    cr_assert_eq(t->ops->exec(t, "sleep 60", &err), 0);
    lab_kill_connections(&lab_servers[0]);
    int rc = 0;
    for (int64_t end = pt_now_ms() + LAB_WAIT_MS; rc == 0 && pt_now_ms() < end;)
        rc = t->ops->wait(t, NULL, 0, false, 1000, &err);
    cr_assert_eq(rc, -1);
    cr_assert(t->ops->why(t)[0]);
    cr_assert(t->ops->read(t, buf, sizeof(buf)) == -1 && errno == ECONNRESET);
    cr_assert(t->ops->write(t, "x", 1) == -1 && errno == ECONNRESET);
    t->ops->close(t);
}

Test(ssh, slow_reader_holds_the_writer_back)
{
    lab_start("");
    struct pt_err err;
    struct pt_transport *t = lab_open("h1", &err);
    cr_assert_eq(t->ops->exec(t, "sleep 60", &err), 0);
    static char zeros[100000];
    size_t sent = 0;
    int64_t end = pt_now_ms() + LAB_WAIT_MS;
    while (pt_now_ms() < end) {
        ssize_t n = t->ops->write(t, zeros, sizeof(zeros));
        cr_assert(n > 0 || errno == EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        cr_assert_eq(t->ops->wait(t, NULL, 0, true, 200, &err), 0);
        if (n < 0 && t->ops->write(t, zeros, 1) < 0)
            break;
    }
    cr_assert(sent < (16u << 20), "%zu bytes taken that nobody reads", sent);
    t->ops->close(t);
}

/* --- local --- */

static struct pt_transport *local(const char *command)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_target target = {.name = "local", .host = "local", .local = true};
    struct pt_transport_options options = {.step_ms = 1000};
    struct pt_transport *t = pt_local_open(&target, &options, &err);
    cr_assert(t, "%s", err.msg);
    cr_assert_eq(t->ops->exec(t, command, &err), 0, "%s", err.msg);
    return t;
}

Test(local, runs_and_tells_the_status)
{
    char out[64], text[8];
    struct pt_transport *t = local("read x; echo \"got $x\"; echo err >&2; exit 7");
    cr_assert_eq(t->ops->status(t), -1);
    cr_assert_eq(t->ops->write(t, "it\n", 3), 3);
    lab_read_all(t, out, sizeof(out));
    cr_assert_str_eq(out, "got it\n");
    cr_assert_eq(t->ops->read_err(t, text, sizeof(text)), 4);
    cr_assert_eq(t->ops->read_err(t, text, sizeof(text)), 0);
    cr_assert_eq(t->ops->status(t), 7 << 8);
    t->ops->close(t);
}

Test(local, echo)
{
    struct pt_transport *t = local("exec cat");
    echo(t);
    t->ops->close(t);
}

Test(local, leads_its_own_session_and_inherits_nothing)
{
    char out[256];
    int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */
    struct pt_transport *t = local("test $(ps -o sid= -p $$) = $$ && ls /proc/self/fd | tr '\\n' ' '");
    lab_read_all(t, out, sizeof(out));
    cr_assert_str_eq(out, "0 1 2 3 "); /* 3 is ls's own */
    t->ops->close(t);
    close(leak);
}

Test(local, close_ends_a_command_that_will_not)
{
    char out[32];
    struct pt_transport *t = local("trap '' TERM HUP; echo $$; while :; do sleep 1; done");
    struct pt_err err = PT_ERR_INIT;
    ssize_t n = -1;
    while (n < 0) {
        n = t->ops->read(t, out, sizeof(out) - 1);
        cr_assert(n > 0 || errno == EAGAIN);
        cr_assert_eq(t->ops->wait(t, NULL, 0, false, 1000, &err), 0);
    }
    out[n] = '\0';
    pid_t pid = (pid_t)atoi(out);
    t->ops->close(t);
    cr_assert(kill(pid, 0) < 0 && errno == ESRCH);
}

Test(local, write_to_a_command_that_ended)
{
    struct pt_transport *t = local("exit 0");
    char out[8];
    lab_read_all(t, out, sizeof(out));
    cr_assert_eq(t->ops->status(t), 0);
    cr_assert(t->ops->write(t, "x", 1) == -1 && errno == EPIPE);
    cr_assert(t->ops->why(t)[0]);
    t->ops->close(t);
}
