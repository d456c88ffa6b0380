#!/usr/bin/env bash
# From a clone to a trained LoRA: sets the machine up, builds, trains on the shipped base with two ranks, and shows the
# answers of base and base + adapter side by side. What is done already is skipped.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$root"
config=configs/quickstart.yaml
adapter=output/quickstart
heldout=examples/quickstart/heldout.jsonl
base=$(sed -n 's/^base_model: *"\{0,1\}\([^"# ]*\).*/\1/p' "$config")

# newer_than_all <file> <other>...: the file exists and no other (or file below a folder) is younger.
newer_than_all() {
  local file=$1
  shift
  [[ -f $file && -z $(find "$@" -newer "$file" -print -quit) ]]
}

scripts/build.sh
if newer_than_all "$adapter/adapter_model.safetensors" "$config" examples/quickstart "$base" "$binary"; then
  say "$adapter holds the trained adapter (overwrite_output_dir=true behind the command trains it again)"
else
  # A run of an older config or program may lie there: this folder is the quickstart's own.
  say "training: build/release/lora-dist --config $config --ranks 2 overwrite_output_dir=true"
  "$binary" --config "$config" --ranks 2 overwrite_output_dir=true
fi
say "asking questions that were not in the training data"
python3 -B scripts/compare_answers.py --binary "$binary" --base "$base" --adapter "$adapter" --questions "$heldout"
cat <<END

Next, a question of your own:
  build/release/lora-dist generate --base $base --adapter $adapter --prompt "..."
and your own data (copy the config, set base_model, train_data_dir and output_dir):
  cp $config configs/mine.yaml
  build/release/lora-dist --config configs/mine.yaml --ranks 2
END
