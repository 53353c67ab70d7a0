# SPDX-License-Identifier: Apache-2.0
"""What pytest works out again and again for the same answer is remembered: lines that reach into its private API (7.2 to 9.x), each of
them only where that is as it was seen to be."""
import ast
import copy
import inspect
import os

from _pytest import nodes
from _pytest._code import code, source

from ptremote import insides

SOURCES = 16  # parsed files that are kept
PATHS = 4096  # paths that are


def proxies(session):
    """Which hooks a path has is asked for every hook of every test. To be forgotten (what is returned does it) when a
    plugin comes; one that goes is noticed here."""
    find, plugins, known = session.gethookproxy, session.config.pluginmanager._name2plugin, {}

    def gethookproxy(path):
        found = known.get(path)
        if found is None or found[1] != len(plugins):
            found = known[path] = find(path), len(plugins)
        return found[0]

    session.gethookproxy = gethookproxy
    return known.clear


def async_fixtures(config):
    """pytest-asyncio, up to 0.22, looks at every fixture for every function that is collected: it may when there are new."""
    module = insides.plugin_module(config, "pytest_asyncio.plugin")
    look = getattr(module, "_preprocess_async_fixtures", None)
    manager_name, last = "funcmanage", []

    def preprocess(config, processed):
        manager = config.pluginmanager.get_plugin(manager_name)
        now = [manager, len(manager._arg2fixturedefs), len(manager._holderobjseen)]
        if now != last:
            look(config, processed)
            last[:] = now

    if inspect.isfunction(look) and look.__module__ == module.__name__:
        if list(inspect.signature(look).parameters) == ["config", "processed_fixturedefs"]:
            module._preprocess_async_fixtures = preprocess


def files():
    """To tell where a test is, its file is looked for on the disk."""
    plain, known = code.Code.path, {}
    if not isinstance(plain, property):
        return

    def path(self):
        name = self.raw.co_filename
        found = known.get(name)
        if found is None:
            found = plain.fget(self)
            if isinstance(found, os.PathLike) and os.path.isabs(name):
                known[name] = found
        return found

    code.Code.path = property(path)


def flatten(node):
    """All statements below it, each without what is in it."""
    found = []
    for one in ast.walk(node):
        if isinstance(one, (ast.stmt, ast.ExceptHandler)):
            one = copy.copy(one)
            one._fields = ()
            found.append(one)
    return ast.Module(found, [])


def sources():
    """A file is parsed for every traceback that leads through it, and all its statements are listed."""
    ranges, borders, trees = code.getstatementrange_ast, source.get_statement_startend2, {}

    def getstatementrange_ast(lineno, source, assertion=False, astnode=None):
        text = str(source) if astnode is None else None
        found = ranges(lineno, source, assertion, trees.get(text, astnode))
        if text is not None and text not in trees:
            if len(trees) >= SOURCES:
                trees.clear()
            trees[text] = found[0]
        return found

    def get_statement_startend2(lineno, node):
        known = node.__dict__.setdefault("_ptremote_borders", {})
        if lineno not in known:
            flat = node.__dict__.get("_ptremote_flat")
            if flat is None:
                flat = node._ptremote_flat = flatten(node)
            known[lineno] = borders(lineno, flat)
        return known[lineno]

    if ranges.__module__ == source.__name__ and borders.__module__ == source.__name__:
        code.getstatementrange_ast, source.get_statement_startend2 = getstatementrange_ast, get_statement_startend2


def paths():
    """Where a test is written is worked out before it runs, from its file's absolute name each time."""
    find, known = code.absolutepath, {}

    def absolutepath(path):
        text = str(path)
        if not text.startswith("/"):
            return find(path)
        found = known.get(text)
        if found is None:
            if len(known) >= PATHS:
                known.clear()
            found = known[text] = find(path)
        return found

    if find is getattr(nodes, "absolutepath", None) and find.__module__ == "_pytest.pathlib":
        code.absolutepath = nodes.absolutepath = absolutepath
