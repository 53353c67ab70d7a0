#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How the tree gets to the hosts: alone, as it lies on a shared file system, in part, with what stays there.
. "$(dirname "$0")/lib.sh"
lab_up 2 --shared-home

# here_tree: the workspace of the project on this machine.
here_tree() { echo "$HOME"/.cache/ptremote/ws/*/"$(basename "$PWD")"-*/tree; }

# there NAME...: each is in the workspace here; gone NAME...: none is.
there() { local n; for n in "$@"; do [ -e "$(here_tree)/$n" ] || [ -L "$(here_tree)/$n" ] || fail "$n is not there"; done; }
gone() { local n; for n in "$@"; do [ ! -e "$(here_tree)/$n" ] || fail "$n is there"; done; }

# json EXPRESSION: of the last --json file.
json() { "$python" -c 'import json, sys; r = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/got.json" "$1"; }

sync_only() { pt --sync-only --json "$work/got.json" "$@"; }
to_hosts() { pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1,h2:1 "$@"; }

poisoned() { # a project that breaks whoever imports anything of it
    project "$1"
    git init -q .
    mkdir -p data/deep
    printf 'content' >data/deep/file
    printf 'open("/tmp/pt-was-run-'$$'", "w")\nraise SystemExit(9)\n' | tee conftest.py >test_it.py
}

test_only_the_tree() {
    poisoned alone
    sync_only --hosts local:1 --python no-such-python --init 'exit 7'
    want_rc 0
    [ ! -e "/tmp/pt-was-run-$$" ] || fail "something was run"
    there data/deep/file conftest.py
    [ "$(wc -l <"$out")" = 2 ] || fail "want a line for the host and one in all"
    want_line '^local: .* on the wire.*, in [0-9.]+ s$' '^1 of 1 host up to date, .* in [0-9.]+ s$'
    [ "$(json 'r["exitcode"], len(r["hosts"]), r["hosts"][0]["name"], r["hosts"][0]["state"], r["tests"]')" = \
        "(0, 1, 'local', 'ok', [])" ] || fail "the JSON file tells something else"
    nothing_left
    sync_only --hosts local:1 -q
    want_rc 0
    [ "$(json 'r["hosts"][0]["bytes_sent"] < 1024')" = True ] || fail "an unchanged tree was sent"
    [ ! -s "$out" ] || fail "want no line with -q"
    nothing_left
}

test_only_the_tree_without_git() {
    project bare
    printf 'x' >file
    sync_only --hosts local:1
    want_rc 0
    there file pytest.ini
}

test_only_the_tree_to_hosts_then_a_run() {
    project prepared
    printf 'def test_it():\n    assert open("data").read() == "x"\n' >test_it.py
    head -c 300000 /dev/urandom >ballast
    printf x >data
    to_hosts --sync-only
    want_rc 0
    want_line '^h1: .* on the wire' '^h2: .* on the wire' '^2 of 2 hosts up to date'
    nothing_left h1 h2
    to_hosts --json "$work/got.json"
    want_rc 0
    [ "$(json 'all(h["bytes_sent"] < 1024 for h in r["hosts"])')" = True ] || fail "the tree was sent a second time"
    nothing_left h1 h2
}

test_only_the_tree_and_a_host_is_down() {
    project needed
    printf x >data
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts 127.0.0.7:1,h1:1 --sync-only --json "$work/got.json"
    want_rc 6
    want_line '^h1: .* on the wire' '^127.0.0.7: ' '^1 of 2 hosts up to date'
    [ "$(json 'r["exitcode"], [h["state"] == "ok" for h in r["hosts"]]')" = "(6, [False, True])" ] || fail "JSON: other hosts"
    nothing_left h1
}

test_what_excludes_each_other() {
    project odd
    sync_only --hosts local --dry-run
    want_rc 4
    want_line 'exclude each other'
    sync_only --hosts local --shared-fs "$PWD"
    want_rc 4
    want_line 'nothing to send'
    pt --hosts local --shared-fs here
    want_rc 4
    want_line 'want an absolute path on the hosts'
    pt --hosts local --digest md5
    want_rc 4
    want_line 'want blake2b or sha256'
}

# ---- a shared file system: /root of the hosts is a folder here ----
shared_project() { # NAME: below the hosts' home
    cd / && rm -rf "${LAB_DIR:?}/shared/root/$1"
    mkdir -p "$LAB_DIR/shared/root/$1/sub"
    cd "$LAB_DIR/shared/root/$1" || exit 1
    printf '[pytest]\n' >pytest.ini
    cat >sub/test_shared.py <<'PY'
import os

def test_place():
    assert os.environ["PTREMOTE_WORKSPACE"] == os.getcwd()
    assert os.path.exists("ignored.o")
    with open("made-by-" + os.uname().nodename, "a") as f:
        f.write("x")
PY
    cp sub/test_shared.py sub/test_other.py
    touch ignored.o
}

no_traces() { # nothing of ours in the shared tree but the state folder
    local found
    found=$(find . -name 'shared-*' -o -name '*.pyc' -o -name __pycache__)
    [ -z "$found" ] || fail "in the shared tree: $found"
}

test_shared_tree_is_used_where_it_lies() {
    shared_project lies
    to_hosts --shared-fs /root/lies --exclude '*.o' --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=2"
    [ "$(cat made-by-* | wc -c)" = 2 ] || fail "the tests ran elsewhere: $(ls)"
    [ "$(json 'sum(h["bytes_sent"] for h in r["hosts"])')" = 0 ] || fail "something was sent"
    ! ls -d "$LAB_DIR"/shared/root/.cache/ptremote/ws/*/lies-* 2>/dev/null || fail "a workspace was made"
    ls "$LAB_DIR"/shared/root/.cache/ptremote/pycache/lies-*/root/lies/sub/*.pyc >/dev/null || fail "no bytecode in the cache"
    no_traces
    nothing_left h1 h2
    to_hosts --shared-fs /root/lies
    want_rc 0
    [ "$(cat made-by-* | wc -c)" = 4 ] || fail "what tests wrote did not stay"
}

test_shared_tree_on_this_machine() {
    shared_project near
    mkdir "$work/state"
    pt --hosts local:2 --shared-fs "$PWD" --state-dir "$work/state"
    want_rc 0
    [ "$(cat made-by-* | wc -c)" = 2 ] || fail "the tests ran elsewhere"
    [ ! -e .ptremote ] || fail "a state folder was left"
    no_traces
    nothing_left
}

test_shared_tree_collected_there() {
    shared_project far
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1 --shared-fs /root/far --collect remote --json "$work/got.json"
    want_rc 0
    want_summary "$work/got.json" "passed=2"
    no_traces
}

test_shared_tree_that_is_another() {
    shared_project mine
    mkdir -p "$LAB_DIR/shared/root/other"
    cp -r . "$LAB_DIR/shared/root/other/"
    to_hosts --shared-fs /root/other
    want_rc 6
    want_line '^h1: shared tree /root/other: is another tree.*--shared-fs' '^h2: shared tree /root/other: is another tree'
    ! ls made-by-* "$LAB_DIR"/shared/root/other/made-by-* 2>/dev/null || fail "tests were run"
    to_hosts --shared-fs /root/nothing
    want_rc 6
    want_line '^h1: shared tree /root/nothing: No such file or directory.*--shared-fs'
    to_hosts --shared-fs /etc/hostname
    want_rc 6
    want_line '^h2: shared tree /etc/hostname: Not a directory'
    no_traces
    nothing_left h1 h2
}

test_shared_tree_stopped_in_the_middle() {
    shared_project cut
    printf 'import time\ndef test_long():\n    open("begun", "w")\n    time.sleep(100)\n' >test_long.py
    pt_start --hosts local:1 --shared-fs "$PWD"
    wait_for 60 "no test began" test -e begun
    kill -INT "$master"
    pt_end 60
    want_rc 2
    no_traces
    nothing_left
}

test_shared_tree_without_a_run() {
    shared_project dry
    to_hosts --shared-fs /root/dry --dry-run
    want_rc 0
    want_line '^h1: nothing to send, the tree is seen at /root/dry$'
    no_traces
}

# ---- what is sent ----
test_globs_together() {
    project globs
    git init -q .
    printf 'built/\n*.log\n' >.gitignore
    mkdir -p built/deep src docs
    touch built/deep/lib.so built/deep/lib.o src/a.py docs/big.txt noise.log
    sync_only --hosts local:1 --extra-files 'built/**/*.so' --extra-files noise.log --exclude docs
    want_rc 0
    there built/deep/lib.so src/a.py noise.log
    gone built/deep/lib.o docs
    sync_only --hosts local:1 --extra-files 'built/**' --exclude '*.so'
    want_rc 0
    there built/deep/lib.o docs/big.txt
    gone built/deep/lib.so noise.log
}

test_ignore_file() {
    project ignore
    git init -q .
    mkdir -p data/keep sub
    touch data/big data/keep/small sub/notes.txt notes.txt a.tmp important.tmp
    printf '# what hosts need not have\ndata/*\n!data/keep\n/notes.txt\n*.tmp\n!important.tmp\n' >.ptremoteignore
    sync_only --hosts local:1
    want_rc 0
    there data/keep/small sub/notes.txt important.tmp
    gone data/big notes.txt a.tmp
}

test_links_that_leave() {
    project links
    git init -q .
    mkdir -p "$work/outside/folder"
    printf 'linked' >"$work/outside/file"
    printf 'inner' >"$work/outside/folder/inner"
    printf 'x' >own
    ln -s own within
    ln -s "$work/outside/file" leaving
    ln -s ../outside/folder folder
    sync_only --hosts local:1 --copy-links
    want_rc 0
    [ "$(readlink "$(here_tree)/within")" = own ] || fail "a link within the tree is none there"
    [ ! -L "$(here_tree)/leaving" ] && [ "$(cat "$(here_tree)/leaving")" = linked ] || fail "the file is not there"
    [ "$(cat "$(here_tree)/folder/inner")" = inner ] || fail "the folder is not there"
    printf 'changed' >"$work/outside/file"
    sync_only --hosts local:1 --copy-links
    want_rc 0
    [ "$(cat "$(here_tree)/leaving")" = changed ] || fail "the change is not there"
}

test_another_digest() {
    project digests
    git init -q .
    head -c 100000 /dev/urandom >ballast
    printf one >data
    sync_only --hosts local:1 --digest sha256
    want_rc 0
    printf two >data
    sync_only --hosts local:1 --digest sha256
    want_rc 0
    [ "$(cat "$(here_tree)/data")" = two ] || fail "the edit is not there"
    [ "$(json 'r["hosts"][0]["bytes_sent"] < 4096')" = True ] || fail "more than the edit was sent"
    sync_only --hosts local:1 --digest sha256
    [ "$(json 'r["hosts"][0]["bytes_sent"] < 1024')" = True ] || fail "an unchanged tree was sent"
    printf three >data
    sync_only --hosts local:1
    want_rc 0
    [ "$(cat "$(here_tree)/data")" = three ] || fail "the edit is not there after the change of digest"
    cmp -s ballast "$(here_tree)/ballast" || fail "another file came to harm"
}

# ---- what tests do to it ----
test_the_next_run_sees_the_originals() {
    project messy
    git init -q .
    mkdir -p fixtures/deep
    printf 'original' >fixtures/deep/data
    printf '#!/bin/sh\n' >tool
    chmod 755 tool
    cat >test_mess.py <<'PY'
import os
import shutil

def test_mess():
    assert open("fixtures/deep/data").read() == "original"
    assert os.access("tool", os.X_OK)
    assert sorted(os.listdir(".")) == ["fixtures", "pytest.ini", "test_mess.py", "tool"]
    before = os.stat("fixtures/deep/data")
    with open("fixtures/deep/data", "w") as f:
        f.write("0riginal")
    os.utime("fixtures/deep/data", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.chmod("tool", 0o600)
    os.makedirs("left/behind")
    open("left/behind/file", "w").close()
    os.symlink("/", "left/link")
    os.mkdir("fixtures/locked", 0o500)
    shutil.move("pytest.ini", "moved.ini")
PY
    local i
    for i in 1 2 3; do
        pt --hosts local:1
        want_rc 0
    done
    sync_only --hosts local:1
    want_rc 0
    gone left moved.ini fixtures/locked
    [ "$(cat "$(here_tree)/fixtures/deep/data")" = original ] || fail "the fixture is not as it was"
}

test_bytecode_is_compiled_once() {
    project compiled
    mkdir pkg
    touch pkg/__init__.py
    printf 'VALUE = 1\n' >pkg/mod.py
    printf 'from pkg import mod\ndef test_it():\n    assert mod.VALUE == 1\n' >test_it.py
    cp test_it.py test_other.py
    compiled() { find "$HOME"/.cache/ptremote/pycache/compiled-* -name '*.pyc' -printf '%P %T@ %i\n' | LC_ALL=C sort; }
    unset PYTHONDONTWRITEBYTECODE
    pt --hosts local:2
    want_rc 0
    compiled >"$work/first"
    grep -q 'pkg/mod\.' "$work/first" && grep -q 'test_other' "$work/first" || fail "no bytecode was kept"
    pt --hosts local:2
    want_rc 0
    compiled >"$work/second"
    diff "$work/first" "$work/second" || fail "an unchanged suite was compiled again"
    printf 'VALUE = 1 # edited\n' >pkg/mod.py
    pt --hosts local:2
    want_rc 0
    compiled >"$work/third"
    [ "$(diff "$work/second" "$work/third" | grep -c '^>')" = 1 ] || fail "not just the edited file was compiled"
    gone pkg/__pycache__ __pycache__
}

test_what_is_kept() {
    project kept
    cat >test_keep.py <<'PY'
import os

def test_keep():
    runs = len(open("build/runs").read()) if os.path.exists("build/runs") else 0
    assert os.path.exists("sub/deep/cache.bin") == (runs > 0)
    assert not os.path.exists("stray") and not os.path.exists("sub/stray")
    os.makedirs("build", exist_ok=True)
    os.makedirs("sub/deep", exist_ok=True)
    for name in "build/runs", "sub/deep/cache.bin", "stray", "sub/stray":
        with open(name, "a") as f:
            f.write("x")
PY
    local i
    for i in 1 2 3; do
        pt --hosts local:1 --keep build --keep '*.bin'
        want_rc 0
    done
    [ "$(cat "$(here_tree)/build/runs")" = xxx ] || fail "build did not stay"
    sync_only --hosts local:1 --keep build
    there build/runs
    gone sub stray
    sync_only --hosts local:1
    gone build
}

run_tests
