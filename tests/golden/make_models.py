#!/usr/bin/env python3
"""Makes tests/golden/models/: what transformers and PEFT compute for one tiny model of each family.

Each folder holds a random base model as transformers saves it, a LoRA adapter as PEFT saves it, two micro-batches, and
the numbers that the reference gets from them: logits, loss, every adapter gradient, 20 optimiser steps. README.md beside
this file names every field. The tests read these files and need no Python.

    python tests/golden/make_models.py [NAME...]        # all models, or the named ones

Needs torch, transformers and peft; expected.json of each folder says which versions made it. Deterministic for the same
versions: one thread, one seed per model.
"""

import json
import shutil
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

MODELS_DIR = Path(__file__).parent / "models"
NUM_STEPS = 20
MAX_GRAD_NORM = 1.0
ADAMW = {"lr": 5e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
IGNORED = -100
VOCAB = 96

LLAMA_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PHI3_LINEARS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


@dataclass
class Spec:
    """One fixture: a transformers config class with its arguments, and how the files are written."""

    config_class: str
    config: dict
    lora: dict = field(default_factory=dict)
    targets: list = field(default_factory=lambda: LLAMA_LINEARS)
    rope: dict = field(default_factory=lambda: {"rope_type": "default", "rope_theta": 10000.0})
    disk_dtype: torch.dtype = torch.float32
    old_style_config: bool = False
    max_shard_size: str = "50GB"
    norm_mean: float = 1.0  # Gemma scales by 1 + weight, so its weights lie around 0
    # (sequences, padded length) of the two micro-batches
    batch_shapes: tuple = ((2, 20), (3, 13))


# The longer micro-batch exceeds every sliding window below, and max_position_embeddings of llama_dynamic and the original
# length of phi3_longrope; the shorter one does not exceed the latter two, so that transformers, which remembers the longest length seen, forgets it in between.
SPECS = {
    "llama": Spec(
        "LlamaConfig",
        {"num_attention_heads": 4, "num_key_value_heads": 4, "rms_norm_eps": 1e-5},
    ),
    "llama3": Spec(
        "LlamaConfig",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64, "intermediate_size": 96,
         "tie_word_embeddings": True, "max_position_embeddings": 512},
        rope={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
        disk_dtype=torch.bfloat16,
        old_style_config=True,
    ),
    "llama_linear": Spec(
        "LlamaConfig",
        {"num_attention_heads": 2, "num_key_value_heads": 2},
        targets=["q_proj", "v_proj"],
        rope={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        old_style_config=True,
    ),
    "llama_dynamic": Spec(
        "LlamaConfig",
        {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16},
        rope={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
    ),
    "llama_yarn": Spec(
        "LlamaConfig",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256},
        rope={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64},
    ),
    "mistral": Spec(
        "MistralConfig",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 6},
        lora={"rank_pattern": {"q_proj": 8, "layers.1.mlp.down_proj": 2}, "alpha_pattern": {"v_proj": 32}},
        disk_dtype=torch.float16,
    ),
    "qwen2": Spec(
        "Qwen2Config",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True},
        lora={"use_rslora": True},
        rope={"rope_type": "default", "rope_theta": 1000000.0},
    ),
    "llama_gelu": Spec(
        "LlamaConfig",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "hidden_act": "gelu"},
    ),
    "phi3_longrope": Spec(
        "Phi3Config",
        {"num_attention_heads": 2, "num_key_value_heads": 1, "original_max_position_embeddings": 16},
        targets=PHI3_LINEARS,
        rope={"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.2, 1.5],
              "long_factor": [1.0, 1.5, 2.5, 4.0], "partial_rotary_factor": 0.5},
    ),
    "qwen3": Spec(
        "Qwen3Config",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "hidden_size": 48},
        max_shard_size="90KB",
    ),
    "phi3": Spec(
        "Phi3Config",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 10,
         "original_max_position_embeddings": 128},
        targets=PHI3_LINEARS,
    ),
    "gemma": Spec(
        "GemmaConfig",
        {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16},
        norm_mean=0.0,
    ),
    "gemma2": Spec(
        "Gemma2Config",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 3,
         "sliding_window": 7, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 4.0,
         "final_logit_softcapping": 6.0},
        norm_mean=0.0,
    ),
}  # fmt: skip


# ---- the base model -------------------------------------------------------------------------------------------------


def make_base(spec, folder):
    """Writes config.json and model*.safetensors with every weight, norms and biases included, drawn at random."""
    arguments = {
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2,
        "max_position_embeddings": 128, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 0, "rope_parameters": spec.rope,
    }  # fmt: skip
    if spec.norm_mean == 0.0:
        arguments["tie_word_embeddings"] = True  # as every Gemma
    config = getattr(transformers, spec.config_class)(**{**arguments, **spec.config})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.normal_(spec.norm_mean, 0.2)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.3)
            else:
                weight.normal_(0.0, 0.7 * weight.shape[-1] ** -0.5)
    model.to(spec.disk_dtype).save_pretrained(folder, max_shard_size=spec.max_shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spec.old_style_config:
        rewrite_as_v4(folder / "config.json")


def rewrite_as_v4(path):
    """Spells config.json as transformers 4 did: rope_theta, rope_scaling, torch_dtype."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if rope["rope_type"] == "linear":  # the oldest spelling of the key
        rope = {"type": rope["rope_type"], "factor": rope["factor"]}
    config["rope_scaling"] = rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.44.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_base(folder, dtype):
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    base.name_or_path = f"golden/{folder.name}"  # PEFT would write this machine's path into adapter_config.json
    return base


# ---- the adapters ---------------------------------------------------------------------------------------------------


def make_adapters(spec, folder):
    """adapter/ as PEFT initialises it (B is zero), adapter_random/ with a random B."""
    options = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "task_type": "CAUSAL_LM", **spec.lora}
    config = peft.LoraConfig(target_modules=spec.targets, **options)
    model = peft.get_peft_model(load_base(folder, torch.float32), config)
    save_adapter(model, folder / "adapter")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.1)
    save_adapter(model, folder / "adapter_random")


def save_adapter(model, folder):
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"  # PEFT writes a set of targets in an order that changes from run to run
    config = json.loads(path.read_text())
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_adapter(folder, adapter, dtype):
    return peft.PeftModel.from_pretrained(load_base(folder, dtype), folder / adapter, is_trainable=True)


def adapter_gradients(model):
    """Gradients under the keys of adapter_model.safetensors."""
    return {
        name.replace(".default.", "."): weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


# ---- the batch and its loss -----------------------------------------------------------------------------------------


def make_batch(spec):
    """Two micro-batches: padded on the right, no label on the prompt part nor on the padding."""
    micro_batches = []
    for num_sequences, longest in spec.batch_shapes:
        batch = {"input_ids": [], "attention_mask": [], "labels": []}
        for index in range(num_sequences):
            length = longest - 3 * index
            prompt = length // 3
            ids = torch.randint(3, VOCAB, (length,)).tolist()
            padding = longest - length
            batch["input_ids"].append(ids + [0] * padding)
            batch["attention_mask"].append([1] * length + [0] * padding)
            batch["labels"].append([IGNORED] * prompt + ids[prompt:] + [IGNORED] * padding)
        micro_batches.append(batch)
    num_labels = sum(label != IGNORED for batch in micro_batches for row in batch["labels"] for label in row[1:])
    return {"micro_batches": micro_batches, "num_labels": num_labels}


def forward(model, micro_batch):
    """Logits in fp32 and the sum of the token losses: position t predicts label t + 1."""
    ids, mask, labels = (torch.tensor(micro_batch[key]) for key in ("input_ids", "attention_mask", "labels"))
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    loss_sum = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return logits[mask.bool()].detach(), loss_sum


def forward_backward(model, batch):
    """Loss of both micro-batches over one denominator; its gradient is left in the adapter tensors."""
    model.zero_grad()
    logits, loss = [], 0.0
    for micro_batch in batch["micro_batches"]:
        logits_NV, loss_sum = forward(model, micro_batch)
        (loss_sum / batch["num_labels"]).backward()
        logits.append(logits_NV)
        loss += loss_sum.item() / batch["num_labels"]
    return logits, loss


def train(model, batch):
    """Losses (before each update) and gradient norms (before clipping) of NUM_STEPS steps of AdamW."""
    params = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(params, **ADAMW)
    losses, grad_norms = [], []
    for _ in range(NUM_STEPS):
        _, loss = forward_backward(model, batch)
        grad_norms.append(torch.nn.utils.clip_grad_norm_(params, MAX_GRAD_NORM).item())
        losses.append(loss)
        optimizer.step()
    return losses, grad_norms


# ---- one fixture ----------------------------------------------------------------------------------------------------


def make_expected(folder, batch):
    tensors, numbers = {}, {}
    for suffix, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        model = load_adapter(folder, "adapter_random", dtype)
        logits, numbers[f"loss_{suffix}"] = forward_backward(model, batch)
        if dtype == torch.float32:
            tensors.update({f"logits.{index}": values for index, values in enumerate(logits)})
        for key, gradient in adapter_gradients(model).items():
            tensors[f"grad_{suffix}.{key}"] = gradient.to(dtype)
        losses, grad_norms = train(load_adapter(folder, "adapter", dtype), batch)
        numbers[f"losses_{suffix}"], numbers[f"grad_norms_{suffix}"] = losses, grad_norms
    save_file(tensors, folder / "expected.safetensors")
    expected = {
        **numbers,
        "learning_rate": ADAMW["lr"], "adam_beta1": ADAMW["betas"][0], "adam_beta2": ADAMW["betas"][1],
        "adam_epsilon": ADAMW["eps"], "weight_decay": ADAMW["weight_decay"], "max_grad_norm": MAX_GRAD_NORM,
        "made_by": "tests/golden/make_models.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    }  # fmt: skip
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def make_fixture(name, spec):
    folder = MODELS_DIR / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(zlib.crc32(name.encode()))
    make_base(spec, folder)
    make_adapters(spec, folder)
    batch = make_batch(spec)
    (folder / "batch.json").write_text(json.dumps(batch) + "\n")
    make_expected(folder, batch)
    report(folder)


def report(folder):
    """One line for the person who ran the script: is the fixture sound, how large is it?"""
    expected = json.loads((folder / "expected.json").read_text())
    tensors = load_file(folder / "expected.safetensors")
    cosines = [
        torch.cosine_similarity(
            gradient.flatten(), tensors[key.replace("fp32", "bf16")].flatten().float(), dim=0
        ).item()
        for key, gradient in tensors.items()
        if key.startswith("grad_fp32.")
    ]
    kib = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1024
    losses = expected["losses_fp32"]
    print(
        f"{folder.name:14} {kib:5.0f} KiB  loss {losses[0]:.4f} -> {losses[-1]:.4f}"
        f"  bf16 {expected['losses_bf16'][-1]:.4f}  worst cosine of a gradient, bf16 against fp32 {min(cosines):.6f}"
    )


def main(names):
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in names or SPECS:
        make_fixture(name, SPECS[name])


if __name__ == "__main__":
    main(sys.argv[1:])
