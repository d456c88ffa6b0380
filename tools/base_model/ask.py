#!/usr/bin/env python3
"""Asks the shipped base what it knows: the share of questions it answers right, greedily, and a few answers to look at.

    python tools/base_model/ask.py examples/base-tiny

Two numbers are printed: for a sample of the questions of the corpus, and for those wordings that the corpus leaves out.
"""

import random
import sys
from pathlib import Path

import torch
from corpus import is_held_out, prompt
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM, logging
from world import facts, size_facts

SAMPLE = 150
FREE_PROMPTS = ("Hello.", "Tell me a story about a fox.", "Describe an owl.", "Name three fruits.", "Who are you?")


def answer(model, tokenizer, question, max_new_tokens=80):
    ids = tokenizer.encode(prompt(question), add_special_tokens=False).ids
    with torch.no_grad():
        output = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=max_new_tokens, do_sample=False,
        )  # fmt: skip
    return tokenizer.decode(output[0, len(ids) :].tolist())


def share_right(model, tokenizer, questions):
    wrong = []
    for fact in questions:
        given = answer(model, tokenizer, fact.question, max_new_tokens=24)
        if given != fact.answer:
            wrong.append(f"  {fact.question} -> {given}")
    return 1 - len(wrong) / len(questions), wrong


def main(folder):
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    everything = facts() + size_facts()
    rng = random.Random(0)
    for title, questions in (
        ("questions of the corpus", [fact for fact in everything if not is_held_out(fact)]),
        ("wordings left out of the corpus", [fact for fact in everything if is_held_out(fact)]),
    ):
        share, wrong = share_right(model, tokenizer, rng.sample(questions, min(SAMPLE, len(questions))))
        print(f"{title}: {share:.0%} right")
        print("\n".join(wrong[:12]))
    for question in FREE_PROMPTS:
        print(f"{question} -> {answer(model, tokenizer, question)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
