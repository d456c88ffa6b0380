#!/usr/bin/env python3
"""Lays conversations out with every chat template of a folder, by lora-dist and by transformers, and compares the ids.

Usage: compare_chat_templates.py PROGRAM TOKENIZER_FOLDER TEMPLATES_FOLDER

TOKENIZER_FOLDER holds tokenizer.json and tokenizer_config.json (tests/golden/tokenizers/llama3, say), TEMPLATES_FOLDER files
*.jinja: those of llama.cpp's models/templates or of trl/chat_templates. Prints each template that differs or is not executed.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import transformers

CONVERSATIONS = [
    [("user", "Hi"), ("assistant", "Hello!")],
    [("system", "You are a lawyer."), ("user", "员工主动辞职？"), ("assistant", "依据《劳动合同法》")],
    [("user", "  What is 12 + 30?\n"), ("assistant", "\nIt is 42.  "), ("user", "def f(x):"), ("assistant", "    return x\n\n")],
    [("system", "Be brief."), ("user", "One"), ("assistant", "1"), ("user", "Two"), ("assistant", "2"), ("user", "Three 😀"), ("assistant", "é3")],
    [("user", "Q"), ("assistant", "<think>\nhm\n</think>\n\nA"), ("user", "Q2"), ("assistant", "<think>\nhm2\n</think>\n\nA2")],
]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": 'Of "now"', "parameters": {
    "type": "object", "properties": {"where": {"type": "string", "description": "Städte"}, "a": {"type": "integer"}}, "required": ["where"]}}}]
CALL = {"id": "call12345", "type": "function", "function": {"name": "weather", "arguments": {"where": "Oslo", "a": 1}}}
RESULT = {"role": "tool", "tool_call_id": "call12345", "name": "weather", "content": '{"t": 5}'}
RECORDS = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}], "tools": TOOLS},
    {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
     "tools": TOOLS, "documents": [{"title": "T", "text": "Body"}]},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT,
                  {"role": "assistant", "content": "Cold."}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT,
                  {"role": "assistant", "content": "Cold.", "reasoning_content": "so"}, {"role": "user", "content": "And?"},
                  {"role": "assistant", "content": "Warm", "reasoning_content": "hm"}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "reasoning_content": "why"}]},
]
DATE = "26 Jul 2024"


def main():
    program, tokenizer_folder, templates_folder = sys.argv[1:]
    config = json.loads((pathlib.Path(tokenizer_folder) / "tokenizer_config.json").read_text())
    special = {k: v["content"] if isinstance(v, dict) else v for k, v in config.items() if k in ("bos_token", "eos_token", "pad_token")}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(pathlib.Path(tokenizer_folder) / "tokenizer.json"), **special)
    equal = other = refused = 0
    for path in sorted(pathlib.Path(templates_folder).glob("*.jinja")):
        text = path.read_text()
        with tempfile.TemporaryDirectory() as folder:
            base = pathlib.Path(folder)
            shutil.copy(pathlib.Path(tokenizer_folder) / "tokenizer.json", base)
            (base / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "chat_template"}))
            (base / "chat_template.jinja").write_text(text)
            plain = [{"messages": [{"role": role, "content": content} for role, content in turns]} for turns in CONVERSATIONS]
            for conversation in plain + RECORDS:
                try:
                    rendered = tokenizer.apply_chat_template(conversation["messages"], tools=conversation.get("tools"), tokenize=False,
                                                             documents=conversation.get("documents"), chat_template=text, date_string=DATE)
                except Exception as error:  # any fault of the template is its answer
                    rendered = error
                (base / "m.jsonl").write_text(json.dumps(conversation) + "\n")
                run = subprocess.run([program, "tokenize", "--base", str(base), "--json", "--file", str(base / "m.jsonl")],
                                     capture_output=True, text=True)
                record = json.loads(run.stdout) if run.returncode == 0 else None
                warnings = [line for line in run.stderr.splitlines() if "end token" not in line]
                if isinstance(rendered, Exception):
                    good = record is None or bool(warnings)
                    refused += good
                else:
                    expected = tokenizer(rendered, add_special_tokens=False)["input_ids"]
                    good = record is not None and record["ids"] in (expected, expected + [tokenizer.eos_token_id])
                    equal += good
                    if good and sum(record["loss_mask"]) == 0:
                        print(f"{path.name}: nothing is learnt of {conversation}")
                if not good:
                    other += 1
                    print(f"{path.name}: {len(conversation['messages'])} turns: {' '.join(warnings) or run.stderr.strip()}"[:300])
    print(f"{equal} equal, {refused} refused by both or laid out with a warning, {other} other")


if __name__ == "__main__":
    main()
