#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that fall silent are noticed within two and a half heartbeats and their work goes to others; with --linger they go
# on alone, and what they did meanwhile arrives once.
. "$(dirname "$0")/lib.sh"
lab_up 2

# suite FILES TESTS: each execution of a test leaves a line on its host, and waits for go_on there, so that nothing ends before it shall.
suite() {
    local n
    project watched
    for n in 1 2; do rm -f "$(host_disk h$n)"/var/tmp/{ran,go}; done
    for n in $(seq "$1"); do
        cat >"test_$n.py" <<PY
import os
import time
import pytest

@pytest.mark.parametrize("n", range($2))
def test_watched(n, request):
    with open("/var/tmp/ran", "a") as ran:
        ran.write(request.node.nodeid + "\n")
    end = time.time() + 300
    while not os.path.exists("/var/tmp/go") and time.time() < end:
        time.sleep(0.02)
    time.sleep(0.1)
PY
    done
}
go_on() { touch "$LAB_DIR"/h{1,2}/disk/var/tmp/go; }

# watched ARGS...: the run, until each host has run tests
watched() {
    pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2,h2:2 --heartbeat 1 -v --json "$work/got.json" "$@"
    local n
    for n in 1 2; do wait_for 60 "h$n runs nothing" test -s "$(host_disk h$n)/var/tmp/ran"; done
}

ran_twice() { cat "$LAB_DIR"/h?/disk/var/tmp/ran | sort | uniq -d; }

# all_of N [SECONDS]: so many tests, each told once, all passed.
all_of() {
    pt_end "${2:-120}"
    want_rc 0
    want_summary "$work/got.json" "passed=$1"
    [ "$(outcomes "$work/got.json" | cut -d' ' -f1 | sort | uniq -d | wc -l)" = 0 ] || fail "a test is told twice"
}

# everything_on HOST SIGNAL: sshd too, so that nobody says farewell.
everything_on() { "$lab" pids "$1" | cut -d' ' -f1 | xargs kill "-$2" 2>/dev/null; }

test_stopped_host_is_noticed_and_comes_back() {
    suite 12 4
    watched
    everything_on h2 STOP
    wait_for 60 "the silence of h2 was not noticed" says 'h2: stopped answering (nothing heard for 2.5 s)'
    everything_on h2 CONT
    wait_for 60 "h2 does not work again" eval '[ "$(grep -c "h2: ready" "$out")" -ge 2 ]'
    go_on
    all_of 48
    nothing_left h1 h2
}

test_pulled_cable_without_linger() {
    suite 8 4
    watched
    "$lab" cut h2
    wait_for 60 "the cut was not noticed" says 'h2: stopped answering'
    go_on
    all_of 32
    "$lab" mend h2
    wait_for 60 "left behind on h2 after its cable was pulled" host_is_quiet h2
    nothing_left h1
}

test_cut_for_a_while_with_linger() {
    suite 8 6
    watched --linger 300
    "$lab" cut h2
    wait_for 60 "the cut was not noticed" says 'h2: stopped answering.*it goes on by itself'
    ran_so_far=$(wc -l <"$(host_disk h2)/var/tmp/ran")
    go_on
    more_ran() { [ "$(wc -l <"$(host_disk h2)/var/tmp/ran")" -gt "$ran_so_far" ]; }
    wait_for 60 "h2 did not go on" more_ran
    "$lab" mend h2
    wait_for 60 "h2 is not back" says 'h2: is back after'
    all_of 48
    [ -z "$(ran_twice)" ] || fail "ran twice: $(ran_twice)"
    nothing_left h1 h2
}

# What happens to the connection alone: the login's processes are killed, twice.
test_connection_killed_with_linger() {
    suite 8 6
    watched --linger 300
    local round pid
    for round in 1 2; do
        pid=$("$lab" pids h1 | grep 'ptremote-agent proxy' | cut -d' ' -f1)
        [ -n "$pid" ] || fail "no proxy on h1"
        kill -9 $pid
        wait_for 60 "h1 is not back" eval '[ "$(grep -c "h1: is back after" "$out")" -ge '$round' ]'
    done
    go_on
    all_of 48
    [ -z "$(ran_twice)" ] || fail "ran twice: $(ran_twice)"
    nothing_left h1 h2
}

test_stopped_host_with_linger() {
    suite 8 6
    watched --linger 300
    everything_on h2 STOP
    wait_for 60 "the silence of h2 was not noticed" says 'h2: stopped answering.*it goes on by itself'
    everything_on h2 CONT
    wait_for 60 "h2 is not back" says 'h2: is back after'
    go_on
    all_of 48
    [ -z "$(ran_twice)" ] || fail "ran twice: $(ran_twice)"
    nothing_left h1 h2
}

# A host that went on, and then lost its power, is not waited for: what it had runs elsewhere.
test_agent_killed_while_away() {
    suite 8 6
    watched --linger 300
    "$lab" cut h2
    wait_for 60 "the cut was not noticed" says 'h2: stopped answering.*it goes on by itself'
    kill -9 $("$lab" pids h2 | grep 'ptremote-agent agent' | cut -d' ' -f1)
    "$lab" mend h2
    wait_for 60 "h2 is not given up" says 'h2: it did not go on by itself'
    go_on
    all_of 48
    nothing_left h1 h2
}

# Nobody comes again: the hosts end when the time is over.
test_linger_ends() {
    suite 8 6
    watched --linger 4 --grace 1
    kill -9 "$master"
    wait "$master" 2>/dev/null
    wait_for 60 "left behind on h1" host_is_quiet h1
    wait_for 60 "left behind on h2" host_is_quiet h2
}

# Ctrl-C while a host is away ends the run; the host ends by itself.
test_interrupted_while_away() {
    suite 8 6
    watched --linger 15
    "$lab" cut h2
    wait_for 60 "the cut was not noticed" says 'h2: stopped answering.*it goes on by itself'
    kill -INT "$master"
    pt_end 60
    want_rc 2
    want_words 'h2: is away: what it runs ends by itself within 15 s'
    "$lab" mend h2
    wait_for 60 "left behind on h2" host_is_quiet h2
    nothing_left h1
}

# What hosts did after their master was killed is not lost, nor done again.
test_killed_master_with_linger() {
    suite 8 6
    watched --linger 300 --leave-with-hosts 10
    kill -9 "$master"
    wait "$master" 2>/dev/null
    local n
    n=$(cat "$LAB_DIR"/h?/disk/var/tmp/ran | wc -l)
    go_on
    went_on() { [ "$(cat "$LAB_DIR"/h?/disk/var/tmp/ran | wc -l)" -ge $((n + 8)) ]; }
    wait_for 60 "the hosts did not go on" went_on
    pt_start --ssh-config "$LAB_SSH_CONFIG" --resume --json "$work/got.json"
    all_of 48
    want_words 'h1: [0-9]* tests were told meanwhile' 'h2: [0-9]* tests were told meanwhile'
    ! says 'connection was cut' || fail "an end that was expected was told as a cut"
    [ -z "$(ran_twice)" ] || fail "ran twice: $(ran_twice)"
    nothing_left h1 h2
}

run_tests
