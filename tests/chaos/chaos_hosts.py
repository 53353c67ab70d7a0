# SPDX-License-Identifier: Apache-2.0
"""The hosts of the test lab: their processes by role, what is done to them, what is left on them."""
import os
import re
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.realpath(__file__))
LAB = os.path.join(HERE, "../lab/lab")
PROBE = re.compile("/tmp/[a-z0-9_]{8}")
ROLES = ("proxy", "agent", "keeper", "mpirun", "worker", "forkserver", "runner", "sshd")


class Cannot(Exception):
    """There can be no lab here."""


def read_file(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def send(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def parent_of(pid):
    text = read_file("/proc/%d/stat" % pid)
    return int(text[text.rindex(b")") + 2:].split()[1]) if text else 0


def is_zombie(pid):
    text = read_file("/proc/%d/stat" % pid)
    return not text or text[text.rindex(b")") + 2:].split()[0] in (b"Z", b"X")


def namespace(pid, kind):
    try:
        return os.stat("/proc/%s/ns/%s" % (pid, kind)).st_ino
    except OSError:
        return None


def role_of(command, parent_command):
    words = command.replace(b"\0", b" ").strip()
    name = words.split(b" ")[0].rsplit(b"/", 1)[-1]
    if words.startswith(b"ptremote-agent "):
        return words.split()[1].decode()
    if name in (b"mpirun", b"orterun"):
        return "mpirun"
    if name.startswith(b"ptremote-worker"):
        return "worker"
    if b"ptremote.forkserver" in words:
        return "runner" if b"ptremote.forkserver" in parent_command else "forkserver" if parent_command.startswith(b"ptremote-agent ") else None
    return "sshd" if words.startswith(b"sshd: ") and b"[listener]" not in words else None


class Lab:
    def __init__(self, folder, count, slots):
        self.folder, self.slots = folder, slots
        self.env = dict(os.environ, LAB_DIR=folder)
        options = "detect_leaks=1:allocator_may_return_null=1:log_path=/var/tmp/sanitizer"
        got = subprocess.run([LAB, "up", str(count), "--owner", str(os.getpid()), "--setenv", "ASAN_OPTIONS=" + options,
                              "--setenv", "UBSAN_OPTIONS=print_stacktrace=1:log_path=/var/tmp/sanitizer"],
                             env=self.env, stdout=subprocess.PIPE, text=True)
        if got.returncode == 77:
            raise Cannot()
        if got.returncode != 0:
            raise SystemExit("the lab does not come up")
        self.id = read_file(folder + "/id").decode().strip()
        self.hosts = [Host(self, "h%d" % (n + 1)) for n in range(count)]
        self.netem = self.has_netem()

    def has_netem(self):
        got = subprocess.run(["tc", "qdisc", "replace", "dev", self.hosts[0].cable, "root", "netem", "delay", "1ms"], stderr=subprocess.DEVNULL)
        if got.returncode == 0:
            self.hosts[0].lab_does("mend")
        return got.returncode == 0

    def down(self):
        subprocess.run([LAB, "down"], env=self.env, check=True)


class Host:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.cable = "ptl%s-%s" % (lab.id, name)
        self.disk = "%s/%s/disk" % (lab.folder, name)
        self.ran = self.disk + "/var/tmp/ran"
        self.is_off = False

    def lab_does(self, verb, *args):
        got = subprocess.run([LAB, verb, self.name, *args], env=self.lab.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if got.returncode != 0:
            raise RuntimeError("lab %s %s: %s" % (verb, self.name, got.stdout))
        return got.stdout

    def first(self):
        return int(read_file("%s/%s/pid" % (self.lab.folder, self.name)) or 0)

    def pids(self):
        """All processes but its first, as this machine numbers them."""
        first = self.first()
        own = namespace(first, "pid") if first else None
        if own is None or own == namespace("self", "pid"):
            return []
        pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in pids if pid != first and namespace(pid, "pid") == own and not is_zombie(pid)]

    def by_role(self):
        """-> {role: [pid]}, in the order of their numbers."""
        pids = sorted(self.pids())
        commands = {pid: read_file("/proc/%d/cmdline" % pid) for pid in pids}
        roles = {role: [] for role in ROLES}
        for pid in pids:
            role = role_of(commands[pid], commands.get(parent_of(pid), b""))
            if role in roles:
                roles[role].append(pid)
        return roles

    def lines(self):
        """What the tests of this host have left: [(what, time, pid there, nodeid)]; a last line that is not whole is left out."""
        lines = []
        for line in read_file(self.ran).split(b"\n")[:-1]:
            words = line.decode().split(" ", 3)
            if len(words) == 4:
                lines.append((words[0], float(words[1]), int(words[2]), words[3]))
        return lines

    def test_of(self, runner):
        """The test that a stopped runner is at, or None."""
        for line in read_file("/proc/%d/status" % runner).split(b"\n"):
            if line.startswith(b"NSpid:"):
                inner = int(line.split()[-1])
                mine = [entry for entry in self.lines() if entry[2] == inner]
                return mine[-1][3] if mine and mine[-1][0] == "B" else None
        return None

    def left_overs(self):
        """What should not be there once no run is: lines of text."""
        left = ["process %d %s" % (pid, read_file("/proc/%d/cmdline" % pid).replace(b"\0", b" ").decode(errors="replace")) for pid in self.pids()]
        if left:
            return left
        left = [line for line in self.lab_does("exec", "ipcs", "-m").split("\n") if line.startswith("0x")]
        places = "for at in /dev/shm /dev/mqueue /tmp /run/user /run/ptremote*; do find $at -mindepth 1 2>/dev/null; done; true"
        left += self.lab_does("exec", "sh", "-c", places).split("\n")
        left += self.lab_does("exec", "sh", "-c", "find /root/.cache/ptremote/ws/*/*/tmp -mindepth 1 2>/dev/null; true").split("\n")
        left += self.lab_does("exec", "sh", "-c", "cat /proc/net/unix | grep -a ptremote; true").split("\n")
        return [line for line in left if line and not self.is_probe(line)]

    def is_probe(self, path):
        """A file by which Python tries whether it can make files there: its tempfile removes it at once, unless killed right then."""
        return bool(PROBE.fullmatch(path)) and len(read_file(self.disk + path)) <= len("blat")

    def sanitizers_said(self):
        folder = self.disk + "/var/tmp"
        return [read_file("%s/%s" % (folder, name)).decode(errors="replace") for name in os.listdir(folder) if name.startswith("sanitizer.")]

    # ---- what is done to it ----
    def continue_all(self):
        for pid in [self.first(), *self.pids()]:
            if pid:
                send(pid, signal.SIGCONT)

    def stop_all(self):
        for _ in range(3):  # who was forked meanwhile is stopped by the next round
            for pid in [self.first(), *self.pids()]:
                if pid:
                    send(pid, signal.SIGSTOP)

    def slow(self, delay, rate):
        if not self.lab.netem:
            self.lab_does("slow", rate)
            return
        shape = ["netem", "delay", delay, "rate", rate, "loss", "1%"]
        subprocess.run(["tc", "qdisc", "replace", "dev", self.cable, "root", *shape], check=True)

    def wait_for_role(self, role, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pids = self.by_role()[role]
            if pids:
                return pids
            time.sleep(0.05)
        return []
