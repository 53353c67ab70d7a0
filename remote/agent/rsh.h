/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The role that mpirun starts where it would start ssh: `ptremote-agent rsh ADDRESS WORDS...` has the agent
 * of PTREMOTE_RUN_DIR pass the words on to that host, says what comes back, and ends as they ended there. It
 * runs nothing. */

/* argv after "rsh". Gives the exit status. */
int pt_rsh_run(int argc, char **argv);
