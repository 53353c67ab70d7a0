# SPDX-License-Identifier: Apache-2.0
"""What is measured: ours and what it is measured against. A work is prepared (not timed), run, and checked."""
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import time

from sync_lab import TARGETS, plain
from sync_trees import Wrong
from table import Broken

TUNED = ("-o", "KexAlgorithms=curve25519-sha256", "-c", "aes128-gcm@openssh.com")


@dataclasses.dataclass
class Sample:
    seconds: float
    cpu: float = 0.0  # seconds, of all clients
    out: int = 0  # bytes sent by TCP, without headers; ours only
    back: int = 0
    peak_kib: int = 0
    cable: int = 0  # bytes over the cables both ways, with headers
    told: dict = dataclasses.field(default_factory=dict)


class Work:
    """before: what is done to the tree before each sample."""

    def __init__(self, bench, tree, hosts, before=None):
        self.bench, self.tree, self.hosts, self.before = bench, tree, hosts, before

    def start(self):
        """Once, before any sample."""

    def stop(self):
        """Once, after the last."""

    def prepare(self):
        if self.before:
            self.before()

    def run(self):
        raise NotImplementedError

    def trees(self):
        """Where what was sent has arrived."""
        return []

    def check(self):
        for path in self.trees():
            try:
                self.tree.compare(path)
            except Wrong as wrong:
                raise Broken(f"{self.name}: wrong tree in {path}: {wrong}") from None


def spend(bench, what, words, hosts, **more):
    """Run a command to its end: seconds, CPU of it and all its children, bytes on the cables."""
    cables = sum(bench.lab.cable_bytes(host) for host in hosts)
    begun = time.monotonic()
    process = subprocess.Popen(words, stdout=bench.said, stderr=subprocess.STDOUT, **more)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Broken(f"{what}: exit status {process.returncode}: {bench.last_words()}")
    cables = sum(bench.lab.cable_bytes(host) for host in hosts) - cables
    return Sample(seconds, cpu=usage.ru_utime + usage.ru_stime, cable=cables)


# ---- theirs ----
class Theirs(Work):
    """Clients in a shell, one a host, all at once."""

    def script(self, host):
        raise NotImplementedError

    def run(self):
        lines = [f"{{ {self.script(host)}; }} & p{n}=$!" for n, host in enumerate(self.hosts)]
        if len(lines) == 1:
            text = self.script(self.hosts[0])
        else:
            text = "\n".join(lines + [f"wait $p{n} || exit 1" for n in range(len(lines))])
        return spend(self.bench, self.name, ["sh", "-c", text], self.hosts)

    def trees(self):
        return [self.bench.lab.view(host, self.target) for host in self.hosts]


class Rsync(Theirs):
    """rsync -a over a new connection, or over one that is open (multiplexed)."""

    def __init__(self, *args, multiplexed=False, cold=False, **more):
        super().__init__(*args, **more)
        self.multiplexed, self.cold = multiplexed, cold
        self.name = "rsync multiplexed" if multiplexed else "rsync -a"
        self.key = f"rsync-{os.path.basename(self.tree.path)}{'-mux' if multiplexed else ''}"
        self.target = f"{TARGETS}/{self.key}"
        self.socket = f"{self.bench.folder}/mux"

    def start(self):
        for host in self.hosts:
            self.bench.lab.make_target(host, self.key)
            if self.multiplexed:
                master = self.bench.lab.ssh("-o", "ControlMaster=yes", "-o", f"ControlPath={self.socket}-%n", "-fN", host)
                subprocess.run(shlex.split(master), check=True, stdout=self.bench.said, stderr=self.bench.said)
        if not self.cold:
            self.run()
            self.check()

    def stop(self):
        for host in self.hosts if self.multiplexed else ():
            leave = self.bench.lab.ssh("-o", f"ControlPath={self.socket}-%n", "-O", "exit", host)
            subprocess.run(shlex.split(leave), check=True, stdout=self.bench.said, stderr=self.bench.said)
        for host in self.hosts:
            shutil.rmtree(self.bench.lab.view(host, self.target))

    def prepare(self):
        super().prepare()
        if self.cold:
            for host in self.hosts:
                self.bench.lab.make_target(host, self.key)

    def script(self, host):
        shell = self.bench.lab.ssh(*(("-o", f"ControlPath={self.socket}-%n") if self.multiplexed else ()))
        return shlex.join(["rsync", "-a", "-e", shell, self.tree.path + "/", f"{host}:{self.target}/"])


class Tar(Theirs):
    """tar | ssh tar into an empty folder."""

    def __init__(self, *args, options=(), packed=False, **more):
        super().__init__(*args, **more)
        self.options, self.packed = options, packed
        self.name = "tar|zstd -3|ssh" if packed else "tar|ssh tuned" if options else "tar|ssh tar"
        self.key = f"tar-{os.path.basename(self.tree.path)}{'-tuned' if options else ''}"
        self.target = f"{TARGETS}/{self.key}"

    def prepare(self):
        super().prepare()
        for host in self.hosts:
            self.bench.lab.make_target(host, self.key)

    def stop(self):
        for host in self.hosts:
            shutil.rmtree(self.bench.lab.view(host, self.target), ignore_errors=True)

    def script(self, host):
        pack, unpack = ("| zstd -q -3 ", "zstd -q -d | ") if self.packed else ("", "")
        there = f"{unpack}tar -C {self.target} -xf -"
        return f"tar -C {shlex.quote(self.tree.path)} -cf - . {pack}| {self.bench.lab.ssh(*self.options, host)} {shlex.quote(there)}"


class SshTrue(Theirs):
    """Opening a connection and running nothing."""

    name = "ssh host true"

    def script(self, host):
        return self.bench.lab.ssh("-o", "KexAlgorithms=curve25519-sha256", host, "true")

    def check(self):
        pass


# ---- ours ----
class Ours(Work):
    def state(self):
        return f"{self.bench.folder}/state/{os.path.basename(self.tree.path)}"

    def driver_words(self):
        return [self.bench.driver, "--hosts", ",".join(self.hosts), "--ssh-config", self.bench.lab.config,
                "--project", self.tree.path, "--state-dir", self.state()]

    def forget(self, hashes=False):
        """Nothing of this tree is on the hosts, and here is no memory of them."""
        self.bench.lab.wait_empty(self.hosts)
        for host in self.hosts:
            self.bench.lab.forget(host)
        shutil.rmtree(f"{self.state()}/sent", ignore_errors=True)
        if hashes and os.path.exists(f"{self.state()}/hashes"):
            os.unlink(f"{self.state()}/hashes")


class Open(Ours):
    """The tree over connections that are open; time from the command's arrival to the last host's word."""

    name = "ours, open"

    def start(self, syncs=2):
        os.makedirs(self.state(), exist_ok=True)
        self.process = subprocess.Popen(self.driver_words(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.bench.said, text=True)
        for command in ["connect", "settle"] + ["sync"] * syncs:
            self.say(command)
        self.check()

    def stop(self):
        self.process.stdin.close()
        if self.process.wait(60):
            raise Broken(f"driver: exit status {self.process.returncode}: {self.bench.last_words()}")
        self.bench.lab.wait_empty(self.hosts)

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Broken(f"driver, {command}: exit status {self.process.wait(60)}: {self.bench.last_words()}")
        self.told = json.loads(line)
        return self.told

    def run(self, command="sync"):
        cables = sum(self.bench.lab.cable_bytes(host) for host in self.hosts)
        told = self.say(command)
        cables = sum(self.bench.lab.cable_bytes(host) for host in self.hosts) - cables
        return Sample(told["seconds"], told["cpu"], told["out"], told["in"], told["peak_kib"], cables, told)

    def trees(self):
        return [self.bench.lab.view(host["name"], host["workspace"]) for host in self.told["hosts"]]


class Connect(Open):
    """New connections until the agents answer."""

    name = "ours"

    def start(self):
        super().start()
        self.say("close")

    def prepare(self):
        super().prepare()
        self.bench.lab.wait_empty(self.hosts)

    def run(self):
        sample = super().run("connect")
        self.say("settle")
        self.say("close")
        return sample

    def check(self):
        pass


class Once(Ours):
    """The whole command, from its start to its end, over new connections. cold: hosts and master know nothing of the tree;
    "hashes": nothing is hashed here either."""

    def __init__(self, *args, cold="", **more):
        super().__init__(*args, **more)
        self.cold = cold
        self.name = "ours, not hashed" if cold == "hashes" else "ours"

    def start(self):
        os.makedirs(self.state(), exist_ok=True)
        self.forget()
        self.run()  # brings the programs, and the tree
        self.check()

    def prepare(self):
        super().prepare()
        if self.cold:
            self.forget(self.cold == "hashes")
        else:
            self.bench.lab.wait_empty(self.hosts)

    def run(self):
        words = [self.bench.program, "--sync-only", "--hosts", ",".join(self.hosts), "--ssh-config", self.bench.lab.config,
                 "--project", self.tree.path, "--state-dir", self.state()]
        return spend(self.bench, self.name, words, self.hosts, cwd=self.tree.path, stdin=subprocess.DEVNULL)

    def trees(self):
        for host in self.hosts:
            found = self.bench.lab.workspaces(plain(host), os.path.basename(self.tree.path))
            if len(found) != 1:
                raise Broken(f"{self.name}: {len(found)} workspaces on {host}")
            yield found[0]
