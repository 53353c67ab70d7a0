# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import struct

import harness
import pytest
from harness import wire

from ptremote import places, reports


def encode(bundle):
    body = struct.pack(">IIIIII", bundle.number, bundle.attempt, bundle.timeout_ms, bundle.rank, bundle.ranks, bundle.flags)
    body += struct.pack(">I", len(bundle.spread)) + b"".join(struct.pack(">II", *share) for share in bundle.spread)
    body += struct.pack(">I", len(bundle.files))
    for file in bundle.files:
        body += wire.field(file.path) + struct.pack(">I", len(file.tests))
        for test in file.tests:
            body += struct.pack(">II", test.test, test.occurrence) + wire.field(test.nodeid)
    return body


BUNDLE = wire.Bundle(
    7,
    2,
    30000,
    wire.NONE,
    3,
    1,
    [(4, 2), (1, 1)],
    [
        wire.BundleFile("a.py", [wire.BundleTest(1, 0, "a.py::é"), wire.BundleTest(9, 3, "a.py::x[::]")]),
        wire.BundleFile("b/c.py", []),
    ],
)


def test_a_bundle():
    decoded = wire.decode_bundle(wire.Reader(encode(BUNDLE)))
    assert (decoded.number, decoded.attempt, decoded.timeout_ms, decoded.rank, decoded.ranks, decoded.flags) == (7, 2, 30000, wire.NONE, 3, 1)
    assert [tuple(share) for share in decoded.spread] == [(4, 2), (1, 1)]
    assert [(file.path, [(t.test, t.occurrence, t.nodeid) for t in file.tests]) for file in decoded.files] == [
        ("a.py", [(1, 0, "a.py::é"), (9, 3, "a.py::x[::]")]),
        ("b/c.py", []),
    ]


def test_refuse_every_truncation():
    whole = encode(BUNDLE)
    for size in range(len(whole)):
        with pytest.raises(wire.Malformed):
            wire.decode_bundle(wire.Reader(whole[:size]))
    with pytest.raises(wire.Malformed):
        wire.decode_bundle(wire.Reader(whole + b"\0"))


def test_lengths_are_not_trusted():
    for at in range(12, len(encode(BUNDLE)) - 4):
        data = bytearray(encode(BUNDLE))
        data[at : at + 4] = b"\xff\xff\xff\xff"
        try:
            wire.decode_bundle(wire.Reader(bytes(data)))
        except wire.Malformed:
            pass


def test_frames():
    data = wire.frame(3, b"abc") + wire.frame(4)
    for size in range(8):
        assert wire.next_frame(bytearray(data[:size])) is None
    buffer = bytearray(data)
    kind, fields = wire.next_frame(buffer)
    assert (kind, bytes(fields.raw(3))) == (3, b"abc")
    assert wire.next_frame(buffer)[0] == 4 and not buffer
    for bad in (b"\0\0\0\0", b"\x01\0\0\x01"):
        with pytest.raises(wire.Malformed):
            wire.next_frame(bytearray(bad))


def test_numbers_are_those_of_the_header():
    """Every PT_R_, PT_F_ number, phase and outcome of message.h."""
    path = os.path.join(os.path.dirname(os.path.dirname(harness.SOURCE)), "src", "common", "message.h")
    with open(path) as file:
        text = file.read()
    for prefix in ("R", "F"):
        found = dict(re.findall(r"PT_%s_([A-Z]+) = (\d+)" % prefix, text))
        assert found and all(getattr(wire, "%s_%s" % (prefix, name)) == int(number) for name, number in found.items())
    phases = re.search(r"enum pt_phase \{(.*?)\}", text).group(1)
    assert [name.strip()[len("PT_PHASE_") :].lower() for name in phases.split(",")] == list(wire.PHASES)
    outcomes = re.search(r"enum pt_outcome \{(.*?)\}", text, re.DOTALL).group(1)
    names = re.findall(r"PT_OUTCOME_([A-Z]+)", outcomes)
    assert [name.lower() for name in names] == list(wire.OUTCOMES)
    for name, value in (("FRAME", wire.MAX_FRAME), ("PATH", wire.MAX_PATH), ("NODEID", wire.MAX_NODEID), ("TEXT", wire.MAX_TEXT)):
        left, shift = re.search(r"PT_MAX_%s\s+\((\d+)u << (\d+)\)" % name, text).groups()
        assert value == int(left) << int(shift)


@pytest.mark.parametrize(
    "value, seen",
    [
        ("plain", "plain"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
        ("a\0b", "a\\x00b"),
        ("\\u0000", "\\u0000"),
        ("\\\udcff", "\\\\xff"),
        ({1: float("nan")}, {"1": "nan"}),
        ({(1, 2): {3}}, {"(1, 2)": "{3}"}),
        ([1.5, True, None, b"x"], [1.5, True, None, "b'x'"]),
    ],
)
def test_json(value, seen):
    data = wire.dumps(value)
    assert b"\0" not in data and b"\\u0000" not in data.replace(b"\\\\u0000", b"")
    assert json.loads(data.decode("utf-8")) == seen


@pytest.mark.parametrize(
    "text", ["plain", "\\\\ and \\x9b", "a\0b", "\udcff\\\\\udc80", "half \ud83d of a pair \\", "\x1b[31m\u202e\n"]
)
def test_visible_text_is_what_json_tells(text):
    assert wire.visible(text) == json.loads(wire.dumps(text).decode("utf-8"))


def test_a_report_always_fits():
    huge = "é" * (3 << 20)
    nested = {
        "report": {
            "nodeid": "n",
            "longrepr": huge,
            "stdout": huge,
            "problems": [{"longrepr": huge, "sections": [["a", huge]] * 50}] * 2000,
            "junit": [["testcase", {"name": huge}, huge, []]] * 100,
        }
    }
    for value in (nested, nested["report"], {"longrepr": huge}, {"found": [huge] * 20}):
        data = reports.encode(value)
        assert len(data) <= wire.MAX_TEXT and json.loads(data.decode("utf-8"))


def test_paths_that_move():
    mapping = places.Mapping(["/home/me/pro.j", "/link/p"], "/there/w")
    for text, moved in [
        ("/home/me/pro.j", "/there/w"),
        ("/home/me/pro.j/tests/a.py::b", "/there/w/tests/a.py::b"),
        ("--rootdir=/home/me/pro.j", "--rootdir=/there/w"),
        ("-c/home/me/pro.j/x.ini", "-c/there/w/x.ini"),
        ("/home/me/pro.j/a:/link/p/b", "/there/w/a:/there/w/b"),
        ("/home/me/pro.j2/a", "/home/me/pro.j2/a"),
        ("/home/me/proxj/a", "/home/me/proxj/a"),
        ("/mnt/home/me/pro.j", "/mnt/home/me/pro.j"),
        ("relative/home/me/pro.j", "relative/home/me/pro.j"),
    ]:
        assert mapping.text(text) == moved
    assert mapping.there("/link/p/x") == "/there/w/x" and mapping.there("/else/x") == "/else/x"
    assert mapping.here("/there/w/x") == "/home/me/pro.j/x" and mapping.here("/there/wx") == "/there/wx"
