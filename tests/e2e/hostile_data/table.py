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
    """As much of it as a file's name may hold, and pytest takes for a part of one."""
    return data.replace(b"/", b"|").replace(b"\0", b"").replace(b"::", b":")


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


def hidden(char):
    """Does a terminal obey or hide it?"""
    code = ord(char)
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or code in (0x061C, 0x180E, 0xFEFF)
        or 0x200B <= code <= 0x200F
        or 0x2028 <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or 0xFFF9 <= code <= 0xFFFB
        or 0xE0000 <= code <= 0xE007F
    )


def write_json(path):
    """For the suite, which finds no header where it runs."""
    with open(path, "w", encoding="ascii") as out:
        json.dump({name: data.hex() for name, data in read().items()}, out)
