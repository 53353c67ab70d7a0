# SPDX-License-Identifier: Apache-2.0
"""Tests that end their process, at every place where they can."""
import os
import signal

import harness
import pytest

pytestmark = pytest.mark.usefixtures("isolate")

ENDS = {
    "exit": ("os._exit(7)", lambda status: os.WIFEXITED(status) and os.WEXITSTATUS(status) == 7),
    "segv": ("ctypes.string_at(0)", lambda status: os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV),
    "abort": ("os.abort()", lambda status: os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT),
    "kill": ("os.kill(os.getpid(), 9)", lambda status: os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9),
}
SUITE = """
import ctypes, os, sys, pytest

@pytest.fixture
def guard():
    %(setup)s
    yield
    %(teardown)s

def test_before(): print("fine")
def test_also_before(): pass
def test_ends(guard):
    print("last words"); os.system("echo of a child")
    %(call)s
def test_after(): pass
class TestMore:
    def test_more(self): pass
"""


def suite(place, how):
    words = 'print("last words"); os.system("echo of a child"); ' + how
    return SUITE % dict({"setup": "pass", "call": "pass", "teardown": "pass"}, **{place: words})


@pytest.mark.parametrize("how", sorted(ENDS))
@pytest.mark.parametrize("place", ["setup", "call", "teardown"])
def test_in_a_test(tmp_path, place, how, isolate):
    action, expected = ENDS[how]
    files = {"test_ends.py": suite(place, action), "test_other.py": "def test_other(): pass\n"}
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        result = harness.run(host, found, project, size=2)
    assert result.runners == (2 if isolate == "session" else 1)
    assert len(result.reports) == 5 and set(result.outcomes().values()) == {"passed"}
    (dead, phase, status, captured, output), = result.deaths
    assert (dead, phase) == ("test_ends.py::test_ends", place)
    assert expected(status)
    assert "last words" in captured[0] and "of a child" in captured[0]
    if how in ("segv", "abort"):
        assert 'File "%s/test_ends.py"' % project in output


@pytest.mark.parametrize("tree_too", [False])
@pytest.mark.parametrize("how", sorted(ENDS))
def test_at_import(tmp_path, how, tree_too):
    action, expected = ENDS[how]
    ends_there = "import ctypes, os\nif 'PTREMOTE_WORKER' in os.environ:\n    print('importing')\n    %s\n" % action
    files = {
        "test_a.py": "def test_a(): pass\n",
        "test_b.py": ends_there + "def test_b(): pass\n",
        "test_c.py": "def test_c(): pass\n",
        "test_d.py": "def test_d(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        result = harness.run(host, found, project, size=3)
    assert result.outcomes() == {"test_a.py::test_a": "passed", "test_c.py::test_c": "passed", "test_d.py::test_d": "passed"}
    (dead, phase, status, captured, output), = result.deaths
    assert (dead, phase) == ("test_b.py", "collect")
    assert expected(status)
    assert "importing" in captured[0]


def test_with_a_session_fixture(tmp_path, tree, isolate):
    files = {
        "conftest.py": "import pytest, os\n"
        "@pytest.fixture(scope='session', autouse=True)\n"
        "def resource():\n    print('up', os.getpid())\n    yield 1\n    print('down')\n"
        "@pytest.fixture(scope='module', autouse=True)\n"
        "def module():\n    print('module up')\n    yield 1\n    print('module down')\n",
        "test_a.py": "import os\ndef test_1(): pass\ndef test_2(): os._exit(1)\ndef test_3(): pass\n",
        "test_b.py": "def test_4(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    assert len(result.reports) == 3 and set(result.outcomes().values()) == {"passed"}
    said = "".join(told.get("stdout", "") for told in result.reports.values())
    downs = 3 if isolate == "test" else 2
    assert said.count("module up") == 3 and said.count("module down") == downs
    assert said.count("up ") == (2 if isolate == "session" else 3)


@pytest.mark.parametrize("place", ["setup", "teardown"])
def test_in_a_session_fixture(tmp_path, place, isolate):
    """It dies when it ends: outside of a test, or in the last one of an isolated process; when it starts: in the
    first set-up."""
    code = "    if True: os._exit(5)\n"
    files = {
        "conftest.py": "import pytest, os\n@pytest.fixture(scope='session')\ndef resource():\n"
        + (code if place == "setup" else "")
        + "    yield 1\n"
        + (code if place == "teardown" else ""),
        "test_a.py": "def test_1(resource): pass\ndef test_2(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        result = harness.run(host, found, project)
    (dead, phase, status, _, _), = result.deaths
    assert os.WEXITSTATUS(status) == 5
    if place == "setup":
        assert (dead, phase) == ("test_a.py::test_1", "setup") and result.outcomes() == {"test_a.py::test_2": "passed"}
    elif isolate != "session":
        last = {"bundle": "test_a.py::test_2", "test": "test_a.py::test_1"}[isolate]
        assert (dead, phase) == (last, "teardown") and len(result.reports) == 1
    else:
        assert dead is None and set(result.outcomes().values()) == {"passed"} and len(result.reports) == 2


def test_a_forked_child_that_comes_back(tmp_path, tree):
    """A child that a test forked and forgot runs through pytest; it tells nothing and ends."""
    files = {
        "test_a.py": "import os\ndef test_1(): os.fork()\ndef test_2(): pass\n"
        "def test_3():\n    pid = os.fork()\n    if pid == 0: assert 0\n    os.waitpid(pid, 0)\n"
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    assert not result.deaths
    assert len(result.reports) == 3 and set(result.outcomes().values()) == {"passed"}


def test_a_test_that_closes_descriptors_and_replaces_functions(tmp_path):
    files = {
        "test_a.py": "import os, socket, struct, json, time, pytest\n"
        "@pytest.fixture\ndef broken(monkeypatch):\n"
        "    def no(*a, **k): raise RuntimeError('replaced')\n"
        "    for module, name in ((os, 'write'), (socket, 'socket'), (struct, 'pack'), (json, 'dumps'), (time, 'time')):\n"
        "        monkeypatch.setattr(module, name, no)\n"
        "    yield\n"
        "def test_replaces(broken): pass\n"
        "def test_closes(): os.closerange(20, 256)\n"
        "def test_environment(monkeypatch): monkeypatch.setattr(os, 'environ', {'PYTEST_CURRENT_TEST': ''})\n"
        "def test_changes_folder(tmp_path): os.chdir(tmp_path)\n"
        "def test_last(): pass\n"
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        result = harness.run(host, found, project)
    assert not result.deaths
    assert result.counts() == {"passed": 5}


def test_output_that_is_no_text(tmp_path, tree):
    files = {
        "test_a.py": "import os, sys\n"
        "def test_bytes(): os.write(1, b'\\xff\\xfe zero\\0 end'); assert 0\n"
        "def test_long(): print('x' * 6000000); assert 0, 'y' * 3000000\n"
        "def test_surrogate(): assert 'a' == '\\udc80\\ud800'\n"
        "def test_property(record_property): record_property('object', object); record_property('nan', float('nan'))\n"
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree, want_junit=True)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    assert not result.deaths
    told = {nodeid.rpartition("::")[2]: report for (nodeid, _), report in result.reports.items()}
    assert told["test_bytes"]["stdout"].endswith("zero\\x00 end")
    assert "characters left out by ptremote" in told["test_long"]["stdout"]
    assert told["test_surrogate"]["outcome"] == "failed"
    assert told["test_property"]["properties"] == [["object", "<class 'object'>"], ["nan", "nan"]]
