#!/usr/bin/env bash
# Measures what ranks, sharding and determinism cost, and what ranks of a host share; docs/performance.md says how to read it.
#
#   scripts/bench_ranks.sh                        # all pairs, some twenty minutes
#   scripts/bench_ranks.sh --pair full --blocks 6
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/build.sh"
python=${BENCH_PYTHON:-$root/.deps/bench-venv/bin/python}
[[ -n ${BENCH_PYTHON:-} ]] || "$root/scripts/bench_setup.sh"
exec python3 -B "$root/bench/ranks.py" --binary "$binary" --peer-python "$python" "$@"
