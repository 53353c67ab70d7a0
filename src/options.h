/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the user asked for. One table (options_table.c) gives the parser, --help, the configuration files,
 * bash completion and the man page. The way of a start:
 *   pt_options_parse -> find the project's folder -> pt_options_complete -> read the fields. */
#include "common/color.h"
#include "cut.h"
#include "remote/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_err;

#define PT_OPTIONS_ROWS 96 /* at most so many rows in the table */

enum pt_collect_where { PT_COLLECT_HERE, PT_COLLECT_REMOTE };
enum pt_options_isolate { PT_ISOLATE_SESSION, PT_ISOLATE_BUNDLE, PT_ISOLATE_TEST };
enum pt_options_share { PT_SHARE_SLOTS, PT_SHARE_NONE };
enum pt_options_split { PT_SPLIT_AUTO, PT_SPLIT_NEVER };
enum pt_options_digest { PT_OPTIONS_BLAKE2B, PT_OPTIONS_SHA256 };
enum pt_options_from { PT_OPTIONS_COMMAND, PT_OPTIONS_PROJECT, PT_OPTIONS_USER };

/* Strings in the order given; item[n] is NULL; item is NULL when n is 0. */
struct pt_words {
    char **item;
    size_t n;
};

/* All strings are heap-owned; NULL means: not given. */
struct pt_options {
    char *hosts; /* host list; after pt_options_complete at least one of hosts and hostfile is there */
    char *hostfile;
    char *ssh_config;
    enum pt_host_key host_key;
    bool require_all_hosts;
    char *listen; /* ADDR:PORT, shape checked */

    char *project;
    struct pt_words extra_files, exclude;
    struct pt_words keep; /* globs of what stays in workspaces; after pt_options_complete all have a slash */
    bool copy_links;
    enum pt_options_digest digest;
    char *shared_fs; /* absolute: where every host sees the tree; nothing is sent */

    struct pt_words paths;       /* PATHs and node ids as written */
    struct pt_words pytest_args; /* all after "--" */
    char *keyword;               /* -k */
    char *markers;               /* -m */
    uint32_t maxfail;            /* 0: no limit; -x is 1 */
    uint32_t timeout_ms;         /* wall time of one test, 0: none */
    uint32_t bundles_per_worker;
    enum pt_schedule schedule;
    enum pt_dist dist;
    enum pt_options_split split;
    char *shuffle; /* "": a seed of our choice; else a number */
    char *replay;  /* file that --json wrote */
    char *resume;  /* RUN, "changed", both, or ""; after pt_resume_options the run's whole name */
    bool resume_changed;
    bool speculate;
    enum pt_options_share share;
    enum pt_options_isolate isolate;
    char *preload; /* "auto", "none" or names with commas; NULL: auto */
    char *runtime_data;
    uint32_t target_ms; /* 0: as fast as can be */
    uint32_t reruns;
    struct pt_words only_rerun; /* POSIX extended expressions */
    uint32_t run_timeout_ms;    /* 0: none */
    uint32_t grace_ms;          /* for tear-downs; after pt_options_complete not 0 */
    uint32_t mpi_grace_ms;      /* for the other ranks when one failed; after pt_options_complete not 0 */
    uint32_t heartbeat_ms;      /* after pt_options_complete not 0 */
    uint32_t linger_ms;         /* 0: hosts end with their connection */
    uint32_t leave_ms;          /* of work, with each slot; 0: as little as keeps it busy */
    bool sandbox;               /* tests have no network and a tree that is read-only */
    bool mpi_across;            /* tests of several ranks are spread over hosts wherever they can be */
    uint64_t memory_per_slot;   /* bytes, 0: no limit */
    enum pt_collect_where collect;
    bool stream_collection, strict_collection;
    bool last_failed, failed_first;

    struct pt_words env; /* NAME or NAME=VALUE, names checked; a later one wins */
    char *python, *mpirun, *init, *remote_dir;
    uint64_t cache_size; /* bytes that a host's cache may take; 0: any number */

    char *state_dir, *junitxml, *json;
    enum pt_color color;
    uint32_t verbose, quiet; /* how often; pytest's verbosity is the difference */
    bool debug, dry_run, sync_only, detach, live;

    bool given[PT_OPTIONS_ROWS]; /* by row: not a default. Ask pt_options_given */
};

/* Read the command line; no file and no environment is looked at. 0; 1 when help or version was printed to
 * stdout and the program is to end with 0; -1 with a usage error. opts needs pt_options_fini in every case.
 */
int pt_options_parse(int argc, char *const *argv, struct pt_options *opts, struct pt_err *err);

/* Fill what the command line left open: $PTREMOTE_HOSTS, PROJECT_ROOT/ptremote.conf (that of the
 * working folder if project_root is NULL), $XDG_CONFIG_HOME/ptremote.conf or ~/.config/ptremote.conf, then
 * the defaults. */
int pt_options_complete(struct pt_options *opts, const char *project_root, struct pt_err *err);

/* Merge one configuration file below what opts has already: single values only where none was given,
 * repeatable ones before those there. 0 too when there is no such file. Errors name file:line. */
int pt_options_load_config(struct pt_options *opts, enum pt_options_from from, const char *path,
                           struct pt_err *err);

/* The same with the user's own file. */
int pt_options_load_user(struct pt_options *opts, struct pt_err *err);

/* Was the option of that long name (or letter, for -k and -m) given anywhere? */
bool pt_options_given(const struct pt_options *opts, const char *name);

void pt_options_fini(struct pt_options *opts);
