#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# analyse.sh SOURCE_DIR BUILD_DIR: clang-tidy (.clang-tidy) and cppcheck find nothing in the programs. Then faults are planted, and
# both must find theirs. The build gives only its compile commands.
set -euo pipefail
source_dir=${1:?usage: analyse.sh SOURCE_DIR BUILD_DIR} build_dir=${2:?usage: analyse.sh SOURCE_DIR BUILD_DIR}
for tool in clang-tidy cppcheck; do
    command -v "$tool" >/dev/null || { echo "analyse.sh: no $tool (package $tool)"; exit 77; }
done
cd "$source_dir"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=

# Prints what it finds, one line each.
tidy() { # FILE...
    printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -n 8 clang-tidy -p "$build_dir" --config-file="$source_dir/.clang-tidy" --quiet \
        2>/dev/null | grep -E '^[^ ]+: (warning|error):' || true
}

# Left out: memleak, as it knows neither the cleanup attribute nor that realloc that fails keeps what there was.
check() { # FILE...
    cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=memleak \
        -I src -I . -D_GNU_SOURCE -D__linux__ -D__x86_64__ -D__GNUC__=12 \
        --template='{file}:{line}: warning: {message} [{id}]' "$@" 2>&1 | grep ': warning: ' || true
}

# plant TOOL ID TEXT: that text must be found at fault.
plant() {
    local found
    printf '%s\n' "$3" >"$scratch/planted.c"
    found=$("$1" "$scratch/planted.c")
    [[ $found == *"[$2"* ]] || { echo "analyse.sh: $1 did not find the $2 that was planted"; bad=1; }
}

mapfile -t sources < <(find src sync remote -name '*.c' | LC_ALL=C sort)
found=$(tidy "${sources[@]}"; check "${sources[@]}")
if [ -n "$found" ]; then
    printf '%s\n' "${found//$PWD\//}"
    bad=1
fi
plant tidy bugprone-too-small-loop-variable 'int f(int n); int f(int n) { int s = 0; for (unsigned char i = 0; i < n; i++) s += i; return s; }'
plant check arrayIndexOutOfBounds 'int f(void); int f(void) { int a[4] = {0}; return a[4]; }'
[ -z "$bad" ] || exit 1
echo "analyse.sh: ${#sources[@]} files are clean"
