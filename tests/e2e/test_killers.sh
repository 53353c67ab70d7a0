#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests that take the workers of their host down each time they run: those are found and told, all others end as they would.
. "$(dirname "$0")/lib.sh"
lab_up 2

# killers_suite NUMBER...: 8 files of 5 tests that take `seconds`; those with these numbers kill `victim` of their host.
killers_suite() {
    project killers
    cat >killer.py <<'PY'
import os
import pathlib
import signal

def words(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""

def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])

def mpiruns(pid):
    command = words(pid)
    ours = os.path.basename(command.split(b" ")[0]) in (b"mpirun", b"orterun") and b"--group" not in command
    found = [pid] if ours else []
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError: # it has ended meanwhile
        return found
    for child in children:
        found += mpiruns(int(child))
    return found

def find(victim):
    """The agent above this process, or the mpirun of its workers."""
    pid = os.getpid()
    while b"ptremote-agent agent" not in words(pid):
        pid = parent(pid)
        assert pid > 1, "no agent above this test"
    return [pid] if victim == "agent" else mpiruns(pid)

def kill(victims):
    assert victims, "nobody to kill"
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
PY
    local n
    for n in $(seq 0 7); do
        cat >"test_$n.py" <<PY
import time
import pytest
import killer

KILLERS = "$*".split()

@pytest.fixture(scope="module")
def victims():
    return killer.find("${victim:-mpirun}")

@pytest.mark.parametrize("n", range($((5 * n)), $((5 * n + 5))))
def test_it(n, victims):
    if str(n) in KILLERS:
        killer.kill(victims)
        time.sleep(600)
    time.sleep(${seconds:-0.02})
    assert n != 33
PY
    done
}

# killed NUMBER...: these are crashed, number 33 failed, every other passed, each told once; no host is out of use.
killed() {
    local n outcome lines=()
    want_rc 1
    for n in $(seq 0 39); do
        outcome=passed
        [ "$n" != 33 ] || outcome=failed
        [[ " $* " != *" $n "* ]] || outcome=crashed
        lines+=("test_$((n / 5)).py::test_it[$n] $outcome")
    done
    want_outcomes "$work/got.json" "${lines[@]}"
    want_words "hosts lost their workers [3-8] times while it ran ([h12local, ]*), the last [23] times with no other test there"
    ! says "given up after" || fail "a host was put out of use"
}

test_one_killer_on_two_hosts() {
    killers_suite 17
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2,h2:2 --json "$work/got.json"
    killed 17
    want_words "mpirun killed by signal 9"
    nothing_left h1 h2
}

test_one_killer_here() {
    killers_suite 17
    pt --hosts local:2 --json "$work/got.json"
    killed 17
    nothing_left
}

test_two_killers() {
    killers_suite 4 26
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2,h2:2 --json "$work/got.json"
    killed 4 26
    nothing_left h1 h2
    pt --hosts local:2 --json "$work/got.json"
    killed 4 26
    nothing_left
}

# The last words of a host may not come: what ran before the killer is suspected too.
test_killer_among_quick_tests() {
    seconds=0 killers_suite 19
    pt --hosts local:2 --json "$work/got.json"
    killed 19
    nothing_left
}

test_killer_of_agents() {
    victim=agent killers_suite 17
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2,h2:2 --json "$work/got.json"
    killed 17
    nothing_left h1 h2
}

# A group of ranks that takes the workers of its host along, beside which it runs.
test_killer_of_several_ranks() {
    "$python" -c 'import mpi4py' 2>/dev/null || return 0
    killers_suite 8
    cat >test_ranks.py <<'PY'
import time
import pytest
import killer

@pytest.mark.parametrize("comm", [2])
@pytest.mark.parametrize("n", range(3))
def test_ranks(comm, n):
    if n == 1:
        killer.kill(killer.find("mpirun"))
        time.sleep(600)
PY
    pt --hosts local:2 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "crashed=2 failed=1 passed=40"
    for name in "test_ranks.py::test_ranks\\[1-2\\]" "test_1.py::test_it\\[8\\]"; do
        outcomes "$work/got.json" | grep -q "$name crashed" || fail "$name is not crashed"
    done
    nothing_left
}

run_tests
