/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What hosts did for a run after its master had died (--linger): their reports are brought into that run, in
 * the ledger, and the hosts are ended. */
#include "remote/transport.h"

#include <stdint.h>

struct pt_err;
struct pt_ledger;
struct pt_loop;

struct pt_gather_options {
    const char *state_dir;
    int64_t run;                                  /* in the ledger */
    const struct pt_transport_options *transport; /* its cancel ends this early */
    struct pt_loop *loop;
    uint32_t silence_ms, grace_ms; /* of a host; for the tests that run there */
    uint32_t reruns;               /* not 0: what failed is not brought, as it would have run again */
    void (*note)(void *arg, const char *line);
    void *arg;
};

/* This host goes on alone from now on if it has to; `dir` as its READY told. Into the run begun last. */
int pt_gather_keep(struct pt_ledger *ledger, uint32_t number, const char *name, const char *remote_dir,
                   const char *dir, uint32_t launch, struct pt_err *err);
/* Blocks, stepping the loop, until each host of that run has told all, or cannot be reached. Nothing is done
 * when its master lives, it has ended, or none of its hosts lingers. A host that is not reached is only
 * noted. */
int pt_gather(const struct pt_gather_options *options, struct pt_err *err);
