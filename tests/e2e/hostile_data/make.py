# SPDX-License-Identifier: Apache-2.0
"""make.py FOLDER: a project full of hostile strings, for plain pytest and for ptremote."""
import os
import sys

import table

HERE = os.path.dirname(os.path.abspath(__file__))


TEST = b"""\
from hostile import TABLE

def test_it():
    assert TABLE

class TestIt:
    def test_in(self):
        assert False, "as it should"
"""


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(data)


def main(folder):
    strings = table.read()
    os.makedirs(folder, exist_ok=True)
    table.write_json(os.path.join(folder, b"hostile.json"))
    for name in os.listdir(os.path.join(HERE, "suite")):
        if not name.startswith("__"):
            with open(os.path.join(HERE, "suite", name), "rb") as source:
                put(os.path.join(folder, os.fsencode(name.replace("_ini", ".ini"))), source.read())
    for name, data in strings.items():
        odd = table.file_name(data)
        put(os.path.join(folder, b"extra", odd), data)
        put(os.path.join(folder, b"ignored", odd), data)
        os.makedirs(os.path.join(folder, b"links"), exist_ok=True)
        os.symlink(odd, os.path.join(folder, b"links", odd))
        put(os.path.join(folder, b"tests " + odd, b"test_" + odd + b".py"), TEST)


main(os.fsencode(sys.argv[1]))
