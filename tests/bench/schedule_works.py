# SPDX-License-Identifier: Apache-2.0
"""What is measured: runs of ours and of pytest, from the command to its exit."""
import dataclasses
import json
import os
import subprocess
import threading
import time

from table import Broken

TICKS = os.sysconf("SC_CLK_TCK")
LOOK = 0.02  # seconds between looks at a program's memory


@dataclasses.dataclass
class Sample:
    seconds: float
    cpu: float = 0.0  # seconds of the first process, without its children
    peak_kib: int = 0  # of the first process


class Run:
    """A command in the suite's folder. `statuses`: how it may exit."""

    def __init__(self, bench, name, suite, words, statuses=(0,), env=None):
        self.bench, self.name, self.suite, self.words, self.statuses = bench, name, suite, words, statuses
        self.env = {**os.environ, **(env or {})}

    def start(self):
        """Once, before any sample."""

    def prepare(self):
        """Before each sample."""

    def check(self):
        """After each."""

    def run(self):
        begun = time.monotonic()
        process = subprocess.Popen(self.words, cwd=self.suite.path, env=self.env, stdin=subprocess.DEVNULL, stdout=self.bench.said,
                                   stderr=subprocess.STDOUT)
        watch = Watch(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - begun
        sample = Sample(seconds, *watch.end())
        status = process.wait()
        if status not in self.statuses:
            raise Broken(f"{self.name}: exit status {status}: {self.bench.last_words()}")
        return sample


class Watch:
    """Looks at one process until it has ended; it must not be reaped before end()."""

    def __init__(self, pid):
        self.pid, self.peak, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self):
        while not self.over.wait(LOOK):
            with open(f"/proc/{self.pid}/status") as f:
                for line in f:
                    if line.startswith("VmHWM:"):
                        self.peak = int(line.split()[1])

    def end(self):
        """(seconds of CPU, peak KiB) of the process alone."""
        self.over.set()
        self.thread.join()
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS, self.peak


class Ours(Run):
    """ptremote; its JSON and JUnit files are kept, and all tests must be told."""

    def __init__(self, bench, suite, hosts, *more, name="ptremote", **others):
        self.json, self.junit = f"{bench.folder}/got.json", f"{bench.folder}/got.xml"
        self.hosts = hosts
        config = [] if hosts.startswith("local") else ["--ssh-config", bench.lab.config]
        words = [bench.program, *config, "--hosts", hosts, "--python", bench.python, "-q", "--json", self.json, *more, *suite.parts]
        super().__init__(bench, name, suite, words, **others)

    def told(self):
        with open(self.json) as f:
            return json.load(f)

    def check(self):
        if self.suite.tests is not None:
            summary = self.told()["summary"]
            if summary.get("passed") != self.suite.tests:
                raise Broken(f"{self.name}: {self.suite.tests} tests, but {summary}")


def pytest_words(bench):
    return [bench.python, "-m", "pytest", "-p", "no:cacheprovider", "-q"]


class Pytest(Run):
    """pytest, here, with these arguments."""

    def __init__(self, bench, suite, *more, name=None, **others):
        words = [*pytest_words(bench), *more, *suite.parts]
        super().__init__(bench, name or " ".join(["pytest", *more]), suite, words, **others)


class PytestSsh(Pytest):
    """pytest-xdist over ssh, on hosts of one slot each."""

    def __init__(self, bench, suite, hosts):
        words = ["-d", "-p", "no:rerunfailures"]  # whose workers want a socket of this machine
        for host in hosts:
            words += ["--tx", f"ssh={host}//ssh_config={bench.lab.config}//python={bench.python}//chdir=/tmp/xdist-{host}"]
        super().__init__(bench, suite, *words, "--rsyncdir", f"{suite.path}/tests", f"{suite.path}/tests", name="pytest -d --tx ssh")


class Fresh(Run):
    """Interpreters that run one test each, two at a time; the seconds are for all tests of the suite."""

    def __init__(self, bench, suite, starts):
        self.starts = starts
        files = [f"tests/{name}" for name in sorted(os.listdir(f"{suite.path}/tests")) if name.startswith("test_")]
        self.ids = [f"{files[n * len(files) // starts]}::test_{n % 10:04}" for n in range(starts)]
        words = ["xargs", "-P2", "-n1", *pytest_words(bench), "-p", "no:xdist", "-p", "no:rerunfailures"]
        super().__init__(bench, f"{suite.tests} fresh pytest", suite, words)

    def run(self):
        begun = time.monotonic()
        ended = subprocess.run(self.words, cwd=self.suite.path, env=self.env, input="\n".join(self.ids), text=True, stdout=self.bench.said,
                               stderr=subprocess.STDOUT)
        if ended.returncode:
            raise Broken(f"{self.name}: exit status {ended.returncode}: {self.bench.last_words()}")
        return Sample((time.monotonic() - begun) * self.suite.tests / self.starts)
