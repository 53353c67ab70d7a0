# SPDX-License-Identifier: Apache-2.0
"""What tests/bench/tls measures and prints."""
import argparse
import dataclasses
import json
import os
import statistics
import sys
import time

import schedule_suites
from schedule_works import Ours
from table import Bench, median

EPILOG = """Environment: ROUNDS (5); PATIENCE (60): seconds to wait for the machine to be quiet, each time; TRIES (3): how often a
disturbed sample is taken; SHORT: for a quick look, a number from 2 on that divides the tests."""
GOAL = 0.97
LEAVING = 5  # seconds in which the last of a run's processes have ended, after the run itself


class Whole(Ours):
    """Its CPU is that of all its processes, there and here, where there are control groups."""

    def run(self):
        machine = self.bench.gate.machine
        used, before = machine.ours(), machine.processes()
        sample = super().run()
        until = time.monotonic() + LEAVING
        while machine.processes() > before and time.monotonic() < until:
            time.sleep(0.01)
        return dataclasses.replace(sample, cpu=machine.ours() - used) if machine.mount else sample


def parse():
    parser = argparse.ArgumentParser(prog="tls", description="Measures what TLS and its checks cost.", epilog=EPILOG)
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    options = parser.parse_args()
    for name, value in (("rounds", 5), ("patience", 60), ("tries", 3), ("short", 1)):
        setattr(options, name, int(os.environ.get(name.upper(), value)))
    for name in ("folder", "program", "group", "python"):
        setattr(options, name, os.environ["BENCH_" + name.upper()])
    return options


def show(what, tests, tls, clear, value):
    ratios = [value(c) / value(t) for t, c in zip(tls, clear)]
    print(f"{what}: {tests / median(tls, value):.0f} tests/s with TLS, {tests / median(clear, value):.0f} without; with/without "
          f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), best of each "
          f"{min(map(value, clear)) / min(map(value, tls)):.3f}; goal {GOAL}")


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
    print(f"{suite.tests} tests on local:2, {b.rounds} rounds after one that does not count")
    print(b.account())
    show("time", suite.tests, tls, clear, lambda sample: sample.seconds)
    show("CPU of all processes" if b.gate.machine.mount else "CPU of the master", suite.tests, tls, clear, lambda sample: sample.cpu)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(b.samples, f, indent=1)


if __name__ == "__main__":
    main()
