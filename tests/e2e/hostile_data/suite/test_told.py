# SPDX-License-Identifier: Apache-2.0
"""What tests say, in every way they can."""
import logging
import os
import sys
import unittest
import warnings

import pytest
from hostile import LONG, TABLE, TEXTS

SAID = dict(TEXTS, long=LONG, half="half \ud83d of a pair")
every = pytest.mark.parametrize("name", SAID)


@every
def test_prints(name):
    print(SAID[name])
    print(SAID[name], file=sys.stderr)
    assert name == "none", "shown"


@pytest.mark.parametrize("name", TABLE)
def test_writes(name):
    os.write(1, TABLE[name])
    os.write(2, TABLE[name])
    assert not name


@every
def test_logs(name):
    logging.getLogger(name).warning("%s", SAID[name])
    assert not name


@every
def test_raises(name):
    raise RuntimeError(SAID[name])


@every
def test_asserts(name):
    assert SAID[name] == "something else"


@every
def test_fails(name):
    pytest.fail(SAID[name], pytrace=False)


@every
def test_skips(name):
    pytest.skip(SAID[name])


@every
def test_xfails(name):
    pytest.xfail(SAID[name])


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xfail(reason=text)) for name, text in SAID.items()])
def test_xpasses(name):
    pass


@every
def test_warns(name):
    warnings.warn(SAID[name])


@every
def test_records(name, record_property):
    record_property(name, SAID[name])


@pytest.fixture
def broken(name):
    yield
    raise ValueError(SAID[name])


@every
def test_ends(name, broken):
    pass


class TestUnit(unittest.TestCase):
    def test_it(self):
        self.fail(TEXTS["escapes"])
