# SPDX-License-Identifier: Apache-2.0
import pytest

from motion import units


@pytest.mark.parametrize(
    "text, value",
    [("1 m", 1.0), ("3.5 km", 3500.0), ("20 cm", 0.2), ("7 mm", 0.007), ("2 h", 7200.0), ("1.5 min", 90.0)],
)
def test_parse(text, value):
    assert units.parse(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["1", "1 parsec", "", "km 1"])
def test_parse_refuses(text):
    with pytest.raises(ValueError):
        units.parse(text)


@pytest.mark.parametrize("metres", [0.007, 0.2, 1.0, 42.0, 3500.0, -12.5])
def test_show_and_parse_agree(metres):
    assert units.parse(units.show(metres)) == pytest.approx(metres)


def test_zero_has_a_unit():
    assert units.show(0) == "0 m"
