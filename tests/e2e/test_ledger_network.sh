#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The record of runs on a file system that lies on another machine: a host's folder, mounted here by sshfs.
. "$(dirname "$0")/lib.sh"

command -v sshfs >/dev/null || skip "no sshfs (package sshfs)"
[ -c /dev/fuse ] || skip "no /dev/fuse"
lab_up 1
net=$work/net
mkdir -p "$net"
"$lab" exec h1 mkdir -p /root/state
trap 'umount -l "$net" 2>/dev/null; leave' EXIT
sshfs -F "$LAB_SSH_CONFIG" h1:/root/state "$net" || skip "sshfs cannot mount here"
there=$(host_disk h1)/root/state

waits() { # a project whose last test waits until it is let go
    project waits
    find "$net" -mindepth 1 -delete
    rm -f "$work/go"
    cat >test_waits.py <<PY
import os
import time

def test_first():
    pass

def test_fails():
    assert 0

def test_waits():
    end = time.time() + 300
    while not os.path.exists("$work/go") and time.time() < end:
        time.sleep(0.05)
PY
}

runs_says() {
    record runs --state-dir "$net"
    cat "$out" "$err"
    grep -q -F "$1" "$out"
}

no_log() { [ ! -e "$there/ledger.sqlite-wal" ] && [ ! -e "$there/ledger.sqlite-shm" ] || fail "a write-ahead log over the network"; }

journal() { od -An -tx1 -j18 -N2 "$there/ledger.sqlite" | xargs; } # what the head of the file says

test_written_and_read_at_once() {
    waits
    pt_start --hosts local:1 --state-dir "$net"
    wait_for 60 "the run is not told as one that goes on" runs_says "running (process $master)  1 passed, 1 failed, 1 open"
    no_log
    touch "$work/go"
    out=$work/out err=$work/err
    pt_end
    want_rc 1
    record runs --state-dir "$net"
    want_words "exit 1  2 passed, 1 failed"
    no_log
}

test_without_sockets_no_host_can_join() {
    waits
    pt_start --hosts local:1 --state-dir "$net"
    wait_for 60 "the run is not told as one that goes on" runs_says "running (process $master)"
    record add-host h1 --state-dir "$net"
    want_rc 6
    want_line "^ptremote: run [0-9a-f-]* cannot be asked: $net/doors"
    touch "$work/go"
    pt_end 60
    pt --hosts local:1 --state-dir "$net"
    want_rc 1
    want_line "^hosts can neither join this run nor leave it: $net/doors: "
}

test_killed_and_resumed() {
    waits
    pt_start --hosts local:1 --state-dir "$net"
    wait_for 60 "the run is not told as one that goes on" runs_says "1 passed, 1 failed, 1 open"
    kill -9 "$master"
    wait "$master" 2>/dev/null
    touch "$work/go"
    pt --resume --state-dir "$net"
    want_rc 1
    want_words "1 failed, 2 passed"
    no_log
    "$lab" exec h1 /usr/bin/python3 -c 'import sqlite3; print(sqlite3.connect("/root/state/ledger.sqlite").execute("PRAGMA integrity_check").fetchone()[0])' >"$work/check"
    [ "$(cat "$work/check")" = ok ] || fail "$(cat "$work/check")"
}

# It was begun on a disk of the machine that has it.
test_a_log_is_given_up() {
    waits
    touch "$work/go"
    pt --hosts local:1 --state-dir "$there" test_waits.py::test_first
    want_rc 0
    [ "$(journal)" = "02 02" ] || fail "it has no log on a local disk"
    record runs --state-dir "$net"
    want_rc 0
    want_words "1 passed"
    [ "$(journal)" = "01 01" ] || fail "it still has one"
    pt --hosts local:1 --state-dir "$net"
    want_rc 1
    pt --hosts local:1 --state-dir "$there"
    want_rc 1
    record runs --state-dir "$net"
    [ "$(wc -l <"$out")" = 3 ] || fail "$(wc -l <"$out") runs"
    no_log
}

run_tests
