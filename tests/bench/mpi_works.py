# SPDX-License-Identifier: Apache-2.0
"""What is measured besides ptremote itself: mpirun and pytest alone."""
import dataclasses
import os
import subprocess
import time

import mpi_suites
from schedule_works import Ours, Run, Sample, pytest_words
from table import Broken

SLOTS = 4
# As ranks of several mpiruns share the cores: none is bound, or all would be to the first cores.
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np"]


@dataclasses.dataclass
class Spanned(Sample):
    span: float = 0.0  # seconds from when the first test began to the last report


class OursSpanned(Ours):
    def run(self):
        sample = super().run()
        spans = [(test["started"], test["started"] + test["duration"]) for test in self.told()["tests"] if test.get("started")]
        span = max(end for _, end in spans) - min(begin for begin, _ in spans)
        return Spanned(sample.seconds, sample.cpu, sample.peak_kib, span)


class BySize(Run):
    """One session of as many ranks as there are slots: the tests of one size after the other, the greatest first."""

    def __init__(self, bench, suite):
        self.span = f"{bench.folder}/span"
        super().__init__(bench, "mpirun pytest by size", suite, [*MPIRUN, str(SLOTS), *pytest_words(bench)], env={"BENCH_SPAN": self.span})

    def prepare(self):
        open(self.span, "w").close()

    def run(self):
        sample = super().run()
        with open(self.span) as file:
            spans = [float(line) for line in file]
        if len(spans) != 1:
            raise Broken(f"{self.name}: {len(spans)} sessions ended")
        return Spanned(sample.seconds, sample.cpu, sample.peak_kib, spans[0])


class FreshMpi(Run):
    """An mpirun for each test, as many at a time as slots allow; `starts` of them, the seconds are for all tests."""

    def __init__(self, bench, suite, starts):
        self.each = starts // len(mpi_suites.SIZES)
        super().__init__(bench, f"{suite.tests} fresh mpirun", suite, [])

    def run(self):
        waiting = [(size, f"{mpi_suites.name(size, 0)}::test_{n:04}[{size}]") for size in reversed(mpi_suites.SIZES) for n in range(self.each)]
        total, running, begun = len(waiting), {}, time.monotonic()
        try:
            while waiting or running:
                room = SLOTS - sum(size for size, _ in running.values())
                fits = next((one for one in waiting if one[0] <= room), None)
                if fits:
                    waiting.remove(fits)
                    process = self._start(*fits)
                    running[process.pid] = (fits[0], process)
                else:
                    self._reap(running)
        finally:
            for _, process in running.values():
                process.terminate()
                process.wait()
        return Sample((time.monotonic() - begun) * self.suite.tests / total)

    def _start(self, size, nodeid):
        words = [*MPIRUN, str(size), *pytest_words(self.bench), "-p", "no:xdist", "-p", "no:rerunfailures", nodeid]
        return subprocess.Popen(words, cwd=self.suite.path, env=self.env, stdin=subprocess.DEVNULL, stdout=self.bench.said,
                                stderr=subprocess.STDOUT)

    def _reap(self, running):
        pid = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT).si_pid
        if pid not in running:
            raise Broken(f"{self.name}: process {pid} is not ours")
        if running.pop(pid)[1].wait():
            raise Broken(f"{self.name}: {self.bench.last_words()}")
