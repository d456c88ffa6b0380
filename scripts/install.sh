#!/usr/bin/env bash
# Installs the program below a folder, from which it can be moved; builds it first where it is not up to date.
#
#   make install                            # below /usr/local
#   make install prefix=$HOME/.local        # PREFIX= says the same
#   make install DESTDIR=/tmp/package prefix=/usr
#   make install torch=beside               # LibTorch's libraries too (0.5 GB), else the program looks for them
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

prefix=${1:-/usr/local} torch=${2:-apart}
[[ $prefix == /* ]] || fail "prefix is '$prefix', expected an absolute folder"
[[ $torch == apart || $torch == beside ]] || fail "torch is '$torch', expected apart or beside"
target=${DESTDIR:-}$prefix
mkdir -p "$target" 2>/dev/null && [[ -w $target ]] ||
  fail "$target: not writable; \`sudo make install\`, or another folder: make install prefix=\$HOME/.local"

# Root installs what its owner has built; building as root would leave files that the owner cannot change.
if [[ ! -x $binary || $(id -u) != 0 || $(stat -c %u "$root") == 0 ]]; then "$root/scripts/build.sh"; fi
install_component() { DESTDIR=${DESTDIR:-} cmake --install "$root/build/release" --prefix "$prefix" "$@" >/dev/null; }
install_component
if [[ $torch == beside ]]; then install_component --component torch; fi

say "$target/bin/lora-dist is installed"
[[ $torch == beside ]] || "$target/bin/lora-dist" --version >/dev/null 2>"$root/build/install.log" ||
  say "it does not find LibTorch here yet: $(head -n 1 "$root/build/install.log")"
