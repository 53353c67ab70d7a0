/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote attach`: what a detached run printed, and prints until it ends. The file is looked at a few times
 * a second, also where it lies on a network and nothing tells of changes. A run has ended when its process
 * has, as its last lines come after the ledger was told. */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/quote.h"
#include "common/wire.h"
#include "printed.h"
#include "records_inside.h"
#include "verdict.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define LOOK_MS  200
#define QUIET_MS 2000       /* of another machine: it is recorded as ended, and nothing came for so long */
#define PIECE    (64 << 10) /* a line that is longer is shown in pieces */

/* --- which --- */

struct choice {
    const char *state;
    int64_t live, newest; /* detached ones; 0: none */
    char other[64];       /* the newest that goes on at its own terminal, or "" */
};

static int look(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    struct choice *c = arg;
    (void)counts;
    bool live = pt_recorded_state(run, NULL) == PT_RECORDED_RUNNING;
    bool detached = pt_printed_is(c->state, run->name);
    if (detached && !c->newest)
        c->newest = run->id;
    if (detached && live)
        c->live = run->id;
    if (!detached && live && !c->other[0])
        snprintf(c->other, sizeof(c->other), "%s", run->name);
    return c->live != 0;
}

static int refuse(const char *name, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_USAGE,
                    "run %s was not started with --detach, or too long ago: what it printed is not kept",
                    name);
    return pt_err_hint(err, "ptremote show %s tells what it has", name);
}

static int choose(struct pt_ledger *l, const struct pt_record_options *o, int64_t *id, struct pt_err *err)
{
    struct choice c = {.state = o->state};
    if (o->word)
        return (*id = pt_ledger_find_run(l, o->word, err)) ? 0 : -1;
    if (pt_ledger_each_run(l, look, &c, err) < 0)
        return -1;
    *id = c.live ? c.live : c.newest;
    if (*id)
        return 0;
    if (c.other[0])
        return refuse(c.other, err);
    return pt_err_set_kind(err, PT_ERR_USAGE, "no run that was started with --detach is recorded in %s",
                           o->state);
}

/* --- following --- */

struct follow {
    struct pt_ledger *l;
    struct pt_record_run run;
    int fd;
    struct pt_buf rest; /* a line without its end */
    int64_t came;       /* when something did, ms */
    bool over;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* What is whole of the rest, or all. */
static int print_lines(struct follow *f, bool all, struct pt_err *err)
{
    struct pt_buf safe = {0};
    const unsigned char *end = f->rest.len ? memrchr(f->rest.data, '\n', f->rest.len) : NULL;
    size_t n = all || f->rest.len > PIECE ? f->rest.len : end ? (size_t)(end - f->rest.data) + 1 : 0;
    if (n == 0)
        return 0;
    pt_quote_print(&safe, (const char *)f->rest.data, n, 1);
    int rc = safe.bad ? pt_err_set(err, "out of memory") : 0;
    if (rc == 0 && (fwrite(safe.data, 1, safe.len, stdout) != safe.len || fflush(stdout) != 0))
        rc = pt_err_set_kind(err, PT_ERR_INFRA, "stdout: %s", strerror(errno));
    pt_buf_consume(&f->rest, n);
    pt_buf_fini(&safe);
    return rc;
}

static int print_new(struct follow *f, struct pt_err *err)
{
    ssize_t n = 0;
    do {
        void *room = pt_buf_reserve(&f->rest, PIECE);
        n = room ? read(f->fd, room, PIECE) : -1;
        f->rest.len += n > 0 ? (size_t)n : 0;
        if (n < 0 && errno != EINTR)
            return pt_err_set_kind(err, PT_ERR_INFRA, "output of run %s: %s", f->run.name, strerror(errno));
        if (n > 0)
            f->came = pt_now_ms();
        if (n > 0 && print_lines(f, false, err) < 0)
            return -1;
    } while (n > 0 && !interrupted);
    return 0;
}

/* Will nothing more come? */
static int look_over(struct follow *f, struct pt_err *err)
{
    enum pt_master_state master = pt_master_state(f->run.master, NULL);
    if (master == PT_MASTER_HERE)
        return 0;
    if (pt_record_get(f->l, f->run.id, &f->run, err) < 0)
        return -1;
    f->over =
        master == PT_MASTER_GONE || (f->run.state == PT_RECORDED_ENDED && pt_now_ms() - f->came > QUIET_MS);
    return 0;
}

static int follow(struct follow *f, struct pt_err *err)
{
    while (!f->over && !interrupted) {
        if (look_over(f, err) < 0 || print_new(f, err) < 0) /* what it printed last is read after the look */
            return -1;
        if (!f->over && !interrupted)
            poll(NULL, 0, LOOK_MS);
    }
    return print_lines(f, true, err);
}

static int end_of(struct follow *f, struct pt_err *err)
{
    struct pt_ledger_run row;
    if (!f->over) {
        pt_err_set_kind(err, PT_ERR_INTERRUPTED, "no longer watching; run %s goes on", f->run.name);
        return pt_err_hint(err, "ptremote stop %s ends it", f->run.name);
    }
    if (f->run.state != PT_RECORDED_ENDED)
        return pt_record_lost(&f->run, err);
    return pt_ledger_get_run(f->l, f->run.id, &row, err) ? -1 : row.exitcode;
}

int pt_record_attach(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    struct follow f = {.l = l, .came = pt_now_ms()};
    struct sigaction action = {.sa_handler = on_interrupt};
    int64_t id;
    if (choose(l, o, &id, err) < 0 || pt_record_get(l, id, &f.run, err) < 0)
        return -1;
    pt_auto_fd int fd = pt_printed_open(o->state, f.run.name);
    if (fd < 0)
        return refuse(f.run.name, err);
    if (f.run.state == PT_RECORDED_UNKNOWN)
        fprintf(stderr,
                "ptremote: run %s is one of machine '%s': only there it can be told when it is cut off\n",
                f.run.name, f.run.machine);
    f.fd = fd;
    sigaction(SIGINT, &action, NULL);
    int rc = follow(&f, err);
    pt_buf_fini(&f.rest);
    return rc < 0 ? -1 : end_of(&f, err);
}
