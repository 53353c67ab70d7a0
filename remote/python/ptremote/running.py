# SPDX-License-Identifier: Apache-2.0
"""The runner's pytest plugin: takes bundles, collects their files, runs the chosen items, tells what they gave."""
import os
import time
from pathlib import Path

import pytest

from ptremote import insides, options, places, reports, wire


class File:
    """A test file that this session collected."""

    def __init__(self, name, path):
        self.name = name  # as the node ids at home have it
        self.path = path  # here
        self.items = {}  # what follows the first "::" of a node id -> items, in the order they were collected
        self.trouble = []  # (node id here, report): collectors of it that did not collect
        self.seen = False  # a collector for it came up


class Running:
    def __init__(self, control, session, mapping):
        self.control = control
        self.asked = session
        self.mapping = mapping
        self.up = False
        self.finished = False  # the supervisor wants no more
        self.trouble = None  # why it never came up, or what went wrong outside of tests
        self.stop = None  # (reason, exit status or None): the session wants to end
        self.interrupt = None  # exception that ends the session
        self.files = {}  # name -> File
        self.nodes = {}  # path -> Directory or Package
        self.current = None  # number of the test that runs
        self.gathered = []  # its (report, category)
        self.bundle = None
        self.folder_troubles = []
        self.before = []
        self.last = None  # (number, item) that ran last
        self.ran = set()
        self.clock = time.time
        self.own_words = False  # no plugin has words of its own for what passed

    # ---- start ----

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, parser):
        yield
        options.accept(parser)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config):
        options.act_as_runner(config, os.environ.get("PTREMOTE_WORKER", str(os.getpid())))
        yield

    def pytest_configure(self, config):
        """Before the terminal reporter is there, so that it sees reports before the JUnit plugin, as it always does."""
        self.config = config
        xml = None
        if self.asked.get("junit") and hasattr(config.option, "junitprefix"):
            xml = insides.register_xml(config)
            xml.on_property = lambda name, value: self.control.note("suite", properties=[[name, value]])
        self.teller = reports.Teller(config, xml)

    @pytest.hookimpl(specname="pytest_configure", trylast=True)
    def pytest_configured(self, config):
        insides.redirect_terminal(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        insides.redirect_terminal(self.config)
        self.session = session
        session.items = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr):
        self.trouble = "\n".join("INTERNALERROR> " + line for line in str(excrepr).split("\n"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        """The whole collection was made at home: here are only its traces."""
        if self.bundle is not None:
            return None
        asked, there = self.asked, self.mapping.there
        self.search = places.SearchPath(map(there, asked.get("front", ())), map(there, asked.get("back", ())))
        self.search.apply()
        for path in map(there, asked.get("conftests", ())):
            if os.path.isfile(path):
                try:
                    insides.load_conftests(self.config, Path(path))
                except Exception:
                    pass  # the files it is for will tell
        return True

    # ---- the loop ----

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        self.between = insides.between(session)
        fds = insides.capture_files(self.config)
        if fds:
            self.control.captures(fds)
        self.up = True
        self.control.say(wire.R_UP)
        while True:
            kind, fields = self._hear()
            if kind == wire.R_BUNDLE:
                self.bundle = wire.decode_bundle(fields)
                self._run_bundle(self.bundle)
                self.control.say(wire.R_DONE, self.bundle.number.to_bytes(4, "big"))
            elif kind == wire.R_QUIT:
                self.finished = True
                return self._end()
            else:
                raise wire.Malformed("message of type %d out of place" % kind)

    def _hear(self):
        from ptremote import runner

        try:
            return self.control.hear()
        except runner.Gone:
            return wire.R_QUIT, None

    def _end(self):
        insides.forget_history(self.config)
        if self.interrupt is not None:
            raise self.interrupt
        report = insides.end_session_fixtures(self.session, self.last[1] if self.last else None)
        if report.failed:
            self.gathered = []
            self.config.hook.pytest_runtest_logreport(report=report)
            gathered = self.gathered or [(report, "error")]
            nodeid = self.last[2] if self.last else ""
            _, told = self.teller.test(nodeid, gathered, self.clock())
            self.control.note("report", report=told, after=self.last[0] if self.last else None)
        return True

    def tell_end_trouble(self, text):
        """Something in pytest_sessionfinish or pytest_unconfigure raised."""
        line = text.strip().rpartition("\n")[2]
        told = reports.synthetic("", "error", "session", line, counts={"error": 1}, longrepr=text)
        told["problems"] = [reports.problem("session", "error", "ERROR at the end of the session", text)]
        self.control.note("report", report=told, after=self.last[0] if self.last else None)

    # ---- collecting the files of a bundle ----

    def _run_bundle(self, bundle):
        chosen = []
        if self.stop is None:
            self._collect(bundle)
        impls = self.config.hook.pytest_report_teststatus.get_hookimpls()
        self.own_words = all(insides.is_own(impl.plugin) for impl in impls)
        for entry in bundle.files:
            chosen += self._choose(entry, self.files.get(entry.path))
        for at, (number, nodeid, item) in enumerate(chosen):
            if not self.control.ours():
                os._exit(0)  # a forked child of a test came back from it
            if self.stop is not None:
                self._not_run(number, nodeid)
                continue
            following = chosen[at + 1][2] if at + 1 < len(chosen) else self.between
            self._run_test(number, nodeid, item, following)

    def _collect(self, bundle):
        """Every file of the bundle that this session did not collect yet, whole."""
        new = []
        for number, entry in enumerate(bundle.files):
            if entry.path not in self.files:
                self.files[entry.path] = File(entry.path, self._locate(entry.path))
                new.append((number, self.files[entry.path]))
        present = [(number, file) for number, file in new if os.path.isfile(file.path)]
        if not present:
            return
        self._collect_files(present)
        alone = [(number, file) for number, file in present if not (file.seen or file.items)]
        if len(present) > 1 and self.stop is None:
            # Something that is for all of them went wrong: one at a time tells which it was.
            for one in alone:
                self._collect_files([one])

    def _collect_files(self, numbered):
        self.wanted = {file.path: (number, file) for number, file in numbered}
        self.folder_troubles = []
        self.before = []
        self.control.say(wire.R_IMPORT, numbered[0][0].to_bytes(4, "big"))
        self.config.args = [file.path for _, file in numbered]
        pyargs, self.config.option.pyargs = getattr(self.config.option, "pyargs", False), False
        trouble = None
        try:
            self.config.hook.pytest_collection(session=self.session)
        except (KeyboardInterrupt, pytest.exit.Exception, self.session.Failed) as error:
            self._stopped_by(error)
        except pytest.UsageError as error:
            trouble = "\n".join("ERROR: %s" % text for text in error.args)
        except Exception:
            import traceback

            trouble = traceback.format_exc()
        finally:
            self.config.option.pyargs = pyargs
            self.search.apply()
        self._sort_items(list(self.session.items))
        for _, file in numbered:
            if not file.items and not file.trouble:
                file.trouble += self._troubles_above(file)
                if trouble and not file.seen:
                    file.trouble.append(("", trouble))
        self.session.items = [item for _, file in numbered for items in file.items.values() for item in items]

    def _locate(self, name):
        """Where the file of a node id is here."""
        home = os.path.normpath(os.path.join(self.asked["root"], name))
        path = self.mapping.there(home)
        if not os.path.exists(path):
            raw = wire.undecoded(path)
            path = raw if os.path.exists(raw) else path
        return path

    def _sort_items(self, after):
        """Items by file and id. A hook may have replaced items, or left some out that were chosen at home."""
        known = set(map(id, self.before))
        by_id = {}
        for item in self.before:
            by_id.setdefault((insides.file_path(item), item.nodeid), [[], []])[0].append(item)
        for item in after:
            by_id.setdefault((insides.file_path(item), item.nodeid), [[], []])[1].append(item)
        for (path, nodeid), (old, new) in by_id.items():
            if path in self.wanted:
                replaced = len(new) >= len(old) and not all(id(item) in known for item in new)
                tail = wire.visible(nodeid.partition("::")[2])
                self.wanted[path][1].items[tail] = new if replaced or not old else old

    def _troubles_above(self, file):
        """What went wrong in a folder above a file that no collector came up for."""
        found = []
        for node_path, report in self.folder_troubles:
            if not file.seen and (file.path == node_path or file.path.startswith(node_path.rstrip("/") + "/")):
                found.append((report.nodeid, report))
        return found[:1]

    # Nodes of folders live as long as the session: fixtures of conftests hang on them.

    @pytest.hookimpl(hookwrapper=True, optionalhook=True)
    def pytest_collect_directory(self, path, parent):
        outcome = yield
        node = outcome.get_result()
        if node is not None:
            outcome.force_result(self.nodes.setdefault(path, node))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_pycollect_makemodule(self, module_path, parent):
        outcome = yield
        node = outcome.get_result()
        if insides.OLD_TREE and isinstance(node, pytest.Package):
            outcome.force_result(self.nodes.setdefault(module_path, node))

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path):
        """Only what is asked for is looked at; pytest does not ask about that. Before 8 it looks at nothing else."""
        return True if self.bundle is not None and not insides.OLD_TREE else None

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session):
        pending = insides.pending_conftests(session)
        kept = dict(pending) if pending else None
        yield
        if kept:
            pending.update(kept)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector):
        if self.bundle is not None and insides.is_file_node(collector):
            number, file = self.wanted.get(str(collector.path), (None, None))
            if file is not None:
                file.seen = True
                self.control.say(wire.R_IMPORT, number.to_bytes(4, "big"))
                self.search.only_before(file.path)

    def pytest_itemcollected(self, item):
        self.before.append(item)

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report):
        if report.passed or self.bundle is None:
            return
        path, _, rest = report.nodeid.partition("::")
        here = os.path.normpath(os.path.join(str(self.config.rootpath), path))
        if here in self.wanted:
            self.wanted[here][1].trouble.append((report.nodeid, report))
        else:
            self.folder_troubles.append((here, report))

    # ---- choosing ----

    def _choose(self, entry, file):
        """(number, node id, item) of the chosen tests that are there; tells of those that are not."""
        if file is None:
            return [(test.test, test.nodeid, None) for test in entry.tests]
        if not file.items and self.stop is None:
            self._tell_uncollected(entry, file)
            return []
        chosen = []
        for test in entry.tests:
            tail = test.nodeid.partition("::")[2]
            items = file.items.get(tail)
            if items:
                chosen.append((test.test, test.nodeid, items[test.occurrence % len(items)]))
            elif self.stop is not None:
                chosen.append((test.test, test.nodeid, None))
            else:
                self._tell_missing(entry, file, test, tail)
        return chosen

    def _tell_uncollected(self, entry, file):
        if file.trouble and isinstance(file.trouble[0][1], pytest.CollectReport):
            told = self.teller.collect(file.trouble[0][1])
        else:
            if file.trouble:
                text = file.trouble[0][1]
            elif not os.path.exists(file.path):
                text = "%s is not on this host" % file.path
            else:
                text = "no tests were found in %s on this host" % file.path
            told = reports.synthetic(entry.path, "error", "collect", text.strip().rpartition("\n")[2], longrepr=text)
            told["counts"] = {"error": 1}
            told["problems"] = [reports.problem("collect", "error", "ERROR collecting " + entry.path, text)]
        self.control.note("collect", path=entry.path, outcome=told["outcome"], report=told)

    def _tell_missing(self, entry, file, test, tail):
        """A chosen test that is not in its file here: a collector above it failed, or the file differs."""
        for nodeid, report in file.trouble:
            above = nodeid.partition("::")[2] if nodeid else ""
            if isinstance(report, pytest.CollectReport) and above and tail.startswith(above + "::"):
                told = self.teller.collect(report)
                told.update(nodeid=test.nodeid, file=entry.path)
                self.control.report(test.test, wire.GRAVITY[told["outcome"]], reports.encode(told))
                return
        found = [entry.path + "::" + name for name in list(file.items)[:20]]
        self.control.note("missing", path=entry.path, test=test.test, nodeid=test.nodeid, found=found)

    # ---- running one ----

    def _run_test(self, number, nodeid, item, following):
        if id(item) in self.ran:
            insides.run_again(item)
        self.ran.add(id(item))
        self.current, self.gathered = number, []
        started = self.clock()
        self.control.start(number, wire.SETUP)
        self.last = (number, item, nodeid)
        trouble = None
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (KeyboardInterrupt, pytest.exit.Exception, self.session.Failed) as error:
            self._stopped_by(error)
        except BaseException as error:
            trouble = self._internal(error)
        if not self.control.ours():
            os._exit(0)
        if self.stop is None and (self.session.shouldfail or self.session.shouldstop):
            self.stop = (str(self.session.shouldfail or self.session.shouldstop), None)
            kind = self.session.Failed if self.session.shouldfail else self.session.Interrupted
            self.interrupt = kind(self.stop[0])
        self._tell(number, nodeid, started, trouble)
        self.current = None

    def _tell(self, number, nodeid, started, trouble):
        told_enough = any(report.when != "setup" or not report.passed for report, _ in self.gathered)
        if trouble is not None:
            outcome, told = wire.GRAVITY["error"], trouble
            told.update(nodeid=nodeid, file=nodeid.partition("::")[0], started=started)
        elif self.gathered and (told_enough or self.stop is None):
            outcome, told = self.teller.test(nodeid, self.gathered, started)
        else:
            outcome = wire.GRAVITY["notrun"]
            reason = self.stop[0] if self.stop else "pytest made no report of it"
            told = reports.synthetic(nodeid, "notrun", "call", reason, started=started)
            if self.teller.xml is not None:
                self.teller.xml.take()
        if self.stop is not None:
            told["stop"] = self.stop[0]
            if self.stop[1] is not None:
                told["exit"] = self.stop[1]
        self.control.report(number, outcome, reports.encode(told))

    def _not_run(self, number, nodeid):
        told = reports.synthetic(nodeid, "notrun", "setup", self.stop[0])
        self.control.report(number, wire.GRAVITY["notrun"], reports.encode(told))

    def _stopped_by(self, error):
        """pytest.exit(), KeyboardInterrupt and what plugins raise to end a session."""
        reason = str(getattr(error, "msg", None) or error) or type(error).__name__
        self.interrupt = error
        status = getattr(error, "returncode", None)
        self.stop = (reason, 2 if status is None and isinstance(error, KeyboardInterrupt) else status)
        if self.current is None:
            self.control.note("stop", reason=reason, exit=self.stop[1])

    def _internal(self, error):
        """A plugin raised where it must not: pytest would end here."""
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        text = "\n".join("INTERNALERROR> " + line for line in text.rstrip().split("\n"))
        self.stop, self.interrupt = ("INTERNALERROR: %s" % (error,), 3), error
        problem = reports.problem("call", "error", "INTERNALERROR", text)
        return {
            "outcome": "error",
            "phase": "call",
            "counts": {"error": 1},
            "message": "INTERNALERROR: %s" % (error,),
            "longrepr": text,
            "problems": [problem],
        }

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item):
        if self.current is not None:
            self.control.start(self.current, wire.CALL)
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item):
        if self.current is not None:
            self.control.start(self.current, wire.TEARDOWN)
        yield

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        plain = report.outcome == "passed" and report.when != "call" and self.own_words
        self.gathered.append((report, "" if plain else reports.category_of(self.config, report)))

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        told = reports.warning(warning_message, when, nodeid, location, self.mapping.here)
        self.control.note("warning", **told)
