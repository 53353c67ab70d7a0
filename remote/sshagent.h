/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Talking to the user's ssh-agent, and a stand-in for it that shows the library only the keys we choose, in
 * our order: the library would offer all of them, and sshd hangs up after six. */
#include "remote/sshdial.h"
#include "remote/sshkeys.h"

#include <stdatomic.h>

/* The agent's socket: `path`, or SSH_AUTH_SOCK when NULL; "none" is none. -1 when there is no agent. */
int pt_agent_connect(const char *path);
/* All its public keys; 0, or -1 when it does not answer properly in time. */
int pt_agent_list(int fd, const struct pt_limit *limit, struct pt_agentkeys *out);

struct pt_standin;

/* Start a stand-in that lists the in_agent keys of `keys` and has the agent behind agent_fd (taken over) sign
 * for them. *fd is the descriptor to talk to it, the caller's. NULL on failure (agent_fd is closed). Signing
 * may take up to a minute: the user may have to confirm or touch something. */
struct pt_standin *pt_agent_standin(int agent_fd, const struct pt_sshkeys *keys, const atomic_int *cancel,
                                    int *fd);
/* NULL is fine. */
void pt_agent_standin_stop(struct pt_standin *standin);
