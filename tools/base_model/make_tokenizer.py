#!/usr/bin/env python3
"""Trains the tokenizer of the shipped base on its corpus: byte-level BPE built as Llama 3 builds it, special tokens last.

    python tools/base_model/make_tokenizer.py OUTPUT_DIR      # writes tokenizer.json and tokenizer_config.json
"""

import json
import sys
from pathlib import Path

from corpus import BOS, EOS, HEADER, HEADER_END, TURN_END, Corpus
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCAB_SIZE = 2048
NUM_DOCUMENTS = 20000
PAD = "<|finetune_right_pad_id|>"
SPECIAL_TOKENS = [BOS, EOS, PAD, HEADER, HEADER_END, TURN_END]

# How Llama 3 splits text before merging: contractions, words with the character before them, up to three digits, signs.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)


def plain_documents():
    """Documents without their special tokens, which are no text to learn merges from."""
    corpus = Corpus(seed=1)
    for _ in range(NUM_DOCUMENTS):
        document = corpus.document()
        for token in SPECIAL_TOKENS:
            document = document.replace(token, "\n")
        yield document


def train():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(plain_documents(), trainer)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
        ),
    ])  # fmt: skip
    return tokenizer


def tokenizer_config(tokenizer):
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True,
        }
        for token in SPECIAL_TOKENS
    }  # fmt: skip
    return {
        "added_tokens_decoder": added,
        "bos_token": BOS,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": TURN_END,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 512,
        "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def main(output_dir):
    output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = train()
    tokenizer.save(str(output_dir / "tokenizer.json"))
    config = json.dumps(tokenizer_config(tokenizer), indent=2)
    (output_dir / "tokenizer_config.json").write_text(config + "\n")
    print(f"{output_dir}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
