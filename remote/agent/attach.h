/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How a channel gets from the agent that it started to the one whose run lingers: over RUNDIR/attach.sock of
 * that one, with ATTACH; answered there by one byte. */
#include "common/message.h"

#define PT_ATTACH_SOCKET "attach.sock"

/* Gives channel to the agent of that run, and waits some seconds for its yes. 0: the channel is its, and not
 * a word may be said on it any more; -1 with err. */
int pt_attach_give(const struct pt_attach *want, int channel, struct pt_err *err);
/* What came on a connection to the door: the channel; want, whose owner is the caller; and how many bytes of
 * the channel's control stream ATTACH was. -1 with err, want empty. */
int pt_attach_take(int fd, struct pt_attach *want, size_t *taken, struct pt_err *err);
/* Yes or no to who gave it. False when that can no more arrive: then the channel is still the other's. */
bool pt_attach_answer(int fd, bool yes);
/* -1: nobody here has that run. */
int pt_attach_none(const char *run, struct pt_err *err);
