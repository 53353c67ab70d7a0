# SPDX-License-Identifier: Apache-2.0
"""Options of tests/bench/schedule; the rest is in schedule_rows.py."""
import argparse
import os
import sys

import schedule_rows

EPILOG = """Environment: ROUNDS (3); PATIENCE (60): seconds to wait for the machine to be quiet, each time; TRIES (3): how often a
disturbed sample is taken; OUTCOMES=no: compare none, which saves two plain runs; SHORT: for a quick look, a number from 2 on that
divides tests, starts and sleeps."""


def main():
    parser = argparse.ArgumentParser(prog="schedule", epilog=EPILOG,
                                     description="Measures whole runs against pytest and pytest-xdist; prints one table.")
    parser.add_argument("--list", action="store_true", help="the rows there are")
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these (default: all)")
    options = parser.parse_args()
    if options.list:
        for name, (_, title, _) in schedule_rows.ROWS.items():
            print(f"{name:<18} {title}")
        return
    for name in options.rows:
        if name not in schedule_rows.ROWS:
            parser.error(f"no row '{name}'; --list shows them")
    options.rows = options.rows or list(schedule_rows.ROWS)
    options.rounds = int(os.environ.get("ROUNDS", 3))
    options.patience = float(os.environ.get("PATIENCE", 60))
    options.tries = int(os.environ.get("TRIES", 3))
    options.short = int(os.environ.get("SHORT", 1))
    options.outcomes = os.environ.get("OUTCOMES", "yes") != "no"
    for name in ("folder", "program", "lab", "group", "python"):
        setattr(options, name, os.environ["BENCH_" + name.upper()])
    sys.stdout.reconfigure(line_buffering=True)
    schedule_rows.main(options)


if __name__ == "__main__":
    main()
