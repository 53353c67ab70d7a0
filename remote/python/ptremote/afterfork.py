# SPDX-License-Identifier: Apache-2.0
"""What a forked process must not share with the one it came from: random numbers, handlers of its end, buffers.

Seeds: the state that the global generators of `random` and numpy have once the suite is collected is compared with
the state they had when they came up. Where it is the same, or was reached by drawing numbers, nobody asked for those
numbers, and every child gets new ones; else the suite set a seed, and every child starts from the suite's state.
"""
import atexit
import faulthandler
import gc
import importlib.machinery
import io
import random
import signal
import sys
import threading
import weakref

TWISTS = 2000  # how far drawing is followed: so many times 624 numbers
NUMPY = "numpy.random.mtrand"
_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


# ---- random numbers ----


class _Watch:
    """First on sys.meta_path until numpy's generator is imported: `arrived` is called then."""

    def __init__(self, arrived):
        self._arrived = arrived

    def find_spec(self, name, path=None, target=None):
        if name != NUMPY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._arrived)
        return spec


class _Loader:
    def __init__(self, loader, arrived):
        self._loader = loader
        self._arrived = arrived

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._arrived()


def reseed_numpy():
    """numpy does not notice a fork."""
    module = sys.modules.get(NUMPY)
    if module is not None:
        module._rand.seed()


class Generators:
    """The global generators of this process, watched from now on."""

    def __init__(self):
        self._python = random.getstate()
        self._numpy = None  # state when it came up
        self._kept = self._kept_numpy = None  # states that the suite asked for
        if NUMPY in sys.modules:
            self._numpy_arrived()
        else:
            sys.meta_path.insert(0, _Watch(self._numpy_arrived))

    def _numpy_arrived(self):
        self._numpy = sys.modules[NUMPY]._rand.get_state()

    def settle(self):
        """The suite is collected: find out what it seeded."""
        now = random.getstate()
        if now != self._kept:
            self._kept = None if _drawn(self._python, now) else now
        if self._numpy is not None:
            now = sys.modules[NUMPY]._rand.get_state()
            if self._kept_numpy is None or repr(now) != repr(self._kept_numpy):
                self._kept_numpy = None if _drawn_numpy(self._numpy, now) else now

    def renew(self):
        """In a child. `random` has seeded itself."""
        if self._kept is not None:
            random.setstate(self._kept)
        if self._numpy is not None and self._kept_numpy is None:
            reseed_numpy()


def _drawn(start, now):
    """Whether drawing leads from one state of the Mersenne twister to the other: each 624 numbers twist its key."""
    if start[0] != now[0]:
        return False
    scratch, key = random.Random(), now[1][:-1]
    scratch.setstate(start)
    for _ in range(TWISTS):
        if scratch.getstate()[1][:-1] == key:
            return True
        scratch.getrandbits(32 * 624)
    return False


def _drawn_numpy(start, now):
    if start[0] != "MT19937" or now[0] != "MT19937":
        return start[0] == now[0] and repr(start) == repr(now)
    scratch, key = sys.modules[NUMPY].RandomState(), now[1].tobytes()
    scratch.set_state(start)
    for _ in range(TWISTS):
        if scratch.get_state()[1].tobytes() == key:
            return True
        scratch.bytes(4 * 624)
    return False


# ---- files that are written ----


class Writers:
    """Open files with buffers: flushed before a fork, so that nothing is written twice, and before a child leaves."""

    def __init__(self):
        self._known = weakref.WeakSet()

    def remember(self):
        """Before everything that there is goes out of the sight of the garbage collector."""
        self._known.update(_writers())

    def flush(self, new=False):
        files = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, *self._known]
        for file in files + (_writers() if new else []):
            try:
                file.flush()
            except Exception:
                pass  # closed, or nobody reads it


def _writers():
    return [thing for thing in gc.get_objects() if type(thing) in _WRITERS]


# ---- the life of a child ----


def begin(signals, stacks):
    """In a child: `signals` {number: handler} as the suite left them, `stacks` where faulthandler writes."""
    atexit._clear()
    signal.set_wakeup_fd(-1)
    set_signals(signals, stacks)
    _forget_finalizers()
    _forget_processes()


def set_signals(handlers, stacks):
    """Those that were not set from Python stay as they are. faulthandler's are set behind Python's back."""
    enabled = faulthandler.is_enabled()
    faulthandler.disable()
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
    if enabled:
        faulthandler.enable(file=stacks, all_threads=True)


def _forget_finalizers():
    """What the parent's objects do at its end is not ours."""
    registry = getattr(weakref.finalize, "_registry", None)
    if registry is None:
        return
    for one in list(registry):
        one.atexit = False
    weakref.finalize._registered_with_atexit = False


def _forget_processes():
    """As multiprocessing does it in its own children."""
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util is None or process is None:
        return
    try:
        process._children = set()
        util._finalizer_registry.clear()
        util._run_after_forkers()
        atexit.register(util._exit_function)
    except AttributeError:
        pass


def end():
    """In a child that has run its tests: what an interpreter does at its end, but for destroying objects."""
    for step in (threading._shutdown, atexit._run_exitfuncs, _save_coverage):
        try:
            step()
        except BaseException:
            sys.excepthook(*sys.exc_info())


def _save_coverage():
    """Measurements that began before the fork and went on in this process: into a file of its own."""
    module = sys.modules.get("coverage")
    for measuring in list(getattr(getattr(module, "Coverage", None), "_instances", ())):
        if getattr(measuring, "_started", False):
            measuring.stop()
            data = measuring.get_data()
            if not getattr(data, "_suffix", True):
                data._suffix = True
            measuring.save()
