#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install-packages.sh [build|run|test|bench ...]: installs what is missing of deploy/packages.txt (default: build run).
# Touches neither the network nor sudo when nothing is missing.
set -euo pipefail
[ $# -gt 0 ] || set -- build run
list=$(dirname "$(readlink -f "$0")")/packages.txt

for kind in "$@"; do
    grep -q "^$kind " "$list" || { echo "install-packages.sh: no kind '$kind' in $list" >&2; exit 2; }
done
mapfile -t wanted < <(awk -v kinds=" $* " '/^[^#]/ && index(kinds, " " $1 " ") { print $2 }' "$list")
if ! command -v dpkg-query >/dev/null; then
    echo "install-packages.sh: not a Debian system; please install what Debian calls: ${wanted[*]}" >&2
    exit 1
fi

# shellcheck disable=SC2016
present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
mapfile -t missing < <(printf '%s\n' "${wanted[@]}" | grep -vxF -f <(printf '%s\n' "$present") || true)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "install-packages.sh: needs root to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
