# SPDX-License-Identifier: Apache-2.0
"""The rows of tests/bench/schedule are in schedule_rows.py."""
import schedule_rows
import whole

whole.main("schedule", "Measures whole runs against pytest and pytest-xdist; prints one table.", schedule_rows.ROWS, "xdist")
