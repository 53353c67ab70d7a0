# SPDX-License-Identifier: Apache-2.0
"""Marks, and tests that take their process with them."""
import os

import pytest
from hostile import TABLE, TEXTS

GROUPS = [pytest.param(name, marks=pytest.mark.xdist_group(text)) for name, text in TEXTS.items()]
LABELS = [pytest.param(name, marks=pytest.mark.needs(text)) for name, text in TEXTS.items()]


@pytest.mark.parametrize("name", GROUPS)
def test_in_group(name):
    assert name


@pytest.mark.parametrize("name", LABELS)
def test_impossible(name):
    assert name


@pytest.mark.parametrize("name", ["escapes", "nul", "turned"], ids=[TEXTS["escapes"], TEXTS["nul"], TEXTS["turned"]])
def test_crashes(name):
    os.write(2, TABLE[name])
    os.abort()
