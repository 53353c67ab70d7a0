#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A run that was cut off or ended early goes on: what has an outcome keeps it, the rest runs, nothing is counted twice.
. "$(dirname "$0")/lib.sh"

export RAN=$work/ran # each execution of a test leaves a line
hosts=local:2

# suite: 48 tests: most pass, others fail, are skipped, warn, or pass at their second try: 52 executions. With a number in $RAN.hold those
# that begin from that one on hang, so that no run has ended before it is killed.
suite() {
    project suite
    local n
    git init -q .
    rm -rf "$RAN" "$RAN".*
    cat >conftest.py <<'PY'
import os
import time

import pytest


@pytest.fixture(autouse=True)
def ran(request):
    mine = request.node.nodeid + "\n"
    with open(os.environ["RAN"], "a") as file:
        file.write(mine)
    with open(os.environ["RAN"]) as file:
        number = max(at for at, line in enumerate(file, 1) if line == mine)
    time.sleep(300 if number >= held() else 0.5 if os.path.exists(os.environ["RAN"] + ".slow") else 0.03)


def held():
    try:
        with open(os.environ["RAN"] + ".hold") as file:
            return int(file.read())
    except FileNotFoundError:
        return 1000
PY
    for n in a b c d; do
        cat >"test_$n.py" <<'PY'
import os
import warnings

import pytest


@pytest.mark.parametrize("n", range(12))
def test_it(n, request):
    if n == 3:
        assert n == 4, "three"
    if n == 5:
        pytest.skip("five")
    if n == 7:
        warnings.warn("seven")
    if n == 9:
        mark = os.environ["RAN"] + "." + request.node.name + __name__
        if not os.path.exists(mark):
            open(mark, "w").close()
            assert 0, "flaky"
PY
    done
}

hold() { echo "$1" >"$RAN.new" && mv "$RAN.new" "$RAN.hold"; }
begin() { pt_start --hosts "$hosts" --env RAN --reruns 1 --only-rerun flaky --json "$work/first.json" "$@"; }

cut_off() { # N: kill -9 once so many tests have begun
    wait_for 60 "the tests do not run" has_run "$1"
    kill -9 "$master"
    wait "$master" 2>/dev/null
    rm -f "$RAN.hold"
}

has_run() { [ -e "$RAN" ] && [ "$(wc -l <"$RAN")" -ge "$1" ]; }

# what JSON: the summary, and the tests with their outcomes. A flaky test that was cut off before its second try passes at its first.
what() {
    "$python" - "$1" <<'PY'
import json, sys
run = json.load(open(sys.argv[1]))
print(sorted((k, v) for k, v in run["summary"].items() if v and k not in ("flaky", "rerun")))
for test in sorted(run["tests"], key=lambda test: test["nodeid"]):
    print(test["nodeid"], test["outcome"], test.get("message"))
PY
}

undisturbed() { # once; its JSON file
    suite
    [ ! -e "$work/whole.json" ] || return 0
    begin --json "$work/whole.json"
    pt_end
    want_rc 1
    [ "$(what "$work/whole.json" | wc -l)" = 49 ] || fail "not 48 tests"
    suite
}

# Tests that have an outcome in the last run of the ledger.
recorded() {
    "$python" - .ptremote/ledger.sqlite <<'PY'
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT COUNT(*) FROM reports AS own WHERE run=(SELECT MAX(id) FROM runs WHERE argv IS NOT NULL) AND counted>0"
    " AND extra=0 AND test IS NOT NULL AND outcome NOT IN (5, 6) AND NOT EXISTS (SELECT 1 FROM reports AS again WHERE again.run=own.run"
    " AND again.test=own.test AND again.rerun>0 AND again.try=own.try)").fetchone()[0])
PY
}

# After a kill or an end: the rest runs, each test once; the result is the undisturbed one.
goes_on() {
    local had before
    wait_for 60 "left behind here" here_is_quiet # until then tests of the run before may begin
    had=$(recorded)
    before=$(wc -l <"$RAN")
    pt --resume --json "$work/got.json" "$@"
    want_rc 1
    diff <(what "$work/whole.json") <(what "$work/got.json") >"$work/diff" || { cat "$work/diff"; fail "another result"; }
    tail -n +$((before + 1)) "$RAN" >"$work/later"
    [ "$(sort -u "$work/later" | wc -l)" = $((48 - had)) ] || fail "$had had an outcome, $(sort -u "$work/later" | wc -l) ran"
    [ "$(sort "$work/later" | uniq -c | awk '$1 > 2' | wc -l)" = 0 ] || fail "a test ran again and again"
    echo "  $had of 48 were recorded, $(head -n "$before" "$RAN" | sort -u | comm -12 - <(sort -u "$work/later") | wc -l) ran again"
}

test_killed_at_any_point() {
    undisturbed
    local point
    for point in ${POINTS:-1 23 46}; do
        suite
        hold $((point + 4))
        begin
        cut_off $point
        goes_on
    done
}

test_interrupted() {
    undisturbed
    hold 24
    begin
    wait_for 60 "the tests do not run" has_run 20
    kill -INT "$master"
    pt_end 60
    want_rc 2
    rm "$RAN.hold"
    goes_on
}

test_cut_off_again_and_again() {
    undisturbed
    hold 14
    begin
    local point
    for point in 10 25 40; do
        cut_off $point
        [ $point = 40 ] || { hold $((point + 19)) && pt_start --resume; }
    done
    goes_on
}

test_cut_off_before_it_got_to_its_tests() {
    undisturbed
    hold 29
    begin
    cut_off 25
    local words
    hold 1
    for words in rootdir: connected; do
        pt_start --resume
        wait_for 60 "it does not start" says "$words"
        kill -9 "$master"
        wait "$master" 2>/dev/null
    done
    rm "$RAN.hold"
    goes_on
}

test_maxfail_counts_anew() {
    suite
    touch "$RAN.slow" # -x comes before many of them
    begin -x -k "not 9"
    pt_end
    want_rc 1
    local had
    had=$(recorded)
    [ "$had" -lt 44 ] || fail "-x did not end it"
    rm "$RAN.slow"
    pt --resume --maxfail 0 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "failed=4 passed=36 skipped=4"
    want_words "$had of 44 tests have their outcome"
}

second_tries() {
    "$python" -c 'import sqlite3
print(sqlite3.connect(".ptremote/ledger.sqlite").execute("SELECT COUNT(*) FROM reports WHERE counted>0 AND try=2").fetchone()[0])'
}

test_tries_are_kept() {
    undisturbed
    hold 50 # at most three of the four second tries are behind that
    begin
    wait_for 60 "no second try is recorded" eval '[ "$(second_tries)" -gt 0 ]'
    cut_off 50
    local flaky
    flaky=$(second_tries)
    goes_on
    "$python" - "$work/got.json" "$flaky" <<'PY' || fail "tries are missing"
import json, sys
run = json.load(open(sys.argv[1]))
tried = [test for test in run["tests"] if test.get("tries")]
assert len(tried) >= int(sys.argv[2]) and all(len(test["tries"]) == 1 for test in tried), tried
assert all(test["outcome"] == "passed" and test["tries"][0]["outcome"] == "failed" for test in tried), tried
PY
    want_words "FLAKY test_.*passed at try 2"
}

test_other_hosts() {
    undisturbed
    hold 24
    begin
    cut_off 20
    goes_on --hosts local:3
}

test_from_elsewhere_by_name() {
    undisturbed
    mkdir below
    hold 24
    begin -k "not nothing" .
    cut_off 20
    local name
    name=$("$python" -c 'import sqlite3
print(sqlite3.connect(".ptremote/ledger.sqlite").execute("SELECT name FROM runs").fetchone()[0])')
    cd below || exit 1
    pt --resume "$name" --json "$work/got.json"
    want_rc 1
    want_words "goes on with run $name"
    diff <(what "$work/whole.json") <(what "$work/got.json") || fail "another result"
}

test_a_tree_that_changed() {
    undisturbed
    hold 44
    begin
    cut_off 40
    echo "# changed" >>test_a.py
    pt --resume
    want_rc 4
    want_line "the tree has changed since run .*: test_a.py" ",changed runs again"
    rm "$RAN"
    pt --resume=changed --json "$work/got.json"
    want_rc 1
    diff <(what "$work/whole.json") <(what "$work/got.json") || fail "another result"
    [ "$(grep -c test_a.py "$RAN")" -ge 12 ] || fail "the changed file did not run again"
    [ "$(sort -u "$RAN" | wc -l)" -lt 48 ] || fail "all ran again"
}

test_refused() {
    suite
    begin
    pt_end
    pt --resume
    want_rc 4
    want_line "run .* is complete, nothing is left of it"
    suite
    hold 5
    begin
    wait_for 60 "the tests do not run" has_run 5
    pt --resume
    want_rc 4
    want_line "run .* is still under way \(process $master\)"
    kill -INT "$master"
    pt_end 60
    pt --resume 20000101-000000-aaaaaa
    want_rc 4
    want_line "no run '20000101-000000-aaaaaa' is recorded"
    pt --resume test_a.py
    want_rc 4
    want_line "it takes no path: 'test_a.py'"
    pt --resume -k a
    want_rc 4
    want_line "with its own -k"
    pt --resume=nonsense
    want_rc 4
    want_line "want a run's name, changed, or both"
    project empty
    git init -q .
    pt --resume
    want_rc 4
    want_line "no runs are recorded"
}

run_tests
