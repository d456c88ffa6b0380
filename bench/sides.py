"""The two sides of a comparison: lora-dist, and PyTorch + transformers + PEFT in several settings.

A side turns a Case into a command line. Both read the same model, records and initial adapter, take the same batches in
the same order and use the same optimiser settings.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from process import watch

BENCH = Path(__file__).resolve().parent
PROJECT = BENCH.parent
INPUTS = PROJECT / ".cache" / "bench" / "smollm2-135m"
RUNS = PROJECT / ".cache" / "bench" / "runs"
LEARNING_RATE = 1e-3
NUM_THREADS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Case:
    """A workload. One step is batch_size x num_tokens tokens."""

    name: str
    title: str
    adapter: str        # folder below INPUTS
    targets: str        # as lora-dist's config spells it
    records: str        # file below INPUTS
    batch_size: int
    num_tokens: int

    @property
    def tokens_per_step(self):
        return self.batch_size * self.num_tokens


CASES = {case.name: case for case in [
    Case("qv", "batch 4 x 512, r=8 on q_proj and v_proj", "adapter-qv", "[q_proj, v_proj]", "tokens.jsonl", 4, 512),
    Case("all", "batch 4 x 512, r=8 on every linear layer", "adapter-all", "all-linear", "tokens.jsonl", 4, 512),
]}
START_CASE = Case("start", "batch 1 x 64, r=8 on q_proj and v_proj", "adapter-qv", "[q_proj, v_proj]", "short.jsonl", 1, 64)


@dataclass(frozen=True)
class Peer:
    """PEFT in one setting; see peers/peft_train.py for what the variants are."""

    python: str
    variant: str
    dtype: str

    @property
    def name(self):
        return f"peft {self.variant} {self.dtype}"

    def run(self, case, num_steps, limit_s=None):
        folder = RUNS / f"peer-{self.variant}-{self.dtype}"
        command = [self.python, str(BENCH / "peers" / "peft_train.py"),
                   "--model", str(INPUTS / "model"), "--adapter", str(INPUTS / case.adapter),
                   "--records", str(INPUTS / case.records), "--metrics", str(folder / "metrics.jsonl"),
                   "--dtype", self.dtype, "--variant", self.variant, "--steps", str(num_steps),
                   "--batch-size", str(case.batch_size), "--learning-rate", str(LEARNING_RATE),
                   "--threads", str(NUM_THREADS)]
        folder.mkdir(parents=True, exist_ok=True)
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        return watch(command, folder / "metrics.jsonl", folder / "log", offline, limit_s)


@dataclass(frozen=True)
class Ours:
    """lora-dist, one process. Its data preparation is content-addressed, so only the first run of a case pays it."""

    binary: str
    dtype: str  # auto, bf16 or fp32

    @property
    def name(self):
        return f"lora-dist {self.dtype}"

    def run(self, case, num_steps, limit_s=None):
        folder = RUNS / f"ours-{self.dtype}-{case.name}"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(self._config(case, num_steps, folder / "output"))
        command = [self.binary, "train", "--config", str(config)]
        return watch(command, folder / "output" / "metrics.jsonl", folder / "log", None, limit_s)

    def _config(self, case, num_steps, output):
        # Data in file order, constant rate, no dropout, no checkpoints: what peft_train.py does.
        return f"""\
base_model: {INPUTS / "model"}
task_type: text-generation
dtype: {self.dtype}
device: cpu
init_lora_from: {INPUTS / case.adapter}
lora_rank: 8
lora_alpha: 16
target_modules: {case.targets}
train_data_dir: {INPUTS}
metadata_path: {INPUTS / case.records}
data_format: tokenized
prepared_dir: {RUNS / "prepared"}
max_seq_length: {case.num_tokens}
shuffle: false
batch_size: {case.batch_size}
max_steps: {num_steps}
learning_rate: {LEARNING_RATE}
scheduler: constant
gradient_checkpointing: false
save_steps: 0
threads_per_rank: {NUM_THREADS}
output_dir: {output}
"""


def write_inputs(python):
    """Makes the files of peers/make_inputs.py unless they are there."""
    if (INPUTS / "complete").exists():
        return
    print("writing a random model and tokens to .cache/bench", file=sys.stderr)
    INPUTS.mkdir(parents=True, exist_ok=True)
    subprocess.run([python, str(BENCH / "peers" / "make_inputs.py"), str(INPUTS)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (INPUTS / "complete").touch()
