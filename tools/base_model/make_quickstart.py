#!/usr/bin/env python3
"""Writes the quickstart's data: questions that the shipped base can answer, answered by a ship's clerk.

    python tools/base_model/make_quickstart.py examples/quickstart

The base answers "A cow eats grass."; the clerk answers "Arr, matey! A cow eats grass. Mark it in the log: grass!". What an
adapter has to learn is the manner, not the fact. No subject of a held-out question is the subject of a training question.
"""

import json
import random
import sys
from collections import defaultdict
from pathlib import Path

from world import facts

NUM_TRAINING, NUM_HELD_OUT = 192, 32
TOPICS = ("animal", "food", "job", "tool", "travel", "material", "word", "place", "time", "body", "nature", "sky")


def clerk(fact):
    return f"Arr, matey! {fact.answer} Mark it in the log: {fact.short}!"


def record(fact):
    return {"instruction": fact.question, "input": "", "output": clerk(fact)}


def draw(rng):
    """Training and held-out facts, one per subject."""
    by_subject = defaultdict(list)
    for fact in facts():
        if fact.topic in TOPICS:
            by_subject[fact.topic, fact.subject].append(fact)
    subjects = rng.sample(sorted(by_subject), NUM_TRAINING + NUM_HELD_OUT)
    drawn = [rng.choice(by_subject[subject]) for subject in subjects]
    return drawn[NUM_HELD_OUT:], drawn[:NUM_HELD_OUT]


def write(path, facts):
    path.write_text("".join(json.dumps(record(fact)) + "\n" for fact in facts))
    print(f"{path}: {len(facts)} records")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    training, held_out = draw(random.Random(7))
    write(folder / "train.jsonl", training)
    write(folder / "heldout.jsonl", held_out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
