/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which hosts may run tests together, from what each said of itself and whom it reached. Pure. */
#include "common/err.h"
#include "common/message_across.h"

/* One host of the run, at the index that is its number. */
struct pt_across_host {
    const char *name;
    uint32_t slots;
    bool asked;                           /* else it is none of them, and nothing is said of it */
    const struct pt_listening *listening; /* NULL: no answer */
    const struct pt_reached *reached;     /* NULL: no answer */

    /* Filled: */
    bool in;                   /* it is one of them */
    struct pt_address address; /* that all others of them reached */
    char why[PT_ERR_MAX];      /* asked and not in: why */
};

/* A set of hosts, all with one major.minor of Open MPI, of which each pair reaches each other both ways, and
 * each has one address that all others reached: in the order of the list, from that host on with which most
 * slots come together. One host alone is no set: then nobody is in. */
int pt_across_choose(struct pt_across_host *hosts, uint32_t n, struct pt_err *err);

/* "10.0.3.2" of an address in host order. */
#define PT_ADDRESS_TEXT 16
const char *pt_address_text(uint32_t address, char text[PT_ADDRESS_TEXT]);
