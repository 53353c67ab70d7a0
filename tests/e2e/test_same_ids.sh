#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is collected here is what runs there: ids from sets, and files changed behind the back of their mtime.
. "$(dirname "$0")/lib.sh"

test_parameters_from_a_set_of_strings() {
    project sets
    cat >test_sets.py <<'PY'
import pytest

@pytest.mark.parametrize("word", {"ash", "beech", "birch", "elm", "fir", "lime", "oak", "pine", "yew"})
def test_tree(word, request):
    assert request.node.name == f"test_tree[{word}]"

@pytest.mark.parametrize("pair", {("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")})
def test_pair(pair, record_property):
    record_property("pair", "".join(pair))
PY
    for _ in $(seq 10); do
        pt --hosts local:2 --json "$work/got.json"
        want_rc 0
        want_summary "$work/got.json" "passed=13"
    done
    PYTHONHASHSEED=7 pt --hosts local:2 --junitxml "$work/got.xml"
    export PYTHONHASHSEED=7
    same_as_plain "$work/got.xml"
    nothing_left
}

test_edited_with_size_and_mtime_set_back() {
    project edited
    printf 'def test_it():\n    assert 1 == 1\n' >test_it.py
    touch -d '2024-01-01 00:00:00' test_it.py "$work/stamp"
    pt --hosts local:1 --json "$work/got.json"
    want_rc 0
    printf 'def test_it():\n    assert 1 == 2\n' >test_it.py
    touch -r "$work/stamp" test_it.py
    pt --hosts local:1 --json "$work/got.json"
    want_rc 1
    want_summary "$work/got.json" "failed=1"
    printf 'def test_it():\n    assert 2 == 2\n' >test_it.py
    touch -r "$work/stamp" test_it.py
    pt --hosts local:1 --json "$work/got.json"
    want_rc 0
    nothing_left
}

test_import_missing_there_only() {
    project importorskip
    cat >test_here.py <<'PY'
import os
import pytest
if "PTREMOTE_WORKER" in os.environ:
    pytest.skip("not on the hosts", allow_module_level=True)

def test_one():
    pass

def test_two():
    pass
PY
    printf 'def test_it():\n    pass\n' >test_other.py
    pt --hosts local:1 --json "$work/got.json"
    want_rc 0
    want_outcomes "$work/got.json" "test_here.py::test_one skipped" "test_here.py::test_two skipped" "test_other.py::test_it passed"
}

test_id_missing_there_is_an_error() {
    project missing
    cat >test_ids.py <<'PY'
import os
import pytest

@pytest.mark.parametrize("where", ["there" if "PTREMOTE_WORKER" in os.environ else "here", "both"])
def test_id(where):
    pass
PY
    pt --hosts local:1 --json "$work/got.json"
    want_rc 1
    want_outcomes "$work/got.json" "test_ids.py::test_id[both] passed" "test_ids.py::test_id[here] error"
    want_words "test_id\[there\]"
}

run_tests
