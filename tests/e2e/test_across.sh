#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests that have more ranks than one host has slots, under one mpirun on several real hosts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mpi_lib.sh"
. "$(dirname "$0")/across_lib.sh"
lab_up 3 --mount h2 /usr/local/bin mode=755

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
    wait_for 60 "nobody listens for names" test -e "$work/asked"
    for host in h1 h2 h3; do echo "nameserver $LAB_NET.1" >"$(host_disk "$host")/etc/resolv.conf"; done
}

test_six_ranks_on_two_hosts_of_four() {
    local watcher host
    wide two </dev/null
    watch_names
    on_hosts h1:4,h2:4 -v
    kill "$watcher"
    for host in h1 h2 h3; do : >"$(host_disk "$host")/etc/resolv.conf"; done
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
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' '[ "$1" != --version ] || { echo "mpirun (Open MPI) 5.0.3"; exit; }' 'exec /usr/bin/mpirun "$@"' |
        "$lab" exec h2 sh -c 'cat >/usr/local/bin/mpirun; chmod 755 /usr/local/bin/mpirun'
    on_hosts h1:4,h2:4
    "$lab" exec h2 rm /usr/local/bin/mpirun
    want_line 'no tests over several hosts: Open MPI (5.0 there, 4.1|4.1 there, 5.0) on h'
    want_told "$work/got.json" 'of("test_before[6]")["outcome"], of("test_zz_after[6]")["outcome"]' "('skipped', 'skipped')"
    nothing_left h1 h2
}

run_tests
