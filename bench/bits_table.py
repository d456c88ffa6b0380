"""The bits of trainings that a change of the code's shape must not move: adapter_sha256 and losses of one run per setting.

    bench/bits_table.py build/release/lora-dist > before.txt     # and again with the changed program; then diff

Bases are the tiny ones of examples/ and tests/golden, data are token ids drawn here. Bits depend on the processor (its vector
instructions round sums in another order), so both tables come from one machine.
"""

import argparse
import hashlib
import json
import random
import subprocess
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TINY = PROJECT / "examples" / "base-tiny"
GOLDEN = PROJECT / "tests" / "golden" / "models"
STEPS = 20
COMMON = f"""
batch_size: 2
global_batch_size: 8
max_steps: {STEPS}
learning_rate: 3e-3
threads_per_rank: 1
save_steps: 0
data_format: tokenized
"""


def settings():
    """(name, base folder, keys beside COMMON, ranks)"""
    yield "tiny fp32", TINY, "dtype: fp32", 1
    yield "tiny bf16", TINY, "dtype: bf16", 1
    yield "tiny packing", TINY, "dtype: fp32\npacking: true\nmax_seq_length: 128", 1
    yield "tiny packing bf16 rebuilt", TINY, "dtype: bf16\npacking: true\nmax_seq_length: 128\ngradient_checkpointing: true", 1
    yield "tiny dropout", TINY, "dtype: bf16\nlora_dropout: 0.1\ntarget_modules: all-linear", 1
    yield "tiny adamw8bit", TINY, "dtype: fp32\noptimizer: adamw8bit", 1
    yield "tiny held out", TINY, "dtype: fp32\nval_size: 0.2\neval_steps: 5\nload_best_model_at_end: true", 1
    yield "tiny upper layer", TINY, "dtype: fp32\ntarget_modules: '.*layers\\.1\\..*(q|v)_proj'", 1
    yield "tiny 3 ranks shared", TINY, "dtype: fp32\nsharding: shared", 3
    yield "tiny 3 ranks full", TINY, "dtype: fp32\nsharding: full", 3
    yield "tiny rslora patterns", TINY, ("dtype: fp32\nuse_rslora: true\ntarget_modules: all-linear\n"
                                        "rank_pattern: {q_proj: 4}\nalpha_pattern: {v_proj: 3}"), 1
    for folder in sorted(GOLDEN.iterdir()):
        base = folder / "base" if (folder / "base").is_dir() else folder
        if (base / "config.json").exists():
            yield f"{folder.name} fp32", base, "dtype: fp32\ntarget_modules: all-linear", 1
            if folder.name in ("llama", "qwen3", "phi3", "gemma2"):
                yield f"{folder.name} bf16 full", base, "dtype: bf16\ntarget_modules: all-linear\nsharding: full", 2


def write_data(path, vocab, count=40, shortest=8, longest=60):
    """Token ids that are a function of the vocabulary's size."""
    with open(path, "w") as lines:
        for number in range(count):
            draw = random.Random(vocab * 1000 + number)
            ids = [draw.randrange(3, vocab - 3) for _ in range(shortest + (number * 13) % (longest - shortest))]
            lines.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def start(binary, folder, arguments, ranks):
    command = [binary, "--config", "run.yaml", *arguments] + (["--ranks", str(ranks)] if ranks > 1 else [])
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError((run.stderr.strip().splitlines() or ["no message"])[-1])


def bits(folder):
    losses = [json.loads(line) for line in open(folder / "out" / "metrics.jsonl")]
    losses = [{key: value for key, value in line.items() if "loss" in key} for line in losses]
    adapter = json.load(open(folder / "out" / "run.json"))["adapter_sha256"]
    return f"{adapter[:16]} {hashlib.sha256(json.dumps(losses).encode()).hexdigest()[:12]} {losses[-1]}"


def row(binary, base, keys, ranks, resumes=False):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "train.jsonl", json.load(open(base / "config.json"))["vocab_size"])
        (folder / "run.yaml").write_text(f"base_model: {base}\ntrain_data_dir: train.jsonl\noutput_dir: out\n{COMMON}{keys}\n")
        if not resumes:
            start(binary, folder, [], ranks)
            return bits(folder)
        start(binary, folder, ["save_steps=8"], ranks)
        for later in ("checkpoint-16", f"checkpoint-{STEPS}"):  # as if it had been killed behind step 8
            subprocess.run(["rm", "-rf", folder / "out" / later], check=True)
        start(binary, folder, ["save_steps=8", "resume_from_checkpoint=out/checkpoint-8"], ranks)
        return bits(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=lambda path: str(Path(path).resolve()))
    binary = parser.parse_args().binary
    for name, base, keys, ranks in settings():
        try:
            print(f"{name:28} {row(binary, base, keys, ranks)}", flush=True)
        except RuntimeError as failure:
            print(f"{name:28} {failure}", flush=True)
    print(f"{'tiny resumed':28} {row(binary, TINY, 'dtype: fp32', 1, resumes=True)}")


if __name__ == "__main__":
    main()
