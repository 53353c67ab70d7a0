#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --last-failed and --failed-first by the record of runs, also of runs that were cut off or resumed.
. "$(dirname "$0")/lib.sh"

json=$work/got.json

suite() { # fails: test_bad while there is no file mended, test_worse always; test_slow waits for $work/go
    project suite
    mkdir .git
    rm -f "$work/go" "$work/waits"
    printf 'import os\n\ndef test_good():\n    pass\n\ndef test_bad():\n    assert os.path.exists("mended")\n' >test_a.py
    printf 'def test_other():\n    pass\n\ndef test_worse():\n    assert 0\n' >test_b.py
}

run() { pt --hosts local:2 --json "$json" "$@"; }

remembered() { cat .pytest_cache/v/cache/lastfailed 2>/dev/null; }

test_only_what_failed() {
    suite
    run --last-failed
    want_rc 1
    want_summary "$json" "failed=2 passed=2"
    rm -rf .pytest_cache
    run --lf
    want_rc 1
    want_outcomes "$json" "test_a.py::test_bad failed" "test_b.py::test_worse failed"
    touch mended
    run --last-failed test_a.py
    want_rc 0
    want_outcomes "$json" "test_a.py::test_bad passed"
    run --lf
    want_outcomes "$json" "test_b.py::test_worse failed"
    run --lf test_a.py
    want_rc 0
    want_summary "$json" "passed=2"
    sed -i 's/assert 0/pass/' test_b.py
    run --lf
    want_outcomes "$json" "test_b.py::test_worse passed"
    run --lf -- --last-failed-no-failures none
    want_rc 5
    run --lf
    want_rc 0
    want_summary "$json" "passed=4"
    echo 'last-failed = yes' >ptremote.conf
    sed -i 's/pass$/assert 0/' test_b.py
    run --lf=no
    want_rc 1
    run
    want_outcomes "$json" "test_b.py::test_other failed" "test_b.py::test_worse failed"
}

test_first_what_failed() {
    suite
    printf 'def test_first():\n    pass\n' >test_0.py
    pt --hosts local:1
    pt --hosts local:1 -v --ff --json "$json"
    want_rc 1
    want_summary "$json" "failed=2 passed=3"
    [ "$(grep -o '^test_[0ab].py::test_[a-z]* [FP]' "$out" | cut -d' ' -f2 | xargs)" = "F P F P P" ] || fail "not first: $(grep -o '^test_[0ab].*' "$out")"
}

# What pytest itself knows is another matter, and stays so.
test_pytests_own_after_dashes() {
    suite
    plain_cache() { "$python" -m pytest -q "$@" >"$work/plain" 2>&1; }
    run
    printf 'def test_new():\n    assert 0\n' >test_c.py
    plain_cache test_c.py
    remembered >"$work/before"
    grep -q test_new "$work/before" || fail "pytest remembers: $(cat "$work/before")"
    run --lf --dry-run
    want_rc 0
    cmp "$work/before" .pytest_cache/v/cache/lastfailed || fail "pytest's memory was changed: $(remembered)"
    ! grep -q test_new "$out" || fail "pytest's memory was read"
    run -- --lf
    want_outcomes "$json" "test_a.py::test_bad failed" "test_b.py::test_worse failed" "test_c.py::test_new failed"
}

test_a_crash_a_timeout_and_a_broken_file() {
    project kinds
    mkdir .git
    printf 'import os\n\ndef test_crashes():\n    if not os.path.exists("mended"):\n        os.abort()\n' >test_crash.py
    printf 'import os\nimport time\n\ndef test_hangs():\n    if not os.path.exists("mended"):\n        time.sleep(60)\n' >test_hang.py
    printf 'import os\nimport pytest\n\n@pytest.fixture\ndef up():\n    yield\n    assert os.path.exists("mended")\n\ndef test_tear_down(up):\n    pass\n' >test_fixture.py
    printf 'import not_there\n\ndef test_it():\n    pass\n' >test_broken.py
    printf 'def test_good():\n    pass\n' >test_good.py
    run --timeout 2
    want_rc 1
    touch mended
    run --lf --timeout 60
    want_rc 1
    want_outcomes "$json" "test_crash.py::test_crashes passed" "test_hang.py::test_hangs passed" "test_fixture.py::test_tear_down passed" \
        "test_broken.py error"
    printf 'def test_it():\n    pass\n' >test_broken.py
    run --lf
    want_rc 0
    want_outcomes "$json" "test_broken.py::test_it passed"
    run --lf
    want_summary "$json" "passed=5"
}

slow() { # after the others of its file
    cat >test_c.py <<PY
import os
import time

def test_mended():
    assert os.path.exists("mended")

def test_slow():
    open("$work/waits", "w").close()
    end = time.time() + 300
    while not os.path.exists("$work/go") and time.time() < end:
        time.sleep(0.05)
    assert os.path.exists("mended")
PY
}

cut_off() { # once test_slow is at work and N tests are on disk
    wait_for 60 "the test does not begin" test -e "$work/waits"
    wait_for 60 "no $1 tests on disk" on_disk "$1"
    kill -9 "$master"
    wait "$master" 2>/dev/null
    touch "$work/go"
    wait_for 60 "left behind here" here_is_quiet
}

on_disk() {
    "$python" - "$1" <<'PY'
import sqlite3, sys
told = sqlite3.connect(".ptremote/ledger.sqlite").execute("SELECT COUNT(*) FROM reports WHERE counted>0 AND run=(SELECT MAX(id) FROM runs)").fetchone()[0]
sys.exit(told < int(sys.argv[1]))
PY
}

# What has an outcome in it counts; what has none is as it was before.
test_after_a_run_that_was_cut_off() {
    suite
    slow
    rm test_b.py
    touch "$work/go"
    run
    want_summary "$json" "failed=3 passed=1"
    rm "$work/go" "$work/waits"
    touch mended
    pt_start --hosts local:2
    cut_off 3
    run --lf
    want_rc 0
    want_outcomes "$json" "test_c.py::test_slow passed"
}

# The run that is resumed has the tests it had, though some of them have passed meanwhile.
test_a_run_of_failures_is_resumed() {
    suite
    slow
    touch "$work/go"
    run
    want_summary "$json" "failed=4 passed=2"
    rm "$work/go" "$work/waits"
    touch mended
    pt_start --hosts local:2 --lf --json "$json"
    cut_off 3
    pt --resume
    want_rc 1
    want_outcomes "$json" "test_a.py::test_bad passed" "test_b.py::test_worse failed" "test_c.py::test_mended passed" "test_c.py::test_slow passed"
    run --lf
    want_outcomes "$json" "test_b.py::test_worse failed"
    pt --resume --lf
    want_rc 4
    want_line "with its own --last-failed"
}

# Without git the project is only known once pytest has begun; and the record may be elsewhere.
test_where_the_record_is() {
    suite
    rm -r .git
    run
    want_rc 1
    run --lf
    want_summary "$json" "failed=2"
    rm -rf .ptremote "$work/state"
    run --state-dir "$work/state"
    run --lf --state-dir "$work/state"
    want_summary "$json" "failed=2"
    mkdir .git
    run --lf --state-dir "$work/state"
    want_summary "$json" "failed=2"
    run --lf
    want_summary "$json" "failed=2 passed=2"
    run --lf --collect remote
    want_summary "$json" "failed=2"
    printf 'no ledger' >.ptremote/ledger.sqlite
    run --lf
    want_rc 1
    want_line "what failed in earlier runs is not known: the ledger .* is damaged"
    want_line "was damaged: set aside as"
    want_summary "$json" "failed=2 passed=2"
}

run_tests
