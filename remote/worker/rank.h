/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the ranks of one host and their hub (rank 0) agree on, over RUNDIR/rank.sock. The hub passes SESSION,
 * BUNDLE, CANCEL and QUIT of the link on to the ranks; a rank says JOIN, then STARTED to BYE with seq 0, and
 * READY. */

#define PT_RANK_SOCKET "rank.sock"
#define PT_FORK_SOCKET "fork.sock"
#define PT_LINK_SOCKET "link.sock"

/* u32 rank: its runner is up and has nothing to do. Said at first, and after every bundle. */
#define PT_RANK_READY 64
