# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by every end-to-end test: a scratch folder, the program, hosts, and checks. A test is a function named test_*; the script
# ends with run_tests.
set -u
source_dir=${PTREMOTE_SOURCE:-$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")}
build_dir=${PTREMOTE_BUILD:-$source_dir/build/dev}
python=${PTREMOTE_PYTHON:-/usr/bin/python3}
lab=$source_dir/tests/lab/lab
ptremote=$build_dir/bin/ptremote

# Nothing of whoever starts the tests reaches the program: own home, own cache, own runtime folder.
work=$(mktemp -d "${TMPDIR:-/tmp}/pt-e2e.XXXXXX")
mkdir -p "$work"/{home,run,tmp}
chmod 700 "$work/run"
export HOME=$work/home XDG_RUNTIME_DIR=$work/run PYTHONDONTWRITEBYTECODE=1
unset XDG_CACHE_HOME XDG_CONFIG_HOME PYTEST_ADDOPTS SSH_AUTH_SOCK GIT_DIR GIT_WORK_TREE
export GIT_CONFIG_GLOBAL=/dev/null
export LAB_DIR=$work/lab
# Sanitizers write where it is looked for after each test: nobody reads the stderr of a program on a host. What cannot be
# allocated is NULL, as without them: see what_sanitizers_said.
asan_options=detect_leaks=1:allocator_may_return_null=1
export ASAN_OPTIONS=$asan_options:log_path=$work/sanitizer UBSAN_OPTIONS=print_stacktrace=1:log_path=$work/sanitizer
tsan_options=second_deadlock_stack=1:die_after_fork=0
export TSAN_OPTIONS=$tsan_options:suppressions=$source_dir/tests/tsan.supp:log_path=$work/sanitizer

leave() {
    local pid id
    for id in "$work"/*/id; do # a failed test may leave a second lab
        [ ! -e "$id" ] || LAB_DIR=${id%/id} "$lab" down
    done
    for pid in $(our_pids); do kill -9 "$pid" 2>/dev/null; done
    cd /
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' INT TERM

skip() { echo "skipped: $*"; exit 77; }
fail() { echo "  FAILED: $*"; exit 1; } # ends the test, which is a subshell

# ---- the program ----
# record WORDS...: runs it in the current folder with these words alone, as commands on recorded runs want; sets rc, and out and err
# to the files with what it said.
record() {
    out=$work/out err=$work/err
    timeout -k 5 "${limit:-240}" "$ptremote" "$@" >"$out" 2>"$err" </dev/null
    rc=$?
    return 0
}

# pt ARGS...: the same for a run of tests.
pt() { record --python "$python" "$@"; }

# pt_start ARGS...: the same in the background, with signals as at a terminal; sets master to its process.
pt_start() {
    out=$work/out err=$work/err
    : >"$out" >"$err" # what is in them from now on is its own
    "$python" -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$ptremote" --python "$python" "$@" >"$out" 2>"$err" </dev/null &
    master=$!
}

# pt_end [SECONDS]: waits for what pt_start started; sets rc.
pt_end() {
    wait_for "${1:-240}" "the run does not end" pt_has_ended
    wait "$master"
    rc=$?
    return 0
}

pt_has_ended() {
    local state
    state=$(cut -d' ' -f3 "/proc/$master/stat" 2>/dev/null) || return 0
    [ "$state" = Z ] || { echo "$master is in state $state"; return 1; }
}

says() { grep -q -e "$1" "$out" "$err" 2>/dev/null; }

show_run() {
    local file
    for file in "${out:-}" "${err:-}"; do
        [ ! -s "$file" ] || { echo "  ---- $(basename "$file")"; cut -c 1-300 "$file" | uniq | tail -n 100 | sed 's/^/  | /'; }
    done
}

want_rc() { [ "$rc" = "$1" ] || fail "exit status $rc, not $1"; }

# The words are somewhere in what it said.
want_words() {
    local words
    for words in "$@"; do
        grep -q -e "$words" "$out" "$err" || fail "it did not say '$words'"
    done
}

# One clear line: the words (a pattern) stand in exactly one line, without a trace of the inside.
want_line() {
    local words lines
    for words in "$@"; do
        lines=$(cat "$out" "$err" | grep -c -i -E -e "$words")
        [ "$lines" = 1 ] || fail "want one line with '$words', got $lines"
    done
    ! grep -E 'runtime error|Assertion|AddressSanitizer|Traceback|core dumped' "$err" || fail "it broke"
}

# outcomes JSON: one line a test, "NODEID OUTCOME", sorted.
outcomes() {
    "$python" - "$1" <<'PY'
import json, sys
for test in sorted(json.load(open(sys.argv[1]))["tests"], key=lambda t: (t["nodeid"], t["outcome"])):
    print(test["nodeid"], test["outcome"])
PY
}

# want_outcomes JSON LINE...: exactly these, in any order.
want_outcomes() {
    local json=$1
    shift
    [ -s "$json" ] || fail "no $json"
    diff <(printf '%s\n' "$@" | LC_ALL=C sort) <(outcomes "$json" | LC_ALL=C sort) >"$work/diff" ||
        { sed 's/^/  /' "$work/diff"; fail "other outcomes than wanted (<) were told (>)"; }
}

# summary JSON: "passed=5 failed=1", only what is not zero, sorted by name.
summary() {
    "$python" - "$1" <<'PY'
import json, sys
counts = json.load(open(sys.argv[1]))["summary"]
print(" ".join(f"{name}={counts[name]}" for name in sorted(counts) if counts[name]))
PY
}

want_summary() {
    local got
    got=$(summary "$1") || fail "no readable $1"
    [ "$got" = "$2" ] || fail "summary '$got', not '$2'"
}

# refusing CALL ERRNO COMMAND...: as where the kernel gives that error to that system call, both numbers.
refusing() {
    "$python" - "$@" <<'PY'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
call, error = int(sys.argv[1]), int(sys.argv[2])
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
unlimited = ctypes.c_ulong(0)
if libc.prctl(38, 1, unlimited, unlimited, unlimited) or libc.prctl(22, 2, program, unlimited, unlimited):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[3], sys.argv[3:])
PY
}

# ---- hosts ----
# lab_up ARGS...: skips the whole script where there can be no lab.
lab_up() {
    local lines
    lines=$("$lab" up "$@" --owner $$ --setenv ASAN_OPTIONS=$asan_options:log_path=/var/tmp/sanitizer \
        --setenv UBSAN_OPTIONS=print_stacktrace=1:log_path=/var/tmp/sanitizer \
        --setenv TSAN_OPTIONS=$tsan_options:log_path=/var/tmp/sanitizer) || { [ $? = 77 ] && skip "no test hosts (see above)"; exit 1; }
    eval "$lines"
}

host_disk() { echo "$LAB_DIR/$1/disk"; } # what lies on a host, seen from outside

# ---- nothing left ----
# Processes on this machine that have to do with this test's folder, besides the test itself and the hosts.
our_pids() {
    local pid
    for pid in $(grep -l -s -F -z "$work" /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | sort -un); do
        case $(readlink "/proc/$pid/exe") in
        */ptremote* | */mpirun* | */orterun* | */python*) echo "$pid" ;;
        esac
    done
}

# wait_for SECONDS WORDS COMMAND...: until the command succeeds. That many seconds are those of a machine that gets on: where they
# are no time for four tries each, it takes longer.
wait_for() {
    local deadline=$(($(date +%s) + $1)) tries=$((4 * $1)) words=$2
    shift 2
    until "$@" >"$work/waited" 2>&1; do
        if [ $((tries--)) -le 0 ] && [ "$(date +%s)" -ge "$deadline" ]; then
            sed 's/^/  | /' "$work/waited"
            fail "$words"
        fi
        sleep 0.05
    done
}

host_is_quiet() {
    local left
    left=$("$lab" pids "$1")
    [ -z "$left" ] || { echo "$left"; return 1; }
    left=$("$lab" exec "$1" ipcs -m | grep ^0x)
    [ -z "$left" ] || { echo "$left"; return 1; }
    # Python tries a folder for temporary files by one of its own: whoever is killed meanwhile leaves it
    left=$("$lab" exec "$1" find /dev/shm /tmp /run/user /run/ptremote* -mindepth 1 ! \( -path '/tmp/????????' -type f -size -5c \) 2>/dev/null)
    [ -z "$left" ] || { echo "$left"; return 1; }
}

here_is_quiet() {
    local left
    left=$(our_pids)
    [ -z "$left" ] || { for left in $left; do echo "$left $(tr '\0' ' ' <"/proc/$left/cmdline")"; done; return 1; }
    left=$(find "$work/run" -mindepth 1)
    [ -z "$left" ] || { echo "$left"; return 1; }
}

# nothing_left [HOST...]: within 10 s neither processes, sockets nor temporary files are there, nor here.
nothing_left() {
    local host
    for host in "$@"; do
        wait_for 60 "left behind on $host" host_is_quiet "$host"
    done
    wait_for 60 "left behind here" here_is_quiet
}

# ---- projects ----
# project NAME: an empty project, and into it.
project() {
    cd / && rm -rf "${work:?}/$1"
    mkdir -p "$work/$1"
    cd "$work/$1" || exit 1
    printf '[pytest]\n' >pytest.ini
}

# put_meet: meet.py in the project, whose meet(n) returns once n processes of this project have called it, or fails.
put_meet() {
    rm -rf "$work/met"
    mkdir "$work/met"
    cat >meet.py <<PY
import os
import time

def meet(n):
    open("$work/met/%d" % os.getpid(), "w").close()
    until = time.monotonic() + 180
    while len(os.listdir("$work/met")) < n:
        assert time.monotonic() < until, "nobody else came"
        time.sleep(0.01)
PY
}

# four_outcomes: tests that fail, skip, and xfail as they should and should not.
four_outcomes() {
    cat <<'PY'
import pytest

def test_fails():
    print("said before it failed")
    assert [1, 2] == [1, 3]

def test_skips():
    pytest.skip("not today")

@pytest.mark.xfail(reason="known")
def test_xfails():
    assert False

@pytest.mark.xfail(reason="was known")
def test_xpasses():
    pass

PY
}

# plain ARGS...: pytest itself, as the suite's user would run it here.
plain() { OMPI_MCA_orte_tmpdir_base=$work/tmp "$python" -m pytest -p no:cacheprovider "$@" >"$work/plain" 2>&1; }

# same_as_plain JUNIT ARGS...: JUNIT tells what plain pytest tells, and the last run ended as pytest does.
same_as_plain() {
    local junit=$1 plain_rc
    shift
    plain --junitxml "$work/plain.xml" "$@"
    plain_rc=$?
    "$python" "$source_dir/tests/bench/compare_junit.py" --strict "$work/plain.xml" "$junit" || fail "not what pytest tells"
    want_rc $plain_rc
}

# ---- running ----
# what_sanitizers_said: prints it and takes it away; fails when there was nothing. A thread of libpmix 4.2 asks for that many
# bytes when the mpirun that it connects to is killed.
what_sanitizers_said() {
    local file said=1
    for file in "$work"/sanitizer.* "$work"/*/h*/disk/var/tmp/sanitizer.*; do
        [ -e "$file" ] || continue
        ! grep -q -v -e 'WARNING: AddressSanitizer failed to allocate 0xffffffffffffffe3 bytes$' "$file" || { said=0; head -40 "$file"; }
        rm -f "$file"
    done
    return $said
}

# watch: shows what hangs, in the test whose process is in $work/at, and ends that test, before whoever runs this script loses patience.
# A script with a long test sets patience, in minutes.
watch() {
    local at pid pids more
    while sleep 1 && [ -d "$work" ] && kill -0 $$ 2>/dev/null; do
        at=$(find "$work/at" -mmin "+${patience:-8}" -exec cat {} \; 2>/dev/null)
        [ -n "$at" ] || continue
        pids=$at more=$at
        while more=$(ps -o pid= --ppid "$(echo $more | tr ' ' ,)"); do pids+=" "$more; done
        {
            echo "  FAILED: this takes more than ${patience:-8} minutes. What it waits for:"
            # shellcheck disable=SC2046,SC2086
            ps -o pid,ppid,stat,etimes,wchan:20,args -p "$(echo $pids $(our_pids) | tr ' ' ,)" | cut -c 1-200
        } >>"$work/said"
        rm -f "$work/at"
        # shellcheck disable=SC2086
        kill -9 $pids 2>/dev/null
    done
}

# run_tests: every function named test_*, or those named in TESTS, in order, each in a subshell.
run_tests() {
    local test bad=0 from status
    watch </dev/null >/dev/null 2>&1 &
    for test in ${TESTS:-$(sed -n 's/^\(test_[a-z0-9_]*\)() .*/\1/p' "$0")}; do
        from=$(date +%s%N)
        rm -f "$work/out" "$work/err"
        (
            out=$work/out err=$work/err rc=
            echo $BASHPID >"$work/at"
            "$test"
        ) >"$work/said" 2>&1
        status=$?
        rm -f "$work/at"
        ! what_sanitizers_said >>"$work/said" || status=1
        case $status in
        0) printf 'ok      %s (%d ms)\n' "$test" $((($(date +%s%N) - from) / 1000000)) ;;
        *)
            bad=1
            printf 'NOT OK  %s\n' "$test"
            cat "$work/said"
            out=$work/out err=$work/err
            show_run
            ;;
        esac
    done
    exit $bad
}
