"""Writes what every side of a benchmark reads: a random model of a real shape, token records, PEFT's initial adapters.

    python make_inputs.py <folder>

<folder>/model            Hugging Face folder, bf16 (SmolLM2-135M's shape; values are random, speed does not depend on them)
<folder>/tokens.jsonl     {"input_ids", "labels"} records of 512 tokens, all of them labels
<folder>/short.jsonl      the same with 64 tokens, for start-up times
<folder>/adapter-<case>   the adapter before its first step, so that no side draws its own
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

NUM_RECORDS = 160
TARGETS = {"qv": ["q_proj", "v_proj"], "all": "all-linear"}


def smollm2_135m():
    return LlamaConfig(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                       num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=8192,
                       rope_theta=100000.0, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0)


def write_records(path, num_tokens, vocab_size, generator):
    with open(path, "w") as file:
        for _ in range(NUM_RECORDS):
            ids = torch.randint(1, vocab_size, (num_tokens,), generator=generator).tolist()
            file.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def main(folder):
    torch.manual_seed(0)
    config = smollm2_135m()
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "model")
    for case, targets in TARGETS.items():
        lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
        wrapped = get_peft_model(model, lora)
        wrapped.save_pretrained(folder / f"adapter-{case}")
        model = wrapped.unload()
    generator = torch.Generator().manual_seed(1)
    write_records(folder / "tokens.jsonl", 512, config.vocab_size, generator)
    write_records(folder / "short.jsonl", 64, config.vocab_size, generator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
