# SPDX-License-Identifier: Apache-2.0
"""Suites of MPI tests: each a folder that is a project of its own."""
import random

from schedule_suites import Suite

SIZES = (1, 2, 3, 4)
WORK = """import time

from mpi4py import MPI


def allreduce(comm, seconds=0.001):
    begun = time.monotonic()
    while comm.allreduce(time.monotonic() - begun, MPI.MAX) < seconds:
        pass
"""
OURS = """import ptremote
from work import allreduce

parallel = ptremote.mark.parallel
"""
BARE = """import pytest
from work import allreduce


def parallel(size):
    return pytest.mark.parametrize("comm", [size], indirect=True)
"""
TEST = """

@parallel({size})
def test_{n:04}(comm):
    allreduce(comm)
"""
# comm as the simplest suite has it: the first ranks of the world, the others pass by. Rank 0 is in every test; it writes down when its
# first one began and its last one was told.
BARE_CONFTEST = """import os
import time

import pytest
from mpi4py import MPI

times, comms = [], {}


def size_of(item):
    return item.callspec.params["comm"]


@pytest.fixture
def comm(request):
    assert comms[request.param].size == request.param
    return comms[request.param]


def pytest_collection_modifyitems(items):
    items.sort(key=size_of, reverse=True)
    for size in sorted(set(map(size_of, items))):
        comms[size] = MPI.COMM_WORLD.Split(int(MPI.COMM_WORLD.rank < size))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    return True if MPI.COMM_WORLD.rank >= size_of(item) else None


def pytest_runtest_logstart():
    times.append(time.monotonic())


def pytest_runtest_logfinish():
    times.append(time.monotonic())


def pytest_sessionfinish():
    if MPI.COMM_WORLD.rank == 0 and "BENCH_SPAN" in os.environ:
        with open(os.environ["BENCH_SPAN"], "a") as file:
            file.write("%f\\n" % (times[-1] - times[0]))
"""


def name(size, n):
    return f"tests/test_{size}_{n:03}.py"


def _files(head, files, each):
    return {name(size, n): head + "".join(TEST.format(size=size, n=m) for m in range(each)) for size in SIZES for n in range(files)}


def ours(folder, files, each):
    """So many files for each size from 1 to 4, of so many tests of a millisecond."""
    made = {"pytest.ini": "[pytest]\n", "tests/work.py": WORK, **_files(OURS, files, each)}
    return Suite(f"{folder}/mpi-{files}-{each}", made, tests=len(SIZES) * files * each)


def bare(folder, files, each):
    """The same for pytest alone."""
    made = {"pytest.ini": "[pytest]\n", "tests/work.py": WORK, "tests/conftest.py": BARE_CONFTEST, **_files(BARE, files, each)}
    return Suite(f"{folder}/mpi-bare-{files}-{each}", made, tests=len(SIZES) * files * each)


CRASH = """import os

import ptremote


@ptremote.mark.parallel(3)
def test_crash(comm):
    if comm.rank == 1:
        os.abort()
    comm.Barrier()
"""
ALL_WAIT = """import ptremote


@ptremote.mark.parallel(2)
def test_all_wait(comm):
    comm.recv(source=1 - comm.rank)
"""


def spoilt(folder, files, each):
    """As ours(), with a test that crashes and one whose ranks wait for each other."""
    suite = ours(f"{folder}/spoilt", files, each)
    made = {"tests/test_crash.py": CRASH, "tests/test_all_wait.py": ALL_WAIT}
    return Suite(suite.path, made, tests=suite.tests)


FAILS = """import ptremote


def waits_on_0(comm):
    {wait}


def waits_on_2(comm):
    {wait}


@ptremote.mark.parallel(3)
def test_it(comm):
    if comm.rank == 1:
        raise ValueError("rank 1 gives up")
    (waits_on_0 if comm.rank == 0 else waits_on_2)(comm)
"""


def fails(folder, waits):
    """One test of three ranks, of which one raises, while the others wait for it or do not."""
    made = {"pytest.ini": "[pytest]\n", "tests/test_it.py": FAILS.format(wait="comm.Barrier()" if waits else "pass")}
    return Suite(f"{folder}/fails-{waits}", made)


MIXED = """

@parallel({size})
def test_{n:04}(comm):
    time.sleep({seconds:.4f})
    comm.Barrier()
"""
PLAIN = """

def test_{n:04}():
    time.sleep({seconds:.4f})
"""


def mixed(folder, files, each, short=1):
    """Half of the tests plain, half of 2 to 4 ranks, from 20 to 80 ms, in files that have all of them."""
    numbers, made = random.Random(5), {"pytest.ini": "[pytest]\n"}
    for n in range(files):
        text = "import time\n\nimport ptremote\n\nparallel = ptremote.mark.parallel\n"
        for m in range(each):
            size = numbers.choice((1, 1, 1, 2, 3, 4))
            text += (PLAIN if size == 1 else MIXED).format(size=size, n=m, seconds=numbers.uniform(0.02, 0.08) / short)
        made[f"tests/test_{n:03}.py"] = text
    return Suite(f"{folder}/mixed-{files}-{each}", made, tests=files * each)


# Each pair waits until all pairs are there; the plain test then watches what runs for groups.
MANY = """import glob
import os
import time

import ptremote
import pytest

FOLDER = os.environ.get("BENCH_GROUPS", "")


def until(pattern, count):
    deadline = time.monotonic() + 300
    while len(glob.glob(FOLDER + "/" + pattern)) < count:
        assert time.monotonic() < deadline, pattern
        time.sleep(0.05)


@pytest.mark.parametrize("n", range({groups}))
@ptremote.mark.parallel(2)
def test_pair(comm, n):
    if comm.rank == 0:
        open(FOLDER + "/here-%d" % n, "w").close()
        until("here-*", {groups})
        open(FOLDER + "/done-%d" % n, "w").close()
    comm.bcast(None)
"""
WATCH = """import glob
import json
import os
import time

import test_many


def words(pid, name):
    try:
        with open("/proc/%s/%s" % (pid, name), "rb") as file:
            return file.read().split(b"\\0")
    except OSError:
        return []


def of_groups():
    launchers, others = [], []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if os.environ["PTREMOTE_RUN_DIR"].encode() not in b" ".join(words(pid, "environ") + words(pid, "cmdline")):
            continue
        if b"--group" in words(pid, "cmdline"):
            (launchers if b"-np" in words(pid, "cmdline") else others).append(pid)
        elif b"fork.sock" in b" ".join(words(pid, "cmdline")) and int(pid) not in (os.getpid(), os.getppid()):
            others.append(pid)  # forked with the server's environment; slots that idle have no runner
    return launchers, others


def seconds(pids):
    total = 0
    for pid in pids:
        for path in glob.glob("/proc/%s/task/*/schedstat" % pid):
            with open(path) as file:
                total += int(file.read().split()[0])
    return total / 1e9


def test_watch():
    test_many.until("done-*", {groups})
    time.sleep(3)
    launchers, others = of_groups()
    used, begun = seconds(launchers + others), time.monotonic()
    time.sleep({watch})
    assert of_groups() == (launchers, others)
    share = (seconds(launchers + others) - used) / (time.monotonic() - begun)
    with open(test_many.FOLDER + "/watched", "w") as file:
        json.dump([len(launchers), len(others), share], file)
"""


def many(folder, groups, watch):
    made = {"pytest.ini": "[pytest]\n", "tests/test_many.py": MANY.format(groups=groups),
            "tests/test_watch.py": WATCH.format(groups=groups, watch=watch)}
    return Suite(f"{folder}/many-{groups}", made, tests=groups + 1)


WIDE = """import ptremote
from work import allreduce


@ptremote.mark.parallel(6)
def test_wide(comm):
    assert comm.size == 6
    allreduce(comm, {seconds:.4f})
"""


def wide(folder, files, seconds, ranks=True):
    """So many files of five plain tests of half a second, and one test of six ranks of so many seconds, or none."""
    made = {"pytest.ini": "[pytest]\n", "tests/work.py": WORK}
    for n in range(files):
        made[f"tests/test_{n:03}.py"] = "import time\n" + "".join(PLAIN.format(n=m, seconds=0.5) for m in range(5))
    if ranks:
        made["tests/test_wide.py"] = WIDE.format(seconds=seconds)
    return Suite(f"{folder}/wide-{files}-{ranks}", made, tests=5 * files + ranks)
