# SPDX-License-Identifier: Apache-2.0
import pytest


def test_comes_back(year):
    assert abs(year[-1][0] - year[0][0]) < 1e-4


@pytest.mark.parametrize("quarter, where", enumerate([1, 1j, -1, -1j]))
def test_quarters(year, quarter, where):
    assert abs(year[quarter * 500][0] - where) < 1e-4


def test_stays_on_the_circle(year):
    assert all(abs(abs(position) - 1) < 1e-4 for position, _ in year)


@pytest.mark.slow
def test_sweeps_equal_areas(year):
    areas = [(a.conjugate() * b).imag / 2 for (a, _), (b, _) in zip(year, year[1:])]
    assert max(areas) - min(areas) < 1e-8


def test_sums_agree_with_numpy(year):
    numpy = pytest.importorskip("numpy", reason="numpy is not installed here")
    positions = numpy.array([position for position, _ in year])
    assert abs(positions[:-1].mean()) < 1e-4
