# SPDX-License-Identifier: Apache-2.0
"""What suites and plugins written for pytest-xdist find in a runner, and its names where it is not installed."""
import base64
import contextlib
import importlib.machinery
import json
import os
import shutil
import sys
import tempfile

import pytest

from ptremote import insides, marks

INPUT_MAX = 256 << 10  # bytes of one node's workerinput, packed
OUTPUT_MAX = 3 << 20  # and of its workeroutput
DEPTH_MAX = 32
VARIABLES = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID")
SPREAD = 10000000  # members of groups over several hosts are numbered from here on
TEMP_PREFIX = "ptremote-tests-"
# It gives its workers a port on the controller's machine; without that it counts in each worker.
RERUNS = "pytest_rerunfailures"
_BYTES = "ptremote:bytes"


# ---- values between the controller and its nodes ----


class Unsendable(ValueError):
    """A value that cannot travel."""


def pack(value, name, most):
    """JSON text (ASCII) of None, bool, int, float, str, bytes, lists (tuples become lists) and dicts of them."""
    text = json.dumps(_plain(value, name, 0))
    if len(text) > most:
        raise Unsendable("%s: %d bytes are too much to be sent (%d at most)" % (name, len(text), most))
    return text


def unpack(text):
    return json.loads(text, object_hook=_unpacked)


def _unpacked(found):
    return base64.b64decode(found[_BYTES]) if len(found) == 1 and _BYTES in found else found


def _plain(value, name, depth):
    if depth > DEPTH_MAX:
        raise Unsendable("%s: nested too deeply to be sent" % name)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [_plain(part, "%s[%d]" % (name, at), depth + 1) for at, part in enumerate(value)]
    if isinstance(value, dict):
        return {_key(key, name): _plain(part, "%s[%r]" % (name, key), depth + 1) for key, part in value.items()}
    raise Unsendable("%s: a value of type %s cannot be sent" % (name, type(value).__name__))


def _key(key, name):
    if not isinstance(key, str):
        raise Unsendable("%s: a key of type %s cannot be sent" % (name, type(key).__name__))
    return key


# ---- where pytest-xdist is not there ----


class Hooks:
    """Its hooks. pytest-xdist's own specifications go first where it is loaded."""

    def pytest_configure_node(self, node):
        pass

    def pytest_testnodeready(self, node):
        pass

    def pytest_testnodedown(self, node, error):
        pass

    def pytest_xdist_setupnodes(self, config, specs):
        pass

    def pytest_xdist_newgateway(self, gateway):
        pass

    def pytest_xdist_rsyncstart(self, source, gateways):
        pass

    def pytest_xdist_rsyncfinish(self, source, gateways):
        pass

    def pytest_xdist_node_collection_finished(self, node, ids):
        pass

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_getremotemodule(self):
        pass

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_make_scheduler(self, config, log):
        pass

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_auto_num_workers(self, config):
        pass

    @pytest.hookspec(firstresult=True)
    def pytest_handlecrashitem(self, crashitem, report, sched):
        pass


def is_xdist_worker(request_or_session):
    return hasattr(request_or_session.config, "workerinput")


def is_xdist_controller(request_or_session):
    here = request_or_session
    return not is_xdist_worker(here) and getattr(here.config.option, "dist", "no") != "no"


def get_xdist_worker_id(request_or_session):
    known = getattr(request_or_session.config, "workerinput", None)
    return known["workerid"] if known is not None else "master"


class Fixtures:
    @pytest.fixture(scope="session")
    def worker_id(self, request):
        """The id of this worker, as pytest-xdist has it ("gw0"), or "master"."""
        return get_xdist_worker_id(request)

    @pytest.fixture(scope="session")
    def testrun_uid(self, request):
        """The unique id of this run, the same in all workers."""
        known = getattr(request.config, "workerinput", None)
        return known["testrunuid"] if known is not None else os.urandom(16).hex()


class StandIn:
    """Last on sys.meta_path: the module `xdist` where there is none."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in ("xdist", "xdist.plugin"):
            return importlib.machinery.ModuleSpec(name, cls, is_package=name == "xdist")
        return None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        module.is_xdist_worker = is_xdist_worker
        module.is_xdist_controller = module.is_xdist_master = is_xdist_controller
        module.get_xdist_worker_id = get_xdist_worker_id
        module.__version__ = "0"


def stand_in():
    if StandIn not in sys.meta_path:
        sys.meta_path.append(StandIn)


def accept(early_config):
    """Before conftests are imported: hooks and fixtures of pytest-xdist are known, the plugin loaded or not."""
    manager = early_config.pluginmanager
    if not manager.hasplugin("xdist"):
        manager.add_hookspecs(Hooks)
        manager.register(Fixtures(), "ptremote-xdist")


def calm(config):
    """Keep plugins from talking to a controller by ways of their own."""
    module = insides.plugin_module(config, RERUNS)
    if module is not None:
        module.HAS_PYTEST_HANDLECRASHITEM = False


# ---- the node ----


def run_folder():
    """This run's folder on this host for the temporary files of tests: the first worker makes it, and whoever
    removes PTREMOTE_RUN_DIR removes it too. None without one."""
    home = os.environ.get("PTREMOTE_RUN_DIR")
    if not home:
        return None
    link = os.path.join(home, "temp")
    if not os.path.islink(link):  # before the folder: whoever is killed in between leaves none that nobody knows
        name = TEMP_PREFIX + os.urandom(8).hex()
        with contextlib.suppress(FileExistsError):
            os.symlink(os.path.join(os.path.realpath(tempfile.gettempdir()), name), link)
    folder = os.readlink(link)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    return folder


class Node:
    """A runner as pytest-xdist's suites see it: its id, its part of `workerinput`, its temporary folder."""

    def __init__(self, session, number, control=None):
        """`number` is a rank of the host, or of a member of a group of ranks: SLOTS * (1 + group) + its rank there; from
        SPREAD on, of a group over several hosts."""
        slots = int(os.environ.get("PTREMOTE_SLOTS") or 0)
        round_, rank = divmod(number, slots) if slots else (0, number)
        count = int(session.get("count") or 1)
        self.id = "gw%d" % (round_ * count + int(session.get("base") or 0) + rank)
        if number >= SPREAD:  # the session is that of another host, which may have more slots
            self.id = "gw%d" % number
        self.control = control
        self.isolate = session.get("isolate") or "session"
        self.want_output = bool(session.get("want_output"))
        inputs = session.get("inputs") or []
        given = inputs[rank % len(inputs)] if inputs else None
        self.controlled = given is not None  # a group's ranks are to the controller sessions more of slots
        self.input = unpack(given) if given is not None else {}
        self.input["workerid"] = self.id
        self.input["workercount"] = count
        self.input["testrunuid"] = session.get("testrun_uid") or os.environ.get("PTREMOTE_RUN") or os.urandom(16).hex()
        self._coverage = None

    def before(self):
        """What must be there before pytest starts."""
        known = self.id, str(self.input["workercount"]), self.input["testrunuid"]
        os.environ.update(zip(VARIABLES, known))
        self.input.setdefault("mainargv", list(sys.argv))
        stand_in()

    def plugins(self):
        return [self]

    # ---- in a process forked to run tests of the session ----

    def forked(self):
        """Before its first test."""
        plugin = self._cov_plugin()
        if plugin is not None:
            plugin.pid = os.getpid()

    def leaving(self):
        """After its last test: what only this process knows is saved."""
        plugin = self._cov_plugin()
        coverage = getattr(getattr(plugin, "cov_controller", None), "cov", None)
        if coverage is not None:
            coverage.stop()
            coverage.save()

    def _cov_plugin(self):
        return self.config.pluginmanager.get_plugin("_cov")

    # ---- hooks ----

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self, early_config):
        self.config = early_config
        accept(early_config)
        known = early_config.known_args_namespace
        for name in ("numprocesses", "distload"):
            if hasattr(known, name):
                setattr(known, name, None)
        known.dist = "no"
        if getattr(known, "cov_source", None):
            self._prepare_coverage(known)
        yield

    def _prepare_coverage(self, known):
        """Workers of one host must not take each other's data, and without a controller nobody wants any."""
        if not self.controlled:
            known.no_cov = True
            return
        run = run_folder()
        if run:
            folder = os.path.join(run, "coverage-" + self.id)
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder, 0o700)
            os.environ["COVERAGE_FILE"] = os.path.join(folder, ".coverage")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config):
        calm(config)
        config.workerinput = self.input
        config.workeroutput = {}
        given = getattr(config.option, "basetemp", None)
        if given:
            os.makedirs(given, exist_ok=True)
        run = os.path.abspath(given) if given else run_folder()
        if run:
            config.option.basetemp = os.path.join(run, "popen-" + self.id)
        yield

    def pytest_configure(self, config):
        marks.register(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        if self.isolate != "session":
            insides.make_basetemp(session.config)  # one for all processes that are forked from this one

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        session.config.workeroutput["exitstatus"] = int(exitstatus)
        yield
        if self.want_output:
            self._tell_output(session.config.workeroutput)

    def _tell_output(self, output):
        told = {"node": self.id, "info": info()}
        try:
            told["output"] = pack(output, "workeroutput", OUTPUT_MAX)
        except (Unsendable, RecursionError) as error:
            told["problem"] = str(error)
        self.control.note("workeroutput", **told)


def info():
    """What a controller knows of a node's Python."""
    return {
        "version_info": list(sys.version_info),
        "platform": sys.platform,
        "executable": sys.executable,
        "cwd": os.getcwd(),
        "workspace": os.environ.get("PTREMOTE_WORKSPACE"),
    }
