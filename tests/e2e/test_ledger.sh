#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The record of runs on files and disks that are not as they should be.
. "$(dirname "$0")/lib.sh"

two_tests() { # a project with a test that passes and one that fails
    project two
    mkdir -p .git
    printf 'def test_passes():\n    pass\n\ndef test_fails():\n    assert 0\n' >test_two.py
}

aside() { find "$1" -name 'ledger.sqlite.damaged-*' ! -name '*-wal' ! -name '*-shm' | wc -l; }

reads_are_refused() { # PATTERN WHAT: every command that reads says so, and changes nothing
    local words before
    before=$(cd .ptremote && md5sum ledger.sqlite)
    for words in runs show "report --json $work/no.json" history; do
        # shellcheck disable=SC2086
        record $words
        [ "$rc" = 4 ] || fail "$2: $words ended with $rc"
        want_line "^ptremote: .*$1"
        [ "$(cat "$out" "$err" | wc -l)" = 1 ] || fail "$2: $words said more than a line"
    done
    pt --resume
    want_rc 4
    want_line "^ptremote: .*$1"
    [ "$before" = "$(cd .ptremote && md5sum ledger.sqlite)" ] || fail "$2: reading changed the file"
}

# damage NAME COMMAND...: what the command does to the ledger of a finished run is damage: the next run sets it aside and goes on.
damage() {
    local name=$1
    shift
    two_tests
    pt --hosts local:1
    want_rc 1
    "$@" .ptremote/ledger.sqlite
    reads_are_refused "the ledger .*/two/.ptremote/ledger.sqlite is damaged; next: the next run sets it aside" "$name"
    [ "$(aside .ptremote)" = 0 ] || fail "$name: set aside by a command that reads"
    pt --hosts local:1
    want_rc 1
    want_line "the ledger .*/two/.ptremote/ledger.sqlite was damaged: set aside as .*/ledger.sqlite.damaged-20[0-9]{6}-[0-9]{6}, history begins anew"
    want_words "1 failed, 1 passed"
    [ "$(aside .ptremote)" = 1 ] || fail "$name: not set aside"
    record runs
    want_rc 0
    [ "$(wc -l <"$out")" = 1 ] || fail "$name: $(wc -l <"$out") runs"
    pt --hosts local:1
    want_rc 1
    ! says "was damaged" || fail "$name: damaged again"
    [ "$(aside .ptremote)" = 1 ] || fail "$name: more was set aside"
}

no_database() { printf 'This is a text, and as long as the head of a database would be. %0200d\n' 0 >"$1"; }
cut_in_two() { truncate -s $(($(stat -c %s "$1") / 2)) "$1"; }
break_head() { printf 'zzzzzzzz' | dd of="$1" conv=notrunc status=none; }
break_tables() { # all pages but the first
    dd if=/dev/urandom of="$1" bs=4096 seek=1 count=$(($(stat -c %s "$1") / 4096 - 1)) conv=notrunc status=none
}

test_damaged() {
    damage "no database" no_database
    damage "cut in two" cut_in_two
    damage "the head" break_head
    damage "the pages" break_tables
}

# What was set aside can still be looked into by hand.
test_what_was_set_aside_is_whole() {
    two_tests
    pt --hosts local:1
    cp .ptremote/ledger.sqlite "$work/before"
    "$python" -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("DROP TABLE notes"); c.commit()' .ptremote/ledger.sqlite
    pt --hosts local:1
    want_rc 1
    want_line "was damaged: set aside as"
    "$python" - .ptremote/ledger.sqlite.damaged-* <<'PY' || fail "its tests are gone"
import sqlite3, sys
assert sqlite3.connect(sys.argv[1]).execute("SELECT COUNT(*) FROM tests").fetchone() == (2,)
PY
}

test_of_a_newer_ptremote() {
    two_tests
    pt --hosts local:1
    printf '\0\0\0\143' | dd of=.ptremote/ledger.sqlite bs=1 seek=60 conv=notrunc status=none
    reads_are_refused "written by a newer ptremote \(layout 99, this one knows [0-9]+\); next: use the newer ptremote, or .*--state-dir DIR" newer
    pt --hosts local:1
    want_rc 4
    want_line "^ptremote: .*ledger.sqlite was written by a newer ptremote .*; next: use the newer ptremote, or keep another record with --state-dir DIR"
    [ "$(aside .ptremote)" = 0 ] || fail "set aside"
    ! says "passed" || fail "it ran"
    pt --hosts local:1 --state-dir "$work/other"
    want_rc 1
    want_words "1 failed, 1 passed"
}

# ---- --state-dir ----
test_state_dir_is_heard_by_all() {
    local name
    rm -rf "$work/state"
    two_tests
    pt --hosts local:1 --state-dir "$work/state" -k passes
    want_rc 0
    pt --hosts local:1 --state-dir ../state --maxfail 1
    want_rc 1
    [ ! -e .ptremote ] || fail "a .ptremote beside it"
    for name in "$work/state" ../state; do
        record runs --state-dir "$name"
        want_rc 0
        [ "$(wc -l <"$out")" = 2 ] || fail "not two runs"
        record show --state-dir="$name"
        want_rc 0
        want_words "FAILED test_two.py::test_fails"
        record report --state-dir "$name" --json "$work/again.json"
        want_rc 0
        want_summary "$work/again.json" "failed=1 passed=1"
        record history --state-dir "$name" test_passes
        want_rc 0
        [ "$(grep -c ' passed' "$out")" = 2 ] || fail "history"
    done
    mkdir deep
    cd deep || exit 1
    record runs --state-dir ../../state
    [ "$(wc -l <"$out")" = 2 ] || fail "relative to the working directory"
    record runs
    want_rc 4
    want_line "no runs are recorded in .*/two/.ptremote"
}

test_state_dir_and_resume() {
    local place
    for place in "$work/state" ../state; do
        rm -rf "$work/state"
        project cut
        mkdir -p .git
        rm -f "$work/quick"
        cat >test_cut.py <<PY
import os
import pytest
import time

def test_a():
    assert 0

@pytest.mark.parametrize("n", range(20))
def test_b(n):
    time.sleep(0 if os.path.exists("$work/quick") else 1)
PY
        pt --hosts local:1 --state-dir "$place" -x
        want_rc 1
        want_words "not run"
        touch "$work/quick"
        pt --resume --state-dir "$place"
        want_rc 1
        want_words "1 failed, 20 passed"
        [ ! -e .ptremote ] || fail "a .ptremote beside it"
    done
}

# It is not sent, by whatever name, so that no run changes the tree.
test_state_dir_in_the_tree() {
    project within
    printf 'import os\n\ndef test_it():\n    assert not os.path.exists("sub/state")\n' >test_it.py
    mkdir sub
    printf 'def test_that():\n    pass\n' >sub/test_that.py
    local n
    for n in 1 2; do
        pt --hosts local:1 --state-dir sub/state
        want_rc 0
        want_words "2 passed"
    done
    [ -e sub/state/ledger.sqlite ] || fail "no record there"
}

# ---- disks ----
# on_disk OPTIONS ARGS...: ptremote with a small file system of its own at $work/disk, which holds what is in $work/content.
on_disk() {
    local options=$1
    shift
    out=$work/out err=$work/err
    mkdir -p "$work/disk" "$work/content"
    # shellcheck disable=SC2016
    timeout -k 5 120 unshare -m sh -c 'disk=$1 content=$2 options=$3 && shift 3 && mount -t tmpfs -o "size=2m" none "$disk" && cp -a "$content/." "$disk" &&
        { [ ! -e "$disk/fill" ] || dd if=/dev/zero of="$disk/filler" bs=64k status=none 2>/dev/null || :; } &&
        mount -o "remount,$options" "$disk" && exec "$@"' \
        sh "$work/disk" "$work/content" "$options" "$ptremote" "$@" >"$out" 2>"$err" </dev/null
    rc=$?
    return 0
}

test_a_disk_that_cannot_be_written() {
    unshare -m true 2>/dev/null || { echo 'no file system can be mounted here'; return 0; }
    rm -rf "$work/content" "$work/disk"
    two_tests
    on_disk ro --python "$python" --hosts local:1 --state-dir "$work/disk/state"
    want_rc 6
    want_line "^ptremote: state folder .*/disk/state: Read-only file system; next: make it writable, or keep the state elsewhere with --state-dir DIR"
    pt --hosts local:1 --state-dir "$work/content/state"
    want_rc 1
    on_disk ro --python "$python" --hosts local:1 --state-dir "$work/disk/state"
    want_rc 6
    want_line "^ptremote: ledger .*/disk/state/ledger.sqlite: .*; next: make it writable, or keep the record elsewhere with --state-dir DIR"
    on_disk ro runs --state-dir "$work/disk/state"
    want_rc 0
    want_words "1 failed"
    on_disk ro show --state-dir "$work/disk/state"
    want_rc 0
    want_words "1 failed, 1 passed"
}

test_a_full_disk() {
    unshare -m true 2>/dev/null || { echo 'no file system can be mounted here'; return 0; }
    rm -rf "$work/content" "$work/disk"
    two_tests
    mkdir -p "$work/content"
    touch "$work/content/fill"
    on_disk rw --python "$python" --hosts local:1 --state-dir "$work/disk/state"
    want_rc 6
    want_line "^ptremote: .*No space left on device; next: make room there, or keep the state elsewhere with --state-dir DIR"
    rm "$work/content/fill"
    printf 'import pytest\n\n@pytest.mark.parametrize("n", range(60))\ndef test_talks(n):\n    print("x" * 100000)\n    assert 0\n' >test_two.py
    on_disk rw --python "$python" --hosts local:1 --state-dir "$work/disk/state"
    want_rc 6
    want_line "^ptremote: ledger .*/disk/state/ledger.sqlite: write: .*full; next: make room there, or keep the record elsewhere with --state-dir DIR"
}

run_tests
