# SPDX-License-Identifier: Apache-2.0
"""A runner that is one of the ranks of a test that runs on several hosts: no file or FIFO is sure to be there for all.

The words of ranks.Steps go through MPI here, in a communicator that no test knows. A rank that waits looks for them now
and then and sleeps in between, as waiting inside of MPI would spin; meanwhile it hears the supervisor.
"""
import json
import os
import socket
import tempfile
import time

import pytest

from ptremote import mpi, ranks, wire, xdist
from ptremote.ranks import BLAME, LOOK, QUIT

UP, DOWN, DATA, LAST = range(4)  # tags
EAGER = 50  # looks before the first sleep
SHORT, LONG, SLOWER = 1, 5, 20  # ms of a sleep, and after how many more looks each gets a ms longer
PATIENCE = 30  # seconds: how long others may take once the session is to end
ROUNDS = 4  # of words at the start: all connections are up then, and a word goes out as it is sent


class Steps(ranks.Steps):
    """For ranks that share nothing but a communicator, whose every message is ours."""

    def __init__(self, comm, module, control, listen):
        """`module` is mpi4py.MPI; `control` and `listen` as in ranks.Steps."""
        super().__init__(comm.rank, comm.size, control, listen)
        self._status, self._byte, self._any = module.Status(), module.BYTE, module.ANY_SOURCE
        self._isend, self._iprobe, self._recv = comm.Isend, comm.Iprobe, comm.Recv
        self._clock = time.monotonic

    def agree(self, flags=0):
        """As ranks.Steps has it. With LOOK all that MPI sent before has arrived then."""
        self._number += 1
        flags, first = self._ask(flags) if self.rank else self._gather(flags)
        if flags & LOOK and not self.alone:
            self._sweep()
        return flags, first

    def exchange(self, text):
        """What each rank gave here, by rank; nobody waits for this once this rank is alone."""
        if self.rank:
            self._say([0], DATA, text.encode())
            return json.loads((self._hear_from(0, DATA) or (0, b"[]"))[1].decode())
        texts = [text] * self.size
        for _ in range(1, self.size):
            source, data = self._hear_from(self._any, DATA) or (0, text.encode())
            texts[source] = data.decode()
        self._say(range(1, self.size), DATA, json.dumps(texts).encode())
        return texts

    def _gather(self, flags):
        first = 0 if flags & BLAME else wire.NONE
        for _ in range(1, self.size):
            came = self._hear_from(self._any, UP)
            if came is None:
                return QUIT, wire.NONE
            number, said = self._up.unpack(came[1])
            self._check(number)
            flags |= said
            if said & BLAME:
                first = min(first, came[0])
        self._say(range(1, self.size), DOWN, self._down.pack(self._number, flags, first))
        return flags, first

    def _ask(self, flags):
        self._say([0], UP, self._up.pack(self._number, flags))
        came = self._hear_from(0, DOWN)
        if came is None:
            return QUIT, wire.NONE
        number, flags, first = self._down.unpack(came[1])
        self._check(number)
        return flags, first

    def _sweep(self):
        """What one rank sent another before this has arrived after it: messages do not overtake each other."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        self._say(others, LAST, b"")
        for rank in others:
            self._hear_from(rank, LAST)

    def _say(self, to, tag, data):
        """Who is alone is out of step with those who still wait."""
        if self.alone:
            return
        sent = [self._isend([data, self._byte], rank, tag) for rank in to]
        self._wait(lambda: all([one.Test() for one in sent]))

    def _hear_from(self, source, tag):
        """(rank, bytes), or None when nobody is left to hear from."""
        status = self._status
        if not self._wait(lambda: self._iprobe(source, tag, status)):
            return None
        data, source = bytearray(status.Get_count(self._byte)), status.Get_source()
        self._recv([data, self._byte], source, tag)
        return source, data

    def _wait(self, done):
        """Until it is done: True. False when this rank is alone."""
        looks, end = 0, None
        while not self.alone:
            if done():
                return True
            looks += 1
            pause = 0 if looks <= EAGER else min(LONG, SHORT + (looks - EAGER) // SLOWER)
            if self._poll(pause):
                self.hear()
            if self.quit and end is None:
                end = self._clock() + PATIENCE
            self.alone = end is not None and self._clock() > end
        return False


class Group(ranks.Group):
    """This process as a rank of tests on several hosts."""

    orderly = False

    def __init__(self, *given):
        super().__init__(*given)
        self._unable = {}

    def join(self, session):
        trouble = super().join(session)
        return trouble and "%s: %s" % (socket.gethostname(), trouble)

    def _meet(self):
        world = self.world.world.Dup()
        steps = Steps(world, self.world.mpi, self.control.fileno(), self._listen)
        made, trouble, home = [], None, socket.gethostname()
        if self.rank == 0:
            try:
                made = self._make()
            except OSError as error:
                trouble = "rank 0 could not make the folder of its group: %s" % error
        made, trouble, self._home = world.bcast((made, trouble, home), root=0)
        if trouble:
            return trouble
        self._own, steps.path = home, made[-1]
        self._share(made, world.allgather([os.path.isdir(path) for path in made]))
        for _ in range(ROUNDS):
            steps.agree()
        self.steps = steps
        return None

    @staticmethod
    def _make():
        """Rank 0: folders with names that nobody knows. The last is the group's."""
        folder = tempfile.mkdtemp(prefix="ranks-", dir=os.environ.get("PTREMOTE_RUN_DIR"))
        temporary = xdist.run_folder()
        return [tempfile.mkdtemp(prefix="mpi-", dir=temporary), folder] if temporary else [folder]

    def _share(self, made, seen):
        """The first folder that all ranks see is for mpi_tmpdir."""
        found = next((at for at in range(len(made)) if all(one[at] for one in seen)), 0)
        self._shared, self._sees = made[found], seen[self.rank][found]
        if self.rank == 0:
            for path in made[:-1]:
                if path != self._shared:
                    os.rmdir(path)

    def _leave_trouble(self, outcomes):
        self._unable = outcomes

    def _troubles(self):
        mine, self._unable = self._unable, {}
        return [json.loads(text) for text in self.steps.exchange(json.dumps(mine))]

    def _folders(self):
        return self._shared

    def folder(self):
        """That of ranks.Group, where all ranks see it."""
        if not self._sees:
            pytest.fail(mpi.UNSEEN % (self.rank, self._own, self._home, self._shared), pytrace=False)
        return super().folder()
