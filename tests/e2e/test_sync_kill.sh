#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the host's processes or of the master while a tree is on its way, at fifty random points (by bytes that went to the
# host), each followed by a good run. PTREMOTE_SEED repeats the points.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/sync_lib.sh"
lab_up 1
KILLS=50 patience=15

workspace() { echo "$(host_disk h1)"/root/.cache/ptremote/ws/*/*/tree; }

# killed FILES MOST VICTIM: edits FILES files, kills at a random point within MOST bytes, then a good run. Sets at.
killed() {
    local where="kill $((n + 1)) ($3)"
    keep_old
    edit "$1"
    at=$(big_random "$2")
    sync_start h1
    kill_at h1 "$at" "$3"
    where="$where after $(cat "$work/killed") bytes"
    tool whole "$work/old" . $(workspace) || fail "$where (seed $seed): a file is torn"
    if [ $((n % 10)) = 0 ]; then
        sync_run h1 -q
        want_summary "$work/got.json" "passed=120"
    else
        sync_run h1
    fi
    exact "$where" $(workspace)
}

# learn FILES: sets wire to what goes to the host when so many files were edited
learn() {
    local before
    edit "$1"
    before=$(sent_to h1)
    sync_run h1
    wire=$(($(sent_to h1) - before))
    exact "$1 files edited" $(workspace)
}

test_fifty_kills() {
    local victims=(receiver agent all master) at cold small wire n late=0
    suite
    sync_run h1
    exact "the first sync" $(workspace)
    "$lab" slow h1 200mbit
    learn 1000 && cold=$wire
    learn 3 && small=$wire
    for ((n = 0; n < KILLS; n++)); do
        if [ $((n % 5)) = 4 ]; then
            killed 3 "$small" "${victims[RANDOM % 4]}"
            continue
        fi
        killed 1000 "$cold" "${victims[n % 4]}"
        [ "$at" -gt $((cold * 7 / 10)) ] && [ "$(cat "$work/killed")" != late ] || continue
        late=$((late + 1))
        [ "$(bytes_sent)" -lt $((cold * 8 / 10)) ] || fail "killed after $at of $cold bytes, then sent $(bytes_sent)"
    done
    [ "$late" -gt 0 ] || fail "no kill came late"
    nothing_left h1
}

run_tests
