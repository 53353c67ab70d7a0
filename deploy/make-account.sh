#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make-account.sh USER KEY.pub...: run as root on a host, makes an account that is of use to ptremote alone, or gives one that it
# made other keys: those of the files named, and no others (account.md). Touches no other account; sshd is asked whether it likes the
# result, and has to be told by you to take it.
set -eu
here=$(dirname "$(readlink -f "$0")")
ssh=/etc/ssh
program=$ssh/ptremote/forced-command

die() { echo "make-account.sh: $*" >&2; exit 1; }

[ $# -ge 2 ] || die "usage: make-account.sh USER KEY.pub..."
[ "$(id -u)" = 0 ] || die "needs root"
user=$1
shift
case $user in *[!a-z0-9_-]* | '' | -*) die "'$user' is no name of an account" ;; esac
[ -e "$here/forced-command.sh" ] || die "forced-command.sh is not beside this script"
if getent passwd "$user" >/dev/null && [ ! -e "$ssh/ptremote/$user.keys" ]; then
    die "there is an account '$user' that this script did not make: choose another name"
fi

# All is written aside first, so that a bad key changes nothing.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for key; do
    ssh-keygen -l -f "$key" >/dev/null 2>&1 || die "$key is no public key"
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        ssh-* | ecdsa-* | sk-*) printf 'restrict,command="%s" %s\n' "$program" "$line" >>"$work/keys" ;;
        '' | '#'*) ;;
        *) die "$key: a line that is no bare public key: options are written by this script" ;;
        esac
    done <"$key"
done
cat >"$work/conf" <<TEXT
# Made by ptremote's make-account.sh.
Match User $user
    AuthorizedKeysFile $ssh/ptremote/$user.keys
    AuthorizedKeysCommand none
    TrustedUserCAKeys none
    AuthenticationMethods publickey
    ForceCommand $program
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
TEXT

mkdir -p "$ssh/ptremote" "$ssh/sshd_config.d"
chmod 755 "$ssh/ptremote"
put() { # MODE FILE PLACE: whole, or not at all
    install -m "$1" "$2" "$3.new"
    mv -f "$3.new" "$3"
}
put 755 "$here/forced-command.sh" "$program"
put 644 "$work/keys" "$ssh/ptremote/$user.keys"
put 644 "$work/conf" "$ssh/sshd_config.d/ptremote-$user.conf"
getent passwd "$user" >/dev/null ||
    useradd --create-home --shell /bin/sh --password '*' --comment 'runs tests for ptremote' "$user"

sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || die "no sshd"
if ! "$sshd" -t; then
    rm -f "$ssh/sshd_config.d/ptremote-$user.conf" # else it would not start again
    die "sshd does not like $ssh/sshd_config.d/ptremote-$user.conf, see above: it is taken away"
fi
"$sshd" -T -C "user=$user,host=here,addr=127.0.0.1" | grep -q -i -x "forcecommand $program" ||
    die "sshd does not read it: put 'Include $ssh/sshd_config.d/*.conf' at the top of $ssh/sshd_config, and run this again"
echo "$user: $(grep -c . "$work/keys") key(s); next: systemctl reload ssh, and try that 'ssh $user@HOST id' is refused"
