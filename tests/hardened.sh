#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hardened.sh SOURCE_DIR BUILD_DIR: looks at the programs of that build, then at what the preset release makes (every compile command,
# and one program built), for what makes a flaw in them harder to use. Then builds programs that lack one thing each, and wants it found.
set -euo pipefail
source_dir=${1:?usage: hardened.sh SOURCE_DIR BUILD_DIR} build_dir=${2:?usage: hardened.sh SOURCE_DIR BUILD_DIR}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=

# elf_faults PROGRAM: prints one line a fault of how it is linked.
elf_faults() {
    local all
    all=$(readelf -hldW "$1")
    want() { grep -q -P "$1" <<<"$all" || echo "$2"; }
    refuse() { ! grep -q -P "$1" <<<"$all" || echo "$2"; }
    want 'Type: +DYN' 'its address is fixed (no PIE)'
    want 'GNU_RELRO' 'no RELRO'
    want '(FLAGS_1|BIND_NOW|FLAGS).*\bNOW\b|BIND_NOW' 'RELRO in part only: it binds lazily'
    want 'GNU_STACK .* RW +0x' 'its stack can be executed'
    refuse '(LOAD|GNU_STACK) .* RWE' 'memory that can be written and executed'
    refuse 'TEXTREL' 'its code is written to when it starts'
    refuse 'R(UN)?PATH.*\[([^]]*:)?(?!/usr/|/opt/)[^]]*\]' 'it looks for libraries where others may write' # libmpi's folder is root's
}

# use_faults PROGRAM: the same for what its code calls, as far as it is dynamic. With "fortified" that, too.
use_faults() {
    local calls
    calls=$(nm -D --undefined-only "$1" 2>/dev/null)
    [[ $calls == *__stack_chk_fail* ]] || echo 'no stack protector'
    [ "${2:-}" != fortified ] || [[ $calls == *_chk@* && $calls == *__snprintf_chk* ]] || echo 'no _FORTIFY_SOURCE'
}

# command_faults BUILD_DIR WORD...: compile commands of C files that lack one of these.
command_faults() {
    local commands=$1/compile_commands.json word
    shift
    [ "$(grep -c '"command".*\.c"' "$commands")" -gt 100 ] || echo 'no compile commands'
    for word in "$@"; do
        awk -v word="$word" '/"command".*[.]c"/ && !index($0, " " word " ") && n++ < 3 {
            sub(/",$/, "")
            print $NF ": compiled without " word
        }' "$commands"
    done
}

tell() { # WHAT: what comes in is a fault of it
    local line
    while IFS= read -r line; do
        echo "$1: $line"
    done
}

look() { # BUILD_DIR PROGRAM...
    local dir=$1 program fortified= words=(-fstack-protector-strong -fstack-clash-protection)
    shift
    ! grep -q 'CMAKE_BUILD_TYPE:STRING=Rel' "$dir/CMakeCache.txt" || fortified=fortified words+=(-D_FORTIFY_SOURCE=3 -O2)
    for program in "$@"; do
        [ -x "$dir/bin/$program" ] || { echo "$dir/bin/$program: is not there"; continue; }
        elf_faults "$dir/bin/$program" | tell "$dir/bin/$program"
        [ "$program" = ptremote-agent ] || use_faults "$dir/bin/$program" $fortified | tell "$dir/bin/$program"
    done
    command_faults "$dir" "${words[@]}" | tell "$dir"
}

# plant WANTED OPTION...: a program built like ours but for these must be found at fault with these words.
plant() {
    local wanted=$1 found
    shift
    gcc -O2 -fPIE -pie -fstack-protector-strong -D_FORTIFY_SOURCE=3 -Wl,-z,relro,-z,now,-z,noexecstack "$@" \
        -o "$scratch/planted" "$scratch/planted.c"
    found=$(elf_faults "$scratch/planted"; use_faults "$scratch/planted" fortified)
    [[ $found == "$wanted" ]] || { echo "hardened.sh: built with '$*', and found '$found' instead of '$wanted'"; bad=1; }
}

cat >"$scratch/planted.c" <<'C'
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char line[64];
    snprintf(line, sizeof(line), argc > 1 ? "%s" : "-", argv[argc - 1]);
    return (int)write(1, line, sizeof(line));
}
C
plant ''
plant 'its address is fixed (no PIE)' -no-pie -fno-pie
plant 'no RELRO' -Wl,-z,norelro
plant 'RELRO in part only: it binds lazily' -Wl,-z,lazy
plant $'its stack can be executed\nmemory that can be written and executed' -Wl,-z,execstack
plant 'it looks for libraries where others may write' -Wl,-rpath,/usr/lib:/tmp
plant 'no stack protector' -fno-stack-protector
plant 'no _FORTIFY_SOURCE' -U_FORTIFY_SOURCE

cmake --preset release -DPTREMOTE_TESTS=OFF -S "$source_dir" -B "$scratch/release" >"$scratch/said" 2>&1 &&
    cmake --build "$scratch/release" --target ptremote-worker >>"$scratch/said" 2>&1 ||
    { tail -5 "$scratch/said"; echo "hardened.sh: the preset release does not build"; exit 1; }
found=$(look "$build_dir" ptremote ptremote-agent ptremote-worker; look "$scratch/release" ptremote-worker)
if [ -n "$found" ]; then
    printf '%s\n' "$found"
    bad=1
fi
[ -z "$bad" ] || exit 1
echo "hardened.sh: all programs are hardened"
