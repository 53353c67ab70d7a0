/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The role on the exec channel: carries bytes between it and the agent, which it starts, and knows nothing.
 */

/* Returns the exit status, once either side ended. */
int pt_proxy_run(const char *cache);
