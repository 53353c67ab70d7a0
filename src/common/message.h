/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Every message of every conversation, with its limits. docs/protocol.md has the sequence charts and the
 * fields in wire order; the Python side has the same numbers in remote/python/ptremote/wire.py.
 * All messages are frames of wire.h: u32 length, u8 type, fields. str and bytes are u32 length + bytes. */
#include "common/wire.h"

struct pt_err;

#define PT_PROTOCOL 6u          /* both ends say it first; different numbers do not talk */
#define PT_NONE     0xffffffffu /* no test, no file */

#define PT_MAX_FRAME  (16u << 20)  /* any frame on control, link, runner */
#define PT_MAX_PATH   (64u << 10)  /* any path or name */
#define PT_MAX_NODEID (1u << 20)   /* a node id, in bytes */
#define PT_MAX_TEXT   (4u << 20)   /* any other text: output, stack, JSON */
#define PT_MAX_TESTS  (10u << 20)  /* tests in a run */
#define PT_DATA_CHUNK (256u << 10) /* bytes in one PT_B_DATA */

/* Control stream: master to agent below 64, agent to master from 64 on. */
enum pt_control_message {
    PT_C_SETUP = 1,       /* struct pt_setup */
    PT_C_TOOLS = 2,       /* u32 n, n x {str name, 32 raw digest (SHA-256), u64 size} */
    PT_C_MANIFEST = 3,    /* struct pt_offer of sync/offer.h: answered by TREE, NEED, SYNCED or RESEND */
    PT_C_LAUNCH = 4,      /* struct pt_launch */
    PT_C_COLLECT = 5,     /* bytes json: collect in the workspace; opens a stream of kind COLLECT */
    PT_C_STOP = 6,        /* u32 grace ms: end what runs, clean up, say STOPPED, exit */
    PT_C_PING = 7,        /* u64 token */
    PT_C_END_WORKERS = 8, /* u32 grace ms: end the workers only; EXITED follows; LAUNCH may come again */
    PT_C_SURVEY = 9,      /* a tree is coming: look at the workspace meanwhile */
    /* Tests over several hosts: structs of message_across.h. */
    PT_C_LISTEN = 10, /* be there for probes of other hosts; answered by LISTENING */
    PT_C_PROBE = 11,  /* struct pt_probe: who of these can be reached? Answered by REACHED */
    PT_C_PEERS = 12,  /* struct pt_peers: with whom groups may be started; answered by PEERED */
    PT_C_RELAY = 13,  /* struct pt_relay: another host wants this one; a stream of kind RELAY answers */
    /* Where a run lingers, its master comes again over a new channel. */
    PT_C_ATTACH = 14, /* struct pt_attach, in place of SETUP; answered by ATTACHED or FAIL; nothing before */
    PT_C_RELINK = 15, /* struct pt_launch: new keys for the workers that run, whose link may come again */

    PT_C_LINGER = 16, /* nothing is lacking: from here on workers go on without a master, as SETUP allows */
    /* The host's cache. */
    PT_C_BOUND = 17, /* u64 bytes: that much it may take; what was used last longest ago goes */
    PT_C_CLEAN = 18, /* u8 1 in all default places, else 0; in place of SETUP; answered by CLEANED */

    PT_C_READY = 64,     /* struct pt_ready: answers SETUP */
    PT_C_MISSING = 65,   /* u32 n, n x u32 index into TOOLS: send these by B_TOOL; n = 0: all there */
    PT_C_TREE = 66,      /* u8 1: the base of that delta is not known here; send the whole manifest */
    PT_C_NEED = 67,      /* u32 blobs, bytes bitmap (bit i of byte i/8: blob i is needed) */
    PT_C_SYNCED = 68,    /* struct pt_synced of sync/offer.h: tests may start */
    PT_C_RESEND = 69,    /* str why: the tree changed while it was sent; scan again and send MANIFEST */
    PT_C_LAUNCHED = 70,  /* u32 pid of mpirun */
    PT_C_EXITED = 71,    /* u8 enum pt_program, u32 wait status, bytes last output */
    PT_C_LOG = 72,       /* u8 enum pt_log_level, bytes text */
    PT_C_FAIL = 73,      /* u8 enum pt_stage, str message, str hint: this host cannot be used */
    PT_C_PONG = 74,      /* u64 token */
    PT_C_STOPPED = 75,   /* nothing of this run is left but the agent, which exits now */
    PT_C_PYTHON = 76,    /* str version, str pytest version, str path: the fork server is up */
    PT_C_LISTENING = 77, /* struct pt_listening */
    PT_C_REACHED = 78,   /* struct pt_reached */
    PT_C_PEERED = 79,    /* PEERS was taken */
    PT_C_ATTACHED = 80,  /* u32 launch that runs, or 0: the agent of that run has this channel now */
    PT_C_CLEANED = 81,   /* u64 bytes freed, str what is in use and stayed, or "" */
};

enum pt_program { PT_PROGRAM_WORKERS = 1, PT_PROGRAM_FORKSERVER = 2, PT_PROGRAM_COLLECTOR = 3 };
enum pt_stage { PT_STAGE_SETUP = 1, PT_STAGE_TOOLS, PT_STAGE_TREE, PT_STAGE_LAUNCH, PT_STAGE_PYTHON };

/* Bulk stream, master to agent: one object after the other, each BEGIN, DATA ..., END. */
enum pt_bulk_message {
    PT_B_TOOL = 1,     /* u32 index into TOOLS */
    PT_B_MANIFEST = 2, /* zstd of the encoded manifest follows */
    PT_B_ARCHIVE = 3,  /* the needed blobs as one tar, in SEGMENTs */
    PT_B_DATA = 4,     /* raw bytes, at most PT_DATA_CHUNK */
    PT_B_END = 5,
    PT_B_DELTA = 6,   /* zstd of what turns the last manifest into this one follows */
    PT_B_SEGMENT = 7, /* u8 packed, u32 raw size, bytes: part of an ARCHIVE, a zstd frame if packed */
};

/* Link, over TLS. seq counts from 1 per launch and is acknowledged once the ledger has the message. */
enum pt_link_message {
    PT_L_HELLO = 1,   /* w>m: u32 PT_PROTOCOL, str run, u32 host, u32 launch, u32 slots, u64 got (as GOT),
                       * u64 the highest number that was acknowledged */
    PT_L_WELCOME = 2, /* m>w: u32 PT_PROTOCOL, u64 last acknowledged seq of this launch */
    PT_L_REFUSED = 3, /* m>w: str reason; then the link closes */
    PT_L_SESSION = 4, /* m>w: bytes json: what the runners need to configure pytest */
    PT_L_BUNDLE = 5,  /* m>w: struct pt_bundle */
    PT_L_ACK = 6,     /* m>w: u64 seq: all up to it are stored */
    PT_L_RECALL = 7,  /* m>w: u32 bundle: give it back if no runner has it */
    PT_L_CANCEL = 8,  /* m>w: kill what runs, drop what waits; no more reports are wanted */
    PT_L_QUIT = 9,    /* m>w: u32 grace ms: no more bundles; end the sessions, say BYE */
    PT_L_LIMITS = 10, /* m>w: struct pt_limits; before SESSION, and again when they change */
    PT_L_STEAL = 11,  /* m>w: u32 bundle, u32 n, n x u32 test: give back those that have not begun */
    PT_L_SIZES = 13,  /* m>w: struct pt_sizes of message_group.h: sizes of MPI tests that will come */
    PT_L_DROP = 12,   /* m>w: u32 bundle: nothing more of it is wanted; DONE follows where it was held */

    PT_L_STARTED = 32, /* w>m: u64 0, u32 rank, u32 bundle, u32 attempt, u32 test */
    PT_L_REPORT = 33,  /* w>m: u64 seq, u32 rank, u32 bundle, u32 attempt, u32 test, u8 outcome, bytes json */
    PT_L_DEATH = 34,   /* w>m: u64 seq, then struct pt_death */
    PT_L_NOTE = 35,    /* w>m: u64 seq, u32 rank, u32 bundle or NONE, bytes json */
    PT_L_DONE = 36,    /* w>m: u64 seq, u32 rank, u32 bundle, u32 attempt: every test of it was told */
    PT_L_BROKEN = 37,  /* w>m: u64 seq, u32 rank, bytes text: no runner can be started on this rank */
    PT_L_RECALLED = 38, /* w>m: u64 seq, u32 bundle, u8 1 given back, 0 too late */
    PT_L_BYE = 39,      /* w>m: u64 seq, u32 rank or NONE: rank's session ended; NONE: all did, link closes */
    PT_L_JOIN = 40,     /* rank to rank 0 only: u32 rank */
    PT_L_STOLEN = 41,   /* w>m: u64 seq, u32 rank or NONE, u32 bundle, u32 attempt, u32 n, n x u32 test */
    PT_L_RANKS =
        43, /* w>m: u64 seq, then struct pt_ranks of message_group.h: what all ranks of a test gave */
    PT_L_FALL =
        44, /* w>m: u64 seq, then struct pt_fall of message_group.h: a group of ranks came to its end */
    PT_L_OUTPUT = 42, /* w>m: u64 seq, u32 rank, u32 bundle or NONE, u32 test or NONE, bytes written */
    PT_L_GOT = 45,    /* w>m: u64 messages taken of this launch, over all its links; WELCOME, REFUSED and ACK
                       * are not counted. Said only where the run lingers */
    PT_L_WAITS = 46,  /* w>m: struct pt_waits: slots are another run's; once for each such run in turn */
};

/* Rank and its runner, over a socket pair. */
enum pt_runner_message {
    PT_R_SESSION = 1, /* bytes json */
    PT_R_BUNDLE = 2,  /* struct pt_bundle */
    PT_R_QUIT = 3,    /* end the session, after the test that runs */
    PT_R_STEAL = 4,   /* u32 n, n x u32 test: give back those that have not begun */

    PT_R_UP = 16,      /* pytest is configured; bundles are welcome */
    PT_R_CAPTURE = 17, /* two descriptors as ancillary data: where captured stdout and stderr go */
    PT_R_IMPORT = 18,  /* u32 file index in the bundle: it is being collected */
    PT_R_START = 19,   /* u32 test, u8 enum pt_phase; of other phases than the first PLACE has it */
    PT_R_REPORT = 20,  /* u32 test, u8 outcome, bytes json */
    PT_R_NOTE = 21,    /* bytes json */
    PT_R_DONE = 22,    /* u32 bundle */
    PT_R_BROKEN = 23,  /* bytes text: pytest could not be started; the runner exits */
    PT_R_ENDED = 24,   /* session fixtures, sessionfinish and unconfigure are done */
    PT_R_STOLEN = 25,  /* u32 bundle, u32 n, n x u32 test: will not be run; answers STEAL */
    PT_R_PLACE = 27,   /* a descriptor as ancillary data: a file of u32 test, u32 enum pt_phase, u64 ms since
                        * (CLOCK_MONOTONIC), rewritten when a phase begins */
    PT_R_FAILED = 28,  /* u32 test, u8 enum pt_phase: that phase failed here; of a rank of several only */
    PT_R_DIED = 26,    /* u32 wait status: the process that ran the tests ended, the session lives */
};

/* Fork server, over RUNDIR/fork.sock; one connection a process. Closing it kills the process's group. */
enum pt_fork_message {
    PT_F_RUN = 1,  /* str cwd, u32 n, n x {str name, str value}; 2 descriptors: control socket, output file */
    PT_F_KILL = 2, /* u32 signal, to the process group */

    PT_F_PID = 16,  /* u32 pid */
    PT_F_EXIT = 17, /* u32 wait status; then the server closes */
    PT_F_FAIL = 18, /* str reason; then the server closes */
};

/* First and only frame of the agent to a worker on RUNDIR/link.sock; then the socket is the link. */
enum pt_key_message {
    PT_K_LINK =
        1 /* str run, u32 host, u32 launch, str cert, str key, str ca, str address or "", u32 linger_ms */
};

enum pt_phase { PT_PHASE_COLLECT, PT_PHASE_SETUP, PT_PHASE_CALL, PT_PHASE_TEARDOWN, PT_PHASE_SESSION };
const char *pt_phase_name(unsigned phase);

/* What a test gave; in order of gravity, so that the greater of two is the one to keep. NONE is "not yet". */
enum pt_outcome {
    PT_OUTCOME_NONE,
    PT_OUTCOME_PASSED,
    PT_OUTCOME_SKIPPED,
    PT_OUTCOME_XFAILED,
    PT_OUTCOME_XPASSED,
    PT_OUTCOME_NOTRUN,
    PT_OUTCOME_LOST,
    PT_OUTCOME_ERROR,
    PT_OUTCOME_FAILED,
    PT_OUTCOME_TIMEOUT,
    PT_OUTCOME_CRASHED,
    PT_OUTCOMES,
};
/* "passed" ...; "?" for a number that is none. */
const char *pt_outcome_name(unsigned outcome);

struct pt_env {
    char *name, *value;
};

enum pt_setup_flag {
    PT_SETUP_SYNC_ONLY = 1u << 0, /* nothing will be launched or collected: no fork server, no --init */
    PT_SETUP_SANDBOX = 1u << 1,   /* tests have no network and a tree that is read-only */
};
#define PT_SETUP_FLAGS 3u /* all that there are */

struct pt_setup {
    uint32_t protocol;
    char *run;
    uint32_t host;                /* number of this host in the run */
    uint32_t slots;               /* 0: as many as cores */
    char *project;                /* key of the workspace: letters, digits, '-', '_', '.' */
    char *cwd;                    /* working directory below the workspace, "" for its top */
    char *python, *mpirun, *init; /* "" for the default */
    char *hash_seed;              /* PYTHONHASHSEED */
    uint32_t silence_ms;          /* clean up, or linger, when nothing was heard for so long */
    uint32_t linger_ms;           /* how long the workers go on without a master; 0: not at all */
    uint32_t flags;               /* enum pt_setup_flag */
    char *shared;                 /* where this host sees the tree itself, absolute; "": it is sent */
    char *proof, *secret;         /* file below shared, and what it holds if that is the tree; "" otherwise */
    char *preload;                /* modules for the fork server to import, comma separated; "" none */
    struct pt_env *env;
    uint32_t nenv;
};
void pt_setup_encode(const struct pt_setup *m, struct pt_buf *out); /* a whole frame */
int pt_setup_decode(struct pt_reader *r, struct pt_setup *m, struct pt_err *err);
void pt_setup_fini(struct pt_setup *m);

struct pt_ready {
    uint32_t protocol;
    char *machine; /* uname -m */
    uint32_t cores;
    uint64_t memory; /* bytes */
    char *machine_id;
    char *cache;     /* where programs and workspaces are */
    char *workspace; /* the tree's path on the host */
    char *dir;       /* the run's folder on the host, for ATTACH */
};
void pt_ready_encode(const struct pt_ready *m, struct pt_buf *out);
int pt_ready_decode(struct pt_reader *r, struct pt_ready *m, struct pt_err *err);
void pt_ready_fini(struct pt_ready *m);

/* Which run's agent shall have this channel. */
struct pt_attach {
    uint32_t protocol;
    char *run;
    uint32_t host; /* number in that run */
    char *dir;     /* as its READY told */
};
void pt_attach_encode(const struct pt_attach *m, struct pt_buf *out); /* a whole frame */
int pt_attach_decode(struct pt_reader *r, struct pt_attach *m, struct pt_err *err);
void pt_attach_fini(struct pt_attach *m);

struct pt_launch {
    uint32_t launch; /* counts the launches on this host from 1 */
    uint32_t slots;
    char *cert, *key, *ca; /* PEM */
    char *address;         /* "" through the agent, else ADDR:PORT of the master */
    char *share;           /* slots are shared with other runs, which are told this: USER@MACHINE; "": not */
};
/* type is PT_C_LAUNCH or PT_C_RELINK: the fields are the same. */
void pt_launch_encode(const struct pt_launch *m, uint8_t type, struct pt_buf *out);
int pt_launch_decode(struct pt_reader *r, struct pt_launch *m, struct pt_err *err);
void pt_launch_fini(struct pt_launch *m); /* wipes the key */

struct pt_bundle_test {
    uint32_t test;       /* number in the run */
    uint32_t occurrence; /* 0 for the first item of that id in the file, 1 for the second ... */
    char *nodeid;
};
struct pt_bundle_file {
    char *path; /* relative to rootdir, as the node id has it before "::" */
    struct pt_bundle_test *tests;
    uint32_t ntests;
};
enum pt_bundle_flag {
    PT_BUNDLE_NUMA = 1u << 0, /* its ranks have a NUMA domain to themselves */
};
#define PT_BUNDLE_FLAGS 1u    /* all that there are */
#define PT_RANKS_MAX    4096u /* ranks of one bundle */

#define PT_SPREAD_MAX 64u /* hosts that run one bundle together */

/* So many of a bundle's ranks, one host's share. */
struct pt_share {
    uint32_t host, ranks; /* number of the host in the run; at least 1 */
};

struct pt_bundle {
    uint32_t bundle, attempt;
    uint32_t timeout_ms; /* wall time of one test, 0: none */
    uint32_t rank;       /* the slot that must run it, or PT_NONE */
    uint32_t ranks;      /* of MPI that run each of its tests together; 1: an ordinary bundle */
    uint32_t flags;      /* enum pt_bundle_flag */
    /* Over several hosts: who has how many ranks, in rank order; first the host that gets the bundle. Each
     * host once, together `ranks`. NULL and 0: all ranks are on one host. */
    struct pt_share *spread;
    uint32_t nspread;
    struct pt_bundle_file *files;
    uint32_t nfiles;
};
/* u32 n, n x {u32 host, u32 ranks}. Reading: bad unless n is 0, or 2 to PT_SPREAD_MAX different hosts that
 * have `ranks` together; *shares is the caller's to free. */
void pt_put_spread(struct pt_buf *out, const struct pt_share *shares, uint32_t n);
struct pt_share *pt_get_spread(struct pt_reader *r, uint32_t ranks, uint32_t *n);
/* type is PT_L_BUNDLE or PT_R_BUNDLE: the fields are the same. */
void pt_bundle_encode(const struct pt_bundle *m, uint8_t type, struct pt_buf *out);
int pt_bundle_decode(struct pt_reader *r, struct pt_bundle *m, struct pt_err *err);
void pt_bundle_fini(struct pt_bundle *m);

/* Whom the host's workers wait for. */
struct pt_waits {
    char *run, *who;      /* as LAUNCH of that run had it */
    uint32_t held, slots; /* what it has, of how many */
};
void pt_waits_encode(const struct pt_waits *m, struct pt_buf *out); /* a whole WAITS frame */
int pt_waits_decode(struct pt_reader *r, struct pt_waits *m, struct pt_err *err);
void pt_waits_fini(struct pt_waits *m);

enum pt_fresh { PT_FRESH_NOT, PT_FRESH_BUNDLE, PT_FRESH_TEST };

struct pt_limits {
    uint32_t runners;      /* ranks that may start a runner now, the lowest first; PT_NONE: all */
    uint64_t memory;       /* bytes for a runner and all it started, 0: no limit */
    uint32_t output_ms;    /* how often new output is sent; 0: when a bundle ends and at the end */
    uint32_t grace_ms;     /* more time for a test whose time is over in its tear-down */
    uint32_t mpi_grace_ms; /* from a rank that fails to the end of those that are still in that phase */
    uint8_t fresh;         /* enum pt_fresh: how long a group of ranks lives */
};
void pt_limits_encode(const struct pt_limits *m, struct pt_buf *out); /* a whole LIMITS frame */
int pt_limits_decode(struct pt_reader *r, struct pt_limits *m, struct pt_err *err);

/* Tests of a bundle that are asked for, or given back. */
struct pt_steal {
    uint32_t bundle;
    uint32_t *tests;
    uint32_t n;
};
/* type is PT_L_STEAL or PT_R_STOLEN: the fields are the same. */
void pt_steal_encode(const struct pt_steal *m, uint8_t type, struct pt_buf *out);
int pt_steal_decode(struct pt_reader *r, struct pt_steal *m, struct pt_err *err);
void pt_steal_fini(struct pt_steal *m);

enum pt_cause {
    PT_CAUSE_DIED = 1,
    PT_CAUSE_TIMEOUT = 2,
    PT_CAUSE_MEMORY = 3,   /* above pt_limits.memory */
    PT_CAUSE_OOM = 4,      /* killed by the kernel, which was out of memory */
    PT_CAUSE_DEADLOCK = 5, /* another rank had failed, this one went on in the same phase */
    PT_CAUSE_FALL = 6,     /* ended because another rank was */
    PT_CAUSE_NO_GROUP = 7, /* of a FALL only: no ranks could be started */
};

/* A runner died, or was killed for its time. test NONE with a file: it died while that file was collected;
 * both NONE: outside any test (between bundles, in the session's end). */
struct pt_death {
    uint32_t rank, bundle, attempt;
    uint32_t test; /* or NONE */
    uint32_t file; /* index in the bundle as this rank got it, or NONE */
    char *path;    /* that file's path, "" when NONE */
    uint8_t phase, cause;
    uint32_t status;      /* as wait(2) gives it */
    uint64_t duration_us; /* since the phase or import began */
    /* Of the test: when it began, since 1970 by this host's clock, and how long it had run; 0: not known. */
    uint64_t began_us, lasted_us;
    char *stack, *output; /* Python stack at the end, last output; any bytes but NUL ('?' instead) */
};
void pt_death_encode(const struct pt_death *m, uint64_t seq, struct pt_buf *out);
/* r after the seq. */
int pt_death_decode(struct pt_reader *r, struct pt_death *m, struct pt_err *err);
void pt_death_fini(struct pt_death *m);
