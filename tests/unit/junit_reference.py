# SPDX-License-Identifier: Apache-2.0
"""What pytest itself writes, and the same run as data.

run FAMILY COUNTS DIR a suite of every kind of test: DIR/reference.xml, and DIR/reports.jsonl with one report a line
compare A B         exit status 1 and the difference unless both hold the same testcases, sums and properties
                    (times, time stamps and the host's property aside)
"""
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

SUITE = r'''
import os, sys, pytest

@pytest.fixture
def bad_setup():
    raise RuntimeError("set-up <&> \x1b[31mred")

@pytest.fixture
def bad_teardown():
    yield
    raise RuntimeError("tear-down")

def test_pass(): print("out \x07 \u00e9"); print("err", file=sys.stderr)
def test_fail(): print("<before>"); assert {"a": 1} == {"a": "\x00 & \"q\" ]]>"}
@pytest.mark.skip(reason="not <now>")
def test_skip_mark(): pass
def test_skip_call(): pytest.skip("in & call")
@pytest.mark.xfail(reason="known")
def test_xfail(): assert 0
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(strict=True, reason="strict")
def test_xpass_strict(): pass
def test_setup(bad_setup): pass
def test_teardown(bad_teardown): print("in the call")
def test_fail_and_teardown(bad_teardown): assert 0, "first"
class TestA:
    @pytest.mark.parametrize("x", ["a", "b::c", "[d]", "\u00fc\U0001f600", "e/f.py", "\t\n\x1f"])
    def test_param(self, x): assert x != "b::c"
def test_property(record_property, record_testsuite_property):
    record_property("key", "<value> \x01"); record_property("n", 3)
    record_testsuite_property("arch", "x86 & more")
def test_again(record_testsuite_property): record_testsuite_property("store", "\x02")
'''
MORE = '''
def test_attribute(record_xml_attribute):
    record_xml_attribute("assertions", "REQ-1 & 2"); record_xml_attribute("classname", "own")
'''
PLUGIN = r'''
import json, os, pytest
from _pytest.junitxml import xml_key

class Dump:
    """Each test's elements as the runner sends them, from pytest's own plugin."""
    def __init__(self, config):
        self.xml, self.done, self.stats, self.counts = config.stash[xml_key], 0, {}, {}
        self.file = open(os.environ["REPORTS"], "w")
        self.config = config

    def element(self, node):
        return [node.tag, dict(node.attrib), node.text, [self.element(e) for e in node]]

    def tell(self, nodeid, outcome, phase):
        xml = self.xml
        new, self.done = xml.node_reporters_ordered[self.done:], len(xml.node_reporters_ordered)
        stats = dict(xml.stats, double=xml.cnt_double_fail_tests)
        delta = {k: stats[k] - self.stats.get(k, 0) for k in stats}
        self.stats = stats
        counts = {"tests": sum(delta.values()) - 2 * delta["double"], "failures": delta["failure"],
                  "errors": delta["error"], "skipped": delta["skipped"]}
        report = {"nodeid": nodeid, "outcome": outcome, "phase": phase, "counts": self.counts,
                  "junit": [self.element(r.to_xml()) for r in new]}
        if os.environ.get("COUNTS"):
            report["junit_counts"] = counts
        self.counts = {}
        print(json.dumps(report), file=self.file, flush=True)

    def pytest_runtest_logreport(self, report):
        category = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
        if category:
            self.counts[category] = self.counts.get(category, 0) + 1

    def pytest_runtest_logfinish(self, nodeid):
        self.tell(nodeid, "passed", "call")

    def pytest_sessionfinish(self):
        for name, value in self.xml.global_properties:
            print(json.dumps({"kind": "suite", "properties": [[name, value]]}), file=self.file, flush=True)

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report):
        if not report.passed:
            self.tell(report.nodeid, "skipped" if report.skipped else "error", "collect")

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.register(Dump(config))
'''


def run(family, counts, folder):
    tests = os.path.join(folder, "tests")
    os.makedirs(tests)
    files = {
        "test_all.py": SUITE + (MORE if family == "xunit1" else ""),
        "test_skipped.py": "import pytest\npytest.skip('no <module>', allow_module_level=True)\n",
        "test_broken.py": "import no_such_module\n",
        "dump_plugin.py": PLUGIN,
        "pytest.ini": "[pytest]\njunit_logging = all\njunit_family = %s\njunit_suite_name = the <suite>\n" % family,
    }
    for name, text in files.items():
        with open(os.path.join(tests, name), "w", encoding="utf-8") as out:
            out.write(text)
    env = dict(os.environ, REPORTS=os.path.join(folder, "reports.jsonl"), COUNTS=counts, PYTHONPATH=tests, LC_ALL="C.UTF-8")
    env.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "dump_plugin", "-p", "no:cacheprovider", "--junitxml", "../reference.xml"]
    command += ["--continue-on-collection-errors", "--junit-prefix", "pre"]
    done = subprocess.run(command, cwd=tests, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 1:
        sys.exit("pytest ended with %d:\n%s" % (done.returncode, done.stdout))


def canonical(path):
    """The file as text, without what may differ."""
    root = ET.parse(path).getroot()
    lines = []

    def walk(node, depth):
        attributes = {k: v for k, v in node.attrib.items() if k not in ("time", "timestamp")}
        if node.tag == "property" and node.get("name") == "host":
            return
        if node.tag == "properties" and all(e.get("name") == "host" for e in node):
            return
        lines.append("%s%s %r %r" % ("  " * depth, node.tag, sorted(attributes.items()), node.text or ""))
        for child in node:
            walk(child, depth + 1)

    walk(root, 0)
    return lines


def compare(a, b):
    left, right = canonical(a), canonical(b)
    for x, y in zip(left, right):
        if x != y:
            sys.exit("reference: %s\n     ours: %s" % (x, y))
    if len(left) != len(right):
        sys.exit("%d elements, %d in the reference" % (len(right), len(left)))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*sys.argv[2:5])
    else:
        compare(sys.argv[2], sys.argv[3])
