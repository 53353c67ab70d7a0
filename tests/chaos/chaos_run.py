# SPDX-License-Identifier: Apache-2.0
"""One run under attack: starts the master, watches its ledger, does what the plan says when it is due, and undoes what is to be undone."""
import os
import signal
import sqlite3
import subprocess
import sys
import time

from chaos_hosts import is_zombie, send
from chaos_plan import words

WAIT_FOR_VICTIM = 20.0  # seconds
TRIES_TO_MEET = 100
GAP = 2.0  # seconds between two blows at a host: two at once are more than was promised to be cleaned up after


class Ledger:
    """When each test was first seen to have its outcome on disk."""

    def __init__(self, path):
        self.path, self.db, self.run, self.last = path, None, None, 0
        self.names, self.recorded, self.now = {}, {}, set()

    def look(self):
        try:
            self.read()
        except sqlite3.OperationalError:
            pass  # not made yet, or busy: next time

    def read(self):
        if self.db is None:
            if not os.path.exists(self.path):
                return
            self.db = sqlite3.connect("file:%s?mode=ro" % self.path, uri=True, timeout=0.2)
        run = self.db.execute("SELECT MAX(id) FROM runs WHERE argv IS NOT NULL").fetchone()[0]
        if run is None:
            return
        if run != self.run:
            self.run, self.last, self.names, self.now = run, 0, {}, set()
        rows = self.db.execute("SELECT id, test, host FROM reports WHERE run=? AND id>? AND counted>0 AND extra=0 AND test IS NOT NULL ORDER BY id",
                               (run, self.last)).fetchall()
        seen = time.time()
        if any(test not in self.names for _, test, _ in rows):
            self.names = dict(self.db.execute("SELECT number, nodeid FROM tests WHERE run=?", (run,)))
        for number, test, host in rows:
            self.last = number
            self.now.add(test)
            self.recorded.setdefault(self.names.get(test), (seen, host))

    def close(self):
        if self.db:
            self.db.close()


class Run:
    def __init__(self, lab, program, folder, plan, tests, log):
        self.lab, self.program, self.folder, self.tests, self.log = lab, program, folder, tests, log
        self.plan, self.undo = list(plan), []  # undo: [(when, words, function)]
        self.ledger = Ledger(folder + "/.ptremote/ledger.sqlite")
        self.outputs, self.starts, self.master = [], 0, None
        self.began = time.monotonic()
        self.due_since = {}  # action: since when it waits for its victim
        self.blows = {host.name: 0.0 for host in lab.hosts}
        self.disturbed = []  # [(epoch seconds, host name)]: blows after which its workers may be lost
        self.excused = set()  # tests whose runner was killed while it was at them
        self.powered = set()  # hosts that had a power failure
        self.done = 0

    def say(self, text):
        self.log("%6.2f s %5.1f %%  %s" % (time.monotonic() - self.began, 100 * self.progress(), text))

    def progress(self):
        return len(self.ledger.recorded) / self.tests

    # ---- the master ----
    def start(self, *args):
        self.starts += 1
        out = "%s.%d.out" % (self.folder, self.starts)
        self.outputs.append(out)
        with open(out, "wb") as file:
            self.master = subprocess.Popen([self.program, "--python", sys.executable, *args], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=file,
                                           stderr=subprocess.STDOUT)
        self.started = time.monotonic()
        self.say("start %d: %s" % (self.starts, " ".join(args[-1:])))

    def said(self):
        with open(self.outputs[-1], errors="replace") as file:
            return file.read()

    def usable(self):
        """Hosts that the master has not given up."""
        text = self.said()
        return [host for host in self.lab.hosts if "\n%s: lost" % host.name not in text and not host.is_off]

    # ---- what is done ----
    def later(self, seconds, text, function):
        self.undo.append((time.monotonic() + seconds, text, function))

    def undo_due(self, all_of_it=False):
        for entry in sorted(self.undo, key=lambda entry: entry[0]):
            if all_of_it or entry[0] <= time.monotonic():
                self.undo.remove(entry)
                self.say("  " + entry[1])
                entry[2]()

    def blow(self, host):
        self.blows[host.name] = time.monotonic()
        self.disturbed.append((time.time(), host.name))

    def victim(self, action, host):
        """-> a process, None: not yet there."""
        if action.role != "runner" and time.monotonic() - self.blows[host.name] < GAP:
            return None
        pids = host.by_role()[action.role]
        return pids[action.nth % len(pids)] if pids else None

    def kill_runner(self, action, host):
        for _ in range(TRIES_TO_MEET):
            pid = self.victim(action, host)
            if pid is None or not send(pid, signal.SIGSTOP):
                return False
            test = host.test_of(pid)
            if test:
                self.excused.add(test)
                send(pid, signal.SIGKILL)
                self.say("  it was at " + test)
                return True
            send(pid, signal.SIGCONT)
            time.sleep(0.01)
        return False

    def kill_forkserver(self, action, host):
        for _ in range(TRIES_TO_MEET):
            pid = self.victim(action, host)
            if pid is None:
                return False
            tried = time.monotonic()
            runners = host.by_role()["runner"]
            for runner in runners:
                send(runner, signal.SIGSTOP)
            tests = [host.test_of(runner) for runner in runners]
            if runners and all(tests):
                self.excused.update(tests)
                self.blow(host)
                send(pid, signal.SIGKILL)
                self.say("  its runners were at " + " ".join(tests))
                while not is_zombie(pid):
                    time.sleep(0.001)
            for runner in runners:
                send(runner, signal.SIGCONT)
            if self.blows[host.name] >= tried:
                return True
            time.sleep(0.01)
        return False

    def do_kill(self, action, host):
        if action.role == "runner":
            return self.kill_runner(action, host)
        if len(self.usable()) < 2:
            return False
        if action.role == "forkserver":
            return self.kill_forkserver(action, host)
        pid = self.victim(action, host)
        if pid is None:
            return False
        self.blow(host)
        send(pid, signal.SIGKILL)
        return True

    def do_stop(self, action, host):
        pid = self.victim(action, host)
        if pid is None or not send(pid, signal.SIGSTOP):
            return False
        self.disturbed.append((time.time(), host.name))
        self.later(action.seconds, "continue %s of %s" % (action.role, host.name), lambda: send(pid, signal.SIGCONT))
        return True

    def do_host_stop(self, action, host):
        if host.is_off or len(self.usable()) < 2:
            return False
        self.disturbed.append((time.time(), host.name))
        host.stop_all()
        self.later(action.seconds, "continue all of " + host.name, host.continue_all)
        return True

    def do_cut(self, action, host):
        if host.is_off or len(self.usable()) < 2:
            return False
        self.disturbed.append((time.time(), host.name))
        host.lab_does("cut")
        self.later(action.seconds, "mend " + host.name, lambda: host.is_off or host.lab_does("mend"))
        return True

    def do_slow(self, action, host):
        if host.is_off:
            return False
        host.slow("80ms", "400kbit")
        self.later(action.seconds, "mend " + host.name, lambda: host.is_off or host.lab_does("mend"))
        return True

    def do_power(self, action, host):
        if host.is_off or len(self.usable()) < 2 or time.monotonic() - self.blows[host.name] < GAP:
            return False
        self.blow(host)
        host.lab_does("cut")
        host.is_off = True
        self.powered.add(host.name)
        send(host.first(), signal.SIGKILL)  # all at once: its process 1
        host.lab_does("kill")
        self.later(action.seconds, "boot " + host.name, lambda: self.boot(host))
        return True

    def boot(self, host):
        host.lab_does("boot")
        host.is_off = False

    def do_master_stop(self, action, host):
        master = self.master
        send(master.pid, signal.SIGSTOP)
        self.later(action.seconds, "continue the master", lambda: master.poll() is None and send(master.pid, signal.SIGCONT))
        return True

    def do_master_kill(self, action, host):
        if self.master.poll() is not None:
            return False
        self.master.kill()
        self.master.wait()
        now = time.time()
        self.disturbed += [(now, each.name) for each in self.lab.hosts]
        for each in self.lab.hosts:
            self.blows[each.name] = time.monotonic()
        until = time.monotonic() + action.seconds
        while time.monotonic() < until:
            self.undo_due()
            time.sleep(0.02)
        self.start("--resume") if self.can_resume() else self.start(*self.args)
        return True

    def can_resume(self):
        """Is there anything to go on with?"""
        self.ledger.look()
        return self.ledger.run is not None

    # ---- the run ----
    def is_due(self, action):
        if action.at >= 0:
            return self.progress() >= action.at
        return self.starts >= action.after and time.monotonic() - self.started >= -action.at

    def attempt(self, action):
        now = time.monotonic()
        if action not in self.due_since:
            self.due_since[action] = now
            self.say(words(action))
        host = self.lab.hosts[action.host]
        if getattr(self, "do_" + action.what.replace("-", "_"))(action, host):
            self.done += 1
            if now > self.due_since[action]:
                self.say("  done: " + words(action))
        elif now - self.due_since[action] < WAIT_FOR_VICTIM and self.progress() < 1:
            return
        else:
            self.say("  not done: " + words(action))
        self.plan.remove(action)

    def step(self):
        self.ledger.look()
        self.undo_due()
        for action in [action for action in self.plan if self.is_due(action)]:
            if self.master.poll() is None:
                self.attempt(action)

    def go(self, args, limit):
        """-> exit status of the last master."""
        self.args = args
        self.start(*args)
        until = time.monotonic() + limit
        while self.master.poll() is None:
            if time.monotonic() > until:
                raise TimeoutError("the run does not end within %d s" % limit)
            self.step()
            time.sleep(0.01)
        self.ledger.look()
        self.say("ended: exit status %d" % self.master.returncode)
        return self.master.returncode

    def stop(self):
        self.undo_due(all_of_it=True)
        for host in self.lab.hosts:
            host.continue_all()
        if self.master and self.master.poll() is None:
            send(self.master.pid, signal.SIGCONT)
            self.master.kill()
            self.master.wait()
        self.ledger.close()
