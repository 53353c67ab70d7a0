# SPDX-License-Identifier: Apache-2.0
"""Runners as pytest-xdist's workers, the collector as its controller."""
import json
import os
import socket
import subprocess

import pytest

import harness

WORKER = {
    "conftest.py": "import os, pytest\n"
    "SEEN = [os.environ.get('PYTEST_XDIST_' + name) for name in ('WORKER', 'WORKER_COUNT', 'TESTRUNUID')]\n"
    "def pytest_configure(config):\n    config.seen = dict(getattr(config, 'workerinput', {}))\n",
    "test_a.py": "import os, sys\nfrom conftest import SEEN\n"
    "from xdist import get_xdist_worker_id, is_xdist_controller, is_xdist_worker\n"
    "def test_ids(worker_id, testrun_uid, request, tmp_path_factory):\n"
    "    known = request.config.workerinput\n"
    "    assert SEEN == ['gw5', '8', 'uid-1'] and known is not None and request.config.seen == known\n"
    "    assert known['workerid'] == worker_id == get_xdist_worker_id(request) == get_xdist_worker_id(request.session) == 'gw5'\n"
    "    assert known['testrunuid'] == testrun_uid == 'uid-1' and known['workercount'] == 8\n"
    "    assert known['mainargv'][0].endswith('__main__.py')\n"
    "    assert is_xdist_worker(request) and is_xdist_worker(request.session)\n"
    "    assert not is_xdist_controller(request) and not is_xdist_controller(request.session)\n"
    "    base = tmp_path_factory.getbasetemp()\n"
    "    assert base.name == 'popen-gw5' and base.parent.name.startswith('ptremote-tests-'), base\n"
    "    print('BASE', base.parent)\n",
}
WITH = [[], ["-p", "no:xdist", "-p", "no:xdist.looponfail"]]


def node(found, **more):
    return dict(found.session, base=4, count=8, testrun_uid="uid-1", **more)


def run_node(tmp_path, found, project, session, tree=None, rank=1, host=None, **env):
    """One runner, one bundle of all files."""
    files = {}
    for number, (nodeid, occurrence) in enumerate(found.order):
        files.setdefault(nodeid.partition("::")[0], []).append((number, nodeid, occurrence))
    os.makedirs(str(tmp_path / "run"), exist_ok=True)
    env = dict({"PTREMOTE_RUN_DIR": str(tmp_path / "run"), "TMPDIR": str(tmp_path)}, **env)
    runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project, PTREMOTE_WORKER="h0.%d" % rank, **env)
    assert runner.start(session), runner.broken
    assert runner.bundle(list(files.items())), runner.text()
    return runner


def finish(runner):
    assert runner.quit() and runner.exit() == 0, runner.text()
    runner.close()
    return {told["nodeid"]: told for told in runner.reports().values()}


def passed(reports):
    assert {told["outcome"] for told in reports.values()} == {"passed"}, [told.get("longrepr") for told in reports.values()]


@pytest.mark.parametrize("isolate", ["session", "bundle", "test"])
@pytest.mark.parametrize("args", WITH, ids=["loaded", "blocked"])
def test_what_a_worker_sees(tmp_path, tree, args, isolate):
    project = harness.write(tmp_path / "project", WORKER)
    found = harness.collect(project, *args, tree=tree)
    with harness.Host(tmp_path, tree) as host:
        told = finish(run_node(tmp_path, found, project, node(found, isolate=isolate), tree, host=host))
    passed(told)
    assert told["test_a.py::test_ids"]["stdout"].split() == ["BASE", os.readlink(str(tmp_path / "run" / "temp"))]


def test_where_xdist_is_not_installed(tmp_path):
    """Its name is there all the same, in runners and in the collector; the hooks need not be optional."""
    fake = tmp_path / "fake"
    site = os.path.dirname(os.path.dirname(pytest.__file__))
    os.makedirs(str(fake))
    for name in "pytest _pytest pluggy packaging iniconfig attr attrs py".split():
        for name in (name, name + ".py"):
            if os.path.exists(os.path.join(site, name)):
                os.symlink(os.path.join(site, name), str(fake / name))
    files = dict(WORKER)
    files["conftest.py"] += "def pytest_testnodedown(node, error): pass\n"
    files["test_b.py"] = "import sys, xdist\ndef test_it(): assert not hasattr(xdist, '__file__') and 'execnet' not in sys.modules\n"
    project = harness.write(tmp_path / "project", files)
    wrapper = harness.write(tmp_path / "bin", {"python": '#!/bin/sh\nexec %s -S "$@"\n' % harness.PYTHON}) + "/python"
    os.chmod(wrapper, 0o755)
    env = {"PYTHONPATH": str(fake)}
    old, harness.PYTHON = harness.PYTHON, wrapper
    try:
        found = harness.collect(project, env=env)
        with harness.Host(tmp_path, python=wrapper, **env) as host:
            passed(finish(run_node(tmp_path, found, project, node(found), host=host, **env)))
    finally:
        harness.PYTHON = old


def test_workers_of_a_host_share_the_folder_above(tmp_path):
    """And a slot that is started again has an empty one of its own."""
    files = {"test_a.py": "def test_a(tmp_path): print(tmp_path); (tmp_path / 'x').write_text('')\n"}
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    seen = []
    with harness.Host(tmp_path) as host:
        for rank in (0, 1, 1):
            told = finish(run_node(tmp_path, found, project, node(found), rank=rank, host=host))
            seen.append(told["test_a.py::test_a"]["stdout"].strip())
    above = os.readlink(str(tmp_path / "run" / "temp"))
    assert seen == ["%s/popen-%s/test_a0" % (above, name) for name in ("gw4", "gw5", "gw5")]
    assert os.stat(above).st_mode & 0o777 == 0o700


def test_the_folder_of_one_that_was_killed_before_it_made_it(tmp_path, monkeypatch):
    from ptremote import xdist
    monkeypatch.setenv("PTREMOTE_RUN_DIR", str(tmp_path))
    os.symlink(str(tmp_path / "ptremote-tests-1"), str(tmp_path / "temp"))
    assert [xdist.run_folder() for _ in range(2)] == [str(tmp_path / "ptremote-tests-1")] * 2
    assert os.stat(str(tmp_path / "ptremote-tests-1")).st_mode & 0o7777 == 0o700


def test_nodes_of_groups_over_several_hosts(monkeypatch):
    from ptremote import xdist

    monkeypatch.setenv("PTREMOTE_SLOTS", "4")
    inputs = [xdist.pack({"port": port}, "workerinput", 1000) for port in (80, 81)]
    node = xdist.Node({"base": 8, "count": 12, "inputs": inputs}, xdist.SPREAD + 5)
    assert node.id == "gw10000005" and node.input["port"] == 81 and node.controlled
    assert xdist.Node({"base": 8, "count": 12}, 6).id == "gw22"


def test_input_and_output(tmp_path):
    """What the controller gives is there before plugins are configured; what the session leaves comes back."""
    files = {
        "conftest.py": "def pytest_configure(config):\n    if hasattr(config, 'workerinput'):\n"
        "        assert config.workerinput['things'] == [1, None, {'b': b'\\x00\\xff'}]\n"
        "def pytest_sessionfinish(session): session.config.workeroutput['left'] = {'b': b'\\x00', 't': (1, 2.5)}\n",
        "test_a.py": "def test_a(): pass\n",
    }
    from ptremote import xdist

    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    given = xdist.pack({"things": [1, None, {"b": b"\x00\xff"}], "workerid": "gw9"}, "workerinput", 1000)
    session = node(found, inputs=[None, given], want_output=True)
    with harness.Host(tmp_path) as host:
        runner = run_node(tmp_path, found, project, session, host=host)
        passed(finish(runner))
    (note,) = runner.notes("workeroutput")
    assert note["node"] == "gw5" and note["info"]["version_info"][0] == 3
    assert xdist.unpack(note["output"]) == {"exitstatus": 0, "left": {"b": b"\x00", "t": [1, 2.5]}}


@pytest.mark.parametrize("value, words", [("object()", "workeroutput['x']: a value of type object"), ("'x' * (4 << 20)", "too much")])
def test_output_that_cannot_travel(tmp_path, value, words):
    files = {
        "conftest.py": "def pytest_sessionfinish(session): session.config.workeroutput['x'] = %s\n" % value,
        "test_a.py": "def test_a(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        runner = run_node(tmp_path, found, project, node(found, want_output=True), host=host)
        passed(finish(runner))
    (note,) = runner.notes("workeroutput")
    assert words in note["problem"] and "output" not in note


@pytest.mark.parametrize(
    "value, words",
    [
        ({1: 2}, "x: a key of type int"),
        ({"a": [0, {"b": object()}]}, "x['a'][1]['b']: a value of type object"),
        ({"a": "y" * 1000}, "too much"),
    ],
)
def test_values_that_cannot_travel(value, words):
    from ptremote import xdist

    with pytest.raises(xdist.Unsendable) as caught:
        xdist.pack(value, "x", 1000)
    assert words in str(caught.value)
    deep = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(xdist.Unsendable):
        xdist.pack(deep, "x", 1000)


# ---- the controller ----


class Controller:
    """The master's side of a collector that stays."""

    def __init__(self, folder, *args, **env):
        read_end, write_end = os.pipe()
        lines_out, lines_in = os.pipe()
        self.asked, theirs = socket.socketpair()
        request = {"args": list(args), "out_fd": lines_in, "ask_fd": theirs.fileno(), "project": str(folder)}
        self.child = subprocess.Popen(
            [harness.PYTHON, "-c", harness.COLLECT, harness.SOURCE, str(read_end)],
            pass_fds=(read_end, lines_in, theirs.fileno()),
            cwd=str(folder),
            env=harness.environment(**env),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        for fd in (read_end, lines_in):
            os.close(fd)
        theirs.close()
        with os.fdopen(write_end, "wb") as sink:
            sink.write(json.dumps(request).encode() + b"\n")
        self.source = harness.Lines(lines_out)
        self.lines = []
        self.passed_over = []

    def ask(self, kind, **values):
        self.asked.sendall(json.dumps(dict(values, t=kind)).encode() + b"\n")

    def until(self, kind):
        """The first line of that kind that was not taken before: what is asked while files are collected may be
        answered before the last of them is told, or after."""
        for line in self.passed_over:
            if line["t"] == kind:
                self.passed_over.remove(line)
                return line
        for line in self.source:
            self.lines.append(json.loads(line))
            if self.lines[-1]["t"] == kind:
                return self.lines[-1]
            self.passed_over.append(self.lines[-1])
        raise AssertionError((kind, self.lines, self.child.stderr.read().decode()))

    def configure(self, number=3):
        self.ask("node", id="gw%d" % number, host="h1", uid="uid-1", count=8)
        return self.until("node")

    def end(self, failed=0, collected=1):
        self.ask("end", failed=failed, collected=collected)
        ended = self.until("ended")
        self.close()
        return ended.get("exit"), [line["line"] for line in self.lines if line["t"] == "text"]

    def close(self):
        self.asked.close()
        self.source.close()
        self.child.stderr.close()
        assert self.child.wait(harness.DEADLINE) == 0


PLUGIN = {
    "conftest.py": "import json\nLOG = []\n"
    "def pytest_configure_node(node):\n"
    "    assert node.gateway.id == node.gateway.spec.id == node.workerinput['workerid'] and node.gateway.spec.ssh == 'h1'\n"
    "    assert not node.gateway.spec.popen and node.nodemanager.testrunuid == node.workerinput['testrunuid'] == 'uid-1'\n"
    "    assert [str(root) for root in node.nodemanager.roots] == [str(node.config.rootpath)]\n"
    "    assert node.config.pluginmanager and node.nodemanager.config is node.config\n"
    "    node.workerinput['port'] = 7 + node.workerinput['workercount']\n"
    "    LOG.append('configure ' + node.gateway.id)\n"
    "def pytest_testnodeready(node): LOG.append('ready ' + node.gateway.id)\n"
    "def pytest_testnodedown(node, error):\n"
    "    LOG.append('down %s %s %s' % (node.gateway.id, getattr(node, 'workeroutput', None), error))\n"
    "def pytest_sessionfinish(session, exitstatus): LOG.append('finish %d' % exitstatus)\n"
    "def pytest_terminal_summary(terminalreporter):\n"
    "    terminalreporter.section('ours')\n    for line in LOG: terminalreporter.line(line)\n",
    "test_a.py": "def test_a(): pass\n",
}


@pytest.mark.parametrize("args", WITH, ids=["loaded", "blocked"])
def test_a_controller(tmp_path, args):
    project = harness.write(tmp_path / "project", PLUGIN)
    there = Controller(project, *args)
    assert there.until("session")["nodes"] is True
    from ptremote import xdist

    known = xdist.unpack(there.configure()["input"])
    assert {key: known[key] for key in ("workerid", "workercount", "testrunuid", "port")} == {
        "workerid": "gw3",
        "workercount": 8,
        "testrunuid": "uid-1",
        "port": 15,
    }
    there.configure(4)
    there.ask("ready", id="gw3")
    there.ask("ready", id="gw3")
    there.ask("down", id="gw3", output=xdist.pack({"a": b"1"}, "x", 100), info={"version_info": [3, 11, 2], "platform": "linux"})
    there.ask("down", id="gw4", error="Not properly terminated")
    there.ask("down", id="gw77", error="nobody knows it")
    status, text = there.end(failed=2, collected=5)
    assert status is None
    assert text[0].strip("= ") == "ours"
    assert text[1:] == [
        "configure gw3",
        "configure gw4",
        "ready gw3",
        "down gw3 {'a': b'1'} None",
        "ready gw4",
        "down gw4 None Not properly terminated",
        "finish 1",
    ]


def test_only_where_a_plugin_wants_to_know(tmp_path):
    project = harness.write(tmp_path / "project", {"test_a.py": "def test_a(): pass\n"})
    there = Controller(project)
    assert "nodes" not in there.until("session")
    there.until("final")
    there.close()


def test_answers_while_files_are_collected(tmp_path):
    """A host need not wait for the end of the collection."""
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\ndef test_a(): pass\n"
    files = dict(PLUGIN, **{"test_b.py": wait, "test_c.py": "def test_c(): pass\n"})
    project = harness.write(tmp_path / "project", files)
    there = Controller(project)
    there.until("session")
    while there.until("importing")["path"] != "test_b.py":
        pass
    there.ask("node", id="gw0", host="h1", uid="uid-1", count=2)
    harness.write(project, {"go": ""})
    there.until("final")
    kinds = [line["t"] for line in there.lines if line["t"] in ("node", "final")]
    assert kinds == ["node", "final"] and there.end()[0] is None


@pytest.mark.parametrize(
    "hook, words",
    [
        ("node.workerinput['x'] = {'y': object()}", "pytest_configure_node of gw3: workerinput['x']['y']: a value of type object"),
        ("raise ValueError('no node today')", "ValueError: no node today"),
    ],
)
def test_a_node_that_cannot_be_configured(tmp_path, hook, words):
    files = {"conftest.py": "def pytest_configure_node(node): %s\n" % hook, "test_a.py": "def test_a(): pass\n"}
    there = Controller(harness.write(tmp_path / "project", files))
    answer = there.configure()
    assert words in answer["error"] and "input" not in answer
    assert there.end()[0] is None


def test_a_plugin_that_breaks_at_the_end(tmp_path):
    files = {"conftest.py": "def pytest_testnodedown(node, error): 1 / 0\n", "test_a.py": "def test_a(): pass\n"}
    there = Controller(harness.write(tmp_path / "project", files))
    there.configure()
    there.ask("down", id="gw3", error="gone")
    status, text = there.end()
    assert status == 3 and text[-1] == "INTERNALERROR> ZeroDivisionError: division by zero"


def test_an_exit_status_of_a_plugin(tmp_path):
    files = {
        "conftest.py": "def pytest_testnodedown(node, error): pass\n"
        "def pytest_sessionfinish(session): session.exitstatus = 9\n",
        "test_a.py": "def test_a(): pass\n",
    }
    there = Controller(harness.write(tmp_path / "project", files))
    assert there.end()[0] == 9


def test_nobody_left_to_ask(tmp_path):
    there = Controller(harness.write(tmp_path / "project", PLUGIN))
    there.until("final")
    there.asked.close()
    assert there.child.wait(harness.DEADLINE) == 1
    there.source.close()
    there.child.stderr.close()


def test_a_collector_on_a_host_controls_nothing(tmp_path):
    project = harness.write(tmp_path / "project", PLUGIN)
    found = harness.collect(project)
    assert found.one("session")["notes"] == ["with --collect=remote nothing is told of the workers to: conftest.py"]
    assert "nodes" not in found.one("session") and len(found.order) == 1


def test_who_is_the_controller(tmp_path):
    """In the collector the functions agree too, and its environment is no worker's."""
    text = "import os, xdist\ndef pytest_collection_finish(session):\n"
    text += "    seen = xdist.is_xdist_worker(session), xdist.is_xdist_controller(session), xdist.get_xdist_worker_id(session)\n"
    text += "    open('seen', 'w').write(repr((seen, os.environ.get('PYTEST_XDIST_WORKER'))))\n"
    for args in WITH:
        project = harness.write(tmp_path / "project", {"conftest.py": text, "test_a.py": "def test_a(): pass\n"})
        harness.collect(project, *args, env={"PYTEST_XDIST_WORKER": "gw99"})
        with open(os.path.join(project, "seen")) as file:
            assert file.read() == "((False, True, 'master'), None)"


# ---- plugins ----


def test_coverage(tmp_path):
    """Both sides of pytest-cov, on folders that are not the same."""
    pytest.importorskip("pytest_cov")
    files = {
        "pkg.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n",
        "test_a.py": "import pkg\ndef test_a(): assert pkg.one() == 1\n",
        "test_b.py": "import pkg\ndef test_b(): assert pkg.two() == 2\n",
    }
    home = harness.write(tmp_path / "home", files)
    workspace = harness.copy(home, tmp_path / "there")
    args = ["--cov=pkg", "--cov-report=term-missing", "--cov-report=xml", "--cov-fail-under=90"]
    there = Controller(home, *args)
    session = there.until("session")
    assert session["nodes"] is True
    inputs = [there.configure(4)["input"], there.configure(5)["input"]]
    there.until("final")
    found = harness.Collected(there.lines, 0, "")
    with harness.Host(tmp_path) as host:
        for isolate, rank, name in (("session", 0, "a"), ("test", 1, "b")):
            found.lines = [dict(line, order=[["test_%s.py::test_%s" % (name, name), 0]]) if line["t"] == "final" else line for line in there.lines]
            given = node(found, inputs=inputs, want_output=True, isolate=isolate)
            runner = run_node(tmp_path, found, workspace, given, rank=rank, host=host)
            passed(finish(runner))
            (note,) = runner.notes("workeroutput")
            there.ask("down", id=note["node"], output=note["output"], info=note["info"])
    status, text = there.end(collected=2)
    told = "\n".join(text)
    assert "platform linux, python 3." in told and "failed workers" not in told
    assert any(line.split() == ["pkg.py", "6", "1", "83%", "10"] for line in text), told
    assert "FAIL Required test coverage of 90% not reached" in told and status == 1
    assert os.path.exists(os.path.join(home, "coverage.xml")) and os.path.exists(os.path.join(home, ".coverage"))
    assert not [name for name in os.listdir(workspace) if name.startswith(".coverage")]
    assert not [name for name in os.listdir(home) if name.startswith(".coverage.")]


def test_coverage_without_a_controller(tmp_path):
    pytest.importorskip("pytest_cov")
    project = harness.write(tmp_path / "project", {"test_a.py": "def test_a(): pass\n"})
    found = harness.collect(project, "--cov")
    assert found.one("session")["notes"] == ["with --collect=remote nothing is told of the workers to: pytest-cov"]
    with harness.Host(tmp_path) as host:
        passed(finish(run_node(tmp_path, found, project, node(found), host=host)))
    assert not os.path.exists(os.path.join(project, ".coverage"))


def test_reruns(tmp_path):
    """pytest-rerunfailures starts no server and looks for none."""
    pytest.importorskip("pytest_rerunfailures")
    files = {"test_a.py": "import threading\nseen = []\ndef test_a():\n    seen.append(1)\n    assert len(seen) == 3 and threading.active_count() == 1\n"}
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, "--reruns=3")
    assert "nodes" not in found.one("session") and "notes" not in found.one("session")
    with harness.Host(tmp_path) as host:
        told = finish(run_node(tmp_path, found, project, node(found), host=host))
    assert told["test_a.py::test_a"]["outcome"] == "passed" and told["test_a.py::test_a"]["counts"] == {"rerun": 2, "passed": 1}
