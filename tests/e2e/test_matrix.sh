#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests that crash, hang or exit, in every place where they can, under every --isolate and --dist: each outcome is exact, no run
# hangs, nothing is left.
. "$(dirname "$0")/lib.sh"

# PLACE  ISOLATE/DIST  the outcomes of test_a, test_b (the one that does it) and test_c. The first line that fits counts. WRONG is
# `crashed` for what crashes or exits, `timeout` for what hangs.
expected() {
    cat <<'TABLE'
import      *       WRONG/collect  WRONG/collect   -
setup       *       passed         WRONG/setup     passed
call        *       passed         WRONG/call      passed
teardown    *       passed         WRONG/teardown  passed
thread      *       passed         WRONG/call      passed
# It has left a process that holds all that it had open.
grandchild  *       passed         WRONG/call      passed
# A fixture of the module ends with the last test of the module in its bundle, which is the whole file ...
finaliser   test/*  passed         WRONG/teardown  passed
finaliser   */group passed         WRONG/teardown  passed
finaliser   */test  passed         WRONG/teardown  passed
# ... but for these: a process each, or a bundle each.
finaliser   *       passed         passed          WRONG/teardown
# By then everything is told and torn down.
atexit      *       passed         passed          passed
TABLE
}

case_file() { # WAY PLACE
    cat <<PY
import atexit

import pytest

import ways

way = ways.$1
if "$2" == "import" and not ways.HERE:
    way()


@pytest.fixture
def setup():
    way()


@pytest.fixture
def teardown():
    yield
    way()


@pytest.fixture(scope="module")
def finaliser():
    yield
    way()


def test_a():
    pass


PY
    case $2 in
    import) printf 'def test_b():\n    pass\n' && return ;;
    setup | teardown | finaliser) printf 'def test_b(%s):\n    pass\n' "$2" ;;
    call) printf 'def test_b():\n    way()\n' ;;
    thread) printf 'def test_b():\n    ways.in_thread(way)\n' ;;
    grandchild) printf 'def test_b():\n    ways.leave_a_grandchild()\n    way()\n' ;;
    atexit) printf 'def test_b():\n    atexit.register(way)\n' ;;
    esac
    printf '\n\ndef test_c():\n    pass\n'
}

suite() { # NAME
    local way place
    project "$1"
    cat >ways.py <<PY
import ctypes
import os
import subprocess
import threading
import time

HERE = "PTREMOTE_WORKER" not in os.environ


def crash():
    ctypes.string_at(0)


def hang():
    while True:
        time.sleep(1000)


def leave():
    os._exit(0)


def nothing():
    pass


def leave_a_grandchild():
    subprocess.Popen(["/usr/bin/setsid", "/usr/bin/sleep", "1000"], close_fds=False, cwd="$work/home")


def in_thread(way):
    thread = threading.Thread(target=way)
    thread.start()
    thread.join()
PY
    for way in crash hang leave; do
        for place in $(expected | sed 's/#.*//' | awk 'NF { print $1 }' | sort -u); do
            case_file $way "$place" >"test_${way}_$place.py"
        done
    done
    case_file nothing grandchild >test_nothing_grandchild.py
}

# compare ISOLATE DIST: what was told with what the table says
compare() {
    expected >"$work/table"
    "$python" - "$1/$2" "$work/table" "$work/$1-$2.json" <<'PY'
import fnmatch, json, sys
combination, table, told = sys.argv[1:]
lines = [line.split() for line in open(table) if not line.startswith("#")]
got, bad = {}, []
for test in json.load(open(told))["tests"]:
    where, outcome = test["nodeid"], test["outcome"]
    if where in got:
        bad.append(f"{where} is told twice")
    got[where] = outcome if outcome == "passed" else f"{outcome}/{test.get('phase')}"
want = {f"test_nothing_grandchild.py::test_{name}": "passed" for name in "abc"}
for way, word in ("crash", "crashed"), ("leave", "crashed"), ("hang", "timeout"):
    for place in dict.fromkeys(line[0] for line in lines):
        outcomes = next(line[2:] for line in lines if line[0] == place and fnmatch.fnmatch(combination, line[1]))
        for name, outcome in zip("abc", outcomes):
            if outcome != "-":
                want[f"test_{way}_{place}.py::test_{name}"] = outcome.replace("WRONG", word)
for where in sorted({*want, *got}):
    if want.get(where) != got.get(where):
        bad.append(f"{where}: {got.get(where)}, not {want.get(where)}")
print("\n".join(f"  {combination}: {line}" for line in bad))
sys.exit(bool(bad))
PY
}

# isolated ISOLATE: one run for each --dist, all at once; units are not joined, so that who shares a bundle is known
isolated() {
    local dist bad=0 runs=()
    for dist in file scope group test each; do
        suite "$1-$dist"
        limit=240 pt_in_background "$1-$dist" --hosts local:2 --isolate "$1" --dist "$dist" --bundles-per-worker 1000 --timeout 2 --grace 1 \
            --json "$work/$1-$dist.json" -q
        runs+=($!)
    done
    for dist in file scope group test each; do
        wait "${runs[0]}"
        rc=$?
        runs=("${runs[@]:1}")
        [ $rc = 1 ] || { echo "  $1/$dist: exit status $rc"; tail -5 "$work/$1-$dist.out"; bad=1; }
        compare "$1" "$dist" || bad=1
    done
    [ $bad = 0 ] || fail "other outcomes than in the table"
    wait_for 60 "grandchildren are left" no_sleepers
    nothing_left
}

pt_in_background() { # NAME ARGS...
    local name=$1
    shift
    timeout -k 5 "$limit" "$ptremote" --python "$python" --share none "$@" >"$work/$name.out" 2>&1 </dev/null &
}

no_sleepers() {
    local pid
    for pid in /proc/[0-9]*; do
        [ "$(readlink "$pid/cwd")" != "$work/home" ] || { tr '\0' ' ' <"$pid/cmdline"; return 1; }
    done
}

test_session() { isolated session; }
test_bundle() { isolated bundle; }
test_test() { isolated test; }

run_tests
