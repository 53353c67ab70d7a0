#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The account of deploy/account.md, made by its script on a real host: ptremote works there, and nothing else does; keys are rotated.
. "$(dirname "$0")/lib.sh"
lab_up 2
chmod 755 "$work"
keys=$work/keys config=$work/ssh_config known=$work/known_hosts
mkdir "$keys"
for name in ana new stranger; do ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$keys/$name"; done
cp "$LAB_KNOWN_HOSTS" "$known"

# The file of deploy/account.md.
cat >"$config" <<TEXT
Host h1
    HostName $LAB_NET.11
    User runner
    IdentityFile $work/identity
    IdentitiesOnly yes
    UserKnownHostsFile $known
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    HostKeyAlgorithms ssh-ed25519
    UpdateHostKeys no
Host h1-by-h2
    HostName $LAB_NET.11
    User runner
    ProxyJump carol@h2
Host h2
    HostName $LAB_NET.12
Host *
    IdentityFile $work/identity
    UserKnownHostsFile $known
    StrictHostKeyChecking yes
TEXT

give() { mkdir -p "$(host_disk h1)/root/account" && cp "$@" "$(host_disk h1)/root/account"; }
on_host() { "$lab" exec h1 sh -c "cd /root/account && $1"; }
reload() {
    local before
    before=$(listens)
    kill -HUP "$(cat "$LAB_DIR/h1/pid")"
    wait_for 60 "sshd is not back" eval '[ "$(listens)" -gt "$before" ]'
}
listens() { grep -c '^Server listening on 0' "$LAB_DIR/h1/log"; }
be() { ln -sf "$keys/$1" "$work/identity"; }
by_ssh() { ssh -F "$config" -o BatchMode=yes -o ConnectTimeout=60 "$@" >"$work/out" 2>"$work/err" </dev/null; rc=$?; }

suite() {
    project suite
    cat >test_suite.py <<'PY'
import os, pwd, socket

def test_who():
    assert pwd.getpwuid(os.getuid()).pw_name == "runner" and socket.gethostname() == "h1"

def test_no_other_key():
    for path in ("/etc/ssh/ptremote/runner.keys", "/etc/ssh/ptremote/more", "/etc/ssh/ptremote/forced-command"):
        try:
            open(path, "a")
        except OSError:
            continue
        raise AssertionError(path)
PY
}

want_run() { # the host is used
    pt --ssh-config "$config" --hosts "${1:-h1}:1"
    want_rc 0
    want_words '2 passed'
}

want_in() { # what runs need of a login works
    pt --ssh-config "$config" --hosts h1 --sync-only
    want_rc 0
}

want_out() { # WORDS: it does not, and says why
    pt --ssh-config "$config" --hosts h1 --sync-only --host-key accept-new
    want_rc 6
    want_line "$1"
}

make_account() { # KEY...: as account.md says
    local name files=
    for name; do
        give "$keys/$name.pub"
        files+=" $name.pub"
    done
    on_host "./make-account.sh runner$files" || fail "the script failed"
}

give "$source_dir"/deploy/{make-account.sh,forced-command.sh}
be ana

test_made_as_the_text_says() {
    suite
    give "$keys/ana.pub"
    ! on_host './make-account.sh ada ana.pub' >"$work/out" 2>&1 || fail "it took an account that is another's"
    want_words "did not make"
    ! on_host './make-account.sh runner ana.pub' >"$work/out" 2>&1 || fail "it did not see that sshd reads no such folder"
    want_words "put 'Include"
    sed -i '1iInclude /etc/ssh/sshd_config.d/*.conf' "$(host_disk h1)/etc/ssh/sshd_config"
    make_account ana
    reload
    want_run
    want_in # the agent is there now
    [ "$(find "$(host_disk h1)/home/runner" -name ptremote-agent | wc -l)" = 1 ] || fail "not one agent in the account's home"
    nothing_left h1
}

test_nothing_else_works() {
    local boot="exec /bin/sh -c 'IFS= read -r d && "
    by_ssh h1 id
    [ $rc != 0 ] && ! says uid || fail "a command ran"
    want_words 'this account is for ptremote alone: it runs no other command'
    by_ssh h1
    [ $rc != 0 ] || fail "a shell ran"
    want_words 'it gives no shell'
    by_ssh h1 "${boot}x'; id"
    [ $rc != 0 ] && ! says uid || fail "words after ours ran"
    printf '%064d\n\n10 %s\nid; exit' 0 "$(uname -m)" | ssh -F "$config" h1 "${boot}x'; id" >"$work/out" 2>"$work/err"
    want_words 'the program came damaged'
    ! says uid || fail "what was sent ran"
    printf '../../../bin\n\n10 %s\n' "$(uname -m)" | ssh -F "$config" h1 "${boot}" >"$work/out" 2>"$work/err"
    want_words 'malformed digest'
    sftp -F "$config" -b /dev/null h1 >"$work/out" 2>"$work/err" && fail "sftp works"
    scp -F "$config" h1:/etc/passwd "$work/stolen" >"$work/out" 2>"$work/err"
    [ ! -e "$work/stolen" ] || fail "scp works"
    by_ssh -tt h1 id
    want_words 'PTY allocation request failed'
    by_ssh -W "$LAB_NET.12:22" h1
    [ $rc != 0 ] && ! says SSH-2.0 || fail "it forwards"
    by_ssh -o ExitOnForwardFailure=yes -R 0:localhost:22 h1 id
    want_words 'remote port forwarding failed'
    be stranger
    by_ssh h1 id
    want_words 'Permission denied'
    be ana
    pt --ssh-config "$config" --hosts h1:1 --remote-dir /tmp/elsewhere
    want_rc 6
    want_line 'lets nobody name a folder.*leave out --remote-dir'
    nothing_left h1
}

test_a_jump_host_that_only_jumps() {
    suite
    printf 'restrict,port-forwarding,permitopen="%s:22",command="/bin/false" %s\n' "$LAB_NET.11" "$(cat "$keys/ana.pub")" \
        >"$(host_disk h2)/home/carol/.ssh/authorized_keys"
    by_ssh carol@h2 id
    [ $rc = 1 ] && ! says uid || fail "the jump host runs commands"
    want_run h1-by-h2
}

test_a_users_key_is_rotated() {
    suite
    be new
    want_out 'h1: .*(denied|refused|accept)'
    make_account ana new
    want_in
    be ana
    want_in
    make_account new
    want_out 'h1: .*(denied|refused|accept)'
    be new
    want_in
    be ana
    give "$work/ssh_config"
    ! on_host './make-account.sh runner ssh_config' >/dev/null 2>&1 || fail "it took what is no key"
    be new
    want_in
}

test_a_hosts_key_is_rotated() {
    suite
    be new
    local etc name old
    etc=$(host_disk h1)/etc/ssh name=h1,$LAB_NET.11
    old="$name $(cut -d' ' -f1,2 "$etc/host_key.pub")"
    on_host "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/host_key_new"
    printf '%s\n%s\n' "$old" "$name $(cut -d' ' -f1,2 "$etc/host_key_new.pub")" >"$known"
    want_in
    sed -i 's|^HostKey .*|HostKey /etc/ssh/host_key_new|' "$etc/sshd_config"
    reload
    want_in
    printf '%s\n' "$old" >"$known" # who missed the change
    want_out 'host key of .* has changed'
    printf '%s\n@revoked * %s\n' "$name $(cut -d' ' -f1,2 "$etc/host_key_new.pub")" "$(cut -d' ' -f1,2 "$etc/host_key.pub")" >"$known"
    want_in
    sed -i 's|^HostKey .*|HostKey /etc/ssh/host_key|' "$etc/sshd_config" # who has the old one
    reload
    want_out 'host key of .* (is revoked|has changed)'
    : >"$known"
    want_out 'host key of .* is not known'
    [ ! -s "$known" ] || fail "it wrote into what is pinned"
}

run_tests
