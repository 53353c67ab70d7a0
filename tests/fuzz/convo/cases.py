# SPDX-License-Identifier: Apache-2.0
"""One conversation: which program, which variant of a run, what is changed; how it is had, and what has to hold at its end."""
import collections
import contextlib
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import time

import place
import words as w
from changes import Plan
from sides import Between, End, Host, Master

BIN, STATE = place.ROOT + "/bin", place.PROJECT + "/.ptremote"
STUB = BIN + "/python"
DEADLINE = 40.0  # seconds
TOLD_TO_END = 14.0  # Ctrl-C, where a host says nothing but PONG and no --run-timeout counts
SILENCE = 2.0  # seconds; less than what an agent is told to bear
MOST_SAID = 1 << 20
MOST_MEMORY = 1 << 10  # MiB, with what sanitizers need
SHORT = {"--heartbeat": "1", "--run-timeout": "8"}  # seconds, as some hosts are silent; what is recorded has more time
LONG = {"--heartbeat": "30", "--run-timeout": "100"}
COMMON = ["--hosts", "local:2", "--remote-dir", place.CACHE, "--heartbeat", SHORT["--heartbeat"], "--grace", "1"]
RUN = COMMON + ["--run-timeout", SHORT["--run-timeout"], "--color", "no"]
VARIANTS = {"run": RUN, "sync": COMMON + ["--sync-only"], "collect": RUN + ["--collect", "remote", "-v"], "linger": RUN + ["--linger", "3"],
            "files": RUN + ["--live", "--json", STATE + "/run.json", "--junitxml", STATE + "/run.xml"], "clean": ["clean"] + COMMON[:4]}
DIRTY = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
INSIDE = re.compile(rb"runtime error|AddressSanitizer|LeakSanitizer|Assertion|Traceback \(most|core dumped|\(null\)")
PYTEST = re.compile(rb"pytest could not collect|the collector (ended|was killed)")  # a host that collects may say what pytest would
STOPPED = re.compile(rb"(?m)^!+ enough !+$")  # a test of the recorded host ends its session with pytest.exit("enough", returncode=3)
SUMMED = re.compile(rb"(?m)^=+ .*\b(failed|error|errors|crashed|lost|timeout)\b.* =+$")
# A reason, which is no line of progress.
REASON = re.compile(rb"(?m)^(?:!+ .{8,} !+|interrupted: .{8,}|=+ no tests .*|ptremote: .{8,}|local: (?!(?:connecting|connected|connected, agent installed|starting workers|joined"
                    rb"|ready, \d+ slots|done|lost|waiting for the tree|sending .*)$).{8,})$")

# What stands for python: a fork server that forks nothing, and a collector that says what was recorded.
PYTHON = """#!/bin/sh
case $2 in
*forkserver*) printf 'READY 3.11.2\\t7.2.1\\t/usr/bin/python3\\n'; exec cat >/dev/null ;;
*sys.path.insert*) cat %(bin)s/collected >&4 ;;
*) IFS= read -r orders </proc/self/fd/$4; out=${orders##*'"out_fd":'}; exec cat %(bin)s/collected >/proc/self/fd/${out%%%%[,\\}]*} ;;
esac
"""
# What stands for mpirun and rank 0: it takes the keys, and says to both sockets what it is given.
MPIRUN = """#!/usr/bin/python3 -ISE
import socket, sys, time
at = sys.argv.index("--run-dir") + 1
if "--group" not in sys.argv:
    link, group = (socket.socket(socket.AF_UNIX) for _ in range(2))
    link.connect(sys.argv[at] + "/link.sock")
    link.recv(1 << 16)
    try:
        group.connect(sys.argv[at] + "/group.sock")
        group.sendall(open("%(bin)s/group", "rb").read())
    except OSError:
        pass
    link.sendall(open("%(bin)s/link", "rb").read())
    while link.recv(1 << 16):
        pass
    for _ in range(50):  # until it comes again, or is ended
        try:
            again = socket.socket(socket.AF_UNIX)
            again.connect(sys.argv[at] + "/link.sock")
            while again.recv(1 << 16):
                pass
        except OSError:
            pass
        time.sleep(0.1)
"""
# What stands for the agent: its descriptors are given to this driver.
AGENT = """#!/usr/bin/python3 -ISE
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("%(door)s")
socket.send_fds(s, [b"x"], [0, 1])
s.recv(1)
"""


class Case:
    def __init__(self, seed, recorded, target=None, variant=None):
        rnd = random.Random("case %s" % seed)
        self.seed, self.recorded = seed, recorded
        self.target = target or rnd.choices(("master", "agent", "both"), (50, 46, 4))[0]
        known = ("run", "sync", "collect", "linger") if self.target == "both" else VARIANTS
        self.variant = variant or rnd.choice(list(known))
        self.direction = rnd.choice(("master", "agent")) if self.target == "both" else self.target
        counts = recorded["counts"].get((self.target, self.variant, self.direction))
        self.plan = Plan(seed, counts, self.direction == "master" and self.target != "agent") if counts else None
        self.wrong, self.control, self.deadline, self.patience = [], None, DEADLINE, 12
        self.how = ""  # an agent's end

    def __str__(self):
        return "seed %s: %s, %s%s: %s" % (self.seed, self.target, self.variant, " (to the %s)" % self.direction if self.target == "both" else "", self.plan)


class Talk:
    """The loop of one conversation."""

    def __init__(self, lab, case, record=None):
        self.lab, self.case, self.record = lab, case, record
        self.began, self.sides, self.programs = time.monotonic(), [], []
        self.told, self.door = False, None
        self.kept = {"run": b"", "host": 0, "launch": 0, "said": [], "got": 0, "acked": 0}  # what a recorded side knows over all its connections

    def pool(self):
        return self.lab.recorded["pool"]

    def plan(self):
        plan = self.case.plan
        return plan if plan and (plan.always or not self.sides) else None

    def pieces(self):
        return bool(self.case.plan and self.case.plan.pieces)

    def start(self, argv, **more):
        program = subprocess.Popen(argv, env=place.environment(), cwd=place.PROJECT, start_new_session=True, **more)
        self.programs.append(program)
        return program

    # ---- who comes ----
    def take_guest(self):
        guest, _ = self.door.accept()
        _, fds, _, _ = socket.recv_fds(guest, 1, 2)
        if len(fds) != 2:
            guest.close()
            return
        end = End(fds[0], fds[1], self.pieces(), guest)
        if self.case.target == "master":
            self.sides.append(Host(self.plan(), end, self.pool(), self.lab.recorded["host"][self.case.variant], self.kept))
            return
        to_agent, agent_in = os.pipe()
        agent_out, from_agent = os.pipe()
        self.start([self.lab.agent, "proxy", place.CACHE], stdin=to_agent, stdout=from_agent, stderr=self.said)
        os.close(to_agent), os.close(from_agent)
        self.sides.append(Between(self.plan(), self.case.direction, end, End(agent_out, agent_in, self.pieces()), self.pool(), self.record))

    def ends(self):
        """-> (end, its side)"""
        found = []
        for side in self.sides:
            ends = side.ends.values() if isinstance(side, Between) else [side.end]
            found += [(end, side) for end in ends]
        return found

    def took(self, end, side):
        try:
            data = os.read(end.come, 1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        args = (end,) if isinstance(side, Between) else ()
        if data:
            side.took(*args, data)
            return
        end.fds.discard(end.come)
        os.close(end.come)
        end.come = -1
        self.on_end(side)
        side.ended(*args)

    def on_end(self, side):
        if self.case.target == "agent":
            heard = time.monotonic() - side.end.last < SILENCE  # else it may have had enough
            side.over_by = "agent" if heard and not side.end.closing and not side.way.over else "us"

    # ---- the loop ----
    def step(self):
        wait = select.poll()
        where = {}
        for end, side in self.ends():
            if end.come >= 0:
                wait.register(end.come, select.POLLIN)
                where[end.come] = (end, side)
            if end.out:
                wait.register(end.go, select.POLLOUT | (select.POLLIN if end.go == end.come else 0))
        if self.door:
            wait.register(self.door, select.POLLIN)
        for fd, _ in wait.poll(20):
            if self.door and fd == self.door.fileno():
                self.take_guest()
            elif fd in where and where[fd][0].come == fd:
                self.took(*where[fd])
        now = time.monotonic()
        for end, side in self.ends():
            if end.fds:
                end.flush()
            if end.fds and end.closing and not end.out:
                end.close()
            if end.fds and not isinstance(side, Between):
                side.tick(now)

    def go(self):
        """Until all programs have ended, or the deadline. -> seconds."""
        first, patience = self.programs[0], 1 if self.case.plan or self.case.control else 4
        while self.goes_on():
            self.step()
            self.next()
            took = time.monotonic() - self.began
            if took > TOLD_TO_END * patience and not self.told and self.case.target != "agent":
                self.told = True
                first.send_signal(signal.SIGINT)
            if took > self.case.deadline * patience:
                self.case.wrong.append("hangs: not ended after %d s" % took)
                break
        self.hang_up()
        return time.monotonic() - self.began

    def goes_on(self):
        return self.programs[0].poll() is None

    def next(self):
        """What follows once a connection is over."""

    def hang_up(self):
        for end, _ in self.ends():
            end.close()
        return True


class MasterTalk(Talk):
    """The master is the program; behind the door is a recording, or the real agent."""

    def run(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place.DOOR)
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(place.DOOR)
        self.door.listen(8)
        self.lab.put(AGENT, self.lab.agent_there)
        python = "/usr/bin/python3" if self.case.target == "both" else STUB
        words = list(VARIANTS[self.case.variant])
        for option in LONG if not self.case.plan else ():
            if option in words:
                words[words.index(option) + 1] = LONG[option]
        argv = [self.case.control or self.lab.real] + words + (["--python", python] if words[0] != "clean" else [])
        with open(place.LOGS + "/said", "wb+") as self.said:
            self.start(argv, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said)
            self.seconds = self.go()
            with self.door:
                os.unlink(place.DOOR)
            self.left = place.left(self.case.patience)
            self.said.seek(0)
            self.words = self.said.read(MOST_SAID + 1)
        self.check()

    def check(self):
        case, rc, said = self.case, self.programs[0].poll(), self.words
        case.rc = rc
        if self.told and rc == -signal.SIGINT:
            return
        if rc is None:
            self.programs[0].kill()
            rc = self.programs[0].wait()
        as_pytest = (rc in (3, 4) and case.variant == "collect" and PYTEST.search(said)) or (rc == 3 and STOPPED.search(said))
        if rc not in (0, 1, 2, 5, 6) and not as_pytest:
            case.wrong.append("ended by signal %d" % -rc if rc < 0 else "exit status %d" % rc)
        if len(said) > MOST_SAID:
            case.wrong.append("says more than %d bytes" % MOST_SAID)
        for pattern, what in ((DIRTY, "says raw control characters"), (INSIDE, "speaks of its inside")):
            found = pattern.search(said)
            if found:
                case.wrong.append("%s: %r" % (what, said[max(0, found.start() - 60):found.end() + 60]))
        if rc != 0 and not (SUMMED if rc == 1 else REASON).search(said):
            case.wrong.append("status %d, and no line says why: %r" % (rc, said[-300:]))
        if case.plan is None and rc != 0 or case.plan and not case.plan.changes and rc != 0:
            case.wrong.append("status %d of a conversation that was not changed" % rc)


class AgentTalk(Talk):
    """The agent is the program; a recorded master talks to it, over one connection or two."""

    def run(self):
        self.lab.remove_door()
        self.scripts = [list(s) for s in self.lab.recorded["master"][self.case.variant]]
        rnd = self.case.plan.rnd if self.case.plan else random.Random(0)
        group = b"".join(w.frame(1, w.u32(7, 2) + b"\0" + w.u32(0)) + w.frame(2, w.u32(7)) for _ in range(2))
        if self.case.plan and rnd.random() < 0.3:
            at = rnd.randrange(len(group))
            group = group[:at] + rnd.randbytes(rnd.choice((1, 4, 60))) + group[at + rnd.choice((0, 1, 4)):]
        for name, data in (("group", group), ("link", b"\x16\x03\x01\x02\x00" + bytes(512))):
            with open("%s/%s" % (BIN, name), "wb") as f:
                f.write(data)
        with open(place.LOGS + "/said", "wb+") as self.said:
            self.connect()
            self.seconds = self.go()
            self.left = place.left(self.case.patience)
            self.said.seek(0)
            self.words = self.said.read(MOST_SAID + 1)
        self.check()

    def connect(self):
        script = self.scripts.pop(0)
        to_agent, agent_in = os.pipe()
        agent_out, from_agent = os.pipe()
        self.start([self.case.control or self.lab.agent, "proxy", place.CACHE], stdin=to_agent, stdout=from_agent, stderr=self.said)
        os.close(to_agent), os.close(from_agent)
        self.sides.append(Master(self.plan(), End(agent_out, agent_in, self.pieces()), self.pool(), script, self.kept))

    def goes_on(self):
        return self.scripts or any(p.poll() is None for p in self.programs)

    def next(self):
        if self.scripts and not self.sides[-1].end.fds:
            self.connect()

    def check(self):
        case = self.case
        case.rc = max((p.poll() if p.poll() is not None else 99) for p in self.programs)
        for p in self.programs:
            if p.poll() is None:
                p.kill()
                p.wait()
            elif p.poll() not in (0, 1):
                case.wrong.append("ended by signal %d" % -p.poll() if p.poll() < 0 else "exit status %d" % p.poll())
        ends = collections.Counter()
        for side in self.sides:
            for message, hint in side.fails:
                line = message + b" " + hint
                if not message or len(line) > 8192 or b"\n" in line:
                    case.wrong.append("FAIL is not one clear line: %r" % line[:300])
            ends[("stopped" if side.stopped else "FAIL" if side.fails else "hung up" if side.over_by != "agent" else "silent")] += 1
            if side.over_by == "agent" and not side.fails and not side.stopped:
                case.wrong.append("the agent ended without a word")
        case.how = " and ".join(sorted(ends))
        if not case.plan and not all(side.whole() for side in self.sides):
            left = [(side.script[side.at:], side.stopped, side.fails) for side in self.sides]
            case.wrong.append("a replay that was not changed ends early: %.1000r" % left)


class Lab:
    """The place with all that conversations need."""

    def __init__(self, upper, real):
        self.upper, self.real = upper, real
        self.recorded = {"counts": {}, "host": {}, "master": {}, "pool": {"message": [w.frame(w.LOG, b"\x01" + w.text("x"))], "frame": [w.mux(w.CLOSE, 16, 0)]}}
        self.agent_there, self.agent = None, BIN + "/ptremote-agent"

    def put(self, script, path):
        place.write(path, script % {"bin": BIN, "door": place.DOOR}, 0o700)

    def remove_door(self):
        """The real agent is where it belongs."""
        if os.path.exists(self.agent_there) and not os.path.samefile(self.agent_there, self.agent):
            os.unlink(self.agent_there)
        if not os.path.exists(self.agent_there):
            os.link(self.agent, self.agent_there)

    def found(self):
        self.agent_there = self.recorded["agent"]

    def have(self, case, record=None):
        """-> the case, with what was wrong."""
        place.clear(("bin", "python"))
        if self.agent_there and os.path.exists(self.agent_there):
            os.unlink(self.agent_there)
        before = place.Shot(self.upper)
        talk = (AgentTalk if case.target == "agent" else MasterTalk)(self, case, record)
        talk.run()
        case.seconds, case.told, case.words = talk.seconds, talk.told, talk.words
        case.wrong += ["left behind: process %s" % words for words in talk.left]
        case.wrong += ["left behind: " + path for path in place.litter()]
        for name in os.listdir(place.LOGS):
            if name.startswith("sanitizer"):
                with open("%s/%s" % (place.LOGS, name), errors="replace") as f:
                    case.wrong.append("sanitizer: " + f.read(6000))
        case.wrong += ["written outside: " + path for path in place.Shot(self.upper).other_than(before)
                       if path != place.DOOR and not path.startswith(BIN)]
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
        if most > MOST_MEMORY:
            case.wrong.append("a program took %d MiB, in this conversation or one before it" % most)
        case.ways = [way for side in talk.sides for way in (side.ways.values() if isinstance(side, Between) else [side.way])]
        case.sides = talk.sides
        return case
