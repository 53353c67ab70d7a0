#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Suites and plugins written for pytest and pytest-xdist, on this machine alone (local:2), against plain pytest.
. "$(dirname "$0")/lib.sh"

has() { "$python" -c "import $1" 2>/dev/null || { echo "no $1 here"; return 1; }; }

# stdout_of JSON: what all tests printed, sorted.
stdout_of() {
    "$python" - "$1" <<'PY'
import json, sys
for test in json.load(open(sys.argv[1]))["tests"]:
    sys.stdout.write(test.get("stdout", ""))
PY
}

is_gone() { [ ! -e "$1" ] || find "$1" | head; [ ! -e "$1" ]; }

worker_suite() { # every worker gets a test
    project "$1"
    put_meet
    cat >conftest.py <<'PY'
import os
AT_IMPORT = [os.environ.get("PYTEST_XDIST_" + name) for name in ("WORKER", "WORKER_COUNT", "TESTRUNUID")]
def pytest_configure(config):
    config.seen = dict(getattr(config, "workerinput", {}))
PY
    local n
    for n in 1 2 3 4; do
        cat >test_$n.py <<'PY'
from conftest import AT_IMPORT
from meet import meet
from xdist import get_xdist_worker_id, is_xdist_controller, is_xdist_worker

def test_ids(worker_id, testrun_uid, request):
    meet(2)
    known = request.config.workerinput
    assert AT_IMPORT == [worker_id, "2", testrun_uid] and request.config.seen == known
    assert known["workerid"] == worker_id == get_xdist_worker_id(request) and known["testrunuid"] == testrun_uid
    assert is_xdist_worker(request) and not is_xdist_controller(request)
    print(worker_id, testrun_uid)
PY
    done
}

want_two_workers() {
    stdout_of r.json | sort -u >"$work/workers"
    [ "$(cut -d' ' -f1 "$work/workers" | sort -u | tr '\n' ' ')" = "gw0 gw1 " ] || fail "workers: $(cat "$work/workers")"
    [ "$(cut -d' ' -f2 "$work/workers" | sort -u | wc -l)" = 1 ] || fail "more than one run: $(cat "$work/workers")"
}

# pytest and nothing else of this machine's packages.
bare_python() {
    local site name
    site=$("$python" -c 'import os, pytest; print(os.path.dirname(os.path.dirname(pytest.__file__)))')
    mkdir -p "$work/bare/site"
    for name in pytest _pytest pluggy packaging iniconfig attr attrs py py.py iniconfig.py; do
        [ ! -e "$site/$name" ] || ln -sfn "$site/$name" "$work/bare/site/$name"
    done
    printf '#!/bin/sh\nPYTHONPATH=%s exec %s -S "$@"\n' "$work/bare/site" "$python" >"$work/bare/python"
    chmod +x "$work/bare/python"
}

test_worker_ids() {
    worker_suite ids
    pt --hosts local:2 --json r.json
    want_rc 0
    want_two_workers
}

test_worker_ids_without_the_plugin() {
    worker_suite blocked
    pt --hosts local:2 --json r.json -- -p no:xdist -p no:xdist.looponfail
    want_rc 0
    want_two_workers
}

test_worker_ids_without_xdist() {
    bare_python
    python=$work/bare/python
    worker_suite alone
    ! "$python" -c 'import xdist' 2>/dev/null || fail "xdist is there"
    pt --hosts local:2 --json r.json
    want_rc 0
    want_two_workers
}

# The recipe of pytest-xdist's documentation: data is made by one worker of a host.
test_filelock() {
    has filelock || return 0
    project lock
    cat >conftest.py <<'PY'
import json
import pytest
from filelock import FileLock

@pytest.fixture(scope="session")
def session_data(tmp_path_factory, worker_id):
    if worker_id == "master":
        return "made by master"
    root_tmp_dir = tmp_path_factory.getbasetemp().parent
    fn = root_tmp_dir / "data.json"
    with FileLock(str(fn) + ".lock"):
        if fn.is_file():
            return json.loads(fn.read_text())
        data = "made by " + worker_id
        fn.write_text(json.dumps(data))
        return data
PY
    put_meet
    local n
    for n in 1 2 3 4 5 6; do
        printf 'from meet import meet\ndef test_%d(session_data, worker_id, tmp_path):\n    meet(2)\n    print(session_data, "used by", worker_id, tmp_path.parent.parent)\n' $n >test_$n.py
    done
    pt --hosts local:2 --json r.json
    want_rc 0
    [ "$(stdout_of r.json | sed 's/ used by.*//' | sort -u | wc -l)" = 1 ] || fail "made more than once: $(stdout_of r.json)"
    [ "$(stdout_of r.json | sed 's/.* used by//' | cut -d' ' -f2 | sort -u | wc -l)" = 2 ] || fail "not shared: $(stdout_of r.json)"
    pt --hosts local:2 --json r.json --isolate test
    want_rc 0
    [ "$(stdout_of r.json | sed 's/ used by.*//' | sort -u | wc -l)" = 1 ] || fail "made more than once: $(stdout_of r.json)"
    nothing_left
    wait_for 60 "temporary files are left" is_gone "$(stdout_of r.json | sed -n '1s/.* //p')"
}

# A slot that starts anew keeps its id and has a folder for temporary files again.
test_a_slot_that_starts_anew() {
    project anew
    printf 'import os\ndef test_a(tmp_path, worker_id): print(worker_id, tmp_path.name)\ndef test_dies(tmp_path): os._exit(3)\n' >test_a.py
    printf 'def test_b(tmp_path, worker_id): print(worker_id, tmp_path.name)\n' >>test_a.py
    pt --hosts local:1 --json r.json
    want_rc 1
    [ "$(stdout_of r.json | tr '\n' ' ')" = "gw0 test_a0 gw0 test_b0 " ] || fail "told: $(stdout_of r.json)"
}

test_pytest_timeout() {
    has pytest_timeout || return 0
    project timeout
    printf 'import time, pytest\n@pytest.mark.timeout(0.5)\ndef test_hangs(): time.sleep(60)\ndef test_after(): pass\n' >test_a.py
    printf '[pytest]\ntimeout = 30\n' >pytest.ini
    pt --hosts local:2 --junitxml ours.xml --json r.json
    want_outcomes r.json "test_a.py::test_hangs failed" "test_a.py::test_after passed"
    want_words "Timeout >0.5s"
    same_as_plain ours.xml
}

test_pytest_asyncio() {
    has pytest_asyncio || return 0
    project asyncio
    cat >test_a.py <<'PY'
import asyncio
import pytest, pytest_asyncio

@pytest_asyncio.fixture
async def answer():
    await asyncio.sleep(0)
    return 42

@pytest.mark.asyncio
async def test_awaits(answer):
    assert answer == 42

@pytest.mark.asyncio
async def test_fails():
    await asyncio.sleep(0)
    assert False

def test_plain():
    pass
PY
    cp test_a.py test_b.py
    pt --hosts local:2 --junitxml ours.xml
    same_as_plain ours.xml
    pt --hosts local:2 --junitxml ours.xml -- --asyncio-mode=auto
    same_as_plain ours.xml --asyncio-mode=auto
}

test_pytest_rerunfailures() {
    has pytest_rerunfailures || return 0
    project rerun
    cat >test_a.py <<'PY'
import pytest
seen = []

def test_flaky():
    seen.append(1)
    assert len(seen) == 3

@pytest.mark.flaky(reruns=1)
def test_fails_always():
    assert False

def test_passes():
    pass
PY
    pt --hosts local:2 --junitxml ours.xml -- --reruns 2
    want_words "1 failed, 2 passed, 3 rerun"
    same_as_plain ours.xml --reruns 2
    pt --hosts local:2 --junitxml ours.xml --isolate test -- --reruns 2
    same_as_plain ours.xml --reruns 2
}

test_hypothesis() {
    has hypothesis || return 0
    project hypothesis
    cat >test_a.py <<'PY'
from hypothesis import HealthCheck, given, settings, strategies as st

settings.register_profile("slow", deadline=None, suppress_health_check=[HealthCheck.too_slow]) # as the machine may be
settings.load_profile("slow")

@settings(derandomize=True)
@given(st.integers(min_value=0))
def test_small(n):
    assert n < 10

@given(st.lists(st.integers()))
def test_sorts(numbers):
    assert sorted(sorted(numbers)) == sorted(numbers)

def test_plain():
    pass
PY
    pt --hosts local:2 --junitxml ours.xml
    want_words "Falsifying example: test_small"
    same_as_plain ours.xml
    rm -rf .hypothesis
    pt --hosts local:2 --json r.json -- -m hypothesis
    want_summary r.json "failed=1 passed=1"
    [ ! -e .hypothesis ] || fail "what a host remembers came here"
}

test_durations() {
    project durations
    printf 'import time\ndef test_slow(): time.sleep(0.4)\ndef test_fast(): pass\n' >test_a.py
    printf 'import time\ndef test_slower(): time.sleep(0.8)\n' >test_b.py
    pt --hosts local:2 -- --durations=2 --durations-min=0.1
    want_rc 0
    want_words "slowest 2 durations" "[0-9.]*s call  *test_b.py::test_slower" "[0-9.]*s call  *test_a.py::test_slow"
}

test_warnings_as_errors() {
    project werror
    printf 'import warnings\ndef test_warns(): warnings.warn("look")\ndef test_silent(): pass\n' >test_a.py
    pt --hosts local:2 --junitxml ours.xml -- -W error
    want_rc 1
    same_as_plain ours.xml -W error
    pt --hosts local:2 --junitxml ours.xml -- -W error -W 'ignore:look'
    want_rc 0
    same_as_plain ours.xml -W error -W 'ignore:look'
}

warned() { sed -n 's/.* \([0-9]* warnings\{0,1\}\).*/\1/p' "$1" | tail -1; }

test_warnings_are_summed() {
    project warnings
    printf 'import warnings\nwarnings.warn("at import")\ndef test_1(): warnings.warn("in a test")\n' >test_a.py
    printf 'import warnings, pytest\n@pytest.mark.parametrize("n", range(3))\ndef test_2(n): warnings.warn("in each")\n' >test_b.py
    printf '@pytest.mark.unknown_mark\ndef test_3(): pass\n' >>test_b.py
    sed -i '1i import pytest' test_b.py
    pt --hosts local:2
    plain
    [ -n "$(warned "$work/plain")" ] && [ "$(warned "$out")" = "$(warned "$work/plain")" ] ||
        fail "'$(warned "$out")', pytest has '$(warned "$work/plain")'"
}

test_plugins_by_name() {
    project byname
    printf 'import pytest\n@pytest.fixture\ndef ours(): return 1\ndef pytest_addoption(parser): parser.addoption("--ours", default="no")\n' >ours.py
    printf 'def test_a(ours, request): assert ours == 1 and request.config.getoption("--ours") == "yes"\n' >test_a.py
    printf 'def test_b(request): assert not request.config.pluginmanager.hasplugin("doctest")\n' >test_b.py
    pt --hosts local:2 -- -p ours --ours yes -p no:doctest
    want_rc 0
    printf 'def test_c(): pass\n' >test_c.py
    pt --hosts local:2 -- -p no:such_plugin test_c.py
    want_rc 0
    pt --hosts local:2 -- -p not_there
    [ "$rc" != 0 ] || fail "a plugin that is not there is not missed"
    want_words 'Error importing plugin "not_there"'
}

lastfailed() { "$python" -c 'import json; print(" ".join(sorted(json.load(open(".pytest_cache/v/cache/lastfailed")))))'; }

test_last_failed_and_failed_first() {
    project lf
    printf 'import time\ndef test_1(): time.sleep(0.2)\ndef test_2(): assert 0\n' >test_a.py
    printf 'def test_3(request):\n    request.config.cache.set("ours/value", 1)\n    assert 0\ndef test_4(): pass\n' >test_b.py
    pt --hosts local:2 --json r.json
    want_rc 1
    [ "$(lastfailed)" = "test_a.py::test_2 test_b.py::test_3" ] || fail "remembered: $(lastfailed)"
    [ ! -e .pytest_cache/v/ours ] || fail "what a test wrote on its host came here"
    sed -i 's/assert 0/pass/' test_a.py
    pt --hosts local:2 --json r.json -- --lf
    want_outcomes r.json "test_a.py::test_2 passed" "test_b.py::test_3 failed"
    [ "$(lastfailed)" = "test_b.py::test_3" ] || fail "remembered: $(lastfailed)"
    "$python" -m pytest -q --lf >"$work/plain" 2>&1
    grep -q "^1 failed" "$work/plain" || fail "pytest does not go on from there: $(cat "$work/plain")"
    pt --hosts local:1 --json r.json -v -- --ff
    want_summary r.json "failed=1 passed=3"
    [ "$(grep -o 'test_[ab].py::test_[0-9]' "$out" | head -1)" = test_b.py::test_3 ] || fail "not first"
    pt --hosts local:2 --json r.json -- --lf -p no:cacheprovider
    want_rc 4
}

test_subtests() {
    has pytest_subtests || return 0
    project subtests
    cat >test_a.py <<'PY'
import unittest

def test_parts(subtests):
    for n in range(4):
        with subtests.test(msg="part", n=n):
            assert n != 2

class TestCase(unittest.TestCase):
    def test_inner(self):
        for n in range(2):
            with self.subTest(n=n):
                self.assertEqual(n, 0)
PY
    pt --hosts local:2 --junitxml ours.xml --json r.json
    plain
    want_words "\[part\] (n=2)"
    [ "$(tail -1 "$work/plain" | grep -o '[0-9]* failed, [0-9]* passed[^=]* in' )" = "$(tail -1 "$out" | grep -o '[0-9]* failed, [0-9]* passed[^=]* in')" ] ||
        fail "counted otherwise: $(tail -1 "$out"), pytest: $(tail -1 "$work/plain")"
    same_as_plain ours.xml
}

# Both sides of pytest-cov: files of the host are told as those here.
test_pytest_cov() {
    has pytest_cov || return 0
    project cov
    mkdir -p src/pkg tests
    : >src/pkg/__init__.py
    printf 'def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n' >src/pkg/parts.py
    printf 'from pkg.parts import one\n\n\ndef test_a():\n    assert one() == 1\n' >tests/test_a.py
    printf 'from pkg.parts import two\n\n\ndef test_b():\n    assert two() == 2\n' >tests/test_b.py
    printf '[pytest]\npythonpath = src\n' >pytest.ini
    local isolate covered
    plain --cov=pkg --cov-report=term-missing --cov-report=xml:plain.xml --cov-fail-under=90
    covered=$(grep '^src/pkg/parts.py' "$work/plain")
    [ -n "$covered" ] || fail "pytest measures nothing: $(cat "$work/plain")"
    for isolate in session bundle test; do
        rm -f .coverage
        pt --hosts local:2 --isolate $isolate -- --cov=pkg --cov-report=term-missing --cov-report=xml:ours.xml --cov-fail-under=90
        want_rc 1
        [ "$(grep 'pkg/parts.py' "$out")" = "$covered" ] || fail "$isolate: '$(grep parts.py "$out")', pytest: '$covered'"
        want_words "FAIL Required test coverage of 90% not reached" "coverage: platform linux, python 3"
        [ -e .coverage ] || fail "no data was kept"
        diff <(grep -o 'filename="[^"]*"\|line number="[0-9]*" hits="[0-9]*"' plain.xml) <(grep -o 'filename="[^"]*"\|line number="[0-9]*" hits="[0-9]*"' ours.xml) ||
            fail "$isolate: another report than pytest's"
    done
    [ -z "$(find . -name '.coverage.*')" ] || fail "data of workers is left: $(find . -name '.coverage.*')"
    pt --hosts local:2 -- --cov=pkg --cov-report= --cov-fail-under=50
    want_rc 0
    pt --hosts local:2 -- --cov=pkg --no-cov
    want_rc 0
    pt --hosts local:2 --collect remote -- --cov=pkg
    want_rc 0
    want_words "nothing is told of the workers to: pytest-cov"
}

test_pytest_cov_in_all_ranks() {
    has pytest_cov && has mpi4py || return 0
    project ranks
    printf 'def f(rank):\n    if rank == 0:\n        return "first"\n    return "other"\n\n\ndef g():\n    return 1\n' >mod.py
    printf 'import ptremote\nfrom mod import f\n\n\n@ptremote.mark.parallel(2)\ndef test_f(comm):\n    assert f(comm.rank)\n' >test_ranks.py
    local isolate
    for isolate in session test; do
        pt --hosts local:2 --isolate $isolate -- --cov=mod --cov-report=term-missing
        want_rc 0
        want_line '^mod.py  *6  *1  *83%  *8$'
        ! grep -q "failed to return" "$out" || fail "not all sessions told what they measured"
    done
}

# Plugins here configure each node and get what its session left.
test_node_hooks() {
    project hooks
    cat >conftest.py <<'PY'
import os
import pytest

LOG = []

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        assert config.workerinput["secret"] == {"of": [config.workerinput["workerid"], 1.5, None]}

@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    assert node.nodemanager.roots and node.config is node.nodemanager.config
    node.workerinput["secret"] = {"of": [node.gateway.id, 1.5, None]}

@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    LOG.append("up " + node.gateway.id)

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    LOG.append("down %s %s %s" % (node.gateway.id, getattr(node, "workeroutput", {}).get("left"), error))

def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["left"] = "by " + session.config.workerinput["workerid"]

def pytest_terminal_summary(terminalreporter):
    for line in sorted(LOG):
        terminalreporter.line(line)
PY
    put_meet
    printf 'from meet import meet\ndef test_a(): meet(2)\n' >test_a.py
    cp test_a.py test_b.py
    pt --hosts local:2
    want_rc 0
    want_line "^up gw0" "^up gw1" "^down gw0 by gw0 None" "^down gw1 by gw1 None"
    printf 'import os\ndef test_b(): os._exit(3)\n' >test_b.py
    pt --hosts local:1
    want_rc 1
    want_line "^down gw0 by gw0 None" "^down gw0 None [^N]"
    sed -i 's/= {"of".*/= {"of": object()}/' conftest.py
    pt --hosts local:2
    want_rc 3
    want_line "pytest_configure_node of gw[01]: workerinput\['secret'\]\['of'\]: a value of type object cannot be sent"
}

run_tests
