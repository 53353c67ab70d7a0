#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The test hosts themselves: if they saw what this machine has, or outlived their lab, no other proof would count.
. "$(dirname "$0")/lib.sh"
lab_up 3 --hide '/usr/lib/python3/dist-packages/networkx*' --no-mpirun h2 --no-python h3 --no-pytest h2 --small-cache h2 3m \
    --noexec-cache h3

on() { ssh -F "$LAB_SSH_CONFIG" -o ConnectTimeout="${patience:-60}" "$@"; }

test_hosts_are_hosts_of_their_own() {
    local host
    for host in h1 h2 h3; do
        [ "$(on $host hostname)" = $host ] || fail "$host has another name"
        [ "$(on $host 'echo $$')" -lt 1000 ] || fail "$host shares its processes"
        [ "$(on $host cat /etc/machine-id)" != "$(cat /etc/machine-id)" ] || fail "$host has this machine's id"
    done
    [ "$(on h1 cat /etc/machine-id)" != "$(on h2 cat /etc/machine-id)" ] || fail "two hosts have one id"
    on h1 'touch /tmp/mine /dev/shm/mine /root/mine /var/tmp/mine /home/mine'
    [ -z "$(on h2 'ls -d /tmp/mine /dev/shm/mine /root/mine /var/tmp/mine /home/mine 2>/dev/null')" ] || fail "h2 sees files of h1"
    [ ! -e /dev/shm/mine ] || fail "this machine sees files of h1"
    on h1 'rm /tmp/mine /dev/shm/mine /root/mine /var/tmp/mine /home/mine'
}

test_hosts_do_not_see_this_machine() {
    local path
    for path in "$source_dir" "$build_dir" "$work" /root/.bashrc /root/.gitconfig; do
        on h1 "test ! -e $path" || fail "h1 sees $path"
    done
    on h1 '! touch /usr/bin/mine 2>/dev/null' || fail "h1 can write to this machine's programs"
    [ -z "$(on h1 'cat /etc/resolv.conf')" ] || fail "h1 has a name server"
    [ -z "$(on h1 'cat /proc/net/route' | awk '$2 == "00000000"')" ] || fail "h1 has a way out"
    [ "$(on h1 'ls -d /proc/[0-9]*' | wc -l)" -lt 10 ] || fail "h1 sees processes of this machine"
}

test_hidden_things_are_gone() {
    on h1 '! python3 -c "import networkx" 2>/dev/null' || fail "h1 sees networkx"
    on h1 'python3 -c "import pytest" && command -v mpirun >/dev/null' || fail "h1 lacks pytest or mpirun"
    on h2 '! command -v mpirun && ! command -v orterun' || fail "h2 has mpirun"
    on h2 'python3 -c "import json" && ! python3 -c "import pytest" 2>/dev/null' || fail "h2 has pytest, or no Python"
    on h3 '! command -v python3' || fail "h3 has Python"
    on h2 '! head -c 4000000 /dev/zero >~/.cache/ptremote/big' 2>/dev/null || fail "the cache of h2 is not small"
    on h2 'rm ~/.cache/ptremote/big'
    on h3 'cp /bin/true ~/.cache/ptremote/ && ! ~/.cache/ptremote/true' 2>/dev/null || fail "the cache of h3 executes"
}

test_users() {
    [ "$(on ada@h1 id -un)" = ada ] || fail "no user ada"
    [ "$(on carol@h1 'echo $shell')" = /bin/csh ] || fail "carol's shell is not csh"
    [ "$(on nina@h1 true | wc -c)" -ge 10000 ] || fail "nina's shell is silent"
    [ "$(on h2-by-h1 hostname)" = h2 ] || fail "no way through a jump host"
    ! on -o BatchMode=yes -o IdentityFile="$LAB_WRONG_KEY" -o IdentitiesOnly=yes -F /dev/null "root@$LAB_NET.11" true 2>/dev/null ||
        fail "any key opens"
    ! grep -q -E '^(ada|carol|nina):' /etc/passwd || fail "the machine's own accounts were touched"
}

test_cut_and_mend() {
    "$lab" cut h1
    ! patience=1 on h1 true 2>/dev/null || fail "h1 answers with its cable pulled"
    on h2 true || fail "h2 lost its cable too"
    "$lab" mend h1
    on h1 true || fail "h1 does not answer any more"
}

test_slow() {
    local from took
    "$lab" slow h1 2mbit
    from=$(date +%s%N)
    on h1 'head -c 500000 /dev/zero' | wc -c >/dev/null
    took=$((($(date +%s%N) - from) / 1000000))
    "$lab" mend h1
    [ $took -ge 1000 ] || fail "500 KB at 2 Mbit/s took $took ms"
}

test_far() {
    local from took
    "$lab" far h1 80
    head -c 3000000 /dev/urandom >"$work/sent"
    on h1-far cat <"$work/sent" | cmp - "$work/sent" || fail "bytes are lost or changed on the way"
    from=$(date +%s%N)
    exec 3<>"/dev/tcp/$LAB_NET.1/22001"
    read -r -t 60 _ <&3 || fail "h1-far says nothing"
    took=$((($(date +%s%N) - from) / 1000000))
    exec 3>&-
    [ $took -ge 160 ] || fail "opening a connection and the first word back took $took ms"
    "$lab" far h1 0
    ! patience=1 on h1-far true 2>/dev/null || fail "h1 is far still"
    on h1 true || fail "h1 is gone"
}

# What is sent comes back whole and in order, no byte of it earlier than a round trip, and the end after the last byte.
test_delay_proxy() {
    "$python" - "$source_dir/tests/lab/delay.py" <<'PY' || fail "the proxy does not keep its promise"
import os, signal, socket, subprocess, sys, threading, time

server = socket.create_server(("127.0.0.1", 0))

def echo():
    peer = server.accept()[0]
    while data := peer.recv(65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)

threading.Thread(target=echo, daemon=True).start()
spare = socket.create_server(("127.0.0.1", 0))
port = spare.getsockname()[1]
spare.close()
pid = int(subprocess.check_output(
    [sys.executable, sys.argv[1], "127.0.0.1", str(port), "127.0.0.1", str(server.getsockname()[1]), "50"]))
try:
    near = socket.create_connection(("127.0.0.1", port))
    for size in (1, 100, 3 << 20):
        sent = os.urandom(size)
        begun = time.monotonic()
        threading.Thread(target=near.sendall, args=(sent,)).start()
        got = near.recv(65536)
        took = time.monotonic() - begun
        while len(got) < size:
            got += near.recv(65536)
        assert got == sent, f"{size} bytes came back changed"
        assert took >= 0.050, f"the first of {size} bytes came back after {took} s"
    begun = time.monotonic()
    near.shutdown(socket.SHUT_WR)
    assert near.recv(1) == b"" and time.monotonic() - begun >= 0.050
finally:
    os.kill(pid, signal.SIGKILL)
PY
}

test_kill_and_boot() {
    on h1 'sleep 1000 & echo $! >/root/sleeper; exec sleep 1000' >/dev/null 2>&1 </dev/null &
    local client=$! from # process 1
    wait_for 60 "no sleeper" "$lab" exec h1 test -s /root/sleeper
    from=$(cat "$LAB_DIR/h1/pid")
    "$lab" kill h1
    kill -0 $client 2>/dev/null || fail "h1 said farewell on the network"
    wait_for 60 "process 1 of h1 lives on" test ! -e "/proc/$from"
    [ -z "$(ip netns pids "ptlab$LAB_ID-h1")" ] || fail "processes of h1 live on"
    "$lab" list | grep -q "^h1.*off,cut" || fail "h1 is not off"
    kill $client
    "$lab" boot h1
    on h1 'test -s /root/sleeper && ! test -e /dev/shm/x' || fail "h1 came back without its disk"
    wait_for 60 "processes on h1" host_is_quiet h1
}

test_pids() {
    on h1 'exec sleep 1000' &
    local client=$! pid
    wait_for 60 "no sleep on h1" eval '"$lab" pids h1 | grep -q "^[0-9]* sleep 1000"'
    pid=$("$lab" pids h1 | sed -n 's/^\([0-9]*\) sleep 1000 *$/\1/p')
    kill -9 "$pid"
    wait $client
    wait_for 60 "processes on h1" host_is_quiet h1
}

test_second_lab_shared_home_and_down() {
    local second=$work/second id
    (
        eval "$(LAB_DIR=$second "$lab" up 2 --shared-home)"
        on h1 'echo seen >shared'
        [ "$(on h2 cat shared)" = seen ] || fail "no shared home"
        [ "$(on h1 cat /etc/machine-id)" != "$(on h2 cat /etc/machine-id)" ] || fail "two hosts have one id"
    ) || exit 1
    on h1 true || fail "the first lab is gone"
    id=$(cat "$second/id")
    LAB_DIR=$second "$lab" kill h2
    LAB_DIR=$second "$lab" down
    [ ! -e "$second" ] || fail "$second is left"
    ! ip netns list | grep "ptlab$id-" || fail "network namespaces are left"
    ! ip link show | grep -E "ptlab$id|ptl$id-" || fail "links are left"
    ! pgrep -f "$second" || fail "processes are left"
    ! grep -q "$second" /proc/mounts || fail "mounts are left"
    on h1 true || fail "the first lab went down too"
}

test_lab_ends_with_its_owner() {
    local second=$work/orphan owner
    sleep 1000 &
    owner=$!
    LAB_DIR=$second "$lab" up 1 --owner $owner >/dev/null || fail "no second lab"
    kill -9 $owner
    wait_for 60 "$second outlived its owner" test ! -e "$second"
}

run_tests
