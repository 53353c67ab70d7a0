/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a machine or a login ran out of, as programs word it. */
struct pt_err;

/* The next step where text names such a thing, else NULL. */
const char *pt_shortage_next(const char *text);
/* Such an error is one of the machine (PT_ERR_INFRA), and says the next step unless it says one already.
 * Returns -1. */
int pt_shortage_hint(struct pt_err *err);
