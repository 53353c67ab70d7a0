#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Forty conversations between master and agent, changed on the way; many more: tests/fuzz/conversations --count 20000. First it is seen
# that what goes wrong is told: programs in place of ours crash, hang, write elsewhere, leave processes, say nothing.
. "$(dirname "$0")/lib.sh"

test_forty_seeds() {
    PTREMOTE_BUILD=$build_dir "$source_dir/tests/fuzz/conversations" --control --seed "$seed" --count 40 --variant run --variant linger >"$work/had" 2>&1
    rc=$?
    cat "$work/had"
    want_rc 0
    grep -q "^control: all told" "$work/had" || fail "what goes wrong is not told"
    grep -q "^40 conversations in .*: 0 went wrong" "$work/had" || fail "not forty"
}

[ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null || skip "needs root (mounts)"
seed=${SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "seed $seed"
run_tests
