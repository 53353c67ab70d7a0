#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Least power: who unpacks the tree reaches nothing but its workspace and the store, whatever lies there; tests keep what a login has.
. "$(dirname "$0")/lib.sh"

cache=$work/cache

# Says in one line of --debug what this kernel lacks.
kernel_lacks() {
    project kernel
    echo 'def test_one(): pass' >test_one.py
    pt --hosts local:1 --remote-dir "$cache" --debug
    grep -q 'this kernel has no' "$out" "$err"
}

# without_landlock COMMAND...: as on a kernel that has none.
without_landlock() { refusing 444 38 "$@"; }

test_a_store_that_leads_elsewhere_is_not_written() {
    local kind
    ! kernel_lacks || { echo "  the kernel lacks it"; return; }
    want_rc 0
    project elsewhere
    echo 'def test_one(): pass' >test_one.py
    head -c 300000 /dev/urandom >data
    mkdir -p "$work/outside"
    rm -rf "$cache/store"
    mkdir -p "$cache/store"
    for kind in blake2b sha256; do ln -s "$work/outside" "$cache/store/$kind"; done
    pt --hosts local:1 --remote-dir "$cache"
    want_rc 0
    want_line 'what is sent now is not kept on the host.*Permission denied'
    [ -z "$(ls -A "$work/outside")" ] || fail "it wrote $(ls "$work/outside")"
    nothing_left
}

test_tests_keep_what_a_login_has() {
    project login
    cat >test_login.py <<'PY'
import os
import resource
import subprocess

def status(name):
    return [line.split()[1] for line in open("/proc/self/status") if line.startswith(name + ":")]

def test_status():
    assert status("NoNewPrivs") == [os.environ["HERE_PRIVS"]] and status("Seccomp") == [os.environ["HERE_SECCOMP"]]

def test_core():
    assert str(resource.getrlimit(resource.RLIMIT_CORE)) == os.environ["HERE_CORE"]

def test_files_and_programs():
    assert open("/etc/passwd").read() and subprocess.run(["true"]).returncode == 0
PY
    HERE_PRIVS=$(awk '/^NoNewPrivs:/ { print $2 }' /proc/self/status)
    HERE_SECCOMP=$(awk '/^Seccomp:/ { print $2 }' /proc/self/status)
    HERE_CORE=$("$python" -c 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE))')
    export HERE_PRIVS HERE_SECCOMP HERE_CORE
    pt --hosts local:1 --remote-dir "$cache" --env HERE_PRIVS --env HERE_SECCOMP --env HERE_CORE
    want_rc 0
    want_words '3 passed'
    nothing_left
}

test_a_kernel_that_has_none_is_told_with_debug() {
    project none
    echo 'def test_one(): pass' >test_one.py
    out=$work/out err=$work/err
    without_landlock "$ptremote" --python "$python" --hosts local:1 --remote-dir "$cache" --debug >"$out" 2>"$err" </dev/null
    rc=$?
    want_rc 0
    want_line 'local: .*this kernel has no Landlock'
    want_words '1 passed'
    without_landlock "$ptremote" --python "$python" --hosts local:1 --remote-dir "$cache" >"$out" 2>"$err" </dev/null
    ! says 'Landlock' || fail "it says so to who did not ask"
    nothing_left
}

run_tests
