# SPDX-License-Identifier: Apache-2.0
"""The test hosts as the measurement sees them: their files, processes and cables."""
import os
import re
import shlex
import shutil
import subprocess
import time

CACHE = "/root/.cache/ptremote"
TARGETS = "/root/.cache/targets"
MEMORY = "mode=700,size=90%"


class Lab:
    def __init__(self, script, folder, memory, disk):
        """`memory` hosts with their cache on tmpfs, then `disk` more with it on the disk below folder."""
        self.script, self.folder = script, folder
        self.env = dict(os.environ, LAB_DIR=folder)
        self.memory = [f"h{n + 1}" for n in range(memory)]
        self.disk = [f"h{memory + n + 1}" for n in range(disk)]
        mounts = [word for host in self.memory for word in ("--mount", host, "/root/.cache", MEMORY)]
        words = self.call("up", str(memory + disk), *mounts, "--owner", str(os.getpid()))
        self.id = re.search(r"LAB_ID=(\d+)", words)[1]
        self.config = f"{folder}/ssh_config"

    def call(self, *words):
        return subprocess.run([self.script, *words], env=self.env, check=True, stdout=subprocess.PIPE, text=True).stdout

    def first(self, host):
        with open(f"{self.folder}/{plain(host)}/pid") as f:
            return f.read().strip()

    def view(self, host, path):
        """A path on a host, as this machine reaches it."""
        return f"/proc/{self.first(host)}/root{path}"

    def make_target(self, host, name):
        path = self.view(host, f"{TARGETS}/{name}")
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)

    def forget(self, host):
        """Nothing of ours is on the host but programs."""
        for name in ("store", "ws"):
            shutil.rmtree(self.view(host, f"{CACHE}/{name}"), ignore_errors=True)

    def workspaces(self, host, project):
        """The trees of that project's workspaces, the one last used first."""
        found, top = [], self.view(host, f"{CACHE}/ws")
        for machine in os.scandir(top) if os.path.isdir(top) else ():
            found += [f"{e.path}/tree" for e in os.scandir(machine.path) if e.name.startswith(project + "-")]
        return sorted(found, key=os.path.getmtime, reverse=True)

    def pids(self, host):
        first = self.first(host)
        space = os.readlink(f"/proc/{first}/ns/pid")
        for pid in os.listdir("/proc"):
            try:
                if pid.isdigit() and pid != first and os.readlink(f"/proc/{pid}/ns/pid") == space:
                    yield pid
            except OSError:
                pass

    def programs(self, host):
        """What runs there besides logins: the fields of /proc/PID/status of each."""
        for pid in self.pids(host):
            try:
                with open(f"/proc/{pid}/status") as f:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            except OSError:
                continue
            if status["Name"] != "sshd":
                yield status

    def wait_empty(self, hosts):
        """Until no program is left of earlier samples."""
        until = time.monotonic() + 20
        for host in hosts:
            while any(True for _ in self.programs(host)) and time.monotonic() < until:
                time.sleep(0.005)

    def peaks_kib(self, host):
        """(name, most memory it ever had) of each of our processes on a host."""
        foreign = ("python", "sh", "bash", "sleep")
        return [(status["Name"], int(status["VmHWM"].split()[0])) for status in self.programs(host)
                if not status["Name"].startswith(foreign) and "VmHWM" in status]

    def cable_bytes(self, host):
        """Bytes that went over the cable so far, both ways, with all headers."""
        folder = f"/sys/class/net/ptl{self.id}-{plain(host)}/statistics"
        return sum(int(open(f"{folder}/{way}_bytes").read()) for way in ("rx", "tx"))

    def ssh(self, *options):
        return shlex.join(["ssh", "-F", self.config, *options])


def plain(host):
    return host.split("-")[0]
