# SPDX-License-Identifier: Apache-2.0
"""Plays the rank and the master for the Python side: collector, fork server and runner as real processes."""
import array
import atexit
import collections
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "remote", "python")
sys.path.insert(0, SOURCE)
from ptremote import wire  # noqa: E402

PYTHON = os.environ.get("PTREMOTE_PYTHON") or sys.executable
DEADLINE = 60
COLLECT = "import sys; sys.path.insert(0, sys.argv[1]); from ptremote import collector; collector.main()"
SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from ptremote import forkserver; forkserver.main()"
PLAIN = ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PTREMOTE_WORKSPACE", "PTREMOTE_WORKER", "COLUMNS")

# Open MPI's folders, one for each environment: where processes come and go in the same one, MPI_Init fails now and then. The
# daemon of a world of one goes a moment after it, so those that follow one another meet as well.
SESSIONS = tempfile.mkdtemp(prefix="ompi-")
atexit.register(shutil.rmtree, SESSIONS, ignore_errors=True)


def environment(tree=None, **more):
    env = {name: value for name, value in os.environ.items() if name not in PLAIN}
    env.update(PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="7", LANG="C.UTF-8", COLUMNS="80")
    env["OMPI_MCA_orte_tmpdir_base"] = tempfile.mkdtemp(dir=SESSIONS)
    if tree:
        env["PYTHONPATH"] = tree
    env.update(more)
    return env


def write(folder, files):
    for name, text in files.items():
        path = os.path.join(str(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return str(folder)


class Collected:
    """What a collector said."""

    def __init__(self, lines, status, stderr):
        self.lines = lines
        self.status = status
        self.stderr = stderr

    def of(self, kind):
        return [line for line in self.lines if line["t"] == kind]

    def one(self, kind):
        found = self.of(kind)
        assert len(found) == 1, (kind, self.lines, self.stderr)
        return found[0]

    @property
    def session(self):
        return self.one("session")["session"]

    @property
    def order(self):
        return [tuple(entry) for entry in self.one("final")["order"]]

    def files(self):
        """path -> [(node id, occurrence)], in the order they were told."""
        found = collections.OrderedDict()
        for line in self.of("file"):
            found.setdefault(line["path"], []).extend(tuple(test[:2]) for test in line["tests"])
        return found


class Lines:
    """What comes by a pipe, line by line; a line that does not come in time fails the test."""

    def __init__(self, fd):
        self.fd = fd
        self.buffer = b""

    def __iter__(self):
        return self

    def __next__(self):
        while b"\n" not in self.buffer:
            assert select.select([self.fd], [], [], DEADLINE)[0], "no line in %d s, but %r" % (DEADLINE, self.buffer)
            data = os.read(self.fd, 1 << 16)
            if not data:
                break
            self.buffer += data
        line, end, self.buffer = self.buffer.partition(b"\n")
        if not line and not end:
            raise StopIteration
        return line + end

    def close(self):
        os.close(self.fd)


def collect(folder, *args, cwd=None, tree=None, env=None, **request):
    read_end, write_end = os.pipe()
    lines_out, lines_in = os.pipe()
    request = dict({"args": list(args), "out_fd": lines_in, "project": str(folder)}, **request)
    child = subprocess.Popen(
        [PYTHON, "-c", COLLECT, SOURCE, str(read_end)],
        pass_fds=(read_end, lines_in),
        cwd=cwd or str(folder),
        env=environment(tree, **(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    os.close(read_end)
    os.close(lines_in)
    with os.fdopen(write_end, "wb") as sink:
        sink.write(json.dumps(request).encode() + b"\n")
    source = Lines(lines_out)
    lines = [json.loads(line) for line in source]
    source.close()
    _, stderr = child.communicate(timeout=DEADLINE)
    return Collected(lines, child.returncode, stderr.decode("utf-8", "replace"))


class Frames:
    """One end of a socket that speaks frames."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.fds = []

    def send(self, kind, body=b""):
        self.sock.sendall(wire.frame(kind, body))

    def next(self, deadline=DEADLINE):
        """(type, Reader), or None at the end."""
        while True:
            message = wire.next_frame(self.buffer)
            if message is not None:
                return message
            self.sock.settimeout(deadline)
            try:
                data, fds = wire.receive(self.sock, 65536)
            except ConnectionResetError:
                return None
            self.fds += fds
            if not data:
                return None
            self.buffer += data

    def holds_one(self):
        """Whether the next frame is here."""
        return len(self.buffer) >= 4 and len(self.buffer) >= 4 + int.from_bytes(self.buffer[:4], "big")

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Host:
    """A fork server."""

    def __init__(self, folder, tree=None, python=PYTHON, preload="", before=(), **env):
        self.socket = os.path.join(str(folder), "fork.sock")
        self.folder = str(folder)
        self.process = subprocess.Popen(
            [*before, python, "-c", SERVE, SOURCE, self.socket, preload],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment(tree, **env),
            cwd=self.folder,
        )
        self.said = Lines(self.process.stdout.fileno())
        self.hello = next(self.said, b"").decode()

    def preloaded(self, names):
        """name -> what the server said of it, once it said that of so many."""
        found = {}
        while len(found) < names:
            word, name, _, verdict = next(self.said, b"").decode().rstrip("\n").split(" ", 3)
            assert word == "PRELOAD"
            found[name] = verdict
        return found

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.socket)
        return Frames(sock)

    def close(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.process.stdout.close()

    def __enter__(self):
        assert self.hello.startswith("READY "), self.hello
        return self

    def __exit__(self, *_):
        self.close()


class Runner:
    """One forked runner and what it said."""

    def __init__(self, host, cwd, **env):
        self.fork = host.connect()
        ours, theirs = socket.socketpair()
        self.control = Frames(ours)
        self.output = os.path.join(host.folder, "output-%d" % time.monotonic_ns())
        out = os.open(self.output, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        body = wire.field(str(cwd)) + struct.pack(">I", len(env))
        for name, value in env.items():
            body += wire.field(name) + wire.field(value)
        rights = array.array("i", [theirs.fileno(), out])
        self.fork.sock.sendmsg([wire.frame(wire.F_RUN, body)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        theirs.close()
        os.close(out)
        kind, fields = self.fork.next()
        assert kind == wire.F_PID, (kind, bytes(fields.raw(len(fields._data))))
        self.pid = fields.u32()
        self.events = []  # (name, values ...)
        self.broken = None

    def place(self):
        """(test, phase) that it was at last."""
        test, phase, _ = struct.unpack(">IIQ", os.pread(self.place_file.fileno(), 16, 0))
        return test, wire.PHASES[phase]

    def start(self, session):
        self.control.send(wire.R_SESSION, wire.field(json.dumps(session)))
        return self.until("up", "broken")

    def bundle(self, files, number=1, wait=True, ranks=1):
        """files: [(path, [(test number, node id, occurrence)])]. Waits until it is done: else False."""
        body = struct.pack(">IIIIIIII", number, 1, 0, wire.NONE, ranks, 0, 0, len(files))
        for path, tests in files:
            body += wire.field(path) + struct.pack(">I", len(tests))
            for test, nodeid, occurrence in tests:
                body += struct.pack(">II", test, occurrence) + wire.field(nodeid)
        self.control.send(wire.R_BUNDLE, body)
        return self.until("done", "died", "ended") if wait else True

    def steal(self, tests):
        self.control.send(wire.R_STEAL, struct.pack(">I%dI" % len(tests), len(tests), *tests))

    def quit(self):
        self.control.send(wire.R_QUIT)
        return self.until("ended")

    def until(self, *kinds):
        """True when one of the kinds came, False when the runner was gone before."""
        while True:
            message = self.control.next()
            if message is None:
                return False
            event = self._event(*message)
            self.events.append(event)
            if event[0] in kinds:
                return event[0] not in ("broken", "died") and (event[0] != "ended" or "ended" in kinds[:1])

    def _event(self, kind, fields):
        if kind == wire.R_UP:
            return ("up",)
        if kind == wire.R_PLACE:
            self.place_file = os.fdopen(self.control.fds.pop(), "rb", 0)
            return ("place",)
        if kind == wire.R_CAPTURE:
            return ("capture",)
        if kind == wire.R_IMPORT:
            return ("import", fields.u32())
        if kind == wire.R_START:
            return ("start", fields.u32(), wire.PHASES[fields.u8()])
        if kind == wire.R_FAILED:
            return ("failed", fields.u32(), wire.PHASES[fields.u8()])
        if kind == wire.R_REPORT:
            test, outcome = fields.u32(), fields.u8()
            told = json.loads(fields.bytes().decode("utf-8"))
            fields.end()
            assert told["outcome"] == wire.OUTCOMES[outcome]
            return ("report", test, told)
        if kind == wire.R_NOTE:
            told = json.loads(fields.bytes().decode("utf-8"))
            return ("note", told)
        if kind == wire.R_DONE:
            return ("done", fields.u32())
        if kind == wire.R_DIED:
            return ("died", fields.u32())
        if kind == wire.R_STOLEN:
            bundle = fields.u32()
            tests = [fields.u32() for _ in range(fields.count(4))]
            fields.end()
            return ("stolen", bundle, tests)
        if kind == wire.R_BROKEN:
            self.broken = fields.bytes().decode()
            return ("broken", self.broken)
        assert kind == wire.R_ENDED, kind
        return ("ended",)

    def of(self, name):
        return [event[1:] for event in self.events if event[0] == name]

    def reports(self):
        return {test: told for test, told in self.of("report")}

    def notes(self, kind):
        return [told for (told,) in self.of("note") if told["kind"] == kind]

    status = None

    def exit(self):
        """The wait status."""
        if self.status is None:
            kind, fields = self.fork.next()
            assert kind == wire.F_EXIT
            self.status = fields.u32()
        return self.status

    def captured(self):
        """What was captured last, as a supervisor reads it after a crash."""
        return [os.pread(fd, 1 << 20, 0).decode("utf-8", "replace") for fd in self.control.fds]

    def text(self):
        with open(self.output, encoding="utf-8", errors="replace") as file:
            return file.read()

    def close(self):
        self.control.close()
        self.fork.close()


class Member(Runner):
    """One rank of a Group."""

    def __init__(self, fork, output):
        kind, fields = fork.next()
        assert kind == wire.F_PID
        self.rank, self.pid = fields.u32(), fields.u32()
        control, out = fork.fds
        fork.fds = [out]
        self.fork, self.control = fork, Frames(socket.socket(fileno=control))
        self.output = "%s.out.%d" % (output, self.rank)
        self.events, self.broken = [], None


MPIRUN = (
    "mpirun --bind-to none --oversubscribe -quiet --mca pml ob1 --mca btl self,vader --mca plm isolated "
    "--mca oob_tcp_if_include lo --mca oob_tcp_disable_ipv6_family 1 --mca mpi_yield_when_idle 1"
).split()
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Group:
    """Ranks of one mpirun; the hub of them is played here. With `far` the upper half of them is on that host: a group of
    several hosts. `transport` is what MPI uses between them."""

    count = 0

    def __init__(self, host, size, cwd, slots=4, index=0, far=None, transport="self,vader", **env):
        Group.count += 1
        self.hub = os.path.join(host.folder, "hub.%d" % Group.count)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.hub)
        listener.listen(size)
        listener.settimeout(DEADLINE)
        worker = {"PTREMOTE_WORKER": "h0.%d" % (slots * (1 + index)), "PTREMOTE_SLOTS": str(slots)}
        spread = {"PTREMOTE_SPREAD": "1"} if far else {}
        given = json.dumps(dict(worker, PTREMOTE_WORKSPACE=str(cwd), **spread, **env))
        member = os.path.join(os.path.dirname(os.path.abspath(__file__)), "member.py")
        command = [transport if word == "self,vader" else word for word in MPIRUN]
        for count, fork in [(size - size // 2, host.socket), (size // 2, far.socket)] if far else [(size, host.socket)]:
            command += [":"] * (command[-1] == given) + ["-np", str(count), PYTHON, member, fork, self.hub, str(cwd), given]
        self.mpirun = subprocess.Popen(
            command,
            env=environment(**AS_ROOT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        members = [Member(Frames(listener.accept()[0]), self.hub) for _ in range(size)]
        self.members = sorted(members, key=lambda member: member.rank)
        listener.close()

    def start(self, session):
        for member in self.members:
            member.control.send(wire.R_SESSION, wire.field(json.dumps(session)))
        return self.until("up", "broken")

    def bundle(self, files, number=1, wait=True):
        for member in self.members:
            member.bundle(files, number, False, len(self.members))
        return self.until("done", "ended") if wait else True

    def quit(self):
        for member in self.members:
            member.control.send(wire.R_QUIT)
        return self.until("ended")

    def until(self, *kinds, members=None, deadline=DEADLINE):
        """True when each of them said one of the kinds, False when some were gone, or did not in time."""
        waiting = {member.control.sock: member for member in (self.members if members is None else members)}
        good, end = True, time.monotonic() + deadline
        while waiting:
            ready = [sock for sock, member in waiting.items() if member.control.holds_one()]
            ready = ready or select.select(list(waiting), [], [], max(0, end - time.monotonic()))[0]
            if not ready:
                return False
            end = time.monotonic() + deadline  # as long as they say anything
            for sock in ready:
                member = waiting[sock]
                message = member.control.next()
                if message is not None:
                    member.events.append(member._event(*message))
                last = member.events[-1][0] if message is not None else "gone"
                if last in kinds or last == "gone":
                    del waiting[sock]
                    good = good and last not in ("gone", "broken") and (last != "ended" or "ended" in kinds[:1])
        return good

    def reports(self):
        """number -> the reports of all ranks, as far as told."""
        found = {}
        for member in self.members:
            for test, told in member.of("report"):
                found.setdefault(test, {})[member.rank] = told
        return found

    def outcomes(self):
        return {test: [told[rank]["outcome"] for rank in sorted(told)] for test, told in self.reports().items()}

    def ended(self):
        """Did every rank say so?"""
        return all(member.events and member.events[-1] == ("ended",) for member in self.members)

    def exits(self):
        return [member.exit() for member in self.members]

    def text(self):
        return "".join(member.text() for member in self.members)

    def close(self):
        for member in self.members:
            member.close()
        try:
            self.mpirun.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.mpirun.kill()
            self.mpirun.wait()
        self.mpirun.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Result:
    def __init__(self):
        self.reports = {}  # (node id, occurrence) -> report
        self.notes = []
        self.deaths = []  # (node id or path, phase, wait status, captured, output)
        self.starts = []
        self.runners = 0

    def outcomes(self):
        return {nodeid: told["outcome"] for (nodeid, _), told in self.reports.items()}

    def of(self, kind):
        return [note for note in self.notes if note["kind"] == kind]

    def counts(self):
        total = collections.Counter()
        for told in self.everything():
            total.update(told.get("counts", {}))
        return total

    def everything(self):
        yield from self.reports.values()
        for note in self.of("report"):
            yield note["report"]
        for note in self.of("collect"):
            yield note["report"]

    def cases(self):
        return collections.Counter(case_key(*case) for told in self.everything() for case in told.get("junit", []))


ISOLATE = "session"  # what run() does when it is not told


def run(host, collected, workspace, cwd=None, size=1, env=None, order=None, isolate=None):
    """Every file that was collected, in bundles of so many files, one runner after the other as they die."""
    result = Result()
    session = dict(collected.session, isolate=isolate or ISOLATE)
    numbers = {key: number for number, key in enumerate(collected.order)}
    keys = {number: key for key, number in numbers.items()}
    files = collections.OrderedDict()
    for nodeid, occurrence in collected.order:
        path = nodeid.partition("::")[0]
        files.setdefault(path, []).append((numbers[nodeid, occurrence], nodeid, occurrence))
    waiting = list(files.items())
    if order:
        waiting.sort(key=order)
    settings = dict({"PTREMOTE_WORKSPACE": str(workspace), "PTREMOTE_WORKER": "h0.0"}, **(env or {}))
    bundles = [waiting[at : at + size] for at in range(0, len(waiting), size)]
    runner = None
    while bundles or runner is None:
        if runner is None:
            runner = Runner(host, cwd or workspace, **settings)
            result.runners += 1
            if not runner.start(session):
                result.deaths.append((None, "start", runner.exit(), runner.captured(), runner.text()))
                result.broken = runner.broken
                _take(result, runner, keys)
                runner.close()
                return result
            if not bundles:
                break
        bundle = bundles.pop(0)
        if runner.bundle(bundle):
            continue
        last = runner.events[-1]
        lives = last[0] == "died"
        if last[0] == "ended":
            assert runner.exit() == 0
            rest = _rest(runner, bundle)
        else:
            rest = _after_death(result, runner, bundle, keys)
        if rest:
            bundles.insert(0, rest)
        if not lives:
            _take(result, runner, keys)
            runner.close()
            runner = None
            if not bundles:
                return result
    ended = runner.quit()
    status = runner.exit()
    if not ended or status:
        result.deaths.append((None, "end", status, runner.captured(), runner.text()))
    result.output = runner.text()
    _take(result, runner, keys)
    runner.close()
    return result


def run_project(tmp, files, *args, **settings):
    """run() of files that are written here."""
    project = write(tmp / "project", files)
    with Host(tmp) as host:
        return run(host, collect(project, *args), project, **settings)


def _take(result, runner, keys):
    for test, told in runner.of("report"):
        assert keys[test] not in result.reports, "%r told twice" % (keys[test],)
        result.reports[keys[test]] = told
    result.notes += [told for (told,) in runner.of("note")]
    result.starts += [(keys[test], phase) for test, phase in runner.of("start")]


def _rest(runner, bundle, *others):
    """What of the bundle was not told."""
    told = set(runner.reports()).union(others)
    told |= {note["test"] for note in runner.notes("missing")}
    failed = {note["path"] for note in runner.notes("collect")}
    rest = [(path, [test for test in tests if test[0] not in told]) for path, tests in bundle if path not in failed]
    return [(path, tests) for path, tests in rest if tests]


def _after_death(result, runner, bundle, keys):
    """What of the bundle is still to be run; the death is noted."""
    words = [event for event in runner.events if event[0] in ("start", "import", "report", "died")]
    status = words.pop()[1] if words[-1][0] == "died" else runner.exit()
    last = words[-1]
    if last[0] == "import":
        dead, phase = bundle[last[1]][0], "collect"
        result.deaths.append((dead, phase, status, runner.captured(), runner.text()))
        return _rest(runner, [(path, tests) for path, tests in bundle if path != dead])
    if last[0] == "report":
        result.deaths.append((None, "end", status, runner.captured(), runner.text()))
        return _rest(runner, bundle)
    test, phase = runner.place()
    assert test == last[1]
    result.deaths.append((keys[test][0], phase, status, runner.captured(), runner.text()))
    return _rest(runner, bundle, last[1])


# ---- plain pytest ----


def case_key(tag, attributes, text, children):
    """What has to be the same of a testcase: class, name, and the children's tags and properties."""
    inner = []
    for child in children:
        properties = sorted((one[1]["name"], one[1]["value"]) for one in child[3]) if child[0] == "properties" else ()
        inner.append((child[0], child[1].get("type"), tuple(properties)))
    return (attributes.get("classname"), attributes.get("name"), tuple(sorted(inner, key=str)))


def _element(node):
    return [node.tag, dict(node.attrib), node.text, [_element(child) for child in node]]


class Plain:
    """`python -m pytest` on the same suite."""

    def __init__(self, project, *args, cwd=None, tree=None, env=None):
        xml = os.path.join(str(project), "plain.xml")
        command = [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--junitxml=" + xml, *args]
        done = subprocess.run(
            command,
            cwd=cwd or str(project),
            env=environment(tree, **(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE,
        )
        self.status = done.returncode
        self.text = done.stdout.decode("utf-8", "replace")
        self.suite = ET.parse(xml).getroot().find("testsuite")
        os.unlink(xml)
        self.elements = [_element(case) for case in self.suite.findall("testcase")]
        self.cases = collections.Counter(case_key(*element) for element in self.elements)

    def counts(self):
        """The numbers of pytest's last line."""
        line = re.findall(r"^.* in [\d.]+s.*$", self.text, re.MULTILINE)[-1]
        found = re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|subtests passed|special)", line)
        return collections.Counter({name.replace("errors", "error"): int(number) for number, name in found})


def copy(project, workspace):
    shutil.copytree(str(project), str(workspace), symlinks=True)
    return str(workspace)


def compare(tmp, files, *args, size=1, tree=None, cwd="", env=None, order=None, isolate=None):
    """Run a suite both ways; everything that counts is the same. The result of our way."""
    project = write(tmp / "home" / "project", files)
    plain = Plain(project, *args, cwd=os.path.join(project, cwd), tree=tree, env=env)
    found = collect(project, *args, cwd=os.path.join(project, cwd), tree=tree, env=env, want_junit=True)
    assert found.of("final"), (found.lines, found.stderr)
    workspace = copy(project, tmp / "there")
    with Host(tmp, tree, **(env or {})) as host:
        result = run(host, found, workspace, os.path.join(workspace, cwd), size, env, order, isolate)
    assert not result.deaths, result.deaths
    at_home = collections.Counter()
    cases = collections.Counter()
    for line in found.of("report"):
        at_home.update(line["counts"])
        cases.update(case_key(*case) for case in line.get("junit", []))
    assert set(result.reports) <= set(found.order)
    assert result.cases() + cases == plain.cases, (result.reports, result.notes, plain.text)
    assert result.counts() + at_home == plain.counts(), plain.text
    result.plain, result.collected, result.workspace, result.project = plain, found, workspace, project
    return result


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_for(condition, deadline=DEADLINE):
    """Whether it came true in time."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            return False
        select.select([], [], [], 0.01)
    return True


def gone(pid):
    """Whether a process that is no child of ours ends in time."""

    def ended():
        try:
            with open("/proc/%d/stat" % pid) as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return wait_for(ended)
