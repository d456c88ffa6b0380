"""The same training at many numbers of ranks, over every backend, with one and two threads: prints the adapter's hash and a
hash of all losses for each, and says whether they are equal.

    python3 scripts/equality_table.py [--steps 50] [--ranks 1 2 3 4 5 8]

Uses the shipped base and the quickstart's records; the default takes about six minutes on two cores. The exit code is 0 when
all rows are equal. Standard library only.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# 190 of 192 records: 12 steps of an epoch, the last of them short; 50 steps cross four ends of an epoch.
CONFIG = """\
base_model: {root}/examples/base-tiny
train_data_dir: train.jsonl
val_data_path: {root}/examples/quickstart/heldout.jsonl
batch_size: 2
global_batch_size: 16
lora_dropout: 0.1
max_steps: {steps}
save_steps: 0
eval_steps: 25
learning_rate: 3e-3
"""


def run(binary, folder, num_ranks, backend, threads):
    """(hash of the adapter, hash of all losses) of one training, or its error as text."""
    output = Path(folder) / f"{num_ranks}-{backend}-{threads}"
    command = [binary, "--config", "config.yaml", f"output_dir={output}", f"backend={backend}", f"threads_per_rank={threads}"]
    if num_ranks > 1:
        command += ["--ranks", str(num_ranks)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1]
    losses = [[json.loads(line).get(key) for key in ("loss", "eval_loss")]
              for line in (output / "metrics.jsonl").read_text().splitlines()]
    adapter = json.loads((output / "run.json").read_text())["adapter_sha256"]
    return adapter[:16], hashlib.sha256(json.dumps(losses).encode()).hexdigest()[:16]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/lora-dist"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 3, 4, 5, 8])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        records = (ROOT / "examples/quickstart/train.jsonl").read_text().splitlines(keepends=True)[:190]
        (Path(folder) / "train.jsonl").write_text("".join(records))
        (Path(folder) / "config.yaml").write_text(CONFIG.format(root=ROOT, steps=options.steps))
        print("ranks  backend  threads  adapter           losses")
        for num_ranks in options.ranks:
            for backend in ("mpi", "gloo") if num_ranks > 1 else ("auto",):
                for threads in (1, 2):
                    rows.append(run(options.binary, folder, num_ranks, backend, threads))
                    print(f"{num_ranks:>5}  {backend:<7}  {threads:>7}  {rows[-1][0] or 'failed':<16}  {rows[-1][1]}", flush=True)
    equal = len(set(rows)) == 1 and rows[0][0] is not None
    print(f"{len(rows)} runs: {'all equal' if equal else 'NOT EQUAL'}")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
