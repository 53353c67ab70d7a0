/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which process a run's master is, in a word that tells later whether it still lives. */
#include <stddef.h>

#define PT_MASTER_MAX 320
#define PT_MASTER_WHO 128

enum pt_master_state {
    PT_MASTER_GONE,
    PT_MASTER_HERE,    /* it lives */
    PT_MASTER_UNKNOWN, /* it was on another machine, cannot be looked at, or the word is none of ours */
};

/* "HOST BOOT PID START": this process. */
void pt_master_self(char out[PT_MASTER_MAX]);
/* "USER@MACHINE": whose it is, for others who wait for it. */
void pt_master_who(char out[PT_MASTER_WHO]);
/* What became of that one; pid (may be NULL) is filled when it lives. */
enum pt_master_state pt_master_state(const char *word, long *pid);
