"""One training run of PyTorch + transformers + PEFT: the loop an expert would type, without Trainer.

Reads the files of make_inputs.py in order and appends one line per optimiser step to --metrics, with the field names of
lora-dist's metrics.jsonl. The driver takes times and memory from outside, alike for both sides.
"""

import argparse
import json

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--records", required=True)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--dtype", choices=["bf16", "fp32"], required=True)
    parser.add_argument("--variant", choices=["default", "tuned", "compiled"], required=True,
                        help="default: PEFT as a user starts it; tuned: no adapter autocast, SDPA, fused AdamW; compiled: tuned "
                             "and torch.compile")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


def load_model(options):
    tuned = options.variant != "default"
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[options.dtype]
    attention = {"attn_implementation": "sdpa"} if tuned else {}
    base = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype, use_cache=False, **attention)
    model = PeftModel.from_pretrained(base, options.adapter, is_trainable=True, autocast_adapter_dtype=not tuned)
    model.train()
    return model


def read_batches(path, batch_size):
    """Batches in file order, for ever."""
    with open(path) as file:
        records = [json.loads(line) for line in file]
    first = 0
    while True:
        rows = [records[(first + i) % len(records)] for i in range(batch_size)]
        first += batch_size
        yield {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "labels")}


def main():
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    model = load_model(options)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = {"fused": True} if options.variant != "default" else {}
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.0, **fused)
    forward = torch.compile(model) if options.variant == "compiled" else model
    batches = read_batches(options.records, options.batch_size)
    with open(options.metrics, "w") as metrics:
        for step in range(1, options.steps + 1):
            loss = forward(**next(batches)).loss
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            metrics.write(json.dumps({"step": step, "loss": loss.item(), "grad_norm": norm.item()}) + "\n")
            metrics.flush()


if __name__ == "__main__":
    main()
