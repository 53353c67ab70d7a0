#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is sent: git's list, globs, and every bit of a file that matters.
. "$(dirname "$0")/lib.sh"

# there NAME: the file of the project as the host has it.
there() { find "$HOME/.cache/ptremote" -path "*/$1" -not -path '*/python/*' | head -1; }

repository() {
    project "$1"
    git init -q .
    printf '*.log\nbuilt/\n' >.gitignore
    printf 'def test_it():\n    pass\n' >test_it.py
}

test_what_git_ignores_stays_here() {
    repository ignored
    mkdir -p built data
    touch built/lib.so noise.log data/kept.txt
    pt --hosts local:1
    want_rc 0
    [ -n "$(there data/kept.txt)" ] || fail "an untracked file was not sent"
    [ -z "$(there noise.log)$(there built/lib.so)" ] || fail "an ignored file was sent"
    [ -z "$(there .git/HEAD)" ] || fail ".git was sent"
    pt --hosts local:1 --extra-files 'built/**' --exclude 'data/*'
    want_rc 0
    [ -n "$(there built/lib.so)" ] || fail "--extra-files did not send an ignored file"
    [ -z "$(there data/kept.txt)" ] || fail "an excluded file is there"
}

test_from_a_folder_below_the_top() {
    repository below
    mkdir -p part/tests
    printf '[pytest]\n' >part/pytest.ini
    rm pytest.ini
    printf 'import os\ndef test_cwd():\n    assert os.path.exists("tests/test_b.py") and os.path.exists("../test_it.py")\n' >part/tests/test_b.py
    cd part || exit 1
    pt --hosts local:1 --junitxml "$work/got.xml"
    want_rc 0
    same_as_plain "$work/got.xml"
}

test_modes_links_and_names() {
    local LC_ALL=C
    export LC_ALL
    project bits
    mkdir -p empty 'with space' data
    printf '#!/bin/sh\nexit 0\n' >run.sh
    chmod 755 run.sh
    printf 'x' >data/target
    ln -s data/target link
    ln -s nowhere dangling
    printf 'x' >"$(printf 'data/na\314\210me-\377-\nline')"
    printf 'x' >'with space/it'"'"'s "quoted" $HOME;'
    chmod 640 data/target
    cat >test_bits.py <<'PY'
import os
import stat

def test_bits():
    assert os.access("run.sh", os.X_OK)
    assert os.readlink("link") == "data/target" and open("link").read() == "x"
    assert os.readlink("dangling") == "nowhere"
    assert os.path.isdir("empty") and os.listdir("empty") == []
    assert sorted(os.listdir(b"data")) == [b"na\xcc\x88me-\xff-\nline", b"target"]
    assert os.listdir("with space") == ["it's \"quoted\" $HOME;"]
    assert stat.S_IMODE(os.stat("data/target").st_mode) & 0o700 == 0o600
PY
    pt --hosts local:1
    want_rc 0
    rm -r data/na* 'with space'
    chmod 644 run.sh
    sed -i 's/assert os.access/assert not os.access/; /na.xcc/d; /with space/d' test_bits.py
    printf 'def test_gone():\n    import os\n    assert os.listdir("data") == ["target"] and not os.path.exists("with space")\n' >>test_bits.py
    pt --hosts local:1
    want_rc 0
    nothing_left
}

test_links_that_leave_the_tree() {
    project leaving
    printf 'secret' >"$work/secret"
    ln -s "$work/secret" absolute
    ln -s ../secret relative
    printf 'import os\ndef test_it():\n    assert True\n' >test_it.py
    pt --hosts local:1
    want_words "absolute"
    nothing_left
}

test_tests_cannot_change_what_is_sent() {
    project private
    printf 'one' >data.txt
    cat >test_write.py <<'PY'
def test_write():
    assert open("data.txt").read() == "one"
    open("data.txt", "w").write("two")
PY
    pt --hosts local:1
    want_rc 0
    [ "$(cat data.txt)" = one ] || fail "the test changed the file here"
    pt --hosts local:1
    want_rc 0
}

run_tests
