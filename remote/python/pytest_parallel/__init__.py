# SPDX-License-Identifier: Apache-2.0
"""Answers to the name of pytest_parallel where ptremote runs tests, so that suites written for it run unchanged: its
mark, its fixtures (ptremote/mpi.py), and a plugin that schedules nothing. PYTEST_DONT_REWRITE"""
from . import mark

__version__ = "0"
__all__ = ["mark"]
