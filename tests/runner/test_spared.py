# SPDX-License-Identifier: Apache-2.0
"""What pytest is spared for tests that are alike makes no difference: to those that are not, to who replaces it."""
import functools
import sys

import harness
import pluggy._hooks as hooks
import pytest

from ptremote import spared

SHAPES = """
import functools
import pytest

@pytest.fixture
def one(): return 1

@pytest.fixture
def two(): return 2

def wraps(function):
    @functools.wraps(function)
    def run(*args, **kwargs): return function(*args, **kwargs)
    return run

def test_none(): pass
def test_one(one): assert one == 1
def test_two(two): assert two == 2
def test_both(one, two): assert (one, two) == (1, 2)
def test_turned(two, one): assert (one, two) == (1, 2)
def test_default(one, two=5): assert (one, two) == (1, 5)
def test_keyword(*, one): assert one == 1
def test_keyword_default(one, *, two=6): assert (one, two) == (1, 6)
def test_annotated(one: "int", two: "nothing.there"): assert (one, two) == (1, 2)
def test_many(one, *two, **three): assert one == 1 and not two and not three
def test_positional(one, /, two): assert one == 1 and two == 2
@wraps
def test_wrapped(two): assert two == 2
@pytest.mark.usefixtures("two")
def test_marked(one): assert one == 1
@pytest.mark.parametrize("one", [3])
def test_direct(one, two): assert (one, two) == (3, 2)
def test_lost(one, nobody): pass

def signed(*args, **kwargs): pass
import inspect
signed.__signature__ = inspect.signature(test_both)
test_signed = signed

class TestIt:
    def test_none(self): pass
    def test_one(self, one): assert one == 1
    @staticmethod
    def test_static(one): assert one == 1
"""
ORDERED = """
import pytest

@pytest.fixture(scope="module", params=["a", "b"])
def letter(request): return request.param

@pytest.fixture(scope="class", params=[1, 2])
def number(request): return request.param

@pytest.mark.parametrize("sign", "+-")
def test_0(sign): pass
def test_1(letter): pass
def test_2(): pass
def test_3(letter): pass
class TestA:
    def test_4(self, number): pass
    def test_5(self, number, letter): pass
    def test_6(self): pass
@pytest.mark.parametrize("late", [1, 2], scope="module")
def test_7(late): pass
@pytest.mark.parametrize("late", [1, 2], scope="module")
def test_8(late): pass
"""
MARKS = """
import pytest

pytestmark = [pytest.mark.level("module"), pytest.mark.other]

@pytest.fixture
def level(request, record_property):
    request.node.parent.add_marker(pytest.mark.late(1))
    request.node.add_marker(pytest.mark.late(2), append=False)
    for name in ("level", "late", "none", None):
        record_property(str(name), [mark.args for mark in request.node.iter_markers(name)])
    record_property("closest", request.node.get_closest_marker("level").args)
    record_property("missing", request.node.get_closest_marker("none", 7))

@pytest.mark.level("class")
class TestIt:
    @pytest.mark.level("test")
    def test_a(self, level): pass
    def test_b(self, level): pass

def test_c(level): pass
"""
NODES = """
import pytest

class Own(pytest.Item):
    def iter_markers(self, name=None): return iter([pytest.mark.xfail.mark] if name in ("xfail", None) else [])
    def runtest(self): assert 0

class File(pytest.File):
    def collect(self): return [Own.from_parent(self, name="own")]

def pytest_collect_file(file_path, parent):
    return File.from_parent(parent, path=file_path) if file_path.suffix == ".own" else None
"""
REPLACED = """
from _pytest import fixtures, nodes
import pytest

plain = nodes.Node.iter_markers_with_node

def iter_markers_with_node(self, name=None):
    yield from plain(self, name)
    if self.name == "test_b" and name in ("skip", None):
        yield self, pytest.mark.skip(reason="replaced").mark

nodes.Node.iter_markers_with_node = iter_markers_with_node
fixtures.reorder_items = lambda items: list(reversed(items))
"""


def names(result):
    """Of the tests, in the order in which they ran at home, and were told."""
    home = [attributes["name"] for _, attributes, _, _ in result.plain.elements]
    return home, [nodeid.rpartition("::")[2] for nodeid, _ in result.collected.order]


def test_signatures(tmp_path, tree):
    result = harness.compare(tmp_path, {"test_a.py": SHAPES}, tree=tree)
    home, told = names(result)
    assert home == told and result.counts()["passed"] == 17


def test_order(tmp_path, tree):
    home, told = names(harness.compare(tmp_path, {"test_a.py": ORDERED, "test_b.py": ORDERED}, tree=tree))
    assert home == told and home.index("test_7[1]") + 1 == home.index("test_8[1]")


def test_marks(tmp_path, tree):
    ini = "[pytest]\nmarkers =\n    level\n    late\n    other\n"
    result = harness.compare(tmp_path, {"pytest.ini": ini, "test_a.py": MARKS}, tree=tree)
    assert ["closest", "('class',)"] in result.reports["test_a.py::TestIt::test_b", 0]["properties"]


def test_nodes_with_marks_of_their_own(tmp_path, tree):
    result = harness.compare(tmp_path, {"conftest.py": NODES, "a.own": "", "test_a.py": "def test_a(): pass\n"}, tree=tree)
    assert result.counts() == {"passed": 1, "xfailed": 1}


def test_replaced_before_and_after(tmp_path, tree):
    tests = "def test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass\n"
    for where in ("", "below/"):
        files = {where + "conftest.py": REPLACED, where + "test_a.py": tests}
        result = harness.compare(tmp_path / ("at" + where), files, tree=tree)
        assert result.counts() == {"passed": 2, "skipped": 1}
        home, told = names(result)
        assert home == told == ["test_c", "test_b", "test_a"]


def test_names_of_parameters(monkeypatch):
    find = hooks.varnames
    monkeypatch.setattr(hooks, "varnames", find)
    spared.read_names()
    if hooks.varnames is find:
        pytest.skip("this pluggy is quick by itself")
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(("_pytest", "pluggy", "ptremote"))]
    values = [value for module in modules for value in list(vars(module).values())]
    values += [value for kind in values if isinstance(kind, type) for value in vars(kind).values()]
    values += [getattr(one, name) for one in (Methods, Methods()) for name in dir(Methods) if name.startswith("a_")]
    assert all(told(hooks.varnames, value) == told(find, value) for value in values)


def told(function, value):
    try:
        return function(value)
    except Exception as error:
        return type(error)


class Methods:
    def a_method(self, one, two=1, *rest, three, **more):
        pass

    def a_positional(self, one, /, two):
        pass

    def a_strange(one):
        pass

    def a_lost():
        pass

    @classmethod
    def a_class(cls, one):
        pass

    @staticmethod
    def a_static(self, one=1):
        pass

    @functools.wraps(a_method)
    def a_wrapper(self, *args):
        pass
