#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One seed of the chaos test, made up and printed, or that of SEED. Twenty in a row: tests/chaos/chaos --seeds 20.
. "$(dirname "$0")/lib.sh"

test_one_seed() {
    PTREMOTE_BUILD=$build_dir "$python" "$source_dir/tests/chaos/chaos" --seed "$seed" >"$work/chaos" 2>&1
    rc=$?
    [ $rc != 77 ] || exit 77
    cat "$work/chaos"
    want_rc 0
}

[ "$(id -u)" = 0 ] || skip "needs root (network namespaces and mounts)"
seed=${SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "seed $seed"
patience=15
run_tests
