/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --dry-run: which bundle would go where, of a static run with MPI tests as a picture of its steps, and what
 * would be sent. Contacts no host. */

struct pt_err;
struct pt_run;

/* After collection and scan; prints to stdout and gives the exit code, -1 with err. */
int pt_dry_run(struct pt_run *run, struct pt_err *err);
