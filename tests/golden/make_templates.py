#!/usr/bin/env python3
"""Renders conversations with the families' own chat templates and stores text, ids and mask: tests/golden/templates.json.

Usage: make_templates.py             (after make_tokenizers.py; needs transformers; its version is written into the file)

Ids are those of transformers' apply_chat_template. The mask comes from character offsets: an answer reaches from where the
rendered prompt before it ends to the end of its end-of-turn token. Alpaca and plain have no chat template: their text is
written out here, their ids are those of tokenizing it whole. EXECUTED are chat templates without a built-in layout: they are executed.
"""

import json
import pathlib

import transformers

HERE = pathlib.Path(__file__).parent

LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
          "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
          "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
          "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
          "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
          "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
          "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
          "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
GEMMA = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}{% set loop_messages = messages[1:] %}"
         "{% else %}{% set first = '' %}{% set loop_messages = messages %}{% endif %}{% for message in loop_messages %}"
         "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
         "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}")
PHI3 = ("{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")
FAMILIES = {"llama3": (LLAMA3, "<|eot_id|>", ["llama3"]), "chatml": (CHATML, "<|im_end|>", ["qwen2"]),
            "llama2": (LLAMA2, "</s>", ["llama2_legacy", "llama2"]), "gemma": (GEMMA, "<end_of_turn>", ["gemma"]),
            "phi3": (PHI3, "<|end|>", ["phi3"])}

# Forms that no built-in layout has: chat templates that are executed. In the manner of the models they are named after.
CHATML_BOS = "{{ bos_token }}" + CHATML
DEFAULT_SYSTEM = ("{%- if messages[0]['role'] == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n"
                  "{%- else %}\n    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}\n{%- endif %}\n"
                  "{%- for message in messages %}\n    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) or "
                  "(message.role == \"assistant\") %}\n        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
                  "    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n")
MISTRAL_V1 = ("{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation "
              "roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
              "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}")
MISTRAL_V3 = ("{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set system_message = messages[0][\"content\"] %}\n    {%- set loop_messages = messages[1:] %}\n"
              "{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n{%- set ns = namespace() %}\n{%- set ns.index = 0 %}\n"
              "{%- for message in loop_messages %}\n    {%- if (message[\"role\"] == \"user\") != (ns.index % 2 == 0) %}\n"
              "        {{- raise_exception(\"roles must alternate\") }}\n    {%- endif %}\n    {%- set ns.index = ns.index + 1 %}\n{%- endfor %}\n"
              "{{- bos_token }}\n{%- for message in loop_messages %}\n    {%- if message[\"role\"] == \"user\" %}\n"
              "        {%- if loop.last and system_message is defined %}\n            {{- \"[INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}\n"
              "        {%- else %}\n            {{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}\n        {%- endif %}\n"
              "    {%- elif message[\"role\"] == \"assistant\" %}\n        {{- \" \" + message[\"content\"]|trim + eos_token}}\n    {%- endif %}\n{%- endfor %}\n")
MISTRAL_TEKKEN = ("{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'user' %}{{- '[INST]' + message['content'] + '[/INST]' }}"
                  "{%- elif message['role'] == 'system' %}{{- '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}"
                  "{%- elif message['role'] == 'assistant' %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}")
PHI4 = ("{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}"
        "{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}"
        "{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}")
PHI4_MINI = ("{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|tool|>' }}"
             "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}")
THINKING = ("{%- set ns = namespace(last=messages|length - 1) %}{%- for message in messages[::-1] %}{%- if message.role == 'user' and ns.last == messages|length - 1 %}"
            "{%- set ns.last = messages|length - 1 - loop.index0 %}{%- endif %}{%- endfor %}{%- for message in messages %}"
            "{%- set content = message.content.split('</think>')[-1].lstrip('\\n') if message.role == 'assistant' else message.content %}"
            "{{- '<|im_start|>' + message.role + '\\n' }}{%- if message.role == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
            "{{- content + '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")
VICUNA = ("{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}{% endif %}{% for message in messages %}{% if message['role'] == 'user' %}"
          "{{ 'USER: ' + message['content'].strip() + ' ' }}{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + message['content'].strip() + eos_token }}"
          "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")
EXECUTED = {"chatml_bos": (CHATML_BOS, "<|im_end|>", ["qwen2"]), "default_system": (DEFAULT_SYSTEM, "<|im_end|>", ["qwen2"]),
            "mistral_v1": (MISTRAL_V1, "</s>", ["llama2", "llama2_legacy"]), "mistral_v3": (MISTRAL_V3, "</s>", ["llama2", "llama2_legacy"]),
            "mistral_tekken": (MISTRAL_TEKKEN, "</s>", ["llama2"]), "phi4": (PHI4, "<|im_end|>", ["qwen2"]),
            "phi4_mini": (PHI4_MINI, "<|end|>", ["phi3"]), "thinking": (THINKING, "<|im_end|>", ["qwen2"]),
            "vicuna": (VICUNA, "</s>", ["llama2", "llama2_legacy"])}
WITHOUT_SYSTEM = {"mistral_v1", "mistral_v3"}  # leave it out of a conversation that has its answer
MADE_BY_TEMPLATE = "<think>\n\n</think>\n\n"  # in front of an answer, not learnt

CONVERSATIONS = [
    [("user", "Hi"), ("assistant", "Hello!")],
    [("system", "You are a lawyer."), ("user", "员工主动辞职有经济补偿吗？"), ("assistant", "依据《劳动合同法》第三十八条，无需支付。")],
    [("user", "  What is 12 + 30?\n"), ("assistant", "\nIt is 42.  "), ("user", "def f(x):"), ("assistant", "    return x\n\n")],
    [("system", "Be brief."), ("user", "One"), ("assistant", "1"), ("user", "Two"), ("assistant", "2"), ("user", "Three 😀"), ("assistant", "é3")],
    [("user", "Write code"), ("assistant", "```python\nprint('hi')\n```")],
]

INTRO_INPUT = ("Below is an instruction that describes a task, paired with an input that provides further context. Write a response that "
               "appropriately completes the request.")
INTRO = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
RECORDS = [  # system, instruction, input, output
    ("", "请根据'自然语言处理研究员'岗位要求,优化以下简历段落", "负责文本分类模型开发,使用BERT进行微调...", "建议具体说明数据规模"),
    ("", "Name the file", "", "It's small."),
    ("You are a lawyer.", "What now?", "the task", "Wait, 30 days."),
]


def load(name):
    folder = HERE / "tokenizers" / name
    config = json.loads((folder / "tokenizer_config.json").read_text())
    special = {k: v["content"] if isinstance(v, dict) else v for k, v in config.items() if k in ("bos_token", "eos_token")}
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **special)


def masked(tokenizer, encoding, spans):
    """A token on the border counts to the answer, but not a marker that swallowed white space of it (Phi-3's rstrip)."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return [int(any(end > a and begin < b and not (token in special and begin < a) for a, b in spans))
            for token, (begin, end) in zip(encoding["input_ids"], encoding["offset_mapping"])]


def chat_case(name, tokenizer_name, conversation):
    template, end_of_turn, _ = (FAMILIES | EXECUTED)[name]
    tokenizer = load(tokenizer_name)
    messages = [{"role": role, "content": content} for role, content in conversation]
    render = lambda m, prompt: tokenizer.apply_chat_template(m, chat_template=template, tokenize=False, add_generation_prompt=prompt)
    text = render(messages, False)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = render(messages[:i], True)
            # A template that moves the system text to the last question: its answers follow a space.
            begin = len(prompt) if text.startswith(prompt) else text.index(" " + message["content"].strip(), spans[-1][1] if spans else 0)
            begin += len(MADE_BY_TEMPLATE) if text.startswith(MADE_BY_TEMPLATE, begin) else 0
            spans.append((begin, text.index(end_of_turn, begin) + len(end_of_turn)))
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    prompt = render(messages[:-1], True)
    return {"template": name, "tokenizer": tokenizer_name, "messages": messages, "text": text, "ids": encoding["input_ids"],
            "loss_mask": masked(tokenizer, encoding, spans), "prompt_ids": tokenizer(prompt, add_special_tokens=False)["input_ids"]}


def record_case(name, tokenizer_name, record):
    system, instruction, given, output = record
    tokenizer = load(tokenizer_name)
    if name == "alpaca":
        prompt = (system or (INTRO_INPUT if given else INTRO)) + "\n\n### Instruction:\n" + instruction + "\n\n"
        prompt += (f"### Input:\n{given}\n\n" if given else "") + "### Response:\n"
        text, begin = prompt + output, len(prompt)
    else:
        prompt = (system + "\n" if system else "") + instruction + ("\n" + given if given else "") + "\n"
        text, begin = prompt + output, len(prompt) - 1
    encoding = tokenizer(text, return_offsets_mapping=True)
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": instruction, "input": given}, {"role": "assistant", "content": output}]
    return {"template": name, "tokenizer": tokenizer_name, "messages": messages, "text": text,
            "ids": encoding["input_ids"] + [tokenizer.eos_token_id], "loss_mask": masked(tokenizer, encoding, [(begin, len(text))]) + [1],
            "prompt_ids": tokenizer(prompt)["input_ids"]}


def main():
    cases = [chat_case(name, tokenizer, conversation) for name, family in FAMILIES.items() for tokenizer in family[2] for conversation in CONVERSATIONS]
    cases += [chat_case(name, tokenizer, conversation) for name, form in EXECUTED.items() for tokenizer in form[2] for conversation in CONVERSATIONS
              if not (name in WITHOUT_SYSTEM and conversation[0][0] == "system")]
    cases += [record_case(name, tokenizer, record) for name in ("alpaca", "plain") for tokenizer in ("llama3", "llama2_legacy", "qwen2") for record in RECORDS]
    chat_templates = {name: form[0] for name, form in (FAMILIES | EXECUTED).items()}
    result = {"made_with": f"transformers {transformers.__version__}", "chat_templates": chat_templates, "cases": cases}
    (HERE / "templates.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")).replace('{"template"', '\n{"template"'))
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
