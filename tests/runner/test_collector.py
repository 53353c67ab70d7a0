# SPDX-License-Identifier: Apache-2.0
"""What the collector tells, and when."""
import os
import re
import subprocess

import conftest
import harness
import pytest
from ptremote import looking

SUITE = {
    "test_a.py": "import pytest\ndef test_1(): pass\n@pytest.mark.slow\ndef test_2(): pass\n",
    "test_b.py": "def test_3(): pass\ndef test_4(): pass\n",
    "sub/test_c.py": "class TestC:\n    def test_5(self): pass\n",
}
MARKS = {"pytest.ini": "[pytest]\nmarkers = slow\n"}


def ids_of_pytest(project, *args, cwd=None, tree=None, env=None):
    """What plain pytest would run, in its order."""
    command = [harness.PYTHON, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *args]
    out = subprocess.run(command, cwd=cwd or project, env=harness.environment(tree, **(env or {})), stdout=subprocess.PIPE)
    return [line for line in out.stdout.decode().splitlines() if "::" in line]


CHOICES = [
    [],
    ["-k", "test_1 or test_5"],
    ["-m", "slow"],
    ["-m", "not slow", "-k", "not 3"],
    ["--deselect", "test_b.py::test_4", "--deselect=sub"],
    ["sub", "test_a.py"],
    ["test_b.py::test_4", "test_a.py::test_1"],
    ["test_a.py::test_1", "sub/test_c.py::TestC", "test_a.py"],
    ["test_a.py", "test_a.py"],
    ["--ignore=test_b.py"],
    ["--ignore-glob=*b.py", "."],
    ["-o", "python_functions=test_1 test_4"],
    ["-p", "no:doctest"],
]


@pytest.mark.parametrize("args", CHOICES, ids=" ".join)
def test_the_choice_is_that_of_pytest(tmp_path, tree, args):
    project = harness.write(tmp_path / "project", dict(SUITE, **MARKS))
    found = harness.collect(project, *args, tree=tree)
    assert [nodeid for nodeid, _ in found.order] == ids_of_pytest(project, *args, tree=tree)
    told = sorted(test for tests in found.files().values() for test in tests)
    assert told == sorted(found.order) and found.status == 0
    assert found.one("final").get("exit") == (None if told else 5)
    assert found.one("session")["streaming"] is True


def test_k_and_m_of_ours(tmp_path, tree):
    project = harness.write(tmp_path / "project", dict(SUITE, **MARKS))
    found = harness.collect(project, tree=tree, k="test_1 or test_2", m="not slow")
    assert found.order == [("test_a.py::test_1", 0)]
    assert found.one("final")["deselected"] == 4 and found.one("final")["collected"] == 5


def test_nothing_chosen(tmp_path, tree):
    project = harness.write(tmp_path / "project", SUITE)
    found = harness.collect(project, "-k", "nothing", tree=tree)
    assert found.one("final") == {"t": "final", "order": [], "deselected": 5, "collected": 5, "exit": 5}


def test_an_error_at_the_end_of_the_session_changes_nothing(tmp_path, tree):
    files = dict(SUITE, **{"conftest.py": "def pytest_sessionfinish(): 1 / 0\n"})
    found = harness.collect(harness.write(tmp_path / "project", files), tree=tree)
    assert len(found.order) == 5 and found.lines[-1]["t"] == "final" and found.status == 0


def test_files_come_while_others_are_imported(tmp_path, tree):
    project = harness.write(tmp_path / "project", SUITE)
    kinds = [(line["t"], line.get("path")) for line in harness.collect(project, tree=tree).lines]
    assert kinds[0][0] == "session" and kinds[-1][0] == "final"
    files = [path for kind, path in kinds if kind == "importing"]
    for path, following in zip(files, files[1:]):
        assert kinds.index(("file", path)) < kinds.index(("importing", following))


def test_paths_from_anywhere(tmp_path, tree):
    project = harness.write(tmp_path / "project", dict(SUITE, **MARKS))
    sub = os.path.join(project, "sub")
    for args, cwd in [([], sub), ([".."], sub), (["../test_a.py"], sub), ([os.path.join(project, "test_b.py")], "/")]:
        found = harness.collect(project, *args, cwd=cwd, tree=tree)
        assert [nodeid for nodeid, _ in found.order] == ids_of_pytest(project, *args, cwd=cwd, tree=tree) != []


WAITS = {
    "a conftest": ({"conftest.py": "def pytest_collection_modifyitems(items): items.reverse()\n"}, [], "conftest.py implements"),
    "a wrapper": (
        {
            "conftest.py": "import pytest\n@pytest.hookimpl(hookwrapper=True)\n"
            "def pytest_collection_modifyitems(items):\n    yield\n    items.reverse()\n"
        },
        [],
        "conftest.py implements",
    ),
    "a conftest below": (
        {"sub/conftest.py": "def pytest_collection_modifyitems(items): items.reverse()\n"},
        [],
        "sub/conftest.py implements pytest_collection_modifyitems",
    ),
    "a plugin": (
        {"conftest.py": "pytest_plugins = 'ours'\n", "ours.py": "def pytest_collection_modifyitems(items): items.reverse()\n"},
        [],
        "ours implements",
    ),
    "who listens": ({"conftest.py": "def pytest_deselected(items): pass\n"}, [], "implements pytest_deselected"),
    "--lf": ({}, ["--lf"], "--lf chooses"),
    "--ff": ({}, ["--ff"], "--ff chooses"),
    "--nf": ({}, ["--nf"], "--nf chooses"),
    "--sw": ({}, ["--sw"], "--sw chooses"),
}


@pytest.mark.parametrize("case", sorted(WAITS))
def test_what_has_to_wait_for_the_end(tmp_path, tree, case):
    files, args, why = WAITS[case]
    project = harness.write(tmp_path / "project", dict(SUITE, **files))
    found = harness.collect(project, *args, tree=tree)
    session = found.one("session")
    assert session["streaming"] is False and why in session["why"]
    mine, plain = [nodeid for nodeid, _ in found.order], ids_of_pytest(project, tree=tree)
    assert mine == plain or (case == "--nf" and sorted(mine) == sorted(plain))
    kinds = [line["t"] for line in found.lines]
    assert "importing" not in kinds[kinds.index("session") :]
    assert list(found.files()) == list(dict.fromkeys(nodeid.partition("::")[0] for nodeid, _ in found.order))


@pytest.mark.parametrize("request_, why", [({"stream": "never"}, "asked to wait"), ({"strict": True}, "--strict-collection")])
def test_told_to_wait(tmp_path, request_, why):
    found = harness.collect(harness.write(tmp_path / "project", SUITE), **request_)
    assert why in found.one("session")["why"] and len(found.order) == 5


def test_told_not_to_wait(tmp_path, tree):
    """The hook only adds marks, the user says."""
    hook = "import pytest\ndef pytest_collection_modifyitems(items):\n    for item in items: item.add_marker(pytest.mark.seen)\n"
    project = harness.write(tmp_path / "project", dict(SUITE, **{"conftest.py": hook}))
    found = harness.collect(project, tree=tree, stream="always")
    assert found.one("session")["streaming"] is True and len(found.order) == 5


RUNSLOW = """import pytest


def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    for item in items:
        for name in ("slow", "very_slow"):
            if name in item.keywords:
                item.add_marker(pytest.mark.weight(3))
                item.add_marker(pytest.mark.chosen)
                break
"""
LOOKER = "def pytest_collection_modifyitems(items):\n    for item in items: item.add_marker('seen')\n"


def test_a_hook_that_only_looks(tmp_path, tree):
    """It marks tests one by one: files are told as they come, with what the marks say."""
    slow = "import pytest\n@pytest.mark.very_slow\ndef test_slow(): pass\ndef test_fast(): pass\n"
    files = dict(SUITE, **{"conftest.py": RUNSLOW, "sub/conftest.py": LOOKER, "test_s.py": slow})
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    kinds = [line["t"] for line in found.lines]
    assert found.one("session")["streaming"] is True
    assert kinds.index("file") < len(kinds) - 1 - kinds[::-1].index("importing")
    assert [nodeid for nodeid, _ in found.order] == ids_of_pytest(project, tree=tree)
    told = {test[0]: test[2] if len(test) > 2 else {} for line in found.of("file") for test in line["tests"]}
    assert {nodeid for nodeid, traits in told.items() if traits.get("weight") == 3} == {"test_a.py::test_2", "test_s.py::test_slow"}
    for hook in (RUNSLOW, RUNSLOW.replace("trylast=True", "")):
        harness.write(project, {"conftest.py": hook})
        plain = ids_of_pytest(project, "-m", "chosen and very_slow", tree=tree)
        assert [nodeid for nodeid, _ in harness.collect(project, "-m", "chosen and very_slow", tree=tree).order] == plain
    assert plain == ["test_s.py::test_slow"]


def test_what_such_a_hook_warns_of(tmp_path, tree):
    """Once for each test, as often as plain pytest."""
    hook = "import warnings\ndef pytest_collection_modifyitems(items):\n    for item in items: warnings.warn(DeprecationWarning(item.name))\n"
    project = harness.write(tmp_path / "project", dict(SUITE, **{"conftest.py": hook}))
    found = harness.collect(project, tree=tree)
    assert found.one("session")["streaming"] is True
    warned = [line["message"] for line in found.of("warning") if line["category"] == "DeprecationWarning"]
    assert sorted(warned) == sorted(nodeid.rpartition("::")[2] for nodeid, _ in found.order)


LOOKS = {
    "marks": ("for item in items: item.add_marker('x')", True),
    "returns": ("if config: return\n    for item in items:\n        while True: break", True),
    "calls": ("for item in items: mark(item)", True),
    "nothing": ("pass", True),
    "sorts": ("items.sort()", False),
    "assigns": ("items[:] = []", False),
    "deletes": ("del items[0]", False),
    "passes on": ("mark(items)", False),
    "another name": ("tests = items", False),
    "ends early": ("for item in items:\n        if item: break", False),
    "ends early, deeper": ("for item in items:\n        with item:\n            if item: return", False),
    "counts": ("global n\n    for item in items: n += 1", False),
    "tells": ("for item in items: config.hook.pytest_deselected([item])", False),
    "yields": ("yield", False),
    "comprehends": ("x = [item for item in items]", False),
}


@pytest.mark.parametrize("case", sorted(LOOKS))
def test_which_hooks_only_look(case):
    body, looks = LOOKS[case]
    text = "def mark(item): pass\ndef pytest_collection_modifyitems(config, items):\n    %s\n" % body
    assert looking.text_by_item(text) is looks


def test_texts_that_name_the_hook_otherwise():
    hook = "def pytest_collection_modifyitems(items): pass\n"
    assert looking.text_by_item(hook) and looking.text_by_item("@pytest.hookimpl(trylast=True)\n" + hook)
    for text in (
        "@pytest.hookimpl(hookwrapper=True)\n" + hook,
        "@decorated\n" + hook,
        hook.replace("(items)", "(session, items)"),
        "if True:\n    " + hook,
        "async " + hook,
        hook + "x = 'pytest_collection_modifyitems'\n",
        "from ours import pytest_collection_modifyitems\n",
        "class Plugin:\n    " + hook,
        hook + "def broken(\n",
    ):
        assert not looking.text_by_item(text), text


def test_a_hook_that_comes_with_a_test_file(tmp_path, tree):
    """Found out too late for what was told; the order at the end has the last word."""
    files = {
        "test_a.py": "def test_1(): pass\n",
        "test_b.py": "pytest_plugins = 'late'\ndef test_2(): pass\n",
        "test_c.py": "def test_3(): pass\n",
        "late.py": "def pytest_collection_modifyitems(items):\n    del items[0]\n    items.reverse()\n",
    }
    found = harness.collect(harness.write(tmp_path / "project", files), tree=tree)
    assert found.order == [("test_c.py::test_3", 0), ("test_b.py::test_2", 0)]
    assert set(found.files()) == {"test_a.py", "test_b.py", "test_c.py"}


def test_a_conftest_below_that_breaks(tmp_path, tree):
    files = {
        "bad/conftest.py": "import not_there\n",
        "bad/test_x.py": "def test_x(): pass\n",
        "bad/deep/test_y.py": "def test_y(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    plain = harness.Plain(project, tree=tree)
    found = harness.collect(project, tree=tree)
    assert found.order == [] and len(found.of("report")) == plain.counts()["error"]
    for line in found.of("report"):
        assert line["outcome"] == "error" and line["problems"][0]["headline"] in plain.text


def test_last_failed(tmp_path, tree):
    files = dict(SUITE, **{"test_b.py": "def test_3(): assert 0\ndef test_4(): pass\n"})
    project = harness.write(tmp_path / "project", files)
    subprocess.run([harness.PYTHON, "-m", "pytest", "-q"], cwd=project, env=harness.environment(tree), stdout=subprocess.DEVNULL)
    found = harness.collect(project, "--lf", tree=tree)
    assert found.order == [("test_b.py::test_3", 0)]
    assert harness.collect(project, "--lf", tree=tree).order == found.order
    assert harness.collect(project, "--ff", tree=tree).order[0] == found.order[0]


def test_what_failed_last_is_told(tmp_path, tree):
    files = dict(SUITE, **{"test_b.py": "def test_3(): assert 0\ndef test_4(): pass\n"})
    project = harness.write(tmp_path / "project", files)
    run = [harness.PYTHON, "-m", "pytest", "-q"]
    subprocess.run(run, cwd=project, env=harness.environment(tree), stdout=subprocess.DEVNULL)
    remembered = open(f"{project}/.pytest_cache/v/cache/lastfailed").read()
    everything = harness.collect(project, tree=tree).order
    failed = {str(project): ["test_b.py::test_4", "test_gone.py::test_it"], "/elsewhere": ["test_a.py::test_1"]}
    found = harness.collect(project, tree=tree, last_failed=True, failed=failed)
    assert found.order == [("test_b.py::test_4", 0)]
    found = harness.collect(project, tree=tree, failed_first=True, failed=failed)
    assert found.order[0] == ("test_b.py::test_4", 0) and sorted(found.order) == sorted(everything)
    assert found.of("session")[0]["ordered"]
    assert harness.collect(project, tree=tree, last_failed=True).order == everything
    none = harness.collect(project, "--last-failed-no-failures=none", tree=tree, last_failed=True, failed={})
    assert none.order == []
    assert open(f"{project}/.pytest_cache/v/cache/lastfailed").read() == remembered
    found = harness.collect(project, "-p", "no:cacheprovider", tree=tree, last_failed=True, failed=failed)
    assert found.of("fail")[0]["exit"] == 4


FAILS = {
    "no such path": (["nowhere.py"], {}, 4, "ERROR: file or directory not found: nowhere.py"),
    "no such test": (["test_a.py::test_9"], {}, 4, "ERROR: not found: "),
    "no such option": (["--no-such"], {}, 4, "error: unrecognized arguments: --no-such"),
    "a wrong expression": (["-k", "a b ("], {}, 4, "ERROR: Wrong expression passed to '-k'"),
    "a broken conftest": ([], {"conftest.py": "import not_there\n"}, 4, "ImportError while loading conftest '"),
    "a conftest that is no Python": ([], {"conftest.py": "def (\n"}, 4, "SyntaxError"),
    "a broken ini": ([], {"pytest.ini": "[pytest]\naddopts = --no-such\n"}, 4, "inifile: "),
    "exit at the start": ([], {"conftest.py": "import pytest\ndef pytest_configure(): pytest.exit('bye')\n"}, 2, "bye"),
    "exit on the way": (
        [],
        {"conftest.py": "import pytest\ndef pytest_collectstart(): pytest.exit('bye', returncode=9)\n"},
        9,
        "Exit: bye",
    ),
    "an error in a hook": ([], {"conftest.py": "def pytest_sessionstart(): 1 / 0\n"}, 3, "INTERNALERROR> ZeroDivisionError"),
    "--pdb": (["--pdb"], {}, 4, "--pdb needs a terminal"),
    "--collect-only": (["--collect-only"], {}, 4, "use --dry-run"),
}


@pytest.mark.parametrize("case", sorted(FAILS))
def test_failures_in_the_words_of_pytest(tmp_path, tree, case):
    args, files, status, words = FAILS[case]
    found = harness.collect(harness.write(tmp_path / "project", dict(SUITE, **files)), *args, tree=tree)
    line = found.one("fail")
    assert words in line["text"] and line["exit"] == found.status == status, line
    assert not found.of("final") and found.lines[-1] is line


CRASHES = {"test_b.py": "import os\nprint('bye')\nos._exit(3)\n"}


@pytest.mark.parametrize("args", [[], ["test_a.py", "test_b.py"], ["test_b.py::test_3", "sub"], ["test_b.py"]])
def test_a_file_that_ends_the_collector(tmp_path, tree, args):
    project = harness.write(tmp_path / "project", dict(SUITE, **CRASHES))
    found = harness.collect(project, *args, tree=tree)
    assert found.lines[-1] == {"t": "importing", "path": "test_b.py"} and found.status == 3
    again = harness.collect(project, *args, tree=tree, skip_files=["test_b.py"])
    expected = [
        (nodeid, 0)
        for nodeid in ("test_a.py::test_1", "test_a.py::test_2", "sub/test_c.py::TestC::test_5")
        if not args or nodeid.partition("/")[0].partition("::")[0] in args
    ]
    assert sorted(again.order) == sorted(expected) and again.status == 0
    assert ("importing", "test_b.py") not in [(line["t"], line.get("path")) for line in again.lines]


def test_a_file_that_prints(tmp_path, tree):
    """What files write goes nowhere near what we say."""
    noise = "import os, sys\nprint('{\"t\": \"fail\"}')\nos.write(1, b'{\"t\": \"fail\"}\\n')\nos.system('echo noise')\n"
    noise += "for fd in range(3, 20):\n    try: os.write(fd, b'')\n    except OSError: pass\n"
    noise += "if os.fork() == 0:\n    sys.exit(1)\ndef test_x(): pass\n"
    found = harness.collect(harness.write(tmp_path / "project", {"test_a.py": noise}), tree=tree)
    assert found.order == [("test_a.py::test_x", 0)] and not found.of("fail")
    found = harness.collect(str(tmp_path / "project"), "-s", tree=tree)
    assert found.order == [("test_a.py::test_x", 0)]


def test_the_session_line(tmp_path, tree):
    files = dict(SUITE, **{"pytest.ini": "[pytest]\nmarkers = slow\njunit_suite_name = ours\n"})
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, "-rA", "-v", "--junitxml=x.xml", "--show-capture=log", tree=tree, verbosity=1)
    line = found.one("session")
    assert line["root"] == project and line["verbosity"] == 2 and line["report_chars"] == "A"
    assert line["show_capture"] == "log" and "maxfail" not in line
    assert line["junit"]["suite_name"] == "ours" and line["junit"]["family"] == "xunit2"
    assert any(text.startswith("rootdir: " + project) for text in line["header"])
    assert any(text.startswith("platform linux -- Python ") for text in line["header"])
    assert line["session"]["homes"] == [project] and line["session"]["front"][0] == os.path.join(project, "sub") or (
        conftest.major(tree) < 8 and line["session"]["front"][0] == project
    )


def test_what_the_whole_collection_added(tmp_path, tree):
    """Told before it happened when streaming: the same folders, in the same order."""
    files = {
        "conftest.py": "",
        "a/conftest.py": "",
        "a/test_a.py": "def test_a(): pass\n",
        "b/c/test_b.py": "def test_b(): pass\n",
        "b/conftest.py": "",
        "p/__init__.py": "",
        "p/test_p.py": "def test_p(): pass\n",
        "build/test_no.py": "def test_no(): pass\n",
        "left/out/test_no.py": "def test_no(): pass\n",
        "test_z.py": "def test_z(): pass\n",
    }
    project = harness.write(tmp_path / "project", files)
    before = harness.collect(project, "--ignore=left", tree=tree).session
    after = harness.collect(project, "--ignore=left", tree=tree, stream="never").session
    assert before["conftests"] == after["conftests"] != []
    assert [path for path in before["front"] if path != project] == [path for path in after["front"] if path != project]
    names = [os.path.relpath(path, project) for path in after["front"]]
    assert set(names) - {"."} == {"a", "b", "b/c"}


def test_on_a_host(tmp_path, tree):
    """--collect remote: the request has the paths at home, and descriptor 4 is for the lines."""
    project = harness.write(tmp_path / "there", dict(SUITE, **MARKS))
    env = {"PTREMOTE_WORKSPACE": project}
    found = harness.collect(project, "/home/me/project/sub", tree=tree, env=env, project="/home/me/project")
    assert found.order == [("sub/test_c.py::TestC::test_5", 0)]
    assert found.session["homes"] == [project] and found.session["args"] == [os.path.join(project, "sub")]


def test_a_suite_that_imports_mpi_on_a_host(tmp_path, tree):
    """Its folder of Open MPI is no runner's."""
    writes = "import os\nopen(%r, 'w').write(os.environ['OMPI_MCA_orte_tmpdir_base'])\n" % str(tmp_path / "said")
    project = harness.write(tmp_path / "there", dict(SUITE, **{"conftest.py": writes}))
    env = {"PTREMOTE_WORKSPACE": project, "PTREMOTE_RUN_DIR": "/run/of/it", "OMPI_MCA_orte_tmpdir_base": "/run/of/it"}
    harness.collect(project, tree=tree, env=env)
    assert re.fullmatch("/run/of/it/alone-[0-9]+", (tmp_path / "said").read_text())


def test_the_folder_of_a_collector_goes_with_it(tmp_path, tree):
    """Also when whoever made it is gone; not with a process that it forks, and none that the user chose."""
    looks = "import os, sys\nif os.fork() == 0:\n    sys.exit()\nos.wait()\nos.makedirs(os.environ['OMPI_MCA_orte_tmpdir_base'] + '/ompi.1')\n"
    project = harness.write(tmp_path / "project", dict(SUITE, **{"conftest.py": looks}))
    for name, stays in (("ptremote-mpi.a1B2c3", False), ("mine", True)):
        folder = tmp_path / name
        folder.mkdir()
        found = harness.collect(project, tree=tree, env={"OMPI_MCA_orte_tmpdir_base": str(folder)})
        assert found.of("final") and folder.exists() == stays


def test_through_a_link(tmp_path):
    """A project that is reached through a link has two names, and both are moved."""
    project = harness.write(tmp_path / "real", dict(SUITE, **MARKS))
    link = tmp_path / "link"
    link.symlink_to(project)
    path = str(link / "sub")
    found = harness.collect(project, path, cwd=str(link), env={"PWD": str(link)})
    assert found.session["homes"] == [project, str(link)]


def test_without_pytest(tmp_path):
    (tmp_path / "site").mkdir()
    harness.write(tmp_path / "site", {"pytest.py": "raise ImportError('hidden')\n"})
    found = harness.collect(harness.write(tmp_path / "project", SUITE), tree=str(tmp_path / "site"))
    assert "has no pytest" in found.one("fail")["text"]


def test_an_id_that_fits_into_no_message(tmp_path, tree):
    text = "import pytest\n\n@pytest.mark.parametrize('n', [1, 2], ids=['x' * (1 << 20), 'short'])\ndef test_it(n):\n    pass\n"
    found = harness.collect(harness.write(tmp_path / "project", {"test_long.py": text}), tree=tree)
    assert [test[0] for test in found.one("file")["tests"]] == ["test_long.py::test_it[short]"]
    assert "more than 1 MiB" in found.one("report")["message"] and found.one("report")["nodeid"] == "test_long.py"


def test_names_that_are_no_text(tmp_path, tree):
    project = harness.write(tmp_path / "project", SUITE)
    with open(os.path.join(os.fsencode(project), b"test_\xff.py"), "w") as file:
        file.write("def test_odd(): pass\n")
    found = harness.collect(project, tree=tree)
    assert ("test_\\xff.py::test_odd", 0) in found.order
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, project)
    assert result.reports["test_\\xff.py::test_odd", 0]["outcome"] == "passed"


TRAITS = {
    "pytest.ini": "[pytest]\naddopts = --strict-markers\nmarkers = slow\n",
    "test_a.py": "import pytest, ptremote\n"
    "@pytest.mark.weight(3)\ndef test_heavy(): pass\n"
    "@ptremote.mark.exclusive('run')\ndef test_alone(): pass\n"
    "@ptremote.mark.needs('gpu', 'docker')\nclass TestThere:\n"
    "    @ptremote.mark.needs('disk')\n    def test_more(self): pass\n"
    "    @ptremote.mark.weight(n=1)\n    def test_plain(self): pass\n"
    "    class TestInner:\n        @pytest.mark.parametrize('x', ['a::b'])\n        def test_x(self, x): pass\n"
    "@pytest.mark.xdist_group('b')\n@pytest.mark.xdist_group(name='a')\ndef test_grouped(): pass\n"
    "@pytest.mark.xdist_group\ndef test_default(): pass\n"
    "def test_nothing(): pass\n",
    "sub/test_ä.py": "import pytest\npytestmark = pytest.mark.exclusive('host')\n"
    "class TestÖ:\n    def test_1(self): pass\n    @pytest.mark.exclusive('run')\n    def test_2(self): pass\n",
}


def traits_of(found):
    return {test[0]: (test[2] if len(test) > 2 else {}) for line in found.of("file") for test in line["tests"]}


def test_traits(tmp_path, tree):
    project = harness.write(tmp_path / "project", TRAITS)
    there, inner = len("test_a.py::TestThere"), len("test_a.py::TestThere::TestInner")
    expected = {
        "test_a.py::test_heavy": {"weight": 3},
        "test_a.py::test_alone": {"exclusive": "run"},
        "test_a.py::TestThere::test_more": {"needs": ["disk", "docker", "gpu"], "scope": there},
        "test_a.py::TestThere::test_plain": {"needs": ["docker", "gpu"], "scope": there},
        "test_a.py::TestThere::TestInner::test_x[a::b]": {"needs": ["docker", "gpu"], "scope": inner},
        "test_a.py::test_grouped": {"group": "a_b"},
        "test_a.py::test_default": {"group": "default"},
        "test_a.py::test_nothing": {},
        "sub/test_ä.py::TestÖ::test_1": {"exclusive": "host", "scope": len("sub/test_ä.py::TestÖ".encode())},
        "sub/test_ä.py::TestÖ::test_2": {"exclusive": "run", "scope": len("sub/test_ä.py::TestÖ".encode())},
    }
    found = harness.collect(project, tree=tree)
    assert traits_of(found) == expected and not found.of("report"), found.lines
    assert traits_of(harness.collect(project, tree=tree, stream="never")) == expected
    chosen = harness.collect(project, "-m", "needs and not weight", tree=tree)
    assert [nodeid for nodeid, _ in chosen.order] == [
        "test_a.py::TestThere::test_more",
        "test_a.py::TestThere::TestInner::test_x[a::b]",
    ]


BAD_MARKS = {
    "weight(0)": "want a whole number of slots from 1",
    "weight('2')": "want a whole number",
    "weight(True)": "want a whole number",
    "weight()": "want one whole number of slots, got ()",
    "weight(2, 3)": "want one whole number of slots, got (2, 3)",
    "weight(slots=2)": "got (slots=2)",
    "exclusive": 'want "host" or "run", got ()',
    "exclusive('machine')": """want "host" or "run", got ('machine')""",
    "needs": "want one or more labels of hosts",
    "needs('g p u')": "'g p u' is no label",
    "needs(['gpu'])": "['gpu'] is no label",
    "xdist_group('')": "want a name",
}


@pytest.mark.parametrize("mark", sorted(BAD_MARKS))
def test_marks_that_are_wrong(tmp_path, mark):
    """One error for a mark, naming the first test that has it; none of its tests is run, the others are."""
    text = "import pytest\n@pytest.mark.%s\nclass TestA:\n    def test_1(self): pass\n    def test_2(self): pass\n" % mark
    project = harness.write(tmp_path / "project", {"test_a.py": text + "def test_3(): pass\n"})
    found = harness.collect(project)
    line = found.one("report")
    name = mark.partition("(")[0]
    assert line["message"].startswith("test_a.py::TestA::test_1: mark %s: " % name) and BAD_MARKS[mark] in line["message"]
    assert (line["outcome"], line["phase"], line["counts"]) == ("error", "collect", {"error": 1})
    assert found.order == [("test_a.py::test_3", 0)] and found.one("final")["deselected"] == 0


def test_marks_under_plain_pytest(tmp_path, tree):
    project = harness.write(tmp_path / "project", TRAITS)
    command = [harness.PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "ptremote"]
    path = os.pathsep.join(filter(None, [tree, harness.SOURCE]))
    done = subprocess.run(command, cwd=project, env=harness.environment(PYTHONPATH=path), stdout=subprocess.PIPE)
    assert done.returncode == 0 and b"10 passed" in done.stdout, done.stdout.decode()


def test_plugins_that_mark_item_by_item_hold_nothing_back(tmp_path):
    pytest.importorskip("hypothesis")
    files = {
        "test_a.py": "from hypothesis import given, strategies as st\n@given(st.integers())\ndef test_1(n): pass\n"
        "def test_2(): pass\n"
    }
    found = harness.collect(harness.write(tmp_path / "project", files), "-m", "hypothesis")
    assert found.one("session")["streaming"] is True and found.order == [("test_a.py::test_1", 0)]
