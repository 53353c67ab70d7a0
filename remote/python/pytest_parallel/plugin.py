# SPDX-License-Identifier: Apache-2.0
"""What pytest loads where pytest_parallel is installed, or named by -p: its fixtures, and its options, which decide
nothing here. PYTEST_DONT_REWRITE"""
import pytest

from ptremote import mpi, options
from ptremote.mpi import CollectiveTemporaryDirectory

__all__ = ["CollectiveTemporaryDirectory"]


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(parser):
    yield
    options.accept_parallel(parser)


def pytest_configure(config):
    mpi.register(config)
