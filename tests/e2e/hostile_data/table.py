# SPDX-License-Identifier: Apache-2.0
"""The hostile strings of tests/unit/hostile_strings.h, and what becomes of them."""
import ast
import json
import os
import re

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../unit/hostile_strings.h")
LONG = 1 << 20


def read():
    """{name: bytes}"""
    table = {}
    with open(HEADER, encoding="ascii") as header:
        for name, literals in re.findall(r'^HOSTILE\((\w+),((?:\s*"(?:[^"\\]|\\.)*")+)\)', header.read(), re.M):
            parts = re.findall(r'"(?:[^"\\]|\\.)*"', literals)
            table[name] = b"".join(ast.literal_eval("b" + part) for part in parts)
    assert len(table) > 15
    return table


def text(data):
    """As Python has it from the file system or the command line."""
    return data.decode("utf-8", "surrogateescape")


def file_name(data):
    """As much of it as a file's name may hold."""
    return data.replace(b"/", b"|").replace(b"\0", b"")


def visible(value):
    """How a text of Python's stands in JSON, XML and the ledger: what UTF-8 and C strings cannot hold is escaped."""
    shown = []
    for char in value:
        code = ord(char)
        if code == 0:
            shown.append("\\x00")
        elif 0xDC80 <= code <= 0xDCFF:
            shown.append("\\x%02x" % (code - 0xDC00))
        elif 0xD800 <= code <= 0xDFFF:
            shown.append("\\u%04x" % code)
        else:
            shown.append(char)
    return "".join(shown)


# What a terminal obeys or hides, but for ends of lines and tabs.
HIDDEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def write_json(path):
    """For the suite, which finds no header where it runs."""
    with open(path, "w", encoding="ascii") as out:
        json.dump({name: data.hex() for name, data in read().items()}, out)
