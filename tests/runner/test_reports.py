# SPDX-License-Identifier: Apache-2.0
"""The short way of a test that passed tells what the long way tells."""
import json
import types

import harness  # noqa: F401  (finds ptremote)
import pytest

from ptremote import reports

NODEID = 'tests/test_é.py::test_it[" \\ \t-\udce9]'


def teller(chars="", xml=None):
    option = types.SimpleNamespace(reportchars=chars, showcapture="all")
    hook = types.SimpleNamespace(pytest_report_to_serializable=lambda config, report: vars(report))
    return reports.Teller(
        types.SimpleNamespace(option=option, hook=hook, invocation_params=types.SimpleNamespace(dir="/")), xml
    )


def gathered(nodeid=NODEID, **more):
    made = []
    for seconds, when in ((0.25, "setup"), (0.5, "call"), (0.125, "teardown")):
        report = pytest.TestReport(nodeid, ("test.py", 1, "it"), {}, "passed", None, when, duration=seconds, **more)
        made.append((report, "passed" if when == "call" else ""))
    return made


class Xml:
    def take(self):
        return [["testcase", {"name": "\0"}, None, []]], {"tests": 1}


@pytest.mark.parametrize(
    "more, xml",
    [
        ({}, None),
        ({}, Xml()),
        ({"sections": [("Captured stdout call", "wörds\0"), ("Captured log call", "x")]}, None),
        ({"user_properties": [("a", 1), ("b", None)]}, Xml()),
    ],
)
def test_as_the_long_way(more, xml):
    one = teller(xml=xml)
    for nodeid in (NODEID, "a.py::b", ""):
        long = reports.encode(one.test(nodeid, gathered(nodeid, **more), 12.5)[1])
        short = one.passed(nodeid, gathered(nodeid, **more), 12.5)
        assert json.loads(short) == json.loads(long)
        assert list(json.loads(short)) == list(json.loads(long))


def _change(at, name, value):
    made = gathered()
    setattr(made[at][0], name, value)
    return made


@pytest.mark.parametrize(
    "made",
    [
        gathered()[:2],
        gathered() + gathered()[:1],
        [gathered()[at] for at in (0, 2, 1)],
        [(report, "passed") for report, _ in gathered()],
        [(report, "" if category else category) for report, category in gathered()],
        _change(0, "outcome", "failed"),
        _change(2, "outcome", "rerun"),
        _change(1, "duration", float("nan")),
        _change(1, "duration", float("inf")),
        _change(1, "duration", -2.0),
    ],
)
def test_anything_else_goes_the_long_way(made):
    assert teller().passed(NODEID, made, 1.0) is None


def test_ids_that_are_no_plain_text():
    assert teller().passed("a.py::x\0", gathered(), 1.0) is None
    assert teller().passed("a.py::" + "x" * 5000, gathered(), 1.0) is None


def test_output_that_is_asked_for():
    made = gathered(sections=[("Captured stdout call", "words")])
    assert teller("P").passed(NODEID, made, 1.0) is None
    assert teller("P").passed(NODEID, gathered(), 1.0) is not None


class Plugin:
    """Not pytest's own."""


@pytest.mark.parametrize(
    "plugins, asked",
    [
        ([], 0),
        ([types.ModuleType("pytest_rerunfailures"), types.ModuleType("_pytest.skipping")], 0),
        ([types.ModuleType("_pytest.subtests")], 1),
        ([Plugin()], 3),
    ],
)
def test_who_is_asked_for_words(plugins, asked):
    calls = []

    class Hook:
        def __call__(self, report, config):
            calls.append(report)
            return ("passed" if report.when == "call" else ""), "", ""

        def get_hookimpls(self):
            return [types.SimpleNamespace(plugin=plugin) for plugin in plugins]

    config = types.SimpleNamespace(hook=types.SimpleNamespace(pytest_report_teststatus=Hook()))
    words = reports.Words(config)
    assert [words.category(report) for report, _ in gathered()] == ["", "passed", ""]
    assert len(calls) == asked
    unusual = gathered()[1][0]
    unusual.wasxfail = "reason"
    assert words.category(unusual) == "passed" and len(calls) == asked + 1
