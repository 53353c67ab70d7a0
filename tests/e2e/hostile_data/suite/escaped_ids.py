# SPDX-License-Identifier: Apache-2.0
"""Ids that pytest makes of values, as it escapes them by itself."""
import pytest
from hostile import TABLE, TEXTS


@pytest.mark.parametrize("data", TABLE.values())
def test_bytes(data):
    assert data


@pytest.mark.parametrize("value", TEXTS.values())
def test_values(value):
    assert value


@pytest.mark.parametrize("name", TEXTS, ids=list(TEXTS.values()))
def test_names(name):
    assert name
