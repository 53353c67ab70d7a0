#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is installed is whole: one program that needs nothing of the build, the Python package, the manual; and a .deb of the same.
. "$(dirname "$0")/lib.sh"

sanitized() { grep -q 'PTREMOTE_SANITIZE:[A-Z]*=\(ON\|thread\)' "$build_dir/CMakeCache.txt"; }

needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | xargs; }

test_agent_is_static_and_worker_needs_mpi_only() {
    ! sanitized || return 0
    [ -z "$(needed "$build_dir/bin/ptremote-agent")" ] || fail "the agent needs $(needed "$build_dir/bin/ptremote-agent")"
    ! readelf -l "$build_dir/bin/ptremote-agent" | grep -q INTERP || fail "the agent wants a loader"
    [ "$(needed "$build_dir/bin/ptremote-worker")" = "libc.so.6 libmpi.so.40" ] ||
        fail "the worker needs $(needed "$build_dir/bin/ptremote-worker")"
}

# What tests/bench/tls compares with says of itself that it has no TLS; its words are in no program that is installed or sent to a host.
test_no_program_has_a_link_in_the_clear() {
    local words='built without TLS' ciphers='TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384' program
    grep -q "$words" "$source_dir/tests/bench/no_tls.c" || fail "other words are to be looked for"
    tar --zstd -C "$work/tmp" -xf "$build_dir/kit.tar" worker.o || fail "no worker in the kit"
    for program in "$build_dir"/bin/ptremote{,-worker,-agent} "$work/tmp/worker.o"; do
        ! grep -q -a -F "$words" "$program" || fail "$program has a link without TLS"
        case $program in *-agent) ;; *) grep -q -a -F "$ciphers" "$program" || fail "$program has no TLS" ;; esac
    done
    ! "$ptremote" --help | grep -i -E 'plain ?text|no-tls|insecure|no-verify|unencrypted' || fail "an option is about links in the clear"
}

test_installed_program_works() {
    cmake --install "$build_dir" --prefix "$work/prefix" >"$work/said.install" || fail "cmake --install"
    [ -e "$work/prefix/share/man/man1/ptremote.1" ] || fail "no manual page"
    [ -e "$work/prefix/lib/python3/dist-packages/ptremote/__init__.py" ] || fail "no Python package"
    [ "$(find "$work/prefix/bin" -type f | wc -l)" = 1 ] || fail "more than one program"
    project installed
    printf 'def test_it():\n    pass\n' >test_it.py
    ptremote=$work/prefix/bin/ptremote
    pt --hosts local:1
    want_rc 0
    nothing_left
}

test_deb() {
    ! sanitized || return 0
    command -v cpack >/dev/null || return 0
    (cd "$work/tmp" && cpack --config "$build_dir/CPackConfig.cmake" -G DEB -B "$work/tmp/deb" >"$work/said.cpack" 2>&1) ||
        { tail -5 "$work/said.cpack"; fail "cpack"; }
    local deb
    deb=$(find "$work/tmp/deb" -maxdepth 1 -name '*.deb')
    dpkg-deb -c "$deb" | grep -q './usr/bin/ptremote$' || fail "no /usr/bin/ptremote in the .deb"
    dpkg-deb -f "$deb" Depends | grep -q libssh || fail "the .deb does not depend on libssh"
    ! dpkg-deb -c "$deb" | grep -q -E '/tests?/|\.pyc' || fail "the .deb has what does not belong there"
}

run_tests
