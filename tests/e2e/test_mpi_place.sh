#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where the ranks of a test run, and what they are told of it: cores, threads, slots beside them, what the test before left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mpi_lib.sh"

test_threads_are_limited_unless_told() {
    project threads
    cat >test_threads.py <<'PY'
import os
import ptremote

WANTED = os.environ.get("WANTED", "1")

@ptremote.mark.parallel(2)
def test_ranks(comm):
    assert comm.allgather(os.environ.get("OMP_NUM_THREADS")) == [WANTED, WANTED]
    assert comm.allgather(os.environ.get("OMPI_MCA_shmem")) == ["mmap", "mmap"]

def test_plain():
    assert os.environ.get("OMP_NUM_THREADS") == os.environ.get("WANTED")
    assert os.environ.get("OMPI_MCA_shmem") == "mmap"
PY
    pt --hosts local:2
    want_rc 0
    pt --hosts local:2 --env OMP_NUM_THREADS=3 --env WANTED=3
    want_rc 0
    nothing_left
}

test_each_rank_has_a_core() {
    [ "$(nproc)" -ge 2 ] || return 0 # with more slots than cores nothing is bound
    project cores
    cat >test_cores.py <<'PY'
import os
import ptremote
import pytest

ALL = os.cpu_count()

@pytest.mark.parametrize("n", range(3))
@ptremote.mark.parallel(2)
def test_own(comm, n):
    cores = comm.allgather(sorted(os.sched_getaffinity(0)))
    assert all(len(mine) < ALL or ALL == 1 for mine in cores), cores
    assert not set(cores[0]) & set(cores[1]), cores

@ptremote.mark.parallel(2, exclusive_numa_domain=True)
def test_domain(comm):
    cores = comm.allgather(sorted(os.sched_getaffinity(0)))
    assert not set(cores[0]) & set(cores[1]), cores

def test_plain():
    assert len(os.sched_getaffinity(0)) > 1
PY
    pt --hosts local:2 --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=5"
    nothing_left
}

# beside NAME: how many tests ran at some time while one of that name did.
beside() {
    told "$work/got.json" "sum(a['started'] < b['started'] + b['duration'] and b['started'] < a['started'] + a['duration']
        for a in tests if '$1' in a['nodeid'] for b in tests if a is not b)"
}

test_reserved_slots_stay_free() {
    project reserved
    cat >test_reserved.py <<'PY'
import time
import ptremote
import pytest

def work(comm):
    begun = time.monotonic()
    while comm.bcast(time.monotonic() - begun) < 0.2:
        pass

@pytest.mark.parametrize("n", range(4))
@ptremote.mark.parallel(2, slots=4)
def test_threaded(comm, n):
    work(comm)

@pytest.mark.parametrize("n", range(4))
@ptremote.mark.parallel(2)
def test_not(comm, n):
    work(comm)

@pytest.mark.parametrize("n", range(40))
def test_plain(n):
    time.sleep(0.05)
PY
    pt --hosts local:4 --dist test --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=48"
    [ "$(beside test_threaded)" = 0 ] || fail "something ran on slots that were reserved"
    [ "$(beside test_not)" -gt 0 ] || fail "nothing ever ran beside a test of two ranks on four slots"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left
}

test_a_rank_that_takes_too_much_memory() {
    project memory
    printf '%s\n@ptremote.mark.parallel(3)\ndef test_mid_bad(comm):\n    large = bytearray(400 << 20) if comm.rank == 1 else b""\n    comm.Barrier()\n' \
        "$bad_head" >test_bad.py
    printf '    if comm.rank == 1:\n        time.sleep(60)\n    comm.Barrier()\n    del large\n' >>test_bad.py
    one_bad
    pt --hosts local:4 --memory-per-slot 300m --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "crashed=1 passed=$((neighbours_passed + 2))"
    want_told "$work/got.json" 'of("test_mid_bad[3]")["outcome"]' crashed
    want_words "above --memory-per-slot 300 MiB" "rank 1"
    nothing_left
}

test_messages_that_nobody_received() {
    project left
    cat >test_left.py <<'PY'
import ptremote

@ptremote.mark.parallel(2)
def test_1_sends(comm):
    if comm.rank == 0:
        comm.isend("lost", dest=1, tag=5)

@ptremote.mark.parallel(2)
def test_2_receives(comm):
    if comm.rank == 0:
        comm.send("meant", dest=1, tag=5)
    else:
        assert comm.recv(source=0, tag=5) == "meant"
PY
    pt --hosts local:2
    want_rc 0
    grep -q "test_left.py::test_1_sends" "$work/out" || fail "the test that sent it is not named"
    grep -q "1 message to rank 1 of 2 never received (from rank 0)" "$work/out" || fail "nobody is told of the message"
    nothing_left
}

run_tests
