#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that join a run that goes on, and hosts that leave it: add-host and drain-host with real sshd hosts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/detach_lib.sh"
lab_up 3
chmod 755 "$work"

# files_suite N: N files of one test that says on its host that it ran and by whom, and waits there for `go` or `go-fI`.
files_suite() {
    local i host
    project files
    git init -q .
    for host in h1 h2 h3; do
        rm -rf "$(host_disk $host)"/var/tmp/{go,go-*,ran}
    done
    for i in $(seq "$1"); do
        cat >"test_f$i.py" <<PY
import os
import time

def test_it():
    os.makedirs("/var/tmp/ran", exist_ok=True)
    with open("/var/tmp/ran/f$i", "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
    end = time.time() + 300
    while not os.path.exists("/var/tmp/go") and not os.path.exists("/var/tmp/go-f$i") and time.time() < end:
        time.sleep(0.02)
PY
    done
}
ran_on() { cat "$(host_disk "$1")"/var/tmp/ran/* 2>/dev/null | wc -l; }
began() { [ "$(ran_on "$1")" -ge "$2" ] || { echo "$(ran_on "$1") tests began on $1"; return 1; }; }
begins() { wait_for 60 "$2 tests do not begin on $1" began "$1" "$2"; }
lets_go() { touch "$(host_disk "$1")/var/tmp/go"; }
begin_run() { # ARGS...: in the background; its words are in run.out
    : >"$work/run.out" >"$work/run.err"
    "$ptremote" --python "$python" --ssh-config "$LAB_SSH_CONFIG" --json "$work/files.json" "$@" >"$work/run.out" 2>"$work/run.err" </dev/null &
    master=$!
}
run_says() { grep -q -e "$1" "$work/run.out" || { tail -n 20 "$work/run.out"; return 1; }; }
shows() { kill -USR1 "$master" && cat "$work"/run.{out,err} | grep -e "$1" || { tail -n 20 "$work"/run.{out,err}; return 1; }; }
end_run() {
    pt_end 60
    out=$work/run.out err=$work/run.err
}
each_ran_once() { # N
    want_summary "$work/files.json" "passed=$1"
    [ $(($(ran_on h1) + $(ran_on h2) + $(ran_on h3))) = "$1" ] || fail "$(ran_on h1), $(ran_on h2) and $(ran_on h3) tests ran"
}
refuses() { # CODE WORDS ARGS...
    local code=$1 words=$2
    shift 2
    record "$@"
    want_rc "$code"
    want_line "$words"
    [ "$(cat "$out" "$err" | wc -l)" = 1 ] || fail "not one line"
}

test_a_host_joins_and_takes_tests() {
    files_suite 8
    begin_run --hosts h1:2
    begins h1 2
    record add-host h2:2
    want_rc 0
    want_line "^h2: joins run [0-9]"
    begins h2 2
    lets_go h2
    lets_go h1
    end_run
    want_rc 0
    each_ran_once 8
    ! grep -h . "$(host_disk h2)"/var/tmp/ran/* | grep -v -e '^gw[23]$' || fail "its nodes are not behind all others"
    run_says "h2: ready, 2 slots" || fail "it was not shown"
    [ -z "$(ls -A .ptremote/doors)" ] || fail "the door is still there"
    nothing_left h1 h2
}

test_several_join_and_one_has_a_label() {
    files_suite 10
    begin_run --hosts h1:1
    begins h1 1
    refuses 4 "'h4:x'" add-host h2:1,h4:x
    refuses 4 "h1 is in run" add-host h3,h1:2
    record add-host "h2:1,h3:1+gpu"
    want_rc 0
    want_line "^h2: joins run" "^h3: joins run"
    begins h2 1
    begins h3 1
    lets_go h1 && lets_go h2 && lets_go h3
    end_run
    want_rc 0
    each_ran_once 10
    nothing_left h1 h2 h3
}

test_a_drained_host_is_clean_while_the_run_goes_on() {
    files_suite 12
    begin_run --hosts h1:2,h2:2
    begins h1 2
    begins h2 2
    record drain-host h1
    want_rc 0
    want_line "^h1: leaves run [0-9].* once what runs there has ended"
    wait_for 60 "what has not begun on h1 is not given back" shows "^h1: .*, 2 slots, 2 bundles$"
    refuses 4 "h1 leaves run .* already" drain-host h1
    refuses 4 "h2 is the last host of run" drain-host h2
    lets_go h1
    wait_for 60 "h1 does not become quiet" host_is_quiet h1
    ! pt_has_ended || fail "the run has ended"
    wait_for 60 "it is not done" run_says "^h1: has left the run"
    [ "$(ran_on h1)" = 2 ] || fail "h1 ran $(ran_on h1) tests"
    refuses 4 "h1 is not in run .* any more" drain-host h1
    lets_go h2
    end_run
    want_rc 0
    each_ran_once 12
    "$python" - "$work/files.json" <<'PY' || fail "h1 is not told as done"
import json, sys
hosts = {host["name"]: host["state"] for host in json.load(open(sys.argv[1]))["hosts"]}
assert hosts == {"h1": "ok", "h2": "ok"}, hosts
PY
    nothing_left h1 h2
}

test_a_drained_host_may_join_again() {
    files_suite 10
    begin_run --hosts h1:1,h2:1
    begins h1 1
    begins h2 1
    record drain-host h1
    want_rc 0
    lets_go h1
    wait_for 60 "it is not done" run_says "^h1: has left the run"
    rm "$(host_disk h1)/var/tmp/go"
    record add-host h1:2
    want_rc 0
    begins h1 3
    lets_go h1 && lets_go h2
    end_run
    want_rc 0
    each_ran_once 10
    nothing_left h1 h2
}

test_a_host_dies_while_it_leaves() {
    files_suite 6
    begin_run --hosts h1:2,h2:2 --require-all-hosts
    begins h1 2
    begins h2 2
    record drain-host h1
    want_rc 0
    # shellcheck disable=SC2046
    kill -9 $("$lab" pids h1 | grep 'ptremote-worker --run-dir' | grep -v mpirun | cut -d' ' -f1)
    wait_for 60 "h1 does not become quiet" host_is_quiet h1
    lets_go h2
    end_run
    want_rc 0
    want_summary "$work/files.json" "passed=6"
    [ "$(ran_on h2)" = 6 ] || fail "h2 ran $(ran_on h2) tests"
    nothing_left h1 h2
}

test_one_that_cannot_be_reached_does_no_harm() {
    files_suite 6
    begin_run --hosts h1:1 --require-all-hosts
    begins h1 1
    record add-host nowhere.invalid:2
    want_rc 0
    wait_for 60 "it is not told" run_says "^nowhere.invalid: .*next:"
    lets_go h1
    end_run
    want_rc 0
    each_ran_once 6
    nothing_left h1
}

tree_was_edited() { [ "$(grep -c '^h2: the tree was edited since' "$work/run.out")" = "$1" ] || { tail -n 20 "$work/run.out"; return 1; }; }
has_left() { [ "$(grep -c '^h2: has left' "$work/run.out")" = "$1" ] || { tail -n 20 "$work/run.out"; return 1; }; }

test_the_tree_was_edited_meanwhile() {
    local n
    files_suite 10
    echo "first = 1" >value.py
    begin_run --hosts h1:1
    begins h1 1
    for n in 1 2 3 4; do
        rm -rf "$(host_disk h2)"/root/.cache/ptremote "$(host_disk h2)"/var/tmp/go # it has nothing of the tree
        echo "edited = $n" >value.py
        record add-host "h2:1"
        want_rc 0
        wait_for 60 "it is not told" tree_was_edited "$n"
        begins h2 "$n"
        record drain-host h2
        want_rc 0
        lets_go h2
        wait_for 60 "it does not leave" has_left "$n"
    done
    rm -rf "$(host_disk h2)"/root/.cache/ptremote
    echo "edited = 5" >value.py
    record add-host "h2:1"
    want_rc 0
    wait_for 60 "it is not given up" run_says "^h2: the tree was edited too often"
    lets_go h1
    end_run
    want_rc 0
    each_ran_once 10
    nothing_left h1 h2
}

test_a_detached_run_with_a_long_path() {
    local state
    state=$work/state/$(printf 'd%.0s' $(seq 120))
    mkdir -p "$state"
    files_suite 8
    hosts=h1:2
    start_detached --ssh-config "$LAB_SSH_CONFIG" --state-dir "$state" --json "$work/files.json"
    begins h1 2
    record add-host "$run" h2:2 --state-dir "$state"
    want_rc 0
    want_line "^h2: joins run $run"
    begins h2 2
    record drain-host --state-dir "$state" "$run" h1
    want_rc 0
    lets_go h1
    wait_for 60 "h1 does not become quiet" host_is_quiet h1
    lets_go h2
    record attach "$run" --state-dir "$state"
    want_rc 0
    want_words "h2: joins the run" "h1: leaves the run"
    each_ran_once 8
    nothing_left h1 h2
}

test_a_resumed_run_takes_hosts() {
    files_suite 9
    begin_run --hosts h3:1
    begins h3 1
    touch "$(host_disk h3)/var/tmp/go-$(ls "$(host_disk h3)/var/tmp/ran")"
    wait_for 60 "nothing is recorded" runs_says " 1 passed"
    kill -9 "$master"
    pt_end
    nothing_left h3
    begin_run --resume --hosts h1:1
    begins h1 1
    record add-host h2:1
    want_rc 0
    begins h2 1
    lets_go h1 && lets_go h2
    end_run
    want_rc 0
    want_summary "$work/files.json" "passed=9"
    "$python" - "$work/files.json" <<'PY' || fail "who ran what is not told"
import json, sys
told = json.load(open(sys.argv[1]))
assert sorted(host["name"] for host in told["hosts"]) == ["h1", "h2", "h3"], told["hosts"]
assert {test["host"] for test in told["tests"]} == {"h1", "h2", "h3"}, told["tests"]
PY
    nothing_left h1 h2 h3
}

test_a_host_leaves_while_it_is_away() {
    files_suite 6
    begin_run --hosts h1:2,h2:2 --linger 300s --heartbeat 1s
    begins h1 2
    begins h2 2
    # shellcheck disable=SC2046
    kill -9 $("$lab" pids h1 | grep 'ptremote-agent proxy' | cut -d' ' -f1)
    record drain-host h1
    want_rc 0
    lets_go h1
    wait_for 60 "h1 does not leave" run_says "^h1: has left the run"
    lets_go h2
    end_run
    want_rc 0
    each_ran_once 6
    nothing_left h1 h2
}

test_runs_that_cannot() {
    local how
    files_suite 3
    refuses 4 "no runs are recorded in" add-host h2
    for how in "--dist each" "--schedule static" "--schedule sequential"; do
        rm -rf "$(host_disk h1)"/var/tmp/{go,ran} "$(host_disk h3)"/var/tmp/{go,ran}
        # shellcheck disable=SC2086
        begin_run --hosts h1:2,h3:2 $how
        wait_for 60 "nothing begins" eval '[ $(($(ran_on h1) + $(ran_on h3))) -ge 1 ]'
        refuses 4 "no host can join run .*[(]$how" add-host h2
        refuses 4 "no host can leave run .*[(]$how" drain-host h1
        lets_go h1
        lets_go h3
        end_run
        want_rc 0
    done
    refuses 4 "no run goes on that is recorded in" add-host h2
    refuses 4 "has ended already" drain-host "$("$ptremote" runs | sed -n '1s/^ *\([^ ]*\) .*/\1/p')" h1
    nothing_left h1 h3
}

test_the_master_is_gone() {
    files_suite 3
    begin_run --hosts h1:2
    begins h1 1
    refuses 4 "h9 is not in run" drain-host h9
    refuses 4 "want HOSTS" add-host
    local id
    id=$("$ptremote" runs | sed -n 's/^ *\([0-9][0-9a-f-]*\) .*running.*/\1/p')
    kill -9 "$master"
    pt_end
    refuses 6 "run $id was cut off" add-host "$id" h2
    refuses 4 "no run goes on" add-host h2
    nothing_left h1
}

run_tests
