#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# layers.sh SOURCE_DIR: proves that the house stands as docs/architecture.md draws it: what lies at the top, who may include whom,
# and one third-party library in one file. Then plants faults in a copy and wants every one of them found.
set -euo pipefail
source_dir=${1:?usage: layers.sh SOURCE_DIR}

top_level='CMakeLists.txt CMakePresets.json LICENSE README.md src sync remote tests examples deploy docs build'

# room: the rooms it may include from
one_way='common: common
sync: sync common
here: here sync common
there: there sync common
way: way common
agent: agent there sync common
worker: worker common
output: output master common
master: master output here sync way common'

# header of a library (pattern): the files that may include it (pattern)
libraries='^libssh/: ^remote/ssh[a-z_]*[.][ch]$
^mpi[.]h$: ^remote/worker/mpi[.]c$
^openssl/: ^src/common/tls[a-z_]*[.]c$|^src/common/tls_[a-z]+[.]h$|^sync/digest[.]c$
^archive(_entry)?[.]h$: ^sync/here/tar[.]c$|^sync/there/untar[.]c$|^sync/smalltar[.]c$
^zstd[.]h$: ^sync/compress[.]c$
^(cjson/)?cJSON[.]h$: ^src/json[.]c$
^sqlite3[.]h$: ^src/ledger(_[a-z]+)?[.]c$|^src/ledger_[a-z]+[.]h$'

system_headers='assert ctype dirent dlfcn elf endian errno fcntl fnmatch getopt glob grp ifaddrs inttypes langinfo libgen limits
link locale math netdb paths poll pthread pty pwd regex sched semaphore setjmp signal spawn stdarg stdatomic stdbool stddef stdint
stdio stdlib string strings syslog termios threads time ucontext unistd utime utmp wchar wctype wordexp'

# Prints one line a fault.
faults() {
    local root=$1 entry
    for entry in "$root"/*; do
        entry=${entry##*/}
        [[ " $top_level " == *" $entry "* ]] || echo "$entry: does not belong at the top level"
    done
    (cd "$root" && find src sync remote -name '*.[ch]' | LC_ALL=C sort) >"$list"
    (cd "$root" && xargs awk -v list="$list" -v one_way="$one_way" -v libraries="$libraries" \
        -v system_headers="$system_headers" "$rules" <"$list")
}

# shellcheck disable=SC2016
rules='
function room(path) {
    if (path ~ /^src\/common\//) return "common"
    if (path ~ /^src\/output\//) return "output"
    if (path ~ /^src\//) return "master"
    if (path ~ /^sync\/here\//) return "here"
    if (path ~ /^sync\/there\//) return "there"
    if (path ~ /^sync\//) return "sync"
    if (path ~ /^remote\/agent\//) return "agent"
    if (path ~ /^remote\/worker\//) return "worker"
    return "way"
}
function writer(path) { # which of the outputs a file belongs to, if one
    return match(path, /^src\/output\/(terminal|junit|json|html)/) ? substr(path, 12, RLENGTH - 11) : ""
}
function resolve(from, name,    dir) { # as the compiler does: beside the file, then src/, then the top
    dir = from
    sub(/[^\/]*$/, "", dir)
    if (name ~ /^[.][.]?\//) return ""
    if ((dir name) in files) return dir name
    if (("src/" name) in files) return "src/" name
    return name in files ? name : ""
}
function fault(text) { print FILENAME ":" FNR ": " text }
function check_own(name,    path, from, to) {
    path = resolve(FILENAME, name)
    if (path == "") { fault("includes \"" name "\", which is not found below src/ or the top"); return }
    from = room(FILENAME)
    to = room(path)
    if (index(" " allowed[from] " ", " " to " ") == 0)
        fault("includes " path ": " from " must not know " to)
    if (writer(FILENAME) != "" && writer(path) != "" && writer(FILENAME) != writer(path))
        fault("includes " path ": outputs must not know each other")
}
function check_library(name,    i) {
    for (i = 1; i <= n_libraries; i++)
        if (name ~ header[i]) {
            if (FILENAME !~ users[i]) fault("includes <" name ">: that library lives elsewhere")
            return
        }
    if (name !~ /^(sys|linux|asm|net|netinet|arpa)\// && !(name in system_header))
        fault("includes <" name ">: a library that has no room yet")
}
BEGIN {
    while ((getline path < list) > 0) files[path] = 1
    n = split(one_way, lines, "\n")
    for (i = 1; i <= n; i++) { split(lines[i], part, ": "); allowed[part[1]] = part[2] }
    n_libraries = split(libraries, lines, "\n")
    for (i = 1; i <= n_libraries; i++) { split(lines[i], part, ": "); header[i] = part[1]; users[i] = part[2] }
    n = split(system_headers, lines, "[ \n]+")
    for (i = 1; i <= n; i++) system_header[lines[i] ".h"] = 1
}
/^[ \t]*#[ \t]*include[ \t]*"/ { split($0, part, "\""); check_own(part[2]) }
/^[ \t]*#[ \t]*include[ \t]*</ { split($0, part, "[<>]"); check_library(part[2]) }
FILENAME !~ /^src\/[^\/]*$|^src\/output\// && /pt_json_|cJSON_/ { fault("reads JSON: only the master does") }
'

# plant PATH LINE WANTED: that line in that file of the copy must be found a fault with these words.
plant() {
    local path=$1 line=$2 wanted=$3 found
    mkdir -p "$(dirname "$copy/$path")"
    printf '%s\n' "$line" >"$copy/$path"
    found=$(faults "$copy")
    rm -r "${copy:?}/$path"
    if [[ $found != *"$wanted"* ]]; then
        echo "layers.sh: planted '$line' in $path and did not find it"
        bad=1
    fi
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
list=$scratch/list copy=$scratch/copy bad=
mkdir "$copy"

found=$(faults "$source_dir")
if [ -n "$found" ]; then
    printf '%s\n' "$found"
    bad=1
fi

(cd "$source_dir" && find src sync remote -name '*.h' -print0 | xargs -0 cp --parents -t "$copy")
plant lib/planted.c '' 'lib: does not belong'
rmdir "$copy/lib"
plant src/common/planted.c '#include "verdict.h"' 'common must not know master'
plant src/common/planted.c '#include "sync/manifest.h"' 'common must not know sync'
plant sync/planted.c '#include "remote/transport.h"' 'sync must not know way'
plant sync/planted.c '#include "sync/here/push.h"' 'sync must not know here'
plant sync/here/planted.c '#include "sync/there/store.h"' 'here must not know there'
plant sync/there/planted.c '#include "sync/here/scan.h"' 'there must not know here'
plant remote/agent/planted.c '#include "sync/here/push.h"' 'agent must not know here'
plant src/planted.c '#include "sync/there/store.h"' 'master must not know there'
plant sync/planted.c '#include "ledger.h"' 'sync must not know master'
plant remote/planted.c '#  include "sync/manifest.h"' 'way must not know sync'
plant remote/agent/planted.c '#include "remote/transport.h"' 'agent must not know way'
plant remote/worker/planted.c '#include "sync/manifest.h"' 'worker must not know sync'
plant remote/worker/planted.c '#include "json.h"' 'worker must not know master'
printf '#pragma once\n' >"$copy/src/output/html_planted.h"
plant src/output/junit_planted.c '#include "output/html_planted.h"' 'outputs must not know each other'
plant src/output/junit_planted.c '#include "html_planted.h"' 'outputs must not know each other'
plant src/planted.c '#include "../remote/agent/agent.h"' 'not found'
plant remote/local_planted.c '#include <libssh/libssh.h>' 'lives elsewhere'
plant remote/worker/planted.c '#include <mpi.h>' 'lives elsewhere'
plant src/planted.c '#include <openssl/ssl.h>' 'lives elsewhere'
plant remote/agent/planted.c '#include <archive.h>' 'lives elsewhere'
plant src/planted.c '#include <zstd.h>' 'lives elsewhere'
plant src/verdict_planted.c '#include <cjson/cJSON.h>' 'lives elsewhere'
plant src/planted.c '#include <sqlite3.h>' 'lives elsewhere'
plant src/planted.c '#include <curl/curl.h>' 'no room yet'
plant remote/agent/planted.c 'x = cJSON_Parse(text);' 'only the master does'

[ -z "$bad" ] || exit 1
echo "layers.sh: the house stands"
