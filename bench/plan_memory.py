"""How near `lora-dist plan` comes to the memory that a run takes, over shapes, batches, lengths, adapters and dtypes.

Random models are written by transformers to .cache/bench/plan/; each case trains two steps and compares the plan's total
with the peak resident set that the kernel reports. Exit code 1 when a case is off by more than 5 %.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from process import watch
from sides import PROJECT

FOLDER = PROJECT / ".cache" / "bench" / "plan"
LIMIT = 0.05

# Shapes that differ in what decides the memory: width, depth, vocabulary, tying, per-head norms, norms behind the branches.
MODELS = {
    "llama": ("LlamaConfig", dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                                  num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True)),
    "wide": ("LlamaConfig", dict(hidden_size=1024, intermediate_size=2816, num_hidden_layers=6, num_attention_heads=16,
                                 num_key_value_heads=16, vocab_size=32000, tie_word_embeddings=False)),
    "qwen3": ("Qwen3Config", dict(hidden_size=512, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=8,
                                  num_key_value_heads=4, head_dim=128, vocab_size=60000, tie_word_embeddings=True)),
    "gemma2": ("Gemma2Config", dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=10, num_attention_heads=8,
                                    num_key_value_heads=4, head_dim=64, vocab_size=100000, sliding_window=256)),
}
TINY = PROJECT / "examples" / "base-tiny"  # where the program itself is most of the memory
MAKE_MODEL = """
import sys, json, torch, transformers
name, settings, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
torch.manual_seed(0)
config = getattr(transformers, name)(**settings, max_position_embeddings=2048)
transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
"""


def cases():
    """(model, batch_size, tokens, more keys)."""
    qv, all_linear = {"target_modules": "[q_proj, v_proj]"}, {"target_modules": "all-linear"}
    for model in MODELS:
        for batch, tokens in ((1, 128), (1, 512), (2, 256), (2, 512)):
            yield model, batch, tokens, qv
            yield model, batch, tokens, {**all_linear, "lora_rank": 64}
        yield model, 4, 256, {**all_linear, "gradient_checkpointing": "true"}
        yield model, 2, 256, {**all_linear, "dtype": "bf16"}
        yield model, 2, 256, {**all_linear, "lora_dropout": 0.1, "gradient_accumulation_steps": 3}
    yield "llama", 4, 512, qv
    for dtype in ("fp32", "bf16"):
        for batch, tokens in ((1, 64), (4, 512)):
            yield "tiny", batch, tokens, {**qv, "dtype": dtype}
            yield "tiny", batch, tokens, {**all_linear, "lora_rank": 64, "dtype": dtype}
        for keys in ({"optimizer": "adamw8bit"}, {"packing": "true"}, {"save_steps": 1}):
            yield "llama", 4, 256, {**all_linear, "lora_rank": 64, "dtype": dtype, **keys}
    yield "wide", 8, 256, {**all_linear, "gradient_checkpointing": "true", "lora_rank": 16}


def write_model(python, name):
    if name == "tiny":
        return TINY
    folder = FOLDER / name
    if not (folder / "config.json").exists():
        kind, settings = MODELS[name]
        subprocess.run([python, "-c", MAKE_MODEL, kind, json.dumps(settings), str(folder)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def write_records(model, tokens):
    """Records of exactly `tokens` tokens of the model's vocabulary, all of them labels."""
    path = FOLDER / f"tokens-{tokens}.jsonl"
    vocabulary = min(30000, json.loads((model / "config.json").read_text())["vocab_size"] - 1)
    # Not 0: transformers makes that row of an untrained embedding zero, and norms of zeros have no useful gradient.
    ids = [[1 + (7 * i + 31 * row) % vocabulary for i in range(tokens)] for row in range(64)]
    path.write_text("".join(json.dumps({"input_ids": row, "labels": row}) + "\n" for row in ids))
    return path


def measure(binary, model, batch, tokens, keys):
    """(planned, measured) bytes of one rank."""
    output = FOLDER / "output"
    settings = {"base_model": model, "train_data_dir": write_records(model, tokens), "data_format": "tokenized",
                "output_dir": output, "overwrite_output_dir": True, "max_seq_length": tokens, "batch_size": batch,
                "max_steps": 2, "gradient_checkpointing": "false", "save_steps": 0,
                "prepared_dir": FOLDER / "prepared", "device": "cpu", **keys}
    config = FOLDER / "config.yaml"
    config.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    plan = subprocess.run([binary, "plan", "--config", str(config), "--json"], check=True, capture_output=True, text=True)
    planned = json.loads(plan.stdout)["per_rank"]["memory_bytes"]
    seen = watch([binary, "train", "--config", str(config)], output / "metrics.jsonl", FOLDER / "log")
    return planned, seen.peak_gib * 2**30


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(PROJECT / "build/release/lora-dist"))
    parser.add_argument("--peer-python", default="python3", help="a Python with torch and transformers")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    errors = []
    for name, batch, tokens, keys in cases():
        planned, measured = measure(options.binary, write_model(options.peer_python, name), batch, tokens, keys)
        errors.append(planned["total"] / measured - 1)
        text = ", ".join(f"{key} {value}" for key, value in keys.items())
        parts = " ".join(f"{key} {value / 2**20:.0f}" for key, value in planned.items())
        print(f"{100 * errors[-1]:+6.1f} %  {measured / 2**20:7.0f} MiB  {name:<7} {batch} x {tokens:<4} {text}   [{parts}]",
              flush=True)
    outside = sum(abs(error) > LIMIT for error in errors)
    print(f"{len(errors)} cases, {min(errors):+.1%} to {max(errors):+.1%}, {outside} outside {LIMIT:.0%}")
    sys.exit(1 if outside else 0)


if __name__ == "__main__":
    main()
