/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Messages about groups: the ranks of MPI that run tests together, started for one size and kept for the next
 * test of that size. docs/protocol.md 5.1 has the sequence. */
#include "common/message.h"

#define PT_SIZES_MAX 256u /* in one SIZES */

/* Between the hub of a host's workers and the agent, over RUNDIR/group.sock. */
enum pt_group_message {
    /* hub: u32 group, u32 ranks, u8 1: ranks and cores are not one to one, so ranks yield; then a spread
     * (message.h), n 0: all ranks are here */
    PT_G_START = 1,
    PT_G_END = 2,    /* hub: u32 group: it is wanted no more */
    PT_G_ENDED = 16, /* agent: u32 group, u32 wait status, bytes last output; whatever the reason, once for
                      * each START */
};
/* Groups of a host that live at a time; their numbers are below it, the lowest free first. */
#define PT_GROUPS_MAX 256u

/* The rank field of what one member says (STARTED, NOTE, OUTPUT): its group's number and its rank in it. */
#define PT_MEMBER(group, rank) (0x80000000u | (uint32_t)(group) << 12 | (uint32_t)(rank))
/* False when it is no member's; either pointer may be NULL. */
bool pt_member_of(uint32_t field, uint32_t *group, uint32_t *rank);

/* Sizes that tests still to come want, the greatest first: a group may be started ahead for each. n 0:
 * none will come. */
struct pt_sizes {
    uint32_t n;
    struct pt_size {
        uint32_t ranks, tests;
    } * sizes;
};
void pt_sizes_encode(const struct pt_sizes *m, struct pt_buf *out); /* a whole SIZES frame */
int pt_sizes_decode(struct pt_reader *r, struct pt_sizes *m, struct pt_err *err);
void pt_sizes_fini(struct pt_sizes *m);

/* What one rank said, by rank: a whole REPORT or DEATH frame as that rank said it (its rank field is the rank
 * in the group, its seq 0), or nothing. */
enum pt_word { PT_WORD_NONE, PT_WORD_REPORT, PT_WORD_DEATH };
struct pt_rank_word {
    uint8_t kind; /* enum pt_word */
    const void *frame;
    size_t n;
};

/* A test was run by all its ranks: all words are reports. Too long ones may be left out (kind NONE). */
struct pt_ranks {
    uint32_t bundle, attempt, test;
    uint32_t group;             /* a small number, the host's own */
    uint32_t of;                /* ranks */
    struct pt_rank_word *words; /* of them */
};
/* seq 0 where the hub numbers it. */
void pt_ranks_encode(const struct pt_ranks *m, uint64_t seq, struct pt_buf *out);
/* r after the seq. What words point to is r's. Each frame was looked into: its type is that of its kind. */
int pt_ranks_decode(struct pt_reader *r, struct pt_ranks *m, struct pt_err *err);
void pt_ranks_fini(struct pt_ranks *m);

/* A group came to its end over a test, or over a file while it was imported, or between tests (both NONE and
 * ""). */
struct pt_fall {
    uint32_t bundle, attempt, group, of;
    uint32_t test;        /* or NONE */
    char *path;           /* of the file, or "" */
    uint8_t phase, cause; /* cause: that of the rank it began with; NO_GROUP: there was no group, of is what
                             was wanted */
    uint32_t culprit;     /* the rank it began with, or NONE */
    char *text;           /* NO_GROUP: why; else "" */
    struct pt_rank_word *words; /* of them */
};
void pt_fall_encode(const struct pt_fall *m, uint64_t seq, struct pt_buf *out);
int pt_fall_decode(struct pt_reader *r, struct pt_fall *m, struct pt_err *err);
void pt_fall_fini(struct pt_fall *m);

/* A word that is a REPORT: its outcome and JSON, borrowed. False when it is malformed. */
bool pt_word_report(const struct pt_rank_word *word, uint8_t *outcome, const void **json, size_t *n);
/* A word that is a DEATH. -1 when it is malformed. */
int pt_word_death(const struct pt_rank_word *word, struct pt_death *death, struct pt_err *err);
