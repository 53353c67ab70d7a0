# SPDX-License-Identifier: Apache-2.0
"""The runner's pytest plugin: takes bundles, has their files collected, runs the chosen items, tells what they gave."""
import collections
import gc
import os
import time
from pathlib import Path

import pytest

from ptremote import control as controls
from ptremote import files, insides, isolating, options, places, remembered, reports, wire


class Turn:
    """What of a bundle is still to be run here."""

    def __init__(self, control, bundle, rest, deaf=False):
        self.control = control
        self.bundle = bundle  # its number
        self.rest = collections.deque(rest)  # (test, node id, item)
        self.deaf = deaf  # somebody else hears the supervisor
        self.quit = False

    def take(self, most=None):
        """The first tests, or all, off this turn; the one who runs a part of them hears nothing."""
        number = len(self.rest) if most is None else min(most, len(self.rest))
        return Turn(self.control, self.bundle, [self.rest.popleft() for _ in range(number)], most is not None)

    def listen(self, kept):
        """Between tests: give back what is asked for, but for the first `kept`; note that nothing more is wanted."""
        while not self.deaf and not self.quit and self.control.waiting():
            try:
                kind, fields = self.control.hear()
            except controls.Gone:
                kind = wire.R_QUIT
            if kind == wire.R_STEAL:
                self.control.stolen(self.bundle, self._give_back(fields, kept))
            elif kind == wire.R_QUIT:
                self.quit = True
            else:
                raise wire.Malformed("message of type %d while tests run" % kind)

    def _give_back(self, fields, kept):
        asked = {fields.u32() for _ in range(fields.count(4))}
        fields.end()
        rest = list(self.rest)
        given = [one[0] for one in rest[kept:] if one[0] in asked]
        self.rest = collections.deque(rest[:kept] + [one for one in rest[kept:] if one[0] not in asked])
        return given


class Running:
    def __init__(self, control, session, mapping, node=None):
        self.control = control
        self.asked = session
        self.mapping = mapping
        self.up = False
        self.finished = False  # this session runs no more
        self.trouble = None  # why it never came up, or what went wrong outside of tests
        self.stop = None  # (reason, exit status or None): the session wants to end
        self.interrupt = None  # exception that ends the session
        self.current = None  # number of the test that runs
        self.gathered = []  # its (report, category)
        self.bundle = wire.NONE  # number of the one that came last
        self.last = None  # (number, item, node id) that ran last
        self.ran = set()
        self.frozen = False
        self.clock = time.time
        self.words = None  # reports.Words of this bundle
        self.files = files.Files(control, session["root"], mapping, self._stopped_by)
        self.forget_proxies = bool  # once there are any
        self.isolation = self.group = None
        if os.environ.get("PTREMOTE_RANKS"):
            from ptremote import ranks

            self.group = ranks.of(self)
        elif session.get("isolate", "session") != "session":
            self.isolation = isolating.Isolation(self, session["isolate"] == "test", node)

    # ---- start ----

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, parser):
        yield
        options.accept(parser)
        options.accept_parallel(parser)

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
        remembered.async_fixtures(config)
        remembered.files()

    def pytest_plugin_registered(self):
        self.forget_proxies()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        insides.redirect_terminal(self.config)
        insides.redirect_live_log(self.config)
        self.session = session
        session.items = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr):
        self.trouble = "\n".join("INTERNALERROR> " + line for line in str(excrepr).split("\n"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        """The whole collection was made at home: here are only its traces."""
        if self.files.active:
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
        self.forget_proxies = remembered.proxies(session)
        remembered.sources()
        remembered.paths()
        insides.silence_terminal(self.config)
        insides.quicken_captures(self.config)
        fds = insides.capture_files(self.config)
        if fds:
            self.control.captures(fds)
        self.files.begin(session, self.search, self.teller)
        if self.group is not None:
            self.trouble = self.group.join(session)
            if self.trouble is not None:
                return True
        self.up = True
        self.control.say(wire.R_UP)
        while not self.finished:
            kind, fields = self._hear()
            if kind == wire.R_BUNDLE:
                self._run_bundle(wire.decode_bundle(fields))
            elif kind == wire.R_STEAL:
                self.control.stolen(self.bundle, [])
            elif kind == wire.R_QUIT:
                self.finished = True
            else:
                raise wire.Malformed("message of type %d out of place" % kind)
        return self._end()

    def _hear(self):
        try:
            return self.control.hear()
        except controls.Gone:
            return wire.R_QUIT, None

    def _run_bundle(self, bundle):
        self.bundle = bundle.number
        if self.stop is None:
            self.files.collect(bundle)
            if self.isolation is None and not self.frozen:
                self.frozen = True
                gc.freeze()  # no test has run: nothing of this is garbage
            insides.keep_log_handlers(self.config)
        self.words = reports.Words(self.config)
        outcome = self._run_chosen(bundle) if self.group is None else self.group.run(bundle, self.files)
        if outcome == "done":
            self.control.say(wire.R_DONE, bundle.number.to_bytes(4, "big"))
        self.finished = outcome in ("quit", "over")

    def _run_chosen(self, bundle):
        turn = Turn(self.control, bundle.number, self.files.choose(bundle, self.stop is not None))
        if self.isolation is not None:
            return self.isolation.run(turn)
        self.run_tests(turn, self.between)
        return "quit" if turn.quit else "done"

    def run_tests(self, turn, after):
        """In this process, until the end of the turn; `after` stands for the test that follows its last."""
        turn.listen(0)
        while turn.rest and not turn.quit:
            number, nodeid, item = turn.rest.popleft()
            if self.stop is not None:
                self._not_run(number, nodeid)
            else:
                self._run_test(number, nodeid, item, turn.rest[0][2] if turn.rest else after)
            turn.listen(1)
        self.control.flush()

    def _end(self):
        insides.forget_history(self.config)
        if self.group is not None:
            self.group.end()
        if self.interrupt is not None:
            raise self.interrupt
        self.end_fixtures()
        return True

    def end_fixtures(self):
        """Tear down what is still set up, as a part of the last test."""
        report = None
        if insides.fixtures_left(self.session):
            report = insides.end_session_fixtures(self.session, self.last[1] if self.last else None)
        failed = report is not None and report.failed
        if self.group is not None and self.stop is None:
            failed = self.group.tells_end(failed)
        if failed:
            self.gathered = []
            self.config.hook.pytest_runtest_logreport(report=report)
            gathered = self.gathered or [(report, "error")]
            nodeid = self.last[2] if self.last else ""
            _, told = self.teller.test(nodeid, gathered, self.clock())
            self.control.note("report", report=told, after=self.last[0] if self.last else None)

    def tell_end_trouble(self, text):
        """Something in pytest_sessionfinish or pytest_unconfigure raised."""
        line = text.strip().rpartition("\n")[2]
        told = reports.synthetic("", "error", "session", line, counts={"error": 1}, longrepr=text)
        told["problems"] = [reports.problem("session", "error", "ERROR at the end of the session", text)]
        self.control.note("report", report=told, after=self.last[0] if self.last else None)

    # ---- what a child tells its session ----

    def wish(self):
        """How a child of the session wants it to go on."""
        if self.stop is None:
            return {}
        kinds = (KeyboardInterrupt, "keyboard"), (pytest.exit.Exception, "exit"), (self.session.Failed, "failed")
        kind = [name for known, name in kinds if isinstance(self.interrupt, known)]
        return {"stop": [self.stop[0][:4096], self.stop[1]], "kind": kind[0] if kind else "stop"}

    def adopt(self, wish):
        """In the session: what a child told at its end."""
        self.session.testsfailed += wish["failed"]
        self.last = self.last or (None, None, "")
        if "stop" not in wish:
            return
        reason, status = self.stop = tuple(wish["stop"])
        makers = {
            "keyboard": KeyboardInterrupt,
            "exit": lambda text: pytest.exit.Exception(text, returncode=status),
            "failed": self.session.Failed,
        }
        self.interrupt = makers.get(wish["kind"], self.session.Interrupted)(reason)

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
        if self.group is not None:
            self.group.through(trouble is not None or self.stop is not None)
        self._tell(number, nodeid, started, trouble)
        self.current = None

    def _tell(self, number, nodeid, started, trouble):
        if trouble is None and self.stop is None:
            data = self.teller.passed(nodeid, self.gathered, started)
            if data is not None:
                self.control.report(number, wire.GRAVITY["passed"], data)
                return
        told_enough = any(report.when != "setup" or not report.passed for report, _ in self.gathered)
        if trouble is not None:
            outcome, told = wire.GRAVITY["error"], trouble
            told.update(nodeid=nodeid, file=nodeid.partition("::")[0], started=started)
        elif self.gathered and (told_enough or self.stop is None):
            outcome, told = self.teller.test(nodeid, self.gathered, started)
            if self.group is not None and self.group.why and told["outcome"] == "passed":
                told["message"] = self.group.why
                told.pop("junit", None)
                told.pop("junit_counts", None)
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
        if self.group is not None and self.interrupt is not None:
            told["stop"] = self.stop[0]  # its note may have been another rank's to tell
            if self.stop[1] is not None:
                told["exit"] = self.stop[1]
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
        self.gathered.append((report, self.words.category(report)))

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        told = reports.warning(warning_message, when, nodeid, location, self.mapping.here)
        self.control.note("warning", **told)
