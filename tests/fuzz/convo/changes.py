# SPDX-License-Identifier: Apache-2.0
"""What is done to a conversation: a plan, made of a seed alone, and the way to the program under test, on which the plan is carried out.

A change is at one of four places: a *message* (of the control or the bulk stream, of the link inside TLS, or of the socket for groups), a *frame* of the
streams, a *byte* of all there is, or the *boot* line. It falls on the n-th of them that goes to the program."""
import random

from words import DATA, u32

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, (1 << 18) + 1, 1 << 20, (1 << 20) + 1, (4 << 20) + 1, (16 << 20) - 1, 16 << 20,
           (16 << 20) + 1, 1 << 30, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
BYTES = (0, 1, 2, 0x0A, 0x1B, 0x20, 0x2E, 0x2F, 0x7F, 0x80, 0x9B, 0xFE, 0xFF)
BOOT = (b"PTREMOTE-AGENT 2\n", b"PTREMOTE-AGENT 1", b"PTREMOTE-AGENT \x1b[2J\n", b"PTREMOTE-BOOT need x86_64\n" * 6, b"PTREMOTE-BOOT need \xff\x1b]0;x\x07\n",
        b"PTREMOTE-BOOT fail \x1b[2J: No space left on device\n", b"PTREMOTE-BOOT fail " + b"f" * 7000 + b"\n", b"PTREMOTE-BOOT what\n",
        b"noise\n" * 2000 + b"PTREMOTE-AGENT 1\n", b"n" * 70000, b"PTREMOTE-BOOT " + b"x" * 9000, b"\0" * 9000, b"PTREMOTE-AGENT 1\n" * 3)
# within one message or frame, and how often each is taken
INSIDE = {"flip": 6, "byte": 6, "number": 8, "size": 4, "cut": 3, "short": 4, "grow": 3, "insert": 3, "erase": 3, "type": 4, "lines": 2}
AROUND = {"drop": 5, "double": 3, "late": 4, "other": 4, "instead": 4, "flood": 1, "end": 2, "end within": 3, "end after": 2, "stall": 1, "stall within": 1}


def pick(rnd, table):
    return rnd.choices(list(table), list(table.values()))[0]


class Change:
    def __init__(self, place, at, how):
        self.place, self.at, self.how = place, at, how

    def __str__(self):
        return "%s %d: %s" % (self.place, self.at, self.how)


class Plan:
    """counts: how many messages, frames and bytes the unchanged conversation has in that direction."""

    def __init__(self, seed, counts, boot):
        self.rnd = rnd = random.Random("plan %s" % seed)
        self.changes = []
        for _ in range(rnd.choice((1, 1, 1, 2, 2, 3, 6))):
            place = rnd.choices(("message", "frame", "byte", "boot"), (60, 22, 16, 2 if boot else 0))[0]
            if place == "boot":
                self.changes.append(Change(place, 0, "words"))
            elif place == "byte":
                self.changes.append(Change(place, rnd.randrange(max(counts[place], 1)), pick(rnd, {"flip": 3, "byte": 3, "insert": 2, "erase": 2, "end": 2, "stall": 1})))
            else:
                how = pick(rnd, INSIDE if rnd.random() < 0.65 else AROUND)
                self.changes.append(Change(place, rnd.randrange(max(counts[place], 1)), how))
        self.always = rnd.random() < 0.3  # each connection that is made, not only the first
        self.pieces = rnd.random() < 0.05  # all comes in small pieces

    def __str__(self):
        return "; ".join(map(str, self.changes)) + (" (each connection)" if self.always else "") + (" (in pieces)" if self.pieces else "")

    @property
    def kinds(self):
        return ["%s/%s" % (c.place, c.how) for c in self.changes]


def overwrite(raw, at, new):
    return raw[:at] + new + raw[at + len(new):]


def sized(raw, head):
    """The same with the length that it has."""
    if head == 5:
        return u32(len(raw) - 4) + raw[4:] if len(raw) >= 5 else raw
    return overwrite(raw, 5, u32(len(raw) - 9)) if len(raw) >= 9 and raw[0] == DATA else raw


def inside(rnd, how, raw, head):
    """One message (head 5) or frame of the streams (head 9) with a change."""
    n = len(raw)
    body = head if n > head and rnd.random() < 0.85 else 0
    at = rnd.randrange(body, n) if n > body else 0
    if how == "flip":
        for _ in range(rnd.choice((1, 1, 2, 8))):
            at = rnd.randrange(body, n)
            raw = overwrite(raw, at, bytes([raw[at] ^ (1 << rnd.randrange(8))]))
    elif how == "byte":
        raw = overwrite(raw, at, bytes([rnd.choice(BYTES)]))
    elif how == "number":
        size = rnd.choice((2, 4, 4, 4, 8))
        raw = overwrite(raw, max(0, min(at, n - size)), rnd.choice(NUMBERS).to_bytes(8, "big")[-size:])
    elif how == "size":
        where = 0 if head == 5 else rnd.choice((1, 5))
        raw = overwrite(raw, where, u32(rnd.choice(NUMBERS + (n, n - 1, n - 4, n - 3, n - 5, n - 6)) & 0xFFFFFFFF))
    elif how == "cut":
        raw = raw[:at]
    elif how == "short":
        raw = sized(raw[:max(at, head)], head)
    elif how in ("grow", "insert"):
        more = rnd.choice((bytes(rnd.choice((1, 4, 64))), b"\xff" * 4, rnd.randbytes(rnd.choice((1, 4, 16, 4096))), raw[at:at + 64]))
        raw = raw + more if how == "grow" else raw[:at] + more + raw[at:]
        raw = sized(raw, head) if rnd.random() < 0.8 else raw
    elif how == "erase":
        raw = raw[:at] + raw[at + rnd.choice((1, 4, 4, 8, 32)):]
        raw = sized(raw, head) if rnd.random() < 0.8 else raw
    elif how == "type":
        raw = overwrite(raw, 4 if head == 5 else 0, bytes([rnd.choice((0, 255, rnd.randrange(256), rnd.randrange(1, 20), rnd.randrange(32, 47), rnd.randrange(64, 82)))]))
    elif how == "lines":  # words that a terminal or a log would take for something else
        raw = sized(overwrite(raw, at, rnd.choice((b"\n", b"\r\n\x1b[2J", b"\xe2\x80\xae", b"\x9b31m", b"../../..", b"/etc/x\0"))), head)
    return raw


class Way:
    """To the program under test. write(bytes) puts them on the way; what is said of messages and frames is counted, and changed as the plan has it."""

    def __init__(self, plan, write, pool):
        self.plan, self.put, self.pool = plan, write, pool
        self.n = {"message": 0, "frame": 0, "byte": 0}
        self.later = {"message": None, "frame": None}
        self.done = []  # what was changed, as it was and as it became
        self.over = None  # "end" or "stall": nothing more is said
        self.rnd = plan.rnd if plan else None

    def changes(self, place, n=1):
        at = self.n[place]
        self.n[place] += n
        return [c for c in self.plan.changes if c.place == place and at <= c.at < at + n] if self.plan else []

    def around(self, place, how, raw):
        """-> what is said instead."""
        rnd, pool = self.rnd, self.pool[place]
        if how == "drop":
            return []
        if how == "double":
            return [raw] * rnd.choice((2, 2, 3))
        if how == "late":
            self.later[place] = raw
            return []
        if how == "other":
            return [rnd.choice(pool), raw]
        if how == "instead":
            return [rnd.choice(pool)]
        if how == "flood":
            return [rnd.choice((raw, rnd.choice(pool)))] * rnd.choice((20, 300, 2000))
        self.over = how.split()[0]
        return [raw] if how.endswith("after") else [raw[:rnd.randrange(1, len(raw))]] if how.endswith("within") else []

    def changed(self, place, raw, head):
        late, self.later[place] = self.later[place], None
        out = [raw]
        changes = self.changes(place)
        for change in changes:
            if change.how in INSIDE:
                out = [inside(self.rnd, change.how, one, head) if one else one for one in out]
            elif out:
                out = self.around(place, change.how, out[0])
        if changes:
            self.done.append("%s %d, %s: %s -> %s%s" % (place, self.n[place] - 1, ", ".join(c.how for c in changes), raw[:80].hex(),
                                                       " ".join(one[:80].hex() for one in out[:3]), " (%d)" % len(out) if len(out) > 3 else ""))
        return out + ([late] if late else [])

    def message(self, raw, send):
        """send(bytes) puts it on its stream."""
        for one in self.changed("message", raw, 5) if not self.over else []:
            over, self.over = self.over, None  # what ends the conversation still gets through
            send(one)
            self.over = self.over or over

    def frame(self, raw):
        for one in self.changed("frame", raw, 9) if not self.over else []:
            over, self.over = self.over, None
            self.bytes(one)
            self.over = self.over or over

    def bytes(self, data):
        rnd = self.rnd
        if self.over:
            return
        start, was = self.n["byte"], data
        for change in self.changes("byte", len(data)):
            at = min(change.at - start, len(data) - 1)
            if at < 0:
                continue
            if change.how == "flip":
                data = overwrite(data, at, bytes([data[at] ^ (1 << rnd.randrange(8))]))
            elif change.how == "byte":
                data = overwrite(data, at, bytes([rnd.choice(BYTES)]))
            elif change.how == "insert":
                data = data[:at] + rnd.randbytes(rnd.choice((1, 9, 100))) + data[at:]
            elif change.how == "erase":
                data = data[:at] + data[at + rnd.choice((1, 5, 9, 100)):]
            else:
                data, self.over = data[:at], change.how
                break
        if data != was:
            self.done.append("byte %d: %s -> %s" % (start, was[:80].hex(), data[:80].hex()))
        self.put(data)
