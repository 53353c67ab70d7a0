# SPDX-License-Identifier: Apache-2.0
"""What lives as long as the session, how it ends, and what differs between home and host."""
import os

import harness
import pytest

COUNTING = {
    "conftest.py": "import pytest\n"
    "LOG = []\n"
    "def make(scope):\n"
    "    @pytest.fixture(scope=scope, name=scope + '_thing')\n"
    "    def thing(request):\n"
    "        LOG.append(scope + '+')\n        yield\n        LOG.append(scope + '-')\n"
    "    return thing\n"
    "s, p, m, c, f = map(make, ('session', 'package', 'module', 'class', 'function'))\n"
    "@pytest.fixture(autouse=True)\n"
    "def all_of_them(session_thing, package_thing, module_thing, class_thing, function_thing): pass\n"
    "def pytest_sessionstart(): LOG.append('start')\n"
    "def pytest_sessionfinish(): print('\\nLOG', *LOG); LOG.append('finish')\n"
    "def pytest_unconfigure(): print('END', LOG[-1], LOG.count('finish'))\n",
    "pkg/__init__.py": "",
    "pkg/test_a.py": "class TestA:\n    def test_1(self): pass\n    def test_2(self): pass\ndef test_3(): pass\n",
    "pkg/test_b.py": "def test_4(): pass\n",
    "test_c.py": "def test_5(): pass\n",
}


@pytest.mark.parametrize("size", [1, 3])
def test_fixtures_are_set_up_the_right_number_of_times(tmp_path, tree, size):
    result = harness.compare(tmp_path, COUNTING, "-s", size=size, tree=tree)
    log = [line for line in result.output.splitlines() if line.startswith("LOG")][0].split()
    plain = [line for line in result.plain.text.splitlines() if line.startswith("LOG")][0].split()
    for scope in ("session", "module", "class", "function"):
        for sign in "+-":
            assert log.count(scope + sign) == plain.count(scope + sign), (scope, log)
    assert log.count("session+") == 1 and log.count("start") == 1
    assert log.count("package+") == log.count("package-") <= 3
    if size == 3:
        # One bundle is one plain run, but that the session's fixtures end when the session does.
        assert [word for word in log if "package" in word] == [word for word in plain if "package" in word]
    assert "END finish 1" in result.output


def test_parts_of_a_file(tmp_path, tree):
    """A file that is dealt in parts is imported once a session; its module fixtures live as long as a part."""
    files = {
        "test_a.py": "import pytest\nprint('IMPORTED')\n"
        "@pytest.fixture(scope='module')\ndef m(): print('m+'); yield; print('m-')\n"
        "@pytest.mark.parametrize('i', range(6))\ndef test_a(m, i): pass\n"
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, "-s", tree=tree)
    tests = [(number, nodeid, occurrence) for number, (nodeid, occurrence) in enumerate(found.order)]
    with harness.Host(tmp_path, tree) as host:
        runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project)
        assert runner.start(found.session)
        for number, part in enumerate([tests[3:], tests[:1], [tests[2], tests[1]]]):
            assert runner.bundle([("test_a.py", part)], number)
        assert runner.quit() and runner.exit() == 0
        assert [test for test, _ in runner.of("report")] == [3, 4, 5, 0, 2, 1]
        assert runner.of("done") == [(0,), (1,), (2,)]
        assert runner.of("import") == [(0,), (0,)]
        text = runner.text()
        assert text.count("IMPORTED") == 1 and text.count("m+") == text.count("m-") == 3
        runner.close()


def test_errors_while_the_session_ends(tmp_path, tree):
    files = {
        "conftest.py": "import pytest\n"
        "@pytest.fixture(scope='session')\ndef first(): yield; print('ending'); assert 0, 'the end'\n",
        "test_a.py": "def test_1(first): pass\ndef test_2(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    plain = harness.Plain(project, tree=tree)
    found = harness.collect(project, tree=tree, want_junit=True)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    (note,) = result.of("report")
    assert note["after"] == 1
    report = note["report"]
    assert (report["nodeid"], report["outcome"], report["phase"]) == ("test_a.py::test_2", "error", "teardown")
    (problem,) = report["problems"]
    assert problem["headline"] == "ERROR at teardown of test_2" and problem["headline"] in plain.text
    assert problem["sections"] == [["Captured stdout teardown", "ending\n"]]
    assert report["message"].startswith("AssertionError: the end")
    assert problem["longrepr"].strip("\n") in plain.text and "pluggy" not in problem["longrepr"]
    assert result.counts() == plain.counts() == {"passed": 2, "error": 1}
    assert report["junit"][0][3][0][0] == "error"


@pytest.mark.parametrize("where", ["pytest_sessionfinish", "pytest_unconfigure"])
def test_hooks_that_raise_at_the_end(tmp_path, where):
    files = {"conftest.py": "def %s(): raise ValueError('late')\n" % where, "test_a.py": "def test_1(): pass\n"}
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(harness.write(tmp_path / "calm", {"test_a.py": files["test_a.py"]}))
    with harness.Host(tmp_path) as host:
        runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project)
        assert runner.start(dict(found.session, homes=[project], root=project))
        assert runner.bundle([("test_a.py", [(0, "test_a.py::test_1", 0)])])
        assert runner.quit() and runner.exit() == 0
        (note,) = runner.notes("report")
        assert note["report"]["message"] == "ValueError: late" and note["after"] == 0
        runner.close()


def test_a_message_out_of_place(tmp_path):
    """The runner ends with a word and without ENDED, so that it counts as a death."""
    project = harness.write(tmp_path / "project", {"test_a.py": "def test_1(): pass\n"})
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project)
        assert runner.start(found.session)
        runner.control.send(harness.wire.R_BUNDLE, b"\0\0")
        assert not runner.until("ended") and os.WEXITSTATUS(runner.exit()) == 1
        assert "INTERNALERROR> ptremote.wire.Malformed: message ends too early" in runner.text()
        runner.close()


STOPS = {
    "shouldstop": ("request.session.shouldstop = 'enough'", "enough", "passed"),
    "shouldfail": ("request.session.shouldfail = 'too bad'", "too bad", "passed"),
    "exit": ("pytest.exit('I go')", "I go", "notrun"),
    "interrupt": ("raise KeyboardInterrupt()", "KeyboardInterrupt", "notrun"),
}


@pytest.mark.parametrize("how", sorted(STOPS))
def test_a_session_that_wants_to_stop(tmp_path, tree, how):
    action, reason, outcome = STOPS[how]
    files = {
        "conftest.py": "import pytest\n@pytest.fixture(scope='session', autouse=True)\ndef s(): yield; print('session ends')\n",
        "test_a.py": "import pytest\ndef test_1(): pass\ndef test_2(request): %s\ndef test_3(): pass\n" % action,
        "test_b.py": "def test_4(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, "-s", tree=tree)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    told = result.reports["test_a.py::test_2", 0]
    assert (told["outcome"], told["stop"]) == (outcome, reason)
    assert list(result.outcomes().values()) == ["passed", outcome, "notrun", "notrun"]
    assert result.output.count("session ends") == 1 and not result.deaths


def test_an_internal_error_stops(tmp_path, tree):
    files = {
        "conftest.py": "def pytest_runtest_logreport(report):\n    if 'test_2' in report.nodeid: raise ValueError('plugin')\n",
        "test_a.py": "def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    told = result.reports["test_a.py::test_2", 0]
    assert told["outcome"] == "error" and told["exit"] == 3 and "INTERNALERROR> " in told["longrepr"]
    assert list(result.outcomes().values()) == ["passed", "error", "notrun"]


# ---- what a host has not ----

HOST = "import os\nON_HOST = 'PTREMOTE_WORKER' in os.environ\n"


def both(tmp_path, tree, files, size=1, **request):
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree, **request)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project, size=size)
    result.found = found
    return result


def test_files_that_differ(tmp_path, tree):
    files = {
        "test_a.py": HOST + "import pytest\nif ON_HOST: pytest.importorskip('not_there')\ndef test_1(): pass\ndef test_2(): pass\n",
        "test_b.py": HOST + "if ON_HOST: import not_there\ndef test_3(): pass\n",
        "test_c.py": HOST + "if not ON_HOST:\n    def test_4(): pass\ndef test_5(): pass\n",
        "test_d.py": HOST + "class TestD:\n    if ON_HOST:\n        def __init__(self): pass\n    def test_6(self): pass\ndef test_7(): pass\n",
        "test_e.py": "def test_8(): pass\n",
        "test_f.py": HOST + "if not ON_HOST:\n    def test_9(): pass\n",
    }
    result = both(tmp_path, tree, files, size=3, want_junit=True)
    notes = {note["path"]: note for note in result.of("collect")}
    assert notes["test_a.py"]["outcome"] == "skipped" and "not_there" in notes["test_a.py"]["report"]["message"]
    assert notes["test_a.py"]["report"]["junit"][0][3][0][0] == "skipped"
    assert notes["test_b.py"]["outcome"] == "error" and "No module named 'not_there'" in notes["test_b.py"]["report"]["longrepr"]
    assert notes["test_f.py"]["outcome"] == "error" and "no tests were found" in notes["test_f.py"]["report"]["message"]
    missing = {note["nodeid"]: note for note in result.of("missing")}
    assert set(missing) == {"test_c.py::test_4", "test_d.py::TestD::test_6"}
    assert missing["test_c.py::test_4"]["found"] == ["test_c.py::test_5"]
    assert result.outcomes() == {name: "passed" for name in ("test_c.py::test_5", "test_d.py::test_7", "test_e.py::test_8")}


def test_a_file_that_is_not_there(tmp_path, tree):
    files = {"test_a.py": "def test_1(): pass\n", "test_b.py": "def test_2(): pass\n"}
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    workspace = harness.copy(project, tmp_path / "there")
    os.unlink(os.path.join(workspace, "test_a.py"))
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, workspace, size=2)
    (note,) = result.of("collect")
    assert note["path"] == "test_a.py" and "is not on this host" in note["report"]["message"]
    assert result.outcomes() == {"test_b.py::test_2": "passed"}


def test_a_conftest_below_that_breaks_on_the_host(tmp_path, tree):
    files = {
        "bad/conftest.py": HOST + "if ON_HOST: import not_there\n",
        "bad/test_a.py": "def test_1(): pass\n",
        "good/conftest.py": "import pytest\n@pytest.fixture\ndef g(): return 1\n",
        "good/test_b.py": "def test_2(g): pass\n",
        "test_c.py": "def test_3(): pass\n",
    }
    result = both(tmp_path, tree, files, size=3)
    (note,) = result.of("collect")
    assert note["path"] == "bad/test_a.py" and note["outcome"] == "error"
    assert "not_there" in note["report"]["longrepr"]
    assert result.outcomes() == {"good/test_b.py::test_2": "passed", "test_c.py::test_3": "passed"}


def test_a_broken_conftest(tmp_path, tree):
    files = {"conftest.py": HOST + "if ON_HOST: import not_there\n", "test_a.py": "def test_1(): pass\n"}
    result = both(tmp_path, tree, files)
    assert not result.reports and os.WEXITSTATUS(result.deaths[0][2]) == 1
    assert result.broken.startswith("ImportError while loading conftest '")
    assert "No module named 'not_there'" in result.broken


@pytest.mark.parametrize(
    "code, words",
    [
        ("def pytest_configure(): raise ValueError('no way')", "ValueError: no way"),
        ("def pytest_sessionstart(): raise ValueError('no way')", "ValueError: no way"),
        ("import pytest\ndef pytest_configure(): pytest.exit('not here')", "not here"),
        ("import pytest\ndef pytest_sessionstart(): raise pytest.UsageError('wrong use')", "ERROR: wrong use"),
    ],
)
def test_a_session_that_does_not_start(tmp_path, tree, code, words):
    lines = "".join("    %s\n" % line for line in code.splitlines())
    files = {"conftest.py": HOST + "if ON_HOST:\n" + lines, "test_a.py": "def test_1(): pass\n"}
    result = both(tmp_path, tree, files)
    assert words in result.broken and os.WEXITSTATUS(result.deaths[0][2]) == 1


def test_an_option_that_the_host_does_not_know(tmp_path, tree):
    files = {
        "conftest.py": HOST + "def pytest_addoption(parser):\n    if not ON_HOST: parser.addoption('--only-here')\n",
        "test_a.py": "def test_1(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, "--only-here=1", tree=tree)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    assert "error: unrecognized arguments: --only-here=1" in result.broken


def test_ini_files_above_the_workspace_do_not_count(tmp_path, tree):
    files = {"tests/test_a.py": "def test_1(request): print('root', request.config.rootpath)\n", "setup.cfg": "[tool:pytest]\n"}
    project = harness.write(tmp_path / "home" / "project", files)
    found = harness.collect(project, "tests", tree=tree)
    harness.write(tmp_path / "host", {"pytest.ini": "[pytest]\naddopts = --no-such-option\n"})
    workspace = harness.copy(project, tmp_path / "host" / "workspace")
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, workspace)
    assert result.reports["tests/test_a.py::test_1", 0]["stdout"] == "root %s\n" % workspace


def test_addopts_of_the_environment(tmp_path, tree):
    files = {
        "test_a.py": "def test_1(request, tmp_path):\n"
        "    print(request.config.getoption('basetemp'))\n    assert request.config.option.verbose == 2\n"
    }
    project = harness.write(tmp_path / "home" / "project", files)
    env = {"PYTEST_ADDOPTS": "-vv -n 3 --basetemp=%s/tmp" % project}
    found = harness.collect(project, tree=tree, env=env)
    assert found.one("session")["notes"] == ["options of pytest-xdist are ignored: -n 3"]
    workspace = harness.copy(project, tmp_path / "there")
    with harness.Host(tmp_path, tree, **env) as host:
        result = harness.run(host, found, workspace, env=env)
    assert result.outcomes() == {"test_a.py::test_1": "passed"}, [told.get("longrepr") for told in result.reports.values()]
    assert os.path.isdir(os.path.join(workspace, "tmp"))
    assert not os.path.exists(os.path.join(project, "tmp"))


def test_without_xdist(tmp_path):
    """Its options are accepted where it is not there."""
    files = {"pytest.ini": "[pytest]\naddopts = -n 2 --dist=loadscope --maxprocesses 4 -p no:xdist -p no:xdist.looponfail\n"}
    files["test_a.py"] = "def test_1(request): assert not request.config.pluginmanager.hasplugin('xdist')\n"
    result = both(tmp_path, None, files)
    assert set(result.outcomes().values()) == {"passed"}
    assert result.found.one("session")["notes"] == [
        "options of pytest-xdist are ignored: -n 2 --maxprocesses 4 --dist loadscope"
    ]


def test_what_a_test_sees(tmp_path, tree):
    """A runner is a process as a shell would start it, and a worker in the eyes of plugins."""
    files = {
        "tests/test_a.py": "import os, signal, sys, threading\n"
        "def test_config(request):\n"
        "    config = request.config\n"
        "    assert config.workerinput['workerid'] == 'gw0' and config.invocation_params.args == ('-q',)\n"
        "    assert str(config.invocation_params.dir) == os.getcwd()\n"
        "    assert config.pluginmanager.hasplugin('terminalreporter') and config.pluginmanager.hasplugin('faulthandler')\n"
        "def test_process():\n"
        "    assert os.getpid() == os.getsid(0) == os.getpgrp() and threading.active_count() == 1\n"
        "    assert signal.getsignal(signal.SIGCHLD) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and not signal.pthread_sigmask(0, ())\n"
        "    assert signal.set_wakeup_fd(-1) == -1\n"
        "def test_paths():\n"
        "    assert sys.argv[0].endswith('pytest/__main__.py') and sys.argv[1:] == ['-q']\n"
        "    assert os.getcwd() in sys.path and '' not in sys.path and os.environ['PWD'] == os.getcwd()\n"
        "def test_descriptors():\n"
        "    low = [fd for fd in map(int, os.listdir('/proc/self/fd')) if fd < 500]\n"
        "    names = [os.readlink('/proc/self/fd/%d' % fd) for fd in low if os.path.exists('/proc/self/fd/%d' % fd)]\n"
        "    assert not [name for name in names if name.startswith(('socket:', 'pipe:'))], names\n"
        "    import subprocess\n"
        "    out = subprocess.run(['ls', '/proc/self/fd'], stdout=-1).stdout.split()\n"
        "    assert len(out) <= 4\n"
        "def test_hash(): assert hash('ant') == int(os.environ['EXPECTED'])\n"
        "def test_import():\n    import ptremote\n    assert ptremote.__version__ and 'mpi4py' not in sys.modules\n"
    }
    import subprocess

    command = [harness.PYTHON, "-c", "print(hash('ant'))"]
    expected = subprocess.run(command, env=harness.environment(), stdout=subprocess.PIPE).stdout.decode().strip()
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, "-q", cwd=os.path.join(project, "tests"), tree=tree)
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project, os.path.join(project, "tests"), env={"EXPECTED": expected})
    assert set(result.outcomes().values()) == {"passed"}, [told.get("longrepr") for told in result.reports.values()]


def test_a_test_edited_after_the_collection(tmp_path, tree):
    """The runner imports what is there: same size, other content, other time."""
    files = {"test_a.py": "def test_1(): assert 1\n"}
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    with harness.Host(tmp_path, tree) as host:
        assert harness.run(host, found, project).outcomes() == {"test_a.py::test_1": "passed"}
        harness.write(project, {"test_a.py": "def test_1(): assert 0\n"})
        os.utime(os.path.join(project, "test_a.py"), (1, 1))
        assert harness.run(host, found, project).outcomes() == {"test_a.py::test_1": "failed"}
