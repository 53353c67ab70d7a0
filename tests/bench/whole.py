# SPDX-License-Identifier: Apache-2.0
"""What the measurements of whole runs share (tests/bench/schedule, tests/bench/mpi): rows, options, hosts and suites."""
import argparse
import json
import os
import subprocess
import sys

import table
from sync_lab import Lab
from table import Broken

EPILOG = """Environment: ROUNDS (3); PATIENCE (60): seconds to wait for the machine to be quiet, each time; TRIES (3): how often a
disturbed sample is taken; OUTCOMES=no: compare none, which saves two plain runs; SHORT: for a quick look, a number from 2 on that
divides tests, starts and sleeps."""


class Rows(dict):
    """Name -> (function, title, hosts), in the order of the table."""

    def row(self, name, title, hosts=0):
        """Registers a row; it needs so many test hosts."""

        def register(function):
            self[name] = (function, title, hosts)
            return function

        return register


class Bench(table.Bench):
    def __init__(self, rows, options):
        super().__init__(options)
        self.rows, self.python, self.short, self.outcomes = rows, options.python, options.short, options.outcomes
        self.suites = {}
        hosts = max(rows[name][2] for name in options.rows)
        self.lab = Lab(options.lab, f"{self.folder}/lab", hosts, 0) if hosts else None
        os.makedirs(f"{self.folder}/suites", exist_ok=True)

    def suite(self, make, *args):
        """Made once."""
        key = (make, *args)
        if key not in self.suites:
            self.suites[key] = make(f"{self.folder}/suites", *args)
        return self.suites[key]

    def run(self, name):
        function, self.title, _ = self.rows[name]
        self.row = name
        print(f"== {name}: {self.title}", file=sys.stderr, flush=True)
        function(self)


def parse(program, description, rows):
    """None when only the rows were asked for."""
    parser = argparse.ArgumentParser(prog=program, epilog=EPILOG, description=description)
    parser.add_argument("--list", action="store_true", help="the rows there are")
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these (default: all)")
    options = parser.parse_args()
    if options.list:
        for name, (_, title, _) in rows.items():
            print(f"{name:<18} {title}")
        return None
    for name in options.rows:
        if name not in rows:
            parser.error(f"no row '{name}'; --list shows them")
    options.rows = options.rows or list(rows)
    options.rounds = int(os.environ.get("ROUNDS", 3))
    options.patience = float(os.environ.get("PATIENCE", 60))
    options.tries = int(os.environ.get("TRIES", 3))
    options.short = int(os.environ.get("SHORT", 1))
    options.outcomes = os.environ.get("OUTCOMES", "yes") != "no"
    for name in ("folder", "program", "lab", "group", "python"):
        setattr(options, name, os.environ["BENCH_" + name.upper()])
    return options


def report(b, others):
    code = f"import pytest, {others}; print('pytest', pytest.__version__, '{others}', {others}.__version__)"
    print(subprocess.run([b.python, "-c", code], stdout=subprocess.PIPE, text=True).stdout.strip() +
          f"; medians of {b.rounds} rounds after one that does not count, ratios are medians of the rounds' ratios")
    if b.short > 1:
        print(f"SHORT={b.short}: numbers in titles are divided by it, and the goals are not meant for it")
    print(b.account())
    print(b.table())


def main(program, description, rows, others):
    """`others`: the module whose version stands in the report beside pytest's."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # which tests want; users' files are compiled once, not by each process
    options = parse(program, description, rows)
    if not options:
        return
    sys.stdout.reconfigure(line_buffering=True)
    b = Bench(rows, options)
    broken = []
    for name in options.rows:
        try:
            b.run(name)
        except (Broken, subprocess.CalledProcessError, OSError) as error:
            broken.append(f"{program}: {b.row}: {error}")
            b.line("broken", str(error).partition("\n")[0][:60])
    report(b, others)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(b.samples, f, indent=1)
    sys.exit("\n".join(broken) or None)
