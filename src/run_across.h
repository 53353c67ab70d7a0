/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tests over several hosts: run_across.c asks who reaches whom and tells the plan, run_relays.c passes on
 * what their agents have for each other. */
#include "across.h"
#include "run_parts.h"

struct pt_relays;

enum pt_across_step { PT_ACROSS_IDLE, PT_ACROSS_LISTEN, PT_ACROSS_PROBE, PT_ACROSS_PEERS, PT_ACROSS_STEPS };

struct pt_across_member {
    uint32_t owes[PT_ACROSS_STEPS]; /* answers that are due; only the last counts */
    bool asked;                     /* since this round began */
    bool chosen;                    /* in this round */
    bool answered;                  /* in this step */
    bool in;                        /* was told who its peers are, and is not lost since */
    uint32_t far;                   /* streams that what others lead has with it, or it with them */
    struct pt_address address;      /* by which its peers know it */
    char why[PT_ERR_MAX];           /* it is not among them, as it was told last */
    struct pt_listening listening;
    struct pt_reached reached;
};

/* Somebody wants something of a host; the stream that answers is not there yet. */
struct pt_across_ask {
    struct pt_across_ask *next;
    struct pt_run *run;
    struct pt_relayed *asker;
    uint32_t id, wanted;
    uint32_t far; /* who of the two is led by the other */
    uint64_t timer;
};

struct pt_across {
    struct pt_relays *relays;
    struct pt_across_member *at; /* one for each host */
    enum pt_across_step step;
    uint64_t timer;
    struct pt_across_ask *asks;
    uint32_t last_id;
};

/* run_relays.c */
int pt_run_relays_open(struct pt_run *run, struct pt_err *err);
/* What is asked of that host is refused. */
void pt_run_relays_lost(struct pt_run_host *h);
void pt_run_relays_fini(struct pt_run *run);
