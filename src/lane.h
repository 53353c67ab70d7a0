/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One host's way: a thread that connects, brings the programs, sends the tree, launches and waits. It owns
 * the transport; the run's loop gets to know by events and says what to do by the calls below. */
#include "common/err.h"
#include "common/message_across.h"
#include "remote/transport.h"
#include "sync/here/fanout.h"
#include "sync/offer.h"

struct pt_lane;
struct pt_loop;

enum pt_lane_kind {
    PT_LANE_CONNECTED, /* the agent speaks; bytes: 1 when it had to be sent */
    PT_LANE_READY,     /* ready */
    PT_LANE_SENDING,   /* sync: as far as it got; at most some ten times a second */
    PT_LANE_SYNCED,    /* the workspace is the tree; sync */
    PT_LANE_STALE,     /* the tree changed while it was sent (text: why): scan again, pt_lane_tree again */
    PT_LANE_TOOLED,    /* the programs are there: LAUNCH may be sent */
    PT_LANE_LAUNCHED,  /* mpirun runs */
    PT_LANE_ATTACHED,  /* the agent that was there has this lane now; bytes: the launch that runs, or 0 */
    PT_LANE_PYTHON,    /* text: versions of Python and pytest */
    PT_LANE_LINK,      /* fd: bytes of a worker's link; the receiver closes it */
    PT_LANE_COLLECT,   /* fd: what the collector on the host says; the receiver closes it */
    PT_LANE_RELAY,     /* fd: what is for another host, or comes from there; the receiver closes it */
    PT_LANE_LISTENING, /* listening; the receiver may take it */
    PT_LANE_REACHED,   /* reached; the receiver may take it */
    PT_LANE_PEERED,    /* it was taken who its peers are */
    PT_LANE_CLEANED,   /* bytes: freed; text: what is in use and stayed */
    PT_LANE_EXITED,    /* program, status, text: last output */
    PT_LANE_LOG,       /* level, text */
    PT_LANE_DOWN, /* the host is gone; err says why, "" after a stop; level 1: no use to try again. Always the
                     last */
};

/* The way of a tree to one host; of several when it changed meanwhile, but for `synced`. */
struct pt_lane_sync {
    uint64_t wire;           /* bytes sent */
    uint64_t raw, total;     /* bytes of content given to the channel; of so many */
    uint64_t rate;           /* wire bytes a second while they were sent, 0: not known */
    struct pt_synced synced; /* what the host made of it */
    double offer, send,
        finish; /* seconds: until it knows what it lacks, until that is sent, until it is done */
};

struct pt_lane_event {
    enum pt_lane_kind kind;
    uint32_t host;
    struct pt_ready ready;
    struct pt_lane_sync sync;
    struct pt_listening listening;
    struct pt_reached reached;
    uint64_t bytes;
    int fd;
    uint8_t program, level;
    uint32_t status;
    char *text;
    struct pt_err err;
    double at; /* pt_wall_clock */
};

struct pt_lane_options {
    uint32_t host;           /* number in the run */
    struct pt_target target; /* borrowed strings must live until destroy */
    const struct pt_transport_options *transport;
    const char *remote_dir;         /* or "" */
    struct pt_setup setup;          /* borrowed */
    const struct pt_attach *attach; /* not NULL: ATTACH in place of SETUP; copied */
    const char *state_dir;          /* where is remembered what hosts have */
    uint64_t cache_size;            /* bytes that the host's cache may take, 0: any number */
    bool clean;                     /* nothing but cleaning that cache; setup is not sent */
    const char *const *keep;        /* globs of what stays in workspaces; borrowed */
    size_t nkeep;
    unsigned lanes;                                           /* that bring the same trees, with this one */
    struct pt_loop *loop;                                     /* where on_event runs */
    void (*on_event)(void *arg, struct pt_lane_event *event); /* event is the lane's; take fd by -1 */
    void *arg;
};

/* Start the thread. NULL on failure. */
struct pt_lane *pt_lane_create(const struct pt_lane_options *options, struct pt_err *err);
/* The calls below may come at any time from the loop's thread; a lane that is down ignores them. */
/* A tree will follow: the host may look at its workspace. (A lane says so for the first one by itself.) */
void pt_lane_survey(struct pt_lane *lane);
/* This is the tree; it must live until the lane is destroyed. The lane joins the fanout, or skips it once. */
void pt_lane_tree(struct pt_lane *lane, struct pt_fanout *tree);
/* Collect in the workspace; json is copied. */
void pt_lane_collect(struct pt_lane *lane, const char *json, size_t n);
/* Any other control frame, whole; it becomes the lane's, and is wiped with it. */
void pt_lane_send(struct pt_lane *lane, struct pt_buf *frame);
void pt_lane_end_workers(struct pt_lane *lane, uint32_t grace_ms);
/* End everything on the host and come DOWN. */
void pt_lane_stop(struct pt_lane *lane, uint32_t grace_ms);
/* Waits for the thread; no event comes afterwards. NULL is fine. */
void pt_lane_destroy(struct pt_lane *lane);
