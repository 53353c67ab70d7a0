# SPDX-License-Identifier: Apache-2.0
"""The collector's pytest plugin: watches one session collect and tells what it finds."""
import gc
import io
import os
import sys

import pytest

from ptremote import collector, insides, looking, marks, options, places, remembered, reports, spared, wire, xdist

CHANGES = (looking.HOOK, looking.LISTENER)


class Collecting:
    def __init__(self, request, args, speaker):
        self.request = request
        self.args = args
        self.say = speaker.say
        self.additions = places.Additions()
        self.skip_files = set(request.get("skip_files") or ())
        self.notes = []
        self.options = {}
        self.failed = False
        self.started = False  # the session line was told
        self.streaming = None
        self.why = None
        self.lookers = []  # plugins that only look at items
        self.collected = []  # items in the order they were collected
        self.current = None  # path of the file being collected
        self.waiting = []  # its items
        self.told = set()  # items told already
        self.occurrences = {}  # item -> which one of its id it is in its file
        self.refused = set()  # items with marks that are wrong, or ids that are too long
        self.wrong = set()  # ids of those marks, told already
        self.controlling = None  # a Controlling, when plugins want to know of nodes
        self.by_id = {}
        self.trouble = None
        self.done = False
        self.forget_proxies = bool  # once there are any

    # ---- start ----

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config, parser):
        xdist.accept(early_config)
        self._choose_coverage(early_config.known_args_namespace)
        yield
        options.accept(parser)

    def _choose_coverage(self, known):
        """pytest-cov looks now whether tests will be run elsewhere."""
        if not getattr(known, "cov_source", None):
            return
        if self.request.get("ask_fd") is None:
            known.no_cov = True
            self._note_uncontrolled(["pytest-cov"])
            return
        known.dist = "load"
        known.rsyncdir = list(getattr(known, "rsyncdir", None) or [])

    def _note_uncontrolled(self, names):
        self.notes.append("with --collect=remote nothing is told of the workers to: " + ", ".join(names))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config):
        for dest, text in collector.REFUSED.items():
            if getattr(config.option, dest, False):
                raise pytest.UsageError(text)
        self._remember(config)
        yield

    def _remember(self, config):
        """What the master does itself is told to it and not done here."""
        option = config.option
        self.testrun_uid = getattr(option, "testrunuid", None)
        given = options.ignore_xdist(config)
        options.act_as_controller(config)
        xdist.calm(config)
        if given:
            self.notes.append("options of pytest-xdist are ignored: " + " ".join(given))
        for name in ("maxfail", "durations", "durations_min"):
            self.options[name] = getattr(option, name, None)
        self.options["verbosity"] = option.verbose
        self.options["report_chars"] = getattr(option, "reportchars", None)
        self.options["show_capture"] = getattr(option, "showcapture", None)
        self.options["no_header"] = getattr(option, "no_header", None) or None
        self.options["no_summary"] = getattr(option, "no_summary", None) or None
        self.xmlpath = getattr(option, "xmlpath", None)
        option.maxfail = 0
        if hasattr(option, "xmlpath"):
            option.xmlpath = None
        if hasattr(option, "pastebin"):
            option.pastebin = None

    def pytest_configure(self, config):
        self.config = config
        marks.register(config)
        self.xml = None
        if (self.request.get("want_junit") or self.xmlpath) and hasattr(config.option, "xmlpath"):
            self.xml = insides.register_xml(config)
            self.xml.on_property = lambda name, value: None
        self.teller = reports.Teller(config, self.xml)

    @pytest.hookimpl(specname="pytest_configure", trylast=True)
    def pytest_configured(self, config):
        self.screen = io.StringIO()
        insides.redirect_terminal(config, self.screen)
        remembered.async_fixtures(config)
        remembered.files()
        spared.spare_collection()
        if self.request.get("last_failed") or self.request.get("failed_first"):
            root = os.path.realpath(str(config.rootpath))
            known = self.request.get("failed") or {}
            insides.know_failures(config, [each for key in known if os.path.realpath(key) == root for each in known[key]])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        insides.forget_failures(session.config)

    def pytest_plugin_registered(self):
        self.forget_proxies()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        insides.redirect_terminal(self.config, self.screen)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection(self, session):
        self.session = session
        self.header = self.screen.getvalue().splitlines()[1:]
        insides.redirect_terminal(self.config)
        self.forget_proxies = remembered.proxies(session)
        self._without_skipped()
        self._decide()
        if self.streaming:
            self._tell_session()
        yield

    def _without_skipped(self):
        """A file named on the command line that ended an earlier collector is not named again."""
        if self.skip_files:
            kept = [arg for arg in self.config.args if self._nodeid_path(arg) not in self.skip_files]
            self.all_skipped = not kept and bool(self.config.args)
            self.config.args = kept

    all_skipped = False

    def _nodeid_path(self, arg):
        path = os.path.join(str(self.config.invocation_params.dir), str(arg).partition("::")[0])
        return os.path.relpath(path, str(self.config.rootpath))

    @pytest.hookimpl(specname="pytest_collection", tryfirst=True)
    def pytest_collect_nothing(self, session):
        if self.all_skipped:
            session.items = []
            return True
        return None

    # ---- whether files can be told before the end ----

    def _decide(self):
        self.why = self._reason_to_wait()
        if self.why is None:
            self.visit = places.Visit(self.config)
            if self.request.get("stream") != "always":
                self.why = self._foreign_hook() or self._coming_hook()
        self.streaming = self.why is None

    def _reason_to_wait(self):
        if self.request.get("stream") == "always":
            return None
        if self.request.get("stream") == "never":
            return "asked to wait for the whole collection"
        if self.request.get("strict"):
            return "--strict-collection waits for the whole collection"
        for dest, flag in HISTORY_FLAGS:
            if getattr(self.config.option, dest, False):
                return flag + " chooses when everything is collected"
        return self._foreign_hook()

    def _foreign_hook(self):
        for name in CHANGES:
            for impl in getattr(self.config.hook, name).get_hookimpls():
                if impl.plugin is not self and not self._chooses_by_item(name, impl):
                    return "%s implements %s" % (self._plugin_name(impl), name)
        return None

    def _chooses_by_item(self, name, impl):
        if insides.chooses_by_item(impl.plugin):
            return True
        if name == looking.HOOK and impl.plugin not in self.lookers and looking.by_item(impl):
            self.lookers.append(impl.plugin)
        return name == looking.HOOK and impl.plugin in self.lookers

    def _plugin_name(self, impl):
        return self._shown(str(impl.plugin_name))

    def _shown(self, name):
        return os.path.relpath(name, str(self.config.rootpath)) if os.path.isabs(name) else name

    def _coming_hook(self):
        """conftest files that are not imported yet, by their text."""
        known = {name for name, _ in self.config.pluginmanager.list_name_plugin()}
        for path in self.visit.conftests:
            if path in known:
                continue
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            for name in CHANGES:
                if name in text and not (name == looking.HOOK and looking.text_by_item(text)):
                    return "%s implements %s" % (os.path.relpath(path, str(self.config.rootpath)), name)
        return None

    # ---- the session line ----

    def _tell_session(self):
        if self.started:
            return
        self.started = True
        self._control()
        config, known = self.config, self.options
        self.say(
            "session",
            root=str(config.rootpath),
            streaming=self.streaming,
            why=self.why,
            ordered=any(getattr(config.option, dest, False) for dest in ORDERING) or None,
            notes=self.notes or None,
            maxfail=known["maxfail"] or None,
            junit=self._junit(),
            durations=known["durations"],
            durations_min=known["durations_min"],
            verbosity=known["verbosity"],
            report_chars=known["report_chars"],
            show_capture=known["show_capture"],
            no_header=known["no_header"],
            no_summary=known["no_summary"],
            nodes=self.controlling is not None or None,
            cache_dir=insides.cache_folder(config),
            header=self.header,
            session=self._runner_session(),
        )

    def _control(self):
        """Who of the plugins wants to know of the nodes?"""
        from ptremote import controlling

        names = controlling.Controlling.interested(self.config)
        fd = self.request.get("ask_fd")
        if names and fd is None:
            self._note_uncontrolled([self._shown(name) for name in names])
        elif names:
            project = self.request.get("project") or str(self.config.rootpath)
            self.controlling = controlling.Controlling(self.config, self.say, fd, project, self.testrun_uid)
            self.controlling.argv = sys.argv
            self.controlling.session = self.session
            self.config.pluginmanager.register(self.controlling)

    def _junit(self):
        if self.xml is None:
            return None
        config = self.config
        found = {
            "family": self.xml.family,
            "logging": self.xml.logging,
            "log_passing": self.xml.log_passing_tests,
            "prefix": self.xml.prefix,
            "suite_name": self.xml.suite_name,
            "duration_report": self.xml.report_duration,
            "path": os.path.join(str(config.invocation_params.dir), self.xmlpath) if self.xmlpath else None,
        }
        return {key: value for key, value in found.items() if value is not None}

    def _runner_session(self):
        """What a runner needs to be started as this session was (read by runner.py alone)."""
        front, back = self.additions.found()
        conftests = self._imported_conftests()
        if self.streaming:
            front += [root for root in self.visit.roots if root not in front]
            conftests += [path for path in self.visit.conftests if path not in conftests]
        cwd = os.getcwd()
        project = self.request.get("project") or str(self.config.rootpath)
        return {
            "args": self.args,
            "homes": list(dict.fromkeys([project, os.path.realpath(project), self._logical(project)])),
            "root": str(self.config.rootpath),
            "inipath": str(self.config.inipath) if self.config.inipath else None,
            "cwd": cwd,
            "front": front,
            "back": back,
            "conftests": conftests,
            "junit": self.xml is not None,
            "testrun_uid": self.testrun_uid,
        }

    @staticmethod
    def _logical(project):
        """The project by the name the user's shell has for it, which may lead through links."""
        shell, real, at = os.environ.get("PWD", ""), os.getcwd(), os.path.realpath(project)
        if not os.path.isabs(shell) or os.path.realpath(shell) != real:
            return project
        below = os.path.relpath(real, at)
        if below == ".":
            return shell
        return shell[: -len(below) - 1] if shell.endswith("/" + below) else project

    def _imported_conftests(self):
        names = [name for name, plugin in self.config.pluginmanager.list_name_plugin() if plugin is not None]
        return [name for name in names if os.path.isabs(name) and os.path.basename(name) == "conftest.py"]

    # ---- what is found ----

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector):
        if insides.is_file_node(collector):
            if self.controlling:
                self.controlling.poll()
            path = insides.file_name(collector)
            if path != self.current:
                self._flush()
                self.current = path
                gc.freeze()  # what was collected stays until the end
            if path not in self.skip_files:
                self.say("importing", path=path)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector):
        if self.skip_files and insides.is_file_node(collector) and insides.file_name(collector) in self.skip_files:
            return insides.make_report(collector, "passed", [])
        return None

    def pytest_itemcollected(self, item):
        self.collected.append(item)
        path = insides.file_name(item)
        if path != self.current:
            self._flush()
            self.current = path
        self.waiting.append(item)

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report):
        if not report.passed:
            told = self.teller.collect(report)
            self._tell_or_keep("report", **told)

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        if when != "runtest":
            self._tell_or_keep("warning", **reports.warning(warning_message, when, nodeid, location))

    kept = ()

    def _tell_or_keep(self, kind, **values):
        """The session line comes first."""
        if self.started:
            self.say(kind, **values)
        else:
            self.kept = list(self.kept) + [(kind, values)]

    def _flush(self):
        items, self.waiting = self.waiting, []
        if not items or not self.streaming or self.done:
            return
        if self.request.get("stream") != "always" and self._foreign_hook():
            # A plugin came with a file: what was told stands, the rest waits for the end.
            self.streaming = False
            return
        for item in items:
            self._count(item)
        chosen = list(items)
        insides.modify_items(self.session, chosen, self.lookers)
        self._tell_file(self.current, chosen)

    def _count(self, item):
        """Number items of one id in the order they were collected."""
        if item not in self.occurrences:
            number = self.by_id.get(item.nodeid, 0)
            self.by_id[item.nodeid] = number + 1
            self.occurrences[item] = number

    def _tell_file(self, path, items):
        self.told.update(items)
        reader, tests = marks.Reader(), []
        for item in items:
            if len(item.nodeid) > wire.MAX_NODEID // 4 and self._refuse_long(path, item):
                continue
            try:
                traits = reader.traits(item)
            except marks.Wrong as error:
                self._refuse(item, error)
                continue
            known = [item.nodeid, self.occurrences[item]]
            tests.append(known + [traits] if traits else known)
        if tests:
            self.say("file", path=path, tests=tests)

    def _refuse(self, item, error):
        """Not run, and one error for each such mark, however many tests have it."""
        self.refused.add(item)
        if id(error.mark) in self.wrong:
            return
        self.wrong.add(id(error.mark))
        self._say_refused(item.nodeid, "%s: %s" % (item.nodeid, error))

    def _refuse_long(self, path, item):
        """A test whose node id fits into no message is not run; False: it fits."""
        size = len(wire.visible(item.nodeid).encode("utf-8"))
        if size <= wire.MAX_NODEID:
            return False
        self.refused.add(item)
        text = "%s: a node id of %d bytes, which is more than 1 MiB: %.80s..." % (path, size, item.nodeid)
        self._say_refused(path, text)
        return True

    def _say_refused(self, nodeid, text):
        told = reports.synthetic(nodeid, "error", "collect", text, longrepr=text, counts={"error": 1})
        told["problems"] = [reports.problem("collect", "error", "ERROR collecting " + nodeid, text)]
        self.say("report", **told)

    # ---- the end ----

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        self._flush()
        self.done = True
        self.total = len(items)
        with insides.without_warnings(bool(self.told)):  # they came with the files
            yield

    total = None  # how many were there before any was deselected; None until everything is collected

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        """After all that chooses and orders."""
        if self.total is None:
            return
        self._tell_session()
        self._tell_kept()
        for item in self.collected + list(session.items):
            self._count(item)
        files = {}
        for item in session.items:
            if item not in self.told:
                files.setdefault(insides.file_name(item), []).append(item)
        for path, chosen in files.items():
            self._tell_file(path, chosen)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        """Here a run would begin: the collection stands, whatever the end of the session brings."""
        self._tell_session()
        self._tell_kept()
        order = [[item.nodeid, self.occurrences[item]] for item in session.items if item not in self.refused]
        total = self.total or 0
        left_out = total - len(session.items)
        self.say("final", order=order, deselected=left_out, collected=total, exit=None if order else 5)
        self.final = True
        if self.controlling:
            self.controlling.serve(session)
        return True

    final = False  # that line was told

    def _tell_kept(self):
        for kind, values in self.kept:
            self.say(kind, **values)
        self.kept = ()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo):
        self.trouble = str(getattr(excinfo.value, "msg", None) or excinfo.exconly())
        if excinfo.errisinstance(pytest.exit.Exception):
            self.trouble = "Exit: " + self.trouble

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr):
        self.trouble = "\n".join("INTERNALERROR> " + line for line in str(excrepr).split("\n"))

    def close(self, status, words):
        """pytest ended with this status and these words on stderr; the exit status of this process."""
        if self.final:
            return self._close_control(status, words) if self.controlling else 0
        if self.trouble is None and status == 4:
            text = words
        else:
            text = self.trouble or words or "pytest ended with status %d before anything was collected" % status
        self._tell_kept()
        self.say("fail", text=text.strip() or "pytest ended with status %d" % status, exit=status or 3)
        return status or 3


    def _close_control(self, status, words):
        if self.trouble or not self.controlling.over:
            for line in (self.trouble or words or "the controller's session ended early").rstrip().split("\n"):
                self.say("text", line=line)
        self.say("ended", exit=status or 3 if self.trouble else self.controlling.exit(status))
        return 0


HISTORY_FLAGS = (("lf", "--lf"), ("failedfirst", "--ff"), ("newfirst", "--nf"), ("stepwise", "--sw"))
ORDERING = ("failedfirst", "newfirst", "stepwise")  # what comes first is to run first
