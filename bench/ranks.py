"""What ranks, sharding and determinism cost: settings of lora-dist against each other, side by side in one run.

Every pair trains the same slots; losses must be equal to the last digit before a ratio is printed. Whole runs alternate in
blocks of A B B A. `scripts/bench_ranks.sh` calls it; docs/performance.md explains the rules. Standard library only, but the
random model is written by transformers, in the Python named by --peer-python.

Exit codes: 0 every target met, 1 a target missed, 2 a run failed, 3 the losses differ.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from machine import describe_commit, describe_machine
from process import watch
from ratios import block_ratio, interval, median
from run import GATE_FAILED, MISSED, NOT_RUN, NUM_WARMUP, say, verdict
from shared_memory import measure_shared_base
from sides import PROJECT, RUNS, START_CASE

NUM_TOKENS = 512
INPUTS = START_CASE.inputs


@dataclass(frozen=True)
class Setting:
    """One way to run the two slots of a step, 512 tokens each."""

    name: str
    ranks: int = 1
    keys: dict = field(default_factory=dict, hash=False)

    def run(self, binary, num_steps):
        folder = RUNS / "ranks"
        folder.mkdir(parents=True, exist_ok=True)
        keys = {"threads_per_rank": 1, "sharding": "shared", **self.keys}
        config = folder / "config.yaml"
        config.write_text(base_config(folder / "output", num_steps) + "".join(f"{k}: {v}\n" for k, v in keys.items()))
        command = [binary, "train", "--config", str(config)] + (["--ranks", str(self.ranks)] if self.ranks > 1 else [])
        quiet = {**os.environ, "OMPI_MCA_rmaps_base_oversubscribe": "1"}
        seen = watch(command, folder / "output" / "metrics.jsonl", folder / "log", quiet)
        lines = [json.loads(line) for line in (folder / "output" / "metrics.jsonl").read_text().splitlines()]
        plan = subprocess.run([binary, "plan", "--config", str(config), "--ranks", str(self.ranks), "--json"], check=True,
                              capture_output=True, text=True)
        planned = json.loads(plan.stdout)["per_rank"]["comm_bytes_per_step"]
        return seen, lines[-1].get("comm_bytes", 0), planned


def base_config(output, num_steps):
    return f"""\
base_model: {INPUTS / "model"}
task_type: text-generation
device: cpu
lora_rank: 8
lora_alpha: 16
target_modules: [q_proj, v_proj]
train_data_dir: {INPUTS}
metadata_path: {INPUTS / "tokens.jsonl"}
data_format: tokenized
prepared_dir: {RUNS / "prepared"}
max_seq_length: {NUM_TOKENS}
shuffle: false
batch_size: 1
global_batch_size: 2
max_steps: {num_steps}
gradient_checkpointing: false
save_steps: 0
output_dir: {output}
overwrite_output_dir: true
"""


ONE_THREAD, TWO_THREADS = Setting("1 rank x 1 thread"), Setting("1 rank x 2 threads", 1, {"threads_per_rank": 2})
TWO_RANKS = Setting("2 ranks x 1 thread", 2)
# (A, B, least speed of A in terms of B)
PAIRS = {
    "ranks": (TWO_RANKS, TWO_THREADS, 0.95),
    "scaling": (TWO_RANKS, ONE_THREAD, 1.90),
    "shared": (TWO_RANKS, Setting("2 ranks, a copy each", 2, {"sharding": "none"}), 1 / 1.02),
    "full": (Setting("2 ranks, full", 2, {"sharding": "full"}), Setting("2 ranks, a copy each", 2, {"sharding": "none"}), 1 / 1.10),
    "tree": (TWO_RANKS, Setting("2 ranks, library's all-reduce", 2, {"deterministic": "false"}), 1 / 1.03),
}


def compare(name, options):
    """Prints the lines of one pair; True when its targets are met."""
    a, b, target = PAIRS[name]
    print(f"\n{name}: {a.name} against {b.name}")
    ratios, losses, met = [], {}, True
    for _ in range(options.blocks):
        times = {a: [], b: []}
        for setting in (a, b, b, a):
            seen, sent, planned = setting.run(options.binary, NUM_WARMUP + options.steps)
            times[setting].append(median(seen.step_times_s(NUM_WARMUP)))
            losses[setting.name] = seen.losses
            off = abs(sent / planned - 1) if planned else 0
            if off > 0.01:
                say("bytes", f"{setting.name}: {sent} sent, {planned} planned   MISSED")
                met = False
        ratios.append(block_ratio(times[a], times[b]))
        say("block", f"{a.name} {min(times[a]):.2f} s, {b.name} {min(times[b]):.2f} s a step")
    # The library adds in its own order; with two summands that is the same sum.
    if losses[a.name] != losses[b.name]:
        print(f"losses differ: {losses[a.name]} and {losses[b.name]}", file=sys.stderr)
        sys.exit(GATE_FAILED)
    low, high, word = interval(ratios)
    say("gate", f"{len(losses[a.name])} losses equal to the last digit")
    say("speed", f"{median(ratios):.3f}x {word} [{low:.3f}, {high:.3f}] n={len(ratios)}   target >= {target:.3f}   "
                 f"{verdict(median(ratios) >= target)}")
    return met and median(ratios) >= target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", choices=[*PAIRS, "memory"], help="default: all")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each run")
    parser.add_argument("--binary", default=str(PROJECT / "build/release/lora-dist"))
    parser.add_argument("--peer-python", default="python3", help="a Python with torch, transformers and peft")
    options = parser.parse_args()
    START_CASE.write_inputs(options.peer_python)
    machine = describe_machine()
    print(f"lora-dist ranks   commit {describe_commit()}   {machine['cores']} cores {machine['cpu']}, family "
          f"{machine['family']} model {machine['model']}, {machine['vector']}", flush=True)
    chosen = options.pair or [*PAIRS, "memory"]
    met = [compare(name, options) for name in chosen if name != "memory"]
    if "memory" in chosen:
        met.append(measure_shared_base(options.binary))
    sys.exit(0 if all(met) else MISSED)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, FileNotFoundError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(NOT_RUN)
