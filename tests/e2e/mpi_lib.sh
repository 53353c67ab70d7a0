# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced after lib.sh by the tests of several MPI ranks: what a run told of them, and projects around a test that is bad.
"$python" -c 'import mpi4py' 2>/dev/null || skip "no mpi4py for $python"

# told JSON EXPRESSION: what it gives, with `run` the JSON, `tests` its tests in the order they began, and `of` the test of a name.
told() {
    "$python" - "$1" "$2" <<'PY'
import json, sys
run = json.load(open(sys.argv[1]))
tests = sorted(run["tests"], key=lambda t: t.get("started") or 0)
def of(name):
    found, = [t for t in tests if t["nodeid"].endswith("::" + name)]
    return found
print(eval(sys.argv[2]))
PY
}

want_told() {
    local got
    got=$(told "$1" "$2")
    [ "$got" = "$3" ] || fail "$2 is '$got', not '$3'"
}

# want_text JSON NAME WORDS...: the words (as they are) stand in what is shown of that test.
want_text() {
    local text words
    text=$(told "$1" "of('$2')['longrepr']")
    for words in "${@:3}"; do
        grep -q -F -e "$words" <<<"$text" || { printf '%s\n' "$text" | sed 's/^/  | /'; fail "no '$words' in what is shown of $2"; }
    done
}

never_more_ranks_than_slots() {
    "$python" "$source_dir/tests/e2e/ranks_check.py" "$1" || fail "more ranks than slots"
}

# neighbours: a file of tests that must pass, whatever happens beside them.
neighbours() {
    cat >test_neighbours.py <<'PY'
import ptremote
import pytest

@pytest.mark.parametrize("n", range(3))
@ptremote.mark.parallel([2, 3])
def test_pair(comm, n):
    assert comm.allreduce(1) == comm.size

@pytest.mark.parametrize("n", range(4))
def test_alone(n):
    pass
PY
}
# shellcheck disable=SC2034
neighbours_passed=10

# one_bad NAME: the project has test_bad.py, in which NAME is bad, with tests that are good before and after it, and neighbours.
one_bad() {
    cat >>test_bad.py <<'PY'

@ptremote.mark.parallel(3)
def test_zz_after(comm):
    assert comm.allreduce(1) == 3
PY
    neighbours
}

# shellcheck disable=SC2034
bad_head='import ctypes, os, signal, sys, time
import ptremote
from mpi4py import MPI

@ptremote.mark.parallel(3)
def test_before(comm):
    assert comm.allreduce(1) == 3
'
