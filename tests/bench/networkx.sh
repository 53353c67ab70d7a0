#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's python3-networkx suite over two hosts of one slot each: the same outcome for every test as plain pytest, run from the
# workspace, and the wall time against `pytest -n 2`. ROUNDS (default 3) pairs; ROUNDS=0 compares outcomes only.
. "$(dirname "$0")/lib.sh"
package=/usr/lib/python3/dist-packages/networkx
[ -d $package ] || skip "no python3-networkx"
lab_up 2 --hide "$package*"

mkdir "$work/project"
cd "$work/project" || exit 1
cp -r $package .
find . -name __pycache__ -prune -exec rm -r {} +
cat >test_where.py <<'PY'
import socket

import networkx


def test_where(record_property):
    record_property("networkx", networkx.__file__)
    record_property("ran_on", socket.gethostname())
PY
git init -q .

machine
remote=("$ptremote" --ssh-config "$LAB_SSH_CONFIG" --hosts "h1:1,h2:1" --python "$python" -q)
pytest=("$python" -m pytest -p no:cacheprovider -q)

echo "== outcomes"
"${pytest[@]}" --junitxml "$work/plain.xml" >"$work/plain.txt" 2>&1
plain_rc=$?
tail -1 "$work/plain.txt"
"${remote[@]}" --junitxml "$work/got.xml" --json "$work/got.json" >"$work/got.txt" 2>&1
got_rc=$?
tail -1 "$work/got.txt"
[ $plain_rc = $got_rc ] || { tail -30 "$work/got.txt"; fail "exit status $got_rc, pytest's is $plain_rc"; }
"$python" "$bench/compare_junit.py" "$work/plain.xml" "$work/got.xml" || fail "other outcomes than plain pytest's"
where=$(sed -n 's/.*name="networkx" value="\([^"]*\)".*/\1/p' "$work/got.xml")
echo "networkx was imported from $where"
case $where in
"$work"/* | "$package"* | '') fail "that is not the workspace of a host" ;;
*/networkx/__init__.py) ;;
*) fail "that is not networkx" ;;
esac

[ "${ROUNDS:-3}" -gt 0 ] || exit 0
echo "== wall time, warm hosts"
"$python" "$bench/pair.py" -n "${ROUNDS:-3}" --limit "${LIMIT:-0.85}" \
    "ptremote=${remote[*]} --json $work/got.json" "xdist=${pytest[*]} -n 2"
rc=$?
where_time_goes "$work/got.json"
exit $rc
