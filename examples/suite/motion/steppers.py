# SPDX-License-Identifier: Apache-2.0
"""Ways to step x' = v, v' = a(x) through time."""


def euler(x, v, acceleration, dt):
    return x + v * dt, v + acceleration(x) * dt


def leapfrog(x, v, acceleration, dt):
    v += acceleration(x) * dt / 2
    x += v * dt
    return x, v + acceleration(x) * dt / 2


def travel(stepper, x, v, acceleration, dt, steps):
    """All positions and speeds on the way, the start included."""
    path = [(x, v)]
    for _ in range(steps):
        x, v = stepper(x, v, acceleration, dt)
        path.append((x, v))
    return path
