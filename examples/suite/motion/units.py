# SPDX-License-Identifier: Apache-2.0
"""Lengths and times with their units."""

FACTORS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse(text):
    """'3.5 km' -> 3500.0 (metres or seconds)."""
    number, _, unit = text.strip().partition(" ")
    if unit not in FACTORS:
        raise ValueError(f"unknown unit {unit!r} in {text!r}")
    return float(number) * FACTORS[unit]


def show(metres):
    """3500.0 -> '3.5 km'."""
    for unit in ("km", "m", "cm", "mm"):
        if abs(metres) >= FACTORS[unit]:
            return f"{metres / FACTORS[unit]:g} {unit}"
    return f"{metres:g} m"
