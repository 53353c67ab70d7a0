# SPDX-License-Identifier: Apache-2.0
"""The control socket of a runner (docs/protocol.md 6). One process at a time owns it: the session, or the child
that runs tests for it. A process that a test forked says and hears nothing on it."""
import mmap
import os
import select
import socket
import struct
import tempfile
import time

from ptremote import wire

BUSY, QUITTING, ASKED, STATE, RESULT = range(5)  # places in Control.shared; from RESULT on JSON
RUNNING, TOLD, LEFT = range(3)  # STATE: tests run, all is told, it is about to leave
SHARED_SIZE = 1 << 16
PLACE_SIZE = 16


class Gone(Exception):
    """The supervisor closed the control socket."""


class Control:
    def __init__(self, fd):
        self._sock = socket.socket(fileno=fd)
        start, report = struct.Struct(">IBIB"), struct.Struct(">IBIBI")
        # Bound here, so that tests may replace os.getpid, struct or socket while they run.
        self._getpid, self._owner, self._sendall = os.getpid, os.getpid(), self._sock.sendall
        self._start, self._report, self._recv = start.pack, report.pack, self._sock.recv
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self._poll = poll.poll
        self._held = b""  # a report, that goes with the frame after it
        self.dropped = frozenset()  # kinds of notes that another rank tells
        self.phase = wire.COLLECT  # the last that began
        # What a child does with the socket, so that the session knows where a child that died left it.
        self.shared = bytearray(RESULT)
        self._place, self._put_place, self._clock = bytearray(PLACE_SIZE), struct.Struct(">IIQ").pack_into, time.monotonic_ns

    def fileno(self):
        return self._sock.fileno()

    def ours(self):
        return self._getpid() == self._owner

    def tell_place(self):
        """The rank gets a file that it looks into when a test dies or takes too long: which test, in which phase."""
        if hasattr(os, "memfd_create"):
            file = os.fdopen(os.memfd_create("ptremote-place"), "r+b", 0)
        else:
            file = tempfile.TemporaryFile(buffering=0)
        with file:
            file.truncate(PLACE_SIZE)
            self._place = mmap.mmap(file.fileno(), PLACE_SIZE)
            self._send_with(wire.R_PLACE, [file.fileno()])

    def share(self):
        """From now on what `shared` holds is the same here and in children."""
        if not isinstance(self.shared, mmap.mmap):
            self.shared = mmap.mmap(-1, SHARED_SIZE)
        self.shared[: RESULT + 1] = bytes(RESULT + 1)

    def own(self):
        """This process speaks and hears from now on."""
        self._owner = self._getpid()

    def _put(self, data):
        if self._getpid() == self._owner:
            self.shared[BUSY] = 1
            try:
                self._sendall(self._held + data)
            except OSError:
                os._exit(1)  # nobody is there to hear how it went on
            self._held = b""
            self.shared[BUSY] = 0

    def flush(self):
        """Before anything but the next test comes: what was told goes out."""
        if self._held:
            self._put(b"")

    def say(self, kind, body=b""):
        self._put(wire.frame(kind, body))

    def start(self, test, phase):
        """Only the first phase is worth a message: the place has the others."""
        self.phase = phase
        if self._getpid() == self._owner:
            self._put_place(self._place, 0, test, phase, self._clock() // 1000000)
            if phase == wire.SETUP:
                self._put(self._start(6, wire.R_START, test, phase))

    def report(self, test, outcome, data):
        """Sent with what is said next, or flush()."""
        if self._getpid() == self._owner:
            self.flush()
            self._held = self._report(10 + len(data), wire.R_REPORT, test, outcome, len(data)) + data

    def failed(self, test, phase):
        """Of a rank of several: that phase ended here with an exception."""
        self.say(wire.R_FAILED, test.to_bytes(4, "big") + bytes((phase,)))

    def note(self, kind, **values):
        if kind not in self.dropped:
            self.tell_note(kind, values)

    def tell_note(self, kind, values):
        from ptremote import reports

        values["kind"] = kind
        self.say(wire.R_NOTE, wire.field(reports.encode(values)))

    def stolen(self, bundle, tests):
        self.say(wire.R_STOLEN, struct.pack(">II%dI" % len(tests), bundle, len(tests), *tests))
        self.shared[ASKED] = 0

    def captures(self, fds):
        if self.ours():
            self._send_with(wire.R_CAPTURE, fds)

    def _send_with(self, kind, fds):
        rights = struct.pack("%di" % len(fds), *fds)
        try:
            socket.SocketType.sendmsg(self._sock, [wire.frame(kind)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            os._exit(1)

    def waiting(self):
        """Whether there is something to hear."""
        return bool(self._poll(0))

    def hear(self):
        """The next message: (type, Reader). Takes no byte of the one after it: another process may hear that."""
        self.flush()
        self.shared[BUSY] = 1
        data = self._exactly(4)
        size = int.from_bytes(data, "big")
        if not 1 <= size <= wire.MAX_FRAME:
            raise wire.Malformed("frame of %d bytes" % size)
        data = self._exactly(size)
        kind = data[0]
        if kind == wire.R_QUIT:
            self.shared[QUITTING] = 1
        elif kind == wire.R_STEAL:
            self.shared[ASKED] = 1
        self.shared[BUSY] = 0
        return kind, wire.Reader(data[1:])

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            part = self._recv(min(size - len(data), 1 << 20))
            if not part:
                raise Gone()
            data += part
        return bytes(data)
