# SPDX-License-Identifier: Apache-2.0
"""What tests/bench/tls measures and prints."""
import argparse
import dataclasses
import json
import os
import statistics
import sys
import threading
import time

import schedule_suites
from schedule_works import LOOK, TICKS, Ours, Sample
from table import Bench

EPILOG = """Environment: ROUNDS (5); PATIENCE (60): seconds to wait for the machine to be quiet, each time; TRIES (3): how often a
disturbed sample is taken; SHORT: for a quick look, a number from 2 on that divides the tests."""
GOAL = 0.97
LEAVING = 5  # seconds in which the last of a run's processes have ended, after the run itself


@dataclasses.dataclass
class Cost(Sample):
    """`cpu` is that of all processes of the run, there and here, where there are control groups."""

    own: float = 0.0  # seconds of CPU of ptremote's own programs, there and here, without mpirun, pytest and what they start


class Programs:
    """Looks at the CPU that processes of the group with a name of ours have used, until they end."""

    def __init__(self, machine):
        self.machine, self.used, self.over = machine, {}, threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self):
        while not self.over.wait(LOOK):
            for pid in self.machine.processes():
                try:
                    with open(f"/proc/{pid}/stat") as f:
                        head, _, tail = f.read().rpartition(")")
                except OSError:
                    continue  # it has ended
                if "(ptremote" in head:
                    self.used[pid] = sum(map(int, tail.split()[11:13])) / TICKS

    def end(self):
        self.over.set()
        self.thread.join()
        return sum(self.used.values())


class Whole(Ours):
    def run(self):
        machine = self.bench.gate.machine
        used, before, programs = machine.ours(), len(machine.processes()), Programs(machine)
        try:
            sample = super().run()
            until = time.monotonic() + LEAVING
            while len(machine.processes()) > before and time.monotonic() < until:
                time.sleep(0.01)
        finally:
            own = programs.end()
        return Cost(sample.seconds, machine.ours() - used, sample.peak_kib, own)


def parse():
    parser = argparse.ArgumentParser(prog="tls", description="Measures what TLS and its checks cost.", epilog=EPILOG)
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    options = parser.parse_args()
    for name, value in (("rounds", 5), ("patience", 60), ("tries", 3), ("short", 1)):
        setattr(options, name, int(os.environ.get(name.upper(), value)))
    for name in ("folder", "program", "group", "python"):
        setattr(options, name, os.environ["BENCH_" + name.upper()])
    return options


def show(what, tests, tls, clear, ratios):
    print(f"{what:<21} {tests / statistics.median(tls):6.0f} tests/s with TLS, {tests / statistics.median(clear):6.0f} without; "
          f"with/without {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), goal {GOAL}")


def report(b, tests, tls, clear):
    print(f"{tests} tests on local:2, {b.rounds} rounds after one that does not count; ratios are medians of the rounds' ratios")
    print(b.account())
    times = [[sample.seconds for sample in samples] for samples in (tls, clear)]
    show("time:", tests, *times, [without / here for here, without in zip(*times)])
    if not b.gate.machine.mount:
        return print("CPU: no control groups here to measure it in")
    cpus = [[sample.cpu for sample in samples] for samples in (tls, clear)]
    show("CPU of all processes:", tests, *cpus, [without / here for here, without in zip(*cpus)])
    ratios = [1 - (here.own - without.own) / here.cpu for here, without in zip(tls, clear)]
    own = [statistics.median(sample.own for sample in samples) for samples in (tls, clear)]
    print(f"CPU of ptremote alone: {own[0]:.2f} s with TLS, {own[1]:.2f} s without; as pytest's does not depend on it, with/without "
          f"{statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f}), goal {GOAL}")


def main():
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as in whole.py
    options = parse()
    sys.stdout.reconfigure(line_buffering=True)
    b = Bench(options)
    b.row, b.python = "tls", options.python
    suite = schedule_suites.trivial(b.folder, 100, 500 // options.short)
    works = Whole(b, suite, "local:2", name="with TLS"), Whole(b, suite, "local:2", name="without")
    works[1].words[0] = os.path.join(os.path.dirname(b.program), "../tests/ptremote_no_tls")
    tls, clear = b.measure(*works)
    report(b, suite.tests, tls, clear)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(b.samples, f, indent=1)


if __name__ == "__main__":
    main()
