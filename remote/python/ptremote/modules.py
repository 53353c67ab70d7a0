# SPDX-License-Identifier: Apache-2.0
"""Which third-party modules test files use, and which of those a process must not import ahead of its tests."""
import os
import sys
import types

# They start threads, devices or services when they are imported, or do not survive a fork.
NEVER = ("mpi4py", "torch", "tensorflow", "grpc")
PYTEST = ("ptremote", "pytest", "pluggy", "iniconfig", "packaging", "exceptiongroup", "tomli", "py", "xdist", "execnet")
MOST = 50  # names in one list


def top(name):
    return name.partition(".")[0]


def never(name):
    """Whether a module must not be imported ahead."""
    return top(name) in NEVER or name == "MPI" or name.endswith(".MPI")


def stdlib(name):
    names = getattr(sys, "stdlib_module_names", None)
    if names is not None:
        return name in names
    if name in sys.builtin_module_names:
        return True
    folder = os.path.dirname(os.__file__)
    places = where(sys.modules.get(name))
    return any(inside(place, [folder]) and "-packages" not in place for place in places)


def where(module):
    """The file, or the folders, that a module came from."""
    path = getattr(module, "__file__", None)
    if isinstance(path, str):
        return [os.path.abspath(path)]
    try:
        return [os.path.abspath(part) for part in getattr(module, "__path__", ()) if isinstance(part, str)]
    except Exception:
        return []


def inside(path, folders):
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


class Imported:
    """Watches which modules come with which file. `folders` hold the project's own modules."""

    def __init__(self, folders):
        self._folders = {os.path.abspath(folder) for folder in folders}
        self._folders |= {os.path.realpath(folder) for folder in folders}
        self._seen = set(sys.modules)
        self._first = {}  # module of a file -> names it was the first to import
        self._uses = {}  # name of a module of the project -> names
        self._kinds = {}  # name of a module -> "own", "third" or None

    def took(self, module):
        """What was imported since the last call, was for this test module."""
        if len(sys.modules) == len(self._seen):
            return  # a module that took the place of another goes unnoticed
        now = set(sys.modules)
        before, self._seen = self._seen, now
        tops = {top(name) for name in now - before} - (before & now)
        self._first[id(module)] = {name for name in tops if self._third_party(name)}

    def used_by(self, module):
        """Names of third-party modules, sorted: first imported with it, or used by it or by what it uses of the
        project."""
        found = set(self._first.get(id(module), ()))
        try:
            found |= self._reached(module) if isinstance(module, types.ModuleType) else set()
        except Exception:
            pass  # what a suite's modules hold may raise at any question, and this is only for the next run's speed
        return sorted(found)[:MOST]

    def _reached(self, module):
        found, seen, waiting = set(), set(), [module]
        while waiting:
            one = waiting.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            for name in self._named(one):
                kind = self._kind(name)
                if kind == "third":
                    found.add(top(name))
                elif kind == "own" and isinstance(sys.modules.get(name), types.ModuleType):
                    waiting.append(sys.modules[name])
        return found

    def _named(self, module):
        """Modules that what a module holds came from. Nothing of it is asked: it may be a proxy of anything."""
        key = module.__name__ if sys.modules.get(module.__name__) is module else id(module)
        if key not in self._uses:
            names = set()
            for value in list(vars(module).values()):
                kind = type(value)
                names.add(kind.__module__)
                if kind is types.ModuleType:
                    names.add(vars(value).get("__name__"))
                elif kind is types.FunctionType or issubclass(kind, type):
                    names.add(value.__module__)
            self._uses[key] = {name for name in names if isinstance(name, str) and name in sys.modules}
        return self._uses[key]

    def _kind(self, name):
        if name not in self._kinds:
            own = any(inside(place, self._folders) for place in where(sys.modules.get(name)))
            self._kinds[name] = "own" if own else "third" if self._third_party(top(name)) else None
        return self._kinds[name]

    def _third_party(self, name):
        if name.startswith(("_", "pytest")) or name in PYTEST or never(name) or stdlib(name):
            return False
        places = where(sys.modules.get(name))
        return bool(places) and not any(inside(place, self._folders) for place in places)
