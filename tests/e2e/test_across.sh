#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests that have more ranks than one host has slots, under one mpirun on several real hosts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mpi_lib.sh"
lab_up 3 --mount h2 /usr/local/bin mode=755

# on_hosts LIST ARGS...: a run there.
on_hosts() { pt --ssh-config "$LAB_SSH_CONFIG" --hosts "$1" --json "$work/got.json" "${@:2}"; }
start_on() { pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts "$1" --json "$work/got.json" "${@:2}"; }

# told_of NAME: outcome, ranks and sorted hosts.
want_of() { want_told "$work/got.json" "(lambda t: (t['outcome'], t['ranks'], sorted(t.get('hosts', []))))(of('$1'))" "$2"; }

# wide: a project of neighbours with tests of 6 ranks that are good, before and after what stdin has; each writes down where its ranks were.
wide() {
    project "$1"
    neighbours
    cat >conftest.py <<'PY'
import socket

import pytest
from mpi4py import MPI

@pytest.fixture
def places(comm):
    """The host of each rank."""
    assert comm.size == MPI.COMM_WORLD.size == 6
    return comm.allgather(socket.gethostname())
PY
    cat >test_wide.py <<'PY'
import ctypes, os, signal, sys, time
import ptremote
import pytest
from mpi4py import MPI

@ptremote.mark.parallel(6)
def test_before(comm, places):
    assert len(set(places)) == 2
    assert places == sorted(places, key=places.index), "the ranks of a host are not side by side"
    assert comm.allreduce(comm.rank) == 15
    far = comm.size - 1 - comm.rank  # more than a word between the hosts
    assert comm.sendrecv(bytes(300000 + comm.rank), far, source=far) == bytes(300000 + far)
PY
    cat - >>test_wide.py
    cat >>test_wide.py <<'PY'

@ptremote.mark.parallel(6)
def test_zz_after(comm, places):
    assert comm.allreduce(1) == 6
PY
}
wide_passed=$((neighbours_passed + 2))

# ---- where tests run ----
# Nobody asks for a name, as one that does not resolve would hold mpirun up.
watch_names() {
    "$python" - "$LAB_NET.1" "$work/asked" <<'PY' &
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 53))
open(sys.argv[2], "w").close()
while True:
    words = sock.recv(512)
    with open(sys.argv[2], "ab") as file:
        file.write(words + b"\n")
PY
    watcher=$!
    wait_for 10 "nobody listens for names" test -e "$work/asked"
    for host in h1 h2 h3; do echo "nameserver $LAB_NET.1" >"$(host_disk $host)/etc/resolv.conf"; done
}

test_six_ranks_on_two_hosts_of_four() {
    local watcher host
    wide two </dev/null
    watch_names
    on_hosts h1:4,h2:4 -v
    kill "$watcher"
    for host in h1 h2 h3; do : >"$(host_disk $host)/etc/resolv.conf"; done
    want_rc 0
    want_summary "$work/got.json" "passed=$wide_passed"
    want_of 'test_before[6]' "('passed', 6, ['h1', 'h2'])"
    want_words 'test_wide.py::test_before\[6\] PASSED.* h[12]+h[12]$'
    never_more_ranks_than_slots "$work/got.json"
    [ ! -s "$work/asked" ] || fail "names were asked for: $(tr -cd '[:print:]' <"$work/asked")"
    nothing_left h1 h2
}

test_this_machine_is_a_host_too() {
    wide here </dev/null
    on_hosts local:4,h1:4
    want_rc 0
    want_summary "$work/got.json" "passed=$wide_passed"
    want_of 'test_before[6]' "('passed', 6, ['h1', 'local'])"
    nothing_left h1
}

test_as_few_hosts_as_possible() {
    wide few </dev/null
    on_hosts h1:2,h2:2,h3:4
    want_rc 0
    want_told "$work/got.json" 'of("test_before[6]")["host"], len(of("test_before[6]")["hosts"])' "('h3', 2)"
    never_more_ranks_than_slots "$work/got.json"
    want_told "$work/got.json" 'of("test_before[6]")["shares"]' "[4, 2]"
    sed -i 's/== 2$/== 3/' test_wide.py
    on_hosts h1:2,h2:2,h3:2
    want_rc 0
    want_of 'test_before[6]' "('passed', 6, ['h1', 'h2', 'h3'])"
    nothing_left h1 h2 h3
}

test_across_though_one_would_do() {
    project option
    neighbours
    cat >test_it.py <<'PY'
import socket
import ptremote

@ptremote.mark.parallel(4)
def test_four(comm):
    places = comm.allgather(socket.gethostname())
    assert sorted(map(places.count, places)) == [2, 2, 2, 2], places
PY
    on_hosts h1:4,h2:4 --mpi-across
    want_rc 0
    want_summary "$work/got.json" "passed=$((neighbours_passed + 1))"
    want_of 'test_four[4]' "('passed', 4, ['h1', 'h2'])"
    want_told "$work/got.json" '{len(t["hosts"]) for t in tests if t.get("ranks", 1) > 1}' "{2}"
    never_more_ranks_than_slots "$work/got.json"
    nothing_left h1 h2
}

test_every_schedule_and_isolation() {
    local words
    for words in '--schedule static' '--schedule sequential' '--isolate bundle' '--isolate test'; do
        wide "${words##* }" </dev/null
        # shellcheck disable=SC2086
        on_hosts h1:4,h2:4 $words
        want_rc 0
        want_summary "$work/got.json" "passed=$wide_passed"
        never_more_ranks_than_slots "$work/got.json"
        nothing_left h1 h2
    done
}

test_plain_pytest_knows_nothing_of_it() { # what the suite's user gets where there is one host
    wide one </dev/null
    on_hosts h1:4
    want_rc 0
    want_summary "$work/got.json" "passed=$neighbours_passed skipped=2"
    want_told "$work/got.json" 'of("test_before[6]")["message"]' "Not enough procs to execute: 6 required but only 4 available"
    on_hosts h1:2,h2:3
    want_told "$work/got.json" 'of("test_before[6]")["message"]' "Not enough procs to execute: 6 required but only 5 available"
    nothing_left h1 h2
}

# ---- what fails ----
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
    sed 's/--timeout 20/--timeout 5/' <(declare -f one_fails) >"$work/shorter"
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
    want_rc 6
    want_summary "$work/got.json" "lost=2 passed=$neighbours_passed"
    want_line 'h2: pytest cannot start on this host.*nothing of this on h2'
    nothing_left h1 h2
}

test_ranks_that_cannot_start_far() {
    project none
    neighbours
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

# ---- folders ----
test_a_folder_needs_a_shared_file_system() {
    wide folders <<'PY'

@ptremote.mark.parallel(6)
def test_folder(comm, mpi_tmpdir):
    (mpi_tmpdir / str(comm.rank)).write_text("here")
    comm.Barrier()
    assert len(list(mpi_tmpdir.iterdir())) == 6

@ptremote.mark.parallel(6)
def test_own(comm, tmp_path):
    assert tmp_path.is_dir()
PY
    on_hosts h1:4,h2:4
    want_rc 1
    want_summary "$work/got.json" "error=1 passed=$((wide_passed + 1))"
    want_text "$work/got.json" "test_folder[6]" "does not see the folder of rank 0 on h" "--env TMPDIR="
    nothing_left h1 h2
    (
        export LAB_DIR=$work/lab-shared
        lab_up 2 --shared-home
        "$lab" exec h1 mkdir /root/shared
        on_hosts h1:4,h2:4 --env TMPDIR=/root/shared
        want_rc 0
        want_summary "$work/got.json" "passed=$((wide_passed + 2))"
        nothing_left h1 h2
        [ -z "$("$lab" exec h1 ls /root/shared)" ] || fail "left behind: $("$lab" exec h1 ls /root/shared)"
        "$lab" down
    ) || exit 1
}

# ---- who cannot ----
test_hosts_that_cannot_reach_each_other_are_named_once() {
    wide unreached </dev/null
    local net=$LAB_NET
    "$lab" exec h1 ip route add unreachable "$net.12"
    on_hosts h1:4,h2:4
    "$lab" exec h1 ip route del unreachable "$net.12"
    want_rc 0
    want_summary "$work/got.json" "passed=$neighbours_passed skipped=2"
    want_line 'no tests over several hosts: .*reach.*open TCP'
    want_told "$work/got.json" 'of("test_before[6]")["message"]' "Not enough procs to execute: 6 required but only 4 available"
    nothing_left h1 h2
}

test_a_host_that_is_left_out_leaves_the_others() {
    wide two-of-three </dev/null
    "$lab" exec h2 ip route add unreachable "$LAB_NET.11"
    "$lab" exec h2 ip route add unreachable "$LAB_NET.13"
    on_hosts h1:4,h2:4,h3:4
    "$lab" exec h2 ip route del unreachable "$LAB_NET.11"
    "$lab" exec h2 ip route del unreachable "$LAB_NET.13"
    want_rc 0
    want_summary "$work/got.json" "passed=$wide_passed"
    want_of 'test_before[6]' "('passed', 6, ['h1', 'h3'])"
    want_line '^h2: no tests over several hosts'
    nothing_left h1 h2 h3
}

test_another_open_mpi() {
    wide other </dev/null
    printf '%s\n' '#!/bin/sh' '[ "$1" != --version ] || { echo "mpirun (Open MPI) 5.0.3"; exit; }' 'exec /usr/bin/mpirun "$@"' |
        "$lab" exec h2 sh -c 'cat >/usr/local/bin/mpirun; chmod 755 /usr/local/bin/mpirun'
    on_hosts h1:4,h2:4
    "$lab" exec h2 rm /usr/local/bin/mpirun
    want_line 'no tests over several hosts: Open MPI (5.0 there, 4.1|4.1 there, 5.0) on h'
    want_told "$work/got.json" 'of("test_before[6]")["outcome"], of("test_zz_after[6]")["outcome"]' "('skipped', 'skipped')"
    nothing_left h1 h2
}

# ---- deaths ----
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
    start_on h1:4,h2:4,h3:4
    local dead
    dead=$(far_one)
    "$lab" kill "$dead"
    go_on
    pt_end 180
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
    start_on h1:4,h2:4
    local dead
    dead=$(far_one)
    "$lab" cut "$dead"
    go_on
    pt_end 180
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
    # shellcheck disable=SC2046
    kill -9 $("$lab" pids "$dead" | grep -E -e "$1" | head -1 | cut -d' ' -f1)
    go_on
    pt_end 120
    want_told "$work/got.json" "len(tests), run['summary']['passed'] >= $wide_passed" "($((wide_passed + 1)), True)"
    nothing_left h1 h2
}

test_a_far_orted_is_killed() { killed '^[0-9]+ [^ ]*orted'; }
test_a_far_member_is_killed() { killed '^[0-9]+ [^ ]*ptremote-worker.*--far'; }
test_a_far_agent_is_killed() { killed 'ptremote-agent agent'; }

run_tests
