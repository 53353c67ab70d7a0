# SPDX-License-Identifier: Apache-2.0
"""The rows of the table: what is measured against what, and the goals."""
import json
import os
import shutil
import statistics
import sys

import mpi_suites
import whole
from mpi_works import SLOTS, BySize, FreshMpi, OursSpanned
from schedule_works import Ours
from table import Broken, show_time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import ranks_check  # noqa: E402

HOST = f"local:{SLOTS}"
TWO_HOSTS = f"h1:{SLOTS},h2:{SLOTS}"
LIMIT = 5  # seconds of --timeout
RESTART = 4  # seconds that a group's end may cost, besides the limit
NOTICED = 5  # seconds until a deadlock is
IDLE = 0.10  # of the slots, until nothing waits
GROUPS, WATCH, CORE = 16, 20, 0.001  # groups, seconds, share of a core that they may use
ROWS = whole.Rows()
row = ROWS.row


class Spoilt(Ours):
    """A run in which these outcomes are wanted besides the suite's own tests, which pass."""

    def __init__(self, bench, suite, *more, bad, **others):
        self.bad = bad
        super().__init__(bench, suite, HOST, *more, statuses=(1,), **others)

    def check(self):
        got = {name: count for name, count in self.told()["summary"].items() if count and name != "passed"}
        passed = self.told()["summary"]["passed"]
        if got != self.bad or passed != (self.suite.tests or 0):
            raise Broken(f"{self.name}: {self.suite.tests} tests and {self.bad}, but {got} and {passed} passed")


def slots_kept(work):
    """(most ranks at a time, share of the slots that idled until nothing waited) of the last run."""
    (name, slots, spans), = ranks_check.hosts(work.told())
    most, then, used, seconds = ranks_check.look(spans)
    if most > slots:
        raise Broken(f"{name}: {most} ranks on {slots} slots: {then}")
    return most, ranks_check.idle_share(slots, used, seconds)


def longer(b, what, bad, good, goal):
    """Seconds that one run takes beyond the other, against a number of seconds."""
    more = statistics.median(x.seconds - y.seconds for x, y in zip(bad, good))
    b.line(what, show_time(more), "at most", f"{goal} s", more / goal, 1)


@row("fresh", f"200 tests of 1 to 4 ranks, {HOST}")
def fresh(b):
    files, starts = max(1, 5 // b.short), max(1, 6 // b.short) * len(mpi_suites.SIZES)
    works = (Ours(b, b.suite(mpi_suites.ours, files, 10), HOST), FreshMpi(b, b.suite(mpi_suites.bare, files, 10), starts))
    ours, theirs = b.measure(*works)
    b.against(ours, works[1], theirs, 1 / 30)
    slots_kept(works[0])
    b.line("  fresh: so many measured", str(starts))


@row("reuse", f"2,000 tests of 1 to 4 ranks, {HOST}")
def reuse(b):
    files = max(1, 20 // b.short)
    works = (OursSpanned(b, b.suite(mpi_suites.ours, files, 25), HOST), BySize(b, b.suite(mpi_suites.bare, files, 25)))
    ours, theirs = b.measure(*works)
    b.against(ours, works[1], theirs, 1.1, what="  from the first to the last report", value=lambda sample: sample.span)
    b.against(ours, works[1], theirs, 1.6, what="  from the command to its exit")
    slots_kept(works[0])


@row("spoilt", "the same with one that crashes and one whose ranks wait for each other")
def spoilt(b):
    files = max(1, 20 // b.short)
    limit = ("--timeout", str(LIMIT))
    works = (Spoilt(b, b.suite(mpi_suites.spoilt, files, 25), *limit, bad={"crashed": 1, "timeout": 1}, name="with both"),
             Ours(b, b.suite(mpi_suites.ours, files, 25), HOST, *limit, name="without"))
    longer(b, "  longer", *b.measure(*works), RESTART + LIMIT)


@row("deadlock", "one of three ranks raises, the others wait for it")
def deadlock(b):
    works = (Spoilt(b, b.suite(mpi_suites.fails, True), bad={"failed": 1}, name="deadlock"),
             Spoilt(b, b.suite(mpi_suites.fails, False), bad={"failed": 1}, name="failure"))
    bad, good = b.measure(*works)
    longer(b, "  longer than when they do not wait", bad, good, NOTICED)
    works[0].run()
    test, = works[0].told()["tests"]
    for words in ("rank 1 gives up", "in waits_on_0", "in waits_on_2"):
        if words not in test["longrepr"]:
            raise Broken(f"no '{words}' in the report")
    b.line("  ranks whose stacks are told", "3", "ranks", "3")


@row("mixed", f"1,000 tests, half of them of 2 to 4 ranks, {HOST}")
def mixed(b):
    work = Ours(b, b.suite(mpi_suites.mixed, max(1, 40 // b.short), 25, b.short), HOST)
    looks = []
    for turn in range(b.rounds + 1):
        b.gate.sample(work)
        work.check()
        if turn:
            looks.append(slots_kept(work))
    most, idle = max(most for most, _ in looks), statistics.median(idle for _, idle in looks)
    b.line("  ranks at a time, at most", str(most), "slots", str(SLOTS), most / SLOTS, 1)
    b.line("  slots idle until nothing waits", f"{100 * idle:.1f} %", "at most", f"{100 * IDLE:g} %", idle / IDLE, 1)


@row("idle", f"{GROUPS} idle groups of two ranks, local:{2 * GROUPS}")
def idle(b):
    folder = f"{b.folder}/groups"
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    groups = max(2, GROUPS // b.short)
    suite = b.suite(mpi_suites.many, groups, WATCH / b.short)
    work = Ours(b, suite, f"local:{2 * groups}", "--dist", "test", "--env", f"BENCH_GROUPS={folder}")
    b.gate.sample(work, once=True)
    work.check()
    with open(f"{folder}/watched") as file:
        launchers, others, share = json.load(file)
    if launchers != groups or others < 4 * groups:
        raise Broken(f"{launchers} mpiruns and {others} other processes of {groups} groups")
    b.line("  of a core, all processes of the groups", f"{100 * share:.3f} %", "at most", f"{100 * CORE:g} %", share / CORE, 1)


class Wide(Ours):
    """With one test of six ranks, which two hosts have."""

    def __init__(self, *given):
        self.beside = []  # of each run how many plain tests ran while it did
        super().__init__(*given)

    def check(self):
        super().check()
        run = self.told()
        test, = [test for test in run["tests"] if test.get("ranks") == 6]
        if sorted(test["hosts"]) != ["h1", "h2"]:
            raise Broken(f"{self.name}: six ranks on {test['hosts']}")
        for name, slots, spans in ranks_check.hosts(run):
            most, then, _, _ = ranks_check.look(spans)
            if most > slots:
                raise Broken(f"{name}: {most} ranks on {slots} slots: {then}")
        begun, end = test["started"], test["started"] + test["duration"]
        self.beside.append(sum(one["started"] < end and one["started"] + one["duration"] > begun for one in run["tests"]) - 1)


@row("across", f"one test of six ranks beside 100 plain ones, {TWO_HOSTS}", hosts=2)
def across(b):
    files = max(4, 20 // b.short)
    works = (Wide(b, b.suite(mpi_suites.wide, files, 1), TWO_HOSTS),
             Ours(b, b.suite(mpi_suites.wide, files, 0, False), TWO_HOSTS, name="without it"))
    ours, theirs = b.measure(*works)
    b.against(ours, works[1], theirs)
    fewest = min(works[0].beside)
    b.line("  plain tests that ran beside it", str(fewest), "at least", "1", 1 / fewest if fewest else 2, 1)
