#!/usr/bin/env bash
# clang-tidy over the .cpp files that differ from the main branch, or over those named. A file that sees LibTorch takes
# about 25 s of processor time, so it is not run over everything.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v clang-tidy >/dev/null || fail "clang-tidy is missing; install it: apt-get install clang-tidy"
"$root/scripts/setup.sh"
cd "$root"
cmake --preset tidy >/dev/null
files=("$@")
if ((${#files[@]} == 0)); then
  base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$base"; git ls-files --others --exclude-standard; } |
    grep '\.cpp$' | sort -u)
fi
((${#files[@]})) || { say "no .cpp file differs from the main branch"; exit 0; }
say "checking ${#files[@]} files"
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(jobs_that_fit)" clang-tidy -p build/tidy --quiet
