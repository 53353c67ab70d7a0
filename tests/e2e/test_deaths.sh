#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whoever is killed, nothing outlives the run and nothing is counted twice.
. "$(dirname "$0")/lib.sh"
lab_up 3

# slow_suite: 40 tests, the last of each file waits for go_on, so that no run ends before it is killed.
slow_suite() {
    project slow
    local n
    rm -f "$LAB_DIR"/h?/disk/var/tmp/go
    for n in $(seq 10); do
        cat >"test_$n.py" <<'PY'
import os
import time
import pytest

@pytest.mark.parametrize("n", range(4))
def test_slow(n):
    time.sleep(0.1)
    end = time.time() + 300
    while n == 3 and not os.path.exists("/var/tmp/go") and time.time() < end:
        time.sleep(0.02)
PY
    done
}
go_on() { touch "$LAB_DIR"/h{1,2,3}/disk/var/tmp/go; }

start() { # the run, until both hosts have told something
    pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts "${hosts:-h1:2,h2:2}" -v --json "$work/got.json" "$@"
    wait_for 60 "no test passed" says 'PASSED.*\|passed.*'
    wait_for 60 "h1 has no worker" eval 'pids_of h1 "^[0-9]+ [^ ]*ptremote-worker" | grep -q .'
    wait_for 60 "h2 has no worker" eval 'pids_of h2 "^[0-9]+ [^ ]*ptremote-worker" | grep -q .'
}

# pids_of HOST PATTERN: processes whose command line has it
pids_of() { "$lab" pids "$1" | grep -E -e "$2" | cut -d' ' -f1; }

everything_passed() {
    pt_end 280
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    [ "$(outcomes "$work/got.json" | cut -d' ' -f1 | sort | uniq -d | wc -l)" = 0 ] || fail "a test is told twice"
}

# kill_on_h1 VICTIM [PART]: kill -9; that part (a pattern; all of it) that h1 ran before is gone within 10 s, and the run still
# gets every result once.
kill_on_h1() {
    slow_suite
    start
    local before victim
    before=$("$lab" pids h1 | grep -v -e sshd: | grep -E -e "${2:-.}" | cut -d' ' -f1)
    victim=$(pids_of h1 "$1" | head -1)
    [ -n "$victim" ] || { "$lab" pids h1; fail "no process '$1' on h1"; }
    kill -9 "$victim"
    all_gone() {
        local pid
        for pid in $before; do
            [ ! -e "/proc/$pid/exe" ] || { "$lab" pids h1 | grep "^$pid "; return 1; }
        done
    }
    wait_for 60 "processes of before outlived '$1'" all_gone
    go_on
    everything_passed
    nothing_left h1 h2
}

test_kill_agent() { kill_on_h1 'ptremote-agent agent'; }
test_kill_keeper() { kill_on_h1 'ptremote-agent keeper'; }
test_kill_proxy() { kill_on_h1 'ptremote-agent($| proxy| *$)'; }
test_kill_mpirun() { kill_on_h1 '^[0-9]+ [^ ]*(mpirun|orterun) ' 'mpirun|orterun|ptremote-worker|runner'; }
test_kill_rank() { kill_on_h1 '^[0-9]+ [^ ]*ptremote-worker' 'mpirun|orterun|ptremote-worker|runner'; }

# runners: of h1; what the fork server has forked to run tests leads a session
runners() {
    local pid parent session
    for pid in $(pids_of h1 'ptremote.forkserver'); do
        read -r _ _ _ parent _ session _ <"/proc/$pid/stat" || continue
        [ "$session" != "$pid" ] || ! grep -q -a ptremote.forkserver "/proc/$parent/cmdline" || echo "$pid"
    done
}

test_kill_runner() {
    slow_suite
    start
    wait_for 60 "no runner on h1" eval '[ "$(runners | wc -l)" -ge 1 ]'
    kill -9 "$(runners | tail -1)"
    go_on
    pt_end 280
    [ "$(outcomes "$work/got.json" | wc -l)" = 40 ] || fail "not 40 tests told"
    nothing_left h1 h2
}

test_kill_master() {
    slow_suite
    start
    kill -9 "$master"
    nothing_left h1 h2
    go_on
    pt --resume --hosts h1:3
    want_rc 0
    want_words "goes on with run .* of 40 tests have their outcome"
    want_summary "$work/got.json" "passed=40"
    nothing_left h1
}

test_kill_master_while_it_connects() {
    slow_suite
    local wait
    for wait in 0.05 0.2 0.4 0.8 1.2; do
        pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2,h2:2
        sleep $wait # anywhere on its way
        kill -9 "$master"
        nothing_left h1 h2
    done
}

test_interrupt() {
    slow_suite
    start
    kill -INT "$master"
    pt_end 60
    want_rc 2
    [ "$(outcomes "$work/got.json" | wc -l)" = 40 ] || fail "not every test has an outcome"
    outcomes "$work/got.json" | grep -q passed || fail "what was done is not told"
    outcomes "$work/got.json" | grep -q notrun || fail "nothing was notrun"
    nothing_left h1 h2
}

test_second_interrupt_cuts() {
    local frozen
    slow_suite
    printf 'import time, signal\ndef test_stubborn():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(600)\n' >test_0.py
    start
    frozen=$(pids_of h1 'ptremote-agent agent')
    kill -STOP $frozen # or all is clean before it is cut
    kill -INT "$master"
    wait_for 60 "it does not say that it was interrupted" says 'interrupted: 2 hosts clean up; again within a second to cut'
    for _ in $(seq 40); do # two of these come within a second
        kill -INT "$master" 2>/dev/null || break
        sleep 0.05
    done
    pt_end 60
    kill -CONT $frozen
    want_rc 2
    want_words '^ptremote: cut; hosts clean up by themselves'
    nothing_left h1 h2
}

test_terminated() {
    slow_suite
    start
    kill -TERM "$master"
    pt_end 60
    want_rc 2
    nothing_left h1 h2
}

test_killed_again_and_again() {
    slow_suite
    start
    go_on
    local victim round
    for round in 1 2 3 4 5; do
        wait_for 60 "no agent on h1" eval 'pt_has_ended || pids_of h1 "ptremote-agent agent" | grep -q .'
        victim=$(pids_of h1 'ptremote-agent agent')
        [ -n "$victim" ] || break
        # shellcheck disable=SC2086
        kill -9 $victim
        wait_for 60 "the killed agent is still there ($round)" test ! -e "/proc/${victim%%$'\n'*}/exe"
    done
    everything_passed
    nothing_left h1 h2
}

test_power_failure_and_pulled_cable() {
    slow_suite
    hosts=h1:2,h2:2,h3:2 start --heartbeat 2
    "$lab" kill h1
    "$lab" cut h2
    go_on
    pt_end 280
    "$lab" mend h2
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    [ "$(outcomes "$work/got.json" | cut -d' ' -f1 | sort | uniq -d | wc -l)" = 0 ] || fail "a test is told twice"
    wait_for 60 "left behind on h2 after its cable was pulled" host_is_quiet h2
    nothing_left h3
    "$lab" boot h1
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2,h2:2 --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    nothing_left h1 h2
}

run_tests
