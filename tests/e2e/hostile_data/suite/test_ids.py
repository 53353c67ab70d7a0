# SPDX-License-Identifier: Apache-2.0
import pytest
from hostile import LONG, TEXTS


@pytest.mark.parametrize("name", TEXTS, ids=list(TEXTS.values()))
def test_text(name):
    assert TEXTS[name]


@pytest.mark.parametrize("n", [1], ids=[LONG[: (1 << 20) - 100]])
def test_long(n):
    pass
