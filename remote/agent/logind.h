/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whether logind ends what a login leaves running: a run that lingers would not outlast it. */
#include <stdbool.h>

/* conf: texts of logind.conf and its drop-ins, one after the other; cgroup: that of a process of the login,
 * as /proc/PID/cgroup has it. Pure. That the user lingers (loginctl) does not spare what a login started:
 * only services, and scopes below them, outlast it then. */
bool pt_logind_kills(const char *conf, const char *cgroup, const char *user);
/* Says so in a warning, if it is so on this host. */
void pt_logind_warn(void);
