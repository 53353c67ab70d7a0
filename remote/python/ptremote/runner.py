# SPDX-License-Identifier: Apache-2.0
"""Runs bundles of tests in one live pytest session, in a forked process (docs/protocol.md 6).

The session is started as `python3 -m pytest ARGS` would start it. Instead of collecting everything and running it,
it waits in pytest_runtestloop for bundles, collects their files and runs the chosen items one by one.
"""
import json
import os
import socket
import struct
import sys

from ptremote import collector, wire


# What pytest looks for in the folders above its arguments.
ROOT_FILES = (
    "pytest.toml .pytest.toml pytest.ini .pytest.ini pyproject.toml tox.ini setup.cfg setup.py".split()
)


class Gone(Exception):
    """The supervisor closed the control socket."""


class Control:
    """The control socket. A process that a test forked says and hears nothing on it."""

    def __init__(self, fd):
        self._sock = socket.socket(fileno=fd)
        self._buffer = bytearray()
        start, report = struct.Struct(">IBIB"), struct.Struct(">IBIBI")
        # Bound here, so that tests may replace os.getpid, struct or socket while they run.
        self._getpid, self._owner, self._sendall = os.getpid, os.getpid(), self._sock.sendall
        self._start, self._report = start.pack, report.pack

    def ours(self):
        return self._getpid() == self._owner

    def _put(self, data):
        if self._getpid() == self._owner:
            try:
                self._sendall(data)
            except OSError:
                os._exit(1)  # nobody is there to hear how it went on

    def say(self, kind, body=b""):
        self._put(wire.frame(kind, body))

    def start(self, test, phase):
        self._put(self._start(6, wire.R_START, test, phase))

    def report(self, test, outcome, data):
        self._put(self._report(10 + len(data), wire.R_REPORT, test, outcome, len(data)) + data)

    def note(self, kind, **values):
        from ptremote import reports

        values["kind"] = kind
        self.say(wire.R_NOTE, wire.field(reports.encode(values)))

    def captures(self, fds):
        if self.ours():
            socket.SocketType.sendmsg(
                self._sock,
                [wire.frame(wire.R_CAPTURE)],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(fds), *fds))],
            )

    def hear(self):
        """The next message: (type, Reader)."""
        while True:
            message = wire.next_frame(self._buffer)
            if message is not None:
                return message
            data = self._sock.recv(1 << 16)
            if not data:
                raise Gone()
            self._buffer += data


def main(fd):
    """Run one session on this control socket; ends the process."""
    control = Control(fd)
    kind, fields = control.hear()
    if kind != wire.R_SESSION:
        raise wire.Malformed("message of type %d instead of the session" % kind)
    session = json.loads(fields.bytes().decode("utf-8"))
    fields.end()
    sys.exit(run(control, session))


def run(control, session):
    import pytest

    from ptremote import places
    from ptremote.running import Running

    workspace = os.environ.get("PTREMOTE_WORKSPACE") or os.getcwd()
    mapping = places.Mapping(session.get("homes") or [], workspace)
    addopts = os.environ.get("PYTEST_ADDOPTS")
    if addopts:
        os.environ["PYTEST_ADDOPTS"] = mapping.text(addopts)
    args = _root_args(session, mapping) + [mapping.text(arg) for arg in session["args"]]
    sys.argv[:] = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py")] + args
    plugin = Running(control, session, mapping)
    words = collector.Echo(sys.stderr)
    sys.stderr = words
    trouble = None
    try:
        status = int(pytest.main(list(args), plugins=[plugin]))
    except BaseException:  # pytest.exit() outside of a session, a plugin's own mistake
        import traceback

        status, trouble = 3, traceback.format_exc()
    finally:
        sys.stderr = words.original
    if not control.ours():
        os._exit(status)
    if not plugin.up:
        text = plugin.trouble or trouble or words.text() or "pytest ended with status %d before it was ready" % status
        control.say(wire.R_BROKEN, wire.field(text.strip()[-wire.MAX_TEXT // 2 :]))
        return 1
    if not plugin.finished:
        sys.stderr.write(plugin.trouble or trouble or words.text())
        return 1
    if plugin.interrupt is None and (trouble or plugin.trouble):
        plugin.tell_end_trouble(trouble or plugin.trouble)
    control.say(wire.R_ENDED)
    return 0


def _root_args(session, mapping):
    """What makes pytest find the rootdir and ini file of home where something above the workspace misleads it."""
    folder, found = os.path.dirname(mapping.workspace), False
    while not mapping.same and folder != os.path.dirname(folder):
        found = found or any(os.path.exists(os.path.join(folder, name)) for name in ROOT_FILES)
        folder = os.path.dirname(folder)
    root = mapping.there(session["root"])
    if not found or any(arg.startswith("--rootdir") for arg in session["args"]) or not os.path.isdir(root):
        return []
    ini = mapping.there(session["inipath"]) if session.get("inipath") else None
    if ini and os.path.exists(ini) and "-c" not in session["args"]:
        return ["--rootdir=" + root, "-c", ini]
    return ["--rootdir=" + root]
