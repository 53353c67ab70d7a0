# SPDX-License-Identifier: Apache-2.0
"""Peers that a run must withstand. hostile_peer.py WHAT ARGS...: does it to the run that goes on, and fails when it gets anywhere.

  strangers LINK OLD        whoever is no worker of this launch: all are cut off, none hears a word
  report LINK TESTS         a worker that tells of what others were dealt, of 10,000 tests that do not exist, and never stops
  endless LINK FILE         a worker that says things for ever and never reads, until FILE is there or it is cut off
  break LINK HOW            a worker that goes wrong in the middle: oversized, truncated, interleaved, unknown, jump, renegotiate
  flood ADDR N FILE         N connections that say nothing or a little, made anew when they are closed, until FILE is there
  probe ADDR N              N connections to another's port, with all kinds of garbage
  knock PLACE UID           as that user, every socket that the system knows of below PLACE, or that has no place at all
  listen FILE WORDS...      reads every packet of this network until FILE is there, and tells which of the words passed in the clear

LINK is what the agent gave to a worker of this launch (see hostile_mpirun), OLD that of an earlier run."""
import contextlib
import os
import random
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

DEADLINE = 60
PROTOCOL = 6
NONE = 0xFFFFFFFF
HELLO, WELCOME, REFUSED, SESSION, BUNDLE, ACK = range(1, 7)
STARTED, REPORT, DEATH, NOTE, DONE, BROKEN, RECALLED, BYE = range(32, 40)
STOLEN, OUTPUT, RANKS, FALL, WAITS = 41, 42, 43, 44, 46


def u32(*numbers):
    return struct.pack(">%dI" % len(numbers), *numbers)


def u64(number):
    return struct.pack(">Q", number)


def text(words):
    words = words.encode() if isinstance(words, str) else words
    return u32(len(words)) + words


def frame(kind, body=b""):
    return u32(1 + len(body)) + bytes([kind]) + body


class Reader:
    def __init__(self, data):
        self.data = data

    def u32(self):
        value, self.data = struct.unpack(">I", self.data[:4])[0], self.data[4:]
        return value

    def bytes(self):
        n = self.u32()
        value, self.data = self.data[:n], self.data[n:]
        return value


class Link:
    """What the agent told rank 0."""

    def __init__(self, path):
        with open(path, "rb") as f:
            r = Reader(f.read()[5:])
        self.run, self.host, self.launch = r.bytes().decode(), r.u32(), r.u32()
        self.cert, self.key, self.ca, self.address = (r.bytes().decode() for _ in range(4))

    @property
    def where(self):
        host, port = self.address.rsplit(":", 1)
        return host, int(port)


def context(cert=None, key=None, newest=ssl.TLSVersion.TLSv1_3):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE  # it talks to anybody
    c.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
    c.maximum_version = newest
    c.set_ciphers("ALL:@SECLEVEL=0")
    if cert:
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(cert + "\n" + key)
            f.flush()
            c.load_cert_chain(f.name)
    return c


def connect(where):
    s = socket.create_connection(where, DEADLINE)
    s.settimeout(DEADLINE)
    return s


def hello(link, version=PROTOCOL, run=None, host=None, launch=None, slots=1):
    return frame(HELLO, u32(version) + text(run or link.run) + u32(link.host if host is None else host, launch or link.launch, slots)
                 + u64(0) + u64(0))


def heard(s):
    """All that comes until the other side ends; it must."""
    got = b""
    try:
        while True:
            more = s.recv(1 << 16)
            if not more:
                return got
            got += more
    except (ssl.SSLError, ConnectionError):
        return got
    except socket.timeout:
        sys.exit("the master keeps the connection")


def is_nothing(got):
    """Not one frame, but for one that refuses."""
    return not got or (len(got) > 4 and got[4] == REFUSED and len(got) == 4 + int.from_bytes(got[:4], "big"))


# ---- strangers ----
def plain(where, words, end):
    with connect(where) as s:
        with contextlib.suppress(OSError):
            s.sendall(words)
            if end:
                s.shutdown(socket.SHUT_WR)
        got = heard(s)
    return not got or got[0] == 21  # an alert of TLS


def over_tls(where, ctx, words=b""):
    try:
        with ctx.wrap_socket(connect(where)) as s:
            s.sendall(words)
            return is_nothing(heard(s))
    except (ssl.SSLError, ConnectionError):
        return True


def forged(names, days):
    """A certificate of the same names by an authority of the same name, and its key."""
    with tempfile.TemporaryDirectory() as d:
        def run(*words):
            subprocess.run(("openssl",) + words, cwd=d, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=ptremote run CA", "-days", "2")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "csr", "-subj",
            "/CN=ptremote")
        with open(d + "/ext", "w") as f:
            f.write("subjectAltName=URI:%s\nextendedKeyUsage=clientAuth\n" % names)
        run("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext", "-days",
            str(days), "-out", "cert")
        return open(d + "/cert").read(), open(d + "/key").read()


def strangers(link, old):
    link, old = Link(link), Link(old)
    where = link.where
    good = context(link.cert, link.key)
    role = "ptremote:run/%s/host/%d/worker" % (link.run, link.host)
    random.seed(1)
    cases = {
        "plaintext HELLO": lambda: plain(where, hello(link), True),
        "plaintext HTTP": lambda: plain(where, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        "SSH": lambda: plain(where, b"SSH-2.0-OpenSSH_9.2\r\n", False),
        "garbage": lambda: plain(where, random.randbytes(1 << 20), True),
        "zeros": lambda: plain(where, bytes(1 << 20), True),
        "half a ClientHello": lambda: plain(where, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), True),
        "nothing": lambda: plain(where, b"", True),
        "TLS 1.2 with a good certificate": lambda: over_tls(where, context(link.cert, link.key, ssl.TLSVersion.TLSv1_2), hello(link)),
        "no certificate": lambda: over_tls(where, context(), hello(link)),
        "a wrong CA of the same name": lambda: over_tls(where, context(*forged(role, 2)), hello(link)),
        "the certificate of an earlier run": lambda: over_tls(where, context(old.cert, old.key), hello(old)),
        "the same, as of this run": lambda: over_tls(where, context(old.cert, old.key), hello(link)),
        "another host": lambda: over_tls(where, good, hello(link, host=1 - link.host)),
        "a host that is none": lambda: over_tls(where, good, hello(link, host=1 << 30)),
        "another run": lambda: over_tls(where, good, hello(link, run=old.run)),
        "another launch": lambda: over_tls(where, good, hello(link, launch=link.launch + 1)),
        "more slots": lambda: over_tls(where, good, hello(link, slots=4096)),
        "another protocol": lambda: over_tls(where, good, hello(link, version=PROTOCOL + 1)),
        "a report before HELLO": lambda: over_tls(where, good, frame(REPORT, bytes(40))),
        "an oversized frame before HELLO": lambda: over_tls(where, good, u32(1 << 30) + bytes(1 << 16)),
        "an empty frame": lambda: over_tls(where, good, u32(0) + hello(link)),
        "a truncated HELLO": lambda: over_tls(where, good, frame(HELLO, hello(link)[5:-3])),
        "a HELLO with more behind it": lambda: over_tls(where, good, frame(HELLO, hello(link)[5:] + b"x")),
    }
    for name, case in cases.items():
        if not case():
            sys.exit("%s: the master answers" % name)
        print("cut off:", name)


# ---- a worker of a compromised host ----
class Worker:
    """Joined, as far as the master knows."""

    def __init__(self, path):
        self.link = Link(path)
        self.s = context(self.link.cert, self.link.key).wrap_socket(connect(self.link.where))
        self.raw = socket.socket(fileno=os.dup(self.s.fileno()))  # below TLS
        self.seq, self.acked, self.got = 0, 0, b""
        self.bundles = []  # as they came
        self.s.sendall(hello(self.link))
        self.wait(lambda: self.welcome)

    welcome = False

    def take(self, kind, body):
        if kind == WELCOME:
            self.welcome = True
        elif kind == ACK:
            self.acked = struct.unpack(">Q", body)[0]
        elif kind == BUNDLE:
            self.bundles.append(body)
        elif kind == REFUSED:
            sys.exit("refused: %r" % body)

    def read(self, seconds):
        self.s.settimeout(seconds)
        try:
            more = self.s.recv(1 << 18)
        except socket.timeout:
            return
        finally:
            self.s.settimeout(DEADLINE)
        if not more:
            sys.exit("the master ended the link")
        self.got += more
        while len(self.got) > 4 and len(self.got) >= 4 + int.from_bytes(self.got[:4], "big"):
            n = 4 + int.from_bytes(self.got[:4], "big")
            self.take(self.got[4], self.got[5:n])
            self.got = self.got[n:]

    def wait(self, done):
        until = time.monotonic() + DEADLINE
        while not done():
            if time.monotonic() > until:
                sys.exit("the master does not answer (%d of %d)" % (self.acked, self.seq))
            self.read(0.2)

    def settle(self):
        """Until it is dealt nothing more."""
        known = -1
        while known != len(self.bundles):
            known = len(self.bundles)
            self.read(1)

    def say(self, kind, body, numbered=True):
        self.seq += numbered
        self.s.sendall(frame(kind, u64(self.seq if numbered else 0) + body))

    def answered(self):
        """All that was said has arrived, and the link lives."""
        self.wait(lambda: self.acked == self.seq)


def tests_of(body):
    """Numbers of the tests of a BUNDLE."""
    r, tests = Reader(body), set()
    for _ in range(6):
        r.u32()
    for _ in range(r.u32()):  # the spread
        r.u32(), r.u32()
    for _ in range(r.u32()):
        r.bytes()
        for _ in range(r.u32()):
            tests.add(r.u32())
            r.u32()
            r.bytes()
    return tests


def death(bundle, attempt, test):
    return u32(0, bundle, attempt, test, NONE) + text("") + bytes([1, 1]) + u32(9) + u64(0) * 3 + text("") * 2


def lie(w, tests):
    """It tells of tests that another host has, in every way there is."""
    mine = set().union(*(tests_of(b) for b in w.bundles))
    others = [t for t in range(tests) if t not in mine]
    if not mine or not others:
        sys.exit("dealt all there is, or nothing: %s" % mine)
    told = '{"nodeid":"x","file":"x","outcome":"failed","phase":"call","counts":{"failed":1},"message":"a lie"}'
    for test in others:
        for bundle in range(2 * tests):
            for attempt in (0, 1, 2):
                w.say(REPORT, u32(0, bundle, attempt, test) + b"\x06" + text(told))
                w.say(STARTED, u32(0, bundle, attempt, test), False)
                w.say(DEATH, death(bundle, attempt, test))
        w.say(NOTE, u32(0, NONE) + text('{"kind":"missing","path":"x","test":%d,"nodeid":"x","found":[]}' % test))
    for bundle in range(2 * tests):
        held = any(b[:4] == u32(bundle) for b in w.bundles)
        for attempt in (0, 1, 2) if not held else ():
            w.say(DONE, u32(0, bundle, attempt))
            w.say(STOLEN, u32(0, bundle, attempt, len(others)) + u32(*others))
        if not held:
            w.say(RECALLED, u32(bundle) + b"\x01")
    w.answered()
    return len(others)


def report(link, tests):
    w = Worker(link)
    w.wait(lambda: w.bundles)
    w.settle()
    print("lied about", lie(w, int(tests)), "tests of others")
    for i in range(10000):
        w.say(REPORT, u32(i, i, 1, 1000000 + i) + b"\x06" + text('{"outcome":"failed"}'))
    w.answered()
    print("told of 10,000 tests that do not exist")
    piece = OUTPUT, u32(0, NONE, NONE) + text(b"x" * (256 << 10))
    for _ in range(512):
        w.say(*piece)
    w.answered()
    print("wrote 128 MiB")


def endless(link, path):
    """Says things for ever and reads nothing, until the file is there or the master has had enough."""
    w = Worker(link)
    print("joined", flush=True)
    with contextlib.suppress(ssl.SSLError, OSError):
        for turn in range(10**9):
            if turn == 100:
                print("said 100 MB", flush=True)
            if os.path.exists(path):
                return
            for _ in range(100):
                w.say(REPORT, u32(0, 0, 1, 1000000) + b"\x06" + text("{" + " " * 10000 + "}"))
    print("cut off")


def go_wrong(link, how):
    w = Worker(link)
    if how == "oversized":
        w.s.sendall(u32((16 << 20) + 1) + bytes([REPORT]) + bytes(1000))
    elif how == "truncated":
        w.s.sendall(frame(REPORT, u64(1) + bytes(100))[:-50])
        w.raw.shutdown(socket.SHUT_WR)
    elif how == "unknown":
        w.say(99, b"")
    elif how == "interleaved":  # a frame in the middle of another
        whole = frame(REPORT, u64(1) + u32(0, 0, 1, 1000000) + b"\x06" + text("x" * 1000))
        w.s.sendall(whole[:500] + whole + whole[500:])
    elif how == "jump":
        w.seq = 41
        w.say(DONE, u32(0, 0, 1))
    elif how == "renegotiate":  # a ClientHello in the clear, as a second handshake would begin
        first = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context().wrap_bio(ssl.MemoryBIO(), first).do_handshake()
        w.raw.sendall(first.read())
    else:
        sys.exit("what is %s?" % how)
    heard(w.s)
    print("cut off:", how)


# ---- floods ----
def many_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def half_open(where, i):
    s = socket.socket()
    s.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        s.connect(where)
    return s, (b"", b"\x16\x03\x01\x02\x00\x01", b"G", b"")[i % 4]


def flood(address, n, path):
    many_descriptors()
    host, port = address.rsplit(":", 1)
    where, n, made = (host, int(port)), int(n), 0
    poll, open_ones = select.poll(), {}

    def more():
        nonlocal made
        s, words = half_open(where, made)
        open_ones[s.fileno()] = [s, words]
        poll.register(s, select.POLLOUT | select.POLLIN if words else select.POLLIN)
        made += 1

    while len(open_ones) < n:
        more()
    print("open", flush=True)
    while not os.path.exists(path):
        for fd, what in poll.poll(50):
            s, words = open_ones[fd]
            gone = what & (select.POLLHUP | select.POLLERR)
            if words and not gone:
                with contextlib.suppress(OSError):
                    s.send(words)
                open_ones[fd][1] = b""
                poll.modify(s, select.POLLIN)
            elif gone or what & select.POLLIN:
                poll.unregister(s)
                del open_ones[fd]
                s.close()
                more()
    print("made", made)


def probe(address, n):
    many_descriptors()
    host, port = address.rsplit(":", 1)
    random.seed(2)
    words = [b"", b"\0" * 64, b"\xff" * 4096, b"GET / HTTP/1.0\r\n\r\n", random.randbytes(65536), u32(1 << 31) * 16]
    open_ones = []
    for i in range(int(n)):
        with contextlib.suppress(OSError):
            s = socket.create_connection((host, int(port)), 5)
            s.setblocking(False)
            open_ones.append(s)
            s.send(words[i % len(words)])
    print("made", len(open_ones))
    time.sleep(0.5)  # they stay open for a moment, all of them


def knock(place, uid):
    os.setgid(int(uid))
    os.setuid(int(uid))
    names = {line.split()[7] for line in open("/proc/net/unix").readlines()[1:] if len(line.split()) > 7}
    ours = [name for name in names if name.startswith((place, "@"))]
    for name in ours:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        try:
            s.connect("\0" + name[1:] if name[0] == "@" else name)
        except OSError:
            continue
        with contextlib.suppress(OSError):
            s.sendall(bytes(64))
            if s.recv(100):
                sys.exit("%s answers" % name)
        if name[0] != "@":
            sys.exit("%s can be reached" % name)
    print("knocked at %d" % len(ours))


def listen(path, *words):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
    s.settimeout(0.05)
    print("listening", flush=True)
    seen, packets = {word: 0 for word in words}, 0
    while True:
        try:
            packet = s.recv(1 << 16)
        except socket.timeout:
            if os.path.exists(path):
                break
            continue
        packets += 1
        for word in words:
            seen[word] += word.encode() in packet
    lost = struct.unpack("II", s.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS
    print("packets %d lost %d %s" % (packets, lost, " ".join("%s=%d" % (w.replace(" ", "_"), n) for w, n in seen.items())))


if __name__ == "__main__":
    {"strangers": strangers, "report": report, "endless": endless, "break": go_wrong, "flood": flood, "probe": probe, "listen": listen, "knock": knock}[sys.argv[1]](*sys.argv[2:])
