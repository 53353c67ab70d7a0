#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs of one user that meet on a host share its slots: never more tests at once than slots, nobody waits for ever, and each
# says whom it waits for.
. "$(dirname "$0")/lib.sh"
lab_up 1

there=$(host_disk h1)/var/tmp
hold() { touch "$there/hold-$1"; }
let_go() { rm -f "$there/hold-$1"; }

# suite NAME FILES: each test leaves a line with how many tests of all runs are at work on the host, and waits while its run is held.
suite() {
    local n
    project "$1"
    mkdir -p "$there/at"
    cat >at_work.py <<PY
import os
import time
from contextlib import contextmanager

AT = "/var/tmp/at/"

def at_work():
    return [name for name in os.listdir(AT) if os.path.exists("/proc/" + name.split(".")[0])]

def wait(enough):
    until = time.monotonic() + 300
    while not enough():
        assert time.monotonic() < until
        time.sleep(0.02)

@contextmanager
def working():
    mine = AT + "%d.$1" % os.getpid()
    open(mine, "w").close()
    with open("/var/tmp/most", "a") as most:
        most.write("%d $1\n" % len(at_work()))
    wait(lambda: not os.path.exists("/var/tmp/hold-$1"))
    yield
    os.unlink(mine)
PY
    for n in $(seq "$2"); do
        cat >"test_$n.py" <<PY
import time
from at_work import working

def test_it():
    with working():
        time.sleep(0.1)
PY
    done
}

fresh() { rm -rf "$there"/{at,most,hold-*}; }

# begin NAME ARGS...: the run of that project, in the background; end NAME waits for it.
begin() {
    cd "$work/$1" || exit 1
    : >"$work/$1.out" >"$work/$1.err"
    "$ptremote" --python "$python" --ssh-config "$LAB_SSH_CONFIG" --hosts "h1:${slots:-2}" --json "$work/$1.json" "${@:2}" \
        >"$work/$1.out" 2>"$work/$1.err" </dev/null &
    eval "run_$1=$!"
    look_at "$1"
}
look_at() { out=$work/$1.out err=$work/$1.err; }
end() { # NAME PASSED
    local run=run_$1
    look_at "$1"
    master=${!run}
    pt_end
    want_rc 0
    want_summary "$work/$1.json" "passed=$2"
}

works() { [ "$(find "$there/at" -name "*.$1" 2>/dev/null | wc -l)" -ge "${2:-1}" ]; }
most() { sort -n "$there/most" | tail -n 1 | cut -d' ' -f1; }
never_more_than_slots() { [ "$(most)" -le 2 ] || { sort "$there/most" | uniq -c; fail "$(most) tests at once on 2 slots"; }; }

test_two_runs_share() {
    fresh
    suite one 12
    suite two 12
    hold one
    begin one
    wait_for 60 "one does not begin" works one 2
    begin two
    wait_for 60 "it does not say whom it waits for" says 'h1: waits for run [0-9-]*[^ ]* of root@[^ ]* (2 of 2 slots)'
    ! works two || fail "more tests than slots"
    let_go one
    end one 12
    end two 12
    never_more_than_slots
    sed -n '/ two$/,$p' "$there/most" | grep -q ' one$' || { cat "$there/most"; fail "one went on alone"; }
    nothing_left h1
}

test_three_runs_of_other_sizes() {
    fresh
    local n
    for n in small middle large; do suite $n 10; done
    slots=1 begin small
    slots=2 begin middle
    slots=3 begin large
    for n in small middle large; do end $n 10; done
    [ "$(most)" -le 3 ] || { sort "$there/most" | uniq -c; fail "$(most) tests at once on 3 slots"; }
    nothing_left h1
}

test_killed_workers_have_no_slots() {
    local workers
    fresh
    suite dies 4
    hold dies
    begin dies
    wait_for 60 "it does not begin" works dies 2
    suite lives 2
    for n in 1 2; do
        cat >"test_$n.py" <<'PY'
from at_work import at_work, wait, working

def test_it():
    with working():
        wait(lambda: sum(name.endswith(".lives") for name in at_work()) == 2)
        wait(lambda: not [name for name in at_work() if name.endswith(".dies")])
PY
    done
    sed -i '/os.unlink/d' at_work.py # both see both
    workers=$("$lab" pids h1 | grep ptremote-worker | cut -d' ' -f1)
    [ -n "$workers" ] || fail "no workers"
    begin lives
    wait_for 60 "it does not wait" says 'h1: waits for run'
    kill -9 "$run_dies"
    # shellcheck disable=SC2086
    kill -9 $workers 2>/dev/null
    end lives 2
    wait "$run_dies"
    nothing_left h1
}

test_workers_without_a_master_keep_their_slots() {
    fresh
    suite away 2
    suite next 4
    hold away
    begin away --linger 300
    wait_for 60 "it does not begin" works away 2
    kill -9 "$run_away"
    begin next
    wait_for 60 "it does not wait" says 'h1: waits for run'
    let_go away
    end next 4
    never_more_than_slots
    # shellcheck disable=SC2046
    kill -9 $("$lab" pids h1 | sed -n 's/^\([0-9]*\) ptremote-agent agent.*/\1/p') # it would stay as long as it was told
    wait_for 60 "left behind on h1" host_is_quiet h1
}

test_a_run_alone_waits_for_nobody() {
    fresh
    suite alone 6
    hold alone
    begin alone
    wait_for 60 "it does not use both slots" works alone 2
    let_go alone
    end alone 6
    ! says 'waits for run' || fail "whom does it wait for?"
    nothing_left h1
}

test_share_none() {
    fresh
    suite held 2
    suite none 4
    hold held
    begin held
    wait_for 60 "it does not begin" works held 2
    begin none --share none
    end none 4
    ! says 'waits for run' || fail "it waits"
    works held 2 || fail "the other did not hold its slots meanwhile"
    let_go held
    end held 2
    nothing_left h1
}

# wide NAME: tests of two ranks, which take all slots.
wide() {
    . "$source_dir/tests/e2e/mpi_lib.sh"
    suite "$1" 0
    cat >test_wide.py <<'PY'
import ptremote
import pytest
from at_work import working

@pytest.mark.parametrize("n", range(4))
@ptremote.mark.parallel(2)
def test_pair(comm, n):
    with working():
        assert comm.allreduce(1) == 2
PY
}

test_all_ranks_beside_single_tests() {
    fresh
    wide wide
    suite single 30
    hold single
    begin single
    wait_for 60 "it does not begin" works single 2
    begin wide
    wait_for 60 "it does not wait" says 'h1: waits for run'
    let_go single
    end wide 4
    end single 30
    never_more_than_slots
    nothing_left h1
}

test_all_ranks_beside_all_ranks() {
    fresh
    wide this
    wide that
    hold this
    begin this
    wait_for 60 "it does not begin" works this 2
    begin that
    wait_for 60 "it does not wait" says 'h1: waits for run'
    let_go this
    end this 4
    end that 4
    never_more_than_slots
    nothing_left h1
}

run_tests
