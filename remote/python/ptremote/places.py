# SPDX-License-Identifier: Apache-2.0
"""Where things are: the project here, its tree on a host, and the folders that a collection will visit."""
import os
import re
import sys
from pathlib import Path

from ptremote import insides

_BEFORE = r"(^|^-\w|[=:,;\s\"'(\[])"
_AFTER = r"(?=$|[/:,;\s\"')\]])"


class Mapping:
    """Paths of the project at home <-> paths of its tree on this host."""

    def __init__(self, homes, workspace):
        self.workspace = workspace
        self.homes = [home for home in homes if home and home != "/"]
        self.same = not self.homes or self.homes[0] == workspace

    def text(self, text):
        """A command line argument or option value with every path of the project in it moved to this host."""
        for home in () if self.same else self.homes:
            text = re.sub(_BEFORE + re.escape(home) + _AFTER, lambda m: m.group(1) + self.workspace, text)
        return text

    def there(self, path):
        """The path on this host of a path at home."""
        for home in () if self.same else self.homes:
            if path == home or path.startswith(home + "/"):
                return self.workspace + path[len(home) :]
        return path

    def here(self, path):
        """The path at home of a path on this host."""
        path = str(path)
        if not self.same and (path == self.workspace or path.startswith(self.workspace + "/")):
            return self.homes[0] + path[len(self.workspace) :]
        return path


def import_root(path):
    """The folder that pytest puts on sys.path to import this file: the one above its packages."""
    folder = os.path.dirname(path)
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.basename(folder).isidentifier():
        folder = os.path.dirname(folder)
    return folder


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself


class Visit:
    """Which conftests a collection will import and which folders it will put on sys.path, found ahead of it."""

    def __init__(self, config):
        self.config = config
        self.conftests = []  # in the order they will be imported
        self.roots = []  # in the order they will be put at the front of sys.path
        self._patterns = config.getini("python_files")
        self._norecurse = config.getini("norecursedirs")
        self._no_conftest = config.getoption("noconftest", False)
        self._seen = set()
        self._prepend = config.getoption("importmode") == "prepend"
        for arg in config.args:
            path = os.path.join(str(config.invocation_params.dir), str(arg).partition("::")[0].partition("[")[0])
            path = os.path.normpath(path)
            if os.path.isdir(path):
                self._folder(path)
            elif os.path.isfile(path):
                self._import(path)

    def _import(self, path):
        if self._prepend:
            root = import_root(path)
            if root not in self.roots:
                self.roots.append(root)

    def _folder(self, folder):
        real = os.path.realpath(folder)
        if real in self._seen:
            return
        self._seen.add(real)
        conftest = os.path.join(folder, "conftest.py")
        if not self._no_conftest and os.path.isfile(conftest):
            self.conftests.append(conftest)
            self._import(conftest)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        if insides.OLD_TREE:
            entries.sort(key=_is_folder)
        for entry in entries:
            if _is_folder(entry):
                if not self._ignored(entry.path):
                    self._folder(entry.path)
            elif entry.name.endswith(".py") and self._is_test(entry.path) and not self._ignored(entry.path):
                self._import(entry.path)

    def _is_test(self, path):
        return any(insides.matches(pattern, path) for pattern in self._patterns)

    def _ignored(self, path):
        if os.path.basename(path) == "__pycache__":
            return True
        if os.path.isdir(path) and any(insides.matches(pattern, path) for pattern in self._norecurse):
            return True
        try:
            return bool(self.config.hook.pytest_ignore_collect(collection_path=Path(path), config=self.config))
        except Exception:
            return False  # before 8 this imports conftests; the collection will tell of one that breaks


class Additions:
    """What sys.path has more than it had when this was made."""

    def __init__(self):
        self._before = list(sys.path)

    def found(self):
        """(folders put at the front, oldest first; folders put at the end, oldest first)."""
        end = len(sys.path) - sys.path[::-1].index(self._before[-1]) if self._before[-1] in sys.path else 0
        front = [entry for entry in sys.path[:end] if entry not in self._before]
        back = [entry for entry in sys.path[end:] if entry not in self._before and entry not in front]
        return list(dict.fromkeys(front[::-1])), list(dict.fromkeys(back))


class SearchPath:
    """The folders that the whole collection put on sys.path, applied here."""

    def __init__(self, front, back):
        front, back = list(front), list(back)
        self._order = front
        self._front = [folder for folder in front if folder not in sys.path and os.path.isdir(folder)]
        self._back = [folder for folder in back if folder not in sys.path and os.path.isdir(folder)]

    def apply(self):
        for folder in self._front:
            if folder not in sys.path:
                sys.path.insert(0, folder)
        for folder in self._back:
            if folder not in sys.path:
                sys.path.append(folder)

    def only_before(self, path):
        """As it was when the whole collection imported this file: without the folders that came later."""
        self.apply()
        root = import_root(path)
        if root in self._order:
            later = set(self._order[self._order.index(root) + 1 :]).intersection(self._front)
            sys.path[:] = [entry for entry in sys.path if entry not in later]
