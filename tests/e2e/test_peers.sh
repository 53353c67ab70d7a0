#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nobody joins, reads, changes or stops a run: strangers at the door of the master, a host that others have taken over, floods.
# docs/security.md says which case is where.
. "$(dirname "$0")/lib.sh"
lab_up 2
here=$(dirname "$(readlink -f "$0")")
go=$work/go

# The second host is not ours any more: what stands for mpirun there is hostile_mpirun.
install -D -m 755 "$here/hostile_mpirun" "$(host_disk h2)/var/tmp/mpirun"
printf '#!/bin/sh\nexec /usr/bin/mpirun "$@"\n' >"$(host_disk h1)/var/tmp/mpirun"
chmod 755 "$(host_disk h1)/var/tmp/mpirun"
link() { echo "$(host_disk h2)/var/tmp/peer/$1"; }
peer() { timeout 60 "$python" "$here/hostile_peer.py" "$@" >"$work/peer" 2>&1 || { cat "$work/peer"; fail "$1: not as it must be"; }; }

# A suite of 30 tests that wait for each other's leave, each a file.
suite() {
    local n
    project suite
    rm -f "$(host_disk h1)/var/tmp/go" "$(host_disk h2)"/var/tmp/peer/*
    for n in $(seq 10 39); do
        cat >"test_$n.py" <<'PY'
import os
import time

def test_it():
    until = time.monotonic() + 90
    while not os.path.exists("/var/tmp/go"):
        assert time.monotonic() < until
        time.sleep(0.02)
PY
    done
}
run_over() { # HOSTS ARGS...
    pt_start --ssh-config "$LAB_SSH_CONFIG" --listen "$LAB_NET.1:0" --mpirun /var/tmp/mpirun --json "$work/got.json" ${DEBUG:-} --hosts "$@"
}
let_go() { touch "$(host_disk h1)/var/tmp/go"; }
has_link() { [ -e "$(link "$1")" ]; }

all_passed() {
    pt_end
    want_rc 0
    want_summary "$work/got.json" "passed=30"
    ! grep -q "a lie" "$out" "$err" "$work/got.json" || fail "a lie was told on"
    "$python" -c 'import json, sys
assert {t["host"] for t in json.load(open(sys.argv[1]))["tests"]} == {"h1"}' "$work/got.json" || fail "another host told of a test"
}
memory() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$master/status"; } # the most it ever had

test_strangers_and_a_host_that_lies() {
    local before how launch=1
    suite
    run_over h1:2,h2:1
    wait_for 60 "the other host has no keys" has_link 1
    cp "$(link 1)" "$work/old"
    kill -9 "$master"
    wait "$master" 2>/dev/null
    nothing_left h1
    suite
    run_over h1:2,h2:1
    wait_for 60 "h1 does not work" says "h1: ready"
    wait_for 60 "the other host has no keys" has_link 1
    peer strangers "$(link 1)" "$work/old"
    kill -0 "$master" || fail "the run has ended"
    before=$(memory)
    peer report "$(link 1)" 30
    cat "$work/peer"
    [ $(($(memory) - before)) -lt 32768 ] || fail "128 MiB of output took $(($(memory) - before)) KiB here"
    for how in oversized interleaved renegotiate; do
        launch=$((launch + 1))
        wait_for 60 "$how: its workers are not started again" has_link $launch
        peer break "$(link $launch)" $how
    done
    wait_for 60 "it is not given up" says "h2: .*given up after 4 starts"
    let_go
    all_passed
    nothing_left h1
}

run_tests
