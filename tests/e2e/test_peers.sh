#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nobody joins, reads, changes or stops a run: strangers at the door of the master, a host that others have taken over, floods.
# docs/security.md says which case is where.
. "$(dirname "$0")/lib.sh"
lab_up 3
here=$(dirname "$(readlink -f "$0")")
go=$work/go

# The second host is not ours any more: what stands for mpirun there is hostile_mpirun.
install -D -m 755 "$here/hostile_mpirun" "$(host_disk h2)/var/tmp/mpirun"
printf '#!/bin/sh\nexec /usr/bin/mpirun "$@"\n' >"$(host_disk h1)/var/tmp/mpirun"
chmod 755 "$(host_disk h1)/var/tmp/mpirun"
link() { echo "$(host_disk h2)/var/tmp/peer/$1"; }
peer() { timeout 300 "$python" "$here/hostile_peer.py" "$@" >"$work/peer" 2>&1 || { cat "$work/peer"; fail "$1: not as it must be"; }; }

# A suite of 30 tests that wait for each other's leave, each a file.
suite() {
    local n
    project suite
    rm -f "$(host_disk h1)"/var/tmp/{go,began} "$(host_disk h2)"/var/tmp/peer/*
    for n in $(seq 10 39); do
        cat >"test_$n.py" <<'PY'
import os
import time

def test_it():
    with open("/var/tmp/began", "a") as file:
        file.write("x")
    until = time.monotonic() + 300
    while not os.path.exists("/var/tmp/go"):
        assert time.monotonic() < until
        time.sleep(0.02)
PY
    done
}
run_over() { # HOSTS ARGS...
    pt_start --ssh-config "$LAB_SSH_CONFIG" --listen "$LAB_NET.1:0" --mpirun /var/tmp/mpirun --json "$work/got.json" ${DEBUG:-} --hosts "$@"
}
let_go() { touch "$(host_disk h1)/var/tmp/go"; }
has_link() { [ -e "$(link "$1")" ]; }

all_passed() {
    pt_end
    want_rc 0
    want_summary "$work/got.json" "passed=30"
    ! grep -q "a lie" "$out" "$err" "$work/got.json" || fail "a lie was told on"
    "$python" -c 'import json, sys
assert {t["host"] for t in json.load(open(sys.argv[1]))["tests"]} <= {"h1", "ada@h1"}' "$work/got.json" || fail "another host told of a test"
}
memory() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$master/status"; } # the most it ever had

test_strangers_and_a_host_that_lies() {
    local before how launch=1
    suite
    run_over h1:2,h2:1
    for how in truncated unknown jump; do
        wait_for 60 "$how: no keys of launch $launch" has_link $launch
        peer break "$(link $launch)" $how
        launch=$((launch + 1))
    done
    wait_for 60 "the other host has no keys" has_link $launch
    cp "$(link $launch)" "$work/old"
    launch=1
    kill -9 "$master"
    wait "$master" 2>/dev/null
    nothing_left h1
    suite
    run_over h1:2,h2:1
    wait_for 60 "h1 does not work" says "h1: ready"
    wait_for 60 "the other host has no keys" has_link 1
    peer strangers "$(link 1)" "$work/old"
    kill -0 "$master" || fail "the run has ended"
    before=$(memory)
    peer report "$(link 1)" 30
    cat "$work/peer"
    [ $(($(memory) - before)) -lt 32768 ] || fail "128 MiB of output took $(($(memory) - before)) KiB here"
    for how in oversized interleaved renegotiate; do
        launch=$((launch + 1))
        wait_for 60 "$how: its workers are not started again" has_link $launch
        peer break "$(link $launch)" $how
    done
    wait_for 60 "it is not given up" says "h2: .*given up after 4 starts"
    let_go
    all_passed
    nothing_left h1
}

began() { [ "$(wc -c <"$(host_disk h1)/var/tmp/began")" -ge "${1:-1}" ]; } # so many tests
first_of() { "$lab" pids "$1" | sed -n "s/^\([0-9]*\) [^ ]*$2 .*/\1/p" | head -n 1; }

first_of_is_not() { local now; now=$(first_of h1 mpirun) && [ -n "$now" ] && [ "$now" != "$1" ]; }

# ADDR:PORT of each TCP port that a process listens on, in its network.
ports_of() {
    "$python" - "$1" "$LAB_NET.11" <<'PY'
import os, sys
pid, address = sys.argv[1:]
mine = set()
for fd in os.listdir("/proc/%s/fd" % pid):
    try:
        mine.add(os.readlink("/proc/%s/fd/%s" % (pid, fd)))
    except OSError:
        pass
for line in open("/proc/%s/net/tcp" % pid).readlines()[1:]:
    words = line.split()
    where, port = words[1].split(":")
    if words[3] == "0A" and "socket:[%s]" % words[9] in mine and where in ("00000000", "%02X%02X%02X%02X" % tuple(map(int, reversed(address.split("."))))):
        print("%s:%d" % (address, int(port, 16)))
PY
}

# ADDR:PORT, in hexadecimal, of each socket of TCP and UDP of IP that waits for others in these processes; and "all".
listens() {
    "$python" - "$@" <<'PY'
import os, sys
def target(link):
    try:
        return os.readlink(link)
    except FileNotFoundError: # closed meanwhile
        return None
for pid in sys.argv[1:]:
    mine = {target("/proc/%s/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%s/fd" % pid)}
    for kind, waits in ("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07"):
        for line in open("/proc/%s/net/%s" % (pid, kind)).readlines()[1:]:
            words = line.split()
            if words[3] == waits and "socket:[%s]" % words[9] in mine:
                print(kind, words[1])
print("all")
PY
}

# The master's listener, and the port of mpirun that cannot be closed, with a thousand connections each; what is on the network
# of the host meanwhile.
test_floods() {
    local port ports flood ear mpirun
    suite
    cat >test_secret_word.py <<'PY'
import socket

def test_it(record_property):
    record_property("secret", "secret_word_in_a_report")
    door = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(door.getsockname()) as s:
        s.sendall(b"said by the test itself")
        door.accept()[0].recv(100)
PY
    nsenter -t "$(cat "$LAB_DIR/h1/pid")" -n "$python" "$here/hostile_peer.py" listen "$work/ended" secret_word "PRIVATE KEY" "BEGIN CERT" \
        "said by the test itself" >"$work/heard" 2>&1 &
    ear=$!
    run_over h1:2,h2:1 --junitxml "$work/got.xml"
    wait_for 60 "h1 does not work" began
    wait_for 60 "the other host has no keys" has_link 1
    port=$(strings -n 8 "$(link 1)" | grep -o "$LAB_NET.1:[0-9]*")
    rm -f "$work/enough"
    "$python" "$here/hostile_peer.py" flood "$port" 1000 "$work/enough" >"$work/flood" 2>&1 &
    flood=$!
    wait_for 60 "no flood" grep -q open "$work/flood"
    wait_for 60 "h1 does not work on both slots" began 2
    mpirun=$(first_of h1 mpirun)
    rm "$(host_disk h1)/var/tmp/began" # whoever writes it again was started after this
    kill -9 "$mpirun"
    wait_for 60 "mpirun is not started again" first_of_is_not "$mpirun"
    wait_for 60 "workers do not get through the flood" began
    mpirun=$(first_of h1 mpirun)
    ports=$(ports_of "$mpirun")
    [ -n "$ports" ] || fail "mpirun listens nowhere: what is flooded?"
    for port in $ports; do
        peer probe "$port" 1000
        cat "$work/peer"
    done
    let_go
    pt_end
    touch "$work/enough" "$work/ended"
    wait "$flood" "$ear"
    cat "$work/flood" "$work/heard"
    want_rc 0
    want_summary "$work/got.json" "passed=31"
    grep -q "secret_word_in_a_report" "$work/got.xml" || fail "the report did not come"
    grep -q "lost 0 secret_word=0 PRIVATE_KEY=0 BEGIN_CERT=0 said_by_the_test_itself=[1-9]" "$work/heard" || fail "it passes in the clear"
    nothing_left h1
}
# It holds tests, says things for ever and reads nothing: the master stays as it is, and ends when it is told to.
test_a_worker_that_never_stops() {
    local before endless
    suite
    run_over h1:2,h2:1
    wait_for 60 "h1 does not work" began
    wait_for 60 "the other host has no keys" has_link 1
    before=$(memory)
    rm -f "$work/enough"
    "$python" "$here/hostile_peer.py" endless "$(link 1)" "$work/enough" >"$work/endless" 2>&1 &
    endless=$!
    wait_for 60 "100 MB are not taken" grep -q said "$work/endless"
    [ $(($(memory) - before)) -lt 32768 ] || fail "100 MB took $(($(memory) - before)) KiB here"
    kill -INT "$master"
    pt_end 60
    want_rc 2
    wait $endless
    grep -q "cut off" "$work/endless" || fail "$(cat "$work/endless")"
    nothing_left h1
}

# Words of a key that must be nowhere: it was given to the second host's worker.
of_key() { grep -a -A 1 "BEGIN PRIVATE KEY" "$(link 1)" | tail -n 1; }
as_user() { "$lab" exec h1 setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
of_ada_to_nina() { # what of ada's nina can read, list or write
    as_user nina find / \( -path /proc -o -path /sys \) -prune -o -user ada \( -readable -o -writable \) ! -type l -print 2>/dev/null |
        grep -v -x -e /var/tmp/began -e /home/ada -e '/home/ada/\.[a-z_]*' | sort
}

# What of h1 the tests of ada cannot look into: all of the agent, and rank 0.
keys_are_hidden() {
    local pid title role roles= ranks=0 hidden=0
    while read -r pid title; do
        role=${title#ptremote-agent }
        case $title in
        ptremote-agent\ *) roles+="$role " ;;
        *mpirun\ *) continue ;;
        */ptremote-worker\ --run-dir*) role=rank ranks=$((ranks + 1)) ;;
        *) continue ;;
        esac
        if as_user ada cat "/proc/$pid/environ" >/dev/null 2>&1; then
            [ "$role" = rank ] || echo "$title" >>"$work/readable"
        elif [ "$role" = rank ]; then
            hidden=$((hidden + 1))
        fi
    done < <("$lab" exec h1 pgrep -a -u ada)
    echo "$roles, $ranks ranks, $hidden of them hidden"
    [ "$(tr ' ' '\n' <<<"$roles" | sort | xargs)" = "agent keeper proxy tree" ] && [ "$ranks $hidden" = "2 1" ]
}

# Another user of the host, and whoever looks at the list of processes.
test_other_users_see_nothing() {
    local before
    suite
    "$lab" exec h1 chmod 755 /home/ada
    before=$(of_ada_to_nina)
    run_over ada@h1:2,h2:1
    wait_for 60 "h1 does not work" began
    wait_for 60 "the other host has no keys" has_link 1
    [ "$(of_ada_to_nina)" = "$before" ] || { diff <(echo "$before") <(of_ada_to_nina); fail "nina sees something of ada"; }
    [ -n "$(as_user ada find /tmp /run /home/ada/.cache -user ada -readable 2>/dev/null)" ] || fail "ada has nothing there herself"
    nsenter -t "$(cat "$LAB_DIR/h1/pid")" -n -p -m -r "$python" - knock / "$("$lab" exec h1 id -u nina)" <"$here/hostile_peer.py" >"$work/knock" 2>&1 ||
        { cat "$work/knock"; fail "nina gets in"; }
    cat "$work/knock"
    wait_for 60 "tests look into what holds keys" keys_are_hidden
    [ ! -e "$work/readable" ] || fail "ada reads $(cat "$work/readable")" # also who was so for a moment
    printf '%s\n' "$(of_key)" "BEGIN PRIVATE KEY" >"$work/key"
    [ "$(head -c 60 "$work/key" | wc -l)" = 0 ] || fail "no key: $(cat "$work/key")"
    grep -q -a -F -f "$work/key" "$(link 1)" || fail "a key is not found where it is"
    ! grep -l -a -F -f "$work/key" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || fail "a key in a command line or environment"
    ! grep -r -l -a -F -f "$work/key" "$work"/{suite,home,run,tmp} || fail "a key in a file here"
    ! grep -r -l -a -F -f "$work/key" --exclude-dir=peer --exclude-dir=ssh "$(host_disk h1)" "$(host_disk h2)" || fail "a key in a file there"
    let_go
    all_passed
    nothing_left h1
}

# Where the tests run beside the master, as an ordinary user: they get into none of what holds keys, and nothing but mpirun listens.
test_here_nobody_gets_keys_and_no_port_is_open() {
    local own=$work/own pid names ports ours=() mpi=()
    project here
    mkdir -p "$own"/{home,run}
    cp "$ptremote" "$own/ptremote"
    cat >"$own/as_nobody" <<SH
#!/bin/sh
export HOME=$own/home XDG_RUNTIME_DIR=$own/run ASAN_OPTIONS=detect_leaks=0:log_path=$own/home/sanitizer
export UBSAN_OPTIONS=log_path=$own/home/sanitizer
exec setpriv --reuid games --regid games --clear-groups $own/ptremote "\$@"
SH
    chmod 755 "$work" "$own/as_nobody"
    cat >test_look.py <<'PY'
import os
import time

def ours(pid):
    """Its name, where it is one of ours."""
    try:
        with open("/proc/%s/status" % pid) as file:
            status = dict(line.split(":", 1) for line in file)
    except OSError:
        return None
    name = status["Name"].strip()
    return name if status["Uid"].split()[0] == str(os.getuid()) and name.startswith("ptremote") else None

def test_it():
    seen, read = [], []
    for pid in filter(ours, filter(str.isdigit, os.listdir("/proc"))):
        seen.append(ours(pid) or "")
        for name in "environ", "mem", "maps":
            try:
                with open("/proc/%s/%s" % (pid, name), "rb"):
                    if ours(pid): # it is not another program meanwhile
                        read.append(seen[-1] + "/" + name)
            except OSError:
                pass
    with open("looked.new", "w") as file:
        file.write("read: %s\n%s\n" % (read, " ".join(sorted(seen))))
    os.rename("looked.new", os.path.join(os.environ["PLACE"], "looked"))
    until = time.monotonic() + 300
    while not os.path.exists(os.path.join(os.environ["PLACE"], "go")):
        assert time.monotonic() < until
        time.sleep(0.02)
PY
    chown -R games:games "$own" .
    ptremote=$own/as_nobody pt_start --hosts local:1 --env PLACE="$own" --json got.json
    wait_for 60 "the test does not begin" test -e "$own/looked"
    cat "$own/looked"
    names=$(tail -n 1 "$own/looked")
    [ "$(head -n 1 "$own/looked")" = "read: []" ] || fail "a test reads what holds keys"
    [ "$(echo "$names" | tr ' ' '\n' | grep -c .)" -ge 5 ] || fail "master, proxy, keeper, agent and rank 0 were not all there: $names"
    for pid in $(our_pids); do
        case $(readlink "/proc/$pid/exe") in
        */ptremote*) ours+=("$pid") ;;
        */mpirun* | */orterun*) mpi+=("$pid") ;;
        esac
    done
    [ ${#ours[@]} -ge 5 ] || fail "not all are found: ${ours[*]}"
    ports=$(listens "${ours[@]}")
    [ "$ports" = all ] || fail "a port is open: $ports"
    ports=$(listens "${mpi[@]}")
    [ "${ports##*$'\n'}" = all ] && [ "$ports" != all ] || fail "mpirun listens nowhere: nothing would be found: $ports"
    touch "$own/go"
    pt_end
    want_rc 0
    [ -z "$(find "$own/home" -name 'sanitizer*')" ] || fail "$(cat "$own"/home/sanitizer*)"
    nothing_left
}

# What an mpirun says is shown where it ends badly: the end of it, made safe.
test_what_mpirun_says_is_data() {
    local loud before
    loud=$(host_disk h2)/var/tmp/loud
    suite
    printf '\033]0;owned\007\033[2J\r$(touch /var/tmp/owned) `id`\0 \xff\xfe \xe2\x80\xae txt %%s%%n\x9b31m ' >"$loud"
    run_over h1:2,h2:1
    wait_for 60 "h1 does not work" began
    before=$(memory)
    wait_for 60 "it is not given up" says "h2: .*given up after 4 starts"
    [ $(($(memory) - before)) -lt 16384 ] || fail "80 MB of output took $(($(memory) - before)) KiB here"
    rm "$loud"
    let_go
    all_passed
    want_words 'h2: mpirun exited with status 7: \\x1b]0;owned\\x07\\x1b\[2J.*touch.*`id`\\x00 \\xff\\xfe \\u202e txt %s%n\\x9b31m the last word; given up after 4 starts'
    ! LC_ALL=C grep -q -a -P '[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80\xae|\xff|\x9b' "$out" "$err" || fail "raw bytes of it"
    [ "$(wc -c <"$err")" -lt 65536 ] || fail "$(wc -c <"$err") bytes of it were shown"
    [ ! -e "$(host_disk h1)/var/tmp/owned" ] && [ ! -e "$(host_disk h2)/var/tmp/owned" ] && [ ! -e /var/tmp/owned ] || fail "a shell saw it"
    nothing_left h1
}

# Many hosts whose agents talk as they like, among them one of ours. What is beside the project must stay as it is, and unknown.
test_hosts_that_were_taken_over() {
    local n agent words agents=() hosts=local:1 count most=131072
    ! grep -q __asan_init "$ptremote" || most=800000 # what was freed is not given back at once
    count=$("$here/hostile_agent" count)
    suite
    pt --ssh-config "$LAB_SSH_CONFIG" --hosts h1:1,h2:1,h3:1 --sync-only # installs the agent
    want_rc 0
    nothing_left h1
    cp "$LAB_SSH_CONFIG" "$work/ssh_config"
    for n in 1 2 3; do
        for agent in "$(host_disk h$n)"/root/.cache/ptremote/bin/*/ptremote-agent; do
            mv "$agent" "$work/agent.h$n"
            agents[n]=$agent
            cp "$here/hostile_agent" "$agent"
        done
    done
    for n in $(seq "$count"); do # sshd refuses more than ten logins at a time
        sed -n "/^Host h$((n % 3 + 1))$/,/^Host/{/HostName/p}" "$LAB_SSH_CONFIG" | sed "1iHost x$n" >>"$work/ssh_config"
        printf '  User root\n' >>"$work/ssh_config"
        sed -n '/^  IdentityFile/,$p' "$LAB_SSH_CONFIG" >>"$work/ssh_config"
        hosts+=,x$n:1
    done
    suite
    echo "a secret beside the project" >"$work/secret"
    ln -s "$work/secret" "$work/home/link"
    touch "$work/before"
    sed -i 's|/var/tmp/go|'"$go"'|; s|/var/tmp/began|'"$work"'/began|' test_*.py
    rm -f "$go"
    pt_start --ssh-config "$work/ssh_config" --json "$work/got.json" --hosts "$hosts"
    wait_for 60 "ours does not work" test -e "$work/began"
    wait_for 60 "they are not done" heard_of "$count"
    for words in "x4: said 1000 lines" "x5: said 1000 lines" "x6: it does not take the tree as it is" "x7: the agent's NEED" "x8: the agent's NEED" \
        "x10: the agent broke the protocol" "x11: \(message 66\|the agent's TREE\)" "x12: the agent misses 1000 programs" "x13: the agent misses" \
        "x14: a control frame of impossible length" "x15: a control frame" "x16: the agent broke the protocol" "x18: ffff" "x19: the agent's TREE"; do
        wait_for 60 "it does not say '$words'" says "$words"
    done
    [ "$(memory)" -lt "$most" ] || fail "it took $(memory) KiB here"
    touch "$go"
    pt_end
    want_rc 0
    want_summary "$work/got.json" "passed=30"
    ! says 'x18: f\{10000\}' || fail "4 MiB of an error were shown"
    for n in 1 2 3; do
        ! grep -r -l -a "a secret beside" "$(host_disk h$n)/var/tmp/heard" || fail "it was read"
        mv "$work/agent.h$n" "${agents[n]}"
    done
    find "$work" -path "$work/suite" -prune -o -path "$work/lab" -prune -o -path "$work/home/.cache" -prune -o -newer "$work/before" -type f -print \
        >"$work/written"
    [ "$(sed "s|$work/||" "$work/written" | sort | xargs)" = "began err go got.json out waited written" ] || fail "written here: $(cat "$work/written")"
    nothing_left
}
heard_of() { [ "$(find "$LAB_DIR"/h?/disk/var/tmp/heard -name '*.did' | wc -l)" -ge "$1" ]; }

# Whoever crashes with keys in its memory leaves none on a disk. (What core_pattern gives to a program is not seen here: for that
# these processes are not dumpable at all, as the test above shows.)
test_no_core_file_has_keys() {
    local pid place places=()
    ulimit -c unlimited
    project core
    printf 'import os\nimport time\n\ndef test_it():\n    open("%s/began", "w").close()\n    time.sleep(600)\n' "$work" >test_it.py
    rm -f "$work/began"
    mkdir -p "$work/crashes"
    (cd "$work/crashes" && sh -c 'kill -ABRT $$') 2>/dev/null
    pt_start --hosts local:1
    wait_for 60 "it does not begin" test -e "$work/began"
    for pid in $master $(our_pids); do
        case $(readlink "/proc/$pid/exe") in */ptremote*) places+=("$pid:$(readlink "/proc/$pid/cwd")") ;; esac
    done
    [ ${#places[@]} -ge 5 ] || fail "master, proxy, keeper, agent, worker: ${places[*]}"
    for place in "${places[@]}"; do
        kill -ABRT "${place%%:*}" 2>/dev/null
    done
    wait "$master" 2>/dev/null
    for place in "${places[@]}" "x:$work"; do
        [ -z "$(find "${place#*:}" -maxdepth 3 -path "$work/crashes" -prune -o -path /proc -prune -o -type f -name 'core*' -newer "$work/began" -print 2>/dev/null)" ] ||
            fail "a core file in ${place#*:}"
    done
    for pid in $(our_pids); do kill -9 "$pid" 2>/dev/null; done # keeper, agent and proxy at once: nobody was left to clean up
    rm -rf "$work"/run/*
    [ -n "$(ls "$work/crashes")" ] || echo "there are no core files here in any case"
}

run_tests
