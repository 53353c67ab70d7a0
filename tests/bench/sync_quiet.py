# SPDX-License-Identifier: Apache-2.0
"""Samples that count only while the machine does nothing else.

What is ours is everything in one control group (the measurement, its clients, the test hosts with all that runs there) and the
kernel's own threads, which work for us too. CPU that anything else used during a sample spoils it.

sync_quiet.py enter PID: a new group with PID in it, prints its folder (nothing where there are no groups).
sync_quiet.py leave PID FOLDER: the group is removed.
"""
import os
import sys
import time

SHARE = 0.05  # of all cores, used by others
SETTLE = 0.1  # seconds without others before a sample


def read(path):
    with open(path, "rb") as f:
        return f.read()


# ---- control groups, version 1 (cpuacct) or 2 ----
def _mount():
    """(folder, file with the CPU time, factor to seconds, word before the number) or None."""
    for line in open("/proc/mounts"):
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup" and "cpuacct" in options.split(","):
            return folder, "cpuacct.usage", 1e-9, b""
    for line in open("/proc/mounts"):
        _, folder, kind, _ = line.split()[:4]
        if kind == "cgroup2" and os.path.exists(folder + "/cpu.stat"):
            return folder, "cpu.stat", 1e-6, b"usage_usec"
    return None


def _own_group(folder, kind):
    for line in open("/proc/self/cgroup"):
        _, names, path = line.rstrip("\n").split(":", 2)
        if (kind == "cpu.stat" and not names) or "cpuacct" in names.split(","):
            return folder + path
    return folder


def enter(pid):
    mount = _mount()
    if not mount:
        return ""
    group = f"{_own_group(mount[0], mount[1]).rstrip('/')}/ptremote-bench-{pid}"
    try:
        os.mkdir(group)
        with open(group + "/cgroup.procs", "w") as f:
            f.write(str(pid))
    except OSError:
        return ""
    return group


def leave(pid, group):
    for process in (pid, os.getpid()):
        with open(os.path.dirname(group) + "/cgroup.procs", "w") as f:
            f.write(str(process))
    for _ in range(100):
        try:
            return os.rmdir(group)
        except OSError:
            time.sleep(0.05)  # what was killed is going


class Machine:
    """The CPU time of others, by the best means there is."""

    def __init__(self, group):
        self.cores = os.cpu_count()
        self.mount = _mount() if group else None
        self.group = group
        self.way = "control group" if self.mount else "machine's total, seen while idle"

    def _group_seconds(self, folder):
        _, name, factor, word = self.mount
        for line in read(f"{folder}/{name}").splitlines():
            if line.startswith(word):
                return int(line.split()[-1]) * factor
        return 0.0

    @staticmethod
    def _kernel_threads():
        try:
            return ["2", *read("/proc/2/task/2/children").decode().split()]
        except OSError:
            return []  # what they do counts as others' work

    def _kernel_seconds(self):
        total = 0
        for pid in self._kernel_threads():
            try:
                total += int(read(f"/proc/{pid}/schedstat").split()[0])
            except OSError:
                pass  # it has ended
        return total / 1e9

    def ours(self):
        """Seconds of CPU that our group has used so far; 0 without one."""
        return self._group_seconds(self.group) if self.mount else 0.0

    def processes(self):
        """Their numbers, of our group; none without one."""
        return read(self.group + "/cgroup.procs").decode().split() if self.mount else []

    def others(self):
        """Seconds of CPU that others have used so far."""
        if self.mount:
            return self._group_seconds(self.mount[0]) - self.ours() - self._kernel_seconds()
        ticks = [int(n) for n in read("/proc/stat").split(b"\n")[0].split()[1:]]
        return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def running():
        for line in read("/proc/stat").splitlines():
            if line.startswith(b"procs_running"):
                return int(line.split()[1])
        return 1

    def idle(self):
        """True when nothing else ran for a moment."""
        used, begun = self.others(), time.monotonic()
        while time.monotonic() - begun < SETTLE:
            if self.running() > 1:
                return False
            time.sleep(0.01)
        return self.others() - used <= SHARE * self.cores * (time.monotonic() - begun)

    def wait_idle(self, seconds):
        until = time.monotonic() + seconds
        while not self.idle():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True


class Gate:
    """Takes samples: waits for silence, repeats what was disturbed, and keeps account of what had to be kept all the same."""

    def __init__(self, group, patience, tries):
        self.machine = Machine(group)
        self.patience, self.tries = patience, tries
        self.taken = self.repeated = self.spoiled = 0

    def sample(self, work, once=False):
        """work.run() gives a sample; work.prepare() comes before each, outside of it. once: it cannot be repeated."""
        tries = 1 if once else self.tries
        for attempt in range(tries):
            work.prepare()
            os.sync()  # what is left to write is not this one's time
            quiet = self.machine.wait_idle(self.patience)
            used, begun = self.machine.others(), time.monotonic()
            got = work.run()
            elapsed = time.monotonic() - begun
            if self.machine.mount:
                quiet = quiet and self.machine.others() - used <= SHARE * self.machine.cores * elapsed
            else:
                quiet = quiet and self.machine.idle()
            if quiet or attempt == tries - 1:
                break
            self.repeated += 1
        self.taken += 1
        self.spoiled += not quiet
        return got


if __name__ == "__main__":
    if sys.argv[1] == "enter":
        print(enter(int(sys.argv[2])))
    else:
        leave(int(sys.argv[2]), sys.argv[3])
