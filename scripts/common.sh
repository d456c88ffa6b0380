# Shared by the scripts beside it: where the project is, and how a step speaks. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # used by the scripts that source this
binary=$root/build/release/lora-dist

# say <text>: one line for one step, named after the script.
say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

# fail <text>: the reason and what to do, in one line, then the end.
fail() { say "error: $*"; exit 1; }

# build_release <target>...: configures once, then lets ninja decide what is old (a tenth of a second when nothing is).
build_release() {
  local folder=$root/build/release profile cuda=OFF
  profile=$(cat "$root/.deps/.profile")
  [[ $profile == *cuda ]] && cuda=ON
  if [[ ! -f $folder/build.ninja || $(cat "$folder/.profile" 2>/dev/null) != "$profile" ]]; then
    say "configuring build/release"
    mkdir -p "$root/build"
    cmake --preset release -S "$root" -DLORA_DIST_CUDA=$cuda >"$folder.log" 2>&1 ||
      { tail -n 20 "$folder.log" >&2; fail "cmake could not configure; the whole output is in build/release.log"; }
    printf '%s\n' "$profile" >"$folder/.profile"
  fi
  say "compiling what changed, $(jobs_that_fit) jobs"
  ninja -C "$folder" -j "$(jobs_that_fit)" "$@" >&2 ||
    fail "the compiler stopped; the first message above with 'error' is the one to read"
}

# One compile of a file that sees LibTorch holds up to 1 GiB: small machines get fewer jobs than cores.
jobs_that_fit() {
  local cores gib
  cores=$(nproc)
  gib=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
  ((gib >= 1)) || gib=1
  echo $((cores < gib ? cores : gib))
}
