"""Held-out loss and a few held-out answers of a base and of base + adapter, side by side.

Everything shown comes from `lora-dist evaluate` and `lora-dist generate`; this only asks and lays out. The questions are
alpaca records ({"instruction", "input", "output"}, one per line). Standard library only.
"""

import argparse
import json
import shutil
import subprocess
import sys
import textwrap

MAX_NEW_TOKENS = 48


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--questions", required=True, help="alpaca JSONL that was not trained on")
    parser.add_argument("--count", type=int, default=4, help="questions to show")
    return parser.parse_args()


def call(binary, *arguments):
    """The JSON value a lora-dist command prints. Its own error line is enough when it fails."""
    done = subprocess.run([binary, *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def prompt_of(record):
    return "\n".join(part for part in (record["instruction"], record.get("input", "")) if part)


def spread(items, count):
    """`count` items from all over the list: neighbours are often alike."""
    step = max(1, len(items) // count)
    return items[::step][:count]


def print_side_by_side(left, right, width):
    column = (width - 3) // 2
    rows = [textwrap.wrap(" ".join(text.split()), column) or ["(nothing)"] for text in (left, right)]
    for i in range(max(map(len, rows))):
        cells = [lines[i] if i < len(lines) else "" for lines in rows]
        print(f"{cells[0]:<{column}} | {cells[1]}".rstrip())


def main():
    options = parse_arguments()
    with open(options.questions, encoding="utf-8") as file:
        records = [json.loads(line) for line in file if line.strip()]
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    sides = [["--base", options.base], ["--base", options.base, "--adapter", options.adapter]]

    print(f"\n{len(records)} held-out questions, loss per token (lower is better):")
    for name, side in zip(("base", "base + adapter"), sides):
        scores = call(options.binary, "evaluate", *side, "--data", options.questions)
        print(f"  {name:<15} loss {scores['loss']:.3f}   perplexity {scores['perplexity']:.1f}")

    print()
    print_side_by_side("BASE", "BASE + ADAPTER", width)
    for record in spread(records, options.count):
        print("-" * width)
        print(textwrap.fill("Q: " + " ".join(prompt_of(record).split()), width))
        print(textwrap.fill("expected: " + " ".join(record["output"].split()), width))
        print_side_by_side(*(call(options.binary, "generate", *side, "--prompt", prompt_of(record),
                                  "--max-new-tokens", str(MAX_NEW_TOKENS))["text"] for side in sides), width)
    print("-" * width)


if __name__ == "__main__":
    main()
