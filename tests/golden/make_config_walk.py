#!/usr/bin/env python3
"""Makes tests/golden/config_walk.json: every key of config.json and adapter_config.json, and what the reference does with it.

Walks over all fields of transformers' config classes of the seven families (each key with each family, its own or not)
and over all fields of PEFT's LoraConfig. For a key of config.json the effect of another value, of null and of absence is
measured on a tiny model; RoPE's variants are kept as frequencies. config_walk_test.cpp reads the file and asks that what
has an effect changes our model or is refused, and that what has none is listed here with the reason.

    python tests/golden/make_config_walk.py

Needs torch, transformers and peft. A new release of them may bring keys without a judgement: the script names them.
"""

import dataclasses
import json
import warnings
from pathlib import Path

import peft
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

OUT = Path(__file__).parent / "config_walk.json"
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2"]
TOKENS = 40  # longer than TINY's windows

TINY = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}  # fmt: skip
TINY_OF = {
    "mistral": {"sliding_window": 9},
    "qwen2": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1, "head_dim": 8},
    "phi3": {"sliding_window": 9, "original_max_position_embeddings": 32},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 9, "query_pre_attn_scalar": 8},
}

# Another value for each key; keys of one family are tried with all.
VALUES = {
    "vocab_size": 72, "hidden_size": 64, "intermediate_size": 56, "num_hidden_layers": 3, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 16, "hidden_act": "relu", "hidden_activation": "relu",
    "max_position_embeddings": 128, "rms_norm_eps": 0.1, "tie_word_embeddings": True, "attention_bias": True,
    "mlp_bias": True, "sliding_window": 5, "use_sliding_window": False, "max_window_layers": 0,
    "layer_types": ["full_attention", "sliding_attention"], "query_pre_attn_scalar": 32,
    "attn_logit_softcapping": 0.5, "final_logit_softcapping": 0.5, "use_bidirectional_attention": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}, "rope_theta": 100.0,
    "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "partial_rotary_factor": 0.5,
    "original_max_position_embeddings": 16, "attention_dropout": 0.5, "resid_pdrop": 0.5, "embd_pdrop": 0.5,
    "is_causal": False, "is_decoder": True, "is_encoder_decoder": True, "add_cross_attention": True,
    "pretraining_tp": 2, "use_cache": False, "initializer_range": 0.5, "bos_token_id": 5, "eos_token_id": [6, 7],
    "pad_token_id": 8, "sep_token_id": 9, "decoder_start_token_id": 3, "output_hidden_states": True,
    "output_attentions": True, "return_dict": False, "chunk_size_feed_forward": 2, "id2label": {"0": "a", "1": "b"},
    "label2id": {"a": 0, "b": 1}, "num_labels": 3, "problem_type": "regression", "dtype": "bfloat16",
    "torch_dtype": "bfloat16", "transformers_version": "4.30.0", "architectures": ["LlamaForSequenceClassification"],
    "per_layer_config": {"0": {"intermediate_size": 40}}, "tie_encoder_decoder": True, "name_or_path": "elsewhere",
    "task_specific_params": {"a": 1}, "finetuning_task": "x", "tokenizer_class": "X", "prefix": "x",
    "cross_attention_hidden_size": 3, "pruned_heads": {}, "torchscript": True, "temperature": 0.5,
    "_attn_implementation": "eager", "auto_map": {"AutoModel": "x.X"}, "moe_intermediate_size": 8, "num_experts": 4,
}  # fmt: skip

# Keys whose effect is measured as none in at least one family, and why that is so. A family that does use the key shows
# it in its measure.
OF_ANOTHER_FAMILY = "read by other families; this one has no such part"
REASONS = {
    "max_position_embeddings": "bounds nothing here: positions are computed; dynamic RoPE and a warning use it",
    "attention_bias": OF_ANOTHER_FAMILY, "mlp_bias": OF_ANOTHER_FAMILY, "sliding_window": OF_ANOTHER_FAMILY,
    "use_sliding_window": OF_ANOTHER_FAMILY, "max_window_layers": OF_ANOTHER_FAMILY, "layer_types": OF_ANOTHER_FAMILY,
    "query_pre_attn_scalar": OF_ANOTHER_FAMILY, "attn_logit_softcapping": OF_ANOTHER_FAMILY,
    "final_logit_softcapping": OF_ANOTHER_FAMILY, "hidden_activation": OF_ANOTHER_FAMILY,
    "hidden_act": OF_ANOTHER_FAMILY, "head_dim": OF_ANOTHER_FAMILY, "moe_intermediate_size": OF_ANOTHER_FAMILY,
    "num_experts": OF_ANOTHER_FAMILY, "resid_pdrop": OF_ANOTHER_FAMILY, "embd_pdrop": "Phi3Model has no such dropout",
    "use_bidirectional_attention": "read by Gemma alone; a model that asks for it is no causal one",
    "partial_rotary_factor": "read by Phi-3 alone; others rotate all of a head",
    "original_max_position_embeddings": "read by llama3, yarn and longrope alone",
    "rope_theta": "the older spelling, hidden by rope_parameters",
    "attention_dropout": "acts in training; a warning says that it is not applied",
    "pretraining_tp": "of transformers 4: products in slices", "use_cache": "how to generate, not what",
    "initializer_range": "of weights that no file holds", "bos_token_id": "the tokenizer's matter",
    "eos_token_id": "the tokenizer's and generation's matter", "pad_token_id": "padding is never seen",
    "sep_token_id": "unused", "decoder_start_token_id": "of encoder-decoders", "output_hidden_states": "an output more",
    "output_attentions": "an output more", "return_dict": "the form of the output",
    "chunk_size_feed_forward": "the same product in pieces", "id2label": "of classifiers", "label2id": "of classifiers",
    "num_labels": "of classifiers", "problem_type": "of classifiers", "dtype": "files say their own type",
    "torch_dtype": "files say their own type", "transformers_version": "who wrote the file",
    "architectures": "AutoModelForCausalLM goes by model_type", "tie_encoder_decoder": "of encoder-decoders",
    "name_or_path": "where the file lay", "task_specific_params": "unused", "finetuning_task": "unused",
    "tokenizer_class": "tokenizer.json says it", "prefix": "unused", "cross_attention_hidden_size": "unused",
    "pruned_heads": "empty", "torchscript": "how to run", "temperature": "of generation",
    "_attn_implementation": "how to compute", "auto_map": "code of others, never run", "is_decoder": "always one",
    "is_encoder_decoder": "unused here", "add_cross_attention": "unused here",
    "tie_word_embeddings": "tensors decide", "is_causal": "unused here", "per_layer_config": "unused here",
    "rope_scaling": "unused here", "rope_parameters": "unused here",
}  # fmt: skip

# Refused by us though the reference computes on: it would be another kind of model.
REFUSED = {
    "architectures": "a head or a mask of another kind", "is_encoder_decoder": "no decoder alone",
    "add_cross_attention": "no decoder alone", "use_bidirectional_attention": "no causal model",
    "is_causal": "no causal model", "per_layer_config": "layers of several kinds",
}  # fmt: skip

# Taken by us though the reference fails: it would ask for another form of the output alone.
ACCEPTED = {"return_dict": "the form of the output"}

LONG = [1.0 + 0.5 * i for i in range(4)]
SHORT = [1.0 + 0.1 * i for i in range(4)]
# Name: (family, keys on top of the tiny config, lengths)
ROPES = {
    "default": ("llama", {}, [8]),
    "theta at the top": ("llama", {"rope_parameters": None, "rope_theta": 500000.0}, [8]),
    "both spellings, the older wins": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, [8]),
    "both spellings, theta of the newer is lost": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
         "rope_scaling": {"rope_type": "linear", "factor": 4.0}}, [8]),
    "an empty rope_scaling": (
        "llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0}, "rope_scaling": {}}, [8]),
    "rope_scaling of kind default": (
        "llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0},
                  "rope_scaling": {"rope_type": "default"}}, [8]),
    "linear, oldest spelling": ("llama", {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.5}}, [8]),
    "rope_type before type": (
        "llama", {"rope_parameters": {"rope_type": "linear", "type": "dynamic", "factor": 2.0}}, [8, 100]),
    "dynamic": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, [8, 64, 65, 100, 1000]),
    "dynamic of qwen2": ("qwen2", {"rope_parameters": {"rope_type": "dynamic", "factor": 3.0}}, [64, 90]),
    "yarn": ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}, [8]),
    "yarn without a length": ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, [8]),
    "yarn, length at the top wins": (
        "llama", {"original_max_position_embeddings": 32,
                  "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}, [8]),
    "yarn with null factor": (
        "llama", {"rope_parameters": {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 16}}, [8]),
    "yarn with everything": (
        "mistral", {"rope_parameters": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16,
                                        "beta_fast": 20.0, "beta_slow": 2.0, "mscale": 0.7, "mscale_all_dim": 0.9,
                                        "truncate": False}}, [8]),
    "yarn with an attention factor": (
        "llama", {"rope_parameters": {"rope_type": "yarn", "factor": 8.0, "attention_factor": 1.3,
                                      "original_max_position_embeddings": 16}}, [8]),
    "llama3": (
        "llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                      "original_max_position_embeddings": 16}}, [8]),
    "llama3 without a length": (
        "llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                      }}, [8]),
    "longrope": (
        "llama", {"rope_parameters": {"rope_type": "longrope", "factor": 4.0, "short_factor": SHORT, "long_factor": LONG,
                                      "original_max_position_embeddings": 16}}, [16, 17, 60]),
    "longrope of phi3": (
        "phi3", {"rope_parameters": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}}, [32, 33, 60]),
    "longrope of phi3 as su, length in the dict is lost": (
        "phi3", {"original_max_position_embeddings": "absent", "rope_parameters": None,
                 "rope_scaling": {"type": "su", "short_factor": SHORT, "long_factor": LONG,
                                  "original_max_position_embeddings": 16}}, [17, 4097]),
    "longrope of phi3 without any length": (
        "phi3", {"original_max_position_embeddings": "absent", "max_position_embeddings": 8192,
                 "rope_scaling": {"type": "longrope", "short_factor": SHORT, "long_factor": LONG}}, [4096, 4097]),
    "longrope of phi3 as yarn": (
        "phi3", {"rope_parameters": {"rope_type": "yarn", "short_factor": SHORT, "long_factor": LONG,
                                     "attention_factor": 1.5}}, [32, 33]),
    "a share of phi3's heads": ("phi3", {"partial_rotary_factor": 0.5}, [8]),
    "a share of phi3's heads, in rope_parameters": (
        "phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}}, [8]),
    "a share of phi3's heads with longrope": (
        "phi3", {"partial_rotary_factor": 0.5,
                 "rope_scaling": {"type": "longrope", "short_factor": SHORT[:2], "long_factor": LONG[:2]}}, [32, 33]),
    "a share of llama's heads": ("llama", {"partial_rotary_factor": 0.5}, [8]),
    "a share of gemma's heads": ("gemma", {"partial_rotary_factor": 0.25}, [8]),
    "a share of llama's heads with linear": (
        "llama", {"partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 2.0}}, "refused"),
    "linear without a factor": ("llama", {"rope_scaling": {"type": "linear"}}, "refused"),
    "dynamic without a factor": ("llama", {"rope_scaling": {"type": "dynamic"}}, "refused"),
    "llama3 without low_freq_factor": ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "refused"),
    "longrope without factors": ("llama", {"rope_scaling": {"rope_type": "longrope", "factor": 8.0}}, "refused"),
    "longrope of phi3 with few factors": (
        "phi3", {"rope_scaling": {"type": "longrope", "short_factor": SHORT[:3], "long_factor": LONG}}, "refused"),
    "linear of phi3": ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "refused"),
    "an unknown kind": ("llama", {"rope_scaling": {"type": "spiral", "factor": 2.0}}, "refused"),
    "su of llama": ("llama", {"rope_scaling": {"type": "su", "factor": 2.0}}, "refused"),
    "one rotation per kind of layer": (
        "gemma2", {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0},
                                       "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}}, "refused"),
}  # fmt: skip


# ---- measuring -------------------------------------------------------------------------------------------------------


def tiny_config(family):
    return {"model_type": family, **TINY, **TINY_OF.get(family, {})}


def build(config):
    """The model of a config.json that says `config`."""
    values = json.loads(json.dumps(config))
    cls = type(AutoConfig.for_model(values.pop("model_type")))
    return AutoModelForCausalLM.from_config(
        cls.from_dict(values), dtype=torch.float32, attn_implementation="eager"
    )


def fill(model, seed=0):
    """Every tensor drawn by its name: models of the same shapes get the same values."""
    for name, weight in model.state_dict().items():
        generator = torch.Generator().manual_seed(seed + sum(map(ord, name)))
        if weight.is_floating_point():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3 + (0.8 if "norm" in name else 0.0))
    return model


@torch.no_grad()
def outcome(config):
    """(shapes, logits, logits in training), or None where the reference refuses."""
    try:
        model = fill(build(config))
        shapes = sorted((name, tuple(weight.shape)) for name, weight in model.state_dict().items())
        ids = torch.arange(TOKENS).unsqueeze(0) * 7 % 60
        logits = model.eval()(input_ids=ids, return_dict=True).logits
        torch.manual_seed(0)
        training = model.train()(input_ids=ids, return_dict=True).logits
        return shapes, logits, training
    except Exception:
        return None


def effect(before, after):
    if after is None:
        return "refused"
    if before[0] != after[0]:
        return "shapes"
    if not torch.allclose(before[1], after[1], rtol=0, atol=1e-6):
        return "logits"
    return "none" if torch.allclose(before[2], after[2], rtol=0, atol=1e-6) else "training"


def fields_of(family):
    return {field.name: field for field in dataclasses.fields(type(AutoConfig.for_model(family)))}


def default_of(field):
    """The class's own, as JSON; nothing where it is made by a function."""
    default = field.default
    if default is dataclasses.MISSING:
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    return default if isinstance(default, (int, float, str, bool, list, dict, type(None))) else None


def meaning_of_null(key, without, absent, null):
    """The effect of null against absence; "attribute" where they differ, but not within TOKENS; "absence fails" where the
    class's default does not fit the tiny model."""
    if null is None:
        return "refused"
    if absent is None:
        return "absence fails"
    values = [getattr(build(config).config, key, None) for config in (without, {**without, key: None})]
    result = effect(absent, null)
    return "attribute" if result == "none" and values[0] != values[1] else result


def walk_family(family, keys):
    tiny = tiny_config(family)
    before = outcome(tiny)
    assert before is not None, family
    fields = fields_of(family)
    entries = {}
    for key in keys:
        value = VALUES[key]
        without = {name: one for name, one in tiny.items() if name != key}
        absent, null = outcome(without), outcome({**without, key: None})
        entry = {"value": value, "effect": effect(before, outcome({**tiny, key: value}))}
        if key not in ("num_hidden_layers", "vocab_size", "hidden_size", "intermediate_size"):  # a large model
            entry["null"] = meaning_of_null(key, without, absent, null)
        if key in fields:
            entry["default"] = default_of(fields[key])
        if entry["effect"] in ("none", "training"):
            entry["reason"] = REASONS[key]
        if key in REFUSED:
            entry["refused"] = REFUSED[key]
        if key in ACCEPTED:
            entry["accepted"] = ACCEPTED[key]
        entries[key] = entry
    return {"tiny": tiny, "keys": entries}


def walk_ropes():
    entries = []
    for name, (family, changes, lengths) in ROPES.items():
        config = {**tiny_config(family), **changes}
        config = {key: value for key, value in config.items() if value != "absent"}
        entry = {"name": name, "config": config}
        if lengths == "refused":
            assert outcome(config) is None, name
            entry["refused"] = True
        else:
            entry["lengths"] = {}
            for length in lengths:
                rotary = build(config).model.rotary_emb  # a new one: it remembers lengths
                rotary(torch.zeros(1, length, 8), torch.arange(length).unsqueeze(0))
                entry["lengths"][str(length)] = {
                    "inverse_frequencies": rotary.inv_freq.tolist(), "attention_factor": float(rotary.attention_scaling)}
        entries.append(entry)
    return entries


# ---- adapter_config.json ---------------------------------------------------------------------------------------------

USED, REFUSED_HERE = "used", "refused"
ADAPTER = {
    "r": (4, USED), "lora_alpha": (32, USED), "lora_dropout": (0.25, USED), "use_rslora": (True, USED),
    "target_modules": (["k_proj"], USED), "exclude_modules": (["k_proj"], USED), "rank_pattern": ({"k_proj": 4}, USED),
    "alpha_pattern": ({"k_proj": 4}, USED), "base_model_name_or_path": ("elsewhere", USED),
    "peft_type": ("LOHA", REFUSED_HERE), "init_lora_weights": ("pissa", REFUSED_HERE), "bias": ("all", REFUSED_HERE),
    "use_dora": (True, REFUSED_HERE), "modules_to_save": (["lm_head"], REFUSED_HERE), "lora_bias": (True, REFUSED_HERE),
    "fan_in_fan_out": (True, "no effect: PEFT takes it as false for linear layers"), "layer_replication": ([[0, 2]], REFUSED_HERE),
    "trainable_token_indices": ([1], REFUSED_HERE), "use_qalora": (True, REFUSED_HERE),
    "target_parameters": (["mlp.experts"], REFUSED_HERE), "use_bdlora": ({"nblocks": 2}, REFUSED_HERE),
    "alora_invocation_tokens": ([1, 2], REFUSED_HERE), "megatron_config": ({"a": 1}, REFUSED_HERE),
    "arrow_config": ({"top_k": 3}, REFUSED_HERE), "velora_config": ({"num_groups": 4}, REFUSED_HERE),
    "monteclora_config": ({"num_samples": 4}, REFUSED_HERE), "kasa_config": ({"beta": 1e-4}, REFUSED_HERE),
    "layers_to_transform": ([0], "no effect: the layers that have tensors are the ones that were chosen"),
    "layers_pattern": ("layers", REFUSED_HERE),
    "auto_mapping": ({"a": "b"}, "no effect: classes of Python"), "peft_version": ("9.9", "no effect: who wrote it"),
    "revision": ("main", "no effect: where the base came from"), "task_type": ("SEQ_CLS", "no effect: which class of Python"),
    "inference_mode": (True, "no effect: whether PEFT trains it"), "megatron_core": ("m", "no effect without megatron_config"),
    "qalora_group_size": (8, "no effect without use_qalora"), "loftq_config": ({"loftq_bits": 4}, "no effect without loftq"),
    "eva_config": ({"rho": 2.0}, "no effect: the base stays, ranks are in rank_pattern"),
    "corda_config": ({"verbose": True}, "no effect without corda"), "lora_ga_config": ({"scale": "unit"}, "no effect without lora_ga"),
    "ensure_weight_tying": (True, "no effect without modules_to_save"),
    "runtime_config": ({"ephemeral_gpu_offload": True}, "no effect: where PEFT computes"),
}  # fmt: skip


def walk_adapter():
    known = {field.name for field in dataclasses.fields(peft.LoraConfig)} | {"peft_version"}
    missing = sorted(known - ADAPTER.keys())
    assert not missing, f"keys of LoraConfig without a judgement: {missing}"
    return {key: {"value": value, "judgement": judgement} for key, (value, judgement) in ADAPTER.items()}


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    keys = set(VALUES).union(*(fields_of(family) for family in FAMILIES))
    missing = sorted(keys - VALUES.keys())
    assert not missing, f"keys of config.json without a value to try: {missing}"
    walk = {
        "made_by": "tests/golden/make_config_walk.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "families": {family: walk_family(family, sorted(keys)) for family in FAMILIES},
        "ropes": walk_ropes(),
        "adapter": walk_adapter(),
    }
    OUT.write_text(json.dumps(walk, indent=1) + "\n")
    for family, entry in walk["families"].items():
        by_effect = {}
        for key, one in entry["keys"].items():
            by_effect.setdefault(one["effect"], []).append(key)
        print(family, {name: len(keys) for name, keys in by_effect.items()}, "refused:", by_effect.get("refused"))


if __name__ == "__main__":
    main()
