#!/usr/bin/env bash
# Builds build/release/lora-dist, after setting the machine up. Does nothing when nothing changed.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/setup.sh"
build_release lora-dist
say "$binary is ready"
