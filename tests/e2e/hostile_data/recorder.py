# SPDX-License-Identifier: Apache-2.0
"""A plugin for plain pytest: what each test gave, as pytest itself has it, into $HOSTILE_RECORD, and the elements of its JUnit
file, of which it makes no XML where a name or message holds what XML cannot, into $HOSTILE_XML."""
import json
import os
import types

from _pytest import junitxml

told = {}
order = []


def _entry(nodeid):
    if nodeid not in told:
        order.append(nodeid)
        told[nodeid] = {"outcome": "passed", "stdout": "", "stderr": ""}
    return told[nodeid]


def _element(node):
    return [node.tag, dict(node.attrib), node.text, [_element(child) for child in node]]


def pytest_configure():
    def tostring(root, encoding):
        with open(os.environ["HOSTILE_XML"], "w", encoding="ascii") as out:
            json.dump(_element(root), out)
        return ""

    junitxml.ET = types.SimpleNamespace(**dict(vars(junitxml.ET), tostring=tostring))


def pytest_runtest_logreport(report):
    entry = _entry(report.nodeid)
    if report.when == "teardown":
        entry["stdout"], entry["stderr"] = report.capstdout, report.capstderr
    if hasattr(report, "wasxfail"):
        if report.when == "call":
            entry["outcome"] = "xfailed" if report.skipped else "xpassed"
            entry["reason"] = report.wasxfail
    elif report.skipped:
        entry["outcome"], entry["reason"] = "skipped", report.longrepr[2]
    elif report.failed:
        entry["outcome"] = "failed" if report.when == "call" else "error"
        entry["longrepr"] = report.longreprtext


def pytest_collectreport(report):
    if report.failed:
        _entry(report.nodeid)["outcome"] = "error"


def pytest_unconfigure():
    with open(os.environ["HOSTILE_RECORD"], "w", encoding="ascii") as out:
        json.dump([dict(told[nodeid], nodeid=nodeid) for nodeid in order], out)
