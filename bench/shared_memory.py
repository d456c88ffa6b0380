"""How much of the base each rank of a host pays for: PSS summed over ranks, for a base that dominates memory.

PSS divides a page by the number of processes that map it, so the sum over ranks is what the host really holds. The base has
the shape of a 7B LLaMA model and holds zeros: which numbers they are changes no page.
"""

import json
import os
import struct
import subprocess
import time
from pathlib import Path

from sides import PROJECT

FOLDER = PROJECT / ".cache" / "bench" / "zeros-7b"
SHAPE = dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32,
             vocab_size=32000)
NUM_TOKENS, NUM_RANKS, LIMIT = 32, 4, 1.15


def write_base():
    model = FOLDER / "model"
    if (model / "model.safetensors").exists():
        return model
    model.mkdir(parents=True, exist_ok=True)
    d, f, v = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["vocab_size"]
    shapes = {"model.embed_tokens.weight": [v, d], "lm_head.weight": [v, d], "model.norm.weight": [d]}
    for layer in range(SHAPE["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        shapes |= {f"{at}self_attn.{name}_proj.weight": [d, d] for name in "qkvo"}
        shapes |= {f"{at}mlp.gate_proj.weight": [f, d], f"{at}mlp.up_proj.weight": [f, d], f"{at}mlp.down_proj.weight": [d, f],
                   f"{at}input_layernorm.weight": [d], f"{at}post_attention_layernorm.weight": [d]}
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with open(model / "model.safetensors.part", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    (model / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-6, "hidden_act": "silu",
        "max_position_embeddings": 2048, "tie_word_embeddings": False, "torch_dtype": "bfloat16", **SHAPE}))
    (model / "model.safetensors.part").rename(model / "model.safetensors")
    return model


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [pid]
    if children.exists():
        for child in children.read_text().split():
            found += descendants(int(child))
    return found


def pss_of(pid, binary):
    """Bytes, 0 for a process that is not a rank or has gone."""
    try:
        if os.readlink(f"/proc/{pid}/exe") != binary:
            return 0
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    except (OSError, StopIteration):
        return 0


def summed_pss(binary, ranks):
    """The highest sum over the ranks during one step, in bytes."""
    model, records = write_base(), FOLDER / "tokens.jsonl"
    row = [7 * i % 30000 for i in range(NUM_TOKENS)]
    records.write_text((json.dumps({"input_ids": row, "labels": row}) + "\n") * NUM_RANKS)
    config = FOLDER / f"config-{ranks}.yaml"
    config.write_text(f"""\
base_model: {model}
task_type: text-generation
device: cpu
target_modules: [q_proj, v_proj]
train_data_dir: {records}
data_format: tokenized
max_seq_length: {NUM_TOKENS}
batch_size: 1
global_batch_size: {NUM_RANKS}
max_steps: 1
save_steps: 0
threads_per_rank: 1
comm_timeout_s: 600
output_dir: {FOLDER / f"output-{ranks}"}
overwrite_output_dir: true
""")
    command = [binary, "train", "--config", str(config)] + (["--ranks", str(ranks)] if ranks > 1 else [])
    with open(FOLDER / f"log-{ranks}", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        highest = 0
        while process.poll() is None:
            highest = max(highest, sum(pss_of(pid, binary) for pid in descendants(process.pid)))
            time.sleep(0.5)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}; see {FOLDER / f'log-{ranks}'}")
    return highest


def measure_shared_base(binary):
    """Prints the ratio; True when it meets the target."""
    binary = os.path.realpath(binary)
    one, many = summed_pss(binary, 1), summed_pss(binary, NUM_RANKS)
    met = many / one <= LIMIT
    print(f"\nmemory: summed PSS of {NUM_RANKS} ranks over that of one, LLaMA-2 7B shape, {NUM_TOKENS} tokens a slot")
    print(f"memory {many / one:.3f}x ({many / 2**30:.2f} against {one / 2**30:.2f} GiB)   target <= {LIMIT}   "
          f"{'MET' if met else 'MISSED'}")
    return met
