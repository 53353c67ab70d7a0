/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whether logind ends what a login leaves running, and how a run that lingers outlasts it. */
#include <stdbool.h>

/* conf: texts of logind.conf and its drop-ins, one after the other; cgroup: that of a process of the login,
 * as /proc/PID/cgroup has it. Pure. That the user lingers (loginctl) does not spare what a login started:
 * only services, and scopes below them, outlast it then. */
bool pt_logind_kills(const char *conf, const char *cgroup, const char *user);
/* Where it is so on this host: has the user's own manager take this process and its parent, with what they
 * will start, to a scope NAME.scope outside the login, and says in a warning what is missing for that. Takes
 * PT_SCOPE_MS at most. */
void pt_logind_outlast(const char *name);
