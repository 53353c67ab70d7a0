# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of --detach share, with others that look at a run while it goes on.

# attach_start ARGS...: in the background, to be waited for with pt_end; sets master.
attach_start() {
    out=$work/attach.out err=$work/attach.err
    : >"$out" >"$err" # what is in them from now on is its own
    "$python" -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$ptremote" attach "$@" >"$out" 2>"$err" </dev/null &
    master=$!
}

runs_says() {
    "$ptremote" runs >"$work/runs"
    cat "$work/runs"
    grep -q -e "$1" "$work/runs"
}

# waiting_suite: one test passes, one waits for $work/go and one fails.
waiting_suite() {
    project waiting
    git init -q .
    rm -f "$work/waits" "$work/go"
    cat >test_waits.py <<PY
import os
import time

def test_first():
    pass

def test_waits():
    open("$work/waits", "w").close()
    end = time.time() + 300
    while not os.path.exists("$work/go") and time.time() < end:
        time.sleep(0.02)

def test_last():
    assert not "last"
PY
}

# slow_suite: the same, and conftest.py waits for $work/import. Without a checkout nothing is recorded before it is imported.
slow_suite() {
    waiting_suite
    rm -rf .git "$work/imports" "$work/import"
    cat >conftest.py <<PY
import os
import time

open("$work/imports", "w").close()
end = time.time() + 300
while not os.path.exists("$work/import") and time.time() < end:
    time.sleep(0.02)
PY
}

# start_detached ARGS...: on \$hosts; sets run to its name.
start_detached() {
    # shellcheck disable=SC2154
    pt --hosts "$hosts" --split never --detach "$@"
    want_rc 0
    run=$(sed -n 's/^run \([^ ]*\) goes on in the background (process [0-9]*)$/\1/p' "$out")
    [ -n "$run" ] || fail "it does not tell the run's name"
}

# detach_and_hang_up ARGS...: at a terminal, which hangs up once the run is in the background.
detach_and_hang_up() {
    "$python" - "$ptremote" --python "$python" --detach "$@" <<'PY' || fail "no terminal"
import os, pty, signal, sys
pid, fd = pty.fork()
if pid == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.execv("/bin/bash", ["bash", "-c", '"$@"; echo "rc=$?"; exec sleep 1000', "bash", *sys.argv[1:]])
said = b""
while b"rc=" not in said:
    said += os.read(fd, 4096)
assert b"goes on in the background" in said and b"rc=0" in said, said
os.close(fd)
assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 1
PY
}
