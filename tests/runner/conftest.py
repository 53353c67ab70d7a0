# SPDX-License-Identifier: Apache-2.0
"""`tree`: the tests run with the installed pytest, and with the source trees that PTREMOTE_PYTEST_TREES names.

    PTREMOTE_PYTEST_TREES=/src/pytest8:/src/pytest9    (each with _pytest, pytest, pluggy, iniconfig, packaging)
"""
import os
import re
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402


def pytest_sessionstart():
    """The processes that tests start write no byte code. Sessions that do this at the same time put whole files in place."""
    subprocess.run([harness.PYTHON, "-m", "compileall", "-qq", harness.SOURCE], stdin=subprocess.DEVNULL)


def _version(tree):
    with open(os.path.join(tree, "_pytest", "_version.py")) as file:
        return re.search(r"version = .*?[\"']([\d.]+)", file.read()).group(1)


def _trees():
    yield pytest.param(None, id="installed")
    named = {_version(tree): tree for tree in os.environ.get("PTREMOTE_PYTEST_TREES", "").split(":") if tree}
    for version, tree in sorted(named.items()):
        yield pytest.param(tree, id=version)
    for major in ("8", "9"):
        if not any(version.startswith(major + ".") for version in named):
            reason = "PTREMOTE_PYTEST_TREES names no tree of pytest " + major
            yield pytest.param(None, id=major, marks=pytest.mark.skip(reason=reason))


@pytest.fixture(params=_trees())
def tree(request):
    return request.param


@pytest.fixture(params=("session", "bundle", "test"))
def isolate(request, monkeypatch):
    """Everything that harness.run() does in this test is isolated so."""
    monkeypatch.setattr(harness, "ISOLATE", request.param)
    return request.param


def major(tree):
    return int((_version(tree) if tree else pytest.__version__).partition(".")[0])
