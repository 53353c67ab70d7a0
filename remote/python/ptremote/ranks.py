# SPDX-License-Identifier: Apache-2.0
"""A runner that is one of the ranks that run each test together (docs/protocol.md 6.1): who may run what, and when.

The ranks stay in step at four places: once the files of a bundle are collected (a test that one of them cannot run is
run by none), after set-up, if that may fail on one of them (where it failed, none goes on to the call), after each test,
when the session ends. Each says a word to rank 0 and waits for its answer, asleep before long. The words go through
FIFOs, since MPI would spin and is the tests'.

After a test each rank takes away the messages of MPI that it never received. Nobody may send one of the next test before
all have looked: the call of that waits for it (abreast.py); where set-up may send as well, it waits too.
"""
import faulthandler
import fcntl
import json
import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

import pytest

from ptremote import abreast, insides, mpi, reports, running as runnings, wire, xdist

FAILED, SKIPPED, STOP, QUIT, TROUBLE, LOOK, FOLDER, VOTE = (1 << bit for bit in range(8))
BLAME = FAILED | SKIPPED | STOP  # it is asked which rank said so
FIRST_FD = 500  # tests close low descriptors by number
LOOKED = "looked"  # a file in the group's folder
LEAVE = 10  # seconds for MPI_Finalize
HOLD = 50  # ms that the report of a test that passed may wait, so as to go with what comes next
STACKS = 5  # above SIGRTMIN: the supervisor wants to know where this process is
YAMA, SET_PTRACER = "/proc/sys/kernel/yama/ptrace_scope", 0x59616D61
ALIKE = frozenset(("comm", "request"))  # fixtures that all ranks get, or none does
# Notes that rank 0 alone tells.
ONCE = frozenset(("collect", "missing", "warning", "stop", "suite", "file", "unsafe"))


class NeverReceived(UserWarning):
    """Messages of MPI that a test sent and no rank of it received."""


def high(fd):
    """The same descriptor with a number that tests do not close."""
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD)
    except OSError:
        return fd
    os.close(fd)
    return moved


def let_look():
    """The supervisor, which is no ancestor of this process, may ask it for native frames. Before MPI, which lets all of the
    user's processes where ranks share memory."""
    supervisor = os.environ.get("PTREMOTE_SUPERVISOR", "")
    try:
        with open(YAMA) as file:
            ancestors_only = file.read().strip() == "1"
    except OSError:
        return
    if ancestors_only and supervisor.isdigit():
        import ctypes

        ctypes.CDLL(None).prctl(SET_PTRACER, ctypes.c_ulong(int(supervisor)), 0, 0, 0)


class Steps:
    """The FIFOs between the ranks."""

    def __init__(self, rank, size, control, listen, late=None):
        """`listen` hears the supervisor and says whether it wants the session to end; `late` is called when a wait for
        others is no short one."""
        self.rank, self.size, self.listen, self.late = rank, size, listen, late
        self.quit = False
        self.alone = False  # others are gone, and the session is to end
        self._gone = False
        self._number = 0
        self._control = control
        self._from, self._to = {}, []  # descriptor -> rank that speaks there; descriptors to speak to
        self._up, self._down = struct.Struct(">IB"), struct.Struct(">IBI")
        self._read, self._write, self._yield = os.read, os.write, os.sched_yield
        self._waiting = select.poll()
        self._waiting.register(control, select.POLLIN)
        self._poll = self._waiting.poll

    def make(self, folder):
        """Rank 0, before the others open theirs."""
        self.path = folder
        for rank in range(1, self.size):
            for name in ("up", "down"):
                os.mkfifo(os.path.join(folder, "%s.%d" % (name, rank)), 0o600)
            self._hear_from("up.%d" % rank, rank)

    def open(self, folder):
        """The other ranks. All have to agree() then."""
        self.path = folder
        self._hear_from("down.%d" % self.rank, 0)
        self._speak_to("up.%d" % self.rank)

    def _hear_from(self, name, rank):
        fd = high(os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_NONBLOCK))
        self._from[fd] = rank
        self._waiting.register(fd, select.POLLIN)

    def _speak_to(self, name):
        self._to.append(high(os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_NONBLOCK)))

    def agree(self, flags=0):
        """(What any rank said, the lowest rank that said one of BLAME), once all ranks have come here; or QUIT, when
        they cannot come any more."""
        self._number += 1
        self.alone = self._gone and self.quit
        return self._ask(flags) if self.rank else self._gather(flags)

    def _gather(self, flags):
        first, missing = 0 if flags & BLAME else wire.NONE, set(self._from.values())
        while missing and not self.alone:
            for fd, data in self._come(self._up.size):
                number, said = self._up.unpack(data)
                self._check(number)
                missing.discard(self._from[fd])
                flags |= said
                if said & BLAME:
                    first = min(first, self._from[fd])
        if self.alone:
            return QUIT, wire.NONE
        if len(self._to) < len(self._from):
            for rank in range(1, self.size):
                self._speak_to("down.%d" % rank)
        self._say(self._down.pack(self._number, flags, first))
        return flags, first

    def _ask(self, flags):
        self._say(self._up.pack(self._number, flags))
        while not self.alone:
            for _, data in self._come(self._down.size):
                number, flags, first = self._down.unpack(data)
                self._check(number)
                return flags, first
        return QUIT, wire.NONE

    def _check(self, number):
        if number != self._number:
            raise RuntimeError("the ranks are out of step: %d, and another %d" % (self._number, number))

    def _say(self, data):
        for fd in self._to:
            try:
                self._write(fd, data)
            except OSError:
                self._gone = True

    def _come(self, size):
        """Waits. What came from other ranks: [(descriptor, data)]."""
        found = []
        for fd, _ in self._something():
            if fd == self._control:
                self.hear()
                continue
            data = self._read(fd, size)
            if data:
                found.append((fd, data))
            else:
                self._waiting.unregister(fd)
                self._gone = True
        self.alone = self._gone and self.quit
        return found

    def _something(self):
        for _ in range(abreast.YIELDS):
            came = self._poll(0)
            if came:
                return came
            self._yield()
        came = self._poll(HOLD)
        if not came and self.late:
            self.late()
        return came or self._poll()

    def hear(self):
        """What the supervisor said meanwhile. After the wish to end nothing more is heard."""
        if not self.quit and self.listen():
            self.finish()

    def finish(self):
        """The session is to end."""
        if not self.quit:
            self.quit = True
            self._waiting.unregister(self._control)


class Group:
    """This process as a rank; a pytest plugin. `running` runs single tests."""

    orderly = True  # what MPI sent has arrived before a word of Steps that was said later

    def __init__(self, running, rank, size):
        self.running, self.control = running, running.control
        self.rank, self.size = rank, size
        self.steps = None
        self.turn = None
        self.why = None  # why this rank did not call the test that runs
        self.votes = True  # some test of the bundle that runs may be set up on one rank and not on another, or send then
        self.voted = True  # the others know how set-up went here
        self.looked = None  # the abreast.Abreast of looking for what a test left
        self.ahead = False  # others may not have looked yet
        self.told = False  # that the phase that runs failed
        self.used = False  # the shared folder of the test that runs
        self.serial = 0  # of the test that runs in this group, the same in all ranks
        self._stacks = high(os.dup(2))
        self._signal = signal.SIGRTMIN + STACKS
        self._faults = faulthandler.register, faulthandler.unregister

    # ---- start and end ----

    def join(self, session):
        """Before the session is up: None, or why this process cannot be a rank."""
        self.option = session.config.option
        self.only_setup = getattr(self.option, "setuponly", False)
        let_look()
        try:
            self.world = mpi.World(session.config, self.rank, self.size)
        except mpi.Missing as error:
            return str(error)
        trouble = self._meet()
        if trouble:
            return trouble
        mpi.together = self
        if self.rank:
            self.control.dropped = ONCE
            self.running.teller.brief = True
        manager = session.config.pluginmanager
        reruns = insides.plugin_module(session.config, xdist.RERUNS)
        if reruns is not None:
            manager.unregister(reruns)  # one rank alone would run its part again
        manager.register(self, "ptremote-ranks")
        self._watch()
        return None

    def _meet(self):
        """The one time that MPI is used: the others learn of the folder that rank 0 made. None, or what went wrong."""
        steps = Steps(self.rank, self.size, self.control.fileno(), self._listen, self.control.flush)
        made = trouble = None
        if self.rank == 0:
            try:
                made = tempfile.mkdtemp(prefix="ranks-", dir=os.environ.get("PTREMOTE_RUN_DIR"))
                steps.make(made)
                abreast.Abreast.made(os.path.join(made, LOOKED), self.size)
            except OSError as error:
                trouble = "rank 0 could not make the folder of its group: %s" % error
        made, trouble = self.world.world.bcast((made, trouble), root=0)
        if trouble:
            return trouble
        if self.rank:
            steps.open(made)
        self.looked = abreast.Abreast(os.path.join(made, LOOKED), self.rank, self.size)
        steps.agree()
        self.steps = steps
        return None

    def _watch(self):
        """Tests and libraries take signals as they like."""
        register, unregister = self._faults
        unregister(self._signal)
        register(self._signal, file=self._stacks, all_threads=True, chain=False)

    def end(self):
        """The session ends, here and in the other ranks."""
        if self.control.ours():
            self.steps.finish()
            self.steps.agree()

    def tells_end(self, failed):
        """The session's fixtures, or the session, have ended here: whether this rank is to tell what went wrong. Of
        fixtures not asked when the session was stopped."""
        return self.steps.agree(FAILED if failed else 0)[1] == self.rank

    def leave(self, status):
        """All was told. MPI is finalized as the interpreter ends, where all ranks come to that; else this does not
        return."""
        ending = self.steps is not None and self.steps.quit
        if ending and (self.rank == 0 or self.steps.alone):
            shutil.rmtree(self._folders(), ignore_errors=True)
            shutil.rmtree(self.steps.path, ignore_errors=True)
        if not ending or self.steps.alone:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LEAVE)

    def _listen(self):
        """For Steps."""
        turn = self.turn or runnings.Turn(self.control, self.running.bundle, ())
        turn.listen(len(turn.rest))
        return turn.quit

    # ---- a bundle ----

    def run(self, bundle, files):
        """What became of it: "done" or "quit"."""
        running, unable = self.running, {}
        chosen = list(files.choose(bundle, running.stop is not None, unable))
        self.turn = turn = runnings.Turn(self.control, bundle.number, chosen)
        over = self._agree_on_tests(bundle, unable, self._may_differ(chosen))
        while turn.rest and not over:
            number, nodeid, item = turn.rest.popleft()
            if running.stop is not None:
                running._not_run(number, nodeid)
                continue
            self._begin()
            running._run_test(number, nodeid, item, turn.rest[0][2] if turn.rest else running.between)
            over = self._end(nodeid, item)
        self.ahead = False  # there is no other bundle before all are done with this one
        self.control.flush()
        self.turn = None
        # The wish to end may have come while the ranks waited for each other: it is not said again.
        return "quit" if over or self.steps.quit else "done"

    def _may_differ(self, chosen):
        """Whether set-up of one of these tests may fail here and not elsewhere."""
        items = [item for _, _, item in chosen if item is not None]
        if not insides.sets_up_alike(self.running.config):
            return True
        return not all(insides.is_bare(item, ALIKE) and mpi.is_ours(item) for item in items)

    def _agree_on_tests(self, bundle, unable, votes):
        """Tests that some rank cannot run are told, and taken off the turn. Whether the session is to end."""
        self.serial += 1
        flags = (STOP if self.running.stop is not None else 0) | (VOTE if votes else 0)
        if unable:
            flags |= TROUBLE
            self._leave_trouble({number: told["outcome"] for number, told in unable.items()})
        self.steps.hear()
        said, first = self.steps.agree(flags | (QUIT if self.steps.quit else 0))
        if said & QUIT:
            return True
        self.votes = bool(said & VOTE)
        if said & STOP and self.running.stop is None:
            self.running.stop = self._stopped(first)
        if said & TROUBLE:
            self._tell_unable(bundle, unable)
        return False

    def _trouble(self, rank):
        return os.path.join(self.steps.path, "trouble.%d.%d" % (self.serial, rank))

    def _leave_trouble(self, outcomes):
        """For the others, before they are told that there is some."""
        with open(self._trouble(self.rank), "w", encoding="ascii") as file:
            json.dump(outcomes, file)

    def _troubles(self):
        """Of each rank what it left, once all know that there is some."""
        for rank in range(self.size):
            try:
                with open(self._trouble(rank), encoding="ascii") as file:
                    yield json.load(file)
            except FileNotFoundError:
                yield {}

    def _tell_unable(self, bundle, unable):
        blamed = {}  # number -> (rank, outcome)
        for rank, outcomes in enumerate(self._troubles()):
            for number, outcome in outcomes.items():
                blamed.setdefault(int(number), (rank, outcome))
        rest = [one for one in self.turn.rest if one[0] not in blamed]
        self.turn.rest.clear()
        self.turn.rest.extend(rest)
        for test in (test for file in bundle.files for test in file.tests if test.test in blamed):
            told = unable.get(test.test)
            if told is None:
                rank, outcome = blamed[test.test]
                told = reports.synthetic(test.nodeid, outcome, "collect", "not collected on rank %d" % rank)
                told["counts"] = {outcome: 1}
            self.control.report(test.test, wire.GRAVITY[told["outcome"]], reports.encode(told))

    def _stopped(self, rank):
        return "rank %d of %d ended the session" % (rank, self.size), None

    # ---- a test ----

    def _begin(self):
        self.serial += 1
        self.why, self.voted, self.told, self.used = None, not self.votes, False, False
        self.option.setuponly = self.only_setup
        self._watch()
        self.world.renew()

    def through(self, broke):
        """The test's protocol is over, regularly or not, and its report comes next."""
        if broke:
            self._failed()
        if not self.voted:
            self._vote(FAILED)

    def _end(self, nodeid, item):
        """Whether the session is to end."""
        running, steps = self.running, self.steps
        flags = FOLDER if self.used else 0
        if running.stop is not None:
            flags |= STOP
        if flags or not steps.late or any(report.outcome != "passed" for report, _ in running.gathered):
            self.control.flush()
        if self.votes or not self.orderly:
            flags |= LOOK
        steps.hear()
        said, first = steps.agree(flags | (QUIT if steps.quit else 0))
        left = () if steps.alone else self.world.leftovers()
        if said & LOOK:
            steps.agree()
        elif not steps.alone:
            self.looked.come()
            self.ahead = True
        if left:
            self._tell_left(left, nodeid, item)
        if said & FOLDER and self.rank == 0:
            shutil.rmtree(self._folder(), ignore_errors=True)
        if said & STOP and running.stop is None:
            running.stop = self._stopped(first)
        return bool(said & QUIT)

    def _vote(self, flags):
        """Set-up is over here."""
        self.voted = True
        said, first = self.steps.agree(flags)
        if said & (FAILED | SKIPPED) and not flags:
            self.why = "set-up %s on rank %d" % ("failed" if said & FAILED else "skipped", first)
            self.option.setuponly = True  # no call follows

    def _failed(self):
        if not self.told:
            self.told = True
            self.control.failed(self.running.current, self.control.phase)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self):
        self._look((yield))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self):
        self._look((yield))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self):
        self.told = False
        self._look((yield))

    def _look(self, outcome):
        """A phase was left: the others may wait for this rank."""
        error = outcome.excinfo[1] if outcome.excinfo else None
        if error is not None and not isinstance(error, (pytest.skip.Exception, unittest.SkipTest)):
            if self.running.current is not None and self.control.ours():
                self._failed()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call):
        outcome = yield
        if call.when != "setup" or self.running.current is None or not self.control.ours():
            return
        if self.ahead:
            self.ahead = False
            self.looked.wait()
        if self.voted:
            return
        report = outcome.get_result()
        self._vote(0 if report.passed else SKIPPED if report.skipped else FAILED)

    # ---- what a test has besides ----

    def _folders(self):
        return os.path.join(xdist.run_folder() or self.steps.path, "mpi-" + os.path.basename(self.steps.path))

    def _folder(self):
        return os.path.join(self._folders(), str(self.serial))

    def folder(self):
        """The folder of the test that runs. Whoever comes first makes it, so that nobody waits for another."""
        self.used = True
        path = self._folder()
        os.makedirs(path, 0o700, exist_ok=True)
        return Path(path)

    def _tell_left(self, left, nodeid, item):
        sources = sorted({source for source, _, _ in left})
        text = "%d message%s to rank %d of %d never received (from rank %s): it would have met the next test"
        text %= len(left), "" if len(left) == 1 else "s", self.rank, self.size, ", ".join(map(str, sources))
        path, line = item.reportinfo()[:2]
        message = warnings.WarningMessage(NeverReceived(text), NeverReceived, str(path), (line or 0) + 1)
        told = reports.warning(message, "runtest", nodeid, None, self.running.mapping.here)
        self.control.tell_note("warning", told)


def of(running):
    """The Group of a runner that is a member of one, else None."""
    size, rank = os.environ.get("PTREMOTE_RANKS", ""), os.environ.get("PTREMOTE_GROUP_RANK", "")
    if not (size.isdigit() and rank.isdigit() and int(rank) < int(size)):
        return None
    if os.environ.get("PTREMOTE_SPREAD") == "1":
        from ptremote import far

        return far.Group(running, int(rank), int(size))
    return Group(running, int(rank), int(size))
