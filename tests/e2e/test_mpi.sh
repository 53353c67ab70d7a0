#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of several MPI ranks, with a real mpirun and a real mpi4py: on this machine, and on two hosts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mpi_lib.sh"

# ---- what a suite sees ----
test_the_example() {
    project example
    cp -r "$source_dir/examples/mpi/." .
    pt --hosts local:4 --json "$work/got.json" --junitxml "$work/got.xml"
    want_rc 0
    want_told "$work/got.json" 'sorted((t["nodeid"], t["outcome"], t.get("ranks", 1)) for t in tests)' \
        "[('tests/test_order.py::test_parts_are_the_whole', 'passed', 1), ('tests/test_order.py::test_two_ranks_sort[2]', 'passed', 2), \
('tests/test_rod.py::test_heat_stays_in_the_rod', 'passed', 1), ('tests/test_rod.py::test_three_ranks_warm_as_one[3]', 'passed', 3)]"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_sizes_and_their_ids() {
    project sizes
    cat >test_sizes.py <<'PY'
import pytest
from sizes import parallel

@parallel([1, 2, 3, 4])
def test_size(comm, request):
    assert comm.size == int(request.node.name.split("[")[1].rstrip("]"))
    assert comm.allgather(comm.rank) == list(range(comm.size))

@parallel(2)
def test_one_size(comm):
    assert comm.size == 2

@parallel([2, 3])
@pytest.mark.parametrize("x", ["a", "b"])
def test_above(comm, x):
    assert comm.bcast(x) == x

@pytest.mark.parametrize("x", ["a", "b"])
@parallel([2, 3])
def test_below(comm, x):
    assert comm.bcast(x) == x

@parallel(2)
class TestClass:
    def test_inside(self, comm):
        assert comm.size == 2

def test_none():
    from mpi4py import MPI
    assert MPI.COMM_WORLD.size == 1
PY
    cat >sizes.py <<'PY'
import pytest

def parallel(sizes):
    return pytest.mark.parametrize("comm", [sizes] if isinstance(sizes, int) else sizes, indirect=True)
PY
    printf 'import pytest\n@pytest.fixture\ndef comm():\n    pass\n' >conftest.py
    plain --collect-only -q
    grep :: "$work/plain" | LC_ALL=C sort >"$work/ids"
    rm conftest.py
    printf 'import ptremote\nparallel = ptremote.mark.parallel\n' >sizes.py
    pt --hosts local:4 --json "$work/got.json"
    want_rc 0
    outcomes "$work/got.json" | LC_ALL=C sort >"$work/told"
    diff <(sed 's/$/ passed/' "$work/ids") "$work/told" || fail "other ids (>) than parametrize gives (<)"
    want_told "$work/got.json" '[of("test_size[%d]" % n).get("ranks", 1) for n in (1, 2, 3, 4)]' "[1, 2, 3, 4]"
    [ "$(sort .ptremote/sizes | xargs)" = "2 3 4" ] || fail "sizes for the next run: $(cat .ptremote/sizes)"
    pt --hosts local:4 --json "$work/got.json" -k none # groups are started ahead, and are not needed
    want_rc 0
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_a_suite_of_pytest_parallel() {
    project theirs
    cat >test_it.py <<'PY'
import pytest_parallel

@pytest_parallel.mark.parallel(2)
def test_two(comm):
    assert comm.Get_size() == 2
    comm.Barrier()

@pytest_parallel.mark.parallel([1, 3])
def test_sizes(comm, mpi_tmpdir):
    assert comm.Get_size() in (1, 3)
    assert len(set(comm.allgather(str(mpi_tmpdir)))) == 1

def test_plain():
    pass
PY
    pt --hosts local:3 --json "$work/got.json" -- --strict-markers
    want_rc 0
    want_outcomes "$work/got.json" "test_it.py::test_two[2] passed" "test_it.py::test_sizes[1] passed" "test_it.py::test_sizes[3] passed" \
        "test_it.py::test_plain passed"
    nothing_left
}

test_world_is_the_tests_own() {
    project world
    cat >test_world.py <<'PY'
import ptremote
from mpi4py import MPI

def code_that_knows_only_world():
    return MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank)

@ptremote.mark.parallel([2, 3, 4])
def test_world(comm):
    assert MPI.COMM_WORLD.size == comm.size and MPI.COMM_WORLD.rank == comm.rank
    assert MPI.Comm.Compare(comm, MPI.COMM_WORLD) in (MPI.IDENT, MPI.CONGRUENT)
    assert code_that_knows_only_world() == sum(range(comm.size))

@ptremote.mark.parallel_from_context
def test_all_of_the_host(comm):
    assert comm.size == MPI.COMM_WORLD.size == 4
PY
    pt --hosts local:4 --json "$work/got.json" -- --strict-markers
    want_rc 0
    want_summary "$work/got.json" "passed=4"
    nothing_left
}

test_fixtures_once_for_each_rank_of_a_group() {
    project fixtures
    cat >conftest.py <<PY
import os
import pytest

def say(words):
    with open("$work/log", "a") as log:
        log.write(words + " %s\n" % os.environ.get("PTREMOTE_GROUP_RANK"))

@pytest.fixture(scope="session")
def of_session():
    say("session up")
    yield
    say("session down")

@pytest.fixture(scope="module")
def of_module():
    say("module up")
    yield
    say("module down")
PY
    for n in 1 2; do
        printf 'import ptremote, pytest\n@pytest.mark.parametrize("n", range(3))\n@ptremote.mark.parallel(2)\ndef test_it(of_session, of_module, comm, n):\n    comm.Barrier()\n' \
            >test_$n.py
    done
    rm -f "$work/log"
    pt --hosts local:2 --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=6"
    [ "$(LC_ALL=C sort "$work/log" | uniq -c | xargs)" = \
        "2 module down 0 2 module down 1 2 module up 0 2 module up 1 1 session down 0 1 session down 1 1 session up 0 1 session up 1" ] ||
        fail "set up and down: $(LC_ALL=C sort "$work/log" | uniq -c | xargs)"
    nothing_left
}

test_an_end_of_the_session_that_one_rank_fails() {
    project ends
    neighbours
    local where
    for where in fixture hook; do
        if [ $where = fixture ]; then
            printf 'import os, pytest\n@pytest.fixture(scope="session", autouse=True)\ndef ends():\n    yield\n'
        else
            printf 'import os\ndef pytest_sessionfinish():\n'
        fi >conftest.py
        printf '    assert (os.environ.get("PTREMOTE_RANKS"), os.environ.get("PTREMOTE_GROUP_RANK")) != ("3", "2"), "a bad end"\n' >>conftest.py
        pt --hosts local:3
        want_rc 1
        grep -q "a bad end" "$work/out" || fail "the rank's error is not told"
        grep -q "10 passed, 1 error in" "$work/out" || fail "not told once"
        nothing_left
    done
}

test_a_folder_for_all_ranks() {
    project folder
    cat >test_it.py <<PY
import pathlib
import ptremote

@ptremote.mark.parallel([2, 3])
def test_it(comm, mpi_tmpdir):
    assert isinstance(mpi_tmpdir, pathlib.Path) and mpi_tmpdir.is_dir()
    assert len(set(comm.allgather(str(mpi_tmpdir)))) == 1
    (mpi_tmpdir / str(comm.rank)).write_text("here")
    comm.Barrier()
    assert len(list(mpi_tmpdir.iterdir())) == comm.size
    if comm.rank == 0:
        with open("$work/folders", "a") as file:
            file.write("%s\n" % mpi_tmpdir)
PY
    rm -f "$work/folders"
    pt --hosts local:3
    want_rc 0
    [ "$(sort -u "$work/folders" | wc -l)" = 2 ] || fail "not two folders: $(xargs <"$work/folders")"
    while read -r folder; do [ ! -e "$folder" ] || fail "$folder is left"; done <"$work/folders"
    nothing_left
}

test_more_ranks_than_there_are() {
    project large
    neighbours
    printf 'import ptremote\n@ptremote.mark.parallel([2, 5])\ndef test_large(comm):\n    assert comm.size == 2\n' >test_large.py
    pt --hosts local:4 --json "$work/got.json" -v
    want_rc 0
    want_summary "$work/got.json" "passed=$((neighbours_passed + 1)) skipped=1"
    want_words "Not enough procs to execute: 5 required but only 4 available"
    nothing_left
}

# ---- what fails ----
test_a_rank_that_fails() {
    project fails
    cat >test_it.py <<'PY'
import ptremote
import pytest

@ptremote.mark.parallel(3)
def test_one_rank(comm):
    print("rank %d says this" % comm.rank)
    assert comm.rank != 1, "rank one is wrong"

@ptremote.mark.parallel(2)
def test_all_ranks(comm):
    assert comm.rank == 7

@pytest.fixture
def breaks_on_zero(comm):
    if comm.rank == 0:
        raise RuntimeError("no set-up on zero")

@ptremote.mark.parallel(2)
def test_setup(breaks_on_zero, comm):
    comm.Barrier()

@pytest.fixture
def breaks_after(comm):
    yield
    if comm.rank == 1:
        raise RuntimeError("no tear-down on one")

@ptremote.mark.parallel(2)
def test_teardown(breaks_after, comm):
    comm.Barrier()

@ptremote.mark.parallel(2)
def test_skips(comm):
    pytest.skip("not today")

@ptremote.mark.parallel(2)
@pytest.mark.xfail(reason="known", strict=True)
def test_xfails(comm):
    assert comm.rank == 7
PY
    pt --hosts local:4 --json "$work/got.json" --junitxml "$work/got.xml"
    want_rc 1
    want_outcomes "$work/got.json" "test_it.py::test_one_rank[3] failed" "test_it.py::test_all_ranks[2] failed" \
        "test_it.py::test_setup[2] error" "test_it.py::test_teardown[2] error" "test_it.py::test_skips[2] skipped" \
        "test_it.py::test_xfails[2] xfailed"
    want_words "On rank 1 of 3" "rank one is wrong" "no set-up on zero" "no tear-down on one"
    want_text "$work/got.json" "test_one_rank[3]" "On rank 1 of 3" "rank one is wrong" "test_it.py:"
    want_text "$work/got.json" "test_all_ranks[2]" "of 2"
    want_told "$work/got.json" '[("rank %d says this" % r) in of("test_one_rank[3]")["stdout"] for r in range(3)]' "[True, True, True]"
    "$python" - "$work/got.xml" <<'PY' || fail "not in the XML"
import sys, xml.etree.ElementTree as ET
case, = [c for c in ET.parse(sys.argv[1]).iter("testcase") if c.get("name") == "test_one_rank[3]"]
failure, = case.findall("failure")
assert "On rank 1 of 3" in failure.text and "rank one is wrong" in failure.text, failure.text
assert len([c for c in ET.parse(sys.argv[1]).iter("testcase")]) == 6
PY
    nothing_left
}

# crashes NAME BODY OUTCOME WORDS...: rank 1 of 3 does that while the others wait for it.
crashes() {
    local name=$1 body=$2 outcome=$3
    shift 3
    project "$name"
    printf '%s\n@ptremote.mark.parallel(3)\ndef test_mid_bad(comm):\n    if comm.rank == 1:\n        %s\n    comm.Barrier()\n' \
        "$bad_head" "$body" >test_bad.py
    one_bad
    pt --hosts local:4 --json "$work/got.json" --junitxml "$work/got.xml"
    want_rc 1
    want_summary "$work/got.json" "$outcome=1 passed=$((neighbours_passed + 2))"
    want_told "$work/got.json" 'of("test_mid_bad[3]")["outcome"], of("test_mid_bad[3]")["phase"]' "('$outcome', 'call')"
    want_told "$work/got.json" '"rank 1" in (of("test_mid_bad[3]")["message"] + of("test_mid_bad[3]")["longrepr"])' True
    want_words "$@"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_a_rank_with_a_segmentation_fault() { crashes segv 'ctypes.string_at(0)' crashed SIGSEGV; }
test_a_rank_that_is_killed() { crashes killed 'os.kill(os.getpid(), signal.SIGKILL)' crashed SIGKILL; }
test_a_rank_that_exits() { crashes exits 'os._exit(3)' crashed 3; }
test_a_rank_that_aborts() { crashes aborts 'MPI.COMM_WORLD.Abort(5)' crashed test_mid_bad; }
test_a_rank_that_leaves() { crashes leaves 'sys.exit(4)' failed "SystemExit: 4"; }

test_a_crash_while_a_file_is_imported() {
    project imports
    neighbours
    cat >test_bad.py <<'PY'
import os
import ptremote

if os.environ.get("PTREMOTE_GROUP_RANK") == "1":
    os.abort()

@ptremote.mark.parallel(2)
def test_never(comm):
    pass
PY
    pt --hosts local:4 --json "$work/got.json"
    want_rc 1
    want_told "$work/got.json" 'run["summary"]["passed"], of("test_never[2]")["outcome"]' "($neighbours_passed, 'crashed')"
    nothing_left
}

test_a_deadlock_is_noticed_with_all_stacks() {
    project deadlock
    cat >test_bad.py <<PY
$bad_head
def waits_on_0(comm):
    comm.Barrier()

def waits_on_2(comm):
    comm.Barrier()

@ptremote.mark.parallel(3)
def test_mid_bad(comm):
    if comm.rank == 1:
        raise ValueError("rank one gives up")
    (waits_on_0 if comm.rank == 0 else waits_on_2)(comm)
PY
    one_bad
    pt --hosts local:4 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "failed=1 passed=$((neighbours_passed + 2))"
    want_text "$work/got.json" "test_mid_bad[3]" "rank one gives up" "waits_on_0" "waits_on_2" "rank 0" "rank 2"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_a_deadlock_of_all_is_ended_by_the_time_limit() {
    project hang
    cat >test_bad.py <<PY
$bad_head
@ptremote.mark.parallel(3)
def test_mid_bad(comm):
    comm.recv(source=(comm.rank + 1) % comm.size)
PY
    one_bad
    pt --hosts local:4 --timeout 10 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "passed=$((neighbours_passed + 2)) timeout=1"
    want_text "$work/got.json" "test_mid_bad[3]" "in test_mid_bad" "of 3"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_one_rank_that_sleeps_and_one_that_passed() {
    project sleeps
    cat >test_bad.py <<PY
$bad_head
@ptremote.mark.parallel(3)
def test_mid_bad(comm):
    if comm.rank == 2:
        time.sleep(600)
PY
    one_bad
    pt --hosts local:4 --timeout 10 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "passed=$((neighbours_passed + 2)) timeout=1"
    want_told "$work/got.json" '"rank 2" in (of("test_mid_bad[3]")["message"] + of("test_mid_bad[3]")["longrepr"])' True
    nothing_left
}

test_ranks_that_cannot_start() {
    project none
    neighbours
    mkdir mpi4py # stands before the real one
    printf 'raise ImportError("a broken mpi4py")\n' >mpi4py/__init__.py
    pt --hosts local:4 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "error=6 passed=4"
    want_words "a broken mpi4py"
    nothing_left
}

# ---- groups ----
processes() { # a project that writes down who ran which test, a line each: test, rank, process
    project "$1"
    cat >conftest.py <<PY
import os

def pytest_runtest_call(item):
    with open("$work/who", "a") as log:
        log.write("%s %s %d\n" % (item.nodeid, os.environ.get("PTREMOTE_GROUP_RANK", "0"), os.getpid()))
PY
    for n in 1 2 3; do
        printf 'import ptremote, pytest\n@pytest.mark.parametrize("n", range(3))\n@ptremote.mark.parallel(2)\ndef test_it(comm, n):\n    comm.Barrier()\n' \
            >test_$n.py
    done
    rm -f "$work/who"
}

# different PATTERN: how many processes ran, as rank 0, what matches.
different() { grep -e "$1" "$work/who" | awk '$2 == 0 { print $3 }' | sort -u | wc -l; }

test_isolation_of_groups() {
    local isolate wanted
    for isolate in session bundle test; do
        processes "isolate-$isolate"
        pt --hosts local:2 --isolate $isolate --split never --bundles-per-worker 1000 --json "$work/got.json"
        want_rc 0
        want_summary "$work/got.json" "passed=9"
        [ "$(wc -l <"$work/who")" = 18 ] || fail "not every rank ran every test once"
        case $isolate in session) wanted=1 ;; bundle) wanted=3 ;; test) wanted=9 ;; esac
        [ "$(different .)" = $wanted ] || fail "--isolate $isolate: $(different .) processes, not $wanted"
        nothing_left
    done
}

test_what_fails_runs_again() {
    project reruns
    neighbours
    cat >test_it.py <<PY
import os
import ptremote

def once(name):
    try:
        os.close(os.open("$work/once-" + name, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

@ptremote.mark.parallel(2)
def test_flaky(comm):
    first = comm.bcast(once("flaky") if comm.rank == 0 else None)
    assert not (first and comm.rank == 1), "a flake"

@ptremote.mark.parallel(2)
def test_crash(comm):
    if comm.rank == 1 and once("crash"):
        os.abort()
    comm.Barrier()

@ptremote.mark.parallel(2)
def test_deadlock(comm):
    if comm.rank == 1:
        assert not once("deadlock")
    comm.Barrier()
PY
    rm -f "$work"/once-*
    pt --hosts local:2 --reruns 1 --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=$((neighbours_passed + 3 - 3)) skipped=3"
    want_told "$work/got.json" '[t["tries"][0]["outcome"] for t in sorted(tests, key=lambda t: t["nodeid"]) if "tries" in t]' \
        "['crashed', 'failed', 'failed']"
    nothing_left
}

# ---- schedules ----
steps() { # three files of tests of 1 to 4 ranks
    project "$1"
    local n
    for n in 1 2 3; do
        cat >test_$n.py <<'PY'
import time

import ptremote
import pytest

@ptremote.mark.parallel([1, 2, 3, 4])
def test_ranks(comm):
    time.sleep(0.02)
    comm.Barrier()

@pytest.mark.parametrize("n", range(4))
def test_plain(n):
    time.sleep(0.02)
PY
    done
}

test_every_schedule() {
    local schedule
    for schedule in dynamic static sequential; do
        steps "by-$schedule"
        pt --hosts local:4 --schedule $schedule --json "$work/got.json"
        want_rc 0
        want_summary "$work/got.json" "passed=24"
        never_more_ranks_than_slots "$work/got.json"
    done
    want_told "$work/got.json" '[t["nodeid"] for t in tests]' "$(told "$work/got.json" \
        '["test_%d.py::test_%s[%d]" % (f, k, n) for f in (1, 2, 3) for k, ns in (("ranks", (1, 2, 3, 4)), ("plain", range(4))) for n in ns]')"
    pt --hosts local:4 --schedule static --dry-run
    want_rc 0
    want_words '24 tests in 3 files' 'bundles of several ranks in . steps' 'slot 3'
    cp "$out" "$work/picture"
    pt --hosts local:4 --schedule static --dry-run
    diff <(grep -v ' to send\| -- run ' "$work/picture") <(grep -v ' to send\| -- run ' "$out") || fail "two pictures of one run differ"
    nothing_left
}

test_a_run_is_replayed() {
    steps again
    pt --hosts local:4 --json "$work/first.json"
    want_rc 0
    pt --hosts local:4 --replay "$work/first.json" --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=24"
    local where='sorted(sorted((o["nodeid"], o.get("ranks", 1), o.get("ranks", 1) > 1 or o["worker"]) for o in tests if o["bundle"] == t["bundle"]) for t in tests)'
    [ "$(told "$work/first.json" "$where")" = "$(told "$work/got.json" "$where")" ] || fail "the replay ran otherwise"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_the_first_failure_stops() {
    steps stops
    printf 'import ptremote\n@ptremote.mark.parallel(4)\ndef test_bad(comm):\n    assert comm.rank != 3\n' >test_0.py
    for n in 5 6 7 8 9; do cp test_1.py test_$n.py; done
    pt --hosts local:4 -x --schedule sequential --json "$work/got.json"
    want_rc 1
    want_told "$work/got.json" 'run["summary"]["failed"], run["summary"]["notrun"] > 20' "(1, True)"
    nothing_left
}

test_interrupt() {
    project interrupt
    neighbours
    printf 'import time, ptremote, pytest\n@pytest.mark.parametrize("n", range(40))\n@ptremote.mark.parallel(2)\ndef test_slow(comm, n):\n    time.sleep(0.3)\n    comm.Barrier()\n' >test_slow.py
    pt_start --hosts local:4 -v --json "$work/got.json"
    wait_for 60 "no test of two ranks passed" says 'test_slow.*PASSED'
    kill -INT "$master"
    pt_end 60
    want_rc 2
    want_told "$work/got.json" 'len(tests), run["summary"]["notrun"] > 0' "($((neighbours_passed + 40)), True)"
    nothing_left
}

# ---- hosts ----
test_two_hosts() {
    project hosts
    neighbours
    cat >test_many.py <<'PY'
import time

import ptremote
import pytest

@pytest.mark.parametrize("n", range(10))
@ptremote.mark.parallel([1, 2, 3, 4])
def test_many(comm, n):
    time.sleep(0.02)
    assert comm.allreduce(1) == comm.size
PY
    cat >test_bad.py <<PY
$bad_head
@ptremote.mark.parallel(3)
def test_mid_crash(comm):
    if comm.rank == 2:
        ctypes.string_at(0)
    comm.Barrier()

@ptremote.mark.parallel(2)
def test_mid_deadlock(comm):
    if comm.rank == 1:
        raise ValueError("gives up")
    comm.Barrier()
PY
    export LAB_DIR=$work/lab-hosts
    lab_up 2
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:4,h2:2 --require-all-hosts --dist test --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "crashed=1 failed=1 passed=$((neighbours_passed + 41))"
    want_told "$work/got.json" 'sorted({t["host"] for t in tests}), {t["host"] for t in tests if t.get("ranks", 1) > 2}' "(['h1', 'h2'], {'h1'})"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left h1 h2
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:4,h2:2 --isolate test --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "crashed=1 failed=1 passed=$((neighbours_passed + 41))"
    nothing_left h1 h2
    "$lab" down
}

test_a_group_whose_processes_are_killed() {
    project kills
    neighbours
    cat >test_slow.py <<'PY'
import os
import time

import ptremote
import pytest

@pytest.mark.parametrize("n", range(10))
@ptremote.mark.parallel(2)
def test_slow(comm, n):
    end = time.time() + 300
    while n and not os.path.exists("/var/tmp/go") and time.time() < end:
        time.sleep(0.02)
    comm.Barrier()
PY
    export LAB_DIR=$work/lab-kills
    lab_up 1
    local pattern victim
    for pattern in 'mpirun.*--group' '^[0-9]+ [^ ]*ptremote-worker.*--group'; do
        rm -f "$(host_disk h1)/var/tmp/go"
        pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2 -v --json "$work/got.json"
        wait_for 60 "no test of two ranks passed" says 'test_slow.*PASSED'
        victim=$("$lab" pids h1 | grep -E -e "$pattern" | head -1 | cut -d' ' -f1)
        [ -n "$victim" ] || { "$lab" pids h1; fail "no process '$pattern' on h1"; }
        kill -9 "$victim"
        touch "$(host_disk h1)/var/tmp/go"
        pt_end 280
        want_told "$work/got.json" 'len(tests), run["summary"]["passed"] >= len(tests) - 4' "($((neighbours_passed + 10)), True)"
        nothing_left h1
    done
    "$lab" down
}

run_tests
