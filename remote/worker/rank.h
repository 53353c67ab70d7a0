/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the ranks of one host and their hub (rank 0) agree on, over RUNDIR/rank.sock. The hub passes SESSION,
 * BUNDLE, CANCEL and QUIT of the link on to the ranks; a rank says JOIN, then STARTED to BYE with seq 0, and
 * READY. A member of a group (the ranks of MPI that run a test together) says MEMBER instead of JOIN, and in
 * all else its rank in the group where an ordinary rank says its own. */

#define PT_RANK_SOCKET  "rank.sock"
#define PT_FORK_SOCKET  "fork.sock"
#define PT_LINK_SOCKET  "link.sock"
#define PT_GROUP_SOCKET "group.sock"
#define PT_RELAY_SOCKET "relay.sock" /* the agent passes what comes there on to another host */

/* u32 rank: its runner is up and has nothing to do. Said at first, and after every bundle. */
#define PT_RANK_READY 64

/* Of members. MEMBER is the first of a member: u32 group (as the hub gave it to the agent), u32 rank, u32
 * size. WELCOME answers it: u32 index of the group, u32 number of its runner (of hN.NUMBER),
 * u32 1: the group is spread over several hosts, 0: it is not. */
#define PT_RANK_MEMBER  65
#define PT_RANK_WELCOME 66
/* Numbers of runners of spread groups begin here; no two in a run are the same. */
#define PT_RANK_SPREAD 10000000u
/* Member to hub: u32 rank, u32 test, u8 phase: that phase failed here. */
#define PT_RANK_FAILED 67
/* Hub to member: u32 test, u8 phase: who is still at it, dies of PT_CAUSE_DEADLOCK. */
#define PT_RANK_HUNG 68
/* Hub to member: dump the stacks, end the runner, say DEATH of PT_CAUSE_FALL; then nothing more. */
#define PT_RANK_FALL 69
/* Hub to member, before a BUNDLE: u32 n, n x u32 cpu: where the runner may run; n 0: anywhere. */
#define PT_RANK_BIND 70
