/* SPDX-License-Identifier: Apache-2.0 */
/* logind.conf, /proc/PID/cgroup and a user's name, each with a zero byte behind it. */
#include "remote/agent/dbus.c"
#include "remote/agent/logind.c"
#include "remote/agent/scope.c"

#include "fuzz.h"

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    char *conf = fuzz_text(&in), *cgroup = fuzz_text(&in), *user = fuzz_text(&in);
    bool kills = pt_logind_kills(conf, cgroup, user);
    FUZZ_CHECK(!kills ||
               (strstr(conf, "KillUserProcesses") && strstr(cgroup, "/session-") && strcmp(user, "root")));
    FUZZ_CHECK(!pt_logind_kills("", cgroup, user) && !pt_logind_kills(conf, "", user));
    free(conf);
    free(cgroup);
    free(user);
}
