#!/usr/bin/env bash
# Measures lora-dist against PEFT side by side and prints ratios; docs/performance.md says how to read them.
#
#   scripts/bench.sh                         # minutes; arguments go to bench/run.py
#   scripts/bench.sh --blocks 10 --gate-steps 20 --compile
#   BENCH_PYTHON=~/venv/bin/python scripts/bench.sh
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/build.sh"
python=${BENCH_PYTHON:-$root/.deps/bench-venv/bin/python}
[[ -n ${BENCH_PYTHON:-} ]] || "$root/scripts/bench_setup.sh"
say "comparing with PEFT"
exec python3 -B "$root/bench/run.py" --binary "$binary" --peer-python "$python" "$@"
