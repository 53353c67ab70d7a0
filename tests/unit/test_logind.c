/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/dbus.c"
#include "remote/agent/logind.c"
#include "remote/agent/scope.c"

#include <criterion/criterion.h>

#define LOGIN  "0::/user.slice/user-1000.slice/session-12.scope\n"
#define LEGACY "12:pids:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-c3.scope\n0::/\n"

Test(logind, what_a_login_leaves_running)
{
    static const struct {
        const char *conf, *cgroup, *user;
        bool kills;
    } cases[] = {
        {"", LOGIN, "ann", false},
        {"[Login]\nKillUserProcesses=yes\n", LOGIN, "ann", true},
        {"[Login]\nKillUserProcesses=yes", LEGACY, "ann", true},
        {"[Login]\nKillUserProcesses = true\r\n", LOGIN, "ann", true},
        {"[Login]\nKillUserProcesses=no\n", LOGIN, "ann", false},
        {"[Login]\nKillUserProcesses=\n", LOGIN, "ann", false},
        {"KillUserProcesses=yes\n", LOGIN, "ann", false},
        {"[Other]\nKillUserProcesses=yes\n", LOGIN, "ann", false},
        {"[Login]\nKillUserProcessesToo=yes\n", LOGIN, "ann", false},
        /* a drop-in comes later */
        {"[Login]\nKillUserProcesses=yes\n\n[Login]\nKillUserProcesses=no\n", LOGIN, "ann", false},
        {"[Login]\nKillUserProcesses=no\n\n[Login]\nKillUserProcesses=on\n", LOGIN, "ann", true},
        /* comments tell the default */
        {"[Login]\n#KillUserProcesses=yes\n", LOGIN, "ann", true},
        {"[Login]\n#KillUserProcesses=no\n", LOGIN, "ann", false},
        {"[Login]\nKillUserProcesses=no\n#KillUserProcesses=yes\n", LOGIN, "ann", false},
        {"[Login]\n#KillUserProcesses=no\nKillUserProcesses=1\n", LOGIN, "ann", true},
        /* who is spared */
        {"[Login]\nKillUserProcesses=yes\n", LOGIN, "root", false},
        {"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n", LOGIN, "root", true},
        {"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=bob ann\n", LOGIN, "ann", false},
        {"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=bob anne\n", LOGIN, "ann", true},
        {"[Login]\nKillUserProcesses=yes\n#KillExcludeUsers=ann\n", LOGIN, "ann", true},
        {"[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n", LOGIN, "ann", false},
        {"[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob  ann\n", LOGIN, "ann", true},
        {"[Login]\nKillUserProcesses=yes\nKillOnlyUsers=\n", LOGIN, "ann", true},
        /* what is of no login */
        {"[Login]\nKillUserProcesses=yes\n", "0::/system.slice/ssh.service\n", "ann", false},
        {"[Login]\nKillUserProcesses=yes\n",
         "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n", "ann", false},
        {"[Login]\nKillUserProcesses=yes\n", "0::/user.slice/session-1\n1:x:/a.scope\n", "ann", false},
        {"[Login]\nKillUserProcesses=yes\n", "", "ann", false},
    };
    for (size_t i = 0; i < PT_COUNT(cases); i++)
        cr_expect_eq(pt_logind_kills(cases[i].conf, cases[i].cgroup, cases[i].user), cases[i].kills,
                     "case %zu: %s", i, cases[i].conf);
}
