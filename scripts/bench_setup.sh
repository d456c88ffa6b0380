#!/usr/bin/env bash
# Makes .deps/bench-venv: a Python with the libraries lora-dist is measured against (about 5 GB, they bring CUDA along).
# Only `make bench` needs it. BENCH_PYTHON=<python with torch, transformers, peft> makes it unnecessary.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

venv=$root/.deps/bench-venv
requirements=$root/bench/peers/requirements.txt
if cmp -s "$requirements" "$venv/installed.txt"; then
  say "the peer's libraries are here"
  exit 0
fi
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null ||
  fail "python3 cannot make virtual environments; install it: apt-get install python3-venv"
say "installing the peer's libraries (about 5 GB)"
rm -rf "$venv"
/usr/bin/python3 -m venv "$venv"
TMPDIR=$venv "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" ||
  fail "pip could not install $requirements; is there a network?"
cp "$requirements" "$venv/installed.txt"
