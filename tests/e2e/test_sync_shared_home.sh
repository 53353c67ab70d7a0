#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two hosts with one home: both get the tree at once into one store, also when the processes of one are killed.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/sync_lib.sh"
lab_up 2 --shared-home
CACHE=$LAB_DIR/shared/root/.cache/ptremote

workspace() { echo "$CACHE/ws/$1"-*/*/tree; }
workspaces() { echo $(workspace h1) $(workspace h2); }

# Each blob of the tree is in the store, whole, at most twice, and nothing in it is unfinished.
store_is_whole() {
    local blobs lost copies parts
    eval "$("$build_dir/tests/store_check" "$CACHE" .)"
    [ "${lost:-1}" = 0 ] || fail "$1 (seed $seed): ${lost:-all} of ${blobs:-the} blobs are not in the store"
    [ "$copies" -le 2 ] || fail "$1 (seed $seed): a blob lies in the store $copies times"
    [ "$parts" = 0 ] || fail "$1 (seed $seed): $parts unfinished packs"
}

both() { # WORDS
    sync_run h1,h2
    exact "$1" $(workspaces)
    store_is_whole "$1"
}

test_both_at_once() {
    suite
    both "both cold"
    [ "$(workspace h1)" != "$(workspace h2)" ] || fail "one workspace for both"
    both "nothing changed"
    edit 1000 && both "every file edited"
    edit 3 && both "three files edited"
    sync_run h1,h2 -q
    exact "a run of the tests" $(workspaces)
    want_summary "$work/got.json" "passed=120"
    nothing_left h1 h2
}

test_one_is_killed() {
    local wire victim n
    seed=$((seed + 1000)) # nothing that the store has from the test before
    suite
    both "both cold"
    "$lab" slow h1 200mbit
    "$lab" slow h2 200mbit
    edit 1000
    wire=$(sent_to h1)
    both "every file edited"
    wire=$(($(sent_to h1) - wire))
    for n in 1 2 3 4 5 6; do
        keep_old
        edit 1000
        victim=(receiver agent all)
        sync_start h1,h2
        kill_at h1 "$(big_random "$wire")" "${victim[n % 3]}"
        tool whole "$work/old" . $(workspace h1) || fail "kill $n (seed $seed): a file is torn on h1"
        rc=0 exact "kill $n, the other host" $(workspace h2)
        sync_run h1,h2
        exact "kill $n" $(workspaces)
        edit 3 # a host that lacked nothing any more has not looked into the store
        both "kill $n and an edit"
    done
    nothing_left h1 h2
}

run_tests
