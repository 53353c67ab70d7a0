#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What users get wrong, and what hosts lack: one clear line, exit 4 (their words) or 6 (their hosts), nothing left behind.
. "$(dirname "$0")/lib.sh"
programs=$(($(stat -c '%s' "$build_dir/bin/ptremote-agent") + $(stat -c '%s' "$build_dir/bin/ptremote-worker")))
lab_up 4 --no-mpirun h2 --no-python h3 --no-pytest h4 --mount h1 /tiny mode=700,size=256k \
    --mount h1 /small "mode=700,size=$((programs / 1024 + 6000))k" --mount h1 /noexec mode=700,noexec --noexec-cache h1

suite() {
    project suite
    printf 'def test_it():\n    pass\n' >test_it.py
}

# config SED: the client configuration, changed.
config() {
    sed "$1" "$LAB_SSH_CONFIG" >"$work/config"
    config=$work/config
}

remote() { pt --ssh-config "${config:-$LAB_SSH_CONFIG}" "$@"; }

# refused RC PATTERN: the last run ended so, with one line that says so.
refused() {
    want_rc "$1"
    want_line "$2"
    nothing_left h1 h2 h3 h4
}

# ---- what the user wrote ----
test_hosts_that_do_not_parse() {
    suite
    local list
    for list in '' ',' 'h1:' 'h1:0' 'h1:-2' 'h1:many' 'h1:99999' ':4' '@h1' 'h1,,h2' 'fe80::1:2' '[::1' 'h1 h2' 'h1;id' 'h1,h1'; do
        remote --hosts "$list"
        refused 4 "^ptremote: .*hosts"
    done
    printf 'h1 slots=two\n' >"$work/hostfile"
    remote --hostfile "$work/hostfile"
    refused 4 "hostfile.*1"
    remote --hostfile "$work/nowhere"
    refused 4 "nowhere"
}

test_project_that_does_not_exist() {
    suite
    remote --hosts h1:1 --project "$work/nowhere"
    refused 4 "nowhere"
    remote --hosts h1:1 --project test_it.py
    refused 4 "test_it.py"
}

test_path_that_does_not_exist() {
    suite
    remote --hosts h1:1 nowhere
    refused 4 "not found.*nowhere|nowhere.*(not found|no such)"
    remote --hosts h1:1 test_it.py::test_nothing
    want_rc 4
    want_words "test_nothing"
}

test_unreadable_file_in_the_tree() {
    suite
    printf 'x' >locked
    chmod 000 locked
    chmod 755 "$work"
    mkdir "$work/nobody"
    install -m 755 "$ptremote" "$work/nobody/ptremote"
    chown -R nobody "$work/nobody" "$PWD"
    chown root locked
    (
        ptremote=$work/nobody/as_nobody
        printf '#!/bin/sh\nHOME=%s XDG_RUNTIME_DIR= exec setpriv --reuid nobody --regid nogroup --clear-groups %s/ptremote "$@"\n' \
            "$work/nobody" "$work/nobody" >"$ptremote"
        chmod 755 "$ptremote"
        pt --hosts local:1
        want_line "locked.*permission denied"
        case $rc in
        4 | 6) ;;
        *) fail "exit status $rc" ;;
        esac
        pt --hosts local:1 --exclude locked
        want_rc 0
        nothing_left
    )
}

# ---- the way there ----
test_unknown_host() {
    suite
    remote --hosts no-such-host.invalid:1
    refused 6 "no-such-host.invalid.*(not known|resolve|name)"
}

test_refused_port() {
    suite
    config '/HostName.*\.11$/a\  Port 9'
    remote --hosts h1:1
    refused 6 "h1.*refused"
}

test_wrong_key() {
    suite
    config "s|IdentityFile .*|IdentityFile $LAB_WRONG_KEY|"
    remote --hosts h1:1
    refused 6 "h1.*(authenti|denied|key)"
}

test_changed_host_key() {
    suite
    awk -v h1="h1,$LAB_NET.11" 'NR == 2 { print h1, $2, $3 } NR > 1' "$LAB_KNOWN_HOSTS" >"$work/known_hosts"
    config "s|UserKnownHostsFile .*|UserKnownHostsFile $work/known_hosts|"
    remote --hosts h1:1
    refused 6 "h1.*changed"
    remote --hosts h1:1 --host-key accept-new
    refused 6 "h1.*changed"
}

test_unknown_host_key() {
    suite
    : >"$work/known_hosts"
    config "s|UserKnownHostsFile .*|UserKnownHostsFile $work/known_hosts|; /StrictHostKeyChecking/d"
    remote --hosts h1:1
    refused 6 "h1.*host key"
    want_words "accept-new"
    [ ! -s "$work/known_hosts" ] || fail "it wrote to known_hosts without being asked to"
    remote --hosts h1:1 --host-key accept-new
    want_rc 0
    grep -q ed25519 "$work/known_hosts" || fail "the accepted key was not kept"
    remote --hosts h1:1
    want_rc 0
}

test_no_terminal_for_a_password() {
    suite
    (
        LAB_DIR=$work/second
        lab_up 2 --passwd h1 --kbdint h2
        for host in h1 h2; do
            pt --ssh-config "$LAB_SSH_CONFIG" --hosts $host:1
            want_rc 6
            want_line "$host.*(password|keyboard|terminal)"
        done
        nothing_left h1 h2
    )
    local rc=$?
    LAB_DIR=$work/second "$lab" down
    return $rc
}

test_cable_pulled_before_the_start() {
    suite
    config '/HostName.*\.11$/a\  ConnectTimeout 3'
    "$lab" cut h1
    remote --hosts h1:1
    "$lab" mend h1
    refused 6 "h1.*(timed out|no route|unreachable)"
}

# ---- what the host lacks ----
test_no_mpirun() {
    suite
    remote --hosts h2:1
    refused 6 "h2.*mpirun.*openmpi-bin"
}

test_no_python() {
    suite
    remote --hosts h3:1
    refused 6 "h3.*python"
}

test_no_pytest() {
    suite
    remote --hosts h4:1
    refused 6 "h4.*python3-pytest"
}

test_no_space_for_the_programs() {
    suite
    remote --hosts h1:1 --remote-dir /tiny
    refused 6 "h1.*(space|full)"
    [ -z "$("$lab" exec h1 find /tiny -type f)" ] || fail "files are left in /tiny"
}

test_no_space_for_the_tree() {
    suite
    head -c 40000000 /dev/urandom >big
    remote --hosts h1:1 --remote-dir /small
    refused 6 "h1.*(space|full)"
    rm big
    remote --hosts h1:1 --remote-dir /small
    want_rc 0
}

test_noexec_cache() {
    suite
    remote --hosts h1:1 --remote-dir /noexec
    refused 6 "h1.*noexec"
    [ -z "$("$lab" exec h1 find /noexec -type f)" ] || fail "files are left in /noexec"
    remote --hosts h1:1 # the usual place is noexec too: the next one is taken
    want_rc 0
}

test_remote_dir_that_cannot_be() {
    suite
    remote --hosts h1:1 --remote-dir /proc/nothing
    refused 6 "h1.*/proc/nothing"
}

# ---- noise and strange shells do not matter ----
test_noisy_and_strange_login_shells() {
    suite
    remote --hosts nina@h1:1
    want_rc 0
    remote --hosts carol@h1:1
    want_rc 0
    nothing_left h1
}

run_tests
