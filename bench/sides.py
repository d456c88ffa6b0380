"""The two sides of a comparison: lora-dist, and PyTorch + transformers + PEFT in several settings.

A side turns a Case into a command line. Both read the same model, records and initial adapter, take the same batches in
the same order and use the same optimiser settings.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from process import watch

BENCH = Path(__file__).resolve().parent
PROJECT = BENCH.parent
CACHE = PROJECT / ".cache" / "bench"
RUNS = CACHE / "runs"
LEARNING_RATE = 1e-3
NUM_THREADS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Case:
    """A workload. One step is batch_size x num_tokens tokens."""

    name: str
    title: str
    shape: str          # as peers/make_inputs.py spells it
    adapter: str        # of that script, too
    lora_rank: int
    targets: str        # as lora-dist's config spells it
    records: str        # file of the shape's inputs
    batch_size: int
    num_tokens: int
    least_speed: float  # tokens/s of ours over the peer's
    most_memory: float
    all_labels: bool = True  # every row of the records has a label

    @property
    def tokens_per_step(self):
        return self.batch_size * self.num_tokens

    @property
    def inputs(self):
        return CACHE / self.shape

    def write_inputs(self, python):
        """Makes the files of peers/make_inputs.py unless this version of it has made them."""
        script, made_by = BENCH / "peers" / "make_inputs.py", self.inputs / "made_by"
        version = hashlib.sha256(script.read_bytes()).hexdigest()
        if made_by.exists() and made_by.read_text() == version:
            return
        print(f"writing a random model of the shape {self.shape} and tokens to .cache/bench", file=sys.stderr)
        self.inputs.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, str(script), self.shape, str(self.inputs)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        made_by.write_text(version)


SMALL, TINY_LLAMA, QV = "smollm2-135m", "tinyllama-1.1b", "[q_proj, v_proj]"
CASES = {case.name: case for case in [
    Case("qv", "batch 4 x 512, r=8 on q_proj and v_proj", SMALL, "qv", 8, QV, "tokens.jsonl", 4, 512, 1.75, 0.30),
    Case("all", "batch 4 x 512, r=8 on every linear layer", SMALL, "all", 8, "all-linear", "tokens.jsonl", 4, 512, 2.0, 0.30),
    Case("masked", "batch 4 x 512, half of the labels masked, r=8 on every linear layer", SMALL, "all", 8, "all-linear",
         "masked.jsonl", 4, 512, 2.2, 0.30, all_labels=False),
    Case("1b-qv", "batch 1 x 512, r=8 on q_proj and v_proj", TINY_LLAMA, "qv", 8, QV, "tokens.jsonl", 1, 512, 1.7, 0.70),
    Case("1b-all", "batch 1 x 512, r=16 on every linear layer", TINY_LLAMA, "all-r16", 16, "all-linear", "tokens.jsonl", 1,
         512, 1.7, 0.70),
]}
START_CASE = Case("start", "batch 1 x 64, r=8 on q_proj and v_proj", SMALL, "qv", 8, QV, "short.jsonl", 1, 64, 1, 1)


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
                   "--model", str(case.inputs / "model"), "--adapter", str(case.inputs / f"adapter-{case.adapter}"),
                   "--records", str(case.inputs / case.records), "--metrics", str(folder / "metrics.jsonl"),
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

    def flops_per_step(self, case):
        """FLOPs of one step of the case as `plan` counts them: every row of it has a label."""
        config = RUNS / f"ours-{self.dtype}-{case.name}" / "config.yaml"
        shown = subprocess.run([self.binary, "plan", "--config", str(config), "--json"], check=True, capture_output=True,
                               text=True)
        return json.loads(shown.stdout)["per_rank"]["flops_per_step"]

    def _config(self, case, num_steps, output):
        # Data in file order, constant rate, no dropout, no checkpoints: what peft_train.py does.
        return f"""\
base_model: {case.inputs / "model"}
task_type: text-generation
dtype: {self.dtype}
device: cpu
init_lora_from: {case.inputs / f"adapter-{case.adapter}"}
lora_rank: {case.lora_rank}
lora_alpha: 16
target_modules: {case.targets}
train_data_dir: {case.inputs}
metadata_path: {case.inputs / case.records}
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
overwrite_output_dir: true
"""
