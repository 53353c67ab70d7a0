# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced after lib.sh by the tests of interrupted syncs: a suite whose data changes wholly, runs that bring the tree only.
RANDOM=$((${PTREMOTE_SEED:-$$} % 32768))
seed=$RANDOM
edits=0

tool() { "$python" "$source_dir/tests/e2e/sync_tool.py" "$@"; }
big_random() { echo $(((RANDOM << 15 | RANDOM) % $1)); }
counter() { echo "/sys/class/net/ptl$LAB_ID-$1/statistics/tx_bytes"; }
sent_to() { cat "$(counter "$1")"; }
edit() { tool edit . $((seed + ++edits)) "$1"; }
keep_old() { rm -rf "$work/old" && cp -a . "$work/old"; }

# sync_run HOSTS [ARGS...]: with --sync-only, unless there are other ARGS
sync_args() {
    local hosts=$1
    shift
    [ $# -gt 0 ] || set -- --sync-only
    printf '%s\n' --ssh-config "$LAB_SSH_CONFIG" --hosts "$hosts" --json "$work/got.json" "$@"
}
sync_run() { mapfile -t words < <(sync_args "$@") && pt "${words[@]}"; }
sync_start() { mapfile -t words < <(sync_args "$@") && pt_start "${words[@]}"; }

bytes_sent() { "$python" -c 'import json, sys; print(sum(h["bytes_sent"] for h in json.load(open(sys.argv[1]))["hosts"]))' "$work/got.json"; }

suite() { # a test for each data file: has it the content that it should have?
    project tree
    cat >test_sums.py <<'PY'
import hashlib
import json
import pytest

SUMS = json.load(open("sums.json"))

@pytest.mark.parametrize("path", sorted(SUMS))
def test_sum(path):
    assert hashlib.sha1(open(path, "rb").read()).hexdigest() == SUMS[path]
PY
    tool edit . $seed 0
}

# exact WORDS WORKSPACE...: the run before ended well, and each workspace is the tree
exact() {
    local words=$1 workspace
    shift
    [ "$rc" = 0 ] || fail "$words (seed $seed): exit status $rc"
    for workspace; do
        tool same . "$workspace" || fail "$words (seed $seed): the workspace is not the tree"
    done
}

none_runs_on() { ! "$lab" pids "$1" | grep .; }

# kill_at HOST BYTES VICTIM [FOLDER]: once that many bytes went to the host, or lie in that folder
kill_at() {
    tool kill "${4:-$(counter "$1")}" "$2" "$(cat "$LAB_DIR/$1/pid")" "$3" "$master" >"$work/killed" || fail "nothing was killed"
    pt_end 60
    if [ "$3" = all ]; then # nobody is left to clean up: the next run does
        wait_for 60 "left behind on $1" none_runs_on "$1"
    else
        wait_for 60 "left behind on $1" host_is_quiet "$1"
    fi
}
