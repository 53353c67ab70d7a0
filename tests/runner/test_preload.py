# SPDX-License-Identifier: Apache-2.0
"""Modules that the fork server imports ahead: which it takes, and that nobody can tell."""
import os

import harness
import pytest
from test_isolate import children

MODULES = {
    "good/__init__.py": "from good import part\n",
    "good/part.py": "X = 1\n",
    "threads.py": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
    "sockets.py": "import socket\nS = socket.socket()\n",
    "opens.py": "import os\nF = open(os.__file__)\n",
    "starts.py": "import subprocess\nP = subprocess.Popen(['sleep', '1000'])\n",
    "raises.py": "1/0\n",
    "exits.py": "import sys\nsys.exit(0)\n",
    "leaves.py": "import os\nos._exit(0)\n",
    "crashes.py": "import os\nos.abort()\n",
    "prints.py": "print('hello')\n",
    "warns.py": "import warnings\nwarnings.warn('old', DeprecationWarning)\n",
    "environ.py": "import os\nos.environ['NEW'] = '1'\n",
    "path.py": "import sys\nsys.path.append('/nowhere')\n",
    "folder.py": "import os\nos.chdir('/')\n",
    "handler.py": "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n",
    "far/MPI.py": "",
    "far/__init__.py": "",
    "brings.py": "import far.MPI\n",
    "filters.py": "import warnings\nwarnings.simplefilter('error')\n",
    "last.py": "import good\n",
}


@pytest.fixture
def site(tmp_path):
    return harness.write(tmp_path / "site", MODULES)


def test_what_is_taken(tmp_path, site):
    names = sorted({name.partition("/")[0].partition(".")[0] for name in MODULES} - {"far"}) + ["absent", "far.MPI", "torch"]
    with harness.Host(tmp_path, site, preload=",".join(names)) as host:
        found = host.preloaded(len(names) - 2)
        taken = {name for name, verdict in found.items() if verdict == "kept"}
        assert taken == {"good", "last", "filters"}, found
        expected = {
            "threads": "the number of threads",
            "sockets": "descriptors",
            "opens": "descriptors",
            "starts": "it changes",
            "raises": "ZeroDivisionError",
            "exits": "SystemExit",
            "leaves": "ended the process",
            "crashes": "ended the process",
            "prints": "it prints",
            "warns": "it warns: old",
            "environ": "the environment",
            "path": "sys.path",
            "folder": "working directory",
            "handler": "handler",
            "brings": "far.MPI",
            "absent": "No module named",
        }
        for name, words in expected.items():
            assert words in found[name], (name, found[name])
        with open("/proc/%d/status" % host.process.pid) as file:
            assert "Threads:\t1\n" in file.read()
        assert harness.wait_for(lambda: not children(host.process.pid))
        project = harness.write(tmp_path / "project", {"test_a.py": SEES})
        result = harness.run(host, harness.collect(project, tree=site), project)
        assert result.counts() == {"passed": 1}, result.reports
        assert set(result.reports["test_a.py::test_1", 0]["stdout"].split()) == {"good", "good.part", "last", "filters"}


SEES = (
    "import sys, warnings, os\nHERE = [name for name in sys.modules if name.partition('.')[0] in (%s)]\n"
    % ", ".join(repr(name.partition(".")[0]) for name in sorted(MODULES) if "/" not in name or "init" in name)
).replace("'good/__init__'", "'good'").replace("'far/__init__'", "'far'") + (
    "def test_1():\n    print(*HERE)\n    assert 'NEW' not in os.environ and '/nowhere' not in sys.path\n"
    "    assert not any(entry[0] == 'error' and entry[1] is None and entry[2] is Warning for entry in warnings.filters)\n"
)


def test_connections_are_served_while_an_import_hangs(tmp_path):
    site = harness.write(
        tmp_path / "site",
        {"slow.py": "import os\nos.mkfifo('%s/new'); os.rename('%s/new', '%s/fifo'); open('%s/fifo')\n" % ((tmp_path,) * 4)},
    )
    project = harness.write(tmp_path / "project", {"test_a.py": "def test_1(): pass\n"})
    found = harness.collect(project)
    with harness.Host(tmp_path, site, preload="slow") as host:
        assert harness.wait_for(lambda: os.path.exists(str(tmp_path / "fifo")))
        assert harness.run(host, found, project).counts() == {"passed": 1}
        (trial,) = children(host.process.pid)
    assert harness.gone(trial)


def test_an_import_that_takes_too_long(tmp_path, monkeypatch):
    from ptremote import preload

    site = harness.write(tmp_path / "site", {"slow.py": "import time\ntime.sleep(1000)\n", "fine.py": ""})
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(preload, "TIME_LIMIT", 2)  # fine.py has it too
    trial = preload.Trial(["slow", "fine"], lambda: None)
    while trial.fd is not None:
        if not trial.late():
            harness.wait_for(lambda: trial.fd is None or trial.hear() or trial.late(), 0.05)
    assert trial.good == ["fine"]
    assert "takes longer" in trial.said[0] and trial.said[1].endswith("kept")


@pytest.mark.parametrize("where", [".", "src"])
@pytest.mark.parametrize("text", ["OURS = 1\n"])
def test_a_module_of_the_project_is_its_own(tmp_path, site, where, text):
    """Hidden behind one of the project, what was imported ahead is not there."""
    files = {
        os.path.join(where, "good.py"): text,
        "conftest.py": "import sys\nsys.path.insert(0, 'src')\n" if where == "src" else "",
        "test_a.py": "import good, os\ndef test_1(): assert good.OURS == 1; print(os.environ['PTREMOTE_WORKER'])\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=site)
    with harness.Host(tmp_path, site, preload="good,last") as host:
        assert set(host.preloaded(2).values()) == {"kept"}
        result = harness.run(host, found, project)
        assert result.counts() == {"passed": 1}, [told.get("longrepr") for told in result.reports.values()]
        assert result.reports["test_a.py::test_1", 0]["stdout"] == "h0.0\n" and not result.deaths


def test_a_module_in_the_workspace_is_not_taken(tmp_path):
    project = harness.write(tmp_path / "project", {"ours.py": "", "test_a.py": ""})
    with harness.Host(tmp_path, project, preload="ours", PTREMOTE_WORKSPACE=project) as host:
        assert "of the project" in host.preloaded(1)["ours"]


OUTCOMES = {
    "conftest.py": "import warnings\n",
    "test_a.py": "import good, sys, warnings, signal, locale, pytest\n"
    "def test_1(): assert good.part.X == 1\n"
    "def test_2(): warnings.warn('mine'); assert 0\n"
    "def test_3(): print(len(warnings.filters), signal.getsignal(signal.SIGINT) is signal.default_int_handler, sys.path[0])\n"
    "@pytest.mark.parametrize('i', range(3))\ndef test_4(i): assert i\n",
}


@pytest.mark.parametrize("how", ["session", "bundle", "test"])
def test_the_same_outcomes(tmp_path, site, how):
    project = harness.write(tmp_path / "project", OUTCOMES)
    found = harness.collect(project, tree=site)
    told = []
    for preload in ("none", "good,filters,last"):
        folder = tmp_path / ("with" if preload == "none" else "without")
        folder.mkdir()
        with harness.Host(folder, site, preload=preload) as host:
            assert set(host.preloaded(0 if preload == "none" else 3).values()) <= {"kept"}
            result = harness.run(host, found, project, isolate=how)
            reports = {key: (one["outcome"], one.get("stdout"), one.get("longrepr")) for key, one in result.reports.items()}
            warnings = [(note["message"], note["filename"], note["lineno"]) for note in result.of("warning")]
            told.append((reports, warnings, result.counts()))
    assert told[0] == told[1] and told[0][1]


def test_numpy_draws_other_numbers_in_each_runner(tmp_path):
    pytest.importorskip("numpy")
    project = harness.write(tmp_path / "project", {"test_a.py": "import numpy\ndef test_1(): print(numpy.random.random())\n"})
    found = harness.collect(project)
    with harness.Host(tmp_path, preload="numpy") as host:
        if host.preloaded(1)["numpy"] != "kept":
            pytest.skip("this numpy starts threads")
        results = [harness.run(host, found, project) for _ in range(2)]
        assert len({result.reports["test_a.py::test_1", 0]["stdout"] for result in results}) == 2


def test_modules_of_a_suite_that_go_and_that_raise(tmp_path):
    """A module that was there when one file came is gone when the next does; another raises when it is looked at."""
    part = "import sys, helper\nclass Wild:\n    __module__ = property(lambda self: 1 / 0)\nwild = Wild()\ndef test_1(): %s\n"
    project = harness.write(
        tmp_path / "project",
        {
            "helper/__init__.py": "from helper import inner\nfrom helper.inner import function\n",
            "helper/inner.py": "def function(): pass\n",
            "test_a.py": part % "del sys.modules['helper.inner']",
            "test_b.py": part % "pass",
            "test_c.py": part % "pass",
        },
    )
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        result = harness.run(host, found, project)
    assert {one["outcome"] for one in result.reports.values()} == {"passed"} and len(result.reports) == 3
