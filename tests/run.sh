#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [--all]: installs what is missing, builds, and runs every test. With --all, or CI=true in the environment: also a
# build with clang and its unit tests, unit and end-to-end tests under AddressSanitizer and UndefinedBehaviorSanitizer, and what
# has threads under ThreadSanitizer.
# The last line says "N passed, N failed"; exit status 1 when a test failed, a build failed, or nothing ran.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

configurations=(dev)
case ${1:-} in
--all) configurations=(dev clang asan tsan) ;;
'') [ "${CI:-}" != true ] || configurations=(dev clang asan tsan) ;;
*) echo "usage: tests/run.sh [--all]" >&2; exit 2 ;;
esac

deploy/install-packages.sh build run test
export TMPDIR
TMPDIR=$(mktemp -d /tmp/ptremote-tests.XXXXXX)
chmod 755 "$TMPDIR" # some tests are another user
trap 'rm -rf "$TMPDIR"' EXIT
passed=0 failed=0 skipped=0

count() { # JUNIT ATTRIBUTE
    grep -o -m1 "[[:space:]]$2=\"[0-9]*\"" "$1" | tr -dc 0-9
}

# JUNIT: the end of what each failed test said. What ctest shows of it is far above, among what others said.
show_failed() {
    /usr/bin/python3 - "$1" <<'PY'
import sys, xml.etree.ElementTree as ET
for test in ET.parse(sys.argv[1]).iter("testcase"):
    if test.get("status") == "fail":
        lines = (test.findtext("system-out") or "").splitlines()
        print("\n---- %s failed; the last of what it said:" % test.get("name"))
        print("\n".join(line[:300] for line in lines[-80:]))
PY
}

run_configuration() {
    local name=$1 junit=$PWD/build/$1/junit.xml tests bad none options=(-j5)
    case $name in
    clang) options+=(-L unit) ;;
    # What the first six are about is not done by programs of this build, or by ways of theirs that e2e_local and e2e_crash go too; the
    # others go those of e2e_across, e2e_add_host and e2e_deaths again.
    asan) options+=(-LE 'house|runner' -E 'e2e_(memcheck|lab|plugins|install|matrix|same_ids|chaos|add_host_across|across_.*)') ;;
    esac
    printf '\n==== %s\n' "$name"
    rm -f "$junit"
    if ! { [ -e "build/$name/build.ninja" ] || cmake --preset "$name"; } || ! cmake --build --preset "$name"; then
        echo "==== $name: does not build"
        failed=$((failed + 1))
        return
    fi
    # Whoever starts this in the background may ignore signals that tests are about.
    env --default-signal ctest --preset "$name" "${options[@]}" --resource-spec-file "$PWD/build/$name/hosts.json" --output-junit "$junit" || true
    if [ ! -s "$junit" ]; then
        failed=$((failed + 1))
        return
    fi
    show_failed "$junit" || true
    tests=$(count "$junit" tests)
    bad=$(count "$junit" failures)
    none=$(($(count "$junit" skipped) + $(count "$junit" disabled)))
    passed=$((passed + tests - bad - none))
    failed=$((failed + bad))
    skipped=$((skipped + none))
}

for configuration in "${configurations[@]}"; do
    run_configuration "$configuration"
done
printf '\n%d passed, %d failed' $passed $failed
[ $skipped = 0 ] || printf ', %d skipped' $skipped
printf '\n'
[ $failed = 0 ] && [ $passed -gt 0 ]
