# SPDX-License-Identifier: Apache-2.0
"""Frames and numbers of src/common/message.h, and JSON that every decoder takes.

A frame is u32 length of what follows, u8 type, fields; str and bytes are u32 length and bytes.
Whatever was received is bounded and checked: a malformed message raises Malformed.
"""
import array
import codecs
import json
import os
import re
import socket
import struct

MAX_FRAME = 16 << 20
MAX_PATH = 64 << 10
MAX_NODEID = 1 << 20
MAX_TEXT = 4 << 20

# enum pt_runner
R_SESSION, R_BUNDLE, R_QUIT, R_STEAL = 1, 2, 3, 4
R_UP, R_CAPTURE, R_IMPORT, R_START, R_REPORT, R_NOTE, R_DONE, R_BROKEN, R_ENDED, R_STOLEN, R_DIED, R_PLACE, R_FAILED = range(16, 29)
NONE = 0xFFFFFFFF  # any rank
# enum pt_fork
F_RUN, F_KILL = 1, 2
F_PID, F_EXIT, F_FAIL = 16, 17, 18
# enum pt_phase
PHASES = ("collect", "setup", "call", "teardown", "session")
COLLECT, SETUP, CALL, TEARDOWN, SESSION = range(5)
# enum pt_outcome
OUTCOMES = tuple("none passed skipped xfailed xpassed notrun lost error failed timeout crashed".split())
GRAVITY = {name: number for number, name in enumerate(OUTCOMES)}


class Malformed(Exception):
    """What was received is not a message."""


class Reader:
    """The fields of one message, in order."""

    def __init__(self, data):
        self._data = memoryview(data)
        self._at = 0

    def raw(self, size):
        if size > len(self._data) - self._at:
            raise Malformed("message ends too early")
        part = self._data[self._at : self._at + size]
        self._at += size
        return part

    def u8(self):
        return self.raw(1)[0]

    def u32(self):
        return struct.unpack(">I", self.raw(4))[0]

    def u32s(self, packed):
        """Several at once: a struct.Struct of them."""
        return packed.unpack(self.raw(packed.size))

    def u64(self):
        return struct.unpack(">Q", self.raw(8))[0]

    def bytes(self, most=MAX_FRAME):
        size = self.u32()
        if size > most:
            raise Malformed("field of %d bytes" % size)
        return bytes(self.raw(size))

    def str(self, most):
        data = self.bytes(most)
        if b"\0" in data:
            raise Malformed("text with a NUL")
        return data.decode("utf-8", "surrogateescape")

    def count(self, least):
        """How many entries of at least so many bytes follow."""
        number = self.u32()
        if number > (len(self._data) - self._at) // least:
            raise Malformed("%d entries do not fit" % number)
        return number

    def end(self):
        if self._at != len(self._data):
            raise Malformed("%d bytes too many" % (len(self._data) - self._at))


class BundleTest:
    __slots__ = ("test", "occurrence", "nodeid")

    def __init__(self, test, occurrence, nodeid):
        self.test = test
        self.occurrence = occurrence
        self.nodeid = nodeid


class BundleFile:
    __slots__ = ("path", "tests")

    def __init__(self, path, tests):
        self.path = path
        self.tests = tests


class Bundle:
    """struct pt_bundle."""

    def __init__(self, number, attempt, timeout_ms, rank, ranks, flags, spread, files):
        self.number = number
        self.attempt = attempt
        self.timeout_ms = timeout_ms
        self.rank = rank
        self.ranks = ranks  # of MPI that run each test together
        self.flags = flags
        self.spread = spread  # [(host, ranks)] in rank order; empty: all ranks are here
        self.files = files


_TEST = struct.Struct(">II")


def decode_bundle(reader):
    number, attempt, timeout_ms, rank = reader.u32(), reader.u32(), reader.u32(), reader.u32()
    ranks, flags = reader.u32(), reader.u32()
    spread = [reader.u32s(_TEST) for _ in range(reader.count(8))]
    files = []
    for _ in range(reader.count(8)):
        path = reader.str(MAX_PATH)
        tests = []
        for _ in range(reader.count(12)):
            tests.append(BundleTest(*reader.u32s(_TEST), reader.str(MAX_NODEID)))
        files.append(BundleFile(path, tests))
    reader.end()
    return Bundle(number, attempt, timeout_ms, rank, ranks, flags, spread, files)


def field(data):
    """A str or bytes field."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape").replace(b"\0", b"?")
    return struct.pack(">I", len(data)) + data


def frame(kind, body=b""):
    return struct.pack(">IB", len(body) + 1, kind) + body


def next_frame(buffer):
    """Take the first whole frame off a bytearray: (type, Reader), or None when more bytes are needed."""
    if len(buffer) < 4:
        return None
    size = int.from_bytes(buffer[:4], "big")
    if not 1 <= size <= MAX_FRAME:
        raise Malformed("frame of %d bytes" % size)
    if len(buffer) < 4 + size:
        return None
    data = bytes(buffer[4 : 4 + size])
    del buffer[: 4 + size]
    return data[0], Reader(data[1:])


def receive(sock, size, most_fds=4):
    """Up to size bytes and the descriptors that came with them, which are closed on exec."""
    space = socket.CMSG_SPACE(most_fds * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise Malformed("too many descriptors")
    return data, list(fds)


# ---- JSON ----


def _shown(char):
    """A character that UTF-8 cannot hold, as text that it can: \\xNN for a byte that came in undecoded."""
    code = ord(char)
    return "\\x%02x" % (code - 0xDC00) if 0xDC80 <= code <= 0xDCFF else "\\u%04x" % code


def _visible(error):
    """The same inside a string of JSON."""
    return "".join("\\" + _shown(char) for char in error.object[error.start : error.end]), error.end


codecs.register_error("ptremote-visible", _visible)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str).encode


def _clean(value):
    """Without what a C string or strict JSON cannot hold: NUL, NaN."""
    if isinstance(value, str):
        return value.replace("\0", "\\x00")
    if isinstance(value, dict):
        return {_clean(str(key)): _clean(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(part) for part in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _clean(str(value))


def dumps(value):
    """JSON as UTF-8 bytes."""
    try:
        text = _encode(value)
        if "\\u0000" in text:
            text = _encode(_clean(value))
    except (ValueError, TypeError):
        text = _encode(_clean(value))
    return text.encode("utf-8", "ptremote-visible")


def visible(text):
    """The text as the far side of dumps() reads it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = re.sub("[\ud800-\udfff]", lambda match: _shown(match.group()), text)
    return text.replace("\0", "\\x00")


def undecoded(path):
    """A path that dumps() made visible, as the file system has it."""
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match.group(1), 16)), path)
