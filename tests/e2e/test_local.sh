#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The whole way on this machine alone (local:2), against what plain pytest gives.
. "$(dirname "$0")/lib.sh"

mixed() { # a project with every outcome
    project mixed
    mkdir -p tests/sub
    four_outcomes >tests/test_outcomes.py
    cat >>tests/test_outcomes.py <<'PY'
import warnings

def test_passes():
    pass

@pytest.mark.xfail(reason="was known", strict=True)
def test_xpasses_strictly():
    pass

def test_warns():
    warnings.warn("look here")

@pytest.mark.slow
@pytest.mark.parametrize("n", range(3))
def test_numbers(n, record_property):
    record_property("n", n)
    assert n < 2
PY
    cat >tests/test_phases.py <<'PY'
import pytest

@pytest.fixture
def breaks_before():
    raise RuntimeError("set-up")

@pytest.fixture
def breaks_after():
    yield
    raise RuntimeError("tear-down")

def test_setup(breaks_before):
    pass

def test_teardown(breaks_after):
    pass

def test_both(breaks_after):
    assert False

class TestGroup:
    def test_inside(self, tmp_path):
        (tmp_path / "x").write_text("x")
PY
    cat >tests/sub/conftest.py <<'PY'
import pytest

@pytest.fixture(scope="module")
def answer():
    return 42
PY
    printf 'def test_answer(answer):\n    assert answer == 42\n' >tests/sub/test_deep.py
    printf 'import nothing_of_that_name\n\ndef test_never():\n    pass\n' >tests/test_broken.py
    printf '[pytest]\nmarkers = slow\ntestpaths = tests\n' >pytest.ini
}

test_every_outcome_as_pytest_tells_it() {
    mixed
    pt --hosts local:2 --junitxml "$work/got.xml" --json "$work/got.json"
    want_rc 1
    want_outcomes "$work/got.json" \
        "tests/test_broken.py error" \
        "tests/sub/test_deep.py::test_answer passed" \
        "tests/test_outcomes.py::test_passes passed" \
        "tests/test_outcomes.py::test_fails failed" \
        "tests/test_outcomes.py::test_skips skipped" \
        "tests/test_outcomes.py::test_xfails xfailed" \
        "tests/test_outcomes.py::test_xpasses xpassed" \
        "tests/test_outcomes.py::test_xpasses_strictly failed" \
        "tests/test_outcomes.py::test_warns passed" \
        "tests/test_outcomes.py::test_numbers[0] passed" \
        "tests/test_outcomes.py::test_numbers[1] passed" \
        "tests/test_outcomes.py::test_numbers[2] failed" \
        "tests/test_phases.py::test_setup error" \
        "tests/test_phases.py::test_teardown error" \
        "tests/test_phases.py::test_both failed" \
        "tests/test_phases.py::TestGroup::test_inside passed"
    want_words "assert \[1, 2\] == \[1, 3\]" "said before it failed" "look here" "nothing_of_that_name"
    same_as_plain "$work/got.xml" --continue-on-collection-errors
    nothing_left
}

test_choosing_tests() {
    mixed
    rm tests/test_broken.py
    local words
    for words in "-k numbers" "-m slow" "-k 'passes or answer'" "tests/sub" "tests/test_outcomes.py::test_passes" \
        "tests/test_phases.py::TestGroup tests/sub/test_deep.py::test_answer" "$PWD/tests/sub"; do
        eval "set -- $words"
        pt --hosts local:2 --junitxml "$work/got.xml" "$@"
        same_as_plain "$work/got.xml" "$@"
    done
    cd tests || exit 1
    pt --hosts local:2 --junitxml "$work/got.xml" sub test_phases.py::test_setup
    same_as_plain "$work/got.xml" sub test_phases.py::test_setup
    pt --hosts local:2 tests/sub
    want_rc 4
}

test_all_passed_is_0_and_the_second_run_sends_nothing() {
    project fine
    for n in 1 2 3 4; do
        printf 'import pytest\n@pytest.mark.parametrize("n", range(5))\ndef test_it(n):\n    pass\n' >test_$n.py
    done
    pt --hosts local:2 --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=20"
    pt --hosts local:2 --json "$work/got.json"
    want_rc 0
    [ "$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["hosts"][0]["bytes_sent"])' "$work/got.json")" = 0 ] ||
        fail "the second run sent an unchanged tree"
    nothing_left
}

test_no_tests_is_5() {
    project empty
    pt --hosts local:2
    want_rc 5
    nothing_left
}

test_maxfail_stops() {
    project stop
    for n in 1 2 3 4 5 6; do
        printf 'import time\ndef test_a():\n    assert False\ndef test_b():\n    time.sleep(1)\n' >test_$n.py
    done
    pt --hosts local:1 -x --json "$work/got.json"
    want_rc 1
    [ "$(outcomes "$work/got.json" | grep -c failed)" -le 2 ] || fail "it went on after -x"
    [ "$(outcomes "$work/got.json" | wc -l)" = 12 ] || fail "not every test has an outcome"
    outcomes "$work/got.json" | grep -q "notrun" || fail "nothing was notrun"
    nothing_left
}

test_timeout_ends_a_test() {
    project hang
    printf 'import time\ndef test_a():\n    pass\ndef test_hangs():\n    time.sleep(600)\ndef test_z():\n    pass\n' >test_hang.py
    pt --hosts local:2 --timeout 2 --json "$work/got.json"
    want_rc 1
    want_outcomes "$work/got.json" "test_hang.py::test_a passed" "test_hang.py::test_hangs timeout" "test_hang.py::test_z passed"
    nothing_left
}

test_options_of_xdist_are_ignored_with_a_note() {
    project xdist
    printf '[pytest]\naddopts = -n 2 --dist loadfile\n' >pytest.ini
    printf 'import os\ndef test_it():\n    assert os.environ["PYTEST_XDIST_WORKER"] in ("gw0", "gw1")\n' >test_it.py
    pt --hosts local:2 --json "$work/got.json" -- --maxprocesses 3
    want_rc 0
    want_summary "$work/got.json" "passed=1"
    want_line "options of pytest-xdist are ignored"
    nothing_left
}

test_a_suite_that_stops_the_run() {
    project stops
    # The file with the most tests is dealt first.
    printf 'import pytest\n@pytest.mark.parametrize("n", range(9))\ndef test_a(n):\n    pytest.exit("enough", returncode=3)\n' >test_a.py
    for n in 1 2 3 4 5 6 7 8; do
        printf 'import time\nimport pytest\n@pytest.mark.parametrize("n", range(5))\ndef test_b(n):\n    time.sleep(0.3)\n' >test_b$n.py
    done
    pt --hosts local:2 --json "$work/got.json"
    [ "$rc" != 0 ] || fail "a run that was stopped passed"
    want_words "enough"
    [ "$(outcomes "$work/got.json" | grep -c notrun)" -gt 30 ] || fail "it went on"
    nothing_left
}

test_session_fixtures_once_a_worker() {
    project session
    cat >conftest.py <<PY
import os
import pytest

@pytest.fixture(scope="session")
def heavy():
    open("$work/log", "a").write("up\n")
    yield
    open("$work/log", "a").write("down\n")
PY
    put_meet
    for n in 1 2 3 4 5 6 7 8; do
        printf 'from meet import meet\ndef test_it(heavy):\n    meet(2)\n' >test_$n.py
    done
    rm -f "$work/log"
    pt --hosts local:2
    want_rc 0
    [ "$(sort "$work/log" | uniq -c | xargs)" = "2 down 2 up" ] || fail "set up and down: $(sort "$work/log" | uniq -c | xargs)"
}

test_last_failed_is_remembered() {
    project again
    printf 'import os\n\ndef test_good():\n    pass\n\ndef test_bad():\n    assert os.path.exists("mended")\n' >test_a.py
    printf 'def test_other():\n    pass\n' >test_b.py
    pt --hosts local:2 --json "$work/got.json"
    want_rc 1
    pt --hosts local:2 --json "$work/got.json" -- --lf
    want_rc 1
    want_summary "$work/got.json" "failed=1"
    touch mended
    pt --hosts local:2 --json "$work/got.json" -- --lf
    want_rc 0
    want_summary "$work/got.json" "passed=1"
    pt --hosts local:2 --json "$work/got.json" -- --lf
    want_summary "$work/got.json" "passed=3"
}

test_dry_run_runs_nothing() {
    project dry
    printf 'import pathlib\ndef test_it():\n    pathlib.Path("%s/ran").touch()\n' "$work" >test_dry.py
    pt --hosts local:2 --dry-run
    want_rc 0
    want_words "test_dry.py"
    [ ! -e "$work/ran" ] || fail "a test ran"
    nothing_left
}

# More than may be under way unacknowledged, and not one report meanwhile.
test_much_output_of_one_test() {
    project much
    cat >test_much.py <<'PY'
import os

def test_much():
    for i in range(40):
        os.write(1, (b"%1023d\n" % i) * 1024)
PY
    pt --hosts local:1 -- -s
    want_rc 0
    [ "$(cat .ptremote/logs/*/gw0.log | grep -c '^ *[0-9]*$')" = 40960 ] || fail "not all of its output is here"
    nothing_left
}

test_environment() {
    project environment
    cat >test_env.py <<'PY'
import os

def test_env():
    assert os.environ["GIVEN"] == "a b"
    assert os.environ["FORWARDED"] == "from here"
    assert os.environ["PLACE"].startswith(os.environ["PTREMOTE_WORKSPACE"])
    assert os.path.exists(os.path.join(os.environ["PLACE"], "test_env.py"))
    assert not [name for name in os.environ if name.startswith(("OMPI_", "PMIX_")) and not name.startswith("OMPI_MCA_")]

def test_plain_mpi4py_is_alone():
    from mpi4py import MPI
    assert MPI.COMM_WORLD.size == 1
PY
    FORWARDED="from here" pt --hosts local:2 --env GIVEN="a b" --env FORWARDED --env PLACE='{workspace}' --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=2"
}

test_rank_and_file_of_options() {
    project options
    printf 'def test_it():\n    pass\n' >test_it.py
    pt --version
    want_rc 0
    pt --help
    want_rc 0
    want_words "--hosts" "--require-all-hosts"
    pt --no-such-option
    want_rc 4
    want_line "no-such-option"
    pt --hosts local:2 --timeout soon
    want_rc 4
    want_line "timeout"
    printf 'local slots=2\n' >"$work/hostfile"
    pt --hostfile "$work/hostfile"
    want_rc 0
    PTREMOTE_HOSTS=local:1 pt -- -q -p no:cacheprovider
    want_rc 0
    nothing_left
}

test_interrupted_before_anything_is_recorded() {
    project early
    rm -f "$work/imports"
    printf 'import time\nopen("%s", "w").close()\ntime.sleep(100)\n' "$work/imports" >conftest.py
    pt_start --hosts local:2
    wait_for 60 "conftest.py is not imported" test -e "$work/imports"
    kill -INT "$master"
    pt_end 60
    want_rc 2
    want_line "^ptremote: Interrupted by Ctrl-C before anything was recorded"
    [ ! -e .ptremote ] || fail "a state folder where no project was known"
    nothing_left
}

# No file is blamed for it, and no run waits for ever: the host collects again once it is back.
test_connection_breaks_while_a_host_collects() {
    local how pid
    for how in --grace=10 --linger=30; do
        project collected
        rm -f "$work/imports" "$work/go"
        printf 'def test_a():\n    pass\n' >test_a.py
        cat >test_b.py <<PY
import os
import time

with open("$work/imports", "a") as imports:
    imports.write("%d\n" % os.getpid())
while not os.path.exists("$work/go"):
    time.sleep(0.02)

def test_b():
    pass
PY
        pt_start --hosts local:2 --collect remote "$how" --json "$work/got.json"
        wait_for 60 "test_b.py is not imported" test -s "$work/imports"
        wait_for 60 "no workers" says 'local: joined\|local: waiting for the tree\|local: ready'
        for pid in $(our_pids); do
            ! grep -q -a "^ptremote-agent.proxy" "/proc/$pid/cmdline" || kill -9 "$pid"
        done
        wait_for 60 "it is not imported again" eval '[ "$(wc -l <"$work/imports")" = 2 ]'
        touch "$work/go"
        pt_end
        want_rc 0
        want_summary "$work/got.json" "passed=2"
        nothing_left
    done
}

run_tests
