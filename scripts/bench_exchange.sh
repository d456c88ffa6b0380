#!/usr/bin/env bash
# What ranks of this host pay for an exchange, beside what memory alone costs; docs/performance.md says how to read it.
#
#   scripts/bench_exchange.sh              # 2 ranks, 42 MB
#   RANKS=4 scripts/bench_exchange.sh 8 30 # 4 ranks, 8 MB, 30 rounds
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build_release bench_exchange
root_flag=()
((EUID == 0)) && root_flag=(--allow-run-as-root)
OMP_NUM_THREADS=1 OMPI_MCA_btl_vader_single_copy_mechanism=none \
  exec mpirun "${root_flag[@]}" --oversubscribe --bind-to none -n "${RANKS:-2}" "$root/build/release/bench/exchange" "$@"
