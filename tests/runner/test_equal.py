# SPDX-License-Identifier: Apache-2.0
"""Suites that are run by plain pytest and by the runner: outcomes, counts and JUnit testcases are the same."""
import os
import re

import conftest
import harness
import pytest

pytestmark = pytest.mark.usefixtures("isolate")


@pytest.fixture(params=("session", "test"))
def isolate(request, monkeypatch):
    """A process for each bundle is forked as one for each test is: what differs is in test_isolate.py."""
    monkeypatch.setattr(harness, "ISOLATE", request.param)
    return request.param

OUTCOMES = """
import os, sys, pytest, unittest, warnings

@pytest.fixture
def bad_end():
    yield
    assert 0, "bad end"

@pytest.fixture
def bad_start():
    print("starting badly")
    raise ValueError("bad start")

def test_passes(): print("all is well")
def test_fails(): print("oh"); sys.stderr.write("no\\n"); assert [1] == [2]
def test_bad_start(bad_start): pass
def test_bad_end(bad_end): pass
def test_fails_twice(bad_end): assert 0, "first"
def test_skips(): pytest.skip("no reason")
@pytest.mark.skip(reason="marked")
def test_marked(): pass
@pytest.mark.skipif(True, reason="conditional")
def test_conditional(): pass
@pytest.mark.xfail(reason="known")
def test_xfails(): assert 0
@pytest.mark.xfail(reason="known")
def test_xpasses(): pass
@pytest.mark.xfail(strict=True)
def test_strict(): pass
def test_xfail_inside(): pytest.xfail("inside")
def test_exits(): sys.exit(3)
def test_fail_function(): pytest.fail("not\\nthis\\nway", pytrace=False)

class TestUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.there = 1
    def setUp(self): self.here = 1
    def test_a(self): self.assertEqual(self.here, self.there)
    def test_b(self): self.assertEqual(1, 2)
    @unittest.skip("unittest")
    def test_c(self): pass
    @unittest.expectedFailure
    def test_d(self): assert 0
    @unittest.expectedFailure
    def test_e(self): pass
    def test_subs(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 5)

class TestBad(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError("class")
    def test_a(self): pass
    def test_b(self): pass
"""


def test_outcomes(tmp_path, tree):
    result = harness.compare(tmp_path, {"test_outcomes.py": OUTCOMES}, tree=tree)
    told = {nodeid.rpartition("::")[2]: report for (nodeid, _), report in result.reports.items()}
    assert told["test_fails"]["message"] == "assert [1] == [2]"
    assert told["test_fails"]["stdout"] == "oh\n" and told["test_fails"]["stderr"] == "no\n"
    assert "At index 0 diff: 1 != 2" in told["test_fails"]["longrepr"]
    assert told["test_fails"]["problems"][0]["sections"] == [
        ["Captured stdout call", "oh\n"],
        ["Captured stderr call", "no\n"],
    ]
    assert told["test_bad_end"]["outcome"] == "error" and told["test_bad_end"]["phase"] == "teardown"
    assert told["test_bad_end"]["counts"] == {"passed": 1, "error": 1}
    assert told["test_bad_start"]["problems"][0]["headline"] == "ERROR at setup of test_bad_start"
    assert told["test_fails_twice"]["outcome"] == "failed" and len(told["test_fails_twice"]["junit"]) == 2
    assert told["test_skips"]["skip"][0] == "test_outcomes.py" and told["test_skips"]["skip"][2] == "no reason"
    assert told["test_xfails"]["message"] == "known"
    assert told["test_passes"]["phase"] == "call" and told["test_passes"]["stdout"] == "all is well\n"
    for report in told.values():
        for problem in report.get("problems", []):
            rule = r"^_+ %s _+\n" % re.escape(problem["headline"])
            (printed,) = re.findall(rule + "(%s\n)" % re.escape(steady(problem["longrepr"])), steady(result.plain.text), re.M)
            assert printed


def test_options_of_the_report(tmp_path, tree):
    files = {
        "pytest.ini": "[pytest]\njunit_family = xunit1\njunit_logging = all\njunit_log_passing_tests = false\n",
        "test_a.py": "import sys, logging\n"
        "def test_a(record_property, record_xml_attribute, record_testsuite_property):\n"
        "    record_property('size', 4); record_xml_attribute('assertions', 'three')\n"
        "    record_testsuite_property('arch', 'odd'); print('shown')\n"
        "def test_b(record_property): record_property('k', '<&>'); logging.error('logged'); print('x'); assert 0\n",
    }
    result = harness.compare(tmp_path, files, "--junitprefix=pre.fix", tree=tree)
    told = {nodeid: report for (nodeid, _), report in result.reports.items()}
    attributes = told["test_a.py::test_a"]["junit"][0][1]
    assert attributes["assertions"] == "three" and attributes["classname"] == "pre.fix.test_a"
    assert attributes["file"] == "test_a.py" and attributes["line"] == "1"
    assert told["test_a.py::test_a"]["properties"] == [["size", 4]]
    assert result.of("suite") == [{"kind": "suite", "properties": [["arch", "odd"]]}]
    assert "logged" in told["test_a.py::test_b"]["log"]
    plain = {element[1]["name"]: element for element in result.plain.elements}
    for report in told.values():
        mine, theirs = report["junit"][0], plain[report["nodeid"].rpartition("::")[2]]
        assert [child[0] for child in mine[3]] == [child[0] for child in theirs[3]]
        for ours, child in zip(mine[3], theirs[3]):
            assert (ours[1], steady(ours[2])) == (child[1], steady(child[2]))


def steady(text):
    """Without what differs from process to process."""
    return re.sub(r"0x[0-9a-f]+|\S*/(project|there)/", "", text or "")


def test_ids(tmp_path, tree):
    files = {
        "test_ids.py": "import pytest\n"
        "NAMES = ['é', 'a::b', 'two\\nlines', '\\udcff', 'x\\x00y', '[]', '$(touch x)', ' ', 'a/b.py::c']\n"
        "@pytest.mark.parametrize('name', NAMES, ids=NAMES)\n"
        "def test_named(name): pass\n"
        "@pytest.mark.parametrize('name', NAMES)\n"
        "def test_plain(name): pass\n"
        "@pytest.mark.parametrize('n', [1, 1, 1])\n"
        "def test_same(n): pass\n",
        "pytest.ini": "[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n",
    }
    files["test_ids.py"] = files["test_ids.py"].replace("'\\udcff', 'x\\x00y', ", "")
    result = harness.compare(tmp_path, files, tree=tree)
    assert len(result.reports) == 17 and set(result.outcomes().values()) == {"passed"}


def test_ids_of_a_set(tmp_path, tree):
    files = {
        "test_set.py": "import pytest\n"
        "@pytest.mark.parametrize('name', {'ant', 'bee', 'cat', 'dog', 'eel', 'fox'})\n"
        "def test_set(name, request): assert request.node.callspec.id == name\n"
        "@pytest.mark.parametrize('value', {('ant', 1), ('bee', 2), ('cat', 3)})\n"
        "def test_order(value, request): print(request.node.callspec.id, value[0])\n"
    }
    result = harness.compare(tmp_path, files, tree=tree)
    plain = [line for line in result.plain.text.splitlines() if line.startswith("value")]
    mine = [told["stdout"].strip() for told in result.reports.values() if "stdout" in told]
    assert sorted(mine) == sorted(plain) and len(mine) == 3


PACKAGES = {
    "tests/__init__.py": "",
    "tests/conftest.py": "import pytest\n"
    "@pytest.fixture(autouse=True)\ndef trace(request): request.node.user_properties.append(('top', 1))\n"
    "@pytest.fixture\ndef where(): return 'tests'\n",
    "tests/one/__init__.py": "",
    "tests/one/conftest.py": "import pytest\n"
    "@pytest.fixture\ndef where(where): return where + '/one'\n"
    "@pytest.fixture(scope='package')\ndef box(): print('open box'); yield 'box'; print('close box')\n",
    "tests/one/test_a.py": "def test_a(where, box): assert where == 'tests/one'\n",
    "tests/one/test_b.py": "def test_b(where, box): assert where == 'tests/one'\n",
    "tests/one/deep/__init__.py": "",
    "tests/one/deep/conftest.py": "import pytest\n@pytest.fixture\ndef where(where): return where + '/deep'\n",
    "tests/one/deep/test_c.py": "def test_c(where, box): assert where == 'tests/one/deep'\n",
    "tests/two/conftest.py": "import pytest\n"
    "@pytest.fixture\ndef where(where): return where + '/two'\n"
    "def pytest_runtest_setup(item): item.user_properties.append(('two', item.name))\n",
    "tests/two/test_d.py": "import helper\ndef test_d(where): assert where == 'tests/two' and helper.HERE == 2\n",
    "tests/two/helper.py": "HERE = 2\n",
    "tests/test_z.py": "def test_z(where): assert where == 'tests'\n",
}


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("order", [None, lambda entry: entry[0][::-1]])
def test_nested_conftests(tmp_path, tree, size, order, isolate):
    result = harness.compare(tmp_path, PACKAGES, size=size, tree=tree, order=order)
    assert set(result.outcomes().values()) == {"passed"}
    assert [name for name, _ in result.reports["tests/two/test_d.py::test_d", 0]["properties"]].count("two") == 1
    box = "".join(told.get("stdout", "") for told in result.reports.values())
    if size == 10 and order is None and isolate != "test":
        assert box.count("open box") == result.plain.text.count("open box")
    # Before 8 a package in a package has the fixture of the outer one until the session ends.
    assert box.count("open box") - box.count("close box") in ((0,) if conftest.major(tree) > 7 else (0, 1))


def test_a_package_met_again(tmp_path, tree):
    result = harness.compare(
        tmp_path, PACKAGES, tree=tree, order=lambda entry: ("one" in entry[0]) and "test_b" in entry[0]
    )
    assert set(result.outcomes().values()) == {"passed"}


@pytest.mark.parametrize("args", [["tests/one"], ["tests/one/test_a.py", "tests/two"], ["."], ["-k", "a or d"]])
def test_paths(tmp_path, tree, args):
    result = harness.compare(tmp_path, PACKAGES, *args, tree=tree)
    assert result.reports


def test_from_a_folder_below(tmp_path, tree):
    files = dict(PACKAGES, **{"pytest.ini": "[pytest]\naddopts = -ra\n"})
    result = harness.compare(tmp_path, files, "one", "../tests/two/test_d.py::test_d", cwd="tests", tree=tree)
    assert len(result.reports) == 4


def test_absolute_paths(tmp_path, tree):
    home = tmp_path / "home" / "project"
    result = harness.compare(tmp_path, PACKAGES, str(home / "tests" / "one"), "--rootdir=%s" % home, tree=tree)
    assert len(result.reports) == 3


def test_testpaths_and_addopts(tmp_path, tree):
    files = dict(PACKAGES)
    files["pytest.ini"] = "[pytest]\ntestpaths = tests/one\naddopts = -n 2 --dist loadfile -p no:cacheprovider -rA\n"
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, tree=tree)
    assert found.one("session")["notes"] == ["options of pytest-xdist are ignored: -n 2 --dist loadfile"]
    workspace = harness.copy(project, tmp_path / "there")
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, workspace)
    assert len(result.reports) == 3 and set(result.outcomes().values()) == {"passed"} and not result.deaths


def test_warnings_are_errors(tmp_path, tree):
    files = {
        "pytest.ini": "[pytest]\nfilterwarnings = error\n",
        "test_a.py": "import warnings\ndef test_warns(): warnings.warn('so')\ndef test_not(): pass\n",
        "test_b.py": "import warnings\nwarnings.warn('import')\ndef test_b(): pass\n",
        "conftest.py": "import pytest\n@pytest.fixture(scope='session', autouse=True)\ndef s(): yield\n",
    }
    result = harness.compare(tmp_path, files, "--continue-on-collection-errors", tree=tree)
    assert result.counts() == {"failed": 1, "passed": 1}


def test_warnings(tmp_path, tree):
    files = {
        "test_a.py": "import warnings\nwarnings.warn('at import')\ndef test_a(): warnings.warn('in test')\n",
        "conftest.py": "import warnings\ndef pytest_configure(config): warnings.warn('in configure')\n",
    }
    result = harness.compare(tmp_path, files, tree=tree)
    told = {(note["message"], note["when"], note["nodeid"]) for note in result.of("warning")}
    assert {("at import", "collect", ""), ("in test", "runtest", "test_a.py::test_a")} <= told
    here = {(line["message"], line["filename"], line["lineno"]) for line in result.collected.of("warning")}
    there = {(note["message"], note["filename"], note["lineno"]) for note in result.of("warning")}
    assert ("at import", os.path.join(result.project, "test_a.py"), 2) in here & there


def test_options_of_a_folder_below(tmp_path, tree):
    files = {
        "sub/conftest.py": "import pytest\ndef pytest_addoption(parser): parser.addoption('--color-of', default='red')\n"
        "@pytest.fixture\ndef color(request): return request.config.getoption('--color-of')\n",
        "sub/test_a.py": "def test_a(color): assert color == 'blue'\n",
        "test_top.py": "def test_top(): pass\n",
    }
    result = harness.compare(tmp_path, files, "sub", "--color-of", "blue", tree=tree)
    assert result.counts() == {"passed": 1}


@pytest.mark.parametrize("how", ["-s", "--capture=sys", "--capture=no", "--capture=tee-sys", "--capture=fd"])
def test_capture(tmp_path, tree, how):
    files = {
        "test_a.py": "import os, sys\n"
        "def test_a(): print('printed'); os.system('echo shouted'); assert 0\n"
        "def test_fd(capfd): os.system('echo caught'); assert capfd.readouterr().out == 'caught\\n'\n"
        "def test_sys(capsys): print('seen'); assert capsys.readouterr().out == 'seen\\n'\n"
        "def test_stdin():\n    import select\n    assert sys.stdin is not None\n"
    }
    result = harness.compare(tmp_path, files, how, tree=tree)
    assert result.counts() == {"passed": 3, "failed": 1}
    if how in ("-s", "--capture=no"):
        assert "printed" in result.output and "shouted" in result.output
    else:
        assert result.reports["test_a.py::test_a", 0]["stdout"].startswith("printed")


def test_doctests(tmp_path, tree):
    files = {
        "test_doc.txt": ">>> 1 + 1\n2\n>>> 1 + 1\n3\n",
        "src/mod.py": "def f():\n    '''\n    >>> f()\n    1\n    '''\n    return 1\ndef test_not_collected(): assert 0\n",
        "test_mod.py": "def test_a():\n    '''\n    >>> 2\n    2\n    '''\n",
    }
    result = harness.compare(tmp_path, files, "--doctest-modules", tree=tree)
    assert result.counts() == {"passed": 3, "failed": 1}


def test_xunit_setup(tmp_path, tree, isolate):
    trace = "def trace(what): print('trace', what)\n"
    module = (
        trace + "def setup_module(m): trace('m+')\ndef teardown_module(m): trace('m-')\n"
        "def setup_function(f): trace('f+')\ndef teardown_function(f): trace('f-')\n"
        "class TestX:\n"
        "    @classmethod\n    def setup_class(cls): trace('c+')\n"
        "    @classmethod\n    def teardown_class(cls): trace('c-')\n"
        "    def setup_method(self, m): trace('t+')\n    def teardown_method(self, m): trace('t-')\n"
        "    def test_1(self): pass\n    def test_2(self): pass\n"
        "def test_3(): pass\n"
    )
    result = harness.compare(tmp_path, {"test_a.py": module, "test_b.py": module}, tree=tree)
    for name in ("test_a.py", "test_b.py"):
        lines = [told.get("stdout", "") for (nodeid, _), told in result.reports.items() if nodeid.startswith(name)]
        words = "".join(lines).replace("trace ", "").split()
        whole = "m+ c+ t+ t- t+ t- c- f+ f- m-"
        alone = "m+ c+ t+ t- c- m- m+ c+ t+ t- c- m- m+ f+ f- m-"
        assert words == (alone if isolate == "test" else whole).split()


def test_import_modes(tmp_path, tree):
    files = {
        "a/test_same.py": "import ours\ndef test_a(): assert ours.NAME == 'a'\n",
        "a/ours.py": "NAME = 'a'\n",
        "z/test_other.py": "def test_z(): pass\n",
        "z/ours.py": "NAME = 'z'\n",
        "z/queue.py": "raise SystemExit('not this one')\n",
    }
    result = harness.compare(tmp_path, files, tree=tree, size=2)
    assert result.counts() == {"passed": 2}
    files = {"a/test_same.py": "def test_a(): pass\n", "b/test_same.py": "def test_b(): pass\n"}
    result = harness.compare(tmp_path / "2", files, "--import-mode=importlib", tree=tree, size=2)
    assert result.counts() == {"passed": 2}


def test_sys_path_of_the_whole_collection(tmp_path, tree):
    files = {
        "a/test_a.py": "def test_a(): pass\n",
        "a/shared_by_a.py": "X = 1\n",
        "b/test_b.py": "def test_b():\n    import shared_by_a\n    import sys\n    print('argv', sys.argv[1:])\n",
        "conftest.py": "import sys, os\nsys.path.append(os.path.join(os.path.dirname(__file__), 'extra'))\n",
        "extra/extra_mod.py": "Y = 2\n",
        "c/test_c.py": "import extra_mod\ndef test_c(): pass\n",
    }
    result = harness.compare(tmp_path, files, "-v", tree=tree, order=lambda entry: entry[0] != "b/test_b.py")
    assert result.counts() == {"passed": 3}
    assert "argv ['-v']" in result.reports["b/test_b.py::test_b", 0]["stdout"]


def test_plugins_of_the_suite(tmp_path, tree):
    files = {
        "conftest.py": "pytest_plugins = ['my_plugin']\n",
        "my_plugin.py": "import pytest\n@pytest.fixture\ndef mine(): return 5\n"
        "def pytest_report_teststatus(report):\n"
        "    if report.when == 'call' and 'special' in report.nodeid and report.passed: return 'special', 'S', 'SPECIAL'\n",
        "test_a.py": "def test_a(mine): assert mine == 5\ndef test_special(mine): pass\ndef test_rewritten(mine):\n    assert mine == 6\n",
    }
    result = harness.compare(tmp_path, files, tree=tree)
    assert result.counts() == {"passed": 1, "special": 1, "failed": 1}
    assert result.reports["test_a.py::test_rewritten", 0]["message"] == "assert 5 == 6"


def test_hooks_that_change_items(tmp_path, tree):
    files = {
        "conftest.py": "import pytest\n"
        "def pytest_collection_modifyitems(config, items):\n"
        "    items.sort(key=lambda item: item.name, reverse=True)\n"
        "    for item in items:\n"
        "        if 'slow' in item.name: item.add_marker(pytest.mark.skip(reason='slow'))\n"
        "    del items[0]\n",
        "test_a.py": "def test_1(): pass\ndef test_slow(): assert 0\n",
        "test_b.py": "def test_9(): pass\ndef test_8(): pass\ndef test_zz(): pass\n",
    }
    result = harness.compare(tmp_path, files, tree=tree)
    assert result.collected.one("session")["streaming"] is False
    assert result.counts() == {"passed": 3, "skipped": 1}


def test_files_that_do_not_import(tmp_path, tree):
    files = {
        "test_a.py": "import not_there\ndef test_a(): pass\n",
        "test_b.py": "import pytest\npytest.skip('not today', allow_module_level=True)\ndef test_b(): pass\n",
        "test_c.py": "import pytest\npytest.importorskip('not_there_either')\ndef test_c(): pass\n",
        "test_d.py": "def test_d(: pass\n",
        "test_e.py": "def test_e(): pass\n",
    }
    project = harness.write(tmp_path / "one" / "home" / "project", files)
    plain = harness.Plain(project, "--continue-on-collection-errors", tree=tree)
    result = harness.compare(tmp_path / "two", files, "--continue-on-collection-errors", tree=tree)
    assert result.counts() == {"passed": 1}
    errors = [line for line in result.collected.of("report")]
    assert sorted(line["outcome"] for line in errors) == ["error", "error", "skipped", "skipped"]
    for line in errors:
        for problem in line.get("problems", []):
            assert problem["headline"] in plain.text


def test_subtests(tmp_path, tree):
    if conftest.major(tree) < 9:
        pytest.skip("the subtests fixture came with pytest 9")
    files = {
        "test_a.py": "def test_a(subtests):\n"
        "    for i in range(4):\n"
        "        with subtests.test('m', i=i):\n"
        "            print('sub', i)\n"
        "            assert i != 2\n"
        "def test_b(subtests):\n"
        "    with subtests.test('fine'): pass\n"
    }
    result = harness.compare(tmp_path, files, tree=tree)
    told = result.reports["test_a.py::test_a", 0]
    assert told["outcome"] == "failed" and len(told["problems"]) == 2
    assert told["problems"][0]["headline"].startswith("test_a [m] (i=2)")


def test_many_files_in_one_bundle_and_out_of_order(tmp_path, tree):
    files = {"d%d/test_%d.py" % (i % 3, i): "def test_1(): pass\ndef test_2(): assert %d != 4\n" % i for i in range(9)}
    result = harness.compare(tmp_path, files, tree=tree, size=4, order=lambda entry: -int(entry[0][-4]))
    assert result.counts() == {"passed": 17, "failed": 1}


def test_duplicates(tmp_path, tree):
    files = {"test_a.py": "def test_1(): print('x')\ndef test_2(): pass\n"}
    result = harness.compare(tmp_path, files, "--keep-duplicates", "test_a.py", "test_a.py", tree=tree)
    assert len(result.reports) == 4
    assert {told.get("stdout") for (nodeid, _), told in result.reports.items() if "test_1" in nodeid} == {"x\n"}


def test_basetemp_is_private(tmp_path, tree):
    files = {"test_a.py": "def test_a(tmp_path): print('here', tmp_path)\n"}
    base = tmp_path / "base"
    result = harness.compare(tmp_path, files, "--basetemp=%s" % base, tree=tree)
    assert "here %s/popen-gw0/" % base in result.reports["test_a.py::test_a", 0]["stdout"]


def test_what_the_master_does_is_not_done_twice(tmp_path, tree):
    files = {"test_a.py": "def test_1(): assert 0\ndef test_2(): assert 0\ndef test_3(): pass\n"}
    args = ["-x", "--maxfail=1", "--durations=3", "--lf", "--junitxml=out/ours.xml"]
    project = harness.write(tmp_path / "project", files)
    found = harness.collect(project, *args, tree=tree)
    line = found.one("session")
    assert (line["maxfail"], line["durations"], line["streaming"]) == (1, 3, False)
    assert line["junit"]["path"] == os.path.join(project, "out", "ours.xml")
    workspace = harness.copy(project, tmp_path / "there")
    with harness.Host(tmp_path, tree) as host:
        result = harness.run(host, found, workspace)
    assert result.counts() == {"failed": 2, "passed": 1}
    assert not os.path.exists(os.path.join(workspace, "out")) and not os.path.exists(os.path.join(project, "out"))
    assert not os.path.exists(os.path.join(workspace, ".pytest_cache", "v", "cache", "lastfailed"))
