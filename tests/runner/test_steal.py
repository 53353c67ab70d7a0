# SPDX-License-Identifier: Apache-2.0
"""Between tests: tests are given back, and a session ends in the middle of a bundle."""
import os

import harness
import pytest
from harness import wire
from test_isolate import Session

HOWS = pytest.mark.parametrize("how", ["session", "bundle", "test"])
FILES = {
    "conftest.py": "import os, pytest\n"
    "def wait(number):\n"
    "    os.mkfifo('new%d' % number); os.rename('new%d' % number, 'wait%d' % number)\n"
    "    open('wait%d' % number).close()\n"
    "@pytest.fixture(scope='session', autouse=True)\ndef s(): print('s+'); yield; print('s-')\n"
    "@pytest.fixture(scope='module', autouse=True)\ndef m(): print('m+'); yield; print('m-')\n"
    "def pytest_sessionfinish(): print('FINISH')\n",
    "test_a.py": "import conftest\n"
    "def test_0(): pass\n"
    "def test_1(): conftest.wait(1)\n" + "".join("def test_%d(): pass\n" % number for number in range(2, 8)),
}


def waits(session, number):
    """The runner is in that test; opening its FIFO lets it go on."""
    path = os.path.join(session.project, "wait%d" % number)
    assert harness.wait_for(lambda: os.path.exists(path))
    return lambda: open(path, "w").close()


@HOWS
def test_tests_are_given_back(tmp_path, tree, how):
    with Session(tmp_path, FILES, how, "-s", tree=tree) as session:
        session.bundle(number=5, wait=False)
        go = waits(session, 1)
        session.runner.steal([7, 2, 0, 1, 5, 99])
        session.runner.steal([4, 5])
        go()
        assert session.runner.until("done") and session.runner.of("done") == [(5,)]
        # Test 1 was told which one follows it, unless it was alone.
        given = [2, 5, 7] if how == "test" else [5, 7]
        assert session.runner.of("stolen") == [(5, given), (5, [4])]
        assert [test for test, _ in session.runner.of("report")] == [n for n in range(8) if n not in given + [4]]
        session.runner.steal([3])
        assert session.runner.until("stolen") and session.runner.of("stolen")[-1] == (5, [])
        text = session.end()
        assert text.count("s+") == text.count("s-") == {"session": 1, "bundle": 1, "test": 4}[how]
        assert text.count("m+") == text.count("m-")


@HOWS
def test_all_that_is_left(tmp_path, how):
    """The last test then ends what the bundle has set up."""
    with Session(tmp_path, FILES, how, "-s") as session:
        session.bundle(wait=False)
        go = waits(session, 1)
        session.runner.steal(list(range(3, 8)))
        go()
        assert session.runner.until("done")
        text = session.runner.text()
        assert [test for test, _ in session.runner.of("report")] == [0, 1, 2] and text.count("m-") == text.count("m+")
        session.end()


def test_before_the_first_bundle(tmp_path):
    with Session(tmp_path, FILES, "session") as session:
        session.runner.steal([1])
        assert session.runner.until("stolen") and session.runner.of("stolen") == [(wire.NONE, [])]
        session.end()


@HOWS
def test_an_end_in_the_middle(tmp_path, tree, how):
    """The test that runs is finished, everything is torn down, nothing is told of the rest."""
    with Session(tmp_path, FILES, how, "-s", tree=tree) as session:
        session.bundle(wait=False)
        go = waits(session, 1)
        session.runner.control.send(wire.R_QUIT)
        go()
        assert session.runner.until("ended") and session.runner.exit() == 0
        assert [test for test, _ in session.runner.of("report")] == [0, 1] and not session.runner.of("done")
        words = [word for word in session.runner.text().split() if word in ("s+", "s-", "m+", "m-", "FINISH")]
        runs = ["s+", "m+", "m-", "s-"]
        assert words == (runs * 2 if how == "test" else runs) + ["FINISH"]


@HOWS
def test_an_error_in_the_end_in_the_middle(tmp_path, how):
    files = dict(FILES, **{"conftest.py": FILES["conftest.py"].replace("print('s-')", "assert 0, 'late'")})
    with Session(tmp_path, files, how) as session:
        session.bundle(wait=False)
        go = waits(session, 1)
        session.runner.control.send(wire.R_QUIT)
        go()
        assert session.runner.until("ended") and session.runner.exit() == 0
        if how == "test":
            assert session.runner.reports()[1]["counts"] == {"passed": 1, "error": 1}
        else:
            (note,) = session.runner.notes("report")
            assert note["after"] == 1 and "late" in note["report"]["message"]


@pytest.mark.parametrize("how", ["bundle", "test"])
def test_a_child_that_was_asked_and_died(tmp_path, how):
    """Every question is answered once."""
    files = {"test_a.py": "import os\ndef test_0(): os.abort()\ndef test_1(): pass\ndef test_2(): pass\n"}
    with Session(tmp_path, files, how) as session:
        session.bundle(wait=False)
        session.runner.steal([2])
        session.runner.until("died")
        while not session.runner.of("stolen"):
            session.runner.until("stolen")
        assert len(session.runner.of("stolen")) == 1
        (_, given), = session.runner.of("stolen")
        assert session.bundle(*["test_%d" % number for number in (1, 2) if number not in given])
        session.runner.steal([1])
        assert session.runner.until("stolen") and session.runner.of("stolen")[1:] == [(1, [])]
        session.end()


@pytest.mark.parametrize("how", ["bundle", "test"])
def test_a_child_that_was_told_to_end_and_died(tmp_path, how):
    files = {
        "conftest.py": FILES["conftest.py"].replace("print('s-')", "os.abort()"),
        "test_a.py": FILES["test_a.py"],
    }
    with Session(tmp_path, files, how) as session:
        session.bundle("test_1", "test_2", wait=False)
        go = waits(session, 1)
        session.runner.control.send(wire.R_QUIT)
        go()
        session.runner.until("died")
        assert session.runner.until("ended") and session.runner.exit() == 0


@HOWS
@pytest.mark.parametrize("body", [b"", b"\0\0\0\1", b"\xff\xff\xff\xff", b"\0\0\0\0\0"])
def test_questions_that_are_none(tmp_path, how, body):
    """The process that hears them ends; nothing hangs."""
    with Session(tmp_path, FILES, how) as session:
        session.bundle(wait=False)
        go = waits(session, 1)
        session.runner.control.send(wire.R_STEAL, body)
        go()
        assert not session.runner.until("done", "died")
        session.runner.control.close()
        assert session.runner.exit() != 0 or how != "session"
