# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from motion.steppers import euler, leapfrog, travel


def energy(x, v):
    return (x * x + v * v) / 2


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_free_fall(steps):
    x, v = travel(leapfrog, 0.0, 0.0, lambda _: -9.81, 1 / steps, steps)[-1]
    assert v == pytest.approx(-9.81)
    assert x == pytest.approx(-9.81 / 2)


@pytest.mark.parametrize("stepper", [euler, leapfrog])
def test_converges(stepper, spring):
    x, _ = travel(stepper, 1.0, 0.0, spring, 1e-4, 10000)[-1]
    assert x == pytest.approx(math.cos(1.0), abs=1e-3)


def test_leapfrog_keeps_energy(spring):
    path = travel(leapfrog, 1.0, 0.0, spring, 0.01, 5000)
    assert max(abs(energy(*point) - 0.5) for point in path) < 1e-4


@pytest.mark.xfail(reason="Euler's steps spiral outwards", strict=True)
def test_euler_keeps_energy(spring):
    path = travel(euler, 1.0, 0.0, spring, 0.01, 5000)
    assert max(abs(energy(*point) - 0.5) for point in path) < 1e-4
