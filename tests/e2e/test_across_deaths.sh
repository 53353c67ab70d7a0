#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts, and processes on them, die while they run one test together.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mpi_lib.sh"
. "$(dirname "$0")/across_lib.sh"
lab_up 3

# slow: six ranks are at work for a while, until the file /var/tmp/go is there; what stands beside it goes on.
slow() {
    wide "$1" <<'PY'

@ptremote.mark.parallel(6)
def test_mid_slow(comm, places):
    open("/var/tmp/at-work-%d" % comm.rank, "w").close()
    while not os.path.exists("/var/tmp/go"):
        time.sleep(0.05)
    comm.Barrier()
PY
    rm -f "$LAB_DIR"/h*/disk/var/tmp/{at-work-*,go}
}
go_on() { for host in h1 h2 h3; do : >"$(host_disk $host)/var/tmp/go"; done; }
at_work() { [ "$(find "$LAB_DIR"/h*/disk/var/tmp -name 'at-work-*' | wc -l)" = 6 ]; }

test_interrupt() {
    slow interrupt
    start_on h1:4,h2:4
    wait_for 60 "nobody is at work" at_work
    kill -INT "$master"
    go_on
    pt_end 60
    want_rc 2
    want_told "$work/got.json" 'len(tests)' "$((wide_passed + 1))"
    nothing_left h1 h2
}

test_the_master_is_killed() {
    slow orphans
    start_on h1:4,h2:4
    wait_for 60 "nobody is at work" at_work
    kill -9 "$master"
    nothing_left h1 h2
}

# far_one: the host of rank 5, once all are at work.
far_one() {
    local host
    wait_for 60 "nobody is at work" at_work
    for host in h1 h2 h3; do
        [ ! -e "$(host_disk $host)/var/tmp/at-work-5" ] || echo $host
    done
}

test_a_far_host_loses_its_power() {
    slow power
    start_on h1:4,h2:4,h3:4 --heartbeat 2
    local dead
    dead=$(far_one)
    "$lab" kill "$dead"
    go_on
    pt_end 280
    want_rc 0
    want_summary "$work/got.json" "passed=$((wide_passed + 1))"
    want_told "$work/got.json" "len(of('test_mid_slow[6]')['hosts']), '$dead' in of('test_mid_slow[6]')['hosts']" "(2, False)"
    never_more_ranks_than_slots "$work/got.json"
    "$lab" boot "$dead"
    on_hosts h1:4,h2:4,h3:4
    want_rc 0
    nothing_left h1 h2 h3
}

test_the_cable_of_a_far_host_is_pulled() {
    slow cable
    start_on h1:4,h2:4 --heartbeat 2
    local dead
    dead=$(far_one)
    "$lab" cut "$dead"
    go_on
    pt_end 280
    "$lab" mend "$dead"
    want_told "$work/got.json" "len(tests), run['summary']['passed'] >= $neighbours_passed" "($((wide_passed + 1)), True)"
    wait_for 60 "left behind on $dead after its cable was pulled" host_is_quiet "$dead"
    nothing_left h1 h2
}

# killed PATTERN: a process of the far host dies while its ranks are at work.
killed() {
    slow killed
    start_on h1:4,h2:4
    local dead
    dead=$(far_one)
    local victim
    victim=$("$lab" pids "$dead" | grep -E -e "$1" | head -1 | cut -d' ' -f1)
    [ -n "$victim" ] || { "$lab" pids "$dead"; fail "no process '$1' on $dead"; }
    kill -9 "$victim"
    go_on
    pt_end 280
    want_told "$work/got.json" "len(tests), run['summary']['passed'] >= $wide_passed" "($((wide_passed + 1)), True)"
    nothing_left h1 h2
}

test_a_far_orted_is_killed() { killed '^[0-9]+ [^ ]*orted'; }
test_a_far_member_is_killed() { killed '^[0-9]+ [^ ]*ptremote-worker.*--far'; }
test_a_far_agent_is_killed() { killed 'ptremote-agent agent'; }

run_tests
