# SPDX-License-Identifier: Apache-2.0
"""For test suites that ptremote runs; they also run under plain pytest (`-p ptremote`: it knows marks and fixtures)."""

__version__ = "0.1.0"
__all__ = ["mark"]


def __getattr__(name):
    # pytest is imported when a suite asks for a mark, not before: helpers import this package too.
    if name == "mark":
        from ptremote import marks

        return marks.MARKS
    raise AttributeError("module %r has no attribute %r" % (__name__, name))


def pytest_configure(config):
    from ptremote import marks

    marks.register(config)
