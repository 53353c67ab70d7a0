/* SPDX-License-Identifier: Apache-2.0 */
/* A lane for each host, which says CLEAN in place of SETUP; a line for each when it is done. */
#include "clean.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/quote.h"
#include "hosts.h"
#include "lane.h"
#include "options_table.h"
#include "project.h"
#include "tools.h"
#include "verdict.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define STEP_MS 20000 /* deadline of each step of connecting */

/* Options of runs that it knows too. */
static const char *const known[] = {"hosts",    "hostfile", "remote-dir", "ssh-config",
                                    "host-key", "project",  "debug"};

bool pt_clean_is(const char *word)
{
    return strcmp(word, "clean") == 0;
}

/* --- hosts --- */

struct cleaning;

struct cleaned {
    struct cleaning *all;
    const struct pt_host *host;
    struct pt_lane *lane;
    uint64_t bytes;
    char *kept;
    bool installed, done;
};

struct cleaning {
    struct pt_loop *loop;
    struct pt_transport_options transport;
    struct pt_hosts hosts;
    struct cleaned *at;
    size_t left; /* that are not down */
    bool failed; /* one could not be cleaned */
    atomic_int cancel;
};

static void put_safe(const char *s)
{
    struct pt_buf safe = {0};
    pt_quote_print(&safe, s, strlen(s), 0);
    if (!safe.bad)
        printf("%.*s", (int)safe.len, safe.len ? (const char *)safe.data : "");
    pt_buf_fini(&safe);
}

/* "h1: 1.2 GB freed; kept, as used by run R: ws/..." */
static void tell(const struct cleaned *c)
{
    uint64_t bytes = c->bytes;
    size_t agent = c->installed ? pt_tools_agent()->size : 0; /* it came just to go again */
    bytes -= bytes < agent ? bytes : agent;
    put_safe(c->host->name);
    printf(": ");
    if (bytes >= 1000000000)
        printf("%.1f GB freed", (double)bytes / 1e9);
    else if (bytes >= 50000)
        printf("%.1f MB freed", (double)bytes / 1e6);
    else
        printf("nothing to free");
    if (c->kept[0]) {
        printf("; kept, as used by ");
        put_safe(c->kept);
    }
    putchar('\n');
}

static void complain(struct cleaned *c, const struct pt_err *err)
{
    c->all->failed = true;
    fflush(stdout);
    struct pt_err of_host = *err;
    if (!of_host.msg[0])
        pt_err_set(&of_host, "the connection ended before it was cleaned");
    pt_err_wrap(&of_host, "host %s", c->host->name);
    fprintf(stderr, "ptremote: %s%s%s\n", of_host.msg, of_host.hint[0] ? "; next: " : "", of_host.hint);
}

static void on_down(struct cleaned *c, const struct pt_lane_event *e)
{
    if (c->done)
        tell(c);
    else
        complain(c, &e->err);
    if (--c->all->left == 0)
        pt_loop_stop(c->all->loop);
}

static void on_event(void *arg, struct pt_lane_event *e)
{
    struct cleaned *c = arg;
    switch (e->kind) {
    case PT_LANE_CONNECTED:
        c->installed = e->bytes > 0;
        break;
    case PT_LANE_CLEANED:
        if (c->done)
            break;
        c->done = true;
        c->bytes = e->bytes;
        c->kept = pt_steal_ptr(&e->text);
        pt_lane_stop(c->lane, 0);
        break;
    case PT_LANE_LOG:
        pt_debug("%s: %s", c->host->name, e->text);
        break;
    case PT_LANE_DOWN:
        on_down(c, e);
        break;
    default:
        break;
    }
}

static int start(struct cleaning *all, const struct pt_options *opts, size_t i, struct pt_err *err)
{
    struct cleaned *c = &all->at[i];
    *c = (struct cleaned){.all = all, .host = &all->hosts.items[i]};
    struct pt_lane_options o = {.host = (uint32_t)i,
                                .target = {.name = c->host->name,
                                           .user = c->host->user,
                                           .host = c->host->host,
                                           .local = c->host->local},
                                .transport = &all->transport,
                                .remote_dir = opts->remote_dir ? opts->remote_dir : "",
                                .setup = {.silence_ms = opts->heartbeat_ms / 2 * 5},
                                .clean = true,
                                .lanes = (unsigned)all->hosts.n,
                                .loop = all->loop,
                                .on_event = on_event,
                                .arg = c};
    c->lane = pt_lane_create(&o, err);
    all->left += c->lane != NULL;
    return c->lane ? 0 : -1;
}

/* --- the command --- */

static int ask(void *arg, const char *host, const char *prompt, bool echo, char *answer, size_t size)
{
    struct cleaning *all = arg;
    return pt_project_ask(host, prompt, echo, answer, size, &all->cancel);
}

static void fini(struct cleaning *all)
{
    for (size_t i = 0; all->at && i < all->hosts.n; i++) {
        pt_lane_destroy(all->at[i].lane);
        free(all->at[i].kept);
    }
    free(all->at);
    pt_loop_destroy(all->loop);
    pt_hosts_fini(&all->hosts);
}

static int clean(struct cleaning *all, const struct pt_options *opts, struct pt_err *err)
{
    all->transport = (struct pt_transport_options){.ssh_config = opts->ssh_config,
                                                   .host_key = opts->host_key,
                                                   .step_ms = STEP_MS,
                                                   .ask = ask,
                                                   .arg = all,
                                                   .cancel = &all->cancel};
    if ((opts->hosts && pt_hosts_parse(opts->hosts, &all->hosts, err) < 0) ||
        (opts->hostfile && pt_hosts_parse_file(opts->hostfile, &all->hosts, err) < 0))
        return -1;
    all->loop = pt_loop_create(err);
    all->at = calloc(all->hosts.n, sizeof(*all->at));
    if (!all->loop || !all->at)
        return pt_err_set(err, "out of memory");
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < all->hosts.n; i++)
        if (start(all, opts, i, err) < 0)
            return -1;
    if (pt_loop_run(all->loop) < 0)
        return pt_err_set(err, "poll: %s", strerror(errno));
    if (fflush(stdout) != 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "output: %s", strerror(errno));
    return all->failed ? PT_EXIT_INFRA : 0;
}

/* --- words --- */

static int refuse_others(const struct pt_options *opts, struct pt_err *err)
{
    for (size_t i = 0; i < pt_option_count; i++) {
        const char *name = pt_option_rows[i].name;
        bool fits = false;
        for (size_t k = 0; name && k < PT_COUNT(known); k++)
            fits |= strcmp(name, known[k]) == 0;
        if (!opts->given[i] || fits)
            continue;
        if (name)
            pt_err_set_kind(err, PT_ERR_USAGE, "clean: --%s means nothing to it", name);
        else
            pt_err_set_kind(err, PT_ERR_USAGE, "clean: -%c means nothing to it", pt_option_rows[i].letter);
        return pt_err_hint(err, "ptremote clean --help");
    }
    if (opts->paths.n || opts->pytest_args.n) {
        pt_err_set_kind(err, PT_ERR_USAGE, "clean: unknown argument '%.80s'",
                        opts->paths.n ? opts->paths.item[0] : opts->pytest_args.item[0]);
        return pt_err_hint(err, "ptremote clean --help; a folder of that name is ./clean");
    }
    return 0;
}

static int print_help(struct pt_err *err)
{
    printf("Usage: ptremote %s\n\n", pt_clean_notes[0].term);
    pt_options_print_wrapped(pt_clean_notes[0].text);
    printf("\nAlso known, as for runs:");
    for (size_t i = 3; i < PT_COUNT(known); i++)
        printf(" --%s", known[i]);
    putchar('\n');
    return fflush(stdout) == 0 ? 0 : pt_err_set_kind(err, PT_ERR_INFRA, "output: %s", strerror(errno));
}

int pt_clean(int argc, char *const *argv, struct pt_err *err)
{
    struct pt_options opts = {0};
    struct cleaning all = {0};
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help(err);
    int rc = pt_options_parse(argc, argv, &opts, err);
    if (rc == 0)
        rc = refuse_others(&opts, err);
    if (rc == 0) {
        pt_log_setup(opts.debug ? PT_LOG_DEBUG : PT_LOG_WARN, "ptremote");
        pt_auto_free char *root = pt_project_find(opts.project, err);
        rc = err->msg[0] ? -1 : pt_options_complete(&opts, root, err);
    } else if (rc == 1) {
        pt_options_fini(&opts);
        return 0;
    }
    if (rc == 0)
        rc = clean(&all, &opts, err);
    fini(&all);
    pt_options_fini(&opts);
    return rc;
}
