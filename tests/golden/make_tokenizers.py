#!/usr/bin/env python3
"""Trains small tokenizers with the pipelines of the model families and stores what Hugging Face's `tokenizers` does with
several hundred texts: tests/golden/tokenizers/<family>/{tokenizer.json, tokenizer_config.json, cases.json} and texts.json.

Usage: make_tokenizers.py            (needs tokenizers and transformers; versions are written into cases.json)

The settings are those of the published tokenizer.json of each family; only vocabulary and merges are our own.
"""

import json
import pathlib
import random

import tokenizers
import transformers
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

ROOT = pathlib.Path(__file__).parent / "tokenizers"
VOCAB_SIZE = 700

CORPUS = """
The quick brown fox jumps over the lazy dog. It's what they'd do, isn't it? We'll see; I've been there, you're not.
Training a small adapter on top of a frozen base model needs little memory, and the adapter's file is small too.
An instruction describes a task. Write a response that appropriately completes the request. ### Response: ### Instruction:
In 2024 there were 1234567 samples, 3.14159 percent of 100000, at 12:30 on 01/02/2023. Version 2.11.0, port 29500.
def add(a, b):\n    return a + b\n\nfor i in range(10):\n\tif i % 2 == 0:\n\t\tprint(f"{i:>4}", end='\\n')\n
int main() { std::vector<int> v = {1, 2, 3}; return v.size() > 2 ? 0 : 1; }  // comment
<html><body class="x">&nbsp;text</body></html>   {"key": [1, 2.5, null, true]}
劳动合同到期不续签有没有补偿？依据《劳动合同法》第四十四条，劳动合同期满终止，用人单位应当支付经济补偿。
试用期最长可以多久？劳动合同期限三个月以上不满一年的，试用期不得超过一个月。员工主动辞职有经济补偿吗？
您可通过手机银行首页点击“我的理财”进入持仓页面，选择对应产品后点击“赎回”按钮完成操作。请优化以下简历段落。
自然语言处理研究员负责文本分类模型开发，使用BERT进行微调，在10万条标注语料上准确率达92%。
Größe, Straße, Übermut und Ärger. Où est l'élève? Garçon, ça va très bien. El niño comió piñas en São Paulo, não é?
Быстрая коричневая лиса прыгает через ленивую собаку. Η γρήγορη αλεπού πηδάει. שלום עולם. مرحبا بالعالم.
日本語のテキストをトークンに分けます。東京タワー、カタカナ、ひらがな。한국어 문장도 있습니다. हिन्दी में एक वाक्य।
I ❤️ emoji 😀😃 👍🏽 👨‍👩‍👧‍👦 🇩🇪 🎉🎉🎉 and math ∑∫√≤≥ ½ ² ³ x̄ é ﬁ Å.
""".strip().split("\n") * 3

HAND_WRITTEN = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n", "\t", "\r\n", "a\nb", "a \n b", "a\n\n\nb", " \n \n ", "    if x:\n        y = 1\n",
    "Hello, world!", "hello world", " hello", "Hello  world", "Hello   world  ", "It's", "IT'S I'VE WE'LL they'd", "don't DON'T 'tis",
    "1", "12", "123", "1234", "1234567890", "3.14", "1,000,000", "٣٤٥", "Ⅷ ½ ²", "a1b2c3", "0x1F600",
    "劳动合同", "劳动合同到期不续签有没有补偿？", "请根据'自然语言处理研究员'岗位要求,优化以下简历段落", "用户：员工主动辞职有经济补偿吗？\n律师：依据第三十八条",
    "《劳动合同法》第四十四条", "中文 English 混合 text 123", "龘靐齉", "𠮷野家", "　全角空格　",
    "😀", "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪🇫🇷", "❤️", "a😀b", "🤗🤗", "\U0001fae8",
    "e\u0301", "é", "e\u0301\u0323", "A\u030a", "\u212b", "ﬁ", "ﬀ", "①", "ｶﾞ", "ガ", "\u1e9b\u0323", "\uac00", "\u1100\u1161", "x\u0304",
    "\u200b", "a\u200bb", "\u00a0", "a\u00a0b", "\u3000", "\u2028", "\x85", "\x0b\x0c", "\x00", "\x7f", "\ufeffabc", "\u180e",
    "İstanbul", "ΣΊΣΥΦΟΣ", "ẞß", "__init__", "snake_case", "CamelCase", "a-b_c.d/e\\f", "C++ #include <vector>", "foo(bar)[0]{1}",
    "...", "!!!", "?!?!", "--- *** ###", "=> -> != <= >=", "$100 €50 £20 ¥1000", "a@b.c https://x.y/z?q=1&r=2",
    "▁", "▁▁a", "a▁b", "Ġ", "ĠaĊ", "<0x41>", "<unk>", "a<unk>b", "<s>", "</s>", "<s>a</s>b", " <s> a </s> ", "a <s>", "<s> ", "<pad>",
    "<|im_start|>user\nhi<|im_end|>\n", "a<|im_start|>", "<|im_start|><|im_end|>", "<|im_start", "x <|im_end|>  y",
    "<|begin_of_text|>a", "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|endoftext|>", "a<|endoftext|>b <|endoftext|> c",
    "<|user|>\nHi <|end|>\n<|assistant|>\n", "<|end|>   x", "<|end|>\n\n<|user|>  \n", "x <|end|>", "<start_of_turn>user\nHi<end_of_turn>\n",
    "<mask>", "a <mask> b", "a  <mask>  b", "word inword word-word word", "the word", "swords", "\n\n\n\na\n\n", "a\n\n", "\t\t\tx",
    "The quick brown fox jumps over the lazy dog.", "It is 12:30 on 01/02/2023.", "def add(a, b):\n    return a + b\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab", " " * 40, "\n" * 12, "1" * 40, "的" * 30,
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nSay hi\n\n### Response:\nhi",
    "[INST] Hi [/INST] Hello ", "<<SYS>>\nBe brief.\n<</SYS>>\n\nHi",
]


def random_texts():
    rng = random.Random(7)
    ranges = [(0x20, 0x7E)] * 6 + [(0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x45F), (0x5D0, 0x5EA), (0x620, 0x64A),
                                   (0x900, 0x939), (0xE01, 0xE3A), (0x1100, 0x1112), (0x2000, 0x206F), (0x2190, 0x21FF), (0x3040, 0x30FF),
                                   (0x4E00, 0x4FFF), (0xAC00, 0xAFFF), (0xFF01, 0xFF5E), (0x1F300, 0x1F64F), (0x9, 0xD), (0x20, 0x20)]
    words = " ".join(CORPUS).split(" ")
    for _ in range(110):
        yield "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 24)))
    for _ in range(70):
        yield rng.choice(["", " ", "\n"]) + rng.choice([" ", "  ", "\n", "", " \t"]).join(rng.choice(words) for _ in range(rng.randint(2, 8)))


def train_byte_level(pattern, special, normalizer=None):
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pattern
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=[], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer


def split_and_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])


LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                  r"\s+(?!\S)|\s+")
QWEN_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")


def edit(tokenizer, change):
    """Changes what the Python classes do not offer."""
    state = json.loads(tokenizer.to_str())
    change(state)
    return Tokenizer.from_str(json.dumps(state))


def llama3():
    tokenizer = train_byte_level(split_and_bytes(LLAMA3_PATTERN), [])
    # A word whose merges are missing: only ignore_merges finds it whole.
    def change(state):
        state["model"]["ignore_merges"] = True
        state["model"]["vocab"]["Ġinword"] = len(state["model"]["vocab"])
    tokenizer = edit(tokenizer, change)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in
                                  ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), bos_template("<|begin_of_text|>", tokenizer)])
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "tokenizer_class": "PreTrainedTokenizerFast"}


def qwen2():
    tokenizer = train_byte_level(split_and_bytes(QWEN_PATTERN), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "tokenizer_class": "Qwen2Tokenizer"}


def gpt2():
    tokenizer = train_byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    # The old form of merges: one string each.
    def change(state):
        state["model"]["merges"] = [" ".join(m) for m in state["model"]["merges"]]
    text = json.loads(tokenizer.to_str())
    change(text)
    return (Tokenizer.from_str(json.dumps(text)), {"bos_token": "<|endoftext|>", "eos_token": {"__type": "AddedToken", "content": "<|endoftext|>"}},
            text)


def train_sentence_pieces(specials, extra):
    """A SentencePiece-like vocabulary: specials, 256 bytes, merged pieces. Words are cut at spaces for the training only."""
    trainee = Tokenizer(models.BPE(unk_token="<unk>"))
    trainee.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    rare = set("龘靐齉𠮷")
    alphabet = {c for line in CORPUS for c in line if c not in rare}
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=[], show_progress=False, limit_alphabet=260,
                                  initial_alphabet=sorted(c for c in alphabet if ord(c) < 127))
    trainee.train_from_iterator(CORPUS, trainer)
    state = json.loads(trainee.to_str())["model"]
    names = specials + extra + [f"<0x{b:02X}>" for b in range(256)]
    pieces = sorted(state["vocab"], key=state["vocab"].get)
    vocab = {name: i for i, name in enumerate(names + [p for p in pieces if p not in names])}
    merges = [tuple(m) for m in state["merges"]]
    # Runs of spaces merge with each other in the real vocabularies.
    for n in (2, 4, 8):
        vocab.setdefault("▁" * n, len(vocab))
        merges.append(("▁" * (n // 2), "▁" * (n // 2)))
    return models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def llama_decoder():
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def bos_template(bos, tokenizer):
    return processors.TemplateProcessing(single=f"{bos}:0 $A:0", pair=f"{bos}:0 $A:0 {bos}:1 $B:1",
                                         special_tokens=[(bos, tokenizer.token_to_id(bos))])


def llama2_legacy():
    tokenizer = Tokenizer(train_sentence_pieces(["<unk>", "<s>", "</s>"], []))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = llama_decoder()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    # Normalized added tokens are looked for in the normalized text and decoded in their normalized form.
    tokenizer.add_tokens([AddedToken("word", normalized=True, single_word=True)])
    tokenizer.post_processor = bos_template("<s>", tokenizer)
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True, "tokenizer_class": "LlamaTokenizer"}


def llama2():
    tokenizer = Tokenizer(train_sentence_pieces(["<unk>", "<s>", "</s>"], []))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.decoder = llama_decoder()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_special_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    tokenizer.post_processor = bos_template("<s>", tokenizer)
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": False, "tokenizer_class": "LlamaTokenizer"}


def phi3():
    tokenizer = Tokenizer(train_sentence_pieces(["<unk>", "<s>", "</s>"], []))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = llama_decoder()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>")])
    tokenizer.add_tokens([AddedToken("</s>", normalized=False, rstrip=True)])
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False, rstrip=True)
                                  for t in ("<|assistant|>", "<|system|>", "<|end|>", "<|user|>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
    return tokenizer, {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "tokenizer_class": "LlamaTokenizer"}


def gemma():
    runs = ["\n" * n for n in range(2, 6)]
    tokenizer = Tokenizer(train_sentence_pieces(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], ["<start_of_turn>", "<end_of_turn>"] + runs))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t in ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ["<mask>"] + runs])
    tokenizer.post_processor = bos_template("<bos>", tokenizer)
    return tokenizer, {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "tokenizer_class": "GemmaTokenizer"}


def clip():
    """Not a language model's, but it has what the others lack: lower case, a removed pattern, an end-of-word suffix, RoBERTa's frame."""
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", show_progress=False, initial_alphabet=alphabet,
                                                              special_tokens=["<|startoftext|>", "<|endoftext|>"]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False)
    return tokenizer, {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"}


def parts():
    """The remaining components in one pipeline."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.NFKC(), normalizers.Strip(), normalizers.NFD()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("-", "merged_with_next"), pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=500, limit_alphabet=120, show_progress=False, special_tokens=["[UNK]"]))
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, {"unk_token": "[UNK]"}


def byte_level_prefix():
    """ByteLevel with a prefix space, without a decoder: pieces are joined by spaces."""
    tokenizer = train_byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False),
                                                          pre_tokenizers.ByteLevel(add_prefix_space=True)]), ["<s>"])
    state = json.loads(tokenizer.to_str())
    state["decoder"] = None
    return Tokenizer.from_str(json.dumps(state)), {"bos_token": "<s>"}


def write(name, tokenizer, config, texts, state=None):
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    state = state or json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False, separators=(",", ":")))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    cases = {"made_with": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}", "cases": []}
    for text in texts:
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        special = tokenizer.encode(text, add_special_tokens=True).ids
        case = {"ids": plain, "special": special, "text": tokenizer.decode(plain, skip_special_tokens=False),
                "skipped": tokenizer.decode(plain, skip_special_tokens=True)}
        if case["text"] == text:
            del case["text"]  # the usual case: the text comes back as it was
        if case["skipped"] == case.get("text", text):
            del case["skipped"]
        cases["cases"].append(case)
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")).replace('{"ids"', '\n{"ids"'))


def main():
    texts = HAND_WRITTEN + list(random_texts())
    ROOT.mkdir(exist_ok=True)
    (ROOT / "texts.json").write_text(json.dumps(texts, ensure_ascii=True, indent=0))
    for make in (llama3, qwen2, gpt2, llama2_legacy, llama2, phi3, gemma, clip, parts, byte_level_prefix):
        tokenizer, config, *state = make()
        write(make.__name__, tokenizer, config, texts, *state)
    print(f"{len(texts)} texts, {sum(f.stat().st_size for f in ROOT.rglob('*.json'))} bytes")


if __name__ == "__main__":
    main()
