#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --detach, attach and stop with real sshd hosts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/detach_lib.sh"
lab_up 2
chmod 755 "$work"
hosts=h1:2

on_hosts() { # the tests of waiting_suite meet in a file on the host
    waiting_suite
    sed -i "s|$work/|/var/tmp/|" test_waits.py
    rm -f "$(host_disk h1)"/var/tmp/{go,waits}
}
begins() { wait_for 60 "the test does not begin" test -e "$(host_disk h1)/var/tmp/waits"; }
lets_go() { touch "$(host_disk h1)/var/tmp/go"; }

test_a_host() {
    on_hosts
    start_detached --ssh-config "$LAB_SSH_CONFIG"
    begins
    attach_start
    wait_for 60 "what was printed is not shown" says "h1: ready, 2 slots"
    lets_go
    pt_end 60
    want_rc 1
    want_words "= 1 failed, 2 passed in "
    nothing_left h1
}

test_the_terminal_hangs_up() {
    on_hosts
    detach_and_hang_up --ssh-config "$LAB_SSH_CONFIG" --hosts h1:2
    begins
    lets_go
    record attach
    want_rc 1
    want_words "= 1 failed, 2 passed in "
    nothing_left h1
}

test_stop_cleans_the_host() {
    on_hosts
    start_detached --ssh-config "$LAB_SSH_CONFIG"
    begins
    record stop "$run"
    want_rc 0
    [ -z "$("$lab" pids h1 | grep -e ptremote-worker -e mpirun -e python)" ] || fail "stop came back before the host was clean"
    nothing_left h1
    record attach
    want_rc 2
    want_words "Interrupted by ptremote stop"
}

test_killed_and_resumed_on_another_host() {
    on_hosts
    start_detached --ssh-config "$LAB_SSH_CONFIG"
    local first=$run
    begins
    runs_says " detached (process " || fail "it does not go on"
    kill -9 "$(sed -n 's/.* detached (process \([0-9]*\)).*/\1/p' "$work/runs")"
    record attach
    want_rc 6
    want_line "next: ptremote --resume $run goes on with it"
    nothing_left h1
    touch "$(host_disk h2)/var/tmp/go"
    hosts=h2:2
    start_detached --resume "$first"
    record attach
    want_rc 1
    want_words "goes on with run $first" "h2: ready, 2 slots" "= 1 failed, 2 passed in "
    nothing_left h1 h2
}

test_a_host_that_cannot_be_used_is_told_at_once() {
    on_hosts
    hosts=h1:2,nowhere.invalid:2
    start_detached --ssh-config "$LAB_SSH_CONFIG"
    want_words "^nowhere.invalid: "
    begins
    record stop
    want_rc 0
    nothing_left h1
}

test_nobody_can_be_asked() {
    on_hosts
    (
        LAB_DIR=$work/second
        lab_up 2 --passwd h1 --kbdint h2
        local host
        for host in h1 h2; do # from a terminal, as else nobody could be asked anyway
            "$python" - "$ptremote" "$python" "$LAB_SSH_CONFIG" $host "$work/out" <<'PY' || fail "no terminal"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "--python", sys.argv[2], "--ssh-config", sys.argv[3], "--hosts", sys.argv[4] + ":1", "--detach"])
said = b""
while True:
    try:
        piece = os.read(fd, 4096)
    except OSError:
        break
    if not piece:
        break
    said += piece
open(sys.argv[5], "wb").write(said)
assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 6, said
PY
            : >"$err"
            want_line "^$host: .*(password|permission denied).*; next: "
        done
        nothing_left h1 h2
    )
    local rc=$?
    LAB_DIR=$work/second "$lab" down
    [ $rc = 0 ] || return $rc
    ssh-keygen -q -t ed25519 -N secret -f "$work/locked" || fail "no key"
    local authorized
    authorized=$(cat "$work/locked.pub")
    "$lab" exec h1 sh -c "echo '$authorized' >>/root/.ssh/authorized_keys"
    sed "s|IdentityFile .*|IdentityFile $work/locked|" "$LAB_SSH_CONFIG" >"$work/locked_config"
    pt --ssh-config "$work/locked_config" --hosts h1:1 --detach
    want_rc 6
    want_line "^h1: .*; next: .*needs its passphrase: ssh-add $work/locked"
    nothing_left h1
}

run_tests
