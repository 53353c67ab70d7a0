# SPDX-License-Identifier: Apache-2.0
"""Tests that run in processes forked from a collected session: what they share with it, and what they must not."""
import os
import signal

import harness
import pytest

BOTH = pytest.mark.parametrize("how", ["bundle", "test"])


class Session:
    """One runner on one project, which is told what to do step by step."""

    def __init__(self, tmp_path, files, how, *args, preload="", tree=None, **env):
        self.project = harness.write(tmp_path / "project", files)
        self.found = harness.collect(self.project, *args, tree=tree)
        self.host = harness.Host(tmp_path, tree, preload=preload)
        self.runner = harness.Runner(self.host, self.project, PTREMOTE_WORKSPACE=self.project, **env)
        assert self.runner.start(dict(self.found.session, isolate=how)), self.runner.broken
        self.tests = {nodeid: number for number, (nodeid, _) in enumerate(self.found.order)}

    def bundle(self, *names, number=1, wait=True):
        """Of tests, by the ends of their node ids; all without any."""
        files = {}
        for nodeid, test in self.tests.items():
            if not names or nodeid.endswith(names):
                files.setdefault(nodeid.partition("::")[0], []).append((test, nodeid, 0))
        return self.runner.bundle(list(files.items()), number, wait)

    def outcomes(self):
        return {told["nodeid"].rpartition("::")[2]: told["outcome"] for told in self.runner.reports().values()}

    def stdout(self):
        """What the tests said, in the order they were told."""
        return "".join(told.get("stdout", "") for _, told in self.runner.of("report")).split()

    def upto(self, *event):
        while event not in self.runner.events:
            assert self.runner.until(event[0]), self.runner.events

    def end(self):
        assert self.runner.quit() and self.runner.exit() == 0, self.runner.text()
        return self.runner.text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.runner.close()
        self.host.close()


PIDS = {
    "conftest.py": "import os\nSESSION = os.getpid()\n",
    "test_a.py": "import os, conftest\nSTATE = []\n"
    "def say(): STATE.append(1); print(os.getpid(), len(STATE)); assert os.getppid() == conftest.SESSION\n"
    "def test_1(): say()\ndef test_2(): say()\ndef test_3(): say()\n",
}


@BOTH
def test_processes(tmp_path, how):
    with Session(tmp_path, PIDS, how) as session:
        assert session.bundle() and session.bundle(number=2)
        words = session.stdout()
        pids, states = words[::2], words[1::2]
        assert len(set(pids)) == (2 if how == "bundle" else 6) and str(session.runner.pid) not in pids
        assert states == (["1", "2", "3"] * 2 if how == "bundle" else ["1"] * 6)
        assert session.runner.of("import") == [(0,), (0,)]
        session.end()


LIFE = {
    "conftest.py": "import pytest, atexit\n"
    "@pytest.fixture(scope='session')\ndef s(): print('s+'); yield; print('s-')\n"
    "@pytest.fixture(scope='module')\ndef m(s): print('m+'); yield; print('m-')\n"
    "def pytest_sessionfinish(session, exitstatus): print('FINISH', int(exitstatus), session.testsfailed)\n"
    "def pytest_unconfigure(): print('UNCONFIGURE')\n"
    "atexit.register(print, 'EXIT OF THE SESSION')\n",
    "test_a.py": "import atexit\n"
    "def test_1(m): print('1'); atexit.register(print, 'EXIT OF A CHILD')\ndef test_2(m): assert 0\n",
}


@BOTH
def test_fixtures_and_ends(tmp_path, tree, how):
    with Session(tmp_path, LIFE, how, "-s", tree=tree) as session:
        assert session.bundle()
        assert session.outcomes() == {"test_1": "passed", "test_2": "failed"}
        words = [word for word in session.end().replace("EXIT OF ", "EXIT-OF-").splitlines() if word]
    if how == "test":
        first = ["s+", "m+", "1", "m-", "s-", "EXIT-OF-A CHILD", "s+", "m+", "m-", "s-"]
    else:
        first = ["s+", "m+", "1", "m-", "s-", "EXIT-OF-A CHILD"]
    assert words == first + ["FINISH 1 1", "UNCONFIGURE", "EXIT-OF-THE SESSION"]


@BOTH
def test_a_session_fixture_that_fails_in_its_end(tmp_path, tree, how):
    """Told on the last test, as plain pytest does."""
    files = {
        "conftest.py": "import pytest\n@pytest.fixture(scope='session')\ndef s(): yield; assert 0, 'the end'\n",
        "test_a.py": "def test_1(s): pass\ndef test_2(): pass\n",
    }
    with Session(tmp_path, files, how, tree=tree) as session:
        assert session.bundle()
        last = session.runner.reports()[1 if how == "bundle" else 0]
        assert last["counts"] == {"passed": 1, "error": 1} and "the end" in last["message"]
        session.end()
        assert not session.runner.notes("report")


RANDOM = {
    "conftest.py": "import random\n%s\n",
    "test_a.py": "import random\n%s\n"
    "def test_1(): print(random.random())\ndef test_2(): print(random.random())\n",
}
SEEDS = {
    "nothing": ("", "", False),
    "drawn": ("random.random()", "[random.random() for _ in range(5000)]", False),
    "seeded": ("random.seed(3)", "", True),
    "seeded and drawn": ("", "random.seed(3); random.random()", True),
}


@pytest.mark.parametrize("module", ["random", "numpy.random"])
@pytest.mark.parametrize("what", sorted(SEEDS))
def test_seeds(tmp_path, module, what):
    if module == "numpy.random":
        pytest.importorskip("numpy")
    first, second, same = SEEDS[what]
    files = {"conftest.py": RANDOM["conftest.py"] % first, "test_a.py": RANDOM["test_a.py"] % second}
    files = {name: text.replace("import random", "import %s as random" % module) for name, text in files.items()}
    with Session(tmp_path, files, "test") as session:
        assert session.bundle() and session.bundle(number=2)
        numbers = session.stdout()
        assert len(numbers) == 4 and len(set(numbers)) == (1 if same else 4), numbers
        session.end()


LEFT = {
    "conftest.py": "import subprocess, os\nif 'PTREMOTE_WORKSPACE' in os.environ:\n"
    "    HELPER = subprocess.Popen(['sleep', '1000'])\n    print('helper', HELPER.pid, flush=True)\n",
    "test_a.py": "import os, subprocess, sys, time, conftest\n"
    "def test_1():\n"
    "    quiet = subprocess.Popen(['sh', '-c', '(setsid sleep 1000 & echo $!) & wait'], stdout=subprocess.PIPE)\n"
    "    print('left', int(quiet.stdout.readline()))\n"
    "    print('left', subprocess.Popen(['sleep', '1000']).pid)\n"
    "def test_2(): os.kill(conftest.HELPER.pid, 0)\n",
}


@BOTH
def test_what_a_child_leaves_is_killed(tmp_path, how):
    with Session(tmp_path, LEFT, how, "-p", "no:cacheprovider", "-s") as session:
        assert session.bundle("test_1") and session.bundle("test_2", number=2)
        assert session.outcomes() == {"test_1": "passed", "test_2": "passed"}, session.runner.reports()
        words = session.runner.text().split()
        left = [int(words[at + 1]) for at, word in enumerate(words) if word == "left"]
        helper = int(words[words.index("helper") + 1])
        assert len(left) == 2 and all(not os.path.exists("/proc/%d" % pid) for pid in left)
        assert os.path.exists("/proc/%d" % helper)
        session.end()
    assert harness.gone(helper)


@BOTH
@pytest.mark.parametrize("status", [0, 3])
def test_a_test_that_exits(tmp_path, how, status):
    files = {"test_a.py": "import os\ndef test_1(): pass\ndef test_2(): os._exit(%d)\ndef test_3(): pass\n" % status}
    with Session(tmp_path, files, how) as session:
        assert not session.bundle()
        assert session.runner.events[-1] == ("died", status << 8)
        assert session.bundle("test_3")
        assert session.outcomes() == {"test_1": "passed", "test_3": "passed"}
        session.end()


@BOTH
def test_output_of_a_death_is_not_that_of_the_next_test(tmp_path, how):
    files = {"test_a.py": "import os\ndef test_1(): print('dying', flush=True); os.abort()\ndef test_2(): print('alive')\n"}
    with Session(tmp_path, files, how) as session:
        assert not session.bundle() and "dying" in session.runner.captured()[0]
        assert session.bundle("test_2") and session.stdout() == ["alive"]
        assert os.WTERMSIG(session.runner.of("died")[0][0]) == signal.SIGABRT
        session.end()


@BOTH
def test_a_crash_at_exit(tmp_path, how):
    files = {"test_a.py": "import atexit, os\ndef test_1(): atexit.register(os._exit, 5)\n"}
    with Session(tmp_path, files, how) as session:
        assert not session.bundle() and session.runner.events[-1] == ("died", 5 << 8)
        assert session.outcomes() == {"test_1": "passed"}
        session.end()


@BOTH
@pytest.mark.parametrize("code", ["atexit.register(time.sleep, 1000)", "threading.Thread(target=time.sleep, args=(1000,)).start()"])
def test_a_hang_at_exit(tmp_path, how, code):
    files = {"test_a.py": "import atexit, threading, time\ndef test_1(): %s\ndef test_2(): pass\n" % code}
    with Session(tmp_path, files, how) as session:
        assert session.bundle() and set(session.outcomes().values()) == {"passed"}
        session.end()


@BOTH
def test_all_stacks_at_an_abort(tmp_path, how):
    """How a supervisor ends a test that takes too long; the session lives."""
    files = {
        "test_a.py": "import os, threading, time\n"
        "def in_a_thread(): time.sleep(1000)\n"
        "def test_1():\n"
        "    threading.Thread(target=in_a_thread, daemon=True).start()\n"
        "    os.mkfifo('waiting.new'); os.rename('waiting.new', 'waiting')\n    open('waiting')\n"
        "def test_2(): pass\n"
    }
    with Session(tmp_path, files, how) as session:
        session.bundle(wait=False)
        session.upto("start", 0, "setup")
        harness.wait_for(lambda: os.path.exists(os.path.join(session.project, "waiting")))
        os.killpg(session.runner.pid, signal.SIGABRT)
        assert not session.runner.until("done", "died")
        assert os.WTERMSIG(session.runner.events[-1][1]) == signal.SIGABRT
        text = session.runner.text()
        assert "in in_a_thread" in text and "in test_1" in text
        assert session.bundle("test_2") and session.outcomes() == {"test_2": "passed"}
        session.end()


@BOTH
def test_signals_to_the_group(tmp_path, how):
    """A test that signals its group does not end the session; the suite's handlers are there."""
    files = {
        "conftest.py": "import signal\nsignal.signal(signal.SIGUSR1, lambda number, frame: print('heard', number))\n",
        "test_a.py": "import os, signal\n"
        "def test_1(): os.killpg(0, signal.SIGUSR1)\n"
        "def test_2():\n"
        "    try: os.killpg(0, signal.SIGINT)\n"
        "    except KeyboardInterrupt: print('interrupted')\n"
        "def test_3(): assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n",
    }
    with Session(tmp_path, files, how) as session:
        assert session.bundle() and set(session.outcomes().values()) == {"passed"}, session.runner.reports()
        assert session.stdout() == ["heard", str(int(signal.SIGUSR1)), "interrupted"]
        session.end()


@BOTH
def test_files_are_written_once(tmp_path, how):
    files = {
        "conftest.py": "LOG = open('log', 'w')\nLOG.write('collected\\n')\n",
        "test_a.py": "import conftest\nKEEP = []\n"
        "def test_1(): conftest.LOG.write('one\\n')\n"
        "def test_2(): conftest.LOG.write('two\\n'); KEEP.append(open('other', 'w')); KEEP[0].write('kept')\n",
    }
    with Session(tmp_path, files, how) as session:
        assert session.bundle()
        session.end()
        for name, text in (("log", "collected\none\ntwo\n"), ("other", "kept")):
            with open(os.path.join(session.project, name)) as file:
                assert file.read() == text


@BOTH
def test_temporary_folders(tmp_path, tree, how):
    files = {"test_a.py": "import pytest\n@pytest.mark.parametrize('i', range(3))\ndef test_1(tmp_path, i): print(tmp_path)\n"}
    with Session(tmp_path, files, how, tree=tree) as session:
        assert session.bundle() and session.bundle(number=2)
        folders = session.stdout()
        assert len(set(folders)) == 6 and len({os.path.dirname(folder) for folder in folders}) == 1
        session.end()


@BOTH
@pytest.mark.parametrize("action", ["pytest.exit('enough')", "request.session.shouldstop = 'enough'"])
def test_a_test_that_stops_the_session(tmp_path, tree, how, action):
    files = {
        "test_a.py": "import pytest\ndef test_1(request): %s\ndef test_2(): pass\n" % action,
        "test_b.py": "def test_3(): pass\n",
    }
    with Session(tmp_path, files, how, tree=tree) as session:
        assert session.bundle("test_1", "test_2") and session.bundle("test_3", number=2)
        assert session.runner.reports()[0]["stop"] == "enough"
        assert [session.outcomes()[name] for name in ("test_2", "test_3")] == ["notrun"] * 2
        session.end()


@BOTH
def test_coverage_goes_on_in_children(tmp_path, how):
    pytest.importorskip("coverage")
    files = {
        "conftest.py": "import coverage\nMEASURE = coverage.Coverage(data_file='.cover', source=['.'], data_suffix=True)\n"
        "MEASURE.start()\ndef pytest_sessionfinish(): MEASURE.stop(); MEASURE.save()\n",
        "test_a.py": "def test_1():\n    x = 1\ndef test_2():\n    x = 2\n",
    }
    with Session(tmp_path, files, how) as session:
        assert session.bundle()
        session.end()
        import coverage

        parts = [name for name in os.listdir(session.project) if name.startswith(".cover.")]
        assert len(parts) == (3 if how == "bundle" else 4)  # one is of the collector
        whole = coverage.Coverage(data_file=os.path.join(session.project, ".cover"))
        whole.combine([session.project])
        assert sorted(whole.get_data().lines(os.path.join(session.project, "test_a.py"))) == [1, 2, 3, 4]


THREAD = {
    "conftest.py": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(1000,), name='keeper', daemon=True).start()\n",
    "test_a.py": "import os\ndef test_1(): print(os.getpid())\ndef test_2(): print(os.getpid())\n",
}


@BOTH
def test_where_forking_is_not_safe(tmp_path, how):
    """Each session runs a bundle, or a test, by itself and is followed by another."""
    with Session(tmp_path, THREAD, how) as session:
        assert not session.bundle()
        assert session.runner.events[-1] == ("ended",) and session.runner.exit() == 0
        (note,) = session.runner.notes("unsafe")
        assert "keeper" in note["reason"]
        assert session.stdout() == [str(session.runner.pid)] * (2 if how == "bundle" else 1)
    result = harness.run_project(tmp_path / "again", THREAD, isolate=how)
    assert result.counts() == {"passed": 2} and not result.deaths


def test_threads_that_end_are_none(tmp_path):
    files = dict(THREAD, **{"conftest.py": THREAD["conftest.py"].replace("1000", "0.05")})
    with Session(tmp_path, files, "test") as session:
        assert session.bundle() and not session.runner.notes("unsafe")
        assert str(session.runner.pid) not in session.stdout()
        session.end()


@BOTH
def test_a_death_in_the_middle_of_a_message(tmp_path, how):
    """Nobody can tell where the next message begins: the session is lost too."""
    files = {"test_a.py": "def test_1(): print('x' * 3000000)\ndef test_2(): pass\n"}
    with Session(tmp_path, files, how) as session:
        session.bundle(wait=False)
        session.upto("start", 0, "setup")
        assert harness.wait_for(lambda: session.runner.place() == (0, "teardown"))
        (child,) = children(session.runner.pid)
        assert harness.wait_for(lambda: blocked(child))
        os.kill(child, signal.SIGKILL)
        assert not session.runner.until("done", "died")
        assert not session.runner.reports()
        assert os.WEXITSTATUS(session.runner.exit()) == 1


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(word) for word in file.read().split()]


def blocked(pid):
    """Whether it waits for room in a socket."""
    with open("/proc/%d/wchan" % pid) as file:
        return "sock" in file.read()


@pytest.mark.parametrize("how", ["session", "bundle", "test"])
def test_the_same_test_again(tmp_path, tree, how):
    files = {"test_a.py": "def test_1(record_property): record_property('a', 1); print('here'); assert 0\n"}
    with Session(tmp_path, files, how, tree=tree) as session:
        for number in (1, 2, 3):
            assert session.bundle(number=number)
        told = [told for _, told in session.runner.of("report")]
        assert len(told) == 3
        for one in told:
            assert (one["outcome"], one["stdout"], one["properties"]) == ("failed", "here\n", [["a", 1]])
        session.end()


@pytest.mark.parametrize("how", ["session", "bundle", "test"])
def test_a_file_that_comes_several_times(tmp_path, tree, how):
    files = {
        "test_a.py": "def test_1(): pass\ndef test_2(): pass\n",
        "test_b.py": "import os\nif 'PTREMOTE_WORKSPACE' in os.environ: 1/0\ndef test_3(): pass\ndef test_4(): pass\n",
    }
    with Session(tmp_path, files, how, tree=tree) as session:
        entries = [("test_a.py", "test_1"), ("test_b.py", "test_3"), ("test_a.py", "test_2"), ("test_b.py", "test_4")]
        bundle = [(path, [(session.tests["%s::%s" % (path, name)], "%s::%s" % (path, name), 0)]) for path, name in entries]
        assert session.runner.bundle(bundle)
        (note,) = session.runner.notes("collect")
        assert note["path"] == "test_b.py" and "ZeroDivisionError" in note["report"]["longrepr"]
        assert session.outcomes() == {"test_1": "passed", "test_2": "passed"}
        assert session.runner.bundle(bundle[1:2], 2)
        assert len(session.runner.notes("collect")) == 2
        session.end()


def test_what_a_file_took_and_uses(tmp_path):
    site = harness.write(tmp_path / "site", {"third/__init__.py": "X = 1\n", "fourth.py": "import third\nclass Y: pass\n"})
    files = {
        "ours.py": "from fourth import Y\n",
        "test_a.py": "import json, ours\ndef test_1(): pass\n",
        "test_b.py": "import time, ours\ntime.sleep(0.2)\ndef test_2(): pass\n",
        "test_c.py": "def test_3(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=site)
    with harness.Host(tmp_path, site) as host:
        result = harness.run(host, found, project, size=3)
    notes = {note["path"]: note for note in result.of("file")}
    assert [notes[name]["modules"] for name in sorted(notes)] == [["fourth", "third"], ["fourth"], []]
    assert notes["test_b.py"]["seconds"] >= 0.2
