#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host whose Open MPI is not where the loader looks: the worker is built there, once, with its own mpicc.
. "$(dirname "$0")/lib.sh"

libmpi=$(readlink -f "$(ldconfig -p | sed -n 's/.*libmpi\.so\.40 .*=> //p' | head -n 1)")
include=$(pkg-config --variable=includedir ompi-c 2>/dev/null)
[ -f "$libmpi" ] && [ -f "$include/mpi.h" ] || skip "no Open MPI to hide (packages libopenmpi3 and libopenmpi-dev)"
! nm "$build_dir/bin/ptremote-worker" 2>/dev/null | grep -q __asan_init || skip "a build with sanitizers links nowhere else"

lab_up 1 --slots 2 --hide "$(dirname "$libmpi")/libmpi.so*" --hide '/usr/bin/mpicc*' --hide '/usr/bin/opal_wrapper*'
there=/root/ompi
here=$(host_disk h1)$there

# mpirun itself needs no libmpi. The library lies where only the wrapper compiler tells.
open_mpi() {
    rm -rf "$here" "$(host_disk h1)/root/.cache"
    mkdir -p "$here/bin" "$here/private"
    cp "$libmpi" "$here/private/libmpi.so.40"
    printf '#!/bin/sh\nexec /usr/bin/mpirun "$@"\n' >"$here/bin/mpirun"
    cat >"$here/bin/mpicc" <<SH
#!/bin/sh
echo built >>$there/log
exec gcc -I$include "\$@" -L$there/private -Wl,-rpath,$there/private -l:libmpi.so.40
SH
    chmod 755 "$here/bin/"*
}

builds() { cat "$here/log" 2>/dev/null | wc -l; }

run() { pt --hosts "$LAB_HOSTS" --ssh-config "$LAB_SSH_CONFIG" --mpirun "$there/bin/mpirun" --json "$work/got.json" "$@"; }

suite() {
    project kit
    printf 'import pytest\n@pytest.mark.parametrize("n", range(6))\ndef test_it(n):\n    pass\n' >test_a.py
    cp test_a.py test_b.py
    rm -f "$work/got.json"
}

no_build_folder() {
    [ -z "$(find "$(host_disk h1)/root/.cache" -name 'build.*' -o -name 'new.*')" ] || fail "a build was left behind"
}

test_built_once_and_used_again() {
    open_mpi
    suite
    run
    want_rc 0
    want_summary "$work/got.json" "passed=12"
    [ "$(builds)" = 1 ] || fail "built $(builds) times"
    ! says "starting its workers again" || fail "counted as a lost start"
    nothing_left h1
    no_build_folder
    run
    want_rc 0
    want_summary "$work/got.json" "passed=12"
    [ "$(builds)" = 1 ] || fail "built again"
    nothing_left h1
}

test_another_mpirun_another_build() {
    touch "$here/bin/mpirun"
    suite
    run
    want_rc 0
    [ "$(builds)" = 2 ] || fail "built $(builds) times"
    nothing_left h1
}

test_what_was_built_and_does_not_load_any_more_is_built_anew() {
    mv "$here/private" "$here/elsewhere"
    sed -i "s,$there/private,$there/elsewhere,g" "$here/bin/mpicc"
    suite
    run
    want_rc 0
    [ "$(builds)" = 3 ] || fail "built $(builds) times"
    nothing_left h1
}

test_no_mpicc_is_one_line() {
    open_mpi
    rm "$here/bin/mpicc"
    suite
    run
    want_rc 6
    want_line "libmpi\.so\.40.*no mpicc.*libopenmpi-dev"
    ! says "starting its workers again" || fail "tried again in vain"
    nothing_left h1
    no_build_folder
}

test_an_mpicc_that_fails_is_one_line() {
    open_mpi
    printf '#!/bin/sh\necho "The wrapper compiler was unable to find gcc" >&2\nexit 1\n' >"$here/bin/mpicc"
    suite
    run
    want_rc 6
    want_line "libmpi\.so\.40.*mpicc \(exit status 1\): The wrapper compiler was unable"
    nothing_left h1
    no_build_folder
}

test_what_was_built_and_does_not_load_is_one_line() {
    open_mpi
    sed -i 's/-Wl,-rpath,[^ ]*//' "$here/bin/mpicc"
    suite
    run
    want_rc 6
    want_line "libmpi\.so\.40.*what was built with"
    [ "$(builds)" = 1 ] || fail "built $(builds) times"
    nothing_left h1
}

test_a_worker_that_is_no_program_there() {
    open_mpi
    suite
    run
    want_rc 0
    local bin sent
    bin=$(host_disk h1)/root/.cache/ptremote/bin
    rm -r "$bin"/*-*
    for sent in "$bin"/*/ptremote-worker; do
        printf 'damaged' | dd of="$sent" conv=notrunc status=none
    done
    run
    want_rc 0
    want_summary "$work/got.json" "passed=12"
    [ "$(builds)" = 2 ] || fail "built $(builds) times"
    nothing_left h1
}

test_ending_while_it_is_built() {
    open_mpi
    sed -i '2a sleep 600' "$here/bin/mpicc"
    suite
    pt_start --hosts "$LAB_HOSTS" --ssh-config "$LAB_SSH_CONFIG" --mpirun "$there/bin/mpirun" --json "$work/got.json"
    wait_for 60 "nothing is built" test -s "$here/log"
    kill -INT "$master"
    pt_end 60
    want_rc 2
    nothing_left h1
    no_build_folder
}

run_tests
