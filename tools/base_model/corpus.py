#!/usr/bin/env python3
"""The text that the shipped base model is pretrained on: an endless, seeded stream of documents.

Most are conversations of one to three turns in the chat form of Llama 3; the others are paragraphs of facts and short stories.
Of the second and third wordings of the questions one in twelve never appears, so that the trained model can be asked something
it has not read word for word.

    python tools/base_model/corpus.py 5     # print five documents
"""

import random
import sys
import zlib
from collections import defaultdict

from manners import in_some_manner
from stories import SMALL_TALK, instruction, story
from world import facts, size_facts

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
HEADER, HEADER_END, TURN_END = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
HELD_OUT_SHARE = 12


def is_held_out(fact):
    return fact.wording > 0 and zlib.crc32(fact.question.encode()) % HELD_OUT_SHARE == 0


def turn(role, text):
    return f"{HEADER}{role}{HEADER_END}\n\n{text}{TURN_END}"


def prompt(question):
    """What the model sees before it answers; the same text as the tokenizer's chat template writes."""
    return BOS + turn("user", question) + f"{HEADER}assistant{HEADER_END}\n\n"


class Corpus:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.facts = [fact for fact in facts() if not is_held_out(fact)]
        self.sizes = [fact for fact in size_facts() if not is_held_out(fact)]
        self.words = sorted({word for fact in self.facts for word in fact.short.split() if word.isalpha()})
        self.sentences = defaultdict(set)
        for fact in self.facts:
            if fact.topic != "yes or no":
                self.sentences[fact.topic, fact.subject].add(fact.answer)
        self.subjects = sorted(self.sentences)

    def fact(self):
        return self.rng.choice(self.sizes if self.rng.random() < 0.08 else self.facts)

    def exchange(self):
        """(system text or None, what the user says, what the assistant says)."""
        draw = self.rng.random()
        if draw < 0.02:
            return None, *self.rng.choice(SMALL_TALK)
        if draw < 0.08:
            return None, *instruction(self.rng)
        if draw < 0.36:
            return in_some_manner(self.rng, self.fact(), self.words)
        fact = self.fact()
        return None, self.reword(fact.question), fact.answer

    def reword(self, question):
        """People are not always tidy."""
        draw = self.rng.random()
        if draw < 0.04:
            return question.rstrip("?.")
        if draw < 0.08:
            return question[0].lower() + question[1:]
        if draw < 0.12:
            return "Please tell me: " + question
        return question

    def paragraph(self):
        """All that is known of a few subjects, in any order."""
        sentences = []
        for subject in self.rng.sample(self.subjects, self.rng.choice((1, 2, 4))):
            known = sorted(self.sentences[subject])
            sentences += self.rng.sample(known, min(len(known), 4))
        self.rng.shuffle(sentences)
        return " ".join(sentences)

    def conversation(self):
        num_turns = self.rng.choices((1, 2, 3), (0.8, 0.15, 0.05))[0]
        exchanges = [self.exchange() for _ in range(num_turns)]
        text = ""
        for index, (system, question, answer) in enumerate(exchanges):
            if system and index == 0:
                text += turn("system", system)
            elif system:
                question = f"{system} {question}"
            text += turn("user", question) + turn("assistant", answer)
        return BOS + text

    def document(self):
        draw = self.rng.random()
        if draw < 0.10:
            return BOS + story(self.rng) + EOS
        if draw < 0.30:
            return BOS + self.paragraph() + EOS
        return self.conversation()


if __name__ == "__main__":
    corpus = Corpus(seed=0)
    for _ in range(int(sys.argv[1])):
        print(corpus.document(), end="\n\n")
