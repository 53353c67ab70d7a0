#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that join and leave a run whose tests have more ranks than one host has slots.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/detach_lib.sh"
. "$(dirname "$0")/mpi_lib.sh"
. "$(dirname "$0")/across_lib.sh"
lab_up 3

begins() { wait_for 60 "no test begins on $1" test -e "$(host_disk "$1")/var/tmp/begun"; }

test_a_host_with_ranks_of_a_test_leaves_when_that_has_ended() {
    local host
    wide leaving <<'PY'

@ptremote.mark.parallel(6)
def test_middle(comm, places):
    comm.barrier()
    open("/var/tmp/begun", "w").close()
    end = time.time() + 300
    while not os.path.exists("/var/tmp/go") and time.time() < end:
        time.sleep(0.02)
    comm.barrier()
    assert set(places) == {"h1", "h2"}
PY
    for host in $(seq 12); do # most of them wait, as the bundles of such tests are short
        cat >"test_zz$host.py" <<'PY'
import ptremote

@ptremote.mark.parallel(6)
def test_later(comm, places):
    assert comm.allreduce(1) == 6
PY
    done
    "$ptremote" --python "$python" --ssh-config "$LAB_SSH_CONFIG" --json "$work/got.json" --hosts h1:4,h2:4 >"$work/run.out" 2>"$work/run.err" </dev/null &
    master=$!
    begins h1
    begins h2
    record add-host h3:4
    want_rc 0
    wait_for 60 "h3 does not come" grep -q '^h3: ready' "$work/run.out"
    record drain-host h2
    want_rc 0
    for host in h1 h2; do touch "$(host_disk $host)/var/tmp/go"; done
    wait_for 60 "h2 does not leave" grep -q '^h2: has left the run' "$work/run.out"
    pt_end 100
    out=$work/run.out err=$work/run.err
    want_rc 0
    want_of 'test_middle[6]' "('passed', 6, ['h1', 'h2'])"
    want_summary "$work/got.json" "passed=$((wide_passed + 13))"
    want_told "$work/got.json" 'sum(sorted(t.get("hosts", [])) == ["h1", "h3"] for t in tests) > 0' True
    nothing_left h1 h2 h3
}

run_tests
