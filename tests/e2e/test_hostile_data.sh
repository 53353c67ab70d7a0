#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Data stays data: names, ids, values and messages of tests/unit/hostile_strings.h go everywhere, and every output is read by somebody else's
# parser. What no terminal may get is looked for in what came to one.
. "$(dirname "$0")/lib.sh"
lab_up 1
chmod 755 "$work"
data=$source_dir/tests/e2e/hostile_data
for tool in xmllint git; do command -v $tool >/dev/null || skip "no $tool"; done

odd=$'it\'s "p" $(touch pwned) `touch pwned`;#\n\e[31m\e]0;t\a\u202e\xff\xc2\x9b31m%s'
alias=$'h-\u202e%\xc2\x9b31m\xff'
py() { "$python" "$data/$1.py" "${@:2}"; }
at_terminal() { # FILE CMD...: sets rc
    out=$work/out err=$work/err
    timeout -k 5 120 "$python" "$data/terminal.py" run "$@" >"$out" 2>"$err"
    rc=$?
}
safe() { py terminal check "$@" || fail "something hostile came to the terminal"; }
nothing_was_obeyed() {
    local found
    found=$(find "$work" -name pwned)
    [ -z "$found" ] || fail "a shell obeyed: $found"
}

hostile() { # the project, and into it
    cd / && rm -rf "$work/$odd"
    py make "$work/$odd"
    cd "$work/$odd" || exit 1
    git init -q .
    printf 'ignored\n.ptremote\n' >.gitignore
    export PYTHONPATH=$data
}

test_everything_over_a_host_and_here() {
    local words
    hostile
    printf 'Host %s\n  HostName %s\n' "$alias" "10.77.$LAB_ID.11" | cat - "$LAB_SSH_CONFIG" >"$work/config"
    at_terminal "$work/tty" "$python" "$data/env.py" "$ptremote" --python "$python" --ssh-config "$work/config" \
        --hosts "$alias:2,local:2" --extra-files 'ignored/*' --color yes -v --live --junitxml "$work/xml $odd" \
        --json "$work/json $odd" -- -rA --tb=short --durations=0
    want_rc 1
    safe "$work/tty"
    grep -q '\\u202e%\\x9b31m\\xff: 2 slots' "$work/tty" || fail "the host is not named"
    mv "$work/xml $odd" "$work/got.xml" && mv "$work/json $odd" "$work/got.json" || fail "no files of these names"
    HOSTILE_RECORD=$work/plain.json HOSTILE_XML=$work/plain.xml.json py env -- \
        "$python" -m pytest -p no:cacheprovider -p recorder -q --tb=short --junitxml "$work/plain.xml" >"$work/plain" 2>&1
    py check results "$work/plain.json" "$work/got.json" || fail "not what pytest tells"
    xmllint --noout --huge "$work/got.xml" || fail "no XML"
    py check junit "$work/plain.xml.json" "$work/got.xml" || fail "not what pytest writes"
    py check ledger .ptremote/ledger.sqlite "$work/got.json" || fail "the ledger has something else"
    nothing_was_obeyed
    nothing_left h1
    at_terminal "$work/tty.ways" "$ptremote" --python "$python" --hosts local:2 --collect remote --isolate test --dist test \
        --json "$work/ways.json" test_ids.py -- --tb=short
    py check results "$work/plain.json" "$work/ways.json" test_ids.py || fail "not what pytest tells"
    # What the record says of it later.
    for words in runs "show -v -rA" history; do
        # shellcheck disable=SC2086
        at_terminal "$work/tty.$words" "$ptremote" $words
        want_rc 0
    done
    at_terminal "$work/tty.dry" "$ptremote" --python "$python" --hosts "local:2,$alias" --dry-run --last-failed
    want_rc 0
    safe "$work"/tty.*
    "$ptremote" report "$(sed -n 's/.* -- run \([^ \r]*\).*/\1/p' "$work/tty")" --json "$work/again.json" --junitxml "$work/again.xml"
    cmp "$work/got.json" "$work/again.json" && cmp "$work/got.xml" "$work/again.xml" || fail "other files than those of the run"
}

test_marks_crashes_and_ids_of_values() {
    hostile
    at_terminal "$work/tty" "$ptremote" --python "$python" --hosts local:2 --dist group -v --json "$work/got.json" groups.py escaped_ids.py \
        -- -o disable_test_id_escaping_and_forfeit_all_rights_to_community_support=False
    want_rc 1
    safe "$work/tty"
    HOSTILE_RECORD=$work/plain.json "$python" -m pytest -p no:cacheprovider -p recorder -q --tb=short escaped_ids.py \
        -o disable_test_id_escaping_and_forfeit_all_rights_to_community_support=False >"$work/plain" 2>&1
    py check results "$work/plain.json" "$work/got.json" escaped_ids.py || fail "not what pytest tells"
    grep -q '3 crashed' "$work/tty" || fail "other crashes than 3"
    nothing_was_obeyed
}

test_words_that_are_refused() {
    local words
    hostile
    py each 4 "$ptremote" --{}=1 || fail "an option"
    printf 'env = LONG=%0131072d\n' 0 >ptremote.conf
    pt --hosts local:1 --dry-run
    want_rc 4
    want_line 'env: want .* less than 128 KiB'
    printf 'hosts = %01040000d:2\n' 0 >ptremote.conf
    pt --dry-run
    want_rc 4
    [ "$(cat "$out" "$err" | wc -c)" -lt 4096 ] || fail "a host's name of 1 MiB is shown in full"
    rm ptremote.conf
    printf '%01048576d slots=2\n' 0 >"$work/hostfile"
    pt --hostfile "$work/hostfile" --dry-run
    want_rc 4
    want_line 'hostfile line 1: the line is too long'
    for words in --hosts={all} --hosts={all}@h1 --hosts=local:{all} --shuffle={all} --project={all} --env={all} --config={all}; do
        py each 4 "$ptremote" --dry-run "$words" || fail "$words"
    done
    py each 4 "$ptremote" show {all} || fail "show"
    py each 3,4 "$ptremote" {all} --hosts=local:1 --dry-run --python="$python" || fail "a path"
    mkdir broken
    mv broken_conftest.py broken/conftest.py
    at_terminal "$work/tty" "$ptremote" --python "$python" --hosts local:1 broken
    safe "$work/tty"
    want_rc 4
    grep -q -F '\x1b[31mred' "$work/tty" || fail "what pytest says is not told"
    nothing_was_obeyed
}

test_a_run_in_the_background_and_who_asks_it() {
    hostile
    at_terminal "$work/tty.detach" "$ptremote" --python "$python" --hosts local:1 --detach --live --env HOSTILE_GO="$work/go" waits.py -- -s
    want_rc 0
    wait_for 60 "the test does not begin" grep -q gnp.exe .ptremote/output/*
    py each 0,4 "$ptremote" add-host {} || fail "add-host"
    py each 4 "$ptremote" drain-host {all} || fail "drain-host"
    touch "$work/go"
    at_terminal "$work/tty.attach" "$ptremote" attach
    safe "$work"/tty.*
    grep -q '1 passed' "$work/tty.attach" || fail "the run did not pass"
    nothing_was_obeyed
    nothing_left
}

run_tests
