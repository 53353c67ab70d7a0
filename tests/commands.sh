#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# commands.sh SOURCE_DIR: proves that one place starts commands on hosts, that shells are started in few and get words from one function
# alone, and that one file writes what terminals obey. Then plants faults in a copy and wants every one of them found.
set -euo pipefail
source_dir=${1:?usage: commands.sh SOURCE_DIR}

# what stands in a line (pattern): the files that may have it (pattern; -: none)
rules='ssh_channel_request_[a-z]+ *[(]: ^remote/ssh[.]c$
(ssh_scp|sftp)_[a-z_]+ *[(]: -
ops->exec *[(]: ^src/lane_boot[.]c$
pt_boot_command *[(]: ^remote/boot[.][ch]$|^src/lane_boot[.]c$
"[^"]*/bin/[a-z]*sh": ^remote/local[.]c$|^remote/agent/init[.]c$
exec /bin/sh: ^remote/boot[.]c$
(^|[^a-z_])(exec(l|le|lp|v|ve|vp|vpe|veat)|fexecve|posix_spawnp?) *[(]: ^remote/local[.]c$|^remote/agent/child[.]c$|^remote/worker/stacks[.]c$|^src/collect_child[.]c$|^sync/here/git[.]c$|^remote/python/ptremote/preload[.]py$
(^|[^a-z_])(system|popen|wordexp) *[(]: -
import +shlex|from +(shlex|pipes) |pipes[.]quote: -
import +(subprocess|pty|pickle|marshal|shelve|commands)|from +(subprocess|pty|pickle|marshal|shelve) : -
os[.](spawn|posix_spawn|startfile)|shell *= *True|(^|[^a-z_.])(eval|exec) *[(].*[)]: -
\\(033|x1b|x1B|e)[[]: ^src/output/(text|terminal)[.]c$
@\\\\@@|@\\"@\\"@: ^src/common/quote[.]c$'
rules=${rules//@/\'} # how a quote stands in a word for a shell

# shellcheck disable=SC2016
search='
BEGIN {
    n = split(rules, lines, "\n")
    for (i = 1; i <= n; i++) {
        at = match(lines[i], /: [^ ]*$/)
        what[i] = substr(lines[i], 1, at - 1)
        where[i] = substr(lines[i], at + 2)
    }
}
{
    line = $0
    if (line ~ /^[ \t]*([*][ \/]|\/[*]|\/\/|#[^i]|#$)/) next # a comment
    sub(/[ \t]*\/[*].*[*]\/[ \t]*$/, "", line)
    for (i = 1; i <= n; i++)
        if (line ~ what[i] && (where[i] == "-" || FILENAME !~ where[i]) && !(FILENAME ~ /[.][ch]$/ && what[i] ~ /eval/))
            print FILENAME ":" FNR ": " (where[i] == "-" ? "nobody may do this: " : "is done elsewhere: ") $0
}
'

faults() { # ROOT: one line a fault
    (cd "$1" && find src sync remote \( -name '*.[ch]' -o -name '*.py' \) | LC_ALL=C sort | xargs awk -v rules="${rules//\\/\\\\}" "$search")
}

plant() { # PATH LINE: that line in that file of the copy must be found
    local path=$1 line=$2
    mkdir -p "$(dirname "$copy/$path")"
    printf '%s\n' "$line" >"$copy/$path"
    if [ -z "$(faults "$copy")" ]; then
        echo "commands.sh: planted '$line' in $path and did not find it"
        bad=1
    fi
    rm "$copy/$path"
}

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
bad=

found=$(faults "$source_dir")
if [ -n "$found" ]; then
    printf '%s\n' "$found"
    bad=1
fi

mkdir "$copy"/{src,sync,remote}
plant remote/ssh_planted.c '    return ssh_channel_request_exec(channel, text);'
plant remote/ssh_planted.c '    return ssh_channel_request_shell(channel);'
plant src/planted.c '    t->ops->exec(t, text, err);'
plant src/planted.c '    puts(pt_boot_command());'
plant remote/agent/planted.c '    char *argv[] = {"/bin/sh", "-c", text, NULL};'
plant remote/agent/planted.c '    execve(path, argv, env);'
plant sync/planted.c '    if (posix_spawnp(&pid, "tar", NULL, NULL, argv, environ))'
plant src/planted.c '    return system(text);'
plant src/planted.c 'FILE *f = popen(text, "r");'
plant remote/python/ptremote/planted.py 'import subprocess'
plant remote/python/ptremote/planted.py '    os.execv(sys.executable, args)'
plant remote/python/ptremote/planted.py '    found = eval(text)'
plant remote/python/ptremote/planted.py 'from pickle import loads'
plant src/planted.c '    fputs("\033[31m", stderr);'
plant src/planted.c "    put(b, \"'\\\\''\");"
plant src/planted.c "    put(b, \"'\\\"'\\\"'\");"
plant remote/python/ptremote/planted.py 'import shlex'
plant remote/ssh_planted.c '    scp = ssh_scp_new(session, SSH_SCP_WRITE, path);'

[ -z "$bad" ] || exit 1
echo "commands.sh: one place starts commands, one quotes"
