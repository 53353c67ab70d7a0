# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by tests/bench/sync, schedule and mpi: sets everything up and runs MEASURE_main.py with the script's arguments, in a
# control group of its own. Scratch is below $TMPDIR (/var/tmp): it should be a disk.
# measure NAME ARGS...
measure() {
    local main=$here/$1_main.py
    shift
    case " $* " in *" --list "* | *" -h "* | *" --help "*) exec "${PTREMOTE_PYTHON:-/usr/bin/python3}" "$main" "$@" ;; esac
    "$here/../../deploy/install-packages.sh" test bench >&2 || exit 1
    # shellcheck source=tests/bench/lib.sh
    . "$here/lib.sh"

    group=$("$python" "$bench/sync_quiet.py" enter $$)
    end() {
        leave
        [ -z "$group" ] || "$python" "$bench/sync_quiet.py" leave $$ "$group"
    }
    trap end EXIT

    machine
    BENCH_FOLDER=$work BENCH_DRIVER=$build_dir/tests/sync_driver BENCH_PROGRAM=$ptremote BENCH_LAB=$lab BENCH_GROUP=$group \
        BENCH_PYTHON=$python "$python" "$main" "$@"
}
