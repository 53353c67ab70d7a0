#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A whole run of the master under valgrind: nothing that was never written decides anything, nothing is read beyond its end, no memory
# is lost. What runs on hosts is a static program, and one that lives in mpirun: the sanitizers' builds are for those.
. "$(dirname "$0")/lib.sh"
command -v valgrind >/dev/null || skip "no valgrind (package valgrind)"
! nm "$build_dir/bin/ptremote" 2>/dev/null | grep -q -E '__(asan|tsan)_init' || skip "a build with sanitizers"

memcheck() { # PROGRAM ARGS...
    valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --child-silent-after-fork=yes --log-file="$work/memcheck.%p" "$@"
}

found() { cat "$work"/memcheck.* | grep -E 'lost in loss record|uninitialised|Invalid|overlap|free\(\)'; }

test_what_is_wrong_is_found() {
    cat >"$work/wrong.c" <<'C'
#include <stdlib.h>
int main(int argc, char **argv)
{
    char *volatile lost = malloc(16);
    char *one = malloc(1);
    int odd = one[0] == argv[0][0];
    lost = NULL;
    free(one);
    return odd > argc && lost;
}
C
    gcc -o "$work/wrong" "$work/wrong.c" || fail "no compiler"
    memcheck "$work/wrong"
    [ $? = 99 ] || fail "memcheck found nothing"
    found | grep -q 'definitely lost' || fail "the leak was not found"
}

test_the_master() {
    rm -f "$work"/memcheck.*
    project checked
    printf 'import pytest\n@pytest.mark.parametrize("n", range(20))\ndef test_some(n):\n    assert n != 7, "seven"\n' >test_a.py
    printf 'def test_other():\n    print("said")\n' >test_b.py
    printf 'import nothing_of_that_name\n' >test_c.py
    printf '#!/bin/bash\nwork=%q\n%s\nmemcheck %q "$@"\n' "$work" "$(declare -f memcheck)" "$build_dir/bin/ptremote" >"$work/run-checked"
    chmod 755 "$work/run-checked"
    ptremote=$work/run-checked
    pt --hosts local:2 --junitxml "$work/got.xml" --json "$work/got.json"
    ! found || fail "see above"
    want_rc 1
    want_summary "$work/got.json" "error=1 failed=1 passed=20"
    "$ptremote" show >"$out" 2>"$err" || fail "show"
    ! found || fail "see above"
    grep -q 'test_a.py' "$out" || fail "it shows nothing of the run"
    nothing_left
}

run_tests
