# SPDX-License-Identifier: Apache-2.0
import cmath
import time

import pytest

from motion import steppers


@pytest.fixture(scope="session")
def year():
    """One turn of a planet around its sun, in units where both are 1: computed once a worker."""
    time.sleep(0.2)
    steps = 2000
    dt = 2 * cmath.pi / steps
    return steppers.travel(steppers.leapfrog, 1 + 0j, 1j, lambda z: -z / abs(z) ** 3, dt, steps)


@pytest.fixture
def spring():
    """The acceleration of a unit mass on a unit spring."""
    return lambda x: -x
