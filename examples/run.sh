#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs a small suite on two slots of this machine.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

deploy/install-packages.sh build run
[ -e build/release/build.ninja ] || cmake --preset release
cmake --build --preset release --target ptremote

cd examples/suite
set -x
../../build/release/bin/ptremote --hosts local:2 --project . "$@"
