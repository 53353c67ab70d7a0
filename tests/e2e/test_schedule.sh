#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How tests are dealt: granularities, schedules, orders, what was learnt, reruns and limits.
. "$(dirname "$0")/lib.sh"

# told JSON EXPRESSION: what it gives, with `run` the JSON, `tests` its tests in the order they began, and slots: (host, worker) -> node ids.
told() {
    "$python" - "$1" "$2" <<'PY'
import json, sys
run = json.load(open(sys.argv[1]))
tests = sorted(run["tests"], key=lambda t: t.get("started", 0))
slots = {}
for t in tests:
    slots.setdefault((t.get("host"), t.get("worker")), []).append(t["nodeid"])
print(eval(sys.argv[2]))
PY
}

want_told() {
    local got
    got=$(told "$1" "$2")
    [ "$got" = "$3" ] || fail "$2 is '$got', not '$3'"
}

six_files() {
    project "$1"
    for n in 1 2 3 4 5 6; do
        cat >test_$n.py <<'PY'
import pytest

class TestOne:
    def test_a(self):
        pass

    def test_b(self):
        pass

@pytest.mark.xdist_group("shared")
def test_c():
    pass

@pytest.mark.parametrize("x", ["1::2", "::"])
def test_d(x):
    pass
PY
    done
}

test_every_granularity_runs_every_test_once() {
    six_files grains
    for dist in file scope group test each; do
        pt --hosts local:2 --dist $dist --json "$work/$dist.json" --junitxml "$work/$dist.xml"
        want_rc 0
        want_told "$work/$dist.json" 'len(tests), len({t["nodeid"] for t in tests})' "(30, 30)"
        "$python" "$source_dir/tests/bench/compare_junit.py" --strict "$work/file.xml" "$work/$dist.xml" || fail "$dist differs"
    done
    want_told "$work/group.json" 'len({(t["host"], t["worker"]) for t in tests if "test_c" in t["nodeid"]})' 1
    nothing_left
}

test_each_runs_every_test_on_every_host() {
    six_files each
    lab_up 2
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1,h2:1 --dist each --json "$work/got.json"
    "$lab" down # the next test has its own
    want_rc 0
    want_told "$work/got.json" 'len(tests), sorted({t["host"] for t in tests}), {len(s) for s in slots.values()}' "(60, ['h1', 'h2'], {30})"
}

test_a_host_that_only_one_test_needs() {
    project needed
    printf 'import ptremote\n@ptremote.mark.weight(2)\ndef test_heavy():\n    pass\n' >test_it.py
    lab_up 2
    local heavy
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1,h2:2 --json "$work/got.json"
    heavy=$rc
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h2:2,h1:2 --require-all-hosts
    "$lab" down
    want_rc 0
    [ "$heavy" = 0 ] || fail "the heavy test: exit status $heavy"
    want_told "$work/got.json" 'tests[0]["host"]' h2
}

test_static_is_told_before_and_the_same_each_time() {
    six_files static
    pt --hosts local:2 --schedule static --dry-run
    want_rc 0
    want_words 'bundle 0 -> local'
    for n in 1 2; do
        pt --hosts local:2 --schedule static --state-dir "$work/state$n" --json "$work/$n.json" # nothing learnt between them
        want_rc 0
        told "$work/$n.json" 'sorted((w, sorted(s)) for (h, w), s in slots.items())' >"$work/$n.txt"
    done
    cmp "$work/1.txt" "$work/2.txt" || fail "two static runs differ"
}

test_sequential_is_the_order_of_pytest() {
    project sequence
    printf 'ran = []\n' >shared.py
    for n in 1 2 3; do
        printf 'import shared\ndef test_a():\n    shared.ran.append(%d)\n    assert len(shared.ran) == %d\n' $n $n >test_$n.py
    done
    pt --hosts local:2 --schedule sequential --json "$work/got.json"
    want_rc 0
    want_told "$work/got.json" 'list(slots.values())' "[['test_1.py::test_a', 'test_2.py::test_a', 'test_3.py::test_a']]"
}

test_a_random_order_comes_again_and_a_run_is_replayed() {
    six_files again
    pt --hosts local:2 --shuffle --json "$work/first.json"
    want_rc 0
    seed=$(told "$work/first.json" 'run["how"]["seed"]')
    want_words "random order: --shuffle=$seed"
    pt --hosts local:1 --shuffle=$seed --json "$work/a.json"
    pt --hosts local:1 --shuffle=$seed --json "$work/b.json"
    [ "$(told "$work/a.json" slots)" = "$(told "$work/b.json" slots)" ] || fail "one seed, two orders"
    pt --hosts local:1 --shuffle=12345 --json "$work/b.json"
    [ "$(told "$work/a.json" slots)" != "$(told "$work/b.json" slots)" ] || fail "two seeds, one order"
    pt --hosts local:2 --replay "$work/first.json" --json "$work/replayed.json"
    want_rc 0
    [ "$(told "$work/first.json" 'sorted(slots.items())')" = "$(told "$work/replayed.json" 'sorted(slots.items())')" ] ||
        fail "the replay ran otherwise"
    pt --hosts local:2 --schedule static --json "$work/both.json" # surely on both slots
    pt --hosts local:1 --replay "$work/both.json"
    want_rc 4
    want_line 'give local:2'
    nothing_left
}

test_an_order_that_breaks_a_test_is_found_by_replay() {
    project order
    printf 'state = []\n' >shared.py
    printf 'import shared\ndef test_dirties():\n    shared.state.append(1)\n' >test_a.py
    printf 'import shared\ndef test_breaks():\n    assert not shared.state\n' >test_b.py
    pt --hosts local:1 --schedule sequential --json "$work/broken.json"
    want_rc 1
    for _ in 1 2; do
        pt --hosts local:1 --replay "$work/broken.json" --json "$work/got.json"
        want_rc 1
        want_outcomes "$work/got.json" "test_a.py::test_dirties passed" "test_b.py::test_breaks failed"
    done
    pt --hosts local:1 --isolate test
    want_rc 0
}

test_slots_that_idle_take_what_others_have_not_begun() {
    project idle
    put_meet # who begins waits for another
    printf 'import pytest\nfrom meet import meet\n@pytest.mark.parametrize("n", range(16))\ndef test_long(n):\n    meet(2)\n' >test_long.py
    pt --hosts local:2 --json "$work/got.json"
    want_rc 0
    want_told "$work/got.json" 'len(tests), len(slots)' "(16, 2)"
    sed -i 's/meet(2)/pass/' test_long.py
    pt --hosts local:2 --split never --json "$work/got.json"
    want_told "$work/got.json" 'len(tests), len(slots)' "(16, 1)"
}

test_slots_without_work_start_no_session() {
    project few
    printf 'import os\ndef pytest_sessionstart(session):\n    if "PYTEST_XDIST_WORKER" in os.environ:\n        open("%s/session-" + os.environ["PYTEST_XDIST_WORKER"], "w").close()\n' \
        "$work" >conftest.py
    printf 'def test_one():\n    pass\n' >test_one.py
    pt --hosts local:4
    want_rc 0
    [ "$(find "$work" -maxdepth 1 -name 'session-gw*' | wc -l)" = 1 ] || fail "sessions: $(ls "$work")"
    nothing_left
}

test_marks_of_ours() {
    project marks
    cat >test_marks.py <<'PY'
import os
import time

import ptremote
import pytest

def count(change):
    with open(os.environ["PTREMOTE_RUN_DIR"] + "/../running-" + os.environ["PTREMOTE_RUN"], "ab") as file:
        os.write(file.fileno(), change)

def running():
    with open(os.environ["PTREMOTE_RUN_DIR"] + "/../running-" + os.environ["PTREMOTE_RUN"], "rb") as file:
        said = file.read()
    return said.count(b"+") - said.count(b"-")

@pytest.fixture(autouse=True)
def counted():
    count(b"+")
    yield
    count(b"-")

@pytest.mark.parametrize("n", range(6))
def test_light(n):
    time.sleep(0.05)

@ptremote.mark.weight(2)
@pytest.mark.parametrize("n", range(3))
def test_heavy(n):
    for _ in range(5):
        assert running() == 1
        time.sleep(0.02)

@ptremote.mark.exclusive("run")
def test_alone():
    for _ in range(5):
        assert running() == 1
        time.sleep(0.02)

@ptremote.mark.needs("gpu")
def test_gpu():
    pass
PY
    pt --hosts local:2+gpu --dist test --json "$work/got.json" -- --strict-markers
    want_rc 0
    want_summary "$work/got.json" "passed=11"
    pt --hosts local:2 --dist test --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "error=1 passed=10"
    want_words "needs a label that none has"
    rm -f "$work"/run/running-*
    nothing_left
}

test_reruns() {
    project reruns
    cat >test_it.py <<PY
import os

def once(name):
    try:
        os.close(os.open("$work/" + name, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

def test_good():
    pass

def test_flaky():
    assert not once("flaky"), "a flake"

def test_crash():
    if once("crash"):
        os.abort()

def test_bad():
    assert 0, "always"
PY
    pt --hosts local:2 --reruns 2 --json "$work/got.json" --junitxml "$work/got.xml"
    want_rc 1
    want_outcomes "$work/got.json" "test_it.py::test_good passed" "test_it.py::test_flaky passed" "test_it.py::test_crash passed" \
        "test_it.py::test_bad failed"
    want_words "1 failed, 3 passed, 2 flaky, 4 rerun" "FLAKY test_it.py::test_flaky"
    want_told "$work/got.json" '[len(t.get("tries", [])) for t in sorted(tests, key=lambda t: t["nodeid"])]' "[2, 1, 1, 0]"
    grep -q '<flakyFailure' "$work/got.xml" || fail "the flake is not in the XML"
    rm -f "$work/flaky" "$work/crash"
    pt --hosts local:2 --reruns 2 --only-rerun 'a fl?ake' --json "$work/got.json"
    want_rc 1
    want_outcomes "$work/got.json" "test_it.py::test_good passed" "test_it.py::test_flaky passed" "test_it.py::test_crash crashed" \
        "test_it.py::test_bad failed"
    nothing_left
}

test_what_ends_a_run_early_lets_it_tear_down() {
    project early
    cat >conftest.py <<PY
import os
import pytest

@pytest.fixture(scope="session", autouse=True)
def session():
    open("$work/up-%d" % os.getpid(), "w").close()
    yield
    open("$work/down-%d" % os.getpid(), "w").close()
PY
    printf 'import pytest, time\ndef test_bad():\n    assert 0\n@pytest.mark.parametrize("n", range(160))\ndef test_more(n):\n    time.sleep(0.6)\n' >test_it.py
    pt --hosts local:2 -x --dist test --json "$work/got.json"
    want_rc 1
    want_told "$work/got.json" 'run["summary"]["failed"], run["summary"]["notrun"] > 20' "(1, True)"
    all_torn_down
    pt --hosts local:2 --run-timeout 30 --json "$work/got.json"
    want_rc 2
    want_told "$work/got.json" 'run["summary"]["notrun"] > 10' True
    all_torn_down
    nothing_left
}

# Each session whose fixture was set up ended it, and there was one.
all_torn_down() {
    local ups downs
    ups=$(cd "$work" && ls up-* | cut -d- -f2)
    downs=$(cd "$work" && ls down-* | cut -d- -f2)
    [ -n "$ups" ] && [ "$ups" = "$downs" ] || fail "set up by $ups, torn down by $downs"
    rm -f "$work"/up-* "$work"/down-*
}

test_memory() {
    project memory
    printf 'import time\ndef test_small():\n    pass\ndef test_large():\n    x = b"x" * (300 << 20)\n    time.sleep(60)\ndef test_after():\n    pass\n' >test_it.py
    pt --hosts local:1 --memory-per-slot 250m --json "$work/got.json"
    want_rc 1
    want_outcomes "$work/got.json" "test_it.py::test_small passed" "test_it.py::test_large crashed" "test_it.py::test_after passed"
    want_words "above --memory-per-slot 250 MiB"
    pt --hosts local:1 --memory-per-slot 900t -k small
    want_rc 0
    want_line "1 slots of .* MiB are more than its memory of .* MiB; 0 would fit"
    nothing_left
}

test_output_as_it_comes_and_in_logs() {
    project output
    printf 'import os\ndef test_it():\n    os.write(1, b"raw\\033[2Jword\\n")\n    print("printed")\n' >test_it.py
    pt --hosts local:1 --live -- -s
    want_rc 0
    want_line '\[local gw0 test_it.py::test_it\] printed'
    ! grep -q "$(printf '\033')\[2J" "$out" || fail "an escape sequence came through"
    grep -q printed .ptremote/logs/*/gw0.log || fail "the log lacks what was printed"
}

test_who_runs_what() {
    project status
    printf 'import time\ndef test_waits():\n    time.sleep(60)\n' >test_it.py
    pt_start --hosts local:1
    wait_for 60 "the host is not ready" says "ready, 1 slots"
    wait_for 60 "the test does not begin" says_after_usr1 'test_it.py::test_waits'
    kill -INT "$master"
    pt_end 60
    want_rc 2
    nothing_left
}

says_after_usr1() {
    kill -USR1 "$master" 2>/dev/null && sleep 0.2
    says "$1"
}

test_what_was_learnt() {
    project learnt
    printf 'import time\ndef test_slow():\n    time.sleep(0.5)\n' >test_slow.py
    for n in 1 2 3 4; do printf 'def test_quick():\n    pass\n' >test_quick$n.py; done
    pt --hosts local:2 --runtime-data "$work/runtime.json"
    want_rc 0
    "$python" -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert d["test_slow.py"]["testcase_count"] == 1 and 0.5 <= d["test_slow.py"]["execution_time"] < 20, d' "$work/runtime.json" ||
        fail "the runtime data are wrong"
    pt --hosts local:2 --target 10m --json "$work/got.json"
    want_rc 0
    want_words "--target: 1 of 2 slots"
    want_told "$work/got.json" 'len(slots)' 1
    pt --hosts local:1 --json "$work/got.json"
    want_told "$work/got.json" 'tests[0]["nodeid"]' test_slow.py::test_slow
}

test_what_excludes_each_other() {
    project together
    printf 'def test_a():\n    pass\n' >test_a.py
    for words in "--schedule sequential --target 1m" "--only-rerun x" "--replay x --shuffle"; do
        # shellcheck disable=SC2086
        pt --hosts local:1 $words
        want_rc 4
        [ "$(wc -l <"$err")" = 1 ] || fail "not one line for $words"
    done
}

run_tests
