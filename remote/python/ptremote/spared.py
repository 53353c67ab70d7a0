# SPDX-License-Identifier: Apache-2.0
"""What pytest (7.2 to 9.x) works out for one test after the other though they are alike, and is spared here.

Each takes the place of a function that is pytest's own, and asks that one whenever a test is not as most are. A plugin
or conftest that puts something else there, before or after, has its way.
"""
import inspect
import sys
import types

import pluggy._hooks
import pytest
from _pytest import compat, fixtures, nodes
from _pytest.scope import Scope

KNOWN = (7, 2) <= tuple(map(int, pytest.__version__.split(".")[:2])) < (10, 0)
SHAPES = 4096  # signatures that are kept
VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
SIGNED = {"__wrapped__", "__signature__", "__text_signature__", "__partialmethod__", "_partialmethod"}
MARKED = {"pytestmark"}  # attributes of a function that its signature is not read from
NONE = {}


def is_plain(function, module, names):
    """Whether this is that function of one of pytest's modules, with these parameters."""
    if not (KNOWN and inspect.isfunction(function) and function.__module__ == module.__name__):
        return False
    code = function.__code__
    return code.co_filename == module.__file__ and code.co_varnames[: code.co_argcount] == names


def shape(function):
    """What all functions with the same signature have in common; None where it takes more to know that."""
    if type(function) is not types.FunctionType or not MARKED.issuperset(function.__dict__):
        return None
    if function.__defaults__ or function.__kwdefaults__ or getattr(function, "__annotate__", None) or function.__annotations__:
        return None
    code = function.__code__
    variadic = code.co_flags & VARIADIC
    count = code.co_argcount + code.co_kwonlyargcount + bin(variadic).count("1")
    return code.co_varnames[:count], code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, variadic


def read_names():
    """Older versions of pluggy make a full signature of each hook that is registered, to have the names of its parameters."""
    hooks = pluggy._hooks
    find = hooks.varnames

    def varnames(func):
        bound = type(func) is types.MethodType
        plain = func.__func__ if bound else func
        if type(plain) is not types.FunctionType or SIGNED.intersection(plain.__dict__):
            return find(func)
        names = plain.__code__.co_varnames[: plain.__code__.co_argcount]
        count = len(names) - len(plain.__defaults__ or ())
        args, kwargs = names[:count], names[count:]
        if args and (bound or ("." in plain.__qualname__ and args[0] == "self")):
            args = args[1:]
        return args, kwargs

    if is_plain(find, hooks, ("func",)) and "getfullargspec" in find.__code__.co_names and sys.implementation.name == "cpython":
        hooks.varnames = varnames


def remember_signatures():
    """A test function is asked for its signature twice, and most take the same parameters as the one before."""
    find, known = compat.signature, {}

    def signature(function):
        key = shape(function)
        if key is None:
            return find(function)
        found = known.get(key)
        if found is None:
            if len(known) >= SHAPES:
                known.clear()
            found = known[key] = find(function)
        return found

    if find is inspect.signature or is_plain(find, compat, ("obj",)):
        compat.signature = signature


def keep_order():
    """Tests are put in the order of parametrized fixtures of a class, module or more: mostly there are none."""
    find = fixtures.reorder_items

    def reorder_items(items):
        for item in items:
            scopes = getattr(getattr(item, "callspec", None), "_arg2scope", NONE)
            if scopes and any(scope is not Scope.Function for scope in scopes.values()):
                return find(items)
        return list(dict.fromkeys(items))

    if is_plain(find, fixtures, ("items",)):
        fixtures.reorder_items = reorder_items


def look_up_marks():
    """To look for a mark, nodes from the test up are listed, listed the other way round, and gone through by two
    generators."""
    plain = nodes.Node.iter_markers_with_node, nodes.Node.iter_markers
    closest = nodes.Node.get_closest_marker

    def iter_markers(self, name=None):
        if type(self).iter_markers_with_node is not plain[0]:
            return plain[1](self, name)
        return upwards(self, name)

    def get_closest_marker(self, name, default=None):
        if type(self).iter_markers is not iter_markers or type(self).iter_markers_with_node is not plain[0]:
            return closest(self, name, default)
        while self is not None:
            for mark in self.own_markers:
                if name is None or getattr(mark, "name", None) == name:
                    return mark
            self = self.parent
        return default

    known = ("self", "name"), ("self", "name"), ("self", "name", "default")
    if all(is_plain(one, nodes, names) for one, names in zip((*plain, closest), known)):
        nodes.Node.iter_markers, nodes.Node.get_closest_marker = iter_markers, get_closest_marker


def upwards(node, name):
    while node is not None:
        for mark in node.own_markers:
            if name is None or getattr(mark, "name", None) == name:
                yield mark
        node = node.parent


def spare_collection():
    """In a process whose session is configured."""
    remember_signatures()
    keep_order()
    look_up_marks()
