/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Parent and subreaper of the agent: when the agent is gone, however it went, it ends what is left below,
 * removes the run's folders, and is gone too. Should the keeper be killed, the agent notices and does the
 * same. */

/* In a child of the proxy. `channel` is the agent's end of the bytes. Returns the exit status. */
int pt_keeper_run(int channel, const char *cache);
