#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# claims.sh SOURCE_DIR: every test that docs/security.md names is there: a program in `quotes`, and the tests of it that follow. So is
# every file and function by which tests/fuzz/targets.txt says what is a decoder's. Then plants some that are not, and wants them found.
set -euo pipefail
source_dir=${1:?usage: claims.sh SOURCE_DIR}

named() { # FILE: a line a program: its name, and those of its tests
    tr '\n' ' ' <"$1" | grep -oE '`(unit|e2e|runner)_[a-z0-9_]+`( [a-z0-9]+(_[a-z0-9]+)+,?)*' | tr -d '`,' | sort -u
}

missing() { # FILE: one line a name that is none
    local program tests test
    while read -r program tests; do
        case $program in
        unit_*) file=tests/unit/test_${program#unit_}.c what='^Test\([a-z_]+, NAME[,)]' ;;
        e2e_*) file=tests/e2e/test_${program#e2e_}.sh what='^test_NAME\(\)' ;;
        *) file=tests/runner/test_${program#runner_}.py what='^def test_NAME\(' ;;
        esac
        [ -e "$source_dir/$file" ] || echo "there is no $program ($file)"
        for test in $tests; do
            grep -qsE "${what/NAME/$test}" "$source_dir/$file" || echo "$program has no $test ($file)"
        done
    done < <(named "$1")
}

strangers() { # FILE: one line a file or function of no fuzz target
    local target words word files names
    while read -r target words; do
        files=() names=()
        for word in $words; do
            case $word in
            but | only) ;;
            */*) files+=("$source_dir/$word") ;;
            *) names+=("$word") ;;
            esac
        done
        for word in "tests/fuzz/fuzz_$target.c" "${files[@]#"$source_dir/"}"; do
            [ -e "$source_dir/$word" ] || echo "targets.txt: $target: there is no $word"
        done
        for word in "${names[@]}"; do
            grep -qsE "^[a-z].*[ *]$word\(" "${files[@]}" || echo "targets.txt: $target: $word is no function of its files"
        done
    done < <(grep -v '^#' "$1")
}

planted=$(mktemp)
trap 'rm -f "$planted"' EXIT
bad=$(missing "$source_dir/docs/security.md")
[ "$(named "$source_dir/docs/security.md" | wc -w)" -gt 100 ] || bad+="hardly any test is named"
printf '| a | `unit_tls` garbage_is_refused, no_such_test | `unit_none` |\n' >"$planted"
[ "$(missing "$planted" | wc -l)" = 2 ] || bad+="planted two tests that are none: $(missing "$planted")"
bad+=$(strangers "$source_dir/tests/fuzz/targets.txt")
printf 'words remote/agent/words.c src/none.c but no_such_function\nnone remote/agent/words.c\n' >"$planted"
[ "$(strangers "$planted" | wc -l)" = 3 ] || bad+="planted three strangers: $(strangers "$planted")"
[ -z "$bad" ] || { printf '%s\n' "$bad"; exit 1; }
echo "claims.sh: $(named "$source_dir/docs/security.md" | wc -w) names of tests, all there"
