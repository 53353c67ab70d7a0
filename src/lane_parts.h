/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of a lane share: lane.c (the thread and the run's side), lane_boot.c (until the agent
 * speaks), lane_agent.c (what the agent says), lane_push.c (what it is sent). All but the command list
 * belongs to the lane's thread. */
#include "channels.h"
#include "common/mux.h"
#include "lane.h"
#include "lane_rate.h"
#include "sent.h"
#include "sync/here/push.h"
#include "tools.h"

#include <pthread.h>
#include <sys/utsname.h>

#define PT_LANE_OUT   (256u << 10) /* bytes kept ready for the transport */
#define PT_LANE_LOW   (64u << 10)  /* so few left: get more ready */
#define PT_LANE_BULK  (1u << 20)   /* bytes kept queued on the bulk stream */
#define PT_LANE_FIRST (512u << 10) /* of an archive, before anything is known of the way to the host */
#define PT_LANE_TAIL  4096         /* of the command's stderr */
#define PT_LANE_TOLD  (1u << 20)   /* bytes of events that wait, at which the agent gets no more credit */

struct pt_lane_command {
    struct pt_lane_command *next;
    struct pt_buf frame;    /* whole control frame, or empty */
    struct pt_fanout *tree; /* to push */
    bool stop;
    uint32_t grace_ms;
};

struct pt_lane {
    struct pt_lane_options o;
    pthread_t thread;
    int wake;
    pthread_mutex_t lock; /* guards head, tail and down */
    struct pt_lane_command *head, **tail;
    bool down; /* nobody takes commands any more */

    /* the thread's own from here on */
    struct utsname here;
    struct pt_transport *transport;
    struct pt_mux *mux;
    struct pt_channels *channels;
    struct pt_buf out;     /* bytes for the transport */
    size_t out_sent;       /* of them */
    struct pt_buf control; /* control stream, not yet whole frames */
    struct pt_push *push;
    struct pt_fanout *tree, *next;  /* what is pushed; what to push after it, or NULL */
    const struct pt_manifest *base; /* what the workspace was made on this connection, or NULL */
    struct pt_sent *sent;           /* what is remembered of the host */
    struct pt_rate rate;
    uint32_t tools[PT_TOOLS]; /* to send, in order */
    size_t ntools, tool_sent;
    bool tool_open;           /* in the middle of one */
    struct pt_lane_sync sync; /* of earlier pushes; the phases up to `phase_at` */
    enum pt_push_state phase;
    double phase_at;
    char tail_text[PT_LANE_TAIL];
    size_t tail_len;
    int64_t heard, pinged, told;
    int64_t stop_by; /* 0: not stopping */
    bool stopped;
    struct pt_err failure; /* set by a callback of the mux */
    bool failed;
    struct pt_buf attach;  /* what to say first, in place of all else; empty: nothing, or it was said */
    bool attaching;        /* it was said, ATTACHED did not come yet */
    bool unfit;            /* the agent said FAIL: trying again is no use */
    size_t owed;           /* bytes of the control stream that it gets no credit for yet */
    _Atomic size_t untold; /* bytes of events that the run's loop did not take yet */
};

/* What an event on its way to the run's loop is; never NULL. */
struct pt_lane_post *pt_lane_event_new(struct pt_lane *lane, enum pt_lane_kind kind);
struct pt_lane_event *pt_lane_event_of(struct pt_lane_post *post);
void pt_lane_event_send(struct pt_lane *lane, struct pt_lane_post *post);
/* An event that has only a number. */
void pt_lane_tell(struct pt_lane *lane, enum pt_lane_kind kind, uint64_t bytes);

/* Bytes of the control stream. */
int pt_lane_control(struct pt_lane *lane, const void *data, size_t n, struct pt_err *err);
/* Queue one control frame with a value of 0, 1, 4 or 8 bytes. */
void pt_lane_say(struct pt_lane *lane, uint8_t type, uint64_t value, size_t bytes);

/* Open the transport and the channel, and go on until the agent speaks; its first bytes go to rest. */
int pt_lane_boot(struct pt_lane *lane, struct pt_buf *rest, bool *pushed, struct pt_err *err);
/* Move bytes to the transport as far as it takes them; -1 when it is gone. */
int pt_lane_write(struct pt_lane *lane);
/* Keep what the command wrote to stderr. */
void pt_lane_stderr(struct pt_lane *lane);
/* The connection is at its end: why. Returns -1. */
int pt_lane_gone(struct pt_lane *lane, const char *doing, struct pt_err *err);

/* Begin to push this tree, or do it once what is pushed now is done. */
int pt_lane_push(struct pt_lane *lane, struct pt_fanout *tree, struct pt_err *err);
/* What the push makes of TREE, NEED, SYNCED and RESEND. */
int pt_lane_push_control(struct pt_lane *lane, uint8_t type, struct pt_reader *r, struct pt_err *err);
/* The lane ends. */
void pt_lane_push_fini(struct pt_lane *lane);
/* What to wait for before more can be sent, or -1. */
int pt_lane_push_fd(const struct pt_lane *lane);
/* Keep the bulk stream filled. */
int pt_lane_fill(struct pt_lane *lane, struct pt_err *err);
/* After bytes went to the transport. */
void pt_lane_measure(struct pt_lane *lane);
