#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two hosts with one home, and so with one cache: neither takes away what a run on the other uses.
. "$(dirname "$0")/lib.sh"
lab_up 2 --shared-home
CACHE=$LAB_DIR/shared/root/.cache/ptremote

clean() {
    out=$work/out err=$work/err
    timeout -k 5 240 "$ptremote" clean --ssh-config "$LAB_SSH_CONFIG" "$@" >"$out" 2>"$err" </dev/null
    rc=$?
}

holding() { # a project whose test ends when /tmp/hold of its host is gone
    project "$1"
    head -c 1000000 /dev/urandom >data.bin
    cat >test_it.py <<'PY'
import os
import time

def test_it():
    open("/tmp/runs", "w").close()
    until = time.monotonic() + 300
    while os.path.exists("/tmp/hold"):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.unlink("/tmp/runs")
PY
}
older() { find "$CACHE" -mindepth 1 ! -path '*/use/*' -exec touch -h -d '9 days ago' {} +; }
start_on_h1() {
    touch "$(host_disk h1)/tmp/hold"
    pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1
    wait_for 60 "the test does not run" test -e "$(host_disk h1)/tmp/runs"
    older
}
programs() { find "$CACHE/bin" "$CACHE/python" -type f | sort; }
end_on_h1() {
    rm "$(host_disk h1)/tmp/hold"
    pt_end 60
    want_rc 0
}

test_a_bound_on_one_spares_the_other() {
    local first before
    holding one
    start_on_h1
    first=$master before=$(programs)
    holding two
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h2:1 -q --cache-size 1k
    want_rc 0
    [ "$before" = "$(programs)" ] || fail "programs that are used are gone"
    [ -n "$(ls -d "$CACHE"/ws/h1-*/one-*/tree)" ] || fail "the workspace of the other host is gone"
    master=$first
    end_on_h1
    older
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h2:1 -q --cache-size 1k
    want_rc 0
    [ ! -e "$(ls -d "$CACHE"/ws/h1-*/one-*)" ] || fail "the workspace that nobody used for days is there"
    nothing_left h1 h2
}

test_cleaning_one_spares_the_other() {
    local before
    holding three
    start_on_h1
    before=$(programs)
    clean --hosts h2
    want_rc 0
    want_words "kept, as used by run 2.*ws/h1-.*/three-"
    [ "$before" = "$(programs)" ] || fail "programs that are used are gone"
    end_on_h1
    clean --hosts h1,h2
    want_rc 0
    [ ! -e "$CACHE" ] || fail "left: $(find "$CACHE")"
    nothing_left h1 h2
}

run_tests
