# SPDX-License-Identifier: Apache-2.0
"""MPI for tests: the fixtures `comm` and `mpi_tmpdir`, under ptremote, plain pytest, and pytest under mpirun.

mpi4py is imported when a test asks for `comm`, and at the start of a rank of a group; never when tests are collected.

`pytest_parallel` is always ours, also where the package of that name is installed (stand_in): its plugin would
schedule tests by itself, and initializes MPI in every process that loads it.
"""
import atexit
import importlib
import importlib.machinery
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from ptremote import afterfork, insides, marks

NOT_ENOUGH = "Not enough procs to execute: %d required but only %d available"
NO_MARK = "comm is there for tests that are marked, as by @ptremote.mark.parallel(2): this one says no number of ranks"
TAKEN = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGPIPE")  # Open MPI has handlers of its own for them
UNSEEN = (
    "mpi_tmpdir: rank %d on %s does not see the folder of rank 0 on %s (%s): the hosts share no file system there. Give one "
    "that they share, as by --env TMPDIR=/shared/tmp, or use tmp_path, a folder of each rank's own"
)
SESSIONS = "OMPI_MCA_orte_tmpdir_base"  # where Open MPI has the folder of this user's processes
OWN = "ptremote-mpi."  # how the name of a collector's begins (src/collect_child.c)
LEFT_MOST = 1000  # messages that are taken away after one test

together = None  # the ranks.Group that this process is a rank of


class Missing(Exception):
    """There is no MPI to be had, in words."""


def load():
    """The module mpi4py.MPI; the first time MPI is initialized."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise Missing("mpi4py is not installed on this host (Debian: python3-mpi4py): %s" % error) from None
    return MPI


def apart():
    """Before a process that is no rank of a group may become a world of one: processes that make Open MPI's folder in one place at
    the same time fail. What the user chose stays."""
    place = os.environ.get("PTREMOTE_RUN_DIR")
    if place and os.environ.get(SESSIONS) == place and not os.environ.get("PTREMOTE_RANKS"):
        os.environ[SESSIONS] = os.path.join(place, "alone-%d" % os.getpid())


def take_away():
    """For the end of this process: the folder that the master made for it alone goes, also when the master is gone by then."""
    place, owner = os.environ.get(SESSIONS, ""), os.getpid()
    if os.path.basename(place).startswith(OWN):
        atexit.register(lambda: os.getpid() == owner and shutil.rmtree(place, ignore_errors=True))


# ---- fixtures ----


@pytest.fixture
def comm(request):
    """The communicator of a test that is marked parallel(N): N ranks, all of MPI.COMM_WORLD. Under a larger mpirun than
    that, its first N."""
    wanted = getattr(request, "param", None)
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        pytest.fail(NO_MARK, pytrace=False)
    try:
        world = load().COMM_WORLD
    except Missing as error:
        pytest.fail(str(error), pytrace=False)
    if wanted in (marks.ALL, world.size):
        yield world
        return
    if wanted > world.size:
        pytest.skip(NOT_ENOUGH % (wanted, world.size))
    if world.rank >= wanted:
        pytest.skip("rank %d has no part in it: %d of %d ranks have" % (world.rank, wanted, world.size))
    everyone = world.Get_group()
    part = everyone.Incl(range(wanted))
    made = world.Create_group(part)
    part.Free()
    everyone.Free()
    yield made
    made.Free()


class CollectiveTemporaryDirectory:
    """With all ranks of a communicator: the Path of a folder that its rank 0 makes, and removes once all have left."""

    def __init__(self, comm):
        self.comm = comm

    def __enter__(self):
        made = trouble = None
        if self.comm.rank == 0:
            try:
                made = tempfile.mkdtemp(prefix="ptremote-mpi-")
            except OSError as error:
                trouble = str(error)
        made, trouble = self.comm.bcast((made, trouble), root=0)
        if trouble:
            raise OSError("rank 0 could not make a folder: " + trouble)
        where = self.comm.allgather((os.path.isdir(made), socket.gethostname()))  # nobody else has one of that name
        for rank, (sees, host) in enumerate(where):
            if not sees:
                raise OSError(UNSEEN % (rank, host, where[0][1], made))
        self.path = Path(made)
        return self.path

    def __exit__(self, kind, error, trace):
        if kind is None:  # else the others may never come
            self.comm.barrier()
        if self.comm.rank == 0:
            shutil.rmtree(self.path, ignore_errors=True)


@pytest.fixture
def mpi_tmpdir(comm):
    """A folder that all ranks of the test share; gone after it."""
    if together is not None:
        yield together.folder()
        return
    with CollectiveTemporaryDirectory(comm) as path:
        yield path


def is_ours(item):
    """Whether the item's `comm` is the one above."""
    return getattr(insides.fixture_function(item, marks.COMM), "__module__", None) == __name__


def pytest_generate_tests(metafunc):
    """A marked test need not name `comm`."""
    if any(map(marks.are_ranks, metafunc.definition.iter_markers("parametrize"))):
        insides.want_fixture(metafunc, marks.COMM)


def register(config):
    """Have a session know the fixtures."""
    module = sys.modules[__name__]
    if not config.pluginmanager.is_registered(module):
        config.pluginmanager.register(module, __name__)


# ---- pytest_parallel ----


class StandIn:
    """First on sys.meta_path: `pytest_parallel` is the folder beside this one."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "pytest_parallel":
            return None
        home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        return importlib.machinery.PathFinder.find_spec(name, [home])


def stand_in():
    """Before pytest loads plugins. Imported at once, as its hook for assertions would find an installed one first."""
    if StandIn not in sys.meta_path:
        sys.meta_path.insert(0, StandIn)
    importlib.import_module("pytest_parallel.plugin")


# ---- a rank of a group ----


class World:
    """MPI in a process that is one of several ranks."""

    def __init__(self, config, rank, size):
        """Raises Missing."""
        handlers = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in TAKEN)}
        self.mpi = load()
        if not self.mpi.Is_initialized():
            self.mpi.Init_thread()
        afterfork.set_signals(handlers, insides.stack_file(config))
        self.world = self.mpi.COMM_WORLD
        if (self.world.rank, self.world.size) != (rank, size):
            text = "MPI.COMM_WORLD of mpi4py has %d ranks, and this is its rank %d; mpirun started %d, and this is %d: "
            text += "they are of different MPIs"
            raise Missing(text % (self.world.size, self.world.rank, size, rank))
        self._handler = self.world.Get_errhandler()
        self._status = self.mpi.Status()
        self._probe = self.world.Iprobe, self.mpi.ANY_SOURCE, self.mpi.ANY_TAG, self._status

    def renew(self):
        """Before a test: errors are raised as they were at first, whatever the one before set."""
        self.world.Set_errhandler(self._handler)

    def leftovers(self):
        """Take away the messages that this rank was sent and never received: [(source, tag, bytes)]."""
        probe, source, tag, status = self._probe
        found = []
        probe(source, tag)  # Open MPI looks first and fetches then
        while len(found) < LEFT_MOST and probe(source, tag, status):
            size = status.Get_count(self.mpi.BYTE)
            one = status.Get_source(), status.Get_tag()
            self.world.Recv([bytearray(max(size, 0)), self.mpi.BYTE], *one)
            found.append((*one, size))
        return found
