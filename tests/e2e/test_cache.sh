#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The caches of hosts: no larger than they may be, emptied on demand, and never what a live run uses.
. "$(dirname "$0")/lib.sh"
lab_up 2

cache() { echo "$(host_disk "$1")/root/.cache/ptremote"; }
taken() { du -sk "$(cache "$1")" | cut -f1; }
on_hosts() { pt --ssh-config "$LAB_SSH_CONFIG" "$@"; }
old=$(printf '0%.0s' {1..64})
clean() {
    out=$work/out err=$work/err
    timeout -k 5 240 "$ptremote" clean --ssh-config "$LAB_SSH_CONFIG" "$@" >"$out" 2>"$err" </dev/null
    rc=$?
}

heavy() { # NAME: a project with 3 MB that compress badly, and a test that says when it runs and ends when it may
    project "$1"
    head -c 3000000 /dev/urandom >data.bin
    cat >test_it.py <<PY
import os
import time

def test_it():
    open("/tmp/runs-$1", "w").close()
    until = time.monotonic() + 300
    while os.path.exists("/tmp/hold-$1"):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.unlink("/tmp/runs-$1")
PY
}

# older HOST HOURS: as if nothing had been used since then
older() { find "$(cache "$1")" -mindepth 1 ! -name tree ! -path '*/tree/*' -exec touch -h -d "$2 hours ago" {} +; }
put_program() { # HOST: 4 MB of another version, used 3 days ago
    mkdir -p "$(cache "$1")/bin/$old"
    head -c 4096000 /dev/zero >"$(cache "$1")/bin/$old/ptremote-agent"
    touch -d '3 days ago' "$(cache "$1")/bin/$old"
}
workspaces() { (cd "$(cache "$1")/ws" && echo -- */*/tree | sed 's,[^ ]*/\([^-/ ]*\)[^/ ]*/tree,\1,g; s/^-- //'); }
runs_on() { [ -e "$(host_disk "$1")/tmp/runs-$2" ]; }
hold() { touch "$(host_disk "$1")/tmp/hold-$2"; }
let_go() { rm "$(host_disk "$1")/tmp/hold-$2"; }

test_what_was_used_last_longest_ago_goes() {
    local n
    for n in one two three; do
        heavy $n
        on_hosts --hosts h1:1 -q
        want_rc 0
        older h1 $((10 - ${#n}))
    done
    [ "$(workspaces h1)" = "one three two" ] || fail "the cache holds $(workspaces h1)"
    cd "$work/one" || exit 1
    older h1 2
    put_program h1
    touch -d '6 hours ago' "$(cache h1)"/ws/*/one-*/lock
    touch -d '5 hours ago' "$(cache h1)"/ws/*/two-*/lock
    touch -d '4 hours ago' "$(cache h1)"/ws/*/three-*/lock
    on_hosts --hosts h1:1 -q --debug --cache-size "$(($(taken h1) - 4000 - 1500))k"
    want_rc 0
    [ "$(workspaces h1)" = "one three" ] || fail "the cache holds $(workspaces h1), not the one that runs and what was used before it"
    [ ! -e "$(cache h1)/bin/$old" ] || fail "the program of another version is there"
    [ -d "$(cache h1)"/store/blake2b ] || fail "the store is gone"
    [ "$(grep -c 'of the cache were removed' "$err")" = 1 ] || fail "it was not said once"
    grep -q 'bin/00000000, .*two-' "$err" || fail "it was not said what was removed"
    nothing_left h1
}

test_what_is_in_use_stays() {
    local first
    heavy four && hold h1 four
    pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1
    wait_for 60 "the test does not run" runs_on h1 four
    first=$master
    older h1 100
    heavy five
    on_hosts --hosts h1:1 -q --cache-size 1k --share none
    want_rc 0
    [ "$(workspaces h1)" = "five four" ] || fail "the cache holds $(workspaces h1)"
    [ ! -e "$(cache h1)/gone" ] || fail "something is half removed"
    clean --hosts h1
    want_rc 0
    want_words "MB freed; kept, as used by run 2.*: bin/.*, python/.*, store/blake2b, ws/h1-.*/four-"
    [ "$(workspaces h1)" = "four" ] || fail "the cache holds $(workspaces h1)"
    let_go h1 four
    master=$first
    pt_end 60
    want_rc 0
    nothing_left h1
}

test_a_tree_is_brought_without_a_limit_or_with_one() {
    heavy six
    on_hosts --hosts h2 --sync-only
    want_rc 0
    older h2 2
    heavy seven
    on_hosts --hosts h2 --sync-only --cache-size 0
    want_rc 0
    [ "$(workspaces h2)" = "seven six" ] || fail "the cache holds $(workspaces h2)"
    older h2 2
    on_hosts --hosts h2 --sync-only --cache-size 1k --debug
    want_rc 0
    [ "$(workspaces h2)" = "seven" ] || fail "the cache holds $(workspaces h2)"
    grep -q 'of the cache were removed' "$err" || fail "it was not said"
}

test_all_is_removed() {
    heavy eight
    on_hosts --hosts h1:1,h2:1 -q
    want_rc 0
    touch "$(host_disk h1)/root/mine"
    ln -s /root "$(cache h1)/ws/linked"
    mkdir -p "$(host_disk h2)/var/tmp/ptremote-0/bin/$old"
    clean --hosts h1,h2
    want_rc 0
    [ "$(grep -c '^h[12]: [0-9.]* MB freed$' "$out")" = 2 ] || fail "not a line for each host"
    [ "$(find "$(cache h1)" | wc -l)" = 3 ] || fail "left on h1: $(find "$(cache h1)")"
    [ ! -e "$(cache h2)" ] || fail "left on h2: $(find "$(cache h2)")"
    [ ! -e "$(host_disk h2)/var/tmp/ptremote-0" ] || fail "left in the other place of h2"
    [ -e "$(host_disk h1)/root/mine" ] || fail "a link was followed"
    rm "$(cache h1)/ws/linked"
    clean --hosts h1,h2
    want_rc 0
    [ "$(grep -c '^h[12]: nothing to free$' "$out")" = 2 ] || fail "there was something left"
    [ ! -e "$(cache h1)" ] || fail "left on h1: $(find "$(cache h1)")"
    on_hosts --hosts h1:1,h2:1 -q
    want_rc 0
    nothing_left h1 h2
}

test_what_a_killed_run_left_is_removed() {
    heavy nine && hold h2 nine
    pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts h2:1
    wait_for 60 "the test does not run" runs_on h2 nine
    # at once: who outlives another cleans up
    "$lab" exec h2 sh -c 'all=$(pgrep -f "[p]tremote|[m]pirun|[f]orkserver"); kill -STOP $all; kill -9 $all' || true
    kill -9 "$master" && pt_end 60
    rm -f "$(host_disk h2)"/tmp/*-nine
    ! host_is_quiet h2 >/dev/null || fail "nothing was left"
    [ -n "$(ls "$(cache h2)"/use/h2-*)" ] || fail "it did not say what it uses"
    clean --hosts h2
    want_rc 0
    want_words "MB freed$"
    [ ! -e "$(cache h2)" ] || fail "left: $(find "$(cache h2)")"
    nothing_left h2
}

test_another_folder_and_this_machine() {
    heavy ten
    pt --hosts local:1 --remote-dir "$work/there" -q
    want_rc 0
    clean --hosts local --remote-dir "$work/there"
    want_rc 0
    want_words "^local: .* MB freed$"
    [ -z "$(ls -A "$work/there")" ] || fail "left: $(ls -A "$work/there")"
}

test_a_host_that_cannot_be_reached() {
    heavy eleven
    on_hosts --hosts h1:1 -q
    want_rc 0
    clean --hosts h1,nowhere.invalid
    want_rc 6
    want_words "^h1: .* MB freed$" "host nowhere.invalid: "
    [ ! -e "$(cache h1)" ] || fail "left: $(find "$(cache h1)")"
}

test_wrong_words() {
    local words
    for words in "clean some/path" "clean --timeout 3" "clean -k x" "clean --hosts" "clean --nothing" "clean -- x"; do
        out=$work/out err=$work/err
        # shellcheck disable=SC2086
        "$ptremote" $words >"$out" 2>"$err"
        rc=$?
        want_rc 4
        [ "$(wc -l <"$err")" = 1 ] || fail "$words: not one line"
    done
    "$ptremote" clean --help >"$out" || fail "no help"
    want_words "Usage: ptremote clean .*--remote-dir"
    pt --cache-size lots
    want_rc 4
    want_words "--cache-size: want a size"
}

run_tests
