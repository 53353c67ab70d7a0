# SPDX-License-Identifier: Apache-2.0
"""The rows of the table: what is measured against what, and the goals."""
import collections
import os
import subprocess
import sys

import schedule_suites
import whole
from schedule_works import Fresh, Ours, Pytest, PytestSsh
from table import Broken, median, show_size, show_time

PANDAS_PARTS = ["pandas/tests/" + name for name in ("series", "reshape", "strings", "window")]
TWO_HOSTS = "h1:1,h2:1"
ROWS = whole.Rows()
row = ROWS.row


# ---- suites that there are ----
def real_suite(b, suite, goals, statuses=(0,)):
    """Two hosts of one slot against two processes of xdist; `goals` for its two ways to deal."""
    works = (Ours(b, suite, TWO_HOSTS, statuses=statuses), Pytest(b, suite, "-n", "2", statuses=statuses),
             Pytest(b, suite, "-n", "2", "--dist", "loadfile", statuses=statuses))
    if b.outcomes:
        same_outcomes(b, suite, statuses)
    ours, load, loadfile = b.measure(*works)
    b.against(ours, works[1], load, goals[0])
    b.against(ours, works[2], loadfile, goals[1], what="")


def same_outcomes(b, suite, statuses):
    """Each test as plain pytest tells it; what differs is in the table and breaks nothing: files may depend on each other."""
    plain = f"{b.folder}/plain.xml"
    Pytest(b, suite, "--junitxml", plain, statuses=statuses).run()
    ours = Ours(b, suite, TWO_HOSTS, statuses=statuses)
    ours.words += ["--junitxml", ours.junit]
    ours.run()
    compare = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare_junit.py")
    said = subprocess.run([b.python, compare, plain, ours.junit], stdout=subprocess.PIPE, text=True).stdout
    print(said, file=sys.stderr, end="")
    wanted, told, missing, surplus = (int(word) for word in said.splitlines()[-1].split() if word.isdigit())
    b.line("  outcomes other than plain pytest's", str(max(missing, surplus)), "of", str(wanted), max(missing, surplus), 0)
    if told != wanted:
        raise Broken(f"{wanted} tests, but {told} told")


@row("networkx", "networkx, two hosts of one slot", hosts=2)
def networkx(b):
    real_suite(b, b.suite(schedule_suites.package, "networkx"), (0.75, 1.0))


@row("pandas", "a part of pandas, two hosts of one slot", hosts=2)
def pandas(b):
    suite = b.suite(schedule_suites.package, "pandas")
    suite.parts = PANDAS_PARTS
    real_suite(b, suite, (0.75, 0.75), statuses=(0, 1))


# ---- tests that do nothing ----
def small(b):
    return b.suite(schedule_suites.trivial, 200 // b.short, 10)


@row("isolate-test", "2,000 tests, a process each, local:2")
def isolate_test(b):
    suite = small(b)
    starts = 40 // b.short
    works = Ours(b, suite, "local:2", "--isolate", "test"), Fresh(b, suite, starts)
    ours, fresh = b.measure(*works)
    b.against(ours, works[1], fresh, 1 / 20)
    b.line("  fresh: two at a time, so many measured", str(starts))
    b.line("  of a test, two at a time", show_time(median(ours) / suite.tests), "", show_time(median(fresh) / suite.tests))


@row("isolate-session", "2,000 tests in 200 files, local:2")
def isolate_session(b):
    works = Ours(b, small(b), "local:2"), Pytest(b, small(b), "-n", "2")
    ours, theirs = b.measure(*works)
    b.against(ours, works[1], theirs, 0.8)


@row("remote", "2,000 tests in 200 files, two hosts of one slot", hosts=2)
def remote(b):
    works = Ours(b, small(b), TWO_HOSTS), PytestSsh(b, small(b), b.lab.memory)
    ours, theirs = b.measure(*works)
    b.against(ours, works[1], theirs, 0.6)


@row("trivial", "50,000 tests in 100 files, local:2")
def trivial(b):
    few, many = (b.suite(schedule_suites.trivial, 100, each // b.short) for each in (50, 500))
    works = Ours(b, few, "local:2", name="ptremote, a tenth"), Ours(b, many, "local:2"), Pytest(b, many, "-n", "2")
    less, ours, theirs = b.measure(*works)
    b.against(ours, works[2], theirs, 0.70)
    cost = (median(ours) - median(less)) / (many.tests - few.tests)
    b.line("  one more test, two at a time", f"{cost * 1e6:.0f} us")
    growth = many.tests / few.tests
    for what, value, show in (("CPU", lambda s: s.cpu, show_time), ("peak memory", lambda s: s.peak_kib * 1024, show_size)):
        first, last = median(less, value), median(ours, value)
        b.line(f"  master's {what}", show(last), f"{few.tests} tests", show(first), last / first, growth)
    b.line("  CPU of the coordinating process", show_time(median(ours, lambda s: s.cpu)), works[2].name,
           show_time(median(theirs, lambda s: s.cpu)))


# ---- the end of a run ----
@row("sleepy", "a file of a minute and 100 short ones, two hosts of two slots", hosts=2)
def sleepy(b):
    suite, total = b.suite(schedule_suites.sleepy, b.short)
    suite.forget()
    work = Ours(b, suite, "h1:2,h2:2")
    short = b.suite(schedule_suites.trivial, 20, 10)
    Ours(b, short, "h1:2,h2:2").run()  # the hosts are warm, the suite is new
    first = b.gate.sample(work, once=True)
    work.check()
    later = b.measure(work, warm=False)[0]
    least = total / 4
    b.line("  first run", show_time(first.seconds), "total/slots", show_time(least), first.seconds / least)
    b.line("  second and later runs", show_time(median(later)), "total/slots", show_time(least), median(later) / least, 1.1)


@row("fixtures", "how often fixtures are set up: 100 files, four slots")
def fixtures(b):
    suite = b.suite(schedule_suites.fixtures)
    suite.forget()
    log = f"{b.folder}/set-up"
    work = Ours(b, suite, "local:4", "--env", f"BENCH_SET_UP={log}")
    for turn in ("first run", "second run"):
        open(log, "w").close()
        work.run()
        work.check()
        with open(log) as f:
            times = collections.Counter(f.read().split("\n")[:-1])
        sessions = times.pop("session", 0)
        b.line(f"  {turn}: of the session", str(sessions), "slots", "4", sessions / 4, 1)
        b.line(f"  {turn}: of modules, files", str(times.total()), "files", "100", times.total() / 100, 1)
        if len(times) != 100:
            raise Broken(f"module fixtures of {len(times)} files, not of 100")
