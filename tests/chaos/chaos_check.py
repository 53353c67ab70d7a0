# SPDX-License-Identifier: Apache-2.0
"""What has to hold once a run under attack is over. Every check gives lines of text about what is wrong."""
import collections
import json
import os
import sqlite3
import time
import xml.etree.ElementTree

from chaos_hosts import read_file

LEDGER_NAMES = ("none", "passed", "skipped", "xfailed", "xpassed", "notrun", "lost", "error", "failed", "timeout", "crashed")
JUNIT_TAGS = {"passed": None, "failed": "failure", "error": "error", "skipped": "skipped", "xfailed": "skipped"}
MINE = ("ptremote", "mpirun", "orterun", "python")


def are_right(told, expected, excused, where):
    """told: [(nodeid, outcome)]"""
    times = collections.Counter(nodeid for nodeid, _ in told)
    wrong = ["%s: %s is told %d times" % (where, nodeid, times[nodeid]) for nodeid in expected if times[nodeid] != 1]
    wrong += ["%s: unknown %s" % (where, nodeid) for nodeid in times if nodeid not in expected]
    for nodeid, outcome in told:
        if outcome != expected.get(nodeid) and not (outcome == "crashed" and nodeid in excused):
            wrong.append("%s: %s is %s, not %s" % (where, nodeid, outcome, expected.get(nodeid)))
    return wrong


def json_is_right(path, expected, excused):
    with open(path) as file:
        run = json.load(file)
    told = [(test["nodeid"], test["outcome"]) for test in run["tests"]]
    wrong = are_right(told, expected, excused, "JSON")
    counts = collections.Counter(outcome for _, outcome in told)
    summary = {name: n for name, n in run["summary"].items() if n and name in LEDGER_NAMES}
    return wrong + (["JSON: summary %s, but %s are told" % (summary, dict(counts))] if summary != dict(counts) else [])


def junit_is_right(path, expected, excused):
    told = []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        nodeid = "%s.py::%s" % (case.get("classname"), case.get("name"))
        tags = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        want = expected.get(nodeid)
        if len(tags) <= 1 and JUNIT_TAGS.get(want, "") == (tags[0] if tags else None):
            told.append((nodeid, want))
        else:
            told.append((nodeid, "crashed" if tags in (["failure"], ["error"]) else str(tags)))
    return are_right(told, expected, excused, "JUnit")


def ledger_is_right(path, expected, excused):
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    rows = db.execute("SELECT nodeid, outcome FROM tests JOIN reports ON tests.run=reports.run AND number=test WHERE counted>0 AND extra=0"
                      " AND tests.run=(SELECT MAX(id) FROM runs WHERE argv IS NOT NULL)").fetchall()
    check = db.execute("PRAGMA integrity_check").fetchone()[0]
    db.close()
    wrong = are_right([(nodeid, LEDGER_NAMES[outcome]) for nodeid, outcome in rows], expected, excused, "ledger")
    return wrong + (["ledger: " + check] if check != "ok" else [])


def runs_again(run, silence):
    """-> (executions beyond the first, what is wrong). A test whose outcome was on disk begins again only on a host that works on what it no longer
    owes: one that was cut off or hurt within the last `silence` seconds."""
    executions, wrong = 0, []
    began = set()
    for host in run.lab.hosts:
        for what, when, _, nodeid in host.lines():
            if what != "B":
                continue
            executions += 1
            began.add(nodeid)
            recorded = run.ledger.recorded.get(nodeid)
            if recorded is None or when < recorded[0]:
                continue
            if not any(name == host.name and hurt - 1 <= when <= hurt + silence for hurt, name in run.disturbed):
                wrong.append("%s began again on %s, %.2f s after its outcome was on disk" % (nodeid, host.name, when - recorded[0]))
    return executions - len(began), wrong


def processes_here(work):
    """Our programs on this machine that have to do with this test's folder, besides the hosts' and this one."""
    own = os.stat("/proc/self/ns/net").st_ino
    left = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            program = os.path.basename(os.readlink("/proc/%s/exe" % name))
            if os.stat("/proc/%s/ns/net" % name).st_ino != own or not program.startswith(MINE):
                continue
        except OSError:
            continue
        command = read_file("/proc/%s/cmdline" % name)
        if work.encode() in command + read_file("/proc/%s/environ" % name):
            left.append("process %s %s" % (name, command.replace(b"\0", b" ").decode(errors="replace")))
    return left


def left_here(work, folder):
    left = processes_here(work)
    left += ["file " + name for name in os.listdir(work + "/run")]
    left += ["file .ptremote/" + name for name in os.listdir(folder + "/.ptremote") if name.endswith(("-journal", ".tmp", ".new"))]
    left += ["shared memory " + name for name in os.listdir("/dev/shm") if name.startswith("ptremote-chaos")]
    return left


def wait_until_clean(look, seconds):
    """-> what is still there then."""
    until = time.monotonic() + seconds
    while True:
        left = look()
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)
