#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What runs out or fails on one of two hosts, or here: one line that names the host, the cause and the next step; all tests are told once.
. "$(dirname "$0")/lib.sh"
lab_up 2 --mount h2 /tmp mode=1777,size=24m --mount h2 /small mode=700,size=64m
sanitized() { nm "$build_dir/bin/ptremote-worker" 2>/dev/null | grep -q __asan_init; }

held=$(host_disk h1)/var/tmp/held # while it is there, no test on h1 begins: or h1 might do all before h2 does what a test is about

suite() { # 24 tests in 4 files, in which nobody writes anything
    project suite
    rm -f "$held"
    cat >conftest.py <<'PY'
import os
import socket
import time

import pytest

@pytest.fixture(autouse=True)
def may_begin():
    end = time.time() + 300
    while socket.gethostname() == "h1" and os.path.exists("/var/tmp/held") and time.time() < end:
        time.sleep(0.02)
PY
    local n
    for n in 1 2 3 4; do
        printf 'import time\nimport pytest\n\n@pytest.mark.parametrize("n", range(6))\ndef test_it(n):\n    time.sleep(%s)\n' "${1:-0.02}" >"test_$n.py"
    done
}

remote() {
    rm -f "$work/got.json"
    pt --ssh-config "$LAB_SSH_CONFIG" --json "$work/got.json" "$@"
}

# login USER LINE: what a login of USER on h2 does first; nothing without LINE.
login() {
    local home
    home=$(host_disk h2)/home/$1
    [ "$1" != root ] || home=$(host_disk h2)/root
    printf '%s\n' "${2:-}" >"$home/.bashrc"
}

start() {
    rm -f "$work/got.json"
    pt_start --ssh-config "$LAB_SSH_CONFIG" --json "$work/got.json" "$@"
}

# lose PATTERN ARGS...: a run in which h2 is lost; the words of it say why.
lose() {
    touch "$held"
    start "${@:2}"
    wait_for 60 "no word of h2" has_said "$1"
    rm "$held"
    pt_end
    lost=$1
}
# All tests passed elsewhere, and one line says what became of h2.
lost_one() {
    want_rc 0
    want_summary "$work/got.json" "passed=24"
    want_line "$lost"
    nothing_left h1 h2
}
has_said() { grep -q -i -E -e "$1" "$out" "$err" || pt_has_ended; }

# ---- the host ----
# Processes of that user on other machines of this kernel count too, so they may run out anywhere below this.
test_no_more_processes() {
    suite
    local most
    for most in 1 3 4; do
        login ada "ulimit -u $most"
        lose 'ada@h2: .*(fork|temporarily unavailable).*; next: .*ulimit -u' --hosts h1:1,ada@h2:2
        login ada
        lost_one
    done
    remote --hosts ada@h2:2 # what was cut off there is no obstacle
    want_rc 0
    nothing_left h2
}

test_no_more_descriptors() {
    suite
    local most
    for most in 13 20; do
        login root "ulimit -n $most"
        lose 'h2: .*open files.*; next: allow more.*ulimit -n' --hosts h1:1,h2:2
        login root
        lost_one
    done
}

test_no_more_memory() {
    ! sanitized || return 0 # they need terabytes of addresses
    suite
    login root "ulimit -v 30000"
    lose 'h2: .*(only 29 MiB of memory.*ulimit -v|ulimit -v.*only 29 MiB of memory)' --hosts h1:1,h2:2
    login root
    lost_one
}

fill() { "$lab" exec h2 sh -c 'for to; do dd if=/dev/zero of=$to/filler bs=64k 2>/dev/null; dd if=/dev/zero of=$to/filler.2 bs=1 count=65536 2>/dev/null; done; :' fill "$@"; }

test_disks_that_fill_while_tests_run() {
    suite 0.2
    "$lab" exec h2 mount -t tmpfs -o mode=1777,size=24m shm /dev/shm
    touch "$held"
    start --hosts h1:1,h2:2 --remote-dir /small
    wait_for 60 "h2 is not ready" says "h2: ready"
    fill /tmp /dev/shm /small
    rm "$held"
    pt_end
    "$lab" exec h2 sh -c 'rm -f /tmp/filler* /small/filler*; umount /dev/shm'
    want_rc 0
    want_summary "$work/got.json" "passed=24"
    nothing_left h1 h2
}

test_disks_that_are_full() {
    suite
    "$lab" exec h2 mount -t tmpfs -o mode=1777,size=1m var /var/tmp
    fill /tmp /var/tmp
    lose 'h2: no place for this run.s sockets: .*No space left on device; next: make room in /tmp' --hosts h1:1,h2:2
    "$lab" exec h2 sh -c 'rm -f /tmp/filler*; umount /var/tmp'
    lost_one
}

test_home_that_cannot_be_written() {
    suite
    "$lab" exec h2 mount --bind /home/carol /home/carol
    "$lab" exec h2 mount -o remount,bind,ro /home/carol
    remote --hosts carol@h2:2 # the next place is taken
    "$lab" exec h2 umount /home/carol
    want_rc 0
    want_summary "$work/got.json" "passed=24"
    nothing_left h2
}

test_home_that_hangs() {
    command -v sshfs >/dev/null && [ -c /dev/fuse ] || { echo 'no sshfs (package sshfs)'; return 0; }
    suite 1
    install -m 600 "$LAB_KEY" "$(host_disk h2)/var/tmp/key"
    cp "$LAB_KNOWN_HOSTS" "$(host_disk h2)/var/tmp/known_hosts"
    "$lab" exec h2 mknod -m 666 /dev/fuse c 10 229
    "$lab" exec h2 sshfs -o allow_other,IdentityFile=/var/tmp/key,UserKnownHostsFile=/var/tmp/known_hosts nina@h1:/home/nina /home/nina
    trap '"$lab" exec h2 umount -l /home/nina; kill -9 "$server"' EXIT
    server=$("$lab" pids h2 | awk '$2 == "sshfs" { print $1 }')
    [ -n "$server" ] || fail "no sshfs on h2"
    printf '\n@pytest.fixture(autouse=True)\ndef reads_its_home():\n    open(__file__).read()\n' >>conftest.py
    touch "$held"
    start --heartbeat 2 --hosts h1:2,nina@h2:2
    wait_for 60 "h2 is not ready" says "nina@h2: ready"
    kill -STOP "$server"
    wait_for 120 "nobody notices" says "nina@h2: the file system of"
    rm "$held"
    pt_end
    kill -CONT "$server"
    want_rc 0
    want_summary "$work/got.json" "passed=24"
    want_line 'nina@h2: the file system of .* has not answered for [0-9]+ s; next: see whether its server is up'
    wait_for 60 "not cleaned up once the home is there again" nothing_of_ours_on_h2
}

nothing_of_ours_on_h2() { ! "$lab" pids h2 | grep -v -E ' (sshfs|ssh|sshd:?) '; }

# ---- here ----
# A program that starts ptremote with a limit, or with another clock.
with() {
    printf '#!/bin/bash\n%s\nexec %q "$@"\n' "$1" "$ptremote" >"$work/with"
    chmod 755 "$work/with"
    ptremote=$work/with
}

test_no_more_descriptors_here() {
    suite
    (
        with 'ulimit -n 8'
        remote --hosts h1:1
        want_rc 6
        want_line '^ptremote: .*Too many open files; next: allow more open files \(ulimit -n\)'
    ) || return 1
    nothing_left h1
}

test_record_that_fills_its_disk_goes_on() {
    project talks
    printf 'import pytest\n\n@pytest.mark.parametrize("n", range(60))\ndef test_talks(n):\n    print("x" * 100000)\n    assert 0\n' >test_talks.py
    mkdir -p "$work/state"
    mount -t tmpfs -o size=2m state "$work/state" || return 1
    trap 'umount -l "$work/state"' EXIT
    remote --hosts h1:2 --state-dir "$work/state"
    want_rc 6
    want_line '^ptremote: ledger .*full; next: make room there'
    mount -o remount,size=64m "$work/state"
    remote --hosts h1:2 --state-dir "$work/state" --resume
    want_rc 1
    want_summary "$work/got.json" "failed=60"
    nothing_left h1
}

# What the clock here shows is two days off, either way, from that of every host. (Files' times are not: those are the kernel's.)
test_clock_two_days_off() {
    ! sanitized || return 0 # their library has to come first
    cat >"$work/clock.c" <<'C'
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long off(void) { return atol(getenv("CLOCK_OFF")); }
int clock_gettime(clockid_t c, struct timespec *t) {
    long rc = syscall(SYS_clock_gettime, c, t);
    if (rc == 0 && (c == CLOCK_REALTIME || c == CLOCK_REALTIME_COARSE)) t->tv_sec += off();
    return (int)rc;
}
int gettimeofday(struct timeval *t, void *z) {
    struct timespec s;
    (void)z;
    if (clock_gettime(CLOCK_REALTIME, &s) < 0) return -1;
    t->tv_sec = s.tv_sec, t->tv_usec = s.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    return t ? *t = s.tv_sec : s.tv_sec;
}
C
    gcc -shared -fPIC -o "$work/clock.so" "$work/clock.c" || return 1
    suite
    local days program=$ptremote
    for days in -2 2; do
        ptremote=$program
        with "export CLOCK_OFF=$((days * 86400)) LD_PRELOAD=$work/clock.so"
        remote --hosts h1:1,h2:1
        want_rc 0
        want_summary "$work/got.json" "passed=24"
        "$python" - "$work/got.json" "$days" <<'PY' || fail "its times do not tell a run of some seconds"
import json, sys, time
got = json.load(open(sys.argv[1]))
assert all(0 <= test["duration"] < 60 for test in got["tests"])
PY
        nothing_left h1 h2
    done
}

run_tests
