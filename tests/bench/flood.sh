#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# flood.sh [ROUNDS]: what a run of 400 tests on one host of two slots takes while somebody holds 1,000 connections to the master's
# listener that say nothing or little, and opens each anew when it is closed; and the same at the port of mpirun. Prints wall times,
# how many connections were made, and the ratios to an undisturbed run. The flood comes from this machine and uses its cores too.
# Exit status 1 when a run is not complete.
targets=()
. "$(dirname "$0")/lib.sh"
lab_up 1
rounds=${1:-5}
peer="$top/tests/e2e/hostile_peer.py"

suite() {
    local n
    project suite
    for n in $(seq 10 29); do
        cat >"test_$n.py" <<'PY'
import pytest, time

@pytest.mark.parametrize("n", range(20))
def test_it(n):
    open("/var/tmp/began", "w").close()
    time.sleep(0.02)
PY
    done
}

port_here() { "$python" -c 'import socket; s = socket.create_server(("'"$LAB_NET.1"'", 0)); print(s.getsockname()[1])'; }
mpirun_port() { # the last that it listens on
    local pid
    pid=$("$lab" pids h1 | sed -n 's/^\([0-9]*\) [^ ]*mpirun .*/\1/p' | head -n 1)
    nsenter -t "$pid" -n ss -Hltnp 2>/dev/null | sed -n 's/.*[*0]\.0\.0\.0:\([0-9]*\) .*pid='"$pid"',.*/\1/p' | tail -n 1
}

# one HOW: the run, its seconds to stdout
one() {
    local address flood port
    rm -f "$(host_disk h1)/var/tmp/began" "$work/enough"
    port=$(port_here)
    pt_start --ssh-config "$LAB_SSH_CONFIG" --listen "$LAB_NET.1:$port" --json "$work/got.json" --hosts h1:2
    wait_for 60 "it does not begin" test -e "$(host_disk h1)/var/tmp/began"
    address=$LAB_NET.1:$port
    [ "$1" != mpirun ] || address=$LAB_NET.11:$(mpirun_port)
    [ "$1" = plain ] || { "$python" "$peer" flood "$address" 1000 "$work/enough" >"$work/flood" 2>&1 & flood=$!; }
    pt_end
    touch "$work/enough"
    [ "$1" = plain ] || wait "$flood"
    [ "$(summary "$work/got.json")" = "passed=400" ] || { show_run; fail "$1: $(summary "$work/got.json")"; }
    [ "$1" = plain ] || made[$1]=$(sed -n 's/^made //p' "$work/flood")
    took[$1]+="$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["duration"])' "$work/got.json") "
}

declare -A took made
machine
suite
one plain >/dev/null # installs the programs
took=()
for _ in $(seq "$rounds"); do
    for how in plain listener mpirun; do one $how; done
done
"$python" - "${took[plain]}" "${took[listener]}" "${took[mpirun]}" "${made[listener]}" "${made[mpirun]}" <<'PY'
import statistics, sys
plain, listener, mpirun = (list(map(float, words.split())) for words in sys.argv[1:4])
base = statistics.median(plain)
for name, all_of, made in ("undisturbed", plain, "-"), ("listener flooded", listener, sys.argv[4]), ("mpirun's port flooded", mpirun, sys.argv[5]):
    print("%-22s median %.2f s (%.2f to %.2f), ratio %.2f, connections made in the last round: %s" % (
        name, statistics.median(all_of), min(all_of), max(all_of), statistics.median(all_of) / base, made))
PY
