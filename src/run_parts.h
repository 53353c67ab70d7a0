/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the run's files share:
 * run.c (start, end, time), run_check.c (does it go on?), run_begin.c, run_tree.c (what is sent),
 *   run_detach.c (--detach), run_sync.c (--sync-only), run_resume.c (what an earlier run left),
 *   run_failures.c (what failed before)
 * run_collect.c (what there is to run), run_units.c (what is dealt as one), run_ahead.c (what hosts do ahead)
 * run_hosts.c (each host's state), run_lost.c, run_away.c and run_end.c (the ends of that), run_deaths.c
 *   (whose fault they are), run_join.c and run_leave.c (hosts that come and go meanwhile), run_door.c (who
 *   asks for that)
 * run_links.c (its workers), run_deal.c (what they are dealt), run_nodes.c (slots as plugins see them),
 *   run_across.c and run_relays.c (tests over several hosts)
 * run_messages.c, run_groups.c and run_notes.c (what workers say), run_results.c (what tests gave)
 * Everything here belongs to the loop's thread. */
#include "backlog.h"
#include "collect.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/message_group.h"
#include "common/tls.h"
#include "cut.h"
#include "history.h"
#include "hosts.h"
#include "lane.h"
#include "ledger.h"
#include "link.h"
#include "listener.h"
#include "options.h"
#include "output/terminal.h"
#include "plan.h"
#include "replay.h"
#include "resume.h"
#include "shared.h"
#include "suite.h"
#include "sync/here/fanout.h"
#include "verdict.h"

#include <stdatomic.h>

#define PT_RUN_LAUNCHES  4u  /* the first, and three times again */
#define PT_RUN_STARTS    32u /* of a host's workers, with those after deaths that a test is to blame for */
#define PT_RUN_EXCUSED   64  /* such deaths in a run, before no host's workers are started again */
#define PT_RUN_COMMIT_MS 50
#define PT_RUN_GUESTS    256          /* connections that have not said who they are */
#define PT_RUN_SCANS     5            /* of a tree that changes while it is sent */
#define PT_RUN_JOINS     64           /* hosts that may join a run that goes on */
#define PT_RUN_SAID      1000         /* lines that a host may have shown in its own words */
#define PT_RUN_WRITTEN   (1ull << 30) /* bytes of output that are kept of a host */
#define PT_RUN_NOTED     (1ull << 30) /* bytes of notes that a host may say */

enum pt_host_state {
    PT_HOST_CONNECTING, /* the lane opens the connection and boots the agent */
    PT_HOST_PREPARING,  /* programs and tree are under way */
    PT_HOST_LAUNCHING,  /* mpirun was asked for, its link is not there */
    PT_HOST_JOINED,     /* the link is there, the tree or the session is not */
    PT_HOST_WORKING,    /* takes bundles */
    PT_HOST_ENDING,     /* its sessions end */
    PT_HOST_STOPPING,   /* the lane was told to stop */
    PT_HOST_DOWN,       /* the lane has ended */
    PT_HOST_STATES,
};

/* A host that goes on without us. */
struct pt_run_away {
    int64_t since, until; /* ms; since 0: it is not away */
    bool attached;        /* its agent is there again, its workers' link is not */
    uint64_t timer;       /* the next try, or until the link must be there */
};

struct pt_run_host {
    struct pt_run *run;
    uint32_t number;
    const struct pt_host *host;
    struct pt_lane *lane;
    struct pt_setup setup;
    struct pt_tls_identity identity;
    enum pt_host_state state;
    bool tooled, synced, python, lost; /* lost: went down without being told to */
    uint32_t launches, slots, busy;
    uint32_t blamed;  /* launches that ended by its own fault, as was told last */
    uint32_t room;    /* slots that may be used, if it has more */
    uint32_t runners; /* ranks that may have a session, as it was told last */
    uint64_t sizes;   /* of MPI tests to come, as it was told last: a digest, 0 none */
    uint32_t launch_slots;
    struct pt_link *link;
    uint32_t waits;            /* times that it said whom it waits for */
    uint32_t said;             /* lines that were shown in its own words */
    uint64_t written, noted;   /* bytes of output, of notes */
    uint64_t seq, acked;       /* last received of this launch; last acknowledged */
    int64_t lost_at;           /* ms; when its connection was, if it was there before; 0: never */
    char *dir;                 /* the run's folder there; NULL until READY */
    struct pt_backlog backlog; /* with --linger: what its workers may not have got */
    struct pt_run_away away;
    struct pt_lane_sync sync;
    double begun, connected, ready, synced_at, tooled_at, joined;
    char why[PT_ERR_MAX];            /* why it is down */
    char died[PT_ERR_MAX];           /* how its workers were lost last */
    uint64_t timer;                  /* until connecting again, or until a launch must have joined */
    const struct pt_fanout *offered; /* the last tree that it was given, or was told to do without */
    bool collecting;                 /* the remote collector runs here */
    bool broken;                     /* said that pytest cannot start */
    bool quits;                      /* is to be told to end its sessions */
    bool unsafe;                     /* said why it does not fork */
    bool late;                       /* joined while the run went on */
    bool leaves;                     /* gets nothing more, and is done once what it has is */
    uint32_t base;                   /* number of its first node: rank r is gw{base+r} */
};

/* A link whose HELLO did not come yet, or was refused. */
struct pt_run_guest {
    struct pt_link *link;
    long host;              /* whose agent carries it, or -1: it came to the listener */
    unsigned char from[16]; /* from this address; zeros: none */
};

struct pt_run_sizes {
    uint32_t n, ranks[PT_SIZES_MAX];
};

struct pt_run {
    const struct pt_options *opts;
    struct pt_loop *loop;
    char id[24];
    char hash_seed[16];
    char *root;      /* the tree that is sent; NULL until known */
    char *state_dir; /* NULL until root is known */
    char *cwd;       /* working directory below root, "" for its top */
    char *package;   /* folder of the Python package here */
    char *project_key;
    const char *command;      /* the command line, for people */
    const char *argv;         /* and as JSON */
    struct pt_detach *detach; /* NULL: nobody waits until it is under way */
    struct pt_env *env;       /* of the tests, besides what the host has */
    uint32_t nenv;
    int signals; /* signalfd */
    uint32_t maxfail;
    double started;

    struct pt_hosts hosts;
    struct pt_run_host *at;                       /* one for each host, and room for more */
    uint32_t room;                                /* how many it can be; what is above is none of ours */
    struct pt_transport_options transport, again; /* again: for hosts that are away */
    atomic_int cancel;
    struct pt_tls_ca *ca;
    struct pt_tls_identity identity;
    struct pt_listener *listener;
    struct pt_run_guest guests[PT_RUN_GUESTS]; /* links that have not joined, the oldest first */
    size_t nguests;

    struct pt_shared shared; /* --shared-fs */
    struct pt_fanout *tree;
    struct pt_fanout *trees[PT_RUN_SCANS]; /* the last is `tree`; lanes may still send the others */
    unsigned scans;
    bool scanning;

    struct pt_collect *collect;
    bool collected, session_known;
    struct pt_nodes *nodes; /* NULL until the session line came */
    char *why_not_streaming;
    char *junit_family, *junit_suite, *junit_prefix, *junit_path;
    char *cache_dir; /* pytest's, or NULL */
    char *fail_text; /* what pytest said when it could not collect */
    uint32_t collect_errors, collect_skips, deselected;
    struct pt_suite *suite;

    struct pt_plan *plan;
    struct pt_across *across;   /* NULL until the plan wants to know who may run tests together */
    struct pt_cut *cut;         /* NULL with a replay */
    struct pt_history *history; /* NULL until the ledger is open */
    struct pt_replay *replay;
    struct pt_resume *resume;  /* NULL: a new run */
    struct pt_json *failures;  /* pt_run_failures; NULL: not asked for, or none known */
    uint32_t resumed_failures; /* that maxfail does not count */
    uint32_t *replay_hosts;    /* by host of that run: the one of this run */
    uint64_t seed;             /* of --shuffle */
    char *preload;
    struct pt_run_sizes sizes_before, sizes_seen; /* of MPI tests: in the run before, in this one */
    double *expected;                             /* with --target: of each unit */
    size_t nexpected, cap_expected;
    uint32_t aim; /* slots to use, 0: all */
    struct pt_verdict *verdict;
    struct pt_ledger *ledger;
    struct pt_terminal *terminal;
    struct pt_rerun *rerun;   /* NULL: nothing runs again */
    struct pt_logs *logs;     /* NULL: none are kept */
    struct pt_status *status; /* NULL: nobody can ask */
    struct pt_door *door;     /* NULL: nobody can ask for hosts to come or go */
    uint64_t commit_timer, tick_timer, end_timer;
    int64_t committed_at; /* ms; 0: never */
    bool committing;      /* at once */

    bool lanes_started;
    bool ending;      /* the sessions are told to end */
    bool stopping;    /* the lanes are told to stop */
    bool interrupted; /* Ctrl-C */
    int64_t interrupted_at;
    char stopped[PT_ERR_MAX]; /* why it ends early, in words, or "" */
    struct pt_end end;
    struct pt_err failure; /* what ends the program, if anything did */
    bool failed;
};

/* run_begin.c */
void pt_run_make_id(struct pt_run *run);
/* The tree's folder is known: state folder, lanes, scan. */
int pt_run_open(struct pt_run *run, const char *root, struct pt_err *err);
/* What need not be there before the first host answers: keys and ledger. */
int pt_run_record(struct pt_run *run, struct pt_err *err);
/* What the host is told at first; what it shows of itself. */
void pt_run_host_setup(struct pt_run_host *h);
int pt_run_host_identity(struct pt_run_host *h, struct pt_err *err);

/* run_tree.c */
/* Scan the tree (again) in a thread; hosts get it when it is done. */
int pt_run_scan(struct pt_run *run);

/* run_check.c */
/* Look whether the run is over, or can never be, and go on accordingly. Call after every event. */
void pt_run_check(struct pt_run *run);
/* End early: nothing more is dealt, what runs is killed. why in words for the last line. */
void pt_run_stop(struct pt_run *run, const char *why);
/* The same, but tests that run may end, and sessions are torn down, within the grace. */
void pt_run_end_early(struct pt_run *run, const char *why);
/* Something that ends the program with an error. */
void pt_run_fail(struct pt_run *run, const struct pt_err *err);

/* The lanes stop, once, and nothing more is dealt. */
void pt_run_stop_lanes(struct pt_run *run);

/* run.c */
/* What was reported is to be on disk at once, unless something was put there within PT_RUN_COMMIT_MS. */
void pt_run_commit_soon(struct pt_run *run);
/* What each host was and got, into the ledger. */
void pt_run_record_host(const struct pt_run_host *h);
void pt_run_record_hosts(struct pt_run *run);

/* run_hosts.c */
/* Along an edge of the table; anything else is a reported bug. */
void pt_run_host_set(struct pt_run_host *h, enum pt_host_state state);
/* Its state in a word. */
const char *pt_run_host_state(const struct pt_run_host *h);
void pt_run_host_show(struct pt_run_host *h, const char *state);
/* run->hosts has it, and run->at room; then, once it has its setup, it may be connected to. */
void pt_run_host_init(struct pt_run *run, uint32_t number);
void pt_run_host_prepare(struct pt_run_host *h);
int pt_run_hosts_start(struct pt_run *run, struct pt_err *err);
void pt_run_hosts_tree(struct pt_run *run);    /* the tree is there */
void pt_run_hosts_session(struct pt_run *run); /* the session is there */
/* Start its workers, for the first time or again. */
void pt_run_host_launch(struct pt_run_host *h);
/* Connect to it, for the first time or again; arg is the host, as for a timer. */
void pt_run_host_connect(void *arg);
/* The host gets the tree, or will do without it: whatever was kept for it need not be any more. */
void pt_run_host_offer_tree(struct pt_run_host *h, bool give);
/* Hosts that are not DOWN; hosts that are not DOWN, STOPPING or ENDING. */
uint32_t pt_run_hosts_alive(const struct pt_run *run);
uint32_t pt_run_hosts_usable(const struct pt_run *run);
/* Is a host still on its way to WORKING, for the first time or again? */
bool pt_run_hosts_coming(const struct pt_run *run);
void pt_run_hosts_fini(struct pt_run *run);
/* One line for the user about a host. */
void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* May one more line be shown that the host itself brings about? Says once that there were too many. */
bool pt_run_host_may_say(struct pt_run_host *h);

/* Another lane for a host that is away; -1: not now. */
int pt_run_host_attach(struct pt_run_host *h);
/* Which launch its workers are of, and their keys, as a frame of that type. */
void pt_run_host_keys(const struct pt_run_host *h, uint8_t type, struct pt_buf *out);

/* run_lost.c */
/* Its link, if there is one, is not its any more. */
void pt_run_host_unlink(struct pt_run_host *h);
/* The host is of no use: its work goes to others, it is told to stop. */
void pt_run_host_give_up(struct pt_run_host *h, const char *why);
/* Its workers are gone: what they held goes back, and they are started again. */
void pt_run_host_workers_lost(struct pt_run_host *h, const char *why);
/* DOWN. */
void pt_run_host_down(struct pt_run_host *h, const struct pt_lane_event *e);

/* run_away.c */
/* DOWN: 1 when the host goes on by itself and is tried again, so that nothing of it is lost. */
bool pt_run_away_down(struct pt_run_host *h, const struct pt_lane_event *e);
/* ATTACHED. */
void pt_run_away_attached(struct pt_run_host *h, uint32_t launch);
/* Is this the link of its workers, which was awaited? Then it is theirs. */
bool pt_run_away_expects(const struct pt_run_host *h, const struct pt_hello *hello);
void pt_run_away_back(struct pt_run_host *h, struct pt_link *link, uint64_t got);
/* It is not awaited any more. */
void pt_run_away_end(struct pt_run_host *h);
/* Tell the workers; when they are away, once they are back. */
void pt_run_host_say(struct pt_run_host *h, const struct pt_buf *frames);

/* run_sync.c */
/* With --sync-only: has this host got all? Then say so, and let it go. */
void pt_run_sync_look(struct pt_run_host *h);
/* All hosts are down: the last line, the JSON file, the exit code; -1. */
int pt_run_sync_end(struct pt_run *run, struct pt_err *err);

/* All was collected, or a host is gone: who is still needed? */
void pt_run_hosts_collected(struct pt_run *run);
/* Start workers where there is something to do for them. */
void pt_run_hosts_wake(struct pt_run *run);

/* run_units.c */
/* --shuffle and --replay: what the order goes by. Before the collector is started. */
int pt_run_units_open(struct pt_run *run, struct pt_err *err);
/* The ledger is there: what earlier runs took, and how tests are cut. */
int pt_run_units_begin(struct pt_run *run, struct pt_err *err);
/* Slots became known. */
void pt_run_units_slots(struct pt_run *run);
/* A `file` line of the collector; its `final` line. */
int pt_run_units_file(struct pt_run *run, const char *path, const struct pt_json *tests, struct pt_err *err);
int pt_run_units_end(struct pt_run *run, const struct pt_json *order, struct pt_err *err);
/* The run is over: what it took is written down. */
int pt_run_units_keep(struct pt_run *run, struct pt_err *err);
void pt_run_units_fini(struct pt_run *run);
/* "session", "bundle" or "test". */
const char *pt_run_isolate(const struct pt_run *run);
/* What a replay has to know, as JSON (heap), NULL when memory ends. */
char *pt_run_how(const struct pt_run *run);

/* run_ahead.c */
/* The modules for the fork servers (heap), NULL when memory ends. */
char *pt_run_preload(const struct pt_run *run);
/* Reads the sizes of MPI tests that the run before had. */
void pt_run_ahead_begin(struct pt_run *run);
/* There is a test of so many ranks. */
void pt_run_ahead_saw(struct pt_run *run, uint32_t ranks);
/* `list` (room for PT_SIZES_MAX) are the n sizes that are known to come: while tests are collected those of
 * the run before that fit so many slots are put in too. How many there are then. */
uint32_t pt_run_ahead_sizes(const struct pt_run *run, uint32_t slots, struct pt_size *list, uint32_t n);
/* The run is over: what the next one may do ahead. */
void pt_run_ahead_keep(const struct pt_run *run);

/* run_end.c */
/* The sessions end; hosts that have none stop at once. */
void pt_run_hosts_quit(struct pt_run *run);
/* The same for one host, unless it ends already; pt_run_hosts_part follows. */
void pt_run_host_quit(struct pt_run_host *h);
/* Hosts that are to end their sessions, and have ranks that others lead: these may have ended. */
void pt_run_hosts_part(struct pt_run *run);
void pt_run_hosts_stop(struct pt_run *run, uint32_t grace_ms);
/* All its sessions have ended. */
void pt_run_host_bye(struct pt_run_host *h);

/* run_join.c */
/* Why no host can join this run or leave it, or NULL. */
const char *pt_run_hosts_fixed(const struct pt_run *run);
/* Hosts of such a list join: all of them, and these are the last of run->hosts, or -1. */
int pt_run_join(struct pt_run *run, const char *list, struct pt_err *err);

/* run_leave.c */
/* The host of that name is drained, and leaves when it has nothing more. */
int pt_run_leave(struct pt_run *run, const char *name, struct pt_err *err);
/* After every event: is one free that leaves? */
void pt_run_leave_look(struct pt_run *run);

/* run_door.c */
/* The run is recorded: who asks for hosts to come or go is heard. */
void pt_run_door_open(struct pt_run *run);

/* run_links.c */
/* A connection that should be a worker's; host -1: any of the run. Takes fd over. */
void pt_run_link(struct pt_run *run, int fd, long host);
void pt_run_links_fini(struct pt_run *run);

/* run_deaths.c */
/* Its workers are gone, and the plan knows: are they not to be started again? */
bool pt_run_host_spent(const struct pt_run_host *h);
/* Once for each time that they are: "2 of 3", or that it is not the host's fault. */
void pt_run_host_starts(struct pt_run_host *h, char *out, size_t size);
/* Why a test was given up that brings hosts down: appends a line with its NUL. */
void pt_run_killed_words(const struct pt_run *run, const struct pt_plan_deaths *deaths, struct pt_buf *out);

/* run_deal.c */
/* JOINED, and the tree and the session are there: WORKING. */
void pt_run_host_begin(struct pt_run_host *h);
void pt_run_host_limits(struct pt_run_host *h);
void pt_run_deal(struct pt_run *run);
/* Acknowledge all that was received; call after a commit. */
void pt_run_hosts_ack(struct pt_run *run);

/* run_across.c */
/* After every event: ask on, or ask anew. */
void pt_run_across_look(struct pt_run *run);
/* LISTENING, REACHED, PEERED. */
void pt_run_across_event(struct pt_run_host *h, struct pt_lane_event *e);
/* Its workers are gone; its connection is. */
void pt_run_across_lost(struct pt_run_host *h);
void pt_run_across_down(struct pt_run_host *h);
void pt_run_across_fini(struct pt_run *run);

/* run_relays.c */
/* A stream of kind RELAY of that host; takes fd over. */
void pt_run_relay(struct pt_run_host *h, int fd);
/* Does it have ranks that another host leads? */
bool pt_run_relays_led(const struct pt_run_host *h);

/* run_messages.c */
/* A message of a welcomed link. */
int pt_run_message(struct pt_run_host *h, uint8_t type, struct pt_reader *body, struct pt_err *err);

/* run_results.c */
/* A report of no test, made here or by the collector: json as docs/protocol.md 7.2. */
void pt_run_entry(struct pt_run *run, uint32_t host, const void *json, size_t n);
void pt_run_lost_test(void *run, uint32_t test); /* for pt_plan's given_up */
/* No host of this run can take it. */
void pt_run_impossible_test(struct pt_run *run, uint32_t test);
/* Before pt_verdict_finish: a test that was to run again and did not has the outcome of its last try. */
void pt_run_results_end(struct pt_run *run);
/* Count and keep a note (docs/protocol.md 7.3). */
void pt_run_warning(struct pt_run *run, uint32_t host, const void *json, size_t n);

/* run_failures.c: --last-failed, --failed-first: what the collector is to know (borrowed), or NULL. */
const struct pt_json *pt_run_failures(struct pt_run *run);

/* run_resume.c; each does nothing in a run that is new, but _tree, which records it. */
/* --resume: what that run left is read. Before anything else that is made for the run. */
int pt_run_resume_open(struct pt_run *run, const char *state_dir, struct pt_err *err);
/* Must the tree be there before it is asked which tests there are? */
bool pt_run_resume_waits(const struct pt_run *run);
/* The tree was scanned. */
int pt_run_resume_tree(struct pt_run *run, const struct pt_manifest *tree, struct pt_err *err);
/* pytest's rootdir is known. */
int pt_run_resume_session(struct pt_run *run, const char *rootdir, struct pt_err *err);
/* 1: the test has the outcome that it had, and is not to be dealt; 0: it is. */
int pt_run_resume_take(struct pt_run *run, uint32_t test, struct pt_err *err);
/* All was collected. */
int pt_run_resume_collected(struct pt_run *run, struct pt_err *err);

/* run_detach.c; each does nothing without --detach */
/* The state folder is there: what is printed is kept in it. */
int pt_run_detach_open(struct pt_run *run, struct pt_err *err);
/* The run is in the ledger, or pytest took its arguments: the starter waits so long at most from here on. */
void pt_run_detach_within(struct pt_run *run, int64_t ms);
#define PT_RUN_RECORDED_MS 10000
#define PT_RUN_SESSION_MS  2000
/* Did the starter leave it alone? */
bool pt_run_detach_goes_on(const struct pt_run *run);
/* After every event: is it under way? Then the starter is told. */
void pt_run_detach_look(struct pt_run *run);

/* run_collect.c */
int pt_run_collect_start(struct pt_run *run, struct pt_err *err);
/* A collector on that host speaks on fd. */
void pt_run_collect_remote(struct pt_run_host *h, int fd);
/* Is a host to collect, none does, and this one can? Then it begins. */
void pt_run_collect_offer(struct pt_run_host *h);
/* The connection to h is gone: if it collected, another does, or h itself once it is back. */
void pt_run_collect_lost(struct pt_run_host *h);
/* The collector on h ended so, and said that last (may be NULL). */
void pt_run_collect_exited(struct pt_run_host *h, uint32_t status, const char *output);
