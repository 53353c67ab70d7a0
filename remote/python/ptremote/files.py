# SPDX-License-Identifier: Apache-2.0
"""The files of bundles in a live session: collected whole, once, and told where that went wrong.

Of each file collected the time is told, and which third-party modules it uses: what a host may import ahead.
"""
import os
import time

import pytest

from ptremote import insides, modules, reports, spared, wire


class File:
    """A test file that this session collected."""

    def __init__(self, name, path):
        self.name = name  # as the node ids at home have it
        self.path = path  # here
        self.items = {}  # what follows the first "::" of a node id -> items, in the order they were collected
        self.trouble = []  # (node id here, report): collectors of it that did not collect
        self.node = None  # the collector that came up for it
        self.seconds = 0.0


class Files:
    """A pytest plugin. `stopped` is called with what ended the session while it collected."""

    def __init__(self, control, root, mapping, stopped):
        self.control = control
        self.root = root
        self.mapping = mapping
        self.stopped = stopped
        self.active = False  # bundles are being collected
        self.known = {}  # name -> File
        self.wanted = {}  # path -> (index in the bundle, File), while they are collected
        self.nodes = {}  # path -> Directory or Package
        self.before = []
        self.folder_troubles = []
        self.told = set()  # (bundle, attempt, name) of the troubles that were told
        self.clock = time.monotonic
        self.timed = None  # (File, since when) that is being collected

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self):
        spared.spare_collection()

    def begin(self, session, search, teller):
        self.session, self.config, self.search, self.teller = session, session.config, search, teller
        self.modules = modules.Imported([self.mapping.workspace, os.getcwd(), str(self.config.rootpath)])
        self.active = True

    # ---- collecting ----

    def collect(self, bundle):
        """Every file of the bundle that this session did not collect yet."""
        new = []
        for number, entry in enumerate(bundle.files):
            if entry.path not in self.known:
                self.known[entry.path] = File(entry.path, self._locate(entry.path))
                new.append((number, self.known[entry.path]))
        present = [(number, file) for number, file in new if os.path.isfile(file.path)]
        if not present:
            return
        going = self._collect(present)
        alone = [(number, file) for number, file in present if not (file.node or file.items)]
        if len(present) > 1 and going:
            # Something that is for all of them went wrong: one at a time tells which it was.
            for one in alone:
                self._collect([one])
        for _, file in present:
            used = self.modules.used_by(getattr(file.node, "_obj", None))
            self.control.note("file", path=file.name, seconds=round(file.seconds, 6), modules=used)

    def _collect(self, numbered):
        """False when the session has to stop."""
        self.wanted = {file.path: (number, file) for number, file in numbered}
        self.folder_troubles = []
        self.before = []
        self.control.say(wire.R_IMPORT, numbered[0][0].to_bytes(4, "big"))
        self.config.args = [file.path for _, file in numbered]
        pyargs, self.config.option.pyargs = getattr(self.config.option, "pyargs", False), False
        trouble, going = None, True
        try:
            with insides.literal_paths([path for path in self.wanted if "[" in path or "::" in path]):
                self.config.hook.pytest_collection(session=self.session)
        except (KeyboardInterrupt, pytest.exit.Exception, self.session.Failed) as error:
            going = False
            self.stopped(error)
        except pytest.UsageError as error:
            trouble = "\n".join("ERROR: %s" % text for text in error.args)
        except Exception:
            import traceback

            trouble = traceback.format_exc()
        finally:
            self._time(None)
            self.config.option.pyargs = pyargs
            self.search.apply()
        self._sort_items(list(self.session.items))
        for _, file in numbered:
            if not file.items and not file.trouble:
                file.trouble += self._troubles_above(file)
                if trouble and not file.node:
                    file.trouble.append(("", trouble))
        self.session.items = [item for _, file in numbered for items in file.items.values() for item in items]
        return going

    def _time(self, file):
        """The file that was collected until now took that long; another begins."""
        now = self.clock()
        if self.timed is not None:
            self.timed[0].seconds += now - self.timed[1]
            self.modules.took(getattr(self.timed[0].node, "_obj", None))
        self.timed = (file, now) if file is not None else None

    def _locate(self, name):
        """Where the file of a node id is here."""
        home = os.path.normpath(os.path.join(self.root, name))
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
            if not file.node and (file.path == node_path or file.path.startswith(node_path.rstrip("/") + "/")):
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
        return True if self.active and not insides.OLD_TREE else None

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session):
        pending = insides.pending_conftests(session)
        kept = dict(pending) if pending else None
        yield
        if kept:
            pending.update(kept)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector):
        if self.active and insides.is_file_node(collector):
            number, file = self.wanted.get(str(collector.path), (None, None))
            if file is not None:
                self._time(file)
                file.node = collector
                self.control.say(wire.R_IMPORT, number.to_bytes(4, "big"))
                self.search.only_before(file.path)

    def pytest_itemcollected(self, item):
        self.before.append(item)

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report):
        if report.passed or not self.active:
            return
        path = report.nodeid.partition("::")[0]
        here = os.path.normpath(os.path.join(str(self.config.rootpath), path))
        if here in self.wanted:
            self.wanted[here][1].trouble.append((report.nodeid, report))
            return
        for _, file in self.wanted.values():
            if file.node is not None and (report.nodeid + "::").startswith(file.node.nodeid + "::"):
                file.trouble.append((report.nodeid, report))
                return
        self.folder_troubles.append((here, report))

    # ---- choosing ----

    def choose(self, bundle, stopped, unable=None):
        """(number, node id, item) of the chosen tests; tells of those that are not here, or puts their reports into
        `unable` {number: report}. Once the session is stopped the item may be None."""
        chosen = []
        for entry in bundle.files:
            file = self.known.get(entry.path)
            if file is None:
                chosen += [(test.test, test.nodeid, None) for test in entry.tests]
            elif not file.items and not stopped and unable is not None:
                self._note_uncollected(entry, file, unable)
            elif not file.items and not stopped:
                self._tell_uncollected(bundle, file)
            else:
                chosen += self._choose(entry, file, stopped, unable)
        return chosen

    def _choose(self, entry, file, stopped, unable):
        for test in entry.tests:
            tail = test.nodeid.partition("::")[2]
            items = file.items.get(tail)
            if items:
                yield test.test, test.nodeid, items[test.occurrence % len(items)]
            elif stopped:
                yield test.test, test.nodeid, None
            elif unable is not None:
                unable[test.test] = self._report_missing(entry, file, test, tail)
            else:
                self._tell_missing(entry, file, test, tail)

    def _tell_uncollected(self, bundle, file):
        """Once a bundle: that is for every entry of the file."""
        key = bundle.number, bundle.attempt, file.name
        if key in self.told:
            return
        self.told.add(key)
        told = self._report_uncollected(file)
        self.control.note("collect", path=file.name, outcome=told["outcome"], report=told)

    def _note_uncollected(self, entry, file, unable):
        """The whole of it by the first of its tests."""
        told = self._report_uncollected(file)
        for test in entry.tests:
            unable[test.test] = dict(told, nodeid=test.nodeid, file=entry.path)
            told = {key: told[key] for key in ("outcome", "phase", "counts", "message") if key in told}

    def _report_uncollected(self, file):
        if file.trouble and isinstance(file.trouble[0][1], pytest.CollectReport):
            told = self.teller.collect(file.trouble[0][1])
        else:
            if file.trouble:
                text = file.trouble[0][1]
            elif not os.path.exists(file.path):
                text = "%s is not on this host" % file.path
            else:
                text = "no tests were found in %s on this host" % file.path
            told = reports.synthetic(file.name, "error", "collect", text.strip().rpartition("\n")[2], longrepr=text)
            told["counts"] = {"error": 1}
            told["problems"] = [reports.problem("collect", "error", "ERROR collecting " + file.name, text)]
        return told

    def _tell_missing(self, entry, file, test, tail):
        """A chosen test that is not in its file here: a collector above it failed, or the file differs."""
        told = self._report_above(entry, file, test, tail)
        if told is not None:
            self.control.report(test.test, wire.GRAVITY[told["outcome"]], reports.encode(told))
            return
        self.control.note(
            "missing", path=entry.path, test=test.test, nodeid=test.nodeid, found=self._there(entry, file)
        )

    def _report_above(self, entry, file, test, tail):
        """Of the collector above the test that failed, or None."""
        for nodeid, report in file.trouble:
            above = nodeid.partition("::")[2] if nodeid else ""
            if isinstance(report, pytest.CollectReport) and above and tail.startswith(above + "::"):
                return dict(self.teller.collect(report), nodeid=test.nodeid, file=entry.path)
        return None

    @staticmethod
    def _there(entry, file):
        return [entry.path + "::" + name for name in list(file.items)[:20]]

    def _report_missing(self, entry, file, test, tail):
        told = self._report_above(entry, file, test, tail)
        if told is not None:
            return told
        line = "%s is not in its file on this host" % test.nodeid
        text = "\n    ".join([line + "; these are:", *self._there(entry, file)])
        told = reports.synthetic(test.nodeid, "error", "collect", line, longrepr=text, counts={"error": 1})
        told["problems"] = [reports.problem("collect", "error", "ERROR collecting " + test.nodeid, text)]
        return told
