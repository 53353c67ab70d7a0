# SPDX-License-Identifier: Apache-2.0
"""Samples of works in turns, and the table that a measurement prints."""
import dataclasses
import statistics
import sys

from sync_quiet import Gate

HEAD = ("row", "work", "ours", "against", "theirs", "ratio", "goal", "met")
RIGHT = {2, 4, 5, 6}


class Broken(Exception):
    """Something ended with an error."""


class Bench:
    """One measurement: its samples and lines. `row` and `title` are those of the row being measured."""

    def __init__(self, options):
        self.folder, self.program, self.rounds = options.folder, options.program, options.rounds
        self.said = open(f"{self.folder}/said", "a+b")
        self.gate = Gate(options.group, options.patience, options.tries)
        self.lines, self.samples = [], []
        self.row = self.title = ""

    def last_words(self):
        with open(self.said.name, "rb") as f:
            return f.read()[-2000:].decode(errors="replace").strip()

    def measure(self, *works, rounds=None, started=False, warm=True):
        """Samples of each work, one a round, in turns; with `warm` a first round does not count."""
        for work in works if not started else ():
            work.start()
        samples = {work: [] for work in works}
        for turn in range(0 if warm else 1, (rounds or self.rounds) + 1):
            for at in range(len(works)):
                work = works[(turn + at) % len(works)]
                sample = self.gate.sample(work)
                work.check()
                if turn:
                    samples[work].append(sample)
                    self.samples.append({"row": self.row, "work": work.name, "round": turn, **dataclasses.asdict(sample)})
                    print(f"   {work.name:<20} {sample.seconds:9.4f} s", file=sys.stderr, flush=True)
        return [samples[work] for work in works]

    # ---- lines of the table ----
    def line(self, what, ours, against="", theirs="", ratio=None, goal=None):
        met = "" if goal is None or ratio is None else "yes" if ratio <= goal else "NO"
        self.lines.append((self.row, what, ours, against, theirs, "" if ratio is None else f"{ratio:.3f}",
                           "" if goal is None else f"{goal:g}", met))
        print("   " + " | ".join(word for word in self.lines[-1] if word), file=sys.stderr, flush=True)

    def against(self, ours, work, theirs, goal=None, what=None, value=lambda sample: sample.seconds):
        ratio = statistics.median(value(a) / value(b) for a, b in zip(ours, theirs))
        self.line(what or self.title, show_time(median(ours, value)), work.name, show_time(median(theirs, value)), ratio, goal)

    def table(self):
        widths = [max(len(line[at]) for line in [HEAD, *self.lines]) for at in range(len(HEAD))]
        out, last = [], None
        for line in [HEAD, tuple("-" * width for width in widths), *self.lines]:
            shown = ("" if line[0] == last else line[0],) + tuple(line[1:])
            last = line[0]
            out.append("  ".join(word.rjust(width) if at in RIGHT else word.ljust(width)
                                 for at, (word, width) in enumerate(zip(shown, widths))).rstrip())
        return "\n".join(out)

    def account(self):
        gate = self.gate
        return (f"{gate.taken} samples, {gate.repeated} repeated as others used the machine, {gate.spoiled} kept though they did "
                f"(others seen by: {gate.machine.way})")


def median(samples, value=lambda sample: sample.seconds):
    return statistics.median(value(sample) for sample in samples)


def show_time(seconds):
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.2f} s"


def show_size(count):
    return f"{count:.0f} B" if count < 10000 else f"{count / 1e3:.1f} KB" if count < 1e6 else f"{count / 1e6:.2f} MB"
