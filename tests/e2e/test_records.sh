#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The commands that read the record of runs, against what the runs themselves said and wrote.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/detach_lib.sh"

mixed() { # a project with every outcome; test_now_and_then fails while there is no $work/mended
    project mixed
    rm -f "$work/mended" "$work/tried"
    four_outcomes >test_outcomes.py
    cat >>test_outcomes.py <<PY
import os
import warnings

def test_passes():
    warnings.warn("look here")

@pytest.fixture
def breaks():
    yield
    raise RuntimeError("tear-down")

def test_both(breaks):
    assert False

def test_at_second_try():
    if not os.path.exists("$work/tried"):
        open("$work/tried", "w").close()
        assert not "at once"

def test_now_and_then():
    assert os.path.exists("$work/mended")

def test_deselected():
    pass
PY
    printf 'import os\nimport signal\n\ndef test_crashes():\n    os.kill(os.getpid(), signal.SIGSEGV)\n' >test_crash.py
    printf 'import nothing_of_that_name\n' >test_broken.py
    printf '[pytest]\njunit_family = xunit1\njunit_suite_name = mixed\n' >pytest.ini
}

# The end of a run: from the first part of it on, without the lines that name files.
end_of() { sed -n '/^=\+ \(ERRORS\|FAILURES\) =\+$/,$p' "$1" | grep -v -E '^-+ (generated (xml|json) file|output of the workers): .* -+$'; }

test_what_a_run_said_and_wrote_is_told_again() {
    mixed
    pt --hosts local:2 --reruns 1 --junitxml "$work/run.xml" --json "$work/run.json" -k 'not deselected' -- --durations 3 --durations-min 0 -rA --junit-prefix pre
    want_rc 1
    want_words "1 flaky" "1 deselected" "warning" "CRASHED" "slowest 3 durations"
    cp "$out" "$work/run.out"
    record show
    want_rc 0
    [ "$(end_of "$work/run.out" | wc -l)" -gt 50 ] || fail "the run itself said too little"
    diff <(end_of "$work/run.out") <(end_of "$out") || fail "show does not say what the run said (<)"
    record report --junitxml "$work/again.xml" --json="$work/again.json"
    want_rc 0
    cmp "$work/run.xml" "$work/again.xml" || fail "another JUnit file"
    cmp "$work/run.json" "$work/again.json" || fail "another JSON file"
    [ ! -s "$out" ] && [ ! -s "$err" ] && return
    fail "report said something"
}

test_a_run_that_stopped_says_why_again() {
    mixed
    rm test_broken.py
    # begun when the failure is known, at the latest: something is left to not run
    printf 'import time\n\nimport pytest\n\n@pytest.mark.parametrize("n", range(6))\ndef test_slow(n):\n    time.sleep(1)\n' >test_slow.py
    pt --hosts local:1 -x
    want_rc 1
    want_words "!!! stopping after 1 failures !!!" "not run"
    cp "$out" "$work/run.out"
    record show
    diff <(end_of "$work/run.out") <(end_of "$out") || fail "show does not say what the run said (<)"
    pt --hosts local:1 test_nowhere.py
    want_rc 4
    record runs -n 1
    want_words "exit 4  no tests"
    record show
    want_rc 0
    want_words "no tests ran"
}

test_show_takes_the_beginning_of_a_name_and_options() {
    mixed
    pt --hosts local:2 test_outcomes.py
    want_rc 1
    cp "$out" "$work/run.out"
    local name
    name=$(sed -n 's/^ptremote .* -- run //p' "$out")
    pt --hosts local:1 test_outcomes.py::test_passes
    want_rc 0
    record show "${name%??}"
    want_rc 0
    diff <(end_of "$work/run.out") <(end_of "$out") || fail "not that run"
    ! says "= hosts =" || fail "the hosts were not asked for"
    record show "$name" -v -rxX --durations=2
    want_rc 0
    want_words "= hosts =" "local: 2 slots" "^XFAIL test_outcomes.py::test_xfails - known" "slowest 2 durations"
    ! says "^FAILED" || fail "-r was not heard"
    record show
    want_words "1 passed"
    record show 20
    want_rc 4
    want_line "several runs begin with '20'"
    record show nosuch
    want_rc 4
    want_line "no run 'nosuch' is recorded"
}

test_runs_and_history_over_two_runs() {
    mixed
    rm test_crash.py test_broken.py
    pt --hosts local:2 --reruns 1
    want_rc 1
    local first second
    first=$(sed -n 's/^ptremote .* -- run //p' "$out")
    touch "$work/mended"
    pt --hosts local:2 --reruns 1
    second=$(sed -n 's/^ptremote .* -- run //p' "$out")
    pt --hosts local:2 --dry-run
    want_rc 0
    record runs
    want_rc 0
    [ "$(wc -l <"$out")" = 2 ] || fail "not two runs: a dry run is none"
    head -1 "$out" | grep -q "^$second .* exit 1 .*4 passed, 1 skipped, 1 xfailed, 1 xpassed, 2 failed" || fail "the last run is not told first"
    tail -1 "$out" | grep -q "^$first .* exit 1 .*3 passed, 1 skipped, 1 xfailed, 1 xpassed, 3 failed .*'--reruns'" || fail "the first run is not told last"
    record runs -n1
    [ "$(wc -l <"$out")" = 1 ] || fail "-n 1 told $(wc -l <"$out")"
    record history
    want_rc 0
    want_words "failed in 1 of 2 runs  *test_outcomes.py::test_now_and_then" "passed by a rerun in 1  *test_outcomes.py::test_at_second_try"
    ! sed '/^slowest/,$d' "$out" | grep -q -e test_fails -e test_passes || fail "what never changes is no flaky test"
    sed '1,/^slowest/d' "$out" | grep -q test_passes || fail "the slowest are not told"
    record history now_and
    want_rc 0
    diff <(printf '%s\n' test_outcomes.py::test_now_and_then "$second passed" "$first failed at try 2") \
        <(sed -E 's/^  ([0-9a-f-]+) .*s  (passed|failed)/\1 \2/; s/  +local$//' "$out") || fail "each run is not told"
    record history now_and -n 1
    [ "$(wc -l <"$out")" = 2 ] || fail "-n 1 told $(wc -l <"$out") lines"
    record history no_such_test
    want_rc 4
    want_line "no recorded test has 'no_such_test'"
}

test_while_a_run_goes_on_and_when_it_was_killed() {
    waiting_suite
    pt_start --hosts local:1
    wait_for 60 "the test does not begin" test -e "$work/waits"
    wait_for 60 "the run is not told as one that goes on" runs_says "running (process $master)  1 passed, 2 open"
    record show
    want_rc 0
    head -1 "$out" | grep -q "^run .* goes on (process $master): 1 of 3 tests so far$" || fail "$(head -1 "$out")"
    want_words "= 1 passed in "
    kill -9 "$master"
    wait "$master" 2>/dev/null
    record runs
    want_words " -  cut off  1 passed, 2 open"
    record show
    want_rc 0
    head -1 "$out" | grep -q "^run .* was cut off: 1 of 3 tests so far$" || fail "$(head -1 "$out")"
    want_words "= 1 passed ="
    record report --json "$work/cut.json"
    want_rc 0
    want_line "has not ended: 1 of 3 tests"
    want_outcomes "$work/cut.json" "test_waits.py::test_first passed"
    touch "$work/go"
    wait_for 60 "left behind here" here_is_quiet
}

test_where_the_record_is() {
    mkdir -p "$work/elsewhere"
    project repo
    mkdir -p .git tests/deep
    printf 'def test_it():\n    pass\n' >tests/test_it.py
    pt --hosts local:1
    want_rc 0
    cd tests/deep || exit 1
    record runs
    want_words "1 passed"
    cd "$work/elsewhere" || exit 1
    record runs
    want_rc 4
    want_line "no runs are recorded here"
    record runs --project "$work/repo"
    want_words "1 passed"
    record runs --state-dir="$work/repo/.ptremote"
    want_words "1 passed"
    record show --state-dir "$work/elsewhere"
    want_rc 4
    want_line "no runs are recorded in $work/elsewhere"
    record runs --project "$work/nowhere"
    want_rc 4
    want_line "nowhere: No such file"
    mkdir -p "$HOME/.config"
    echo "state-dir = $work/repo/.ptremote" >"$HOME/.config/ptremote.conf"
    record runs
    rm "$HOME/.config/ptremote.conf"
    want_words "1 passed"
}

test_bad_input() {
    project bad
    local words
    for words in "runs x" "runs -n" "runs -n 0" "runs -n x" "runs --json f" "runs -v" "show a b" "show --durations=-1" "show ''" "show -r" \
        "report" "report --junitxml" "report --nosuch" "history a b" "history -x" "runs --help=no"; do
        eval "set -- $words"
        record "$@"
        want_rc 4
        want_line "^ptremote: $1: "
        [ ! -s "$out" ] || fail "$words: it printed something"
    done
    for words in runs show report history; do
        record "$words" --help
        want_rc 0
        want_line "^Usage: ptremote $words "
        record "$words" -h
        want_rc 0
    done
    mkdir runs
    printf 'def test_in_runs():\n    pass\n' >runs/test_it.py
    pt --hosts local:1 ./runs
    want_rc 0
    want_words "1 passed"
    printf 'no ledger at all, but long enough to be looked at as one: %0200d' 0 >.ptremote/ledger.sqlite
    record runs
    want_rc 4
    want_line "is damaged"
}

run_tests
