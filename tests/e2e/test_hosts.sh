#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real sshd hosts: the work is shared, the suite exists nowhere but here, users and shells of all kinds.
. "$(dirname "$0")/lib.sh"
lab_up 2
chmod 755 "$work"

suite() { # every test says where it ran
    project suite
    mkdir -p inner
    printf '[pytest]\njunit_family = xunit1\n' >pytest.ini
    printf 'VALUE = 42\n' >inner/value.py
    touch inner/__init__.py
    cat >conftest.py <<'PY'
import socket
import pytest

@pytest.fixture(autouse=True)
def where(record_property):
    record_property("ran_on", socket.gethostname())
PY
    local n
    for n in $(seq 8); do
        cat >"test_$n.py" <<'PY'
import time
import pytest
from inner import value

@pytest.mark.parametrize("n", range(5))
def test_value(n):
    time.sleep(0.02)
    assert value.VALUE == 42
    assert value.__file__.startswith(__import__("os").environ["PTREMOTE_WORKSPACE"])
PY
    done
}

ran_on() { # JUNIT: how many tests ran on which host
    "$python" - "$1" <<'PY'
import collections, sys, xml.etree.ElementTree as ET
places = collections.Counter(p.get("value") for p in ET.parse(sys.argv[1]).iter("property") if p.get("name") == "ran_on")
print(" ".join(f"{place}={places[place]}" for place in sorted(places)))
PY
}

remote() { pt --ssh-config "${config:-$LAB_SSH_CONFIG}" --junitxml "$work/got.xml" --json "$work/got.json" "$@"; }

# on_each HOSTS FOLDER...: a run in which no test begins before a session waits in each of the folders.
on_each() {
    local hosts=$1 folder
    shift
    cat >>conftest.py <<PY

@pytest.fixture(scope="session", autouse=True)
def all_are_there():
    import os, time
    folder = "$work" if os.path.isdir("$work") else "/var/tmp"
    open(folder + "/arrived", "w").close()
    end = time.time() + 300
    while not os.path.exists(folder + "/all-are-there") and time.time() < end:
        time.sleep(0.02)
PY
    for folder; do rm -f "$folder"/{arrived,all-are-there}; done
    pt_start --ssh-config "$LAB_SSH_CONFIG" --junitxml "$work/got.xml" --json "$work/got.json" --hosts "$hosts"
    for folder; do wait_for 60 "no session waits in $folder" test -e "$folder/arrived"; done
    for folder; do touch "$folder/all-are-there"; done
    pt_end
}

test_two_hosts_share_the_work() {
    suite
    on_each h1:2,h2:2 "$(host_disk h1)/var/tmp" "$(host_disk h2)/var/tmp"
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    local places
    places=$(ran_on "$work/got.xml")
    [[ $places == h1=*h2=* ]] || fail "all ran on $places"
    nothing_left h1 h2
    remote --hosts h1:2,h2:2
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    "$python" - "$work/got.json" <<'PY' || fail "the second run sent an unchanged tree"
import json, sys
sys.exit(any(host["bytes_sent"] for host in json.load(open(sys.argv[1]))["hosts"]))
PY
    printf 'VALUE = 43\n' >inner/value.py
    remote --hosts h1:2,h2:2
    want_rc 1
    want_summary "$work/got.json" "failed=40"
    nothing_left h1 h2
}

test_programs_come_once() {
    suite
    remote --hosts h1:1
    want_rc 0
    local from
    from=$(find "$(host_disk h1)/root/.cache/ptremote/bin" -type f -printf '%p %i %T@\n' | sort)
    [ -n "$from" ] || fail "no programs in the cache"
    [ "$(stat -c %a "$(host_disk h1)/root/.cache/ptremote")" = 700 ] || fail "the cache is open to others"
    remote --hosts h1:1
    want_rc 0
    [ "$from" = "$(find "$(host_disk h1)/root/.cache/ptremote/bin" -type f -printf '%p %i %T@\n' | sort)" ] ||
        fail "the programs were sent again"
}

test_users_and_shells() {
    suite
    local user
    for user in ada carol nina; do
        remote --hosts "$user@h1:1,$user@h2:1"
        want_rc 0
        want_summary "$work/got.json" "passed=40"
    done
    nothing_left h1 h2
}

test_local_and_remote_together() {
    suite
    on_each local:1,h1:1 "$work" "$(host_disk h1)/var/tmp"
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    [[ $(ran_on "$work/got.xml") == *h1=* ]] || fail "nothing ran on h1"
    nothing_left h1
}

test_jump_host() {
    suite
    remote --hosts h2-by-h1:2
    want_rc 0
    [ "$(ran_on "$work/got.xml")" = "h2=40" ] || fail "ran on $(ran_on "$work/got.xml")"
    nothing_left h1 h2
}

test_direct_link() {
    suite
    remote --hosts h1:1,h2:1 --listen "$LAB_NET.1:0"
    want_rc 0
    want_summary "$work/got.json" "passed=40"
    nothing_left h1 h2
}

test_one_bad_host_does_not_stop_the_others() {
    suite
    sed "s/HostName $LAB_NET.12/HostName $LAB_NET.99/" "$LAB_SSH_CONFIG" >"$work/config"
    config=$work/config remote --hosts h1:2,h2:2
    want_rc 0
    want_words "h2"
    want_summary "$work/got.json" "passed=40"
    [ "$(ran_on "$work/got.xml")" = "h1=40" ] || fail "ran on $(ran_on "$work/got.xml")"
    config=$work/config remote --hosts h1:2,h2:2 --require-all-hosts
    want_rc 6
    want_words "h2"
    nothing_left h1
}

test_bytecode_that_a_full_disk_cut_short() {
    suite
    remote --hosts h1:1
    want_rc 0
    local file
    file=$("$lab" exec h1 find /root/.cache/ptremote/pycache -name 'socket.*.pyc' | head -1)
    [ -n "$file" ] || fail "no bytecode of socket.py on h1"
    "$lab" exec h1 truncate -s 1000 "$file"
    remote --hosts h1:1
    want_rc 0
    nothing_left h1
}

test_a_host_given_twice_is_refused() {
    suite
    remote --hosts h1:2,h1:1
    want_rc 4
    want_line "h1.*twice"
    nothing_left h1
}

test_remote_dir_and_init() {
    suite
    printf 'import os\ndef test_init():\n    assert os.environ["FROM_INIT"] == "yes"\n' >test_init.py
    remote --hosts h1:1 --remote-dir /var/tmp/elsewhere --init 'export FROM_INIT=yes; echo noise'
    want_rc 0
    want_summary "$work/got.json" "passed=41"
    [ -d "$(host_disk h1)/var/tmp/elsewhere/bin" ] || fail "nothing in /var/tmp/elsewhere"
    nothing_left h1
}

test_shared_home() {
    (
        LAB_DIR=$work/shared
        lab_up 2 --shared-home
        suite
        on_each h1:2,h2:2 "$(host_disk h1)/var/tmp" "$(host_disk h2)/var/tmp"
        want_rc 0
        want_summary "$work/got.json" "passed=40"
        [[ $(ran_on "$work/got.xml") == h1=*h2=* ]] || fail "all ran on $(ran_on "$work/got.xml")"
        printf 'VALUE = 43\n' >inner/value.py
        remote --hosts h1:2,h2:2
        want_rc 1
        want_summary "$work/got.json" "failed=40"
        nothing_left h1 h2
    )
    local rc=$?
    LAB_DIR=$work/shared "$lab" down
    return $rc
}

test_collect_there() {
    suite
    cat >test_only_there.py <<PY
import os
if os.path.exists("$source_dir"):
    raise RuntimeError("this module can only be imported on the hosts")

def test_there():
    pass
PY
    remote --hosts h1:1 --collect remote --project .
    want_rc 0
    want_summary "$work/got.json" "passed=41"
    nothing_left h1
}

run_tests
