# SPDX-License-Identifier: Apache-2.0
"""From pytest's reports to the objects of docs/protocol.md 7.2 and 7.3."""
import json
import os
import warnings

import pytest

from ptremote import insides, wire

JSON_LIMIT = wire.MAX_TEXT - (64 << 10)
# Longest text and longest list, tried in turn until a report fits.
LIMITS = ((JSON_LIMIT, JSON_LIMIT), (1 << 20, 5000), (512 << 10, 2000), (64 << 10, 500), (4 << 10, 100))
_PHASES = ("setup", "call", "teardown")
# Most tests pass and say nothing: their report, but for the braces, and the longest node id that is told so.
_PASSED = (
    '"nodeid":%s,"file":%s,"setup":%.6f,"call":%.6f,"teardown":%.6f,'
    '"outcome":"passed","phase":"call","counts":{"passed":1},"started":%.6f,"duration":%.6f'
)
# The same from a rank whose report is only merged with that of rank 0.
_BRIEF = (
    b'{"nodeid":"","outcome":"passed","phase":"call","setup":%.6f,"call":%.6f,"teardown":%.6f,"started":%.6f,"duration":%.6f}'
)
_PLAIN_NODEID = 4 << 10
_LONG = 1e9  # seconds that no test takes
_IN_ORDER = list(_PHASES)
_quoted = json.encoder.encode_basestring
# Plugins whose pytest_report_teststatus is about reports of their own kind and no others.
_OWN_KIND = {"pytest_rerunfailures", "pytest_subtests", "pytest_subtests.plugin"}


def category_of(config, report):
    """How pytest counts this report: "passed", "error" ... or "" for not at all."""
    return config.hook.pytest_report_teststatus(report=report, config=config)[0]


class Words:
    """Categories of reports, without asking every plugin about a test that passed where none has other words for it."""

    def __init__(self, config):
        self.config = config
        plugins = [impl.plugin for impl in config.hook.pytest_report_teststatus.get_hookimpls()]
        names = {getattr(plugin, "__name__", None) for plugin in plugins}
        self.plain = all(insides.is_own(plugin) or getattr(plugin, "__name__", None) in _OWN_KIND for plugin in plugins)
        # A call that passed is failed when subtests of it did.
        self.plain_call = self.plain and "_pytest.subtests" not in names

    def category(self, report):
        if report.outcome == "passed" and type(report) is pytest.TestReport and not hasattr(report, "wasxfail"):
            if report.when != "call" and self.plain:
                return ""
            if report.when == "call" and self.plain_call:
                return "passed"
        return category_of(self.config, report)


def outcome_of(report, category):
    """One of the names in wire.OUTCOMES, or None for a report that decides nothing."""
    if category in ("passed", "skipped", "xfailed", "xpassed", "error", "failed"):
        return category
    if report.outcome == "failed":
        return "failed" if report.when == "call" else "error"
    return report.outcome if report.outcome in ("passed", "skipped") else None


def reason_of(report):
    """One line: why it was skipped, expected to fail, or failed; None when there is nothing to say."""
    if hasattr(report, "wasxfail"):
        text = str(report.wasxfail)
        text = text[8:] if text.startswith("reason: ") else text
    elif report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        text = skip_reason(report.longrepr[2])
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = getattr(crash, "message", None) or (str(report.longrepr) if report.longrepr else "")
    return text.strip().partition("\n")[0] or None


def skip_reason(text):
    if text == "Skipped":
        return ""
    return text[9:] if text.startswith("Skipped: ") else text


def text_of(report):
    """The traceback or other text, to the byte as pytest prints it under a headline; or None."""
    longrepr = report.longrepr
    if longrepr is None or isinstance(longrepr, tuple):
        return None
    return insides.rendered(report) if hasattr(longrepr, "toterminal") else str(longrepr)


def headline_of(report, category):
    head = getattr(report, "head_line", None) or "test session"
    if report.when == "collect":
        return "ERROR collecting " + head
    return "ERROR at %s of %s" % (report.when, head) if category == "error" else head


class Teller:
    """Builds the reports of one session."""

    brief = False  # one that passed with nothing to show says no more than that

    def __init__(self, config, xml=None):
        self.config = config
        self.xml = xml
        chars = getattr(config.option, "reportchars", "") or ""
        everything = "A" in chars or "a" in chars
        self.extra = {
            "passed": "P" in chars or "A" in chars,
            "xfailed": "x" in chars or everything,
            "xpassed": "X" in chars or everything,
        }
        self.show = getattr(config.option, "showcapture", "all")
        self.start_dir = str(config.invocation_params.dir)

    def data_of(self, report):
        """What plugins make of a report when it travels, or its own attributes."""
        hook = self.config.hook.pytest_report_to_serializable
        return hook(config=self.config, report=report) or vars(report)

    def test(self, nodeid, reports, started):
        """What one test gave; `reports` are (report, category) in the order they were logged. (outcome, object)."""
        result = {"nodeid": nodeid, "file": nodeid.partition("::")[0]}
        best, first = None, None
        counts, problems = {}, []
        for report, category in reports:
            if report.when in _PHASES:
                result[report.when] = report.duration
            if not category and report.outcome == "passed" and first is not None:
                continue
            outcome = outcome_of(report, category)
            if category and getattr(report, "count_towards_summary", True):
                counts[category] = counts.get(category, 0) + 1
            gravity = wire.GRAVITY[outcome] if outcome else 0
            # A test that passed did so in its call.
            if best is None or gravity > wire.GRAVITY[best] or (outcome == "passed" == best and report.when == "call"):
                best, first = outcome or best, report
            entry = self.problem(report, category, outcome)
            if entry:
                problems.append(entry)
        best = best or "passed"
        result["outcome"], result["phase"], result["counts"] = best, first.when or "call", counts
        result["started"], result["duration"] = started, sum(result.get(when, 0) for when in _PHASES)
        message = reason_of(first) if best != "passed" else None
        if message:
            result["message"] = message
        if best in ("failed", "error"):
            result["longrepr"] = (text_of(first) or "").strip("\n")
        elif best == "skipped" and isinstance(first.longrepr, tuple):
            result["skip"] = self.skip(first.longrepr)
        if problems:
            result["problems"] = problems
        self.add_ends(result, reports[-1][0])
        return wire.GRAVITY[best], result

    def passed(self, nodeid, reports, started):
        """The encoded object of test() for one that passed as nearly all do; None: ask test()."""
        if len(reports) != 3 or [report.when for report, _ in reports] != _IN_ORDER:
            return None
        (setup, before), (call, category), (teardown, after) = reports
        if category != "passed" or before or after or not getattr(call, "count_towards_summary", True):
            return None
        if not setup.outcome == call.outcome == teardown.outcome == "passed":
            return None
        duration = setup.duration + call.duration + teardown.duration
        if not 0 <= duration < _LONG or len(nodeid) > _PLAIN_NODEID or "\0" in nodeid:
            return None
        if self.extra["passed"] and (setup.sections or call.sections or teardown.sections):
            return None
        if self.brief and not teardown.sections and not teardown.user_properties:
            if self.xml is not None:
                self.xml.take()
            return _BRIEF % (setup.duration, call.duration, teardown.duration, started, duration)
        names = _quoted(nodeid), _quoted(nodeid.partition("::")[0])
        told = _PASSED % (*names, setup.duration, call.duration, teardown.duration, started, duration)
        data = told.encode("utf-8", "ptremote-visible")
        more = {}
        if teardown.sections or teardown.user_properties or self.xml is not None:
            self.add_ends(more, teardown)
        return b"{%s,%s" % (data, encode(more)[1:]) if more else b"{%s}" % data

    def problem(self, report, category, outcome):
        """An entry of `problems`, or None for a report that pytest would print nothing about."""
        if outcome not in ("failed", "error"):
            if not self.extra.get(category):
                return None
            if category == "passed" and not report.sections:
                return None
        sections = [list(part) for part in report.sections if self.show == "all" or self.show in part[0]]
        told = problem(report.when, category or outcome, headline_of(report, category), text_of(report))
        return dict(told, sections=[] if self.show == "no" else sections)

    def add_ends(self, result, last):
        """What the last report of a test knows of all of it."""
        if last.sections:
            data = self.data_of(last)
            for key, word in (("stdout", "stdout"), ("stderr", "stderr"), ("log", "log")):
                text = "".join(part for title, part in data["sections"] if title.startswith("Captured " + word))
                if text:
                    result[key] = text
        if getattr(last, "user_properties", None):
            result["properties"] = [[str(name), _plain(value)] for name, value in last.user_properties]
        if self.xml is not None:
            cases, counted = self.xml.take()
            if cases:
                result["junit"], result["junit_counts"] = cases, counted

    def collect(self, report):
        """A collection report that did not pass."""
        outcome = "skipped" if report.skipped else "error"
        result = {
            "nodeid": report.nodeid,
            "file": report.nodeid.partition("::")[0],
            "outcome": outcome,
            "phase": "collect",
            "counts": {outcome: 1},
            "message": reason_of(report),
        }
        if outcome == "skipped":
            if isinstance(report.longrepr, tuple):
                result["skip"] = self.skip(report.longrepr)
        else:
            text = text_of(report) or ""
            result["longrepr"] = text.strip("\n")
            headline = "ERROR collecting " + (report.nodeid or "test session")
            told = problem("collect", "error", headline, text)
            result["problems"] = [dict(told, sections=[list(part) for part in report.sections])]
        self.add_ends(result, report)
        return result

    def skip(self, longrepr):
        path, line, reason = longrepr
        return [self.shown_path(path), line, skip_reason(reason)]

    def shown_path(self, path):
        """Relative to where the run was started, as pytest prints it."""
        path = str(path)
        return os.path.relpath(path, self.start_dir) if os.path.isabs(path) else path


def _plain(value):
    return value if isinstance(value, (str, bool, int)) else str(value)


def problem(phase, category, headline, longrepr):
    """An entry of `problems`."""
    return {"phase": phase, "category": category, "headline": headline, "longrepr": longrepr, "sections": []}


def synthetic(nodeid, outcome, phase, message, **more):
    """A report that pytest did not make."""
    result = {"nodeid": nodeid, "file": nodeid.partition("::")[0], "outcome": outcome, "phase": phase}
    result.update(message=message, **more)
    return result


def warning(message, when, nodeid, location, here=str):
    """A warning object (7.3); `here` turns a path on this host into the one at home."""
    name = here(message.filename)
    text = warnings.formatwarning(message.message, message.category, message.filename, message.lineno, message.line)
    if name != message.filename:
        text = text.replace(message.filename, name)
    found = {
        "message": str(message.message),
        "category": message.category.__name__,
        "filename": name,
        "lineno": message.lineno,
        "when": when,
        "nodeid": nodeid,
        "text": text,
    }
    if location:
        found["location"] = [here(location[0]), location[1], location[2]]
    return found


def _room(value, left, limit, most):
    """What is left of so many characters after the texts of a value, once cut; it stops below 0."""
    if isinstance(value, str):
        return left - min(len(value), limit)
    if isinstance(value, dict):
        value = list(value.values())
    elif not isinstance(value, (list, tuple)):
        return left
    for part in value[:most]:
        left = _room(part, left - 8, limit, most)
        if left < 0:
            break
    return left


def _cut(value, limit, most):
    """Every text at most so long, every list with at most so many entries."""
    if isinstance(value, str):
        if len(value) <= limit:
            return value
        half = limit // 2
        gap = "\n[... %d characters left out by ptremote ...]\n" % (len(value) - 2 * half)
        return value[:half] + gap + value[-half:]
    if isinstance(value, dict):
        return {key: _cut(part, limit, most) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(part, limit, most) for part in value[:most]]
    return value


def encode(value):
    """JSON that fits into a message: long texts lose their middle, then what is not needed goes."""
    for limit, most in LIMITS:
        if _room(value, JSON_LIMIT, limit, most) >= 0:
            data = wire.dumps(value if limit == JSON_LIMIT else _cut(value, limit, most))
            if len(data) <= JSON_LIMIT:
                return data
    inner = dict(value.get("report", value))
    for key in ("junit", "problems", "properties", "log", "stderr", "stdout", "found"):
        inner.pop(key, None)
    return wire.dumps(_cut(dict(value, report=inner) if "report" in value else inner, 4 << 10, 100))
