# SPDX-License-Identifier: Apache-2.0
"""--isolate bundle|test: the session collects and runs no fixture; a child forked from it runs the bundle, or one test.

A child is a whole session of its tests. Every fixture, also of session scope, is set up in it when a test of it
asks for it, and torn down in it after its last test, by that test's own tear-down as at the end of a plain run.
pytest_sessionfinish and pytest_unconfigure run once, in the session; pytest_runtest_* run in children, so a plugin
that sums up there what tests did finds nothing but the count of failed ones and the wish to stop.

The child owns the control socket until it has told all. Then it ends as an interpreter does (threads, atexit handlers
registered in it, coverage, buffers), but destroys no objects, and for at most LEAVE seconds. The session reaps it and
kills what it left behind. A child that ended otherwise is told by DIED; the session lives and waits for what to run
next. Only when it died in the middle of a message is the session lost too.

A process with more than one thread must not fork. Threads that end by themselves at a fork (OpenBLAS) are none. With
others the tests run in the session itself, which ends after the bundle, or after one test, and is followed by another.
"""
import _thread
import ctypes
import gc
import json
import os
import select
import signal
import sys
import threading
import time
import warnings

from ptremote import afterfork, control, insides, wire

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LEAVE = 2.0  # seconds for a child to end once all is told
KILLING = 2.0  # seconds for what it left to be gone
SETTLE = 0.2  # seconds for threads that are just ending
# Sent to all of the group by a test, or (SIGABRT) to see what it does: not for the session.
CALM = ("SIGABRT", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM")


class Isolation:
    """Of one session. `running` does in a child what it would do in the session."""

    def __init__(self, running, per_test, node=None):
        self.running = running
        self.control = running.control
        self.per_test = per_test
        self.node = node  # has forked() and leaving(), called in children; or None
        self.unsafe = None  # why no process is forked any more
        self.generators = afterfork.Generators()
        self.writers = afterfork.Writers()
        self.calm = {}  # signal -> the suite's handler
        self.stacks = 2  # where faulthandler writes
        self.torn = False  # captured output of a child that died is still there
        self._libc = ctypes.CDLL(None)
        self._libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._getpid, self._clock = os.getpid, time.monotonic

    # ---- the session ----

    def run(self, turn):
        """What became of the turn: "done", "died", "quit", or "over" when this session has to end."""
        if self.torn:
            insides.empty_captures(self.running.config)
            self.torn = False
        if self.unsafe is None and turn.rest:
            self._prepare()
        if self.unsafe is not None and turn.rest:
            return self._run_here(turn)
        self._keep_calm()
        try:
            return self._run_children(turn)
        finally:
            afterfork.set_signals(self.calm, self.stacks)

    def _prepare(self):
        """The bundle is collected, and nothing of it has run."""
        self.unsafe = why_unsafe()
        if self.unsafe:
            self.control.note("unsafe", reason=self.unsafe)
            return
        insides.make_basetemp(self.running.config)
        self.generators.settle()
        self.writers.remember()
        gc.freeze()

    def _keep_calm(self):
        self.calm = {}
        self.stacks = insides.stack_file(self.running.config)
        for name in CALM:
            number = getattr(signal, name)
            self.calm[number] = signal.getsignal(number)
            signal.signal(number, signal.SIG_IGN)

    def _run_here(self, turn):
        self.running.run_tests(turn.take(1) if self.per_test else turn, None)
        return "quit" if turn.quit else "over"

    def _run_children(self, turn):
        while turn.rest and not turn.quit:
            turn.listen(0)
            if turn.quit or not turn.rest:
                break
            if self.running.stop is not None:
                self.running.run_tests(turn, None)  # tells that they are not run
                break
            outcome = self._run_child(turn)
            if outcome != "done":
                return outcome
        return "quit" if turn.quit else "done"

    def _run_child(self, turn):
        mine = turn.take(1 if self.per_test else None)
        before = descendants() if has_children() else ()
        self.writers.flush()
        self.control.share()
        parent = self._getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(parent, mine)
        status = self._wait(pid)
        kill_left(before)
        return self._child_ended(turn, status)

    def _wait(self, pid):
        """Its wait status. Once it has told all, it is killed when it does not end."""
        told = None
        for _ in watch(pid, 0.5):
            if self.control.shared[control.STATE] >= control.TOLD:
                now = self._clock()
                told = told or now
                if now - told >= LEAVE:
                    os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]

    def _child_ended(self, turn, status):
        shared = self.control.shared
        state, quitting = shared[control.STATE], bool(shared[control.QUITTING])
        if state >= control.TOLD:
            result = bytes(shared[control.RESULT :]).partition(b"\0")[0]
            self.running.adopt(json.loads(result.decode("utf-8")))
        turn.quit = turn.quit or quitting
        killed = state == control.TOLD and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if state == control.LEFT or killed:
            return "quit" if quitting else "done"
        if shared[control.BUSY]:
            sys.stderr.write("ptremote: the process that ran the tests ended in the middle of a message\n")
            sys.stderr.flush()
            os._exit(1)
        self.torn = True
        self.control.say(wire.R_DIED, (status & 0xFFFFFFFF).to_bytes(4, "big"))
        if shared[control.ASKED]:
            self.control.stolen(turn.bundle, [])
        return "quit" if quitting else "died"

    # ---- the child ----

    def _be_child(self, parent, turn):
        status = 1
        try:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                return
            self.control.own()
            afterfork.begin(self.calm, self.stacks)
            self.generators.renew()
            if self.node is not None:
                self.node.forked()
            status = self._live(turn)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            if self.control.ours():
                self.writers.flush()
            os._exit(status)

    def _live(self, turn):
        running, shared = self.running, self.control.shared
        failed = running.session.testsfailed
        running.run_tests(turn, None)
        running.end_fixtures()
        result = dict(running.wish(), failed=running.session.testsfailed - failed)
        data = wire.dumps(result)[: len(shared) - control.RESULT - 1]
        shared[control.RESULT : control.RESULT + len(data) + 1] = data + b"\0"
        shared[control.STATE] = control.TOLD
        if self.node is not None:
            self.node.leaving()
        afterfork.end()
        self.writers.flush(new=True)
        shared[control.STATE] = control.LEFT
        return 0


# ---- threads ----


def threads():
    return len(os.listdir("/proc/self/task"))


def why_unsafe():
    """Why this process must not fork, or None."""
    end = time.monotonic() + SETTLE
    while threads() > 1 and time.monotonic() < end:
        if not _thread._count():
            _fork_once()  # threads of libraries that know of forks are gone then
            break
        select.select([], [], [], 0.01)
    number = threads()
    if number == 1:
        return None
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    known = ": " + ", ".join(names[:5]) if names else ", not started from Python"
    return "%d threads run besides the main one once the files are collected%s" % (number - 1, known)


def _fork_once():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


# ---- processes ----


def watch(pid, seconds):
    """Yields every so many seconds until a child has ended; it is not reaped."""
    if not hasattr(os, "pidfd_open"):
        yield from _watch_slowly(pid, seconds)
        return
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while not poll.poll(int(seconds * 1000)):
            yield
    finally:
        os.close(fd)


def _watch_slowly(pid, seconds):
    """Before Python 3.9."""
    last, pause = time.monotonic(), 0.0005
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            yield


def has_children():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children(pid):
    """Pids of the children of a process."""
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), "rb") as file:
                found += [int(word) for word in file.read().split()]
    except FileNotFoundError:
        if os.path.exists("/proc/self/task/%d/children" % os.getpid()):
            return found
        return _children_slowly(pid)
    except OSError:
        pass
    return found


def _children_slowly(pid):
    """Where the kernel was built without lists of children."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == pid:
                    found.append(int(name))
        except OSError:
            pass
    return found


def descendants():
    found, waiting = set(), [os.getpid()]
    while waiting:
        new = [pid for pid in children(waiting.pop()) if pid not in found]
        found.update(new)
        waiting += new
    return found


def kill_left(before):
    """Kill what a child left behind: it came to us when the child ended. Those of `before` live on."""
    end = time.monotonic() + KILLING
    while has_children() and time.monotonic() < end:
        left = [pid for pid in children(os.getpid()) if pid not in before]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                for _ in watch(pid, KILLING):
                    break
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                pass
