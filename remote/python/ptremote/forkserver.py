# SPDX-License-Identifier: Apache-2.0
"""One a host: has pytest and its plugins imported, and forks a runner for each connection (docs/protocol.md 6).

A connection is one process: RUN with two descriptors, answered by PID and later by EXIT. A connection that
closes, or says what is no message, has its process group killed. This process has one thread and runs no test.
"""
import errno
import faulthandler
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time

from ptremote import preload, wire

# What pytest and most suites import anyway; nothing that starts threads or that libraries replace (ssl).
STDLIB = (
    "argparse ast base64 bisect calendar concurrent.futures configparser contextlib copy csv ctypes dataclasses "
    "datetime decimal difflib doctest enum fractions glob gzip hashlib importlib.metadata importlib.resources inspect "
    "itertools json locale logging math numbers operator pathlib pdb pickle platform pprint queue random shutil "
    "statistics string subprocess tarfile tempfile textwrap threading traceback typing unittest urllib.parse uuid "
    "warnings weakref xml.etree.ElementTree zipfile zlib"
)
FIRST_HIGH_FD = 500  # tests close low descriptors by number


def main():
    """argv: folder of this package, path of the socket, modules to preload (a comma list; may be missing). Says a
    line on stdout when connections are welcome, then one for each of the modules."""
    folder, path = sys.argv[1:3]
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    base = [entry for entry in sys.path[1:] if entry not in ("", folder)]
    sys.path[:] = base
    if sys.version_info < (3, 8):
        _say("MISSING python 3.8 or newer: %s is %s" % (sys.executable, sys.version.split()[0]))
        sys.exit(3)
    try:
        import pytest
    except ImportError as error:
        _say("MISSING pytest for %s (Debian: python3-pytest): %s" % (sys.executable, error))
        sys.exit(3)
    _import_own()
    sys.path[:] = base + [folder]
    server = Server(path, preload.split(wanted))
    _say("READY %s\t%s\t%s" % (sys.version.split()[0], pytest.__version__, sys.executable))
    request = server.serve()
    if request is None:
        os._exit(0)  # what was preloaded has nothing to do at our end
    # From here on this is the forked child.
    del server
    become(request)
    from ptremote import runner

    runner.main(request.control)


def fresh():
    """A runner that must not have what the server has; argv: folder of this package, descriptors of the control
    socket and of a file with the session."""
    folder, control, told = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    base = [entry for entry in sys.path[1:] if entry not in ("", folder)]
    sys.path[:] = [os.getcwd()] + base + [folder]
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    faulthandler.enable()
    os.set_inheritable(control, False)
    os.lseek(told, 0, os.SEEK_SET)
    with open(told, "rb") as file:
        session = json.loads(file.read().decode("utf-8"))
    from ptremote import runner
    from ptremote.control import Control

    runner.begin(Control(control), session)


def _say(line):
    os.write(1, (line.replace("\n", " ") + "\n").encode("utf-8", "backslashreplace"))


def _import_own():
    for name in STDLIB.split():
        try:
            __import__(name)
        except ImportError:
            pass
    from ptremote import insides, mpi

    for name in ("running", "runner", "ranks"):
        __import__("ptremote." + name)
    mpi.stand_in()
    if not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        insides.import_plugins()
    gc.collect()
    gc.freeze()


class Request:
    """What RUN asked for."""

    def __init__(self, cwd, env, control, output):
        self.cwd = cwd
        self.env = env
        self.control = control
        self.output = output


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.fds = []
        self.pid = None

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Server:
    def __init__(self, path, wanted=()):
        self._poll = select.poll()
        self._open = {}  # descriptor -> Connection
        self._orphans = set()  # pids of killed processes that are not reaped yet
        self._parent = os.getppid()
        self._wake, self._wake_in = os.pipe()
        for fd in (self._wake, self._wake_in):
            os.set_blocking(fd, False)
        self._ending = False
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._wanted = wanted
        self._trial = None

    def _end(self, number, frame):
        self._ending = True

    def serve(self):
        """None when the server ends; in a forked child, what it has to become."""
        self._begin_trial()
        while not self._ending and os.getppid() == self._parent:
            for fd, _ in self._poll.poll(0 if self._trial and self._trial.good else 1000):
                if fd == self._wake:
                    self._drain()
                elif fd == self._listener.fileno():
                    self._accept()
                elif fd in self._open:
                    request = self._hear(self._open[fd])
                    if request is not None:
                        return request
                elif self._trial and fd == self._trial.fd:
                    self._watch_trial(fd, self._trial.hear())
            self._reap()
            self._go_on_with_trial()
        if self._trial:
            self._trial.stop()
        for connection in list(self._open.values()):
            self._drop(connection)
        return None

    def _begin_trial(self):
        if self._wanted:
            self._trial = preload.Trial(self._wanted, self._forget)
            self._watch_trial(None, True)

    def _watch_trial(self, fd, changed):
        """Its descriptor was `fd`; when it changed, wait for the one it has now."""
        if not changed:
            return
        if fd is not None:
            self._poll.unregister(fd)
        if self._trial.fd is not None:
            self._poll.register(self._trial.fd, select.POLLIN)

    def _go_on_with_trial(self):
        """One import at a time, so that connections do not wait for all of them."""
        if not self._trial:
            return
        fd = self._trial.fd
        self._watch_trial(fd, self._trial.late())
        if self._trial.good:
            preload.keep(self._trial.good.pop(0))
            gc.freeze()
        while self._trial.said:
            _say(self._trial.said.pop(0))
        if self._trial.fd is None and not self._trial.good:
            self._trial = None

    def _drain(self):
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        creds = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", creds)[1] not in (os.getuid(), 0):
            sock.close()
            return
        sock.setblocking(False)
        self._open[sock.fileno()] = Connection(sock)
        self._poll.register(sock, select.POLLIN)

    def _hear(self, connection):
        """Read what there is; a Request in a forked child."""
        try:
            data, fds = wire.receive(connection.sock, 65536)
            connection.fds += fds
            if not data or len(connection.fds) > 2:
                self._drop(connection)
                return None
            connection.buffer += data
            return self._frames(connection)
        except BlockingIOError:
            return None
        except (wire.Malformed, OSError, ValueError) as error:
            self._refuse(connection, str(error))
            return None

    def _frames(self, connection):
        while True:
            message = wire.next_frame(connection.buffer)
            if message is None:
                return None
            kind, fields = message
            if kind == wire.F_RUN and connection.pid is None:
                request = self._decode(fields, connection)
                if self._fork(connection, request):
                    return request
            elif kind == wire.F_KILL and connection.pid is not None:
                number = fields.u32()
                fields.end()
                self._signal(connection.pid, number)
            else:
                raise wire.Malformed("message of type %d out of place" % kind)

    @staticmethod
    def _decode(fields, connection):
        cwd = fields.str(wire.MAX_PATH)
        env = {}
        for _ in range(fields.count(8)):
            name = fields.str(wire.MAX_PATH)
            env[name] = fields.str(wire.MAX_TEXT)
            if not name or "=" in name:
                raise wire.Malformed("no name of a variable: %r" % name[:100])
        fields.end()
        if len(connection.fds) != 2:
            raise wire.Malformed("RUN came with %d descriptors instead of 2" % len(connection.fds))
        return Request(cwd, env, *connection.fds)

    def _fork(self, connection, request):
        """True in the child."""
        try:
            pid = os.fork()
        except OSError as error:
            self._refuse(connection, "fork: %s" % error)
            return False
        if pid == 0:
            self._forget()
            return True
        connection.pid = pid
        for fd in connection.fds:
            os.close(fd)
        connection.fds = []
        self._send(connection, wire.frame(wire.F_PID, struct.pack(">I", pid)))
        return False

    def _forget(self):
        """In a child: forget the server without touching what it has open."""
        signal.set_wakeup_fd(-1)
        os.close(self._wake)
        os.close(self._wake_in)
        self._listener.close()
        for connection in self._open.values():
            connection.fds = []
            connection.sock.close()
        self._open.clear()

    def _send(self, connection, data):
        try:
            if connection.sock.send(data) == len(data):
                return
        except OSError:
            pass
        self._drop(connection)

    def _refuse(self, connection, reason):
        if connection.sock.fileno() in self._open:
            try:
                connection.sock.send(wire.frame(wire.F_FAIL, wire.field(reason[:1000])))
            except OSError:
                pass
            self._drop(connection)

    def _drop(self, connection):
        fd = connection.sock.fileno()
        if self._open.pop(fd, None) is None:
            return
        self._poll.unregister(fd)
        if connection.pid is not None:
            self._signal(connection.pid, signal.SIGKILL)
            self._orphans.add(connection.pid)
        connection.close()

    @staticmethod
    def _signal(pid, number):
        """To the group; to the process alone while it leads no group yet. The pid is not reaped, so it is ours."""
        for send in (os.killpg, os.kill):
            try:
                send(pid, number)
                return
            except ProcessLookupError:
                pass
            except OSError as error:
                if error.errno == errno.EINVAL:
                    raise wire.Malformed("signal %d" % number) from None

    def _reap(self):
        for connection in list(self._open.values()):
            status = self._wait(connection.pid) if connection.pid is not None else None
            if status is not None:
                connection.pid = None
                self._send(connection, wire.frame(wire.F_EXIT, struct.pack(">I", status)))
                self._drop(connection)
        for pid in list(self._orphans):
            if self._wait(pid) is not None:
                self._orphans.discard(pid)

    def _wait(self, pid):
        """The wait status of a process that ended. What is left of its group is killed while the id is still taken."""
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self._signal(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]


# ---- in the child ----


def become(request):
    """A process as a shell would start it: own session, default signals, the suite's environment, nothing else open."""
    parent = os.getppid()
    os.setsid()
    _die_with_parent(parent)
    _reset_signals()
    request.control = _arrange_descriptors(request)
    _take_environment(request.env)
    try:
        os.chdir(request.cwd)
        os.environ["PWD"] = request.cwd
    except OSError as error:
        text = "the working directory cannot be used: %s" % error
        os.write(request.control, wire.frame(wire.R_BROKEN, wire.field(text)))
        os._exit(1)
    sys.path.insert(0, os.getcwd())
    faulthandler.enable()


def _die_with_parent(parent):
    import ctypes

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _reset_signals():
    keep = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)}
    for number in signal.valid_signals() - keep:
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _arrange_descriptors(request):
    """0 reads nothing, 1 and 2 write to the output file, the control socket is out of the way, the rest is closed."""
    import fcntl
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    least = FIRST_HIGH_FD if soft == resource.RLIM_INFINITY or soft > FIRST_HIGH_FD + 16 else 3
    control = fcntl.fcntl(request.control, fcntl.F_DUPFD_CLOEXEC, least)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(request.output, 1)
    os.dup2(request.output, 2)
    os.dup2(null, 0)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != control:
            try:
                os.close(fd)
            except OSError:
                pass
    return control


def _take_environment(env):
    """What an interpreter takes from the environment when it starts is taken again where it differs."""
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    changed = {name for name in env if before[name] != env[name]}
    if "PYTHONPATH" in changed:
        old = (before["PYTHONPATH"] or "").split(os.pathsep)
        new = [os.path.abspath(entry) for entry in env["PYTHONPATH"].split(os.pathsep) if entry]
        sys.path[:] = new + [entry for entry in sys.path if entry not in new and entry not in old]
    if "PYTHONPYCACHEPREFIX" in changed:
        sys.pycache_prefix = env["PYTHONPYCACHEPREFIX"] or None
    if env.get("PYTHONDONTWRITEBYTECODE"):
        sys.dont_write_bytecode = True
    if "TZ" in changed:
        time.tzset()
    if any(name == "LANG" or name.startswith("LC_") for name in changed):
        import locale

        try:
            locale.setlocale(locale.LC_CTYPE, "")
        except locale.Error:
            pass
    import importlib

    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
