# SPDX-License-Identifier: Apache-2.0
"""For test suites that ptremote runs; they also run under plain pytest."""

__version__ = "0.1.0"
__all__ = ["mark"]


def __getattr__(name):
    # pytest is imported when a suite asks for a mark, not before: helpers import this package too.
    if name == "mark":
        import pytest

        return pytest.mark
    raise AttributeError("module %r has no attribute %r" % (__name__, name))
