# SPDX-License-Identifier: Apache-2.0
"""Marks of MPI, and runners that are ranks of a real mpirun."""
import os
import re
import shutil
import signal
import socket
import subprocess

import harness
import pytest

wire = harness.wire
HEAD = "import os, sys, time, pytest, ptremote\n"
needs_mpi = pytest.mark.skipif(
    not shutil.which("mpirun")
    or subprocess.run([harness.PYTHON, "-c", "import mpi4py"], stderr=subprocess.DEVNULL).returncode != 0,
    reason="no mpirun or no mpi4py",
)


def traits(found):
    return {test[0]: test[2] if len(test) > 2 else {} for line in found.of("file") for test in line["tests"]}


def entries(found):
    """The bundle of all that was collected."""
    files = {}
    for number, (nodeid, occurrence) in enumerate(found.order):
        files.setdefault(nodeid.partition("::")[0], []).append((number, nodeid, occurrence))
    return list(files.items())


@pytest.fixture(params=["", "spread"])
def group(request, tmp_path):
    """group(files, size) -> (a Group that is up, the bundle of all its tests); of one host, and of several."""
    opened = []

    def make(files, size, *args, start=True, session=None, **env):
        project = str(tmp_path / "project")
        if not opened:
            harness.write(project, files)
            run = tmp_path / "run"
            run.mkdir()
            opened.append(harness.Host(tmp_path, PTREMOTE_RUN_DIR=str(run)))
            opened.append(harness.collect(project, *args, want_junit=True))
        host, found = opened[:2]
        assert found.of("final"), (found.lines, found.stderr)
        one = harness.Group(host, size, project, far=host if make.spread else None, **env)
        opened.append(one)
        one.found = found
        if start:
            assert one.start(dict(found.session, count=4, **(session or {}))), [m.broken for m in one.members]
        return one, entries(found)

    make.run, make.spread = tmp_path / "run", bool(request.param)
    yield make
    groups = [one for one in opened if isinstance(one, harness.Group)]
    tidy = bool(groups) and all(one.ended() for one in groups)
    if tidy:  # rank 0 removes their folder after it said so
        for one in groups:
            one.exits()
    for one in reversed(opened):
        if hasattr(one, "close"):
            one.close()
    assert not tidy or not [name for name in os.listdir(tmp_path / "run") if name.startswith("ranks-")]


# ---- marks ----

MARKED = {
    "test_a.py": HEAD + "import pytest_parallel\n"
    "@ptremote.mark.parallel(2)\ndef test_two(comm): pass\n"
    "@ptremote.mark.parallel([2, 4], slots=8)\ndef test_list(comm): pass\n"
    "@pytest.mark.parametrize('val', [3, 4])\n@pytest_parallel.mark.parallel([1, 2])\ndef test_combined(comm, val): pass\n"
    "@ptremote.mark.parallel(3, exclusive_numa_domain=True)\ndef test_numa(comm): pass\n"
    "@ptremote.mark.parallel_from_context\ndef test_all(comm): pass\n"
    "@ptremote.mark.parallel(2)\n@ptremote.mark.weight(5)\ndef test_heavy(): pass\n"
    "@pytest.mark.parametrize('comm', [2], indirect=['comm'])\ndef test_equivalent(comm): pass\n"
    "@ptremote.mark.parallel(2)\n@pytest.mark.parametrize('x', [1])\ndef test_unnamed(x): pass\n"
    "@ptremote.mark.parallel(2)\nclass TestClass:\n    def test_in(self, comm): pass\n    def test_too(self): pass\n"
    "def test_plain(): assert 'mpi4py' not in sys.modules\n",
    "test_b.py": HEAD + "pytestmark = ptremote.mark.parallel(3)\ndef test_module(comm): pass\n",
    "test_own.py": HEAD + "@pytest.fixture\ndef comm(request): return request.param\n"
    "@pytest.mark.parametrize('comm', [2], indirect=['comm'])\ndef test_other(comm): assert comm == 2\n",
}


def test_traits(tmp_path, tree):
    found = harness.collect(harness.write(tmp_path / "project", MARKED), tree=tree)
    assert found.of("final"), (found.lines, found.stderr)
    told = {nodeid.partition("::")[2]: what for nodeid, what in traits(found).items()}
    scope = told["TestClass::test_in[2]"].pop("scope")
    assert scope == len("test_a.py::TestClass") == told["TestClass::test_too[2]"].pop("scope")
    assert told == {
        "test_two[2]": {"ranks": 2, "weight": 2},
        "test_list[2]": {"ranks": 2, "weight": 8},
        "test_list[4]": {"ranks": 4, "weight": 8},
        "test_combined[1-3]": {},
        "test_combined[1-4]": {},
        "test_combined[2-3]": {"ranks": 2, "weight": 2},
        "test_combined[2-4]": {"ranks": 2, "weight": 2},
        "test_numa[3]": {"ranks": 3, "weight": 3, "numa": True},
        "test_all[all]": {"ranks": 0},
        "test_heavy[2]": {"ranks": 2, "weight": 5},
        "test_equivalent[2]": {"ranks": 2, "weight": 2},
        "test_unnamed[1-2]": {"ranks": 2, "weight": 2},
        "TestClass::test_in[2]": {"ranks": 2, "weight": 2},
        "TestClass::test_too[2]": {"ranks": 2, "weight": 2},
        "test_plain": {},
        "test_module[3]": {"ranks": 3, "weight": 3},
        "test_other[2]": {},
    }


WRONG = {
    "parallel(0)": "want a number of ranks from 1 to 4096, got 0",
    "parallel('two')": "want a number of ranks from 1 to 4096, got 't'",
    "parallel(True)": "want a number of ranks from 1 to 4096, got True",
    "parallel([2, 5000])": "want a number of ranks from 1 to 4096, got 5000",
    "parallel(4, slots=3)": "want slots from 4 (the ranks) to 65536, got 3",
}


@pytest.mark.parametrize("call", sorted(WRONG))
def test_wrong_marks(tmp_path, call):
    files = {"test_a.py": HEAD + "@ptremote.mark.%s\ndef test_1(comm): pass\n" % call, "test_b.py": "def test_2(): pass\n"}
    found = harness.collect(harness.write(tmp_path / "project", files))
    (told,) = found.of("report")
    assert WRONG[call] in told["message"] and found.order == [("test_b.py::test_2", 0)]


def test_a_wrong_number_by_parametrize(tmp_path):
    files = {
        "test_a.py": HEAD + "@pytest.mark.parametrize('comm', [-1, 2], indirect=['comm'])\ndef test_1(comm): pass\n"
    }
    found = harness.collect(harness.write(tmp_path / "project", files))
    (told,) = found.of("report")
    assert "want a number of ranks" in told["message"] and found.order == [("test_a.py::test_1[2]", 0)]


def test_nothing_imports_mpi4py(tmp_path):
    """Neither ptremote nor our pytest_parallel."""
    code = "import sys, ptremote, pytest_parallel, pytest_parallel.plugin; ptremote.mark.parallel(2)"
    code += "; sys.exit(any(name.startswith('mpi4py') for name in sys.modules))"
    env = harness.environment(PYTHONPATH=harness.SOURCE)
    assert subprocess.run([harness.PYTHON, "-c", code], env=env).returncode == 0
    code = "import sys, ptremote; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([harness.PYTHON, "-c", code], env=env).returncode == 0


def test_an_installed_pytest_parallel_is_not_used(tmp_path):
    """With its entry point, options and all. Also where the suite's ini file has its options."""
    site = harness.write(
        tmp_path / "site",
        {
            "pytest_parallel/__init__.py": "raise RuntimeError('the installed one')\n",
            "pytest_parallel/plugin.py": "",
            "pytest_parallel-1.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: pytest_parallel\nVersion: 1.3\n",
            "pytest_parallel-1.3.dist-info/RECORD": "pytest_parallel/__init__.py,,\npytest_parallel/plugin.py,,\n",
            "pytest_parallel-1.3.dist-info/entry_points.txt": "[pytest11]\nparallel = pytest_parallel.plugin\n",
        },
    )
    files = {
        "pytest.ini": "[pytest]\naddopts = --scheduler=static --timeout=100 --n-workers=2\n",
        "test_a.py": "import pytest_parallel\n@pytest_parallel.mark.parallel(2)\ndef test_a(comm): pass\n"
        "def test_b(pytestconfig):\n    assert pytestconfig.pluginmanager.has_plugin('parallel')\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, env={"PYTHONPATH": site})
    assert len(found.order) == 2 and not found.of("warning"), (found.lines, found.stderr)
    with harness.Host(tmp_path, PYTHONPATH=site) as host:
        runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project)
        assert runner.start(found.session), runner.broken
        assert runner.bundle([("test_a.py", [(1, "test_a.py::test_b", 0)])])
        assert runner.reports()[1]["outcome"] == "passed" and not runner.notes("warning")
        runner.close()


# ---- one rank ----


@needs_mpi
def test_one_rank_in_an_ordinary_runner(tmp_path):
    files = {
        "test_a.py": HEAD + "@ptremote.mark.parallel(1)\ndef test_one(comm, mpi_tmpdir):\n"
        "    from mpi4py import MPI\n    assert comm == MPI.COMM_WORLD and comm.size == 1 and mpi_tmpdir.is_dir()\n"
        "    (mpi_tmpdir / 'x').write_text('')\n"
        "    (mpi_tmpdir.parent / 'where').write_text(str(mpi_tmpdir))\n"
        "@ptremote.mark.parallel(2)\ndef test_two(comm): pass\n"
        "@ptremote.mark.parallel_from_context\ndef test_all(comm): assert comm.size == 1\n"
        "def test_unmarked(comm): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with harness.Host(tmp_path, TMPDIR=str(temporary)) as host:
        result = harness.run(host, found, project)
    told = {nodeid.rpartition("::")[2]: told for (nodeid, _), told in result.reports.items()}
    assert told["test_one[1]"]["outcome"] == told["test_all[all]"]["outcome"] == "passed", told
    assert told["test_two[2]"]["outcome"] == "skipped"
    assert told["test_two[2]"]["message"] == "Not enough procs to execute: 2 required but only 1 available"
    assert (told["test_unmarked"]["outcome"], told["test_unmarked"]["phase"]) == ("error", "setup")
    assert "this one says no number of ranks" in told["test_unmarked"]["message"]
    assert not os.path.exists((temporary / "where").read_text())


@needs_mpi
@pytest.mark.parametrize("chosen", ["", "mine"])
def test_each_world_of_one_has_a_folder_of_its_own(tmp_path, chosen):
    """Unless the user has chosen one."""
    place = tmp_path / "run"
    base = place / chosen
    base.mkdir(parents=True)
    files = {
        "test_a.py": HEAD + "@ptremote.mark.parallel(1)\ndef test_one(comm):\n"
        "    (folder,) = glob.glob(%r + '/ompi.*')\n"
        "    assert os.environ['OMPI_MCA_orte_tmpdir_base'] == os.path.dirname(folder)\n"
    }
    files["test_a.py"] = "import glob\n" + files["test_a.py"] % str(base if chosen else place / "alone-*")
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project)
    with harness.Host(tmp_path, PTREMOTE_RUN_DIR=str(place), OMPI_MCA_orte_tmpdir_base=str(base)) as host:
        result = harness.run(host, found, project)
    (told,) = result.reports.values()
    assert told["outcome"] == "passed", told


PLAIN = {
    "conftest.py": "pytest_plugins = ['ptremote']\n",
    "test_a.py": HEAD + "@ptremote.mark.parallel([1, 2, 3])\ndef test_sizes(comm):\n"
    "    assert comm.allreduce(1) == comm.size\n    print('ran', comm.size)\n"
    "@ptremote.mark.parallel(2)\ndef test_folder(mpi_tmpdir, comm):\n"
    "    assert len(set(comm.allgather(str(mpi_tmpdir)))) == 1 and mpi_tmpdir.is_dir()\n"
    "@ptremote.mark.parallel(2)\ndef test_world():\n"
    "    from mpi4py import MPI\n    assert MPI.COMM_WORLD.allreduce(1) == 2\n",
}


@needs_mpi
def test_plain_pytest(tmp_path):
    project = harness.write(tmp_path, PLAIN)
    env = harness.environment(PYTHONPATH=harness.SOURCE, **harness.AS_ROOT)
    command = [harness.PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-v"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=harness.DEADLINE)
    assert "1 passed, 4 skipped" in done.stdout, done.stdout
    assert "Not enough procs to execute: 3 required but only 1 available" in done.stdout
    assert re.search(r"test_sizes\[1\] PASSED", done.stdout)


@needs_mpi
def test_plain_pytest_under_mpirun(tmp_path):
    project = harness.write(tmp_path, PLAIN)
    env = harness.environment(PYTHONPATH=harness.SOURCE, **harness.AS_ROOT)
    command = [*harness.MPIRUN, "-np", "2", harness.PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "--color=no"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=harness.DEADLINE)
    assert "4 passed, 1 skipped" in done.stdout and "3 passed, 2 skipped" in done.stdout, done.stdout
    assert "Not enough procs to execute: 3 required but only 2 available" in done.stdout
    assert "rank 1 has no part in it: 1 of 2 ranks have" in done.stdout


# ---- groups ----

SUITE = {
    "conftest.py": "import pytest\n"
    "@pytest.fixture(scope='session')\ndef session(): print('session+'); yield; print('session-')\n"
    "@pytest.fixture(scope='module')\ndef module(): print('module+'); yield; print('module-')\n",
    "test_a.py": HEAD + "pytestmark = ptremote.mark.parallel(3)\n"
    "def test_world(comm, session, module):\n"
    "    from mpi4py import MPI\n"
    "    assert comm == MPI.COMM_WORLD and comm.size == 3 and comm.allreduce(1) == 3\n"
    "def test_folder(comm, session, module, mpi_tmpdir):\n"
    "    (mpi_tmpdir / str(comm.rank)).write_text('here')\n    comm.barrier()\n"
    "    assert len(os.listdir(mpi_tmpdir)) == 3 and len(set(comm.allgather(str(mpi_tmpdir)))) == 1\n"
    "    if comm.rank == 1: open('where', 'w').write(str(mpi_tmpdir))\n"
    "def test_folder_is_gone(session): assert not os.path.exists(open('where').read())\n"
    "def test_ids(worker_id): assert worker_id == 'gw%d' % (4 * 2 + 8 + int(os.environ.get('PTREMOTE_GROUP_RANK', 0)))\n"
    "def test_output(comm): print('from', comm.rank)\n"
    "def test_warns(): import warnings; warnings.warn('careful')\n",
    "test_b.py": HEAD + "@ptremote.mark.parallel(3)\ndef test_other(comm, session, module): comm.barrier()\n",
}


@needs_mpi
def test_a_group(group):
    ranks, files = group(SUITE, 3, "-s", index=1, session={"base": 8})
    assert ranks.bundle(files[:1]) and ranks.bundle(files[1:], 2)
    assert set(map(tuple, ranks.outcomes().values())) == {("passed",) * 3}, ranks.reports()
    assert len(ranks.reports()) == 7
    for member in ranks.members:
        assert member.of("failed") == [] and member.of("done") == [(1,), (2,)]
        assert [test for test, _ in member.of("report")] == list(range(7))
        assert (member.notes("warning") != []) == (member.notes("file") != []) == (member.rank == 0)
        told = member.reports()[0]
        assert ("counts" in told) == (member.rank == 0) and ("junit" in told) == (member.rank == 0)
        assert {"setup", "call", "teardown", "duration"} <= set(told)
    assert ranks.quit() and ranks.exits() == [0, 0, 0]
    for member in ranks.members:
        text = member.text()
        assert text.count("session+") == text.count("session-") == 1
        assert text.count("module+") == text.count("module-") == 2
        assert text.index("session-") > text.rindex("module-")
    ranks.close()
    assert ranks.mpirun.returncode == 0
    left = [name for _, folders, names in os.walk(group.run) for name in folders + names]
    assert not [name for name in left if "ranks" in name or name.startswith("mpi")], left


@needs_mpi
@pytest.mark.parametrize("size", [2, 4])
def test_captured_output(group, size):
    files = {
        "test_a.py": HEAD + "@ptremote.mark.parallel(%d)\ndef test_1(comm, record_property):\n"
        "    record_property('rank', comm.rank)\n    if comm.rank: print('from', comm.rank)\n" % size
    }
    ranks, bundle = group(files, size)
    assert ranks.bundle(bundle)
    for rank, told in ranks.reports()[0].items():
        assert told["properties"] == [["rank", rank]]
        assert told.get("stdout") == ("from %d\n" % rank if rank else None)


FAILING = {
    "test_a.py": HEAD + "pytestmark = ptremote.mark.parallel(3)\n"
    "LOG = []\n"
    "@pytest.fixture\ndef setup(comm):\n    if comm.rank == 1: assert 0, 'set-up'\n    yield\n    LOG.append('down')\n"
    "@pytest.fixture\ndef skipping(comm):\n    if comm.rank == 2: pytest.skip('not here')\n"
    "@pytest.fixture\ndef teardown(comm):\n    yield\n    assert comm.rank != 2, 'tear-down'\n"
    "def test_setup(setup): LOG.append('call')\n"
    "def test_none_called(): assert 'call' not in LOG and LOG in ([], ['down'])\n"
    "def test_call(comm): assert comm.rank != 1, 'call'\n"
    "def test_teardown(teardown): pass\n"
    "def test_skipped(skipping): LOG.append('never')\n"
    "@pytest.mark.xfail\ndef test_xfails(comm): assert comm.rank != 0\n"
    "@pytest.mark.skip(reason='all')\ndef test_all_skip(): pass\n"
    "def test_after(comm): assert comm.allreduce(1) == 3 and 'never' not in LOG\n"
}


@needs_mpi
def test_failures_on_one_rank(group):
    ranks, bundle = group(FAILING, 3)
    assert ranks.bundle(bundle)
    told = ranks.reports()
    assert ranks.outcomes() == {
        0: ["passed", "error", "passed"],
        1: ["passed"] * 3,
        2: ["passed", "failed", "passed"],
        3: ["passed", "passed", "error"],
        4: ["passed", "passed", "skipped"],
        5: ["xfailed", "xpassed", "xpassed"],
        6: ["skipped"] * 3,
        7: ["passed"] * 3,
    }
    assert told[0][0]["message"] == told[0][2]["message"] == "set-up failed on rank 1"
    assert "call" not in told[0][0] and "teardown" in told[0][0] and "junit" not in told[0][0]
    assert (told[0][1]["phase"], told[0][1]["message"]) == ("setup", "AssertionError: set-up")
    assert told[4][0]["message"] == "set-up skipped on rank 2"
    failed = [member.of("failed") for member in ranks.members]
    assert failed == [[(5, "call")], [(0, "setup"), (2, "call")], [(3, "teardown")]]
    for member in ranks.members:
        kinds = [event[:2] for event in member.events if event[0] in ("failed", "report")]
        for _, test in [kind for kind in kinds if kind[0] == "failed"]:
            assert kinds.index(("failed", test)) < kinds.index(("report", test))
    assert ranks.quit() and ranks.exits() == [0, 0, 0]


DIFFER = {
    "@pytest.fixture\ndef other(): pass\n%s\ndef test_1(comm, other):": True,
    "@pytest.fixture(autouse=True)\ndef other(): pass\n%s\ndef test_1(comm):": True,
    "%s\n@pytest.mark.skipif('1 == 2')\ndef test_1(comm):": True,
    "def setup_module(): pass\n%s\ndef test_1(comm):": True,
    "def setup(): pass\n%s\ndef test_1(comm):": True,
    "%s\nclass Test:\n  def test_1(self, comm):": True,
    "%s\ndef test_1(comm, mpi_tmpdir):": True,
    "%s\ndef test_1(comm):": False,
    "@pytest.mark.parametrize('i', [1, 2])\n%s\ndef test_1(comm, i):": False,
}


@needs_mpi
def test_ranks_meet_after_set_up_where_it_may_differ(group):
    files = {}
    for number, (text, differs) in enumerate(DIFFER.items()):
        text = text % "@ptremote.mark.parallel(2)" + " assert ptremote.mpi.together.votes is %r\n" % differs
        files["test_%d.py" % number] = HEAD + "import ptremote.mpi\n" + text
    ranks, bundle = group(files, 2)
    for number, file in enumerate(bundle):
        assert ranks.bundle([file], number), file
    bad = {ranks.found.order[number][0]: told[0] for number, told in ranks.reports().items() if told[0]["outcome"] != "passed"}
    assert not bad


@needs_mpi
def test_ranks_meet_after_set_up_where_a_hook_may_differ(group):
    files = {
        "conftest.py": "def pytest_runtest_setup(item): pass\n",
        "test_a.py": HEAD + "import ptremote.mpi\n@ptremote.mark.parallel(2)\ndef test_1(comm): assert ptremote.mpi.together.votes\n",
    }
    ranks, bundle = group(files, 2)
    assert ranks.bundle(bundle) and ranks.outcomes() == {0: ["passed"] * 2}, ranks.reports()


@needs_mpi
def test_a_report_does_not_wait_for_long(group):
    files = {
        "test_a.py": HEAD + "@ptremote.mark.parallel(2)\ndef test_1(comm):\n"
        "    while comm.rank and not os.path.exists('go'): time.sleep(0.01)\n"
        "@ptremote.mark.parallel(2)\ndef test_2(comm): pass\n"
    }
    ranks, bundle = group(files, 2)
    ranks.bundle(bundle, wait=False)
    assert ranks.until("report", members=ranks.members[:1])
    assert not ranks.members[1].of("report")
    open("%s/go" % ranks.found.session["root"], "w").close()
    assert ranks.until("done") and ranks.outcomes() == {0: ["passed"] * 2, 1: ["passed"] * 2}


@needs_mpi
def test_a_failure_is_told_before_the_tear_down(group):
    files = {
        "test_a.py": HEAD + "@pytest.fixture\ndef slow():\n    yield\n    while not os.path.exists('go'): time.sleep(0.01)\n"
        "@ptremote.mark.parallel(2)\ndef test_1(comm, slow):\n    assert comm.rank\n    comm.barrier()\n"
    }
    ranks, bundle = group(files, 2)
    ranks.bundle(bundle, wait=False)
    assert ranks.until("failed", members=ranks.members[:1])
    assert not ranks.members[0].of("report")
    deadlocked = ranks.members[1]
    assert ranks.until("start", members=[deadlocked])
    assert harness.wait_for(lambda: deadlocked.place() == (0, "call"))

    def told():  # it spins in Barrier, and still says where it is; again and again, as it may only be on its way there
        os.kill(deadlocked.pid, signal.SIGRTMIN + 5)
        return re.search(r'File ".*test_a.py", line 9 in test_1', deadlocked.text())

    assert harness.wait_for(told)
    os.kill(deadlocked.pid, 0)


@needs_mpi
def test_stacks_whatever_tests_do_to_signals(group):
    """Also in a rank that waits for others, and after a test that took the signal."""
    files = {
        "test_a.py": HEAD + "import faulthandler, signal\npytestmark = ptremote.mark.parallel(2)\n"
        "def test_takes(): signal.signal(signal.SIGRTMIN + 5, signal.SIG_IGN); faulthandler.disable()\n"
        "def test_closes(): os.closerange(20, 256)\n"
        "def test_waits(comm):\n"
        "    while comm.rank and not os.path.exists('go'): time.sleep(0.01)\n"
    }
    ranks, bundle = group(files, 2)
    ranks.bundle(bundle, wait=False)
    first = ranks.members[0]
    assert harness.wait_for(lambda: ranks.until("report", members=[first]) and len(first.of("report")) == 3)

    def told():  # again and again: it has reported, but need not wait yet
        os.kill(first.pid, signal.SIGRTMIN + 5)
        return "agree" in first.text()

    assert harness.wait_for(told)
    harness.write(os.path.dirname(first.output) + "/project", {"go": ""})
    assert ranks.until("done")


@needs_mpi
@pytest.mark.parametrize("how", ["ctypes.string_at(0)", "os.abort()"])
def test_fatal_signals_are_pythons(group, how):
    """Open MPI's handlers would print a trace of their own, and Python's none."""
    files = {
        "test_a.py": HEAD + "import ctypes\n@ptremote.mark.parallel(2)\ndef test_1(comm):\n"
        "    if comm.rank: %s\n    comm.barrier()\n" % how
    }
    ranks, bundle = group(files, 2)
    ranks.bundle(bundle, wait=False)
    dead = ranks.members[1]
    assert not ranks.until("done", members=[dead])
    assert os.WTERMSIG(dead.exit()) == (signal.SIGSEGV if "ctypes" in how else signal.SIGABRT)
    assert re.search(r'File ".*test_a.py", line 5 in test_1', dead.text())
    assert "Process received signal" not in dead.text()


@needs_mpi
def test_files_that_one_rank_cannot_collect(group):
    rank = "os.environ.get('PTREMOTE_GROUP_RANK')"
    files = {
        "test_a.py": HEAD + "if %s == '1': raise ValueError('no import')\n" % rank
        + "pytestmark = ptremote.mark.parallel(3)\ndef test_1(): pass\ndef test_2(): pass\n",
        "test_b.py": HEAD + "if %s == '2': pytest.skip('not here', allow_module_level=True)\n" % rank
        + "@ptremote.mark.parallel(3)\ndef test_3(): pass\n",
        "test_c.py": HEAD + "pytestmark = ptremote.mark.parallel(3)\n"
        "if %s != '0':\n    def test_4(): pass\ndef test_5(comm): comm.barrier()\n" % rank,
    }
    ranks, bundle = group(files, 3)
    bundle[2] = ("test_c.py", [(3, "test_c.py::test_4[3]", 0), (4, "test_c.py::test_5[3]", 0)])
    assert ranks.bundle(bundle)
    told = ranks.reports()
    assert ranks.outcomes() == {0: ["error"] * 3, 1: ["error"] * 3, 2: ["skipped"] * 3, 3: ["error"] * 3, 4: ["passed"] * 3}
    assert all(report["phase"] == "collect" for test in range(4) for report in told[test].values())
    assert told[0][0]["message"] == told[1][2]["message"] == "not collected on rank 1"
    assert "ValueError: no import" in told[0][1]["longrepr"] and told[0][1]["problems"]
    assert told[1][1]["message"] == told[0][1]["message"] and "problems" not in told[1][1]
    assert told[2][0]["message"] == "not collected on rank 2"
    assert "test_c.py::test_4[3] is not in its file on this host" in told[3][0]["message"]
    assert "test_c.py::test_5[3]" in told[3][0]["longrepr"]
    assert not any(member.notes("collect") + member.notes("missing") for member in ranks.members)
    assert ranks.bundle([("test_gone.py", [(9, "test_gone.py::test_9", 0)])], 2)
    assert {report["outcome"] for report in ranks.reports()[9].values()} == {"error"}


@needs_mpi
def test_leftovers(group):
    """Messages that nobody received are taken away, and told of that test."""
    files = {
        "test_a.py": HEAD + "pytestmark = ptremote.mark.parallel(2)\n"
        "def test_leaves(comm):\n    if comm.rank == 0: comm.send('left', dest=1, tag=5); comm.send('x' * 100000, dest=1)\n"
        "    assert comm.rank == 0\n"
        "def test_next(comm):\n    if comm.rank == 0: comm.send('right', dest=1)\n    else: assert comm.recv() == 'right'\n"
        "def test_handler(comm):\n    from mpi4py import MPI\n    comm.Set_errhandler(MPI.ERRORS_ARE_FATAL)\n"
        "def test_raises(comm):\n    from mpi4py import MPI\n"
        "    with pytest.raises(MPI.Exception): comm.send(1, dest=77)\n"
        "@pytest.mark.parametrize('to', [0, 1])\ndef test_passes(comm, to):\n"
        "    if comm.rank != to: time.sleep(0.1); comm.send('late', dest=to)\n"
    }
    files["test_a.py"] = files["test_a.py"].replace("comm.send('x' * 100000, dest=1)", "comm.isend('y', dest=1)")
    ranks, bundle = group(files, 2)
    assert ranks.bundle(bundle)
    assert ranks.outcomes() == {test: ["passed", "passed" if test else "failed"] for test in range(6)}
    (late,) = ranks.members[0].notes("warning")
    assert late["nodeid"] == "test_a.py::test_passes[0-2]" and "1 message to rank 0 of 2" in late["message"]
    note, late = ranks.members[1].notes("warning")
    assert late["nodeid"] == "test_a.py::test_passes[1-2]" and "1 message to rank 1 of 2" in late["message"]
    assert note["message"].startswith("2 messages to rank 1 of 2 never received (from rank 0)")
    assert note["nodeid"] == "test_a.py::test_leaves[2]" and note["filename"].endswith("project/test_a.py")
    assert note["category"] == "NeverReceived"


@needs_mpi
def test_a_message_that_is_sent_before_its_receiver_has_looked(group):
    """It is of the next test, whose call waits until all have looked for what the test before left."""
    files = {
        "test_a.py": HEAD + "import ptremote.mpi\npytestmark = ptremote.mark.parallel(2)\n"
        "def test_1(comm):\n    world = ptremote.mpi.together.world\n    look = world.leftovers\n"
        "    if comm.rank: world.leftovers = lambda: (time.sleep(0.3), look())[1]\n"
        "def test_2(comm):\n    if comm.rank: assert comm.recv() == 'meant'\n    else: comm.send('meant', dest=1)\n"
    }
    ranks, bundle = group(files, 2)
    assert ranks.bundle(bundle)
    assert ranks.outcomes() == {test: ["passed", "passed"] for test in range(2)}, ranks.reports()
    assert not any(member.notes("warning") for member in ranks.members)


@needs_mpi
@pytest.mark.parametrize("where", ["call", "setup"])
def test_a_message_that_was_sent_after_its_receiver_had_ended(group, where):
    """The next test of these ranks does not get it, in its call or while it is set up."""
    greet = "if comm.rank: assert comm.recv() == 'meant'\n    else: comm.send('meant', dest=1)\n"
    files = {
        "test_a.py": HEAD + "pytestmark = ptremote.mark.parallel(2)\n"
        "def test_late(comm):\n    if comm.rank == 0: time.sleep(0.1); comm.send('late', dest=1)\n"
        + ("@pytest.fixture\ndef met(comm):\n    %s" % greet if where == "setup" else "")
        + "def test_next(comm%s):\n    %s" % ((", met", "pass\n") if where == "setup" else ("", greet))
    }
    ranks, bundle = group(files, 2)
    assert ranks.bundle(bundle)
    assert ranks.outcomes() == {test: ["passed", "passed"] for test in range(2)}, ranks.reports()
    (note,) = ranks.members[1].notes("warning")
    assert note["nodeid"] == "test_a.py::test_late[2]" and "1 message to rank 1 of 2" in note["message"]


@needs_mpi
@pytest.mark.parametrize("where", ["call", "setup", "collection"])
def test_a_session_that_one_rank_ends(group, where):
    ends = "if os.environ.get('PTREMOTE_GROUP_RANK') == '1': pytest.exit('enough')\n"
    files = {
        "conftest.py": "import os, pytest\ndef pytest_itemcollected():\n    %s" % (ends if where == "collection" else "pass\n"),
        "test_a.py": HEAD
        + "@pytest.fixture\ndef ending():\n    %s" % (ends if where == "setup" else "pass\n")
        + "pytestmark = ptremote.mark.parallel(3)\ndef test_1(ending):\n    %s" % (ends if where == "call" else "pass\n")
        + "def test_2(): pass\n",
    }
    ranks, bundle = group(files, 3)
    assert ranks.bundle(bundle)
    told = ranks.reports()
    assert sorted(told) == [0, 1] and all(len(reports) == 3 for reports in told.values())
    assert {report["outcome"] for report in told[1].values()} == {"notrun"}
    assert told[0][1]["stop"] == "enough"
    assert told[1][0]["message"] == "rank 1 of 3 ended the session"
    if where != "collection":
        assert ranks.members[1].of("failed") == [(0, where)]
    assert ranks.quit()


@needs_mpi
def test_quit_while_tests_run(group):
    """Every rank ends after the same test, whenever it heard of it."""
    files = {
        "test_a.py": HEAD + "@pytest.mark.parametrize('i', range(3000))\n@ptremote.mark.parallel(3)\n"
        "def test_1(comm, i):\n    comm.barrier()\n    time.sleep(0.02)\n"
    }
    ranks, bundle = group(files, 3)
    ranks.bundle(bundle, wait=False)
    assert ranks.until("report", members=ranks.members[2:])
    assert ranks.quit() and ranks.exits() == [0, 0, 0]
    counts = {len(member.of("report")) for member in ranks.members}
    assert len(counts) == 1 and counts.pop() < 3000
    assert not any(member.of("done") for member in ranks.members)


@needs_mpi
@pytest.mark.parametrize("dead", [0, 1, 2])
def test_quit_when_a_rank_is_gone(group, dead):
    """Nobody waits for it in MPI_Finalize, nor anywhere; who gave up first is no trouble to the others."""
    files = {
        "conftest.py": "import os\nfrom ptremote import far\nfar.PATIENCE = 0.1 if int(os.environ.get('PTREMOTE_GROUP_RANK', 0)) else 1\n",
        "test_a.py": HEAD + "@ptremote.mark.parallel(3)\ndef test_1(comm):\n    if comm.rank == %d: os._exit(3)\n" % dead,
    }
    ranks, bundle = group(files, 3)
    ranks.bundle(bundle, wait=False)
    assert not ranks.until("done", members=[ranks.members[dead]])
    others = [member for member in ranks.members if member.rank != dead]
    for member in others:
        member.control.send(wire.R_QUIT)
    assert ranks.until("ended", members=others)
    assert [member.exit() for member in others] == [0, 0]


@needs_mpi
def test_session_fixtures_end_in_step(group):
    files = {
        "conftest.py": "import pytest\n"
        "@pytest.fixture(scope='session')\ndef world():\n    from mpi4py import MPI\n    yield MPI.COMM_WORLD\n"
        "    MPI.COMM_WORLD.barrier()\n    assert MPI.COMM_WORLD.rank != 1, 'at the end'\n",
        "test_a.py": HEAD + "@ptremote.mark.parallel(3)\ndef test_1(world): pass\n",
    }
    ranks, bundle = group(files, 3)
    assert ranks.bundle(bundle) and ranks.quit() and ranks.exits() == [0, 0, 0]
    notes = [member.notes("report") for member in ranks.members]
    assert [len(note) for note in notes] == [0, 1, 0]
    assert notes[1][0]["report"]["message"].startswith("AssertionError: at the end")


@needs_mpi
@pytest.mark.parametrize("bad", [(1,), (0, 1, 2), (1, 2)])
def test_an_error_at_the_end_of_the_session_is_told_once(group, bad):
    files = {
        "conftest.py": "import os\ndef pytest_sessionfinish():\n"
        "    assert os.environ.get('PTREMOTE_GROUP_RANK') not in %r, 'the end'\n" % (tuple(map(str, bad)),),
        "test_a.py": HEAD + "@ptremote.mark.parallel(3)\ndef test_1(comm): pass\n",
    }
    ranks, bundle = group(files, 3)
    assert ranks.bundle(bundle) and ranks.quit()
    told = [[note["report"]["problems"][0]["headline"] for note in member.notes("report")] for member in ranks.members]
    assert told == [["ERROR at the end of the session"] if rank == bad[0] else [] for rank in range(3)]


@needs_mpi
def test_steal_gives_nothing_back(group):
    files = {
        "test_a.py": HEAD + "pytestmark = ptremote.mark.parallel(2)\n"
        "def test_1():\n    while not os.path.exists('go'): time.sleep(0.01)\ndef test_2(): pass\n"
    }
    ranks, bundle = group(files, 2)
    ranks.bundle(bundle, wait=False)
    assert ranks.until("start")
    for member in ranks.members:
        member.steal([1])
    harness.write(os.path.dirname(ranks.members[0].output) + "/project", {"go": ""})
    assert ranks.until("done")
    assert [member.of("stolen") for member in ranks.members] == [[(1, [])]] * 2
    assert ranks.outcomes() == {0: ["passed"] * 2, 1: ["passed"] * 2}


@needs_mpi
def test_many_tests_in_two_groups(group):
    files = {
        "test_a.py": HEAD + "@pytest.mark.parametrize('i', range(200))\n@ptremote.mark.parallel(2)\n"
        "def test_1(comm, i): assert comm.allreduce(i) == 2 * i\n"
    }
    first, bundle = group(files, 2)
    second, _ = group(files, 2, index=1)
    first.bundle(bundle, wait=False)
    second.bundle(bundle, wait=False)
    assert first.until("done") and second.until("done")
    for ranks in (first, second):
        assert len(ranks.reports()) == 200
        assert set(map(tuple, ranks.outcomes().values())) == {("passed", "passed")}
        assert ranks.quit() and ranks.exits() == [0, 0]


@needs_mpi
def test_isolation_is_the_hubs_matter(group):
    files = {"test_a.py": HEAD + "@ptremote.mark.parallel(2)\ndef test_1(comm): comm.barrier(); print('PID', os.getpid())\n"}
    ranks, bundle = group(files, 2, "-s", session={"isolate": "test"})
    assert ranks.bundle(bundle)
    assert all("PID %d" % member.pid in member.text() for member in ranks.members)


@needs_mpi
def test_waiting_ranks_sleep(group):
    """Those that wait for a slower one, and those with nothing to do."""
    files = {
        "test_a.py": HEAD + "@ptremote.mark.parallel(2)\ndef test_1(comm):\n"
        "    while comm.rank and not os.path.exists('go'): time.sleep(0.01)\n"
    }

    def sleeps(member):
        """In poll: for as long as it takes, or on several hosts for some milliseconds."""
        with open("/proc/%d/syscall" % member.pid) as file:
            words = file.read().split()
        long = "0x5" if group.spread else "0xffffffffffffffff"
        return words[3] in (long, long[:10]) if words[0] == "7" else words[0] != "running"  # 7: x86-64's

    ranks, bundle = group(files, 2)
    ranks.bundle(bundle, wait=False)
    first = ranks.members[0]
    assert ranks.until("report", members=[first])
    for _ in range(10):
        assert harness.wait_for(lambda: sleeps(first))
    harness.write(os.path.dirname(first.output) + "/project", {"go": ""})
    assert ranks.until("done")


# ---- what cannot be a rank ----


@needs_mpi
def test_without_mpi4py(group, tmp_path):
    broken = harness.write(tmp_path / "none", {"mpi4py/__init__.py": "raise ImportError('not here')\n"})
    ranks, _ = group({"test_a.py": "def test_1(): pass\n"}, 2, start=False, PYTHONPATH=broken)
    assert not ranks.start(ranks.found.session)
    where = socket.gethostname() + ": " if group.spread else ""
    for member in ranks.members:
        assert member.broken.startswith(where + "mpi4py is not installed on this host (Debian: python3-mpi4py): not here")
        assert os.WEXITSTATUS(member.exit()) == 1


@needs_mpi
def test_another_size_than_promised(tmp_path):
    """mpi4py of another MPI sees one rank."""
    project = harness.write(tmp_path / "project", {"test_a.py": "def test_1(): pass\n"})
    found = harness.collect(project)
    with harness.Host(tmp_path) as host:
        env = {"PTREMOTE_RANKS": "2", "PTREMOTE_GROUP_RANK": "0", "PTREMOTE_WORKSPACE": project}
        runner = harness.Runner(host, project, **env, **harness.AS_ROOT)
        assert not runner.start(found.session)
        assert runner.broken.startswith("MPI.COMM_WORLD of mpi4py has 1 ranks"), runner.broken
        runner.close()


# ---- ranks of several hosts ----


@pytest.fixture
def two_hosts(tmp_path):
    """two_hosts(files, hidden...) -> (a Group of two ranks on two fork servers, the bundle): the second one has folders
    of its own where the hidden ones are. Connections between the ranks are as between hosts."""
    opened = []

    def make(files, *hidden):
        for name in ("temporary", "run", "second/run"):
            (tmp_path / name).mkdir(parents=True)
        project = harness.write(tmp_path / "project", files)
        temporary = str(tmp_path / "temporary")
        opened.append(harness.Host(tmp_path, TMPDIR=temporary, PTREMOTE_RUN_DIR=str(tmp_path / "run")))
        script = 'for at; do shift; [ "$at" != -- ] || break; mount -t tmpfs none "$at" || exit; done; exec "$@"'
        before = ["unshare", "-rm", "sh", "-c", script, "-", *(str(tmp_path / name) for name in hidden), "--"]
        second = tmp_path / "second"
        opened.append(harness.Host(second, before=before, TMPDIR=temporary, PTREMOTE_RUN_DIR=str(second / "run")))
        if hidden and not opened[1].hello:
            pytest.skip("no mount namespaces here")
        found = harness.collect(project)
        assert found.of("final"), (found.lines, found.stderr)
        opened.append(harness.Group(opened[0], 2, project, far=opened[1], transport="self,tcp"))
        assert opened[2].start(found.session), [member.broken for member in opened[2].members]
        return opened[2], entries(found)

    yield make
    for one in reversed(opened):
        one.close()


FOLDER = {
    "test_a.py": HEAD + "import shutil\npytestmark = ptremote.mark.parallel(2)\n"
    "def test_first(comm, mpi_tmpdir):\n"
    "    (mpi_tmpdir / str(comm.rank)).write_text('here')\n    comm.barrier()\n"
    "    assert sorted(os.listdir(mpi_tmpdir)) == ['0', '1']\n"
    "    if comm.rank == 0: open('where', 'w').write(str(mpi_tmpdir))\n"
    "def test_it_is_gone(comm): assert not os.path.exists(open('where').read())\n"
    "def test_without(comm): assert comm.allreduce(1) == 2\n"
}


@needs_mpi
@pytest.mark.parametrize("hidden, shared", [((), "temporary"), (["temporary"], "run"), (["run"], "temporary")])
def test_the_folder_that_hosts_share(two_hosts, tmp_path, hidden, shared):
    ranks, bundle = two_hosts(FOLDER, *hidden)
    assert ranks.bundle(bundle)
    assert ranks.outcomes() == {test: ["passed"] * 2 for test in range(3)}, ranks.reports()
    assert (tmp_path / "project" / "where").read_text().startswith(str(tmp_path / shared))
    assert ranks.quit() and ranks.exits() == [0, 0]
    left = [name for _, folders, names in os.walk(tmp_path) for name in folders + names]
    assert not [name for name in left if name.startswith(("ranks-", "mpi-"))], left


@needs_mpi
def test_hosts_that_share_no_folder(two_hosts, tmp_path):
    ranks, bundle = two_hosts(FOLDER, "temporary", "run")
    assert ranks.bundle(bundle)
    assert ranks.outcomes() == {0: ["passed", "error"], 1: ["failed"] * 2, 2: ["passed"] * 2}, ranks.reports()
    near, far = (ranks.reports()[0][rank] for rank in (0, 1))
    assert near["message"] == "set-up failed on rank 1"
    name = os.uname().nodename
    words = "mpi_tmpdir: rank 1 on %s does not see the folder of rank 0 on %s (%s" % (name, name, tmp_path / "temporary")
    assert words in far["message"] and "--env TMPDIR=" in far["longrepr"]
    assert ranks.quit() and ranks.exits() == [0, 0]


@needs_mpi
def test_a_collective_folder_that_hosts_do_not_share(two_hosts):
    files = {
        "test_a.py": HEAD + "from ptremote.mpi import CollectiveTemporaryDirectory\n@ptremote.mark.parallel(2)\n"
        "def test_1(comm):\n    with CollectiveTemporaryDirectory(comm): pass\n"
    }
    ranks, bundle = two_hosts(files, "temporary")
    assert ranks.bundle(bundle)
    assert ranks.outcomes() == {0: ["failed"] * 2}
    assert all("does not see the folder of rank 0" in told["message"] for told in ranks.reports()[0].values())


@needs_mpi
def test_long_words_between_hosts(two_hosts):
    """More than a connection holds."""
    files = {
        "test_a.py": HEAD + "import pytest\n@pytest.mark.parametrize('i', range(20000))\n@ptremote.mark.parallel(2)\n"
        "def test_1(i): pass\n",
        "test_b.py": HEAD + "@ptremote.mark.parallel(2)\ndef test_2(comm): comm.barrier()\n",
    }
    files["test_a.py"] = files["test_a.py"].replace(
        "import pytest\n", "import pytest\nif os.environ.get('PTREMOTE_GROUP_RANK') == '1': raise ValueError('no import')\n", 1
    )
    ranks, bundle = two_hosts(files)
    assert ranks.bundle(bundle)
    assert set(map(tuple, ranks.outcomes().values())) == {("error", "error"), ("passed", "passed")}
    assert ranks.outcomes()[20000] == ["passed", "passed"]


def test_the_supervisor_may_ask_for_native_frames(tmp_path, monkeypatch):
    import ctypes

    from ptremote import ranks

    said = []

    class Libc:
        def prctl(self, option, process, *rest):
            said.append((option, process.value, rest))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libc())
    monkeypatch.setattr(ranks, "YAMA", str(tmp_path / "scope"))
    monkeypatch.setenv("PTREMOTE_SUPERVISOR", "4711")
    ranks.let_look()
    for scope in "0123":
        (tmp_path / "scope").write_text(scope + "\n")
        ranks.let_look()
    monkeypatch.setenv("PTREMOTE_SUPERVISOR", "")
    ranks.let_look()
    assert said == [(ranks.SET_PTRACER, 4711, (0, 0, 0))]
