# SPDX-License-Identifier: Apache-2.0
"""Whether a pytest_collection_modifyitems only looks at the tests, one by one, as those do that put marks on them. Such
a hook chooses and orders nothing: it may be called for the tests of one file before there are others."""
import ast
import inspect
import textwrap

HOOK = "pytest_collection_modifyitems"
LISTENER = "pytest_deselected"
_OPTIONS = frozenset(("tryfirst", "trylast"))  # of pytest.hookimpl; a wrapper does more than to look
_REFUSED = (ast.Global, ast.Nonlocal, ast.Yield, ast.YieldFrom, ast.Await, ast.Return)


def by_item(impl):
    """Of a pluggy implementation of that hook."""
    function = impl.function
    if impl.hookwrapper or getattr(impl, "wrapper", False) or not inspect.isfunction(function):
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    return len(tree.body) == 1 and _only_looks(tree.body[0])


def text_by_item(text):
    """Of the text of a conftest that is not imported yet and names that hook."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False
    hooks = [node for node in body if getattr(node, "name", None) == HOOK]
    return text.count(HOOK) == len(hooks) > 0 and all(map(_only_looks, hooks))


def _only_looks(hook):
    if not isinstance(hook, ast.FunctionDef) or not all(map(_harmless, hook.decorator_list)):
        return False
    names = [arg.arg for arg in hook.args.args]
    if set(names) - {"config", "items"} or "items" not in names or hook.args.vararg or hook.args.kwarg:
        return False
    loops = [node for node in ast.walk(hook) if isinstance(node, ast.For) and _is_items(node.iter)]
    looked_at = [node.iter for node in loops]
    for node in ast.walk(hook):
        if _is_items(node) and node not in looked_at:
            return False
        if isinstance(node, _REFUSED) and not (isinstance(node, ast.Return) and node.value is None):
            return False
        if LISTENER in (getattr(node, "attr", None), getattr(node, "id", None)):
            return False
    return not any(loop.orelse or any(map(_leaves, loop.body)) for loop in loops)


def _harmless(decorator):
    if not isinstance(decorator, ast.Call) or decorator.args:
        return False
    function = decorator.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name == "hookimpl" and {keyword.arg for keyword in decorator.keywords} <= _OPTIONS


def _is_items(node):
    return isinstance(node, ast.Name) and node.id == "items"


def _leaves(statement):
    """Whether it may end the loop it is in, so that later tests are not looked at."""
    if isinstance(statement, (ast.Break, ast.Return)):
        return True
    if isinstance(statement, (ast.For, ast.While)):
        return any(isinstance(node, ast.Return) for node in ast.walk(statement))
    inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, (ast.stmt, ast.ExceptHandler))]
    return any(map(_leaves, inner))
