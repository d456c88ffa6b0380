#!/usr/bin/env python3
"""Pretrains the shipped base: a small LLaMA from random weights, on the text of corpus.py, on one CPU thread.

    python tools/base_model/make_tokenizer.py examples/base-tiny
    nice -n 19 python tools/base_model/pretrain.py examples/base-tiny --cpu-minutes 25

Documents are packed into rows; attention and positions start anew at each document. Stories and facts count fully in the
loss, of a conversation the answers do, the questions a little: they are drawn at random, and there is nothing to learn from
which one comes. The learning rate follows the CPU time used, so that the run ends when it was told to also on a busy
machine; the weights therefore depend on the machine. The folder is written every few minutes, each time as a complete
model in bf16.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from corpus import BOS, EOS, HEADER, TURN_END, Corpus
from make_tokenizer import PAD
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, logging

ROWS, ROW_LENGTH = 8, 128  # one step
PEAK_LEARNING_RATE, FLOOR = 2.5e-3, 0.02  # the floor as a share of the peak
WARMUP_STEPS = 100
QUESTION_WEIGHT = 0.1
SAVE_EVERY_S = 180


class Packer:
    """Turns the stream of documents into rows of tokens, first come first packed; what does not fit is cut."""

    def __init__(self, tokenizer, seed):
        self.tokenizer, self.corpus = tokenizer, Corpus(seed)
        self.eos, self.header, self.assistant = (
            tokenizer.token_to_id(token) for token in (EOS, HEADER, "assistant")
        )

    def document(self):
        ids = self.tokenizer.encode(self.corpus.document(), add_special_tokens=False).ids
        if ids[-1] == self.eos:
            return ids, [1.0] * len(ids)
        weights, is_answer = [], False
        for index, token in enumerate(ids):
            weights.append(1.0 if is_answer else QUESTION_WEIGHT)
            if token == self.header:
                is_answer = ids[index + 1] == self.assistant
        return ids, weights

    def row(self):
        ids, weights, documents, positions = [], [], [], []
        while len(ids) < ROW_LENGTH:
            new_ids, new_weights = self.document()
            documents += [len(documents)] * len(new_ids)  # any number that differs from document to document
            positions += range(len(new_ids))
            ids, weights = ids + new_ids, weights + new_weights
        return ids[:ROW_LENGTH], weights[:ROW_LENGTH], documents[:ROW_LENGTH], positions[:ROW_LENGTH]

    def batch(self):
        ids, weights, documents, positions = zip(*(self.row() for _ in range(ROWS)))
        documents_BT = torch.tensor(documents)
        same_document = documents_BT[:, :, None] == documents_BT[:, None, :]
        mask_B1TT = (same_document & torch.ones(ROW_LENGTH, ROW_LENGTH).tril().bool())[:, None]
        return torch.tensor(ids), torch.tensor(weights), mask_B1TT, torch.tensor(positions)


def make_model(tokenizer):
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192, intermediate_size=512, num_hidden_layers=6,
        num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=512,
        bos_token_id=tokenizer.token_to_id(BOS), eos_token_id=tokenizer.token_to_id(TURN_END),
        pad_token_id=tokenizer.token_to_id(PAD), rms_norm_eps=1e-5,
    )  # fmt: skip
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
    with torch.no_grad():  # the usual small start for the layers that write to the residual stream
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2 * config.num_hidden_layers) ** -0.5)
    return model


def weighted_loss(model, ids_BT, weights_BT, mask_B1TT, positions_BT):
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_B1TT, position_ids=positions_BT, use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten(), reduction="none"
    )
    weights = weights_BT[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def learning_rate(step, share_of_time):
    cosine = 0.5 * (1 + math.cos(math.pi * share_of_time))
    return PEAK_LEARNING_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * (FLOOR + (1 - FLOOR) * cosine)


def save(model, tokenizer, folder):
    copy = LlamaForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(model.state_dict())
    copy.tie_weights()
    copy.save_pretrained(folder)
    generation = {
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": [tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(EOS)],
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def pretrain(folder, cpu_minutes, seed):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model, packer = make_model(tokenizer), Packer(tokenizer, seed)
    decay = [weight for weight in model.parameters() if weight.dim() > 1]
    no_decay = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    start = saved = time.process_time()
    step, running = 0, None
    while (share_of_time := (time.process_time() - start) / (60 * cpu_minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, share_of_time)
        loss = weighted_loss(model, *packer.batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            tokens = step * ROWS * ROW_LENGTH
            print(f"{share_of_time:4.0%}  step {step}  loss {running:.4f}  tokens {tokens}", flush=True)
        if time.process_time() - saved > SAVE_EVERY_S:
            save(model, tokenizer, folder)
            saved = time.process_time()
    save(model, tokenizer, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where tokenizer.json is and the model goes")
    parser.add_argument("--cpu-minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    logging.set_verbosity_error()
    pretrain(arguments.folder, arguments.cpu_minutes, arguments.seed)


if __name__ == "__main__":
    main()
