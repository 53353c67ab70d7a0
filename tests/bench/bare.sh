#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bare.sh [BASE [COMMAND...]]: the two commands of the README (or COMMAND), twice each, in a clone of what is committed, on a bare
# Debian 12 of its own: only what debootstrap puts there. Needs root, debootstrap, and the machine's Debian mirror ($MIRROR).
# BASE is a folder where the bare system is kept for the next time.
set -euo pipefail
top=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
[ "$(id -u)" = 0 ] || { echo "bare.sh: needs root"; exit 77; }
command -v debootstrap >/dev/null || { echo "bare.sh: needs debootstrap"; exit 77; }
scratch=$(mktemp -d /var/tmp/ptremote-bare.XXXXXX)
trap 'rm -rf --one-file-system "$scratch"' EXIT
base=${1:-$scratch/base}
[ $# -eq 0 ] || shift
mirror=${MIRROR:-http://deb.debian.org/debian}

if [ ! -e "$base/etc/debian_version" ]; then
    debootstrap --variant=minbase bookworm "$base" "$mirror" >"$scratch/debootstrap.log" ||
        { tail -20 "$scratch/debootstrap.log"; exit 1; }
fi
cp -a "$base" "$scratch/root"
rm -f "$scratch/root/etc/resolv.conf"
cp -L /etc/resolv.conf /etc/hosts "$scratch/root/etc/"
git clone -q "$top" "$scratch/root/opt/ptremote"

cat >"$scratch/root/opt/enter" <<'SH'
#!/bin/bash
# Process 1 of the bare system.
set -euo pipefail
root=$1
shift
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs run run
mkdir run/outside run/lock
pivot_root . run/outside
cd /opt/ptremote
umount -l /run/outside
"$@"
SH

enter() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI="${CI:-}" \
        unshare -m -p -f --kill-child /bin/bash "$scratch/root/opt/enter" "$scratch/root" "$@"
}

try() {
    local from=$SECONDS rc=0
    echo "==== $*"
    enter "$@" >"$scratch/log" 2>&1 || rc=$?
    if [ $rc != 0 ]; then
        tail -100 "$scratch/log"
        echo "==== $*: exit status $rc"
        exit 1
    fi
    tail -3 "$scratch/log"
    echo "==== $*: $((SECONDS - from)) s"
}

if [ $# -gt 0 ]; then
    try "$@"
    exit
fi
for command in examples/run.sh tests/run.sh; do
    try $command
    try $command
done
