#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: Debian packages (with sudo where needed) and LibTorch from the
# torch wheel, unpacked into .deps. Nothing else on the machine is touched. A second run finds everything and ends at once.
#
#   scripts/setup.sh
#   LORA_DIST_PROFILE=cpu scripts/setup.sh    # cpu or cuda; without it: cuda where an NVIDIA driver is found
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The Debian 12 and the Ubuntu 24.04 names are the same.
packages=(
  g++ cmake ninja-build ccache pkg-config ca-certificates python3 python3-pip
  libopenmpi-dev openmpi-bin libgloo-dev libhdf5-dev libyaml-cpp-dev nlohmann-json3-dev libspdlog-dev libfmt-dev
  libcli11-dev libssl-dev libonig-dev libutf8proc-dev libgtest-dev libgmock-dev python3-yaml
)
torch_version=2.11.0
# What libtorch_cpu itself needs of the CUDA toolkit the wheel was built with (13.0.2), GPU or not.
cpu_wheels=("torch==$torch_version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# With a GPU all that the wheel depends on, and of the same toolkit the headers that those of NCCL ask for and the compiler
# of our kernels. Its back end (nvvm) is pinned: a newer one writes PTX that this ptxas does not read.
cuda_wheels=("${cpu_wheels[@]}" nvidia-nccl-cu13==2.28.9 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88)
deps=$root/.deps
log=$deps/setup.log

missing_packages() {
  local installed
  installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "${packages[@]}" 2>/dev/null || true)"
  for package in "${packages[@]}"; do
    [[ $installed == *" installed:$package "* ]] || echo "$package"
  done
}

install_packages() {
  local missing=("$@") as_root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null ||
      fail "no sudo here; ask an administrator to run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >>"$log" 2>&1 </dev/null; }
  apt update || say "warning: apt-get update failed, going on with the lists that are here"
  apt install -y --no-install-recommends "${missing[@]}" ||
    { tail -n 5 "$log" >&2; fail "apt-get could not install: ${missing[*]}; is there a network? (log: $log)"; }
}

wanted_profile() {
  if [[ -n ${LORA_DIST_PROFILE:-} ]]; then
    [[ $LORA_DIST_PROFILE == cpu || $LORA_DIST_PROFILE == cuda ]] ||
      fail "LORA_DIST_PROFILE is '$LORA_DIST_PROFILE', expected cpu or cuda"
    echo "$LORA_DIST_PROFILE"
  elif [[ -e /proc/driver/nvidia/version ]] || nvidia-smi -L >/dev/null 2>&1; then
    echo cuda
  else
    echo cpu
  fi
}

# The wheels are unpacked beside .deps and moved in when complete, so a broken download leaves nothing that looks whole.
# /usr/bin/python3 serves as a downloader only: --target leaves Debian's own packages alone, so its pip may be used.
install_libtorch() {
  local profile=$1 needs_gib=4 wheels=("${cpu_wheels[@]}") options=(--no-deps)
  if [[ $profile == cuda ]]; then
    needs_gib=12 wheels=("${cuda_wheels[@]}") options=()
  fi
  local free_gib
  free_gib=$(df -BG --output=avail "$deps" | tr -dc '0-9')
  ((free_gib >= needs_gib)) || fail "$deps: $free_gib GiB free, expected $needs_gib GiB for LibTorch ($profile profile)"
  say "downloading LibTorch $torch_version ($profile profile; unpacked about $((needs_gib / 3 + needs_gib / 12)) GB)"
  rm -rf "$deps/incoming" "$deps/tmp"
  mkdir -p "$deps/tmp"
  TMPDIR=$deps/tmp /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --target "$deps/incoming" "${options[@]}" "${wheels[@]}" >>"$log" 2>&1 ||
    { tail -n 5 "$log" >&2; fail "pip could not fetch ${wheels[*]}; is there a network? (log: $log)"; }
  for entry in "$deps/incoming"/*; do
    rm -rf "${deps:?}/$(basename "$entry")"
    mv "$entry" "$deps/"
  done
  rm -rf "$deps/incoming" "$deps/tmp"
}

# LibTorch must find the CUDA runtime in the nvidia folder beside it; a loader error would otherwise come at run time.
check_libtorch() {
  local lost
  lost=$(ldd "$deps/torch/lib/libtorch_cpu.so" | awk '/not found/ { print $1 }' | xargs)
  [[ -z $lost ]] || fail "LibTorch does not find $lost; remove $deps and run again"
}

mkdir -p "$deps"
mapfile -t missing < <(command -v dpkg-query >/dev/null && missing_packages)
command -v dpkg-query >/dev/null ||
  fail "this is not Debian or Ubuntu; install the equivalents of: ${packages[*]}, then see docs/building.md"
if ((${#missing[@]})); then install_packages "${missing[@]}"; else say "Debian packages are here"; fi

profile=$(wanted_profile)
stamp="torch-$torch_version $profile"
if [[ $profile == cuda ]]; then stamp="torch-$torch_version nvcc-13.0.88 cuda"; fi  # without the compiler: made anew
if [[ $(cat "$deps/.profile" 2>/dev/null) == "$stamp" ]]; then
  say "LibTorch $torch_version ($profile profile) is here"
else
  install_libtorch "$profile"
  check_libtorch
  printf '%s\n' "$stamp" >"$deps/.profile"
fi
