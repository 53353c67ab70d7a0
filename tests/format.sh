#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# format.sh SOURCE_DIR: every C file is laid out as .clang-format says, and every source file names its licence.
set -euo pipefail
cd "${1:?usage: format.sh SOURCE_DIR}"
command -v clang-format >/dev/null || { echo "format.sh: no clang-format (package clang-format)"; exit 77; }
folders=(src sync remote tests examples)
bad=0

while IFS= read -r path; do
    echo "$path: not formatted (clang-format -i does it)"
    bad=1
done < <(find "${folders[@]}" -name '*.[ch]' -print0 | xargs -0 -r clang-format --dry-run 2>&1 |
    sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: warning:.*/\1/p' | sort -u)

# The first line of a C file; in scripts the first, or the second after #!.
while IFS= read -r path; do
    if ! head -2 "$path" | grep -q 'SPDX-License-Identifier: Apache-2.0$\|SPDX-License-Identifier: Apache-2.0 \*/$'; then
        echo "$path: no SPDX line"
        bad=1
    fi
done < <(find CMakeLists.txt .ci deploy "${folders[@]}" -type f \
    \( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' -o -name CMakeLists.txt -o -path '.ci/run' -o -path 'tests/lab/*' \) \
    -size +0 -not -path '*/__pycache__/*')
exit $bad
