#!/usr/bin/env bash
# Sets the machine up, builds everything and runs the whole test suite: no GPU and no network needed while tests run.
#
#   scripts/test.sh              # all
#   scripts/test.sh -L unit      # arguments go to ctest
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/setup.sh"
build_release all
say "running the tests"
ctest --test-dir "$root/build/release" --output-on-failure --parallel 2 "$@"
