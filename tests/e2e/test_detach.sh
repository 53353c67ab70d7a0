#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --detach, attach and stop on this machine; test_detach_hosts.sh has real hosts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/detach_lib.sh"

hosts=local:2

test_the_starter_returns_and_attach_follows() {
    waiting_suite
    start_detached --color yes -v
    [ "$(wc -l <"$out")" = 3 ] && [ ! -s "$err" ] || fail "the starter said something else"
    want_words "^to see it: ptremote attach $run$" "^to end it: ptremote stop $run$"
    wait_for 60 "the test does not begin" test -e "$work/waits"
    wait_for 60 "runs does not tell it" runs_says "$run .* detached (process [0-9]*)  1 passed, 2 open"
    [ "$(stat -c %a .ptremote/output .ptremote/output/"$run" | xargs)" = "700 600" ] || fail "$(ls -la .ptremote/output)"
    attach_start
    wait_for 60 "what was printed is not shown" says "^test_waits.py::test_first PASSED"
    ! says test_waits.py::test_last || fail "the test did not wait"
    touch "$work/go"
    pt_end 60
    want_rc 1
    want_words "^ptremote .* -- run $run$" "test_waits.py::test_waits PASSED" "= 1 failed, 2 passed in "
    diff "$out" ".ptremote/output/$run" || fail "attach shows other than what was printed"
    ! grep -q -P '[\x00-\x09\x0b-\x1f]' ".ptremote/output/$run" || fail "control codes in the file"
    record attach "${run%??}"
    want_rc 1
    diff "$out" ".ptremote/output/$run" || fail "later, attach shows other than what was printed"
    record show
    want_words "= 1 failed, 2 passed in "
    nothing_left
}

test_words_of_the_starter_elsewhere() {
    waiting_suite
    touch "$work/go"
    mkdir -p "$work/else where"
    cd "$work/else where" || exit 1
    start_detached --project "$work/waiting" --state-dir ../state "$work/waiting"
    want_words "^to see it: ptremote attach $run --state-dir '../state'$"
    record attach "$run" --state-dir ../state
    want_rc 1
    want_words "= 1 failed, 2 passed in "
    nothing_left
}

test_nobody_waits_at_a_pipe() {
    waiting_suite
    local said
    said=$(timeout -k 5 240 "$ptremote" --python "$python" --hosts local:1 --detach 2>&1 </dev/null)
    [[ $said == "run "*" goes on in the background"* ]] || fail "$said"
    wait_for 60 "it does not go on" runs_says " detached (process "
    record stop
    want_rc 0
    nothing_left
}

test_started_without_any_stream() {
    waiting_suite
    timeout -k 5 240 "$ptremote" --python "$python" --hosts local:1 --detach <&- >&- 2>&- || fail "exit status $?"
    wait_for 60 "it does not go on" runs_says " detached (process "
    touch "$work/go"
    record attach
    want_rc 1
    want_words "= 1 failed, 2 passed in "
    nothing_left
}

test_the_terminal_hangs_up() {
    waiting_suite
    detach_and_hang_up --hosts local:2
    wait_for 60 "the test does not begin" test -e "$work/waits"
    runs_says " detached (process " || fail "the run did not outlive its terminal"
    touch "$work/go"
    record attach
    want_rc 1
    want_words "= 1 failed, 2 passed in "
    nothing_left
}

test_the_terminal_hangs_up_before_it_is_under_way() {
    slow_suite
    "$python" - "$ptremote" "$python" "$work" <<'PY' || fail "no terminal"
import os, pty, signal, sys, time
pid, fd = pty.fork()
if pid == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.execv(sys.argv[1], [sys.argv[1], "--python", sys.argv[2], "--hosts", "local:2", "--detach"])
until = time.monotonic() + 60
while not os.path.exists(sys.argv[3] + "/imports"):
    assert time.monotonic() < until
    time.sleep(0.02)
os.close(fd)
assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 1
PY
    touch "$work/import"
    wait_for 60 "the run did not go on" test -e "$work/waits"
    touch "$work/go"
    record attach
    want_rc 1
    nothing_left
}

test_interrupting_the_starter() {
    slow_suite
    pt_start --hosts local:2 --detach
    wait_for 60 "conftest.py is not imported" test -e "$work/imports"
    ! pt_has_ended || fail "it is not under way yet"
    kill -INT "$master"
    pt_end 60
    want_rc 2
    want_line "^ptremote: Interrupted by Ctrl-C before anything was recorded"
    nothing_left
}

test_killed_before_it_is_under_way() {
    slow_suite
    pt_start --hosts local:2 --detach
    wait_for 60 "conftest.py is not imported" test -e "$work/imports"
    kill -9 "$(cat "/proc/$master/task/$master/children")"
    pt_end 60
    want_rc 3
    want_line "^ptremote: the run's process was ended by signal 9 .* before it was under way"
    touch "$work/import"
    nothing_left
}

test_ctrl_c_ends_only_the_watching() {
    waiting_suite
    start_detached
    attach_start "$run"
    wait_for 60 "attach shows nothing" says "collected 3 items"
    kill -INT "$master"
    pt_end 60
    want_rc 2
    want_line "no longer watching; run $run goes on; next: ptremote stop $run ends it"
    wait_for 60 "the test does not begin" test -e "$work/waits"
    runs_says " detached (process " || fail "the run ended with the watching"
    touch "$work/go"
    record attach
    want_rc 1
    nothing_left
}

test_stop() {
    waiting_suite
    start_detached
    wait_for 60 "the first report does not come" runs_says " detached (process [0-9]*)  1 passed, 2 open"
    wait_for 60 "the test does not begin" test -e "$work/waits"
    attach_start
    record stop
    want_rc 0
    want_words "^run $run stops" "^run $run has ended"
    out=$work/attach.out err=$work/attach.err
    pt_end 60
    want_rc 2
    want_words "Interrupted by ptremote stop" "= 1 passed, 2 not run in "
    nothing_left
    runs_says "$run .* exit 2  1 passed, 2 not run" || fail "another end is recorded"
    record stop
    want_rc 4
    want_line "no run goes on"
    record stop "$run"
    want_rc 4
    want_line "run $run has ended already"
    touch "$work/go"
    start_detached --resume
    record attach
    want_rc 1
    want_words "goes on with run" "= 1 failed, 2 passed in "
    nothing_left
}

test_cut_off_and_resumed_in_the_background() {
    waiting_suite
    start_detached
    wait_for 60 "the test does not begin" test -e "$work/waits"
    wait_for 60 "runs does not tell it" runs_says " detached (process [0-9]*)  1 passed, 2 open"
    attach_start
    kill -9 "$(sed -n 's/.* detached (process \([0-9]*\)).*/\1/p' "$work/runs")"
    out=$work/attach.out err=$work/attach.err
    pt_end 60
    want_rc 6
    want_line "run $run was cut off: its process is gone; next: ptremote --resume $run goes on with it"
    want_words "collected 3 items"
    record stop "$run"
    want_rc 6
    want_line "run $run was cut off"
    touch "$work/go"
    wait_for 60 "left behind here" here_is_quiet
    local first=$run
    start_detached --resume "$first"
    [ "$run" != "$first" ] || fail "the run has no name of its own"
    record attach
    want_rc 1
    want_words "goes on with run $first" "= 1 failed, 2 passed in "
    ! says "test_first" || fail "a test that had its outcome ran again"
    pt --resume "$first" # it was resumed already, but the command of a detached run is none for the background
    ! says "in the background" || fail "resumed in the background without being asked to"
    nothing_left
}

test_which_run() {
    waiting_suite
    start_detached
    local first=$run
    pt --hosts local:1 --share none test_waits.py::test_first
    want_rc 0
    start_detached --share none test_waits.py::test_last
    record attach "$run"
    want_rc 1
    attach_start # the one that goes on, though others are newer
    wait_for 60 "not the one that goes on" says "-- run $first$"
    out=$work/out
    pt_start --hosts local:1 --share none test_waits.py::test_waits
    wait_for 60 "the run does not begin" runs_says "running (process $master)"
    local foreground
    foreground=$(sed -n 's/^\([^ ]*\) .* running (process.*/\1/p' "$work/runs")
    record stop
    want_rc 4
    want_line "2 runs go on: say which"
    record attach "$foreground"
    want_rc 4
    want_line "run $foreground was not started with --detach"
    record stop "$foreground"
    want_rc 0
    wait "$master"
    [ $? = 2 ] || fail "the run at its own terminal did not end as by Ctrl-C"
    record stop
    want_rc 0
    nothing_left
}

# elsewhere RUN FINISHED: as its ledger would be if its master were on another machine.
elsewhere() {
    "$python" - .ptremote/ledger.sqlite "$@" <<'PY' || fail "the ledger is not as it was"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("UPDATE runs SET master='far boot 1 1', finished=NULLIF(?, '') WHERE name=?", (sys.argv[3], sys.argv[2])).rowcount == 1
db.commit()
PY
}

test_a_run_of_another_machine() {
    waiting_suite
    touch "$work/go"
    start_detached
    record attach
    want_rc 1
    elsewhere "$run" ""
    record stop "$run"
    want_rc 6
    want_line "run $run is one of machine 'far'; next: ask there"
    attach_start
    wait_for 60 "what was printed is not shown" says "= 1 failed, 2 passed in "
    want_line "run $run is one of machine 'far'"
    ! pt_has_ended || fail "nobody said that the run has ended"
    echo "one line more" >>".ptremote/output/$run"
    wait_for 60 "what came is not shown" says "one line more"
    elsewhere "$run" 1000
    pt_end 60
    want_rc 1
}

test_only_runs_in_the_foreground() {
    waiting_suite
    touch "$work/go"
    pt --hosts local:1
    want_rc 1
    record attach
    want_rc 4
    want_line "no run that was started with --detach is recorded in $work/waiting/.ptremote"
    record attach 20
    want_rc 4
    want_line "was not started with --detach"
}

test_old_output_goes() {
    waiting_suite
    touch "$work/go"
    mkdir -p -m 700 .ptremote/output
    local n
    for n in $(seq -w 60); do echo old >".ptremote/output/20200101-0000$n-abcdef"; done
    start_detached
    [ "$(find .ptremote/output -type f | wc -l)" = 50 ] || fail "$(ls .ptremote/output | wc -l) files are kept"
    [ -e ".ptremote/output/$run" ] && [ ! -e .ptremote/output/20200101-000011-abcdef ] || fail "the oldest were not the ones that went"
    record attach
    want_rc 1
    nothing_left
}

test_bad_input_is_told_at_once() {
    waiting_suite
    local words
    for words in "--hosts local:0" "--hosts ,," "--hostfile nowhere" "--nosuch" "--detach=perhaps" "--dry-run" "--sync-only" "--replay nowhere.json" \
        "--project nowhere" "nowhere.py" "-k 'not ('" "-- --nosuch" "--resume" "--only-rerun x"; do
        eval "set -- $words"
        [[ $words == --host* ]] || set -- --hosts local:1 "$@"
        pt --detach "$@"
        want_rc 4
        grep -q "ptremote: " "$err" && [ ! -s "$out" ] || fail "$words: no error"
        ! says "in the background" || fail "$words: it runs"
    done
    echo "detach = yes" >ptremote.conf
    pt --hosts local:1
    want_rc 4
    want_line "ptremote.conf:1: detach can only be given on the command line"
    rm ptremote.conf
    echo 'syntax error' >conftest.py
    pt --hosts local:1 --detach
    want_rc 4
    want_words "SyntaxError"
    rm conftest.py
    mkdir empty
    pt --hosts local:1 --detach empty # it ended before it was under way
    want_rc 5
    want_words "no tests ran"
    [ ! -s "$err" ] || fail "no tests are no error"
    pt --detach --hosts local:1 --state-dir /proc/nowhere
    [ "$rc" != 0 ] && [ -s "$err" ] || fail "nothing can be recorded there"
    for words in "attach a b" "attach --nosuch" "attach nosuch" "stop a b" "stop nosuch" "stop -n 1"; do
        eval "set -- $words"
        record "$@"
        want_rc 4
    done
    nothing_left
}

run_tests
