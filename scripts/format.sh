#!/usr/bin/env bash
# Formats every C++ file by .clang-format; with --check only names the files that differ.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# == 0 || ($# == 1 && $1 == --check) ]] || fail "format.sh takes --check or nothing, not '$*'"
command -v clang-format >/dev/null || fail "clang-format is missing; install it: apt-get install clang-format"
cd "$root"
mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.cpp' '*.hpp')
if [[ ${1:-} == --check ]]; then
  differing=()
  for file in "${files[@]}"; do
    clang-format --dry-run --Werror "$file" 2>/dev/null || differing+=("$file")
  done
  ((${#differing[@]} == 0)) || fail "${#differing[@]} files are not formatted (run: make format): ${differing[*]}"
  say "${#files[@]} files are formatted"
else
  clang-format -i "${files[@]}"
fi
