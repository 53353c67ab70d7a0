#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host whose logind ends what a login leaves running: with --linger tests outlast the login all the same where the user's own
# manager does, and it is said where it does not.
. "$(dirname "$0")/lib.sh"
lab_up 1 --logind h1
"$lab" exec h1 loginctl enable-linger ada || exit 1
ran=$(host_disk h1)/var/tmp/ran gate=$(host_disk h1)/var/tmp/gate

# suite: each execution leaves a line with its name and where the kernel has its process, and waits for open_gate.
suite() {
    project outlasts
    rm -f "$ran" "$gate"
    cat >test_where.py <<'PY'
import os
import time
import pytest

@pytest.mark.parametrize("n", range(12))
def test_where(n, request):
    where = [line for line in open("/proc/self/cgroup") if line.startswith("0::")][0]
    with open("/var/tmp/ran", "a") as ran:
        ran.write(request.node.nodeid + " " + where)
    end = time.time() + 300
    while not os.path.exists("/var/tmp/gate") and time.time() < end:
        time.sleep(0.02)
PY
}

open_gate() { touch "$gate"; }

options=(--ssh-config "$LAB_SSH_CONFIG" --heartbeat 1 -v --json "$work/got.json")
ran_all_in() { ! grep -v -e "$1" "$ran" || fail "tests ran elsewhere than in $1"; }
has_run() { [ -e "$ran" ] && [ "$(wc -l <"$ran")" -ge "$1" ]; }
ran_twice() { cut -d' ' -f1 "$ran" | sort | uniq -d; }

# What logind does once a login is over, and not a moment later.
end_logins() { # USER
    local session
    for session in $("$lab" exec h1 loginctl list-sessions --no-legend | awk -v user="$1" '$3 == user { print $1 }'); do
        "$lab" exec h1 loginctl terminate-session "$session"
    done
}

no_login_of() { ! "$lab" exec h1 loginctl list-sessions --no-legend | grep " $1 "; }
scopes() { "$lab" exec h1 find /sys/fs/cgroup/user.slice -name 'ptremote*'; }

# want_scope PROPERTIES: what its manager says of the one scope there is.
want_scope() {
    local said
    said=$("$lab" exec h1 runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/7001 systemctl --user show \
        "$(basename "$(scopes)")" -p Delegate -p TasksMax | sort | xargs)
    [ "$said" = "$1" ] || fail "the scope has $said"
}

none_runs() { ! "$lab" pids h1 | grep -E 'ptremote|mpirun|python'; }

# Neither processes nor folders of a run, nor scopes.
all_gone() {
    local left
    none_runs || return 1
    left=$(scopes; "$lab" exec h1 find /run/user /dev/shm -name 'ptremote-??????')
    [ -z "$left" ] || { echo "$left"; return 1; }
}

test_logins_and_masters_are_outlasted() {
    suite
    pt_start "${options[@]}" --hosts ada@h1:2 --linger 300 --leave-with-hosts 10
    wait_for 60 "h1 runs nothing" has_run 2
    end_logins ada
    wait_for 60 "h1 is not back" says 'h1: is back after'
    kill -9 "$master"
    wait "$master" 2>/dev/null
    wait_for 60 "the login does not end" no_login_of ada
    ! has_run 3 || fail "tests do not wait"
    want_scope 'Delegate=yes TasksMax=infinity'
    open_gate
    wait_for 60 "h1 did not go on" has_run 4
    ! says 'logind' || says 'moved out of the login' || fail "it warns"
    pt_start "${options[@]}" --resume
    pt_end
    want_rc 0
    want_summary "$work/got.json" passed=12
    want_words 'h1: [0-9]* tests were told meanwhile'
    [ -z "$(ran_twice)" ] || fail "ran twice: $(ran_twice)"
    ran_all_in '/user@7001.service/app.slice/ptremote-......[.]scope$'
    wait_for 60 "left behind on h1" all_gone
    wait_for 60 "left behind here" here_is_quiet
}

test_user_manager_that_ends_with_the_login() {
    suite
    pt_start "${options[@]}" --hosts carol@h1:2 --linger 300
    wait_for 60 "h1 runs nothing" has_run 2
    want_line 'logind ends here what a login leaves running.*: .loginctl enable-linger carol. there'
    kill -9 "$master"
    wait "$master" 2>/dev/null
    wait_for 60 "h1 does what no warning is needed for" none_runs
}

test_user_manager_that_hangs() {
    suite
    open_gate
    local manager
    manager=$("$lab" exec h1 pgrep -u ada -x systemd)
    "$lab" exec h1 kill -STOP "$manager"
    pt "${options[@]}" --hosts ada@h1:2 --linger 300
    "$lab" exec h1 kill -CONT "$manager"
    want_rc 0
    want_line 'manager of ada .*did not answer within 1.5 s.*: have KillExcludeUsers=ada set in logind.conf'
    ran_all_in '/session-[0-9]*[.]scope$'
}

test_a_run_that_does_not_linger_stays_in_its_login() {
    suite
    open_gate
    pt "${options[@]}" --hosts ada@h1:2
    want_rc 0
    ! says logind || fail "it warns"
    ran_all_in '/session-[0-9]*[.]scope$'
    wait_for 60 "left behind on h1" all_gone
}

run_tests
