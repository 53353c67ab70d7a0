/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a host tells of a run whose master died becomes reports of that run, in the ledger. A test that has an
 * outcome keeps it. */
#include "common/wire.h"

struct pt_err;
struct pt_ledger;

struct pt_gather_from {
    struct pt_ledger *ledger;
    int64_t run;      /* in it, and what is written belongs to it */
    uint32_t host;    /* number in that run */
    uint32_t reruns;  /* not 0: what failed is not brought, as it would have run again */
    uint32_t reports; /* that were brought */
};

/* Body of a REPORT, of a DEATH, after their number. -1 for what makes no sense. */
int pt_gather_report(struct pt_gather_from *from, struct pt_reader *r, struct pt_err *err);
int pt_gather_death(struct pt_gather_from *from, struct pt_reader *r, struct pt_err *err);
