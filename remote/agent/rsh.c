/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/rsh.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/io.h"
#include "common/message_across.h"
#include "remote/agent/words.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define FAILED 1

/* What Open MPI puts around its command where the user's shell is sh or ksh. */
static const char profile[] = "( test ! -r ./.profile || . ./.profile;";

static char *join(int argc, char **argv)
{
    struct pt_buf b = {0};
    for (int i = 0; i < argc; i++) {
        pt_buf_append(&b, i ? " " : "", i ? 1 : 0);
        pt_buf_append(&b, argv[i], strlen(argv[i]));
    }
    pt_put_u8(&b, 0);
    if (!b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}

static const char *strip_profile(char *line)
{
    size_t n = strlen(line);
    if (strncmp(line, profile, sizeof(profile) - 1) != 0 || line[n - 1] != ')')
        return line;
    line[n - 1] = '\0';
    return line + sizeof(profile) - 1;
}

static int read_words(struct pt_relay *want, int argc, char **argv, struct pt_words *words,
                      struct pt_err *err)
{
    struct in_addr address;
    while (argc > 0 && argv[0][0] == '-') {
        argc--;
        argv++;
    }
    if (argc < 2 || inet_pton(AF_INET, argv[0], &address) != 1)
        return pt_err_set(err, "want the address of a host, and a command");
    pt_auto_free char *line = join(argc - 1, argv + 1);
    if (!line)
        return pt_err_set(err, "out of memory");
    if (pt_words_split(words, strip_profile(line), err) < 0)
        return -1;
    if (words->n == 0 || words->n > PT_WORDS_MAX)
        return pt_err_set(err, "a command of %zu words", words->n);
    *want = (struct pt_relay){.host = PT_NONE,
                              .address = ntohl(address.s_addr),
                              .what = PT_RELAY_ORTED,
                              .words = words->v,
                              .nwords = (uint32_t)words->n};
    return 0;
}

static int reach_agent(struct pt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const char *dir = getenv("PTREMOTE_RUN_DIR");
    if (!dir ||
        (size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/relay.sock", dir) >= sizeof(addr.sun_path))
        return pt_err_set(err, "no PTREMOTE_RUN_DIR: started by ptremote, of no use by itself");
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return pt_err_set(err, "%s: %s", addr.sun_path, strerror(errno));
    return pt_steal_fd(&fd);
}

static int say_want(int fd, const struct pt_relay *want, struct pt_err *err)
{
    struct pt_buf b = {0};
    pt_relay_encode(want, PT_Y_WANT, &b);
    int rc = b.bad ? pt_err_set(err, "out of memory") : pt_write_all(fd, b.data, b.len);
    if (rc < 0 && !b.bad)
        pt_err_set(err, "the agent: %s", strerror(errno));
    pt_buf_fini(&b);
    return rc;
}

static int take_frame(uint8_t type, struct pt_reader *body, int *status, struct pt_err *err)
{
    if (type == PT_Y_OUTPUT) {
        size_t n;
        const void *bytes = pt_get_bytes(body, &n);
        return pt_get_end(body) && (n == 0 || pt_write_all(STDERR_FILENO, bytes, n) == 0)
                   ? 0
                   : pt_err_set(err, "malformed output");
    }
    if (type == PT_Y_EXIT) {
        int how = (int)pt_get_u32(body);
        *status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
        return pt_get_end(body) ? 0 : pt_err_set(err, "malformed end");
    }
    if (type == PT_Y_REFUSED) {
        pt_auto_free char *why = pt_get_str(body, PT_MAX_TEXT);
        return pt_err_set(err, "refused: %s", pt_get_end(body) ? why : "?");
    }
    return pt_err_set(err, "unknown message %u", type);
}

/* Until the command ended: its status, or -1. */
static int hear(int fd, struct pt_buf *in, struct pt_err *err)
{
    for (int status = -1; status < 0;) {
        struct pt_reader body;
        uint8_t type;
        size_t total;
        int rc = pt_frame_next(in->data, in->len, PT_MAX_FRAME, &type, &body, &total);
        if (rc < 0 || (rc > 0 && take_frame(type, &body, &status, err) < 0))
            return err->msg[0] ? -1 : pt_err_set(err, "a frame of bad length");
        if (status >= 0)
            return status;
        if (rc > 0) {
            pt_buf_consume(in, total);
            continue;
        }
        char *room = pt_buf_reserve(in, 65536);
        ssize_t n = room ? read(fd, room, 65536) : -1;
        if (n == 0)
            return pt_err_set(err, "the connection ended");
        if (n < 0 && errno != EINTR)
            return pt_err_set(err, "%s", strerror(room ? errno : ENOMEM));
        in->len += n > 0 ? (size_t)n : 0;
    }
    return -1;
}

int pt_rsh_run(int argc, char **argv)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_words words = {0};
    struct pt_relay want;
    struct pt_buf in = {0};
    int status = -1;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    pt_auto_fd int fd = read_words(&want, argc, argv, &words, &err) < 0 ? -1 : reach_agent(&err);
    if (fd >= 0 && say_want(fd, &want, &err) == 0)
        status = hear(fd, &in, &err);
    if (status < 0)
        fprintf(stderr, "ptremote: %s: %s\n", argc > 0 ? argv[0] : "rsh", err.msg);
    pt_buf_fini(&in);
    pt_words_fini(&words);
    return status < 0 ? FAILED : status;
}
