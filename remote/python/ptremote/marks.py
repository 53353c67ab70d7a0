# SPDX-License-Identifier: Apache-2.0
"""The marks that decide where and with whom a test runs: registered with pytest, and read off collected tests."""
import re

from ptremote import wire

LINES = (
    "weight(n): this test needs n of its host's slots (ptremote)",
    'exclusive(where): nothing else runs meanwhile on its host ("host") or in the whole run ("run") (ptremote)',
    "needs(label, ...): runs only on hosts that have these labels (ptremote)",
    "xdist_group(name): with --dist group, tests of one group run in one session",
)
MAX_WEIGHT = 65536
MAX_NAME = 256
_NAMES = frozenset(("weight", "exclusive", "needs", "xdist_group"))
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def register(config):
    for line in LINES:
        config.addinivalue_line("markers", line)


class Wrong(Exception):
    """A mark with arguments that it does not take."""

    def __init__(self, mark, text):
        super().__init__("mark %s: %s" % (mark.name, text))
        self.mark = mark


class Reader:
    """Reads the traits (docs/protocol.md 7.1) of tests whose classes and modules stay as they are meanwhile."""

    def __init__(self):
        self._above = {}  # id of a parent -> (its marks and those above it, prefix of its tests' ids, scope)

    def traits(self, item):
        """A dict, empty when there is nothing to tell; raises Wrong."""
        known = self._above.get(id(item.parent))
        if known is None:
            known = self._above[id(item.parent)] = self._look(item.parent)
        marks, prefix, scope = known
        own = [mark for mark in item.own_markers if mark.name in _NAMES]
        found = read(own + marks) if own or marks else {}
        if scope and item.nodeid.startswith(prefix):
            found["scope"] = scope
        return found

    @staticmethod
    def _look(parent):
        marks = [mark for mark in parent.iter_markers() if mark.name in _NAMES]
        scope = 0
        if "::" in parent.nodeid:
            scope = len(wire.visible(parent.nodeid).encode("utf-8"))
        return marks, parent.nodeid + "::", scope


def read(marks):
    """The traits of marks, the closest first."""
    found, groups, needs = {}, set(), set()
    for mark in marks:
        if mark.name == "xdist_group":
            groups.add(_group(mark))
        elif mark.name == "needs":
            needs.update(_labels(mark))
        elif mark.name == "weight":
            found.setdefault("weight", _weight(mark))
        else:
            found.setdefault("exclusive", _exclusive(mark))
    if found.get("weight") == 1:
        del found["weight"]
    if groups:
        found["group"] = "_".join(sorted(groups))
    if needs:
        found["needs"] = sorted(needs)
    return found


def _group(mark):
    name = str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
    if not name or len(name) > MAX_NAME:
        raise Wrong(mark, "want a name of 1 to %d characters" % MAX_NAME)
    return name


def _one(mark, keyword, want):
    """The only argument of a mark, by place or by name."""
    given = list(mark.args) + [mark.kwargs[name] for name in mark.kwargs if name == keyword]
    if len(given) != 1 or set(mark.kwargs) - {keyword}:
        raise Wrong(mark, "want %s, got %s" % (want, _shown(mark)))
    return given[0]


def _weight(mark):
    value = _one(mark, "n", "one whole number of slots")
    if type(value) is not int or not 1 <= value <= MAX_WEIGHT:
        raise Wrong(mark, "want a whole number of slots from 1 to %d, got %s" % (MAX_WEIGHT, _shown(mark)))
    return value


def _exclusive(mark):
    value = _one(mark, "where", '"host" or "run"')
    if value not in ("host", "run"):
        raise Wrong(mark, 'want "host" or "run", got %s' % _shown(mark))
    return value


def _labels(mark):
    if not mark.args or mark.kwargs:
        raise Wrong(mark, "want one or more labels of hosts, got %s" % _shown(mark))
    for label in mark.args:
        if not isinstance(label, str) or len(label) > MAX_NAME or not _LABEL.fullmatch(label):
            raise Wrong(mark, "%s is no label (letters, digits and _.-)" % ascii(label)[:100])
    return mark.args


def _shown(mark):
    words = [ascii(value) for value in mark.args]
    words += ["%s=%s" % (name, ascii(value)) for name, value in mark.kwargs.items()]
    return "(%s)" % ", ".join(words)[:200]
