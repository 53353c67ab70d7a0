#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests that end their process: told once, by name, and the rest of their file runs.
. "$(dirname "$0")/lib.sh"

test_exit_in_the_middle_of_a_file() {
    project crash
    cat >test_crash.py <<'PY'
import os

def test_first():
    pass

def test_second():
    pass

def test_leaves():
    print("last words")
    os._exit(1)

def test_after():
    pass
PY
    local slots
    for slots in 1 2; do
        pt --hosts "local:$slots" --json "$work/got.json" --junitxml "$work/got.xml"
        want_rc 1
        want_outcomes "$work/got.json" "test_crash.py::test_first passed" "test_crash.py::test_second passed" \
            "test_crash.py::test_leaves crashed" "test_crash.py::test_after passed"
        want_words "test_leaves" "last words"
        [ "$(grep -c '<error' "$work/got.xml")" = 1 ] || fail "want one <error> in the JUnit file"
        nothing_left
    done
}

test_every_way_to_die_in_every_phase() {
    project ways
    cat >test_ways.py <<'PY'
import ctypes
import os
import signal
import sys
import pytest

WAYS = {
    "exit": lambda: os._exit(7),
    "zero": lambda: os._exit(0),
    "segv": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
}

@pytest.fixture
def die_before(way):
    WAYS[way]()

@pytest.fixture
def die_after(way):
    yield
    WAYS[way]()

@pytest.mark.parametrize("way", WAYS)
def test_setup(way, die_before):
    pass

@pytest.mark.parametrize("way", WAYS)
def test_call(way):
    WAYS[way]()

@pytest.mark.parametrize("way", WAYS)
def test_teardown(way, die_after):
    pass

def test_last():
    pass
PY
    pt --hosts local:2 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "crashed=18 passed=1"
    "$python" - "$work/got.json" <<'PY' || fail "a phase is wrong"
import json, sys
for test in json.load(open(sys.argv[1]))["tests"]:
    name = test["nodeid"].split("::")[1]
    phase = name[5:].split("[")[0]
    if test["outcome"] == "crashed" and test["phase"] != phase:
        sys.exit(f"{name}: told as a crash in {test['phase']}")
PY
    want_words "SIGSEGV" "SIGABRT" "SIGKILL"
    nothing_left
}

test_children_do_not_outlive_a_crash() {
    project children
    cat >test_children.py <<PY
import os, subprocess

def test_leaves_a_child():
    subprocess.Popen(["/usr/bin/sleep", "1000"], cwd="$work/home")
    os._exit(3)

def test_leaves_a_daemon():
    subprocess.Popen(["/usr/bin/setsid", "/usr/bin/sleep", "1000"], cwd="$work/home")
PY
    pt --hosts local:1 --json "$work/got.json"
    want_summary "$work/got.json" "crashed=1 passed=1"
    no_sleepers() {
        local pid
        for pid in /proc/[0-9]*; do
            [ "$(readlink "$pid/cwd")" != "$work/home" ] || { tr '\0' ' ' <"$pid/cmdline"; return 1; }
        done
    }
    wait_for 60 "children of tests are left" no_sleepers
    nothing_left
}

test_death_at_import_is_one_entry() {
    project import
    printf 'def test_before():\n    pass\n' >test_a.py
    printf 'import os\nos._exit(3)\n\ndef test_never():\n    pass\n' >test_b.py
    printf 'def test_later():\n    pass\n' >test_c.py
    pt --hosts local:2 --json "$work/got.json"
    want_rc 1
    want_outcomes "$work/got.json" "test_a.py::test_before passed" "test_b.py crashed" "test_c.py::test_later passed"
    nothing_left
}

test_death_at_import_there_only() {
    project there
    printf 'def test_before():\n    pass\n' >test_a.py
    cat >test_b.py <<'PY'
import os
if "PTREMOTE_WORKER" in os.environ:
    os._exit(3)

def test_never():
    pass
PY
    printf 'def test_later():\n    pass\n' >test_c.py
    pt --hosts local:1 --json "$work/got.json"
    want_rc 1
    [ "$(outcomes "$work/got.json" | grep -c crashed)" = 1 ] || fail "want one crashed entry"
    want_words "test_b.py"
    outcomes "$work/got.json" | grep -q "test_c.py::test_later passed" || fail "test_c.py did not run"
    nothing_left
}

test_broken_conftest_there_is_told_once() {
    project conftest
    cat >conftest.py <<'PY'
import os
if "PTREMOTE_WORKER" in os.environ:
    raise RuntimeError("no such machine")
PY
    printf 'def test_it():\n    pass\n' >test_a.py
    pt --hosts local:2 --json "$work/got.json"
    [ "$rc" != 0 ] || fail "a run that ran nothing passed"
    want_words "no such machine"
    nothing_left
}

run_tests
