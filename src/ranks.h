/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RANKS: what the ranks of one MPI test said becomes the one report of that test. Pure. What is shown of
 * several ranks is headed by "On rank i of n"; ranks that gave exactly the same are shown once ("On ranks 0-3
 * of 4"). */
#include "common/message_group.h"

struct pt_err;

/* Where a test ran and what is known of it here. */
struct pt_ranks_of {
    const char *nodeid, *path, *host;
    const char *const *hosts; /* all, in rank order, where there are several */
    uint32_t nhosts;
    const struct pt_share *shares; /* of them, in the same order */
    const char *show;              /* --show-capture; NULL: all */
    uint64_t memory;               /* as in pt_report_from_death */
    double grace;                  /* seconds of --mpi-grace; negative: not known */
    bool silent;                   /* of a fall: another test of that file tells it */
};

/* The report as docs/protocol.md 7.2 has it, with "ranks": of. Outcome, phase and message are those of the
 * gravest rank (the lowest of these), the message with the rank in front where not all say it; counts are
 * those of one test; times are those of the rank that took longest; longrepr,
 * stdout, stderr, log, problems and their sections, skip and junit hold every rank that has something to
 * tell; properties are those of rank 0, then those that other ranks have and it has not. Skipped on some
 * ranks only is failed. A rank whose word is left out is an error. -1 when a word makes no sense. */
int pt_ranks_report(const struct pt_ranks *m, const struct pt_ranks_of *of, struct pt_buf *out,
                    struct pt_err *err);

/* The same for a test that a group fell over. Its outcome: crashed or timeout as the rank's it began with;
 * for DEADLOCK failed (error when the failure was in set-up or tear-down), told by the failing rank's own
 * words, followed by the Python stacks of all ranks that were still at it; for NO_GROUP error: "no N ranks
 * could be started on HOST: why", and the next step. */
int pt_ranks_fall_report(const struct pt_fall *m, const struct pt_ranks_of *of, struct pt_buf *out,
                         struct pt_err *err);
/* What a group that ended over no test or file came to its end by, in one line. */
void pt_ranks_fall_words(const struct pt_fall *m, char *out, size_t size);
