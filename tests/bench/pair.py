#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pair.py [-n ROUNDS] [--first PATTERN] [--limit RATIO] NAME=COMMAND NAME=COMMAND: times two commands in turns.

Wall time from start to exit or, with --first, to the first line of output that PATTERN matches (the command then runs on to its
end). Output goes to a terminal of its own, as a person would see it. Prints every time, the medians, and first over second;
with --limit, exit status 1 when that ratio is above.
"""
import argparse
import os
import pty
import re
import statistics
import sys
import time


def run(command, first):
    """Seconds until the end or the first matching line, exit status, output."""
    start = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(COLUMNS="200", TERM="dumb")
        os.execv("/bin/sh", ["/bin/sh", "-c", command])
    output, matched = b"", None
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the terminal's other side is closed
            data = b""
        if not data:
            break
        output += data
        if first and matched is None and first.search(output):
            matched = time.monotonic() - start
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    end = time.monotonic() - start
    os.close(terminal)
    return (matched if first else end), status, output


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=3, metavar="ROUNDS")
    parser.add_argument("--first", metavar="PATTERN")
    parser.add_argument("--limit", type=float, metavar="RATIO")
    parser.add_argument("--status", type=int, default=0, help="the exit status that both must have")
    parser.add_argument("pair", nargs=2, metavar="NAME=COMMAND")
    args = parser.parse_args()

    first = re.compile(args.first.encode(), re.MULTILINE) if args.first else None
    pair = [words.split("=", 1) for words in args.pair]
    for name, command in pair:
        print(f"{name}: {command}")
    times = {name: [] for name, _ in pair}
    for turn in range(args.n):
        for name, command in pair if turn % 2 == 0 else reversed(pair):
            seconds, status, output = run(command, first)
            if status != args.status or seconds is None:
                sys.stdout.write(output.decode(errors="replace")[-4000:])
                sys.exit(f"{name}: exit status {status}" + (", and no line matched" if seconds is None else ""))
            times[name].append(seconds)
            print(f"  {name:<12} {seconds:8.3f} s", flush=True)
    medians = [statistics.median(times[name]) for name, _ in pair]
    ratio = medians[0] / medians[1]
    print(f"median {pair[0][0]} {medians[0]:.3f} s, median {pair[1][0]} {medians[1]:.3f} s, ratio {ratio:.3f}")
    if args.limit and ratio > args.limit:
        sys.exit(f"above the limit of {args.limit}")


if __name__ == "__main__":
    main()
