# SPDX-License-Identifier: Apache-2.0
"""Every line that reaches into pytest's private API (7.2 to 9.x), but for those of spared.py and remembered.py, and nothing else."""
import contextlib
import dataclasses
import importlib
import importlib.metadata
import inspect
import io
import logging
import os
import sys
import warnings
from pathlib import Path

import pytest
from _pytest import faulthandler, junitxml, main
from _pytest._io import TerminalWriter
from _pytest.assertion import install_importhook
from _pytest.capture import FDCapture
from _pytest.config import get_config
from _pytest.pathlib import fnmatch_ex
from _pytest.runner import CallInfo

from ptremote import spared

OLD_TREE = not hasattr(pytest, "Directory")  # before 8: packages are files, folders are no nodes


def is_own(plugin):
    """Whether a plugin is part of pytest itself."""
    name = getattr(plugin, "__name__", None) if inspect.ismodule(plugin) else type(plugin).__module__
    return isinstance(name, str) and name.split(".")[0] == "_pytest"


# Their pytest_collection_modifyitems marks one item after the other, and takes none away.
ITEM_BY_ITEM = ("_hypothesis_pytestplugin", "hypothesis.extra.pytestplugin", "pytest_asyncio.plugin")


def chooses_by_item(plugin):
    """Whether a plugin may look at the items of one file without seeing the others."""
    return is_own(plugin) or getattr(plugin, "__name__", None) in ITEM_BY_ITEM


def is_file_node(node):
    """A collector of one file; before 8 a package is a File by class, and is none."""
    return isinstance(node, pytest.File) and not isinstance(node, pytest.Package)


def is_folder_node(node):
    return isinstance(node, pytest.Package if OLD_TREE else pytest.Directory)


def file_path(item):
    """The path of the file that an item was collected from."""
    for node in reversed(item.listchain()):
        if is_file_node(node):
            return str(node.path)
    return str(item.path)


def file_name(node):
    """The file of a node as node ids begin, but by its path where pytest makes something else of that: of "::", and from 9.1
    on of backslashes."""
    path = str(node.path)
    name = node.nodeid.partition("::")[0]
    if "::" in path or "\\" in path:
        path = os.path.relpath(file_path(node), str(node.config.rootpath))
        return name if path.startswith("..") else path
    return name


def fixture_function(item, name):
    """The function behind the fixture that an item gets by that name, or None."""
    found = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).get(name)
    return found[-1].func if found else None


# Their hooks around set-up are about tests that are no plain functions, or about time.
SET_UP_ALIKE = ("pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin", "xdist.plugin")


def sets_up_alike(config):
    """Whether no plugin or conftest may set up a test here and not there."""
    plugins = [impl.plugin for name in ("setup", "protocol") for impl in implementations(config, "pytest_runtest_" + name)]
    plugins += [impl.plugin for impl in implementations(config, "pytest_fixture_setup")]
    return all(
        getattr(plugin, "__name__", None) in SET_UP_ALIKE or type(plugin).__module__.startswith("ptremote.")
        for plugin in plugins
    )


def is_bare(item, fixtures):
    """Whether a test is a function that wants none but these fixtures and direct parameters, and has no other mark."""
    if type(item) is not pytest.Function or any(mark.name != "parametrize" for mark in item.iter_markers()):
        return False
    for name in set(item.fixturenames).difference(fixtures):
        if getattr(fixture_function(item, name), "__name__", None) != "get_direct_param_fixture_func":
            return False
    return type(item.parent) is pytest.Module and "setup" not in vars(item.parent.obj) and not hasattr(item.obj, "setup")


def want_fixture(metafunc, name):
    """As if the test function used it."""
    if name not in metafunc.fixturenames:
        known = metafunc.definition._fixtureinfo
        object.__setattr__(known, "initialnames", (*known.initialnames, name))
        metafunc.fixturenames.append(name)


# ---- hooks ----


def implementations(config, name):
    """Of a hook that may not exist, those by plugins that are not pytest's own."""
    caller = getattr(config.hook, name, None)
    return [impl for impl in caller.get_hookimpls() if not is_own(impl.plugin)] if caller else []


def plugin_module(config, name):
    """The module of that name where it is registered as a plugin, else None."""
    module = sys.modules.get(name)
    return module if module is not None and config.pluginmanager.is_registered(module) else None


# ---- start ----


def add_hidden_options(parser, options):
    """Flags that are there already, by a plugin or conftest, stay as they are."""
    groups = [*parser._groups, parser._anonymous]
    known = {name for group in groups for option in group.options for name in option.names()}
    hidden = parser.getgroup("ptremote")
    for flags, settings in options:
        new = [flag for flag in flags if flag not in known]
        if new:
            hidden._addoption(*new, **settings)


def import_plugins():
    """Import the modules of all installed plugins as pytest would, with their asserts rewritten; register none."""
    spared.read_names()
    config = get_config()
    # No ini file was looked for.
    setattr(config, "_inicfg" if hasattr(type(config), "inicfg") else "inicfg", {})
    try:
        hook = install_importhook(config)
        points = [p for dist in importlib.metadata.distributions() for p in dist.entry_points if p.group == "pytest11"]
        packages = {point.value.partition(":")[0].partition(".")[0] for point in points}
        # All before any is imported: plugins import each other.
        hook.mark_rewrite(*packages.difference(sys.modules))
        for point in points:
            try:
                importlib.import_module(point.value.partition(":")[0].strip())
            except Exception:
                pass  # a runner that wants it fails with pytest's own words
    finally:
        config._ensure_unconfigure()


class _Nowhere(io.TextIOBase):
    def write(self, text):
        return len(text)


def redirect_terminal(config, file=None):
    """The terminal reporter lives on and writes to `file`, or nowhere."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    writer = getattr(reporter, "_tw", None)
    if writer is not None:
        writer._file = file or _Nowhere()


def silence_terminal(config):
    """What it does for every test would be seen by nobody. pytest-xdist's workers have no terminal reporter at all."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    for name in ("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish"):
        for impl in getattr(config.hook, name).get_hookimpls():
            if impl.plugin is reporter and is_own(reporter):
                impl.function, impl.argnames = _nothing, ()


def _nothing():
    pass


class _LiveLog(io.TextIOBase):
    """A terminal reporter in the eyes of the live log, which lifts the capture while it writes."""

    def write(self, text):
        if text != "\n":  # what keeps it apart from a terminal's progress
            sys.stdout.flush()
            data = text.encode("utf-8", "replace")
            while data:
                data = data[os.write(1, data) :]
        return len(text)

    def section(self, title, sep="-", **_):
        self.write("%s %s %s\n" % (sep * 8, title, sep * 8))


def redirect_live_log(config):
    """Lines of log_cli go to the process's stdout; without log_cli nothing does."""
    handler = getattr(config.pluginmanager.get_plugin("logging-plugin"), "log_cli_handler", None)
    if getattr(handler, "stream", None) is config.pluginmanager.get_plugin("terminalreporter") is not None:
        handler.stream = _LiveLog()


def keep_log_handlers(config):
    """What logs while tests run is taken away when a collection ends, as that is over before the first test at home."""
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    for name in ("log_cli_handler", "log_file_handler"):
        handler = getattr(plugin, name, None)
        if handler is not None:
            logging.getLogger().addHandler(handler)


def capture_files(config):
    """Descriptors of the files that captured stdout and stderr go to, or None when they go to no files."""
    manager = config.pluginmanager.get_plugin("capturemanager")
    capture = getattr(manager, "_global_capturing", None)
    try:
        return [capture.out.tmpfile.fileno(), capture.err.tmpfile.fileno()]
    except (AttributeError, OSError, ValueError):
        return None


def quicken_captures(config):
    """After each phase it is looked for output, with half a dozen calls for each file. That there is none takes two."""
    capture = getattr(config.pluginmanager.get_plugin("capturemanager"), "_global_capturing", None)
    for one in (getattr(capture, "out", None), getattr(capture, "err", None)):
        if type(one) is FDCapture and one.targetfd in (1, 2):
            one.snap = _quick_snap(one)


def _quick_snap(capture, fstat=os.fstat, lseek=os.lseek):
    slow, file, nothing = capture.snap, capture.tmpfile, capture.EMPTY_BUFFER

    def snap():
        if capture._state in ("started", "suspended") and not file.closed:
            number = file.fileno()
            if fstat(number).st_size == 0 and lseek(number, 0, os.SEEK_CUR) == 0:
                return nothing
        return slow()

    return snap


def empty_captures(config):
    """Forget what a process that died while a test ran left in the files that capture its output."""
    capture = getattr(config.pluginmanager.get_plugin("capturemanager"), "_global_capturing", None)
    for one in (getattr(capture, "out", None), getattr(capture, "err", None)):
        file = getattr(one, "tmpfile", None)
        if hasattr(file, "fileno"):
            try:
                file.seek(0)
                file.truncate()
            except (OSError, ValueError):
                pass


def stack_file(config):
    """Descriptor that faulthandler writes to."""
    for name in ("fault_handler_stderr_fd_key", "fault_handler_stderr_key"):
        file = config.stash.get(getattr(faulthandler, name, None), None)
        if file is not None:
            return file if isinstance(file, int) else file.fileno()
    return 2


def rendered(report):
    """A report's traceback or text as the terminal reporter prints it, without its last line end."""
    file = io.StringIO()
    writer = TerminalWriter(file)
    writer.hasmarkup = False
    report.toterminal(writer)
    text = file.getvalue()
    return text[:-1] if text.endswith("\n") else text


# ---- collection ----


def load_conftests(config, path):
    """Import the conftest.py files that are for this path, as collecting it would."""
    manager = config.pluginmanager
    mode = config.getoption("importmode")
    if not hasattr(manager, "_loadconftestmodules"):
        manager._getconftestmodules(path, mode, config.rootpath)
        return
    settings = {"rootpath": config.rootpath}
    if "consider_namespace_packages" in inspect.signature(manager._loadconftestmodules).parameters:
        settings["consider_namespace_packages"] = config.getini("consider_namespace_packages")
    manager._loadconftestmodules(path, mode, **settings)


def pending_conftests(session):
    """From 9.1 on: conftests whose folder was not collected yet; a dict that pytest clears after each collection."""
    manager = getattr(session, "_fixturemanager", None)
    return getattr(manager, "_pending_conftests", None)


def matches(pattern, path):
    """How pytest matches norecursedirs and python_files."""
    return fnmatch_ex(pattern, path)


@contextlib.contextmanager
def literal_paths(paths):
    """Arguments that are these absolute paths are meant as they are, also with what pytest splits arguments at."""
    plain = main.resolve_collection_argument

    def resolve(start, arg, *more, **settings):
        if arg not in paths:
            return plain(start, arg, *more, **settings)
        found = plain(start, os.sep, *more, **settings)
        return (Path(arg), *found[1:]) if isinstance(found, tuple) else dataclasses.replace(found, path=Path(arg))

    main.resolve_collection_argument = resolve
    try:
        yield
    finally:
        main.resolve_collection_argument = plain


def modify_items(session, items, lookers):
    """pytest's own part of pytest_collection_modifyitems (-k, -m, --deselect, order by fixtures) and that of the plugins
    `lookers`, on some items."""
    manager = session.config.pluginmanager
    history = ("lfplugin", "nfplugin", "stepwiseplugin")
    foreign = [
        plugin
        for name, plugin in manager.list_name_plugin()
        if plugin is not None and plugin not in lookers and (not chooses_by_item(plugin) or name in history)
    ]
    hook = manager.subset_hook_caller("pytest_collection_modifyitems", remove_plugins=foreign)
    hook(session=session, config=session.config, items=items)


@contextlib.contextmanager
def without_warnings(mute):
    """pytest records no warnings meanwhile. The filters stay as they are: a change of them would have what was warned
    of once told again."""
    shown = warnings._showwarnmsg_impl
    if mute:
        warnings._showwarnmsg_impl = lambda message: None
    try:
        yield
    finally:
        warnings._showwarnmsg_impl = shown


def make_report(node, outcome, result):
    return pytest.CollectReport(node.nodeid, outcome, None, result)


# ---- running ----


class Between(pytest.Item):
    """Stands for the first test of a bundle that is not there yet: what is not the session's ends before it."""

    def listchain(self):
        return [self.session]

    def runtest(self):
        pass

    def reportinfo(self):
        return self.model.reportinfo() if self.model else (self.path, None, self.name)

    def _repr_failure_py(self, excinfo, style=None):
        return (self.model or super())._repr_failure_py(excinfo, style)

    model = None  # the test that it speaks for


def between(session):
    return Between.from_parent(session, name="(next bundle)")


def end_session_fixtures(session, last):
    """Tear down what the session holds, as part of the last test; the report of that tear-down."""
    manager = session.config.pluginmanager
    foreign = [p for _, p in manager.list_name_plugin() if p is not None and not is_own(p)]
    item = between(session)
    item.model = last
    if last is not None:
        item._nodeid = last.nodeid

    def call(when, **more):
        hook = manager.subset_hook_caller("pytest_runtest_" + when, remove_plugins=foreign)

        def step():
            __tracebackhide__ = True
            hook(item=item, **more)

        return CallInfo.from_call(step, when=when)

    call("setup")
    item._report_sections.clear()
    done = call("teardown", nextitem=None)
    hook = manager.subset_hook_caller("pytest_runtest_makereport", remove_plugins=foreign)
    return hook(item=item, call=done)


def fixtures_left(session):
    """Whether anything is set up."""
    return bool(session._setupstate.stack)


def run_again(item):
    """Make an item that ran already ready for another run."""
    item._report_sections.clear()
    item.user_properties.clear()


def forget_history(config):
    """Nothing of this session goes to the suite's cache folder: it is not a run of its own."""
    for name in ("lfplugin", "nfplugin", "stepwiseplugin"):
        if config.pluginmanager.get_plugin(name) is not None:
            config.pluginmanager.unregister(name=name)
    if hasattr(config.option, "stepwise"):
        config.option.stepwise = True


def know_failures(config, nodeids):
    """These failed last, whatever the suite's cache folder says, which stays as it is. Call when all is configured."""
    plugin = config.pluginmanager.get_plugin("lfplugin")
    if plugin is None:
        raise pytest.UsageError("--last-failed and --failed-first need pytest's cacheprovider")
    plugin.ptremote_saved = plugin.lastfailed
    plugin.lastfailed = dict.fromkeys(nodeids, True)
    if config.getoption("lf"):
        plugin._last_failed_paths = plugin.get_last_failed_paths()


def forget_failures(config):
    plugin = config.pluginmanager.get_plugin("lfplugin")
    if hasattr(plugin, "ptremote_saved"):
        plugin.lastfailed = plugin.ptremote_saved


def make_basetemp(config):
    """Have the folder that tmp_path is made in."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        factory.getbasetemp()


# ---- JUnit ----


class PrivateXml(junitxml.LogXML):
    """pytest's own JUnit plugin, which gives its elements away instead of writing a file."""

    pytest_sessionfinish = None
    pytest_terminal_summary = None
    pytest_internalerror = None
    on_property = None

    def add_global_property(self, name, value):
        super().add_global_property(name, value)
        if self.on_property:
            self.on_property(*self.global_properties[-1])

    def take(self):
        """The testcases finished since the last call, and how pytest counts them."""
        cases = [_element(reporter.to_xml()) for reporter in self.node_reporters_ordered]
        counts = {
            "tests": sum(self.stats.values()) - self.cnt_double_fail_tests,
            "failures": self.stats["failure"],
            "errors": self.stats["error"],
            "skipped": self.stats["skipped"],
        }
        self.node_reporters_ordered.clear()
        self.node_reporters.clear()
        self.open_reports.clear()
        self.stats = dict.fromkeys(self.stats, 0)
        self.cnt_double_fail_tests = 0
        return cases, {name: number for name, number in counts.items() if number}


def _element(node):
    return [node.tag, dict(node.attrib), node.text, [_element(child) for child in node]]


def register_xml(config):
    """A PrivateXml with the settings of this session, known to the record_* fixtures."""
    xml = PrivateXml(
        "unused",
        config.option.junitprefix,
        config.getini("junit_suite_name"),
        config.getini("junit_logging"),
        config.getini("junit_duration_report"),
        config.getini("junit_family"),
        config.getini("junit_log_passing_tests"),
    )
    config.stash[junitxml.xml_key] = xml
    config.pluginmanager.register(xml)
    return xml


def cache_folder(config):
    """Where the cache plugin keeps its files, or None."""
    cache = getattr(config, "cache", None)
    folder = getattr(cache, "_cachedir", None)
    return str(folder) if folder else None
