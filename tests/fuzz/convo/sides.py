# SPDX-License-Identifier: Apache-2.0
"""Who talks to the program under test: a host's agent with its worker as a recording has them (Host), a master as a recording has it (Master), or the
real other program with somebody in between (Between). Each is told of bytes that came (took), of the end (ended) and of the time (tick), and says with
its ways what the plan has made of it."""
import contextlib
import os
import ssl
import time

import words as w
from changes import BOOT, Way

STALL = 6.0  # seconds that a master says nothing at all; then its connection ends, as an agent may have been told to wait for ever
IDLE = 1.5  # seconds without a word but PING, then a host or master that plays a recording hangs up
AGENT = b"PTREMOTE-AGENT 1\n"


class End:
    """Two descriptors of the program under test: what it says comes from `come`, what it is told goes to `go`."""

    def __init__(self, come, go, pieces, held=None):
        self.come, self.go, self.pieces, self.held = come, go, pieces, held
        self.last = time.monotonic()  # when it was told anything
        self.out, self.closing, self.fds = b"", False, {come, go} if come >= 0 else {go}
        for fd in self.fds:
            os.set_blocking(fd, False)

    def write(self, data):
        self.out += data
        self.last = time.monotonic()

    def flush(self):
        while self.out and self.go >= 0:
            try:
                n = os.write(self.go, self.out[:7 if self.pieces else 1 << 16])
            except BlockingIOError:
                return
            except OSError:
                self.out = b""
                return
            self.out = self.out[n:]
            if self.pieces:
                return
        if self.closing:
            self.close()

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds, self.come, self.go, self.out = set(), -1, -1, b""
        if self.held:
            self.held.close()
            self.held = None


class Side:
    """What both that play a recording have in common."""

    def __init__(self, plan, end, pool):
        self.end, self.streams, self.control = end, w.Streams(), w.Frames()
        self.way = Way(plan, end.write, pool)
        self.heard, self.owed, self.said_last = time.monotonic(), {}, False

    def data(self, stream, data):
        for at in range(0, len(data), 256 << 10):
            piece = data[at:at + (256 << 10)]
            self.way.frame(w.mux(w.DATA, stream, len(piece), piece))
        self.settle()

    def say(self, kind, body=b"", stream=w.CONTROL):
        self.way.message(w.frame(kind, body), lambda raw: self.data(stream, raw))
        self.settle()

    def head(self, kind, stream, value=0):
        self.way.frame(w.mux(kind, stream, value))
        self.settle()

    def settle(self):
        if self.way.over == "end":
            self.end.closing = True

    def took(self, data):
        try:
            for kind, stream, value, piece in self.streams.feed(data):
                if kind == w.DATA:
                    owed = self.owed[stream] = self.owed.get(stream, 0) + len(piece)
                    if owed >= w.WINDOW // 4:
                        self.head(w.CREDIT, stream, owed)
                        self.owed[stream] = 0
                self.on_frame(kind, stream, value, piece)
        except w.Broken:
            if not self.way.plan:
                raise
            self.end.closing = True

    def tick(self, now):
        if now - self.heard > IDLE and self.way.over != "stall":
            self.end.closing = True

    def ended(self):
        self.end.closing = True


# ---- a host ----
class Link:
    """Rank 0, over TLS."""

    def __init__(self, host, stream, launch):
        self.host, self.stream, self.launch = host, stream, launch
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        fd = os.memfd_create("key")
        os.write(fd, launch.cert + b"\n" + launch.key)
        try:
            context.load_cert_chain("/proc/self/fd/%d" % fd)
        finally:
            os.close(fd)
        self.come, self.go, self.frames, self.up = ssl.MemoryBIO(), ssl.MemoryBIO(), w.Frames(), False
        self.tls = context.wrap_bio(self.come, self.go)
        self.move()

    def move(self):
        """On with the handshake, and what came and went by it."""
        got = b""
        try:
            if not self.up:
                self.tls.do_handshake()
                self.up = True
                self.hello()
            while True:
                more = self.tls.read(1 << 16)
                if not more:
                    break
                got += more
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        self.flush()
        for kind, body in self.frames.feed(got):
            self.on_message(kind, body)

    def flush(self):
        data = self.go.read()
        if data:
            self.host.data(self.stream, data)

    def write(self, raw):
        with contextlib.suppress(ssl.SSLError):
            self.tls.write(raw)
        self.flush()

    def say(self, kind, body, numbered=True):
        kept = self.host.kept
        raw = w.frame(kind, w.u64(len(kept["said"]) + 1 if numbered else 0) + body if numbered is not None else body)
        if numbered:
            kept["said"].append(raw)
        self.host.way.message(raw, self.write)
        self.host.settle()

    def hello(self):
        h, kept = self.host, self.host.kept
        again = kept["launch"] == self.launch.launch
        if not again:
            kept.update(launch=self.launch.launch, said=[], got=0, acked=0)
        h.way.message(w.frame(w.HELLO, w.u32(w.PROTOCOL) + w.text(kept["run"]) + w.u32(kept["host"], self.launch.launch, self.launch.slots)
                              + w.u64(kept["got"], kept["acked"])), self.write)

    def on_message(self, kind, body):
        kept, h = self.host.kept, self.host
        if kind not in (w.WELCOME, w.REFUSED, w.ACK):
            kept["got"] += 1
        if kind == w.WELCOME:
            kept["acked"] = w.Reader(body[4:]).u64()
            for raw in kept["said"][kept["acked"]:]:
                h.way.message(raw, self.write)
        elif kind == w.ACK:
            kept["acked"] = w.Reader(body).u64()
        elif kind == w.BUNDLE:
            self.run(*w.tests_of(body))
        elif kind == w.RECALL:
            self.say(w.RECALLED, body[:4] + b"\0")
        elif kind == w.STEAL:
            self.say(w.STOLEN, w.u32(w.NONE) + body[:4] + w.u32(1, 0))
        elif kind == w.QUIT:
            for rank in range(self.launch.slots):
                self.say(w.BYE, w.u32(rank))
            self.say(w.BYE, w.u32(w.NONE))

    def run(self, bundle, attempt, tests):
        for number, nodeid in tests:
            outcome, report = self.host.script["reports"].get(nodeid, (1, b'{"outcome":"passed"}'))
            self.say(w.STARTED, w.u32(0, bundle, attempt, number), False)
            self.say(w.REPORT, w.u32(0, bundle, attempt, number) + bytes([outcome]) + w.text(report))
        self.say(w.OUTPUT, w.u32(0, bundle, w.NONE) + w.text(b"words of a test\n"))
        self.say(w.DONE, w.u32(0, bundle, attempt))


class Host(Side):
    """script: what a real agent said: {"answers": {type: [bodies]}, "collector": lines, "reports": {node id: (outcome, JSON)}}. kept: what the host
    knows over all its connections."""

    def __init__(self, plan, end, pool, script, kept):
        super().__init__(plan, end, pool)
        self.script, self.kept, self.ends, self.due = script, kept, 0, []
        self.links, self.launch, self.ponged = {}, None, False
        boot = [c for c in plan.changes if c.place == "boot"] if plan else []
        self.way.bytes(plan.rnd.choice(BOOT) if boot else AGENT)
        self.bulk, self.next = w.Frames(), w.FIRST

    def answer(self, kind):
        """As the agent did."""
        for body in self.script["answers"].get(kind, [])[:1]:
            self.say(kind, body)

    def on_frame(self, kind, stream, value, data):
        if kind == w.DATA and stream == w.CONTROL:
            for kind, body in self.control.feed(data):
                if kind != w.PING:
                    self.heard = time.monotonic()
                self.on_message(kind, body)
            return
        self.heard = time.monotonic()
        if kind == w.DATA and stream == w.BULK:
            for kind, _ in self.bulk.feed(data):
                self.ends += kind == w.END
            self.on_objects()
        elif kind == w.DATA and stream in self.links:
            self.links[stream].come.write(data)
            self.links[stream].move()
        elif kind == w.CLOSE and stream in self.links:
            del self.links[stream]
            self.head(w.CLOSE, stream)

    def on_objects(self):
        while self.due and self.ends:
            self.ends -= 1
            self.answer(self.due.pop(0))

    def open_link(self):
        stream, self.next = self.next, self.next + 1
        self.head(w.OPEN, stream, w.LINK_STREAM)
        self.links[stream] = Link(self, stream, self.launch)

    def on_message(self, kind, body):
        if kind == w.PING and self.ponged:  # how many come depends on time: they do not count
            self.end.write(w.mux(w.DATA, w.CONTROL, 13, w.frame(w.PONG, body))) if not self.way.over else None
        elif kind == w.PING:
            self.ponged = True
            self.say(w.PONG, body)
        elif kind == w.SETUP:
            setup = w.Setup(body)
            self.kept.update(run=setup.run, host=setup.host)
            self.answer(w.READY)
        elif kind == w.TOOLS:
            self.say(w.MISSING, w.u32(0))
        elif kind == w.MANIFEST:
            whole = body[33] == 2
            need = self.script["answers"].get(w.NEED)
            self.due += [w.NEED, w.SYNCED] if whole and need else [w.SYNCED] if body[33] or body[34] else []
            if not body[33] and not body[34]:
                self.answer(w.SYNCED)
        elif kind in (w.LAUNCH, w.RELINK):
            self.launch = w.Launch(body)
            if kind == w.LAUNCH:
                self.answer(w.PYTHON)
                self.answer(w.LAUNCHED)
            self.open_link()
        elif kind == w.COLLECT:
            stream, self.next = self.next, self.next + 1
            self.head(w.OPEN, stream, w.COLLECT_STREAM)
            for line in self.script["collector"]:
                self.data(stream, line)
            self.head(w.CLOSE, stream)
            self.say(w.EXITED, bytes([3]) + w.u32(0) + w.text(""))
        elif kind == w.ATTACH:
            self.say(w.ATTACHED, w.u32(self.kept["launch"]))
        elif kind == w.CLEAN:
            self.answer(w.CLEANED)
        elif kind == w.END_WORKERS:
            self.end_links()
            self.say(w.EXITED, bytes([1]) + w.u32(0) + w.text(""))
        elif kind == w.STOP:
            self.end_links()
            self.say(w.STOPPED)
            self.end.closing = True

    def end_links(self):
        for stream in list(self.links):
            self.head(w.CLOSE, stream)
            del self.links[stream]


# ---- a master ----
# Of what an agent says, what a master waits for before it goes on.
MILESTONES = (w.READY, w.MISSING, w.TREE, w.NEED, w.SYNCED, w.LAUNCHED, w.PYTHON, w.EXITED, w.STOPPED, w.ATTACHED, w.CLEANED)


class Master(Side):
    """script: [("say", stream, type, body) | ("frame", kind, stream, value, data) | ("wait", type or "open")], in the order of the recording."""

    def __init__(self, plan, end, pool, script, kept):
        super().__init__(plan, end, pool)
        self.kept, self.script, self.seen, self.at, self.boot, self.fails, self.stopped = kept, list(script), [], 0, b"", [], False
        self.over_by, self.until, self.began = None, 0, self.heard

    def took(self, data):
        self.heard = time.monotonic()
        if self.boot is not None:
            self.boot += data
            if b"\n" not in self.boot:
                return
            data, self.boot = self.boot.partition(b"\n")[2], None
        super().took(data)
        self.go_on()

    def on_frame(self, kind, stream, value, data):
        if kind == w.OPEN:
            self.seen.append("open")
        if kind != w.DATA or stream != w.CONTROL:
            return
        for kind, body in self.control.feed(data):
            self.seen.append(kind)
            self.stopped |= kind == w.STOPPED
            if kind == w.READY:
                self.kept["dir"] = w.ready_of(body)["dir"]
            if kind == w.FAIL:
                r = w.Reader(body)
                r.u8()
                self.fails.append((r.bytes(), r.bytes()))

    def whole(self):
        """Was all said that was to be said? STOP is the last of it; how much is heard after it is chance, as the agent ends then."""
        return not self.fails and all(what[0] in ("wait", "frame") for what in self.script[self.at:])

    def go_on(self, impatient=False):
        while self.at < len(self.script) and not self.way.over and not self.end.closing:
            what = self.script[self.at]
            if what[0] == "hang up":
                self.end.closing = True
            elif what[0] == "pause":
                self.until = self.until or time.monotonic() + what[1]
                if time.monotonic() < self.until:
                    return
            elif what[0] == "attach":
                self.say(w.ATTACH, what[1] + w.text(self.kept.get("dir", b"")))
            elif what[0] == "wait":
                if what[1] in self.seen:
                    self.seen.remove(what[1])
                elif not impatient and not self.fails:
                    return
                impatient = False
            elif what[0] == "say":
                self.say(what[2], what[3], what[1])
            else:
                self.way.frame(w.mux(*what[1:]))
                self.settle()
            self.at += 1

    def tick(self, now):
        if self.until:
            self.go_on()
        if now - self.heard > STALL and now - self.began > STALL:
            self.end.closing = True
        if now - self.heard > IDLE and self.boot is None and self.way.over != "stall":
            if self.at < len(self.script):
                self.heard = now
                self.go_on(True)
            else:
                self.end.closing = True


# ---- both real ----
class Between:
    """What the master says and what the agent says, each over a way of its own."""

    def __init__(self, plan, direction, master, agent, pool, record=None):
        self.ends = {"agent": agent, "master": master}  # to whom
        self.ways = {to: Way(plan if to == direction else None, end.write, pool) for to, end in self.ends.items()}
        self.streams = {to: w.Streams() for to in self.ends}
        self.messages = {(to, stream): w.Frames() for to in self.ends for stream in (w.CONTROL, w.BULK)}
        self.boot, self.record, self.plan = b"", record, plan

    def took(self, end, data):
        to = "agent" if end is self.ends["master"] else "master"
        way = self.ways[to]
        if to == "master" and self.boot is not None:
            self.boot += data
            if b"\n" not in self.boot:
                return
            line, _, data = self.boot.partition(b"\n")
            self.boot = None
            way.bytes(line + b"\n")
        try:
            for kind, stream, value, piece in self.streams[to].feed(data):
                if self.record is not None:
                    self.record.append((to, kind, stream, value, piece))
                if kind == w.DATA and stream in (w.CONTROL, w.BULK):
                    for frame in self.messages[to, stream].feed(piece):
                        self.say(to, stream, *frame)
                else:
                    way.frame(w.mux(kind, stream, value, piece))
        except w.Broken:
            if not self.plan:
                raise
            self.ends[to].closing = True
        if way.over == "end":
            self.ends[to].closing = True

    def say(self, to, stream, kind, body):
        def send(raw):
            for at in range(0, len(raw), 256 << 10):
                piece = raw[at:at + (256 << 10)]
                self.ways[to].frame(w.mux(w.DATA, stream, len(piece), piece))
        self.ways[to].message(w.frame(kind, body), send)

    def ended(self, end):
        for other in self.ends.values():
            other.closing = True
