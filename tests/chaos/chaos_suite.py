# SPDX-License-Identifier: Apache-2.0
"""The suite of the chaos test: 2,000 tests in 100 files, each with an outcome that its name tells. Every execution leaves two lines in a file
of its host: `B` when it begins, `E` when it has ended, with the time, the process and the node id."""
import os
import subprocess

FILES, EACH = 100, 20
TESTS = FILES * EACH

# kind: its outcome, how many of a thousand, the text of the test
KINDS = {
    "passes": ("passed", 560, "    time.sleep(0.03)\n"),
    "naps": ("passed", 220, "    time.sleep({nap})\n"),
    "fails": ("failed", 50, "    assert {n} < 0\n"),
    "skips": ("skipped", 50, '    pytest.skip("wants to")\n'),
    "xfails": ("xfailed", 40, "    assert {n} < 0\n"),
    "breaks_in_setup": ("error", 30, "    pass\n"),
    "breaks_in_teardown": ("error", 20, "    pass\n"),
    "leaves_a_process": ("passed", 10, '    subprocess.Popen(["sleep", "600"], start_new_session=True)\n'),
    "crashes": ("crashed", 20, "    os.abort()\n"),
}
MARKS = {"xfails": "@pytest.mark.xfail\n"}
FIXTURES = {"breaks_in_setup": "no_setup", "breaks_in_teardown": "no_teardown"}

CONFTEST = '''\
import os
import time

import pytest


def tell(what, item):
    path = os.environ.get("CHAOS_RAN")
    if path:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, ("%s %.6f %d %s\\n" % (what, time.time(), os.getpid(), item.nodeid)).encode())
        os.close(fd)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    tell("B", item)
    yield
    tell("E", item)


@pytest.fixture
def no_setup():
    raise RuntimeError("no set-up")


@pytest.fixture
def no_teardown():
    yield
    raise RuntimeError("no tear-down")
'''


def test_text(random, kind, n):
    nap = "%.3f" % random.uniform(0.05, 0.2)
    return "%sdef test_%s_%d(%s):\n%s" % (MARKS.get(kind, ""), kind, n, FIXTURES.get(kind, ""), KINDS[kind][2].format(n=n, nap=nap))


def write_suite(folder, random):
    """-> {nodeid: outcome}, in order."""
    expected = {}
    os.mkdir(folder)
    subprocess.run(["git", "init", "-q", folder], check=True)
    names, weights = list(KINDS), [weight for _, weight, _ in KINDS.values()]
    with open(folder + "/conftest.py", "w") as file:
        file.write(CONFTEST)
    with open(folder + "/pytest.ini", "w") as file:
        file.write("[pytest]\n")
    for number in range(FILES):
        path = "test_%03d.py" % number
        kinds = random.choices(names, weights, k=EACH)
        texts = [test_text(random, kind, n) for n, kind in enumerate(kinds)]
        with open("%s/%s" % (folder, path), "w") as file:
            file.write("\n\n".join(["import os\nimport subprocess\nimport time\n\nimport pytest\n", *texts]))
        for n, kind in enumerate(kinds):
            expected["%s::test_%s_%d" % (path, kind, n)] = KINDS[kind][0]
    return expected
