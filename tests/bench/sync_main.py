# SPDX-License-Identifier: Apache-2.0
"""Options of tests/bench/sync; the rest is in sync_rows.py."""
import argparse
import os
import sys

import sync_rows


def main():
    parser = argparse.ArgumentParser(prog="sync", description="Measures the sync against rsync and tar; prints one table.",
                                     epilog="Environment: ROUNDS (7); PATIENCE (60): seconds to wait for the machine to be quiet, each time; "
                                            "TRIES (5): how often a disturbed sample is taken; MANY, LARGE: files, MiB of the large trees.")
    parser.add_argument("--list", action="store_true", help="the rows there are")
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these (default: all)")
    options = parser.parse_args()
    if options.list:
        for name, row in sync_rows.ROWS.items():
            print(f"{name:<18} {row[1]}")
        return
    for name in options.rows:
        if name not in sync_rows.ROWS:
            parser.error(f"no row '{name}'; --list shows them")
    options.rows = options.rows or list(sync_rows.ROWS)
    options.rounds = int(os.environ.get("ROUNDS", 7))
    options.patience = float(os.environ.get("PATIENCE", 60))
    options.tries = int(os.environ.get("TRIES", 5))
    options.many = int(os.environ.get("MANY", sync_rows.MANY))
    options.large = int(os.environ.get("LARGE", sync_rows.LARGE >> 20))
    for name in ("folder", "driver", "program", "lab", "group"):
        setattr(options, name, os.environ["BENCH_" + name.upper()])
    sys.stdout.reconfigure(line_buffering=True)
    sync_rows.main(options)


if __name__ == "__main__":
    main()
