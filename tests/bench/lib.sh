# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the measurements: the release build, two test hosts, and what machine this is.
top=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
export PTREMOTE_SOURCE=$top PTREMOTE_BUILD=${PTREMOTE_BUILD:-$top/build/release}
# shellcheck source=tests/e2e/lib.sh
. "$top/tests/e2e/lib.sh"
# shellcheck disable=SC2034
bench=$top/tests/bench

# A build folder that was named is left alone; targets: what a measurement needs that is not built by itself.
if [ "$PTREMOTE_BUILD" = "$top/build/release" ]; then
    # shellcheck disable=SC2154
    (cd "$top" && { [ -e build/release/build.ninja ] || cmake --preset release; } &&
        cmake --build --preset release --target all "${targets[@]}") >"$work/built" 2>&1 ||
        { tail -20 "$work/built"; exit 1; }
fi

machine() {
    printf 'machine: %s cores, %s, Linux %s\n' "$(nproc)" "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)" "$(uname -r)"
    printf 'load before: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
    "$python" -c 'import pytest, sys; print("python", sys.version.split()[0], "pytest", pytest.__version__)'
}

# where_time_goes JSON: seconds of each step of each host, from the start of the run
where_time_goes() {
    "$python" - "$1" <<'PY'
import json, sys
for host in json.load(open(sys.argv[1]))["hosts"]:
    steps = ", ".join(f"{step} {seconds:.3f} s" for step, seconds in host.get("seconds", {}).items())
    print(f"{host['name']}: {steps}, {host.get('bytes_sent', 0)} bytes sent")
PY
}
