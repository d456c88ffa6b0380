#!/usr/bin/env python3
"""Trains the quickstart's adapter with PEFT and shows base against adapter: the yardstick for `make quickstart`.

    python tools/base_model/try_quickstart.py examples/base-tiny examples/quickstart
"""

import argparse
import json
import math
import time
from pathlib import Path

import peft
import torch
from ask import answer
from corpus import TURN_END, prompt
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM, logging

IGNORED = -100


def encode(tokenizer, record):
    prompt_ids = tokenizer.encode(prompt(record["instruction"]), add_special_tokens=False).ids
    answer_ids = tokenizer.encode(record["output"] + TURN_END, add_special_tokens=False).ids
    return prompt_ids + answer_ids, [IGNORED] * len(prompt_ids) + answer_ids


def loss_of(model, samples):
    longest = max(len(ids) for ids, _ in samples)
    ids_BT = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in samples])
    labels_BT = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in samples])
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits  # causal: padding on the right needs no mask
    return torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=IGNORED
    )


def train(model, samples, options):
    params = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(params, weight_decay=0.0)
    num_steps = options.epochs * math.ceil(len(samples) / options.global_batch_size)
    step = 0
    for _ in range(options.epochs):
        order = torch.randperm(len(samples)).tolist()
        for begin in range(0, len(samples), options.global_batch_size):
            batch = [samples[index] for index in order[begin : begin + options.global_batch_size]]
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * 0.5 * (1 + math.cos(math.pi * step / num_steps))
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return num_steps


def show(model, tokenizer, records):
    right = 0
    for record in records:
        given = answer(model, tokenizer, record["instruction"], max_new_tokens=48)
        right += given == record["output"]
        print(f"  {record['instruction']} -> {given}{'' if given == record['output'] else '   WRONG'}")
    return right / len(records)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lora-rank", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--global-batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    logging.set_verbosity_error()

    tokenizer = Tokenizer.from_file(str(options.base / "tokenizer.json"))
    training, held_out = (
        [json.loads(line) for line in (options.data / name).open()] for name in ("train.jsonl", "heldout.jsonl")
    )
    training_samples = [encode(tokenizer, record) for record in training]
    held_out_samples = [encode(tokenizer, record) for record in held_out]
    base = LlamaForCausalLM.from_pretrained(options.base, dtype=torch.float32)
    config = peft.LoraConfig(r=options.lora_rank, lora_alpha=2 * options.lora_rank, target_modules="all-linear",
                             task_type="CAUSAL_LM")  # fmt: skip
    model = peft.get_peft_model(base, config)
    with torch.no_grad():
        base_loss = loss_of(model, held_out_samples).item()
    start = time.time()
    num_steps = train(model, training_samples, options)
    seconds = time.time() - start
    with torch.no_grad():
        adapter_loss = loss_of(model, held_out_samples).item()
    share = show(model, tokenizer, held_out)
    print(f"{num_steps} steps in {seconds:.0f} s; held-out loss {base_loss:.3f} -> {adapter_loss:.3f}; {share:.0%} word for word")


if __name__ == "__main__":
    main()
