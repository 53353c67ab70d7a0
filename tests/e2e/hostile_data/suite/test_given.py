# SPDX-License-Identifier: Apache-2.0
"""What came along: files, links, the environment."""
import os

import pytest
from hostile import HERE, NAMES, TABLE

ROOT = os.fsencode(HERE)


@pytest.mark.parametrize("folder", ["extra", "ignored"])
def test_files(folder):
    assert sorted(os.listdir(os.path.join(ROOT, folder.encode()))) == sorted(NAMES.values())
    for name, odd in NAMES.items():
        with open(os.path.join(ROOT, folder.encode(), odd), "rb") as found:
            assert found.read() == TABLE[name]


def test_links():
    for odd in NAMES.values():
        assert os.readlink(os.path.join(ROOT, b"links", odd)) == odd


@pytest.mark.parametrize("name", [name for name, data in TABLE.items() if b"\0" not in data])
def test_environment(name):
    assert os.environb[b"HOSTILE_" + name.encode()] == TABLE[name]


def test_nothing_was_obeyed():
    for folder, _, files in os.walk(ROOT):
        assert b"pwned" not in files
