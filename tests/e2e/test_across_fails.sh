#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of several hosts' ranks that fail, crash or hang: they cost themselves only, and all ranks are told.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mpi_lib.sh"
. "$(dirname "$0")/across_lib.sh"
lab_up 2

# one_fails NAME OUTCOME WORDS... <TEST: only that test does, and the words stand in what is shown of it.
one_fails() {
    local name=$1 outcome=$2
    shift 2
    wide "$name"
    on_hosts h1:4,h2:4 --timeout 20
    want_rc 1
    want_summary "$work/got.json" "$(printf '%s\n' "$outcome=1" "passed=$wide_passed" | LC_ALL=C sort | xargs)"
    want_told "$work/got.json" 'of("test_mid_bad[6]")["outcome"], sorted(of("test_mid_bad[6]")["hosts"])' "('$outcome', ['h1', 'h2'])"
    want_text "$work/got.json" "test_mid_bad[6]" "$@"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left h1 h2
}

test_a_far_rank_fails() {
    one_fails failing failed "On rank 5 of 6" "far is wrong" <<'PY'

@ptremote.mark.parallel(6)
def test_mid_bad(comm):
    print("rank %d says this" % comm.rank)
    assert comm.rank != 5, "far is wrong"
PY
    want_told "$work/got.json" '[("rank %d says this" % r) in of("test_mid_bad[6]")["stdout"] for r in range(6)]' "$(printf '[%s]' True,\ True,\ True,\ True,\ True,\ True)"
}

test_a_setup_fails_far() {
    one_fails setup error "no set-up on five" "On rank 5 of 6" <<'PY'

@pytest.fixture
def breaks(comm):
    if comm.rank == 5:
        raise RuntimeError("no set-up on five")

@ptremote.mark.parallel(6)
def test_mid_bad(breaks, comm):
    comm.Barrier()
PY
}

# crash NAME RANK BODY WORDS...: that rank does that while the others wait for it.
crash() {
    one_fails "$1" crashed "rank $2" "${@:4}" <<PY

@ptremote.mark.parallel(6)
def test_mid_bad(comm):
    if comm.rank == $2:
        $3
    comm.Barrier()
PY
}

test_a_far_rank_crashes() { crash far-segv 5 'ctypes.string_at(0)' SIGSEGV; }
test_a_near_rank_crashes() { crash near-segv 1 'ctypes.string_at(0)' SIGSEGV; }
test_rank_zero_exits() { crash zero-exits 0 'os._exit(3)' 3; }
test_a_far_rank_is_killed() { crash far-killed 4 'os.kill(os.getpid(), signal.SIGKILL)' SIGKILL; }
test_a_far_rank_aborts() { crash far-aborts 5 'MPI.COMM_WORLD.Abort(5)' test_mid_bad; }

test_a_deadlock_shows_the_stacks_of_both_hosts() {
    one_fails deadlock failed "far gives up" near_waits far_waits "rank 0" "rank 4" <<'PY'

def near_waits(comm):
    comm.Barrier()

def far_waits(comm):
    comm.Barrier()

@ptremote.mark.parallel(6)
def test_mid_bad(comm):
    if comm.rank == 5:
        raise ValueError("far gives up")
    (near_waits if comm.rank < 4 else far_waits)(comm)
PY
}

test_all_wait_until_the_time_is_over() {
    sed 's/--timeout 20/--timeout 12/' <(declare -f one_fails) >"$work/shorter"
    . "$work/shorter"
    one_fails hang timeout "in test_mid_bad" "of 6" <<'PY'

@ptremote.mark.parallel(6)
def test_mid_bad(comm):
    comm.recv(source=(comm.rank + 1) % comm.size)
PY
}

test_a_host_where_the_suite_does_not_come_up() {
    wide import </dev/null
    printf 'if socket.gethostname() == "h2":\n    raise ImportError("nothing of this on h2")\n' >>conftest.py
    on_hosts h1:4,h2:4
    # The host is given up, or its ranks were told first: what needs no host but h1 passes.
    case $rc in
    6) want_line 'h2: pytest cannot start on this host.*nothing of this on h2' ;;
    1) want_text "$work/got.json" "test_before[6]" "no 6 ranks could be started" "nothing of this on h2" ;;
    *) fail "exit status $rc" ;;
    esac
    want_told "$work/got.json" "[t['nodeid'] for t in tests if t['outcome'] not in ('passed', 'lost') and 'nothing of this on h2' not in t['longrepr']]" "[]"
    want_told "$work/got.json" "{of('test_before[6]')['outcome'], of('test_zz_after[6]')['outcome']} <= {'error', 'lost'}" True
    want_told "$work/got.json" "sum('test_alone' in t['nodeid'] and t['outcome'] == 'passed' for t in tests)" 4
    nothing_left h1 h2
}

test_ranks_that_cannot_start_far() {
    project none
    printf 'import ptremote\n@ptremote.mark.parallel(6)\ndef test_wide(comm):\n    pass\n' >test_wide.py
    (
        export LAB_DIR=$work/lab-none
        lab_up 2 --no-mpi4py h2
        on_hosts h1:4,h2:4
        want_rc 1
        want_told "$work/got.json" 'of("test_wide[6]")["outcome"], of("test_wide[6]")["phase"]' "('error', 'setup')"
        want_text "$work/got.json" "test_wide[6]" "no 6 ranks could be started on h1+h2" "h2: mpi4py is not installed on this host"
        nothing_left h1 h2
        "$lab" down
    ) || exit 1
}

test_what_fails_runs_again() {
    wide reruns <<PY

@ptremote.mark.parallel(6)
def test_flaky(comm):
    if comm.rank == 5 and not os.path.exists("/var/tmp/flaky"):
        open("/var/tmp/flaky", "w").close()
        os.abort()
    comm.Barrier()
PY
    on_hosts h1:4,h2:4 --reruns 2
    want_rc 0
    want_summary "$work/got.json" "passed=$((wide_passed + 1))"
    want_told "$work/got.json" '[one["outcome"] for one in of("test_flaky[6]")["tries"]][0]' "crashed"
    nothing_left h1 h2
    rm -f "$(host_disk h1)/var/tmp/flaky" "$(host_disk h2)/var/tmp/flaky"
}

run_tests
