"""Writes what every side of a benchmark reads: a random model of a real shape, token records, PEFT's initial adapters.

    python make_inputs.py <shape> <folder>

<folder>/model            Hugging Face folder, bf16 (values are random, speed does not depend on them)
<folder>/tokens.jsonl     {"input_ids", "labels"} records of 512 tokens, all of them labels
<folder>/masked.jsonl     the same records, the first half of each without labels, as a prompt has none
<folder>/short.jsonl      records of 64 tokens, for start-up times
<folder>/adapter-<name>   the adapter before its first step, so that no side draws its own
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

NUM_RECORDS = 160
# (target modules, rank)
ADAPTERS = {"qv": (["q_proj", "v_proj"], 8), "all": ("all-linear", 8), "all-r16": ("all-linear", 16)}
SHAPES = {
    "smollm2-135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                         num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True, rope_theta=100000.0),
    "tinyllama-1.1b": dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
                           num_key_value_heads=4, vocab_size=32000, tie_word_embeddings=False, rope_theta=10000.0),
}


def write_records(path, num_tokens, vocab_size, generator, num_without_label=0):
    with open(path, "w") as file:
        for _ in range(NUM_RECORDS):
            ids = torch.randint(1, vocab_size, (num_tokens,), generator=generator).tolist()
            labels = [-100] * num_without_label + ids[num_without_label:]
            file.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")


def main(shape, folder):
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=8192, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "model")
    for name, (targets, rank) in ADAPTERS.items():
        lora = LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
        wrapped = get_peft_model(model, lora)
        wrapped.save_pretrained(folder / f"adapter-{name}")
        model = wrapped.unload()
    generator = torch.Generator().manual_seed(1)
    write_records(folder / "tokens.jsonl", 512, config.vocab_size, generator)
    write_records(folder / "short.jsonl", 64, config.vocab_size, generator)
    write_records(folder / "masked.jsonl", 512, config.vocab_size, torch.Generator().manual_seed(1), num_without_label=256)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
