/* SPDX-License-Identifier: Apache-2.0 */
/* The product's lanes without a run around them, for tests/bench/sync: connects to hosts, sends them a tree
 * again and again over connections that stay open, and tells what that took.
 *
 *   sync_driver --hosts LIST --ssh-config FILE --project DIR --state-dir DIR
 *
 * Each line on stdin is a command, answered by one line of JSON on stdout:
 *   connect  new connections, until every agent has answered
 *   settle   until every host has its programs and its Python
 *   sync     scan the tree and send it, until every host has said that its workspace is the tree
 *   close    end all connections
 * Bytes are what TCP carried for our sockets both ways (tcp_info), without headers. */
#include "common/err.h"
#include "common/loop.h"
#include "hosts.h"
#include "lane.h"
#include "project.h"
#include "sync/here/fanout.h"
#include "sync/here/scan.h"

#include <dirent.h>
#include <getopt.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define STEP_MS    20000
#define SILENCE_MS 30000
#define PATIENCE_S 900

struct host {
    struct driver *driver;
    const struct pt_host *spec;
    struct pt_lane *lane;
    struct pt_setup setup;
    bool ready, tooled, python, synced, down;
    double at;             /* monotonic, of the last thing waited for */
    struct pt_synced told; /* what the host said of the tree */
    char workspace[4096];
};

struct driver {
    struct pt_loop *loop;
    struct pt_hosts hosts;
    struct host *at;
    struct pt_transport_options transport;
    char *root, *state, *key;
    struct pt_fanout **trees; /* lanes may still read them */
    size_t ntrees;
    unsigned connections;
    bool closing;
};

struct totals {
    uint64_t out, in; /* bytes of TCP */
    double cpu;       /* seconds, of this program and its children */
};

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "sync_driver: %s: %s\n", what, why);
    exit(1);
}

/* --- what it costs --- */

static double seconds_of(const struct rusage *r)
{
    return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) +
           (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6;
}

static struct totals totals(void)
{
    struct totals t = {0};
    struct rusage self, children;
    struct dirent *e;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && (e = readdir(dir))) {
        struct tcp_info info = {0};
        socklen_t n = sizeof(info);
        if (getsockopt(atoi(e->d_name), IPPROTO_TCP, TCP_INFO, &info, &n) == 0) {
            t.out += info.tcpi_bytes_sent;
            t.in += info.tcpi_bytes_received;
        }
    }
    if (dir)
        closedir(dir);
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    t.cpu = seconds_of(&self) + seconds_of(&children);
    return t;
}

/* The most memory this program ever had, in KiB. */
static long peak_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/* --- lanes --- */

static void on_event(void *arg, struct pt_lane_event *e)
{
    struct host *h = arg;
    h->at = now();
    switch (e->kind) {
    case PT_LANE_READY:
        h->ready = true;
        snprintf(h->workspace, sizeof(h->workspace), "%s", e->ready.workspace);
        break;
    case PT_LANE_TOOLED:
        h->tooled = true;
        break;
    case PT_LANE_PYTHON:
        h->python = true;
        break;
    case PT_LANE_SYNCED:
        h->synced = true;
        h->told = e->sync.synced;
        break;
    case PT_LANE_STALE:
        die(h->spec->name, "the tree changed while it was sent");
        break;
    case PT_LANE_LOG:
        fprintf(stderr, "sync_driver: %s: %s\n", h->spec->name, e->text);
        break;
    case PT_LANE_DOWN:
        h->down = true;
        if (!h->driver->closing)
            die(h->spec->name, e->err.msg);
        break;
    default:
        break;
    }
}

static bool is_ready(const struct host *h)
{
    return h->ready;
}

static bool is_settled(const struct host *h)
{
    return h->tooled && h->python;
}

static bool is_synced(const struct host *h)
{
    return h->synced;
}

static bool is_down(const struct host *h)
{
    return h->down;
}

/* Go on until it is true for every host; the time when the last one said so. */
static double wait_all(struct driver *d, bool (*done)(const struct host *h))
{
    double give_up = now() + PATIENCE_S, last = 0;
    for (size_t i = 0; i < d->hosts.n; i++) {
        while (!done(&d->at[i])) {
            if (pt_loop_step(d->loop, 1000) < 0 || now() > give_up)
                die(d->at[i].spec->name, "no answer");
        }
        last = d->at[i].at > last ? d->at[i].at : last;
    }
    return last;
}

static void open_lanes(struct driver *d)
{
    char run[64];
    snprintf(run, sizeof(run), "bench-%ld-%u", (long)getpid(), ++d->connections);
    for (size_t i = 0; i < d->hosts.n; i++) {
        struct host *h = &d->at[i];
        struct pt_err err = PT_ERR_INIT;
        *h = (struct host){.driver = d, .spec = &d->hosts.items[i]};
        h->setup = (struct pt_setup){.protocol = PT_PROTOCOL,
                                     .run = run,
                                     .host = (uint32_t)i,
                                     .slots = 1,
                                     .project = d->key,
                                     .cwd = (char *)"",
                                     .python = (char *)"",
                                     .mpirun = (char *)"",
                                     .init = (char *)"",
                                     .hash_seed = (char *)"0",
                                     .silence_ms = SILENCE_MS};
        struct pt_lane_options o = {
            .host = (uint32_t)i,
            .target = {.name = h->spec->name, .user = h->spec->user, .host = h->spec->host},
            .transport = &d->transport,
            .remote_dir = "",
            .setup = h->setup,
            .state_dir = d->state,
            .lanes = (unsigned)d->hosts.n,
            .loop = d->loop,
            .on_event = on_event,
            .arg = h};
        if (!(h->lane = pt_lane_create(&o, &err)))
            die(h->spec->name, err.msg);
    }
}

static void close_lanes(struct driver *d)
{
    d->closing = true;
    for (size_t i = 0; i < d->hosts.n; i++)
        if (d->at[i].lane)
            pt_lane_stop(d->at[i].lane, 0);
        else
            d->at[i].down = true;
    wait_all(d, is_down);
    for (size_t i = 0; i < d->hosts.n; i++) {
        pt_lane_destroy(d->at[i].lane);
        d->at[i].lane = NULL;
    }
    for (size_t i = 0; i < d->ntrees; i++)
        pt_fanout_destroy(d->trees[i]);
    d->ntrees = 0;
    d->closing = false;
}

/* --- the tree --- */

static struct pt_manifest *scan(struct driver *d)
{
    char cache[4200];
    struct pt_err err = PT_ERR_INIT;
    snprintf(cache, sizeof(cache), "%s/hashes", d->state);
    struct pt_tree_spec spec = {.root = d->root, .cache = cache, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    if (!m)
        die(d->root, err.msg);
    return m;
}

/* The only place that knows how a tree is given to the lanes: scans it, and offers it to all of them. */
static const struct pt_manifest *send_tree(struct driver *d, double *scanned)
{
    struct pt_err err = PT_ERR_INIT;
    for (size_t i = 0; i < d->hosts.n; i++)
        pt_lane_survey(d->at[i].lane); /* they look while we scan */
    struct pt_fanout *tree = pt_fanout_create(scan(d), d->state, (unsigned)d->hosts.n, &err);
    if (!tree)
        die("tree", err.msg);
    *scanned = now();
    d->trees = realloc(d->trees, (d->ntrees + 1) * sizeof(*d->trees));
    if (!d->trees)
        die("tree", "out of memory");
    d->trees[d->ntrees++] = tree;
    for (size_t i = 0; i < d->hosts.n; i++)
        pt_lane_tree(d->at[i].lane, tree);
    return pt_fanout_manifest(tree);
}

/* --- commands --- */

static void answer(struct driver *d, const char *command, double seconds, const struct totals *before)
{
    struct totals after = totals();
    printf("{\"command\": \"%s\", \"seconds\": %.6f, \"out\": %llu, \"in\": %llu, \"cpu\": %.6f, "
           "\"peak_kib\": %ld, \"hosts\": [",
           command, seconds, (unsigned long long)(after.out - before->out),
           (unsigned long long)(after.in - before->in), after.cpu - before->cpu, peak_kib());
    for (size_t i = 0; i < d->hosts.n; i++) {
        const struct pt_synced *told = &d->at[i].told;
        printf("%s{\"name\": \"%s\", \"workspace\": \"%s\", \"files_received\": %llu, \"bytes_received\": "
               "%llu, \"files_reused\": %llu, "
               "\"survey_ms\": %u, \"apply_ms\": %u}",
               i ? ", " : "", d->at[i].spec->name, d->at[i].workspace, (unsigned long long)told->files_sent,
               (unsigned long long)told->bytes_sent, (unsigned long long)told->files_reused, told->survey_ms,
               told->apply_ms);
    }
    printf("]");
}

static void sync_all(struct driver *d, const char *command, double begun, const struct totals *before)
{
    double scanned;
    for (size_t i = 0; i < d->hosts.n; i++)
        d->at[i].synced = false;
    const struct pt_manifest *m = send_tree(d, &scanned);
    answer(d, command, wait_all(d, is_synced) - begun, before);
    printf(", \"scan\": %.6f, \"entries\": %zu, \"size\": %llu}\n", scanned - begun, pt_manifest_count(m),
           (unsigned long long)pt_manifest_bytes(m));
}

static void run_command(struct driver *d, const char *command)
{
    struct totals before = totals();
    double begun = now();
    if (strcmp(command, "connect") == 0) {
        open_lanes(d);
        answer(d, command, wait_all(d, is_ready) - begun, &before);
        printf("}\n");
    } else if (strcmp(command, "settle") == 0) {
        wait_all(d, is_settled);
        answer(d, command, now() - begun, &before);
        printf("}\n");
    } else if (strcmp(command, "sync") == 0) {
        sync_all(d, command, begun, &before);
    } else if (strcmp(command, "close") == 0) {
        close_lanes(d);
        answer(d, command, now() - begun, &before);
        printf("}\n");
    } else {
        die(command, "no such command");
    }
    fflush(stdout);
}

static void parse(struct driver *d, int argc, char **argv)
{
    static const struct option options[] = {{"hosts", required_argument, NULL, 'h'},
                                            {"ssh-config", required_argument, NULL, 'c'},
                                            {"project", required_argument, NULL, 'p'},
                                            {"state-dir", required_argument, NULL, 's'},
                                            {0}};
    struct pt_err err = PT_ERR_INIT;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (c == 'h' && pt_hosts_parse(optarg, &d->hosts, &err) < 0)
            die("--hosts", err.msg);
        else if (c == 'c')
            d->transport.ssh_config = optarg;
        else if (c == 'p')
            d->root = optarg;
        else if (c == 's')
            d->state = optarg;
        else if (c == '?')
            exit(2);
    }
    if (!d->hosts.n || !d->root || !d->state)
        die("usage", "--hosts LIST --ssh-config FILE --project DIR --state-dir DIR");
}

int main(int argc, char **argv)
{
    static char line[64];
    struct pt_err err = PT_ERR_INIT;
    struct driver d = {.transport = {.host_key = PT_HOST_KEY_STRICT, .step_ms = STEP_MS}};
    parse(&d, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    d.key = pt_project_key(d.root);
    d.at = calloc(d.hosts.n, sizeof(*d.at));
    d.loop = pt_loop_create(&err);
    if (!d.key || !d.at || !d.loop)
        die("start", "out of memory");
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        run_command(&d, line);
    }
    close_lanes(&d);
    pt_loop_destroy(d.loop);
    pt_hosts_fini(&d.hosts);
    free(d.trees);
    free(d.at);
    free(d.key);
    return 0;
}
