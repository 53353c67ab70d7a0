#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# From the command to the first test's report, seen on the terminal: warm hosts, unchanged tree of 200 test files, against
# `pytest -d --tx ssh=... --rsyncdir ...` of pytest-xdist. ROUNDS pairs (default 5).
. "$(dirname "$0")/lib.sh"
lab_up 2

mkdir "$work/project"
cd "$work/project" || exit 1
printf '[pytest]\n' >pytest.ini
mkdir tests
for n in $(seq -w 200); do
    printf 'import pytest\n\n@pytest.mark.parametrize("n", range(5))\ndef test_%s(n):\n    assert n >= 0\n' "$n" >"tests/test_$n.py"
done
git init -q .

machine
tx=
for host in h1 h2; do
    tx+=" --tx ssh=$host//ssh_config=$LAB_SSH_CONFIG//python=$python//chdir=/tmp/xdist-$host"
done
remote="$ptremote --ssh-config $LAB_SSH_CONFIG --hosts h1:1,h2:1 --python $python -v --json $work/got.json"
xdist="$python -m pytest -p no:cacheprovider -v -d$tx --rsyncdir $PWD/tests $PWD/tests"

echo "== once, so that both find warm hosts"
sh -c "$remote" >"$work/out" 2>"$work/err" || { show_run; fail "ptremote: exit status $?"; }
tail -1 "$work/out"
sh -c "$xdist" >"$work/out" 2>"$work/err" || { show_run; fail "xdist: exit status $?"; }
tail -1 "$work/out"

echo "== first report"
"$python" "$bench/pair.py" -n "${ROUNDS:-5}" --limit "${LIMIT:-0.6}" --first '^.*(PASSED|passed).*test_[0-9]+|test_[0-9]+.*(PASSED|passed)' \
    "ptremote=$remote" "xdist=$xdist"
rc=$?
where_time_goes "$work/got.json"
exit $rc
