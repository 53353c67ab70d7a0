#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# forced-command.sh: what a key of an account for ptremote alone may run (account.md). It serves ptremote's boot, as section 1 of
# docs/protocol.md has it, with its own words: nothing that comes over SSH is ever given to a shell. Anything else that was asked
# for (a shell, a command, scp, sftp, rsync) is refused. Where the agent is kept: $HOME/.cache/ptremote, not to be chosen from afar.
set -u
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/local/bin:/usr/bin:/bin

refuse() { echo "this account is for ptremote alone: $1" >&2; exit 1; }
fail() { echo "PTREMOTE-BOOT fail $cache: $1" | tr -s '[:cntrl:]' ' '; echo; exit 1; }

# Only to tell people that they are wrong here: it is not what runs.
case ${SSH_ORIGINAL_COMMAND-} in
"exec /bin/sh -c 'IFS= read -r d && "*) ;;
'') refuse "it gives no shell" ;;
*) refuse "it runs no other command" ;;
esac
case ${HOME-} in /*) ;; *) refuse "it has no home" ;; esac

IFS= read -r digest && IFS= read -r folder && read -r size machine || exit 1
cache=$HOME/.cache/ptremote
case $digest in *[!0-9a-f]*) refuse "malformed digest" ;; esac
[ ${#digest} = 64 ] || refuse "malformed digest"
case $size in '' | *[!0-9]* | ?????????*) refuse "malformed size" ;; esac
here=$(uname -m)
if [ "$here" != "$machine" ]; then
    echo "PTREMOTE-BOOT need $here"
    exit 1
fi
[ -z "$folder" ] || fail "this account lets nobody name a folder"

agent=$cache/bin/$digest/ptremote-agent
if ! { [ -s "$agent" ] && [ -x "$agent" ]; }; then
    mask=$(umask)
    umask 077
    # shellcheck disable=SC2015
    mkdir -p "$cache/bin/$digest" && new=$(mktemp "$cache/bin/$digest/new.XXXXXXXX") || fail "cannot write there"
    trap 'rm -f "$new"' EXIT
    echo "PTREMOTE-BOOT need $here"
    head -c "$size" >"$new" || fail "No space left on device, or it cannot be written"
    [ "$(sha256sum <"$new")" = "$digest  -" ] || fail "the program came damaged"
    # shellcheck disable=SC2015
    chmod 700 "$new" && sync "$new" && mv -f "$new" "$agent" || fail "cannot write there"
    trap - EXIT
    umask "$mask"
fi
exec "$agent" proxy "$cache"
