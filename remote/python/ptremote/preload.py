# SPDX-License-Identifier: Apache-2.0
"""Third-party modules that the fork server imports, so that the runners it forks have them.

An import cannot be undone, so each is tried first in a process that is thrown away. The server imports only what came
up there within TIME_LIMIT, left nothing behind but modules, and would do the same in a runner: a module that starts
threads or processes, leaves descriptors open, prints, warns, or changes the environment, sys.path, the working
directory, the locale or a signal's handler is left to the runners; so is one of the project, or that brings one along.

Whether a runner's project hides such a module behind one of its own is known only to the runner: then it starts
a fresh interpreter in its place.
"""
import importlib
import json
import os
import resource
import signal
import sys
import time
import warnings

from ptremote import modules

TIME_LIMIT = 30.0  # seconds for one import
LINE_MAX = 64 << 10
FRESH = "import sys; sys.path.insert(0, sys.argv[1]); from ptremote import forkserver; forkserver.fresh()"
# Warnings that pytest shows to nobody, unless asked.
UNSEEN = (ImportWarning, ResourceWarning)

brought = set()  # top-level names that this process, or the one it was forked from, has imported ahead
spoiled = False  # the server has threads all the same


def split(text):
    """Names of a comma list, without what must not be imported ahead."""
    names = [name.strip() for name in text.split(",")]
    return [name for name in dict.fromkeys(names) if name and name != "none" and not modules.never(name)]


# ---- one import, watched ----


class Watch:
    """The state of this process that an import must leave as it is."""

    def __init__(self, folders):
        self._folders = folders
        self._known = set(sys.modules)
        self._environ, self._path = dict(os.environ), list(sys.path)
        self._parts = self._look()

    @staticmethod
    def _look():
        import locale

        try:
            folder = os.getcwd()
        except OSError:
            folder = None
        handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        return {
            "the working directory": folder,
            "the locale": locale.setlocale(locale.LC_ALL),
            "a signal's handler": handlers,
            "the mask of signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "descriptors": sorted(_descriptors().items()),
            "the number of threads": len(os.listdir("/proc/self/task")),
            "processes": _children(),
        }

    def trouble(self):
        """Why what was imported must not be kept, or None."""
        if dict(os.environ) != self._environ:
            return "it changes the environment"
        if sys.path != self._path:
            return "it changes sys.path"
        now = self._look()
        for name, before in self._parts.items():
            if now[name] != before:
                return "it changes " + name
        for name in self.new():
            if modules.never(name):
                return "it imports " + name
            if any(modules.inside(place, self._folders) for place in modules.where(sys.modules[name])):
                return "%s is of the project" % name
        return None

    def new(self):
        return [name for name in list(sys.modules) if name not in self._known]

    def restore(self):
        """As far as that goes."""
        import locale

        os.environ.clear()
        os.environ.update(self._environ)
        sys.path[:] = self._path
        if self._parts["the working directory"]:
            os.chdir(self._parts["the working directory"])
        locale.setlocale(locale.LC_ALL, self._parts["the locale"])
        for number, handler in self._parts["a signal's handler"].items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass  # of the listing itself
    return {fd: target for fd, target in found.items() if target != "/proc/%d/fd" % os.getpid()}


def _children():
    from ptremote import isolating

    return sorted(isolating.children(os.getpid()))


def _project():
    """Folders of the project, as far as they are known before a runner is asked for."""
    folder = os.environ.get("PTREMOTE_WORKSPACE")
    return [os.path.abspath(folder), os.path.realpath(folder)] if folder else []


def attempt(name):
    """Import it in a process that is thrown away; why it must not be kept, or None."""
    watch = Watch(_project())
    os.ftruncate(1, 0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            importlib.import_module(name)
        except BaseException as error:
            return "%s: %s" % (type(error).__name__, str(error)[:200])
        told = [one for one in told if not issubclass(one.category, UNSEEN)]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if told:
        return "it warns: %s" % str(told[0].message)[:200]
    if os.fstat(1).st_size:
        return "it prints"
    return watch.trouble()


def keep(name):
    """Import it here. What it warns of and prints is for nobody."""
    global spoiled
    watch = Watch(_project())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    except BaseException:
        pass
    watch.restore()
    brought.update(modules.top(new) for new in watch.new() if not modules.stdlib(modules.top(new)))
    spoiled = spoiled or len(os.listdir("/proc/self/task")) > 1


# ---- the trial ----


class Trial:
    """Tries names in a child, one after the other. The child ends at the first that must not be kept."""

    def __init__(self, names, leave):
        """`leave` is called in the child: it closes what only the server may have."""
        self.names = list(names)  # not decided yet; the first one is being tried
        self.good = []  # to be imported here
        self.said = []  # lines for whoever started us
        self._leave = leave
        self._buffer = b""
        self.fd = self._pid = None
        self._since = 0.0
        self._start()

    def _start(self):
        if not self.names:
            return
        self.fd, write_end = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self.fd)
            os.close(write_end)
            self.fd, self.names = None, []
            return
        if self._pid == 0:
            self._be_child(write_end)
        os.close(write_end)
        os.set_blocking(self.fd, False)
        self._buffer, self._since = b"", time.monotonic()

    def _be_child(self, out):
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.close(self.fd)
            self._leave()
            _die_with_parent()
            said = os.memfd_create("said")
            for fd in (1, 2):
                os.dup2(said, fd)
            os.close(said)
            for name in self.names:
                began = time.monotonic()
                why = attempt(name)
                line = json.dumps([name, why, round(time.monotonic() - began, 3)])
                os.write(out, line.encode() + b"\n")
                if why:
                    break
        finally:
            os._exit(0)

    def hear(self):
        """Something is there to be read: True when the descriptor to wait for is another one now."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return False
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._decide(*json.loads(line.decode()))
        if data and len(self._buffer) <= LINE_MAX:
            return False
        self._finish("it ended the process")
        return True

    def late(self):
        """Whether an import took too long; then the descriptor to wait for is another one."""
        if self.fd is None or time.monotonic() - self._since < TIME_LIMIT:
            return False
        self._finish("it takes longer than %d seconds" % TIME_LIMIT)
        return True

    def _decide(self, name, why, seconds):
        self.names.remove(name)
        self._since = time.monotonic()
        self._failed = why is not None
        if why is None:
            self.good.append(name)
        self.said.append("PRELOAD %s %.3f %s" % (name, seconds, why or "kept"))

    _failed = False

    def _finish(self, why):
        """The child is done with. What it was at, if it said nothing of that, is not kept."""
        self.stop()
        if self.names and not self._failed:
            self._decide(self.names[0], why, time.monotonic() - self._since)
        self._failed = False
        self._start()

    def stop(self):
        if self.fd is None:
            return
        os.close(self.fd)
        self.fd = None
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except OSError:
            pass
        try:
            os.kill(self._pid, signal.SIGKILL)  # it may not have got to setsid()
            os.waitpid(self._pid, 0)
        except OSError:
            pass


def _die_with_parent():
    import ctypes

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


# ---- in a runner ----


def conflicts(folders):
    """Whether this runner must not have what was imported ahead."""
    if spoiled:
        return True
    for folder in dict.fromkeys(folders):
        try:
            found = {entry.partition(".")[0]: entry for entry in os.listdir(folder)}
        except OSError:
            continue
        for name in brought.intersection(found):
            if _importable(folder, name):
                return True
    return False


def _importable(folder, name):
    if os.path.isfile(os.path.join(folder, name, "__init__.py")):
        return True
    return any(os.path.isfile(os.path.join(folder, name + end)) for end in importlib.machinery.all_suffixes())


def start_afresh(control, session):
    """Become a new interpreter that has nothing imported, and goes on with this control socket and session."""
    told = os.memfd_create("session", 0)
    view = memoryview(session)
    while view:
        view = view[os.write(told, view) :]
    os.set_inheritable(control, True)
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    args = [sys.executable, "-c", FRESH, folder, str(control), str(told)]
    os.execv(sys.executable, args)
