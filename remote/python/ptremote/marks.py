# SPDX-License-Identifier: Apache-2.0
"""The marks that decide where and with whom a test runs: made for suites, registered with pytest, and read off
collected tests."""
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
MAX_RANKS = 4096
ALL = 0  # ranks: as many as the host has slots
COMM = "comm"  # the fixture whose parameter says how many ranks
_NAMES = frozenset(("weight", "exclusive", "needs", "xdist_group"))
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def register(config):
    from ptremote import mpi

    for line in LINES:
        config.addinivalue_line("markers", line)
    mpi.register(config)


class Ranks(int):
    """How many ranks of MPI a test wants, as the parameter of its fixture `comm`. Shown as a number."""

    slots = 0  # at least so many of the host's slots are taken; 0: one a rank
    numa = False  # they have a NUMA domain to themselves


def _ranks(number, slots, numa):
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_RANKS:
        raise ValueError("parallel: want a number of ranks from 1 to %d, got %s" % (MAX_RANKS, ascii(number)[:100]))
    if slots is not None and (type(slots) is not int or not number <= slots <= MAX_WEIGHT):
        raise ValueError(
            "parallel: want slots from %d (the ranks) to %d, got %s" % (number, MAX_WEIGHT, ascii(slots)[:100])
        )
    made = Ranks(number)
    made.slots, made.numa = slots or 0, bool(numa)
    return made


class Marks:
    """`ptremote.mark`: pytest's marks, and those of MPI, which stand for a parametrization of `comm`."""

    def __getattr__(self, name):
        import pytest

        return getattr(pytest.mark, name)

    @staticmethod
    def parallel(ranks, slots=None, exclusive_numa_domain=False):
        """Run the test on so many ranks, or once for each number of a list. More slots of the host than ranks can be
        taken, and a NUMA domain for the ranks alone."""
        import pytest

        numbers = [ranks] if isinstance(ranks, int) or not hasattr(ranks, "__iter__") else list(ranks)
        sizes = [_ranks(number, slots, exclusive_numa_domain) for number in numbers]
        return pytest.mark.parametrize(COMM, sizes, indirect=[COMM])

    @property
    def parallel_from_context(self):
        """Run the test on as many ranks as its host has slots."""
        import pytest

        return pytest.mark.parametrize(COMM, [pytest.param(Ranks(ALL), id="all")], indirect=[COMM])


MARKS = Marks()


def are_ranks(mark):
    """Whether a mark is one of those."""
    values = mark.args[1] if mark.name == "parametrize" and len(mark.args) > 1 and mark.args[0] == COMM else ()
    return isinstance(values, list) and any(isinstance(getattr(one, "values", [one])[0], Ranks) for one in values)


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
        params = getattr(getattr(item, "callspec", None), "params", ())
        if COMM in params:
            _add_ranks(found, item, params[COMM])
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


def _add_ranks(found, item, wanted):
    """`wanted` is the parameter of `comm`, which may be another's."""
    if not isinstance(wanted, Ranks):
        from ptremote import mpi

        if not mpi.is_ours(item):
            return
        mark = next(mark for mark in item.iter_markers("parametrize") if COMM in str(mark.args[:1]))
        try:
            wanted = _ranks(wanted, None, False)
        except ValueError as error:
            raise Wrong(mark, str(error)) from None
    if wanted == ALL:
        found.pop("weight", None)
        found["ranks"] = 0
        return
    weight = max(found.get("weight", 1), wanted, wanted.slots)
    if weight > 1:
        found["weight"] = int(weight)
    if wanted > 1:
        found["ranks"] = int(wanted)
        if wanted.numa:
            found["numa"] = True


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
