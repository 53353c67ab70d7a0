/* SPDX-License-Identifier: Apache-2.0 */
/* What mpirun starts where it would start ssh: which words it takes, and how it ends. */
#include "agent_driver.h"

#include "common/err.h"
#include "common/message_across.h"

#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS "10.1.2.3"

static struct {
    char dir[64], stderr_file[96], program[4096];
    int listener;
} lab;

static void set_up_rsh(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    strcpy(lab.dir, "/tmp/ptrsh.XXXXXX");
    cr_assert(mkdtemp(lab.dir) != NULL);
    snprintf(lab.stderr_file, sizeof(lab.stderr_file), "%s/stderr", lab.dir);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/relay.sock", lab.dir);
    lab.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(lab.listener, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
              listen(lab.listener, 8) == 0);
    agent_program(lab.program);
}

static void tear_down_rsh(void)
{
    close(lab.listener);
    remove_folder(lab.dir);
}

TestSuite(agent_rsh, .init = set_up_rsh, .fini = tear_down_rsh, .timeout = 100);

/* --- the program --- */

static void start_rsh(struct piped *p, const char *const *args)
{
    char *argv[32] = {lab.program, (char *)"rsh"}, run_dir[128];
    size_t n = 2;
    for (; *args; args++)
        argv[n++] = (char *)*args;
    snprintf(run_dir, sizeof(run_dir), "PTREMOTE_RUN_DIR=%s", lab.dir);
    char *env[] = {run_dir, (char *)"ASAN_OPTIONS=detect_leaks=1", NULL};
    piped_start(p, lab.program, argv, env, lab.stderr_file);
}

static int end_rsh(struct piped *p)
{
    int status = 0;
    piped_close(p);
    waitpid(p->pid, &status, 0);
    cr_expect(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_stderr(const char *wanted)
{
    struct pt_buf text = {0};
    read_file(lab.stderr_file, &text);
    pt_put_u8(&text, 0);
    cr_expect_str_eq((char *)text.data, wanted);
    pt_buf_fini(&text);
}

/* Waits for it to call, or to end: -1 then. */
static int accept_rsh(const struct piped *p)
{
    struct pollfd fds[] = {{.fd = lab.listener, .events = POLLIN}, {.fd = p->out, .events = POLLIN}};
    cr_assert(poll(fds, 2, PATIENCE) > 0);
    return fds[0].revents ? accept4(lab.listener, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static void read_want(int fd, struct pt_relay *want)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf in = {0};
    struct pt_reader body;
    uint8_t type;
    size_t total;
    while (pt_frame_next(in.data, in.len, PT_MAX_FRAME, &type, &body, &total) == 0) {
        ssize_t n = recv(fd, pt_buf_reserve(&in, 65536), 65536, 0);
        cr_assert(n > 0);
        in.len += (size_t)n;
    }
    cr_assert(type == PT_Y_WANT && pt_relay_decode(&body, want, &err) == 0, "%s", err.msg);
    pt_buf_fini(&in);
}

static void say(int fd, struct pt_buf *b)
{
    cr_assert(!b->bad && send(fd, b->data, b->len, MSG_NOSIGNAL) == (ssize_t)b->len);
    pt_buf_fini(b);
}

static void say_u32(int fd, uint8_t type, uint32_t value)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_put_u32(&b, value);
    pt_frame_end(&b, mark);
    say(fd, &b);
}

static void say_text(int fd, uint8_t type, const char *text)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_put_str(&b, text);
    pt_frame_end(&b, mark);
    say(fd, &b);
}

/* --- words --- */

static void expect_taken(const char *const *args, const char *const *words)
{
    struct piped p;
    struct pt_relay want;
    start_rsh(&p, args);
    pt_auto_fd int fd = accept_rsh(&p);
    cr_assert(fd >= 0, "'%s' was refused", args[1]);
    read_want(fd, &want);
    cr_expect(want.host == PT_NONE && want.address == 0x0a010203 && want.id == 0 &&
              want.what == PT_RELAY_ORTED);
    uint32_t n = 0;
    for (; words[n]; n++)
        cr_expect(n < want.nwords && strcmp(want.words[n], words[n]) == 0, "word %u of '%s'", n, args[1]);
    cr_expect_eq(want.nwords, n);
    pt_relay_fini(&want);
    say_u32(fd, PT_Y_EXIT, 0);
    cr_expect_eq(end_rsh(&p), 0);
}

#define TAKEN(args, ...)                                                                                     \
    do {                                                                                                     \
        const char *const words[] = {__VA_ARGS__, NULL};                                                     \
        expect_taken(args, words);                                                                           \
    } while (0)
#define ARGS(...) ((const char *const[]){ADDRESS, __VA_ARGS__, NULL})

/* As Open MPI 4.1 says it. */
Test(agent_rsh, words_of_mpirun)
{
    TAKEN(ARGS(" orted", "-mca", "orte_node_regex", "\"ag[1:6]a,[2:10].66.6.2@0(2)\"", "-mca",
               "ess_base_vpid", "1", "-mca", "orte_hnp_uri", "\"1.0;tcp://10.66.6.1:48083\""),
          "orted", "-mca", "orte_node_regex", "ag[1:6]a,[2:10].66.6.2@0(2)", "-mca", "ess_base_vpid", "1",
          "-mca", "orte_hnp_uri", "1.0;tcp://10.66.6.1:48083");
    TAKEN(ARGS("(", "test", "!", "-r", "./.profile", "||", ".", "./.profile;", "orted", "-mca", "a", "\"b\"",
               ")"),
          "orted", "-mca", "a", "b");
    TAKEN(((const char *const[]){"-x", "-n", ADDRESS, "orted", NULL}), "orted");
}

Test(agent_rsh, words_as_a_shell_parts_them)
{
    TAKEN(ARGS("a  b\tc "), "a", "b", "c");
    TAKEN(ARGS("a'b c'd \"\" ''"), "ab cd", "", "");
    TAKEN(ARGS("\"a\\\"b\\\\c\\d\" e\\ f\\'g"), "a\"b\\c\\d", "e f'g");
    TAKEN(ARGS("'$x `y` \\z'"), "$x `y` \\z");
}

Test(agent_rsh, what_a_shell_would_do_is_refused)
{
    static const char *const lines[] = {
        "orted; reboot",
        "orted & x",
        "a|b",
        "a>b",
        "a<b",
        "$x",
        "\"$x\"",
        "`x`",
        "\"`x`\"",
        "$(x)",
        "(x)",
        "{a,b}",
        "*",
        "a?",
        "[a]",
        "~/x",
        "# x",
        "!x",
        "a\nb",
        "'a",
        "\"a",
        "a\\",
        "\"a\\\"",
        "",
        "   ",
        "( x )",
        "( test ! -r ./.profile || . ./.profile; orted; x )",
    };
    for (size_t i = 0; i < PT_COUNT(lines); i++) {
        struct piped p;
        start_rsh(&p, ARGS(lines[i]));
        pt_auto_fd int fd = accept_rsh(&p);
        cr_expect(fd < 0, "'%s' was taken", lines[i]);
        cr_expect_eq(end_rsh(&p), 1);
    }
}

Test(agent_rsh, who_is_no_address_is_refused)
{
    static const char *const names[] = {"h2", "10.1.2", "root@10.1.2.3", "::1", "10.1.2.3.4", ""};
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        struct piped p;
        start_rsh(&p, (const char *const[]){names[i], "orted", NULL});
        pt_auto_fd int fd = accept_rsh(&p);
        cr_expect(fd < 0, "'%s' was taken", names[i]);
        cr_expect_eq(end_rsh(&p), 1);
    }
    struct piped p;
    start_rsh(&p, (const char *const[]){ADDRESS, NULL});
    cr_expect_eq(accept_rsh(&p), -1);
    cr_expect_eq(end_rsh(&p), 1);
}

/* --- the end --- */

static int call(struct piped *p)
{
    struct pt_relay want;
    start_rsh(p, ARGS("orted"));
    int fd = accept_rsh(p);
    cr_assert(fd >= 0);
    read_want(fd, &want);
    pt_relay_fini(&want);
    return fd;
}

Test(agent_rsh, ends_as_orted_did)
{
    static const int statuses[][2] = {{0, 0}, {7 << 8, 7}, {SIGKILL, 128 + SIGKILL}};
    for (size_t i = 0; i < PT_COUNT(statuses); i++) {
        struct piped p;
        pt_auto_fd int fd = call(&p);
        say_text(fd, PT_Y_OUTPUT, i ? "" : "one\n");
        say_text(fd, PT_Y_OUTPUT, i ? "" : "two\n");
        say_u32(fd, PT_Y_EXIT, (uint32_t)statuses[i][0]);
        cr_expect_eq(end_rsh(&p), statuses[i][1]);
    }
    expect_stderr("one\ntwo\n");
}

Test(agent_rsh, refused)
{
    struct piped p;
    pt_auto_fd int fd = call(&p);
    say_text(fd, PT_Y_REFUSED, "no such host");
    cr_expect_eq(end_rsh(&p), 1);
    expect_stderr("ptremote: " ADDRESS ": refused: no such host\n");
}

Test(agent_rsh, the_connection_ends)
{
    struct piped p;
    close(call(&p));
    cr_expect_eq(end_rsh(&p), 1);
    expect_stderr("ptremote: " ADDRESS ": the connection ended\n");
}

Test(agent_rsh, nonsense)
{
    static const char *const frames[] = {"\0\0\0\0",     "\377\377\377\377", "\0\0\0\1\4",
                                         "\0\0\0\3\4ab", "\0\0\0\1\77",      "\0\0\0\2\3a"};
    static const size_t sizes[] = {5, 5, 5, 7, 5, 6};
    for (size_t i = 0; i < PT_COUNT(frames); i++) {
        struct piped p;
        pt_auto_fd int fd = call(&p);
        char bytes[8] = {0};
        memcpy(bytes, frames[i], sizes[i] < 5 ? sizes[i] : sizes[i] - (i < 2));
        cr_assert(send(fd, bytes, sizes[i], MSG_NOSIGNAL) == (ssize_t)sizes[i]);
        cr_expect_eq(end_rsh(&p), 1, "frame %zu was taken", i);
    }
}

Test(agent_rsh, no_agent)
{
    struct piped p;
    close(lab.listener);
    lab.listener = -1;
    start_rsh(&p, ARGS("orted"));
    cr_expect_eq(end_rsh(&p), 1);
}
