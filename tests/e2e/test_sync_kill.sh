#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the host's processes or of the master while a tree is on its way, at fifty random points (by bytes that went to the
# host; every fifth by bytes that its store has), each followed by a good run. PTREMOTE_SEED repeats the points.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/sync_lib.sh"
lab_up 1
KILLS=50 patience=15

workspace() { echo "$(host_disk h1)"/root/.cache/ptremote/ws/*/*/tree; }

store() { echo "$(host_disk h1)/root/.cache/ptremote/store/blake2b"; }
stored() { find "$(store)" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'; }

# killed FILES AT VICTIM [FOLDER]: edits FILES files, kills then, and a good run.
killed() {
    local where="kill $((n + 1)) ($3)"
    keep_old
    edit "$1"
    sync_start h1
    kill_at h1 "${@:2}"
    where="$where after $(cat "$work/killed") bytes"
    case $(cat "$work/killed") in late | *' 0') ;; *) hit=$((hit + 1)) ;; esac
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
    local victims=(receiver agent all master) cold small wire n hit=0 late=0
    suite
    sync_run h1
    exact "the first sync" $(workspace)
    "$lab" slow h1 200mbit
    learn 1000 && cold=$wire
    learn 3 && small=$wire
    for ((n = 0; n < KILLS; n++)); do
        case $((n % 5)) in
        0) # what went to the host may still be on its way, all of it; what its store has does not come again
            wait_for 60 "h1 does not become quiet" host_is_quiet h1
            killed 1000 $(($(stored) + cold * 7 / 10 + $(big_random $((cold / 10))))) "${victims[n / 5 % 4]}" "$(store)"
            [ "$(cat "$work/killed")" != late ] || continue
            late=$((late + 1))
            [ "$(bytes_sent)" -lt $((cold * 8 / 10)) ] || fail "killed when the store had $(cat "$work/killed"), then sent $(bytes_sent) of $cold"
            ;;
        4) killed 3 "$(big_random "$small")" "${victims[RANDOM % 4]}" ;;
        *) killed 1000 "$(big_random "$cold")" "${victims[n % 4]}" ;;
        esac
    done
    echo "  $hit of $KILLS hit somebody, $late of them when the store had most of it"
    [ "$hit" -gt $((KILLS / 2)) ] || fail "only $hit kills hit somebody"
    [ "$late" -gt 0 ] || fail "no kill came late"
    nothing_left h1
}

run_tests
