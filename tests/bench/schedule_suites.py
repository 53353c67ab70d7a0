# SPDX-License-Identifier: Apache-2.0
"""The suites that are run: each a folder that is a project of its own."""
import os
import shutil
import subprocess

PACKAGES = "/usr/lib/python3/dist-packages"


class Suite:
    """`parts`: what of it is run; `tests`: how many tests that is, where it was made here."""

    def __init__(self, path, files, tests=None):
        self.path, self.parts, self.tests = path, [], tests
        for name, text in files.items():
            where = os.path.join(path, name)
            os.makedirs(os.path.dirname(where), exist_ok=True)
            with open(where, "w") as f:
                f.write(text)
        subprocess.run(["git", "init", "-q", path], check=True)

    def forget(self):
        """As if it had never been run here."""
        shutil.rmtree(f"{self.path}/.ptremote", ignore_errors=True)


def package(folder, name):
    """An installed package with its tests."""
    path = f"{folder}/{name}"
    shutil.copytree(f"{PACKAGES}/{name}", f"{path}/{name}", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return Suite(path, {})


def trivial(folder, files, each):
    """One-line tests."""
    one = "".join(f"def test_{n:04}():\n    pass\n\n\n" for n in range(each))
    made = {f"tests/test_{n:03}.py": one for n in range(files)}
    return Suite(f"{folder}/trivial-{files}-{each}", {"pytest.ini": "[pytest]\n", **made}, tests=files * each)


LONG = """import time

import pytest


@pytest.mark.parametrize("n", range(60))
def test_long(n):
    time.sleep({seconds})
"""
BRIEF = """import time


def test_brief():
    time.sleep({seconds})
"""


def sleepy(folder, short=1):
    """One file of 60 tests of a second, 100 files of one of a fifth of a second; and the seconds of all."""
    second, fifth = 1 / short, 0.2 / short
    files = {f"tests/test_brief_{n:03}.py": BRIEF.format(seconds=fifth) for n in range(100)}
    files["tests/test_the_long_one.py"] = LONG.format(seconds=second)
    return Suite(f"{folder}/sleepy", {"pytest.ini": "[pytest]\n", **files}, tests=160), 60 * second + 100 * fifth


CONFTEST = """import os
import time

import pytest


def told(words):
    with open(os.environ["BENCH_SET_UP"], "a") as f:
        f.write(words + "\\n")


@pytest.fixture(scope="session", autouse=True)
def of_session():
    told("session")


@pytest.fixture(scope="module")
def of_module(request):
    told(request.node.nodeid)
    time.sleep(0.02)
"""
WITH_FIXTURES = """import time


def test_one(of_module):
    time.sleep(0.02)


def test_two(of_module):
    time.sleep(0.02)
"""


def fixtures(folder):
    """100 files that write down in $BENCH_SET_UP which fixtures are set up."""
    files = {f"tests/test_{n:03}.py": WITH_FIXTURES for n in range(100)}
    return Suite(f"{folder}/fixtures", {"pytest.ini": "[pytest]\n", "conftest.py": CONFTEST, **files}, tests=200)
