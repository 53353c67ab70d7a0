# SPDX-License-Identifier: Apache-2.0
"""The wire as docs/protocol.md has it, as far as a man in the middle needs it: frames, streams, and what some messages say."""
import struct

OPEN, DATA, CREDIT, CLOSE = 1, 2, 3, 4
CONTROL, BULK, FIRST = 0, 1, 16  # streams
WINDOW = 1 << 20
NONE = 0xFFFFFFFF
PROTOCOL = 6

SETUP, TOOLS, MANIFEST, LAUNCH, COLLECT, STOP, PING = 1, 2, 3, 4, 5, 6, 7
END_WORKERS, SURVEY, LISTEN, PROBE, PEERS, RELAY, ATTACH, RELINK, LINGER, BOUND, CLEAN = 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
READY, MISSING, TREE, NEED, SYNCED, RESEND, LAUNCHED, EXITED, LOG, FAIL, PONG, STOPPED, PYTHON = range(64, 77)
ATTACHED, CLEANED = 80, 81
TOOL, WHOLE, ARCHIVE, PIECE, END, DELTA, SEGMENT = range(1, 8)  # of the bulk stream
HELLO, WELCOME, REFUSED, SESSION, BUNDLE, ACK, RECALL, CANCEL, QUIT, LIMITS, STEAL, DROP, SIZES = range(1, 14)
STARTED, REPORT, DEATH, NOTE, DONE, BROKEN, RECALLED, BYE, JOIN, STOLEN, OUTPUT, RANKS, FALL, GOT, WAITS = range(32, 47)
LINK_STREAM, COLLECT_STREAM = 1, 2


def u32(*numbers):
    return struct.pack(">%dI" % len(numbers), *numbers)


def u64(*numbers):
    return struct.pack(">%dQ" % len(numbers), *numbers)


def text(words):
    words = words.encode() if isinstance(words, str) else words
    return u32(len(words)) + words


def frame(kind, body=b""):
    return u32(1 + len(body)) + bytes([kind]) + body


def mux(kind, stream, value, data=b""):
    return bytes([kind]) + u32(stream, value) + data


class Broken(Exception):
    """What came is not what the protocol allows."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Broken("a message that is too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return int.from_bytes(self.take(4), "big")

    def u64(self):
        return int.from_bytes(self.take(8), "big")

    def bytes(self):
        return self.take(self.u32())


class Frames:
    """Bytes in, whole (type, body) out."""

    def __init__(self):
        self.raw = b""

    def feed(self, data):
        self.raw += data
        got = []
        while len(self.raw) >= 5:
            n = int.from_bytes(self.raw[:4], "big")
            if not 0 < n <= 16 << 20:
                raise Broken("a frame of %d bytes" % n)
            if len(self.raw) < 4 + n:
                break
            got.append((self.raw[4], self.raw[5:4 + n]))
            self.raw = self.raw[4 + n:]
        return got


class Streams:
    """Bytes in, whole (kind, stream, value, data) out."""

    def __init__(self):
        self.raw = b""

    def feed(self, data):
        self.raw += data
        got, at = [], 0
        while len(self.raw) - at >= 9:
            kind, stream, value = self.raw[at], *struct.unpack_from(">II", self.raw, at + 1)
            n = value if kind == DATA else 0
            if not OPEN <= kind <= CLOSE or n > 256 << 10:
                raise Broken("kind %d, stream %d, value %d" % (kind, stream, value))
            if len(self.raw) - at < 9 + n:
                break
            got.append((kind, stream, value, self.raw[at + 9:at + 9 + n]))
            at += 9 + n
        self.raw = self.raw[at:]
        return got


def ready_of(body):
    r = Reader(body)
    r.take(4), r.bytes(), r.take(12), r.bytes()
    return {name: r.bytes() for name in ("cache", "workspace", "dir")}


class Setup:
    """The fields of SETUP, to be changed."""
    NAMES = ("protocol", "run", "host", "slots", "project", "cwd", "python", "mpirun", "init", "hash_seed", "silence_ms", "linger_ms", "flags", "shared",
             "proof", "secret", "preload")
    NUMBERS = ("protocol", "host", "slots", "silence_ms", "linger_ms", "flags")

    def __init__(self, body):
        r = Reader(body)
        for name in self.NAMES:
            setattr(self, name, r.u32() if name in self.NUMBERS else r.bytes())
        self.rest = body[r.at:]

    def body(self):
        return b"".join(u32(getattr(self, name)) if name in self.NUMBERS else text(getattr(self, name)) for name in self.NAMES) + self.rest


class Launch:
    def __init__(self, body):
        r = Reader(body)
        self.launch, self.slots = r.u32(), r.u32()
        self.cert, self.key, self.ca, self.address, self.share = (r.bytes() for _ in range(5))


def tests_of(body):
    """-> bundle, attempt, and (number, node id) of each test of a BUNDLE."""
    r, tests = Reader(body), []
    bundle, attempt = r.u32(), r.u32()
    r.take(16)
    for _ in range(r.u32()):
        r.take(8)
    for _ in range(r.u32()):
        r.bytes()
        for _ in range(r.u32()):
            number, _, nodeid = r.u32(), r.u32(), r.bytes()
            tests.append((number, nodeid.decode("utf-8", "replace")))
    return bundle, attempt, tests
