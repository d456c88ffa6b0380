// The whole run as plain structs: read once, checked once, printed resolved, kept in checkpoints.
//
// Each key is declared once, in an each_field below: YAML name, member, what values are allowed,
// help. The YAML reader, the command-line overrides, `validate`, `schema`, `--help`, the resolved
// print-out and the refusal of unknown keys are visitors over these declarations; they live in
// core/config/, aliases of other tools too.
//
// Not here: opening files (launcher/config_file.hpp), anything that depends on the number of ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.hpp"

namespace lora_dist {

/// What a change of a key does to a run that is resumed.
enum class KeyEffect {
  mathematics,  // another result: compared by value
  data,         // told by the fingerprint of the prepared data
  base,         // told by the fingerprint of the base model
  steering,     // mathematics where evaluations decide how long is trained or what is exported
  free,         // how fast, how often and where to: may change at any time
};

/// A word that a key takes, with its meaning where the name alone does not tell.
struct Word {
  std::string name;
  std::string meaning = {};
};

/// What a field allows beside its type. Made by the functions below.
struct FieldRule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;                 // the lower bound itself is not allowed
  bool high_open = false;                // the upper bound itself is not allowed
  bool whole = false;                    // of a map's numbers: integers only
  std::vector<std::string> one_of = {};  // allowed words, matched without regard to case
  std::vector<std::string> later = {};   // others that are known, but whose feature is not built
  bool file_name = false;                // letters, digits, '.', '_', '-' only
  bool auto_or_count = false;            // the word auto, or an integer of at least 1
  std::string not_yet = {};  // set: only the default is accepted so far; says what is missing
  std::vector<Word> meanings = {};  // of those words that have one; they end the key's help
  // A key without a mark of its own is mathematics: the cautious answer.
  KeyEffect effect = KeyEffect::mathematics;
  bool shapes_state = false;  // after a change the state of a checkpoint does not fit at all

  FieldRule on_resume(KeyEffect what) const {
    FieldRule rule = *this;
    rule.effect = what;
    return rule;
  }
  FieldRule with_state() const {
    FieldRule rule = *this;
    rule.shapes_state = true;
    return rule;
  }
};
inline FieldRule any_value() { return {}; }
inline FieldRule in_range(double low, double high) { return {.low = low, .high = high}; }
inline FieldRule at_least(double low) { return {.low = low}; }
inline FieldRule above(double low) { return {.low = low, .low_open = true}; }
inline FieldRule below_from(double low, double high) {
  return {.low = low, .high = high, .high_open = true};
}
inline FieldRule whole_in_range(double low, double high) {
  return {.low = low, .high = high, .whole = true};
}
/// `later`: words that people know from elsewhere and that answer "not available yet".
inline FieldRule one_of(std::vector<std::string> words, std::vector<std::string> later = {}) {
  return {.one_of = std::move(words), .later = std::move(later)};
}
/// `also` and the names of the registry that belongs to the key: core/config/words.hpp. Until
/// somebody has said which they are, any word is taken, and the registry itself refuses it.
FieldRule named_in_registry(const char* key, std::vector<std::string> also = {},
                            std::vector<std::string> later = {});
inline FieldRule file_name() { return {.file_name = true}; }
inline FieldRule auto_or_count() { return {.auto_or_count = true}; }
/// The key is known, its feature is not built: a value that is not the default is an error.
inline FieldRule not_available_yet(std::string what, std::vector<std::string> words = {}) {
  return {.one_of = std::move(words), .not_yet = std::move(what)};
}

/// target_modules and exclude_modules: a list of name suffixes, or one full-match regex.
struct ModulePattern {
  std::vector<std::string> suffixes;
  std::string regex;        // used when suffixes is empty
  bool all_linear = false;  // "all-linear"
  bool empty() const { return suffixes.empty() && regex.empty() && !all_linear; }
  bool operator==(const ModulePattern&) const = default;
};

/// val_data_path: files or folders, each with the name that its losses are reported under. One path
/// alone has no name.
struct NamedPaths {
  std::vector<std::pair<std::string, std::string>> sets;  // (name, path), in the order of the file
  bool empty() const { return sets.empty(); }
  bool operator==(const NamedPaths&) const = default;
};

/// Module pattern to value, in the order of the file; the first match wins (as in PEFT).
using PatternMap = std::vector<std::pair<std::string, double>>;

struct ModelConfig {
  std::string base_model;
  std::string task_type = "auto";
  std::string dtype = "auto";
  bool fp16 = false;
  std::string quantization = "none";

  template <class Field>
  void each_field(Field&& field) {
    field("base_model", base_model, any_value().on_resume(KeyEffect::base),
          "folder of the base model in Hugging Face layout (config.json, *.safetensors, "
          "tokenizer.json)");
    field("task_type", task_type,
          named_in_registry("task_type", {"auto"}, {"text-to-image"}).on_resume(KeyEffect::base),
          "what is trained; auto asks the base model");
    field("dtype", dtype, one_of({"auto", "bf16", "fp32"}, {"fp16"}),
          "number format of activations and products; auto is bf16 where the processor is fast in "
          "it, else fp32");
    field("fp16", fp16, any_value(),
          "mixed precision, as other tools spell it: on hardware with bf16 the run uses bf16, on a "
          "CPU without it fp32; nothing is computed in fp16");
    field("quantization", quantization,
          not_available_yet("quantised bases", {"none", "nf4", "int8"}),
          "storage of the frozen base: none, nf4 or int8");
  }
};

struct AdapterConfig {
  std::string method = "lora";  // key `adapter`
  int64_t lora_rank = 8;
  std::optional<double> lora_alpha;  // resolved: 2 x lora_rank
  double lora_dropout = 0.0;
  ModulePattern target_modules{{"q_proj", "v_proj"}, {}, false};
  ModulePattern exclude_modules;
  PatternMap rank_pattern;
  PatternMap alpha_pattern;
  bool use_rslora = false;
  bool use_dora = false;
  double loraplus_lr_ratio = 1;
  std::string init_lora_from;
  std::string bias = "none";

  template <class Field>
  void each_field(Field&& field) {
    field("adapter", method, named_in_registry("adapter", {}, {"qlora"}).with_state(),
          "what learns beside the frozen base");
    field("lora_rank", lora_rank, in_range(1, 1024).with_state(), "inner width R of the update");
    field("lora_alpha", lora_alpha, above(0),
          "the update is scaled by lora_alpha / lora_rank; default 2 x lora_rank");
    field("lora_dropout", lora_dropout, below_from(0, 1),
          "share of the adapter's input that is set to zero while training");
    field("target_modules", target_modules, any_value().with_state(),
          "layers that receive an adapter: list of name suffixes, all-linear, or one regular "
          "expression");
    field("exclude_modules", exclude_modules, any_value().with_state(),
          "layers that never receive an adapter, same syntax");
    field("rank_pattern", rank_pattern, whole_in_range(1, 1024).with_state(),
          "map from layer name pattern to its own lora_rank");
    field("alpha_pattern", alpha_pattern, above(0),
          "map from layer name pattern to its own lora_alpha");
    field("use_rslora", use_rslora, any_value(), "scale by lora_alpha / sqrt(lora_rank)");
    field("use_dora", use_dora, not_available_yet("DoRA").with_state(), "weight-decomposed LoRA");
    field("loraplus_lr_ratio", loraplus_lr_ratio, above(0),
          "LoRA+: the matrices B learn at this many times the learning rate");
    field("init_lora_from", init_lora_from, any_value().with_state(),
          "start from this adapter (PEFT folder or .safetensors file) instead of fresh matrices");
    field("bias", bias,
          not_available_yet("training of biases", {"none", "all", "lora_only"}).with_state(),
          "which biases learn: none");
  }
};

struct DataConfig {
  std::string train_data_dir;
  std::string metadata_path;
  std::string data_format = "auto";
  std::string chat_template = "auto";  // key `template`
  int64_t max_seq_length = 2048;
  bool packing = false;
  bool train_on_prompt = false;
  double val_size = 0;
  NamedPaths val_data_path;
  bool shuffle = true;
  std::string prepared_dir;  // resolved: <output_dir>/prepared
  std::string pii = "off";

  template <class Field>
  void each_field(Field&& field) {
    field("train_data_dir", train_data_dir, any_value().on_resume(KeyEffect::data),
          "folder (or file) with the training data");
    field("metadata_path", metadata_path, any_value().on_resume(KeyEffect::data),
          "one data file to use instead of scanning train_data_dir");
    field("data_format", data_format,
          named_in_registry("data_format", {"auto"}).on_resume(KeyEffect::data),
          "how records are written; auto looks at the first ones");
    field("template", chat_template, named_in_registry("template").on_resume(KeyEffect::data),
          "prompt layout; auto is the base's own chat template, else alpaca");
    field("max_seq_length", max_seq_length, in_range(2, 1 << 24),
          "tokens per sample; longer samples are cut and counted");
    field("packing", packing, any_value(),
          "rows of up to max_seq_length tokens hold several samples, each of which sees itself "
          "alone; batch_size counts rows");
    field("train_on_prompt", train_on_prompt, any_value().on_resume(KeyEffect::data),
          "also learn the prompt, not only the answer");
    field("val_size", val_size, at_least(0),
          "held-out part of the training data: a share below 1, or a number of samples");
    field("val_data_path", val_data_path, any_value().on_resume(KeyEffect::steering),
          "separate validation data (file or folder); several as a list, or as a map from names to "
          "paths: eval_<name>_loss of each is reported, the first decides early stopping and the "
          "best state");
    field("shuffle", shuffle, any_value(), "new random order in each epoch");
    field("prepared_dir", prepared_dir, any_value().on_resume(KeyEffect::free),
          "where HDF5 shards are kept; default <output_dir>/prepared");
    field("pii", pii,
          not_available_yet("the search for personal data", {"off", "report", "scrub"})
              .on_resume(KeyEffect::data),
          "personal data: off, report or scrub");
  }
};

struct StepsConfig {
  int64_t batch_size = 4;
  int64_t gradient_accumulation_steps = 1;
  std::optional<int64_t> global_batch_size;
  double epochs = 3;
  int64_t max_steps = -1;
  double learning_rate = 1e-4;
  std::string scheduler = "cosine";
  int64_t warmup_steps = 0;
  double warmup_ratio = 0;
  std::string optimizer = "adamw";
  double weight_decay = 0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;
  int64_t seed = 42;
  std::string gradient_checkpointing = "auto";

  template <class Field>
  void each_field(Field&& field) {
    field("batch_size", batch_size, in_range(1, 1 << 20), "samples of one micro-batch on one rank");
    field("gradient_accumulation_steps", gradient_accumulation_steps, in_range(1, 1 << 20),
          "micro-batches per rank and step, when global_batch_size is unset");
    field("global_batch_size", global_batch_size, in_range(1, 1 << 24),
          "samples per optimiser step over all ranks, at any number of ranks");
    field("epochs", epochs, above(0), "passes over the training data");
    field("max_steps", max_steps, at_least(-1), "optimiser steps; -1 leaves it to epochs");
    field("learning_rate", learning_rate, above(0), "peak learning rate");
    field("scheduler", scheduler,
          named_in_registry("scheduler", {},
                            {"piecewise_constant", "cosine_warmup_with_min_lr", "one_cycle", "rex",
                             "greedy", "adafactor"}),
          "learning-rate schedule after warm-up");
    field("warmup_steps", warmup_steps, at_least(0),
          "steps of linear warm-up; wins over warmup_ratio");
    field("warmup_ratio", warmup_ratio, in_range(0, 1), "warm-up as a share of all steps");
    field("optimizer", optimizer,
          named_in_registry("optimizer", {},
                            {"lion", "sgd", "adafactor", "prodigy", "dadapt", "adam", "adagrad",
                             "rmsprop", "galore", "apollo", "muon", "lomo", "ademamix", "grokadamw",
                             "schedule_free", "came", "stable_adamw"})
              .with_state(),
          "update rule");
    field("weight_decay", weight_decay, at_least(0), "decoupled weight decay");
    field("adam_beta1", adam_beta1, below_from(0, 1), "decay of the first moment");
    field("adam_beta2", adam_beta2, below_from(0, 1), "decay of the second moment");
    field("adam_epsilon", adam_epsilon, above(0), "added to the root of the second moment");
    field("max_grad_norm", max_grad_norm, at_least(0),
          "gradients are scaled down to this norm; 0 switches clipping off");
    field("seed", seed, at_least(0), "of initialisation, order and dropout");
    field("gradient_checkpointing", gradient_checkpointing,
          one_of({"auto", "true", "false"}).on_resume(KeyEffect::free),
          "rebuild activations in the backward pass to save memory; auto asks the plan");
  }
};

struct DistributionConfig {
  std::string sharding = "auto";
  std::string backend = "auto";
  bool deterministic = true;
  double comm_timeout_s = 0;  // 0: 10 on one host, 60 across hosts
  double hang_timeout_s = 10;
  double startup_timeout_s = 300;
  int64_t hash_check_steps = 100;
  std::string threads_per_rank = "auto";
  std::string device = "auto";
  bool cuda_graphs = false;

  template <class Field>
  void each_field(Field&& field) {
    field("sharding", sharding, named_in_registry("sharding", {"auto"}).on_resume(KeyEffect::free),
          "where the frozen base lives; auto is shared on a CPU, none on a GPU");
    field("backend", backend, named_in_registry("backend", {"auto"}).on_resume(KeyEffect::free),
          "what carries data between ranks");
    field("deterministic", deterministic, any_value().on_resume(KeyEffect::free),
          "sum gradients in one fixed order at any number of ranks");
    field("comm_timeout_s", comm_timeout_s, at_least(0).on_resume(KeyEffect::free),
          "limit of one collective in seconds; 0 is 10 on one host and 60 across hosts");
    field("hang_timeout_s", hang_timeout_s,
          not_available_yet("detection of hanging ranks").on_resume(KeyEffect::free),
          "silence of a rank that counts as a hang, in seconds");
    field("startup_timeout_s", startup_timeout_s, above(0).on_resume(KeyEffect::free),
          "limit for all ranks to come together and to prepare data, in seconds without progress");
    field("hash_check_steps", hash_check_steps, at_least(0).on_resume(KeyEffect::free),
          "steps between comparisons of the adapter over ranks, made at each save and load too; 0 "
          "switches them off");
    field("threads_per_rank", threads_per_rank, auto_or_count().on_resume(KeyEffect::free),
          "CPU threads of each rank; auto divides the cores of the host, at most OMP_NUM_THREADS");
    field("device", device, one_of({"auto", "cuda", "cpu"}).on_resume(KeyEffect::free),
          "where tensors live; cuda falls back to cpu with a warning where no GPU is found");
    field("cuda_graphs", cuda_graphs, any_value().on_resume(KeyEffect::free),
          "on a GPU, launch each block as one recorded graph for shapes that come again; for bases "
          "that are not cut, with packing or samples of like lengths");
  }
};

struct StateConfig {
  std::string output_dir;
  std::string output_name;  // resolved: last part of output_dir
  int64_t save_steps = 500;
  int64_t save_total_limit = 3;
  std::string save_dtype = "fp32";
  std::string resume_from_checkpoint = "auto";
  bool overwrite_output_dir = false;
  int64_t logging_steps = 1;
  std::string log_dir;     // resolved: <output_dir>/logs
  int64_t eval_steps = 0;  // 0: at each save and at the end, when there is validation data
  int64_t early_stopping_patience = 0;
  bool load_best_model_at_end = false;
  int64_t restarts = 0;
  std::string data_errors = "stop";
  bool profile = false;

  template <class Field>
  void each_field(Field&& field) {
    field("output_dir", output_dir, any_value().on_resume(KeyEffect::free), "the run folder");
    field("output_name", output_name, file_name().on_resume(KeyEffect::free),
          "name of the adapter; default the last part of output_dir");
    field("save_steps", save_steps, at_least(0).on_resume(KeyEffect::steering),
          "steps between checkpoints; 0 saves none");
    field("save_total_limit", save_total_limit, at_least(0).on_resume(KeyEffect::free),
          "checkpoints kept; 0 keeps all");
    field("save_dtype", save_dtype, one_of({"fp32", "bf16", "fp16"}).on_resume(KeyEffect::free),
          "number format of the exported adapter");
    field("resume_from_checkpoint", resume_from_checkpoint, any_value().on_resume(KeyEffect::free),
          "auto (go on with the run of this folder, or begin one), true (go on, required), false "
          "(never go on), or the path of a checkpoint or adapter");
    field("overwrite_output_dir", overwrite_output_dir, any_value().on_resume(KeyEffect::free),
          "remove what another run has left in output_dir instead of refusing it");
    field("logging_steps", logging_steps, at_least(1).on_resume(KeyEffect::free),
          "steps between lines of metrics.jsonl");
    field("log_dir", log_dir, any_value().on_resume(KeyEffect::free),
          "TensorBoard events and rank logs; default <output_dir>/logs");
    field("eval_steps", eval_steps, at_least(0).on_resume(KeyEffect::steering),
          "steps between evaluations; 0 evaluates at each save and at the end");
    field("early_stopping_patience", early_stopping_patience, at_least(0),
          "evaluations without improvement before the run ends; 0 never");
    field("load_best_model_at_end", load_best_model_at_end, any_value(),
          "export the state with the lowest evaluation loss; it is saved as a checkpoint when it "
          "is found");
    field("restarts", restarts, not_available_yet("automatic restarts").on_resume(KeyEffect::free),
          "starts after a retryable failure");
    field("data_errors", data_errors, one_of({"stop", "skip"}).on_resume(KeyEffect::data),
          "what a broken record does");
    field("profile", profile, any_value().on_resume(KeyEffect::free),
          "record a few steps: Chrome trace and table of phases in <output_dir>/profile");
  }
};

struct ImageConfig {
  // Stable Diffusion is a later capability: its keys are known, and named as not available yet.
  int64_t resolution = 512;
  bool enable_bucket = false;
  bool train_text_encoder = false;
  std::optional<double> unet_lr, text_encoder_lr;
  int64_t clip_skip = 1;
  double noise_offset = 0;
  std::optional<double> min_snr_gamma;
  bool v_parameterization = false;
  bool cache_latents = false;
  bool shuffle_caption = false;
  int64_t keep_tokens = 0;
  double caption_dropout_rate = 0;
  std::string sample_prompts;
  int64_t sample_every_n_steps = 0;

  template <class Field>
  void each_field(Field&& field) {
    const FieldRule later = not_available_yet("Stable Diffusion training");
    field("resolution", resolution, later, "side of the training pictures in pixels");
    field("enable_bucket", enable_bucket, later, "train on several aspect ratios");
    field("train_text_encoder", train_text_encoder, later, "adapters in the text encoder too");
    field("unet_lr", unet_lr, later, "learning rate of the UNet's adapters");
    field("text_encoder_lr", text_encoder_lr, later,
          "learning rate of the text encoder's adapters");
    field("clip_skip", clip_skip, later, "text encoder layers left out at the end");
    field("noise_offset", noise_offset, later, "constant added to the noise of a channel");
    field("min_snr_gamma", min_snr_gamma, later, "weights of the loss by signal-to-noise ratio");
    field("v_parameterization", v_parameterization, later, "predict velocity instead of noise");
    field("cache_latents", cache_latents, later.on_resume(KeyEffect::free),
          "encode the pictures once");
    field("shuffle_caption", shuffle_caption, later,
          "new order of the caption's tags in each epoch");
    field("keep_tokens", keep_tokens, later, "leading tags that stay in place");
    field("caption_dropout_rate", caption_dropout_rate, later,
          "share of samples without a caption");
    field("sample_prompts", sample_prompts, later.on_resume(KeyEffect::free),
          "file with prompts for sample pictures");
    field("sample_every_n_steps", sample_every_n_steps, later.on_resume(KeyEffect::free),
          "steps between sample pictures");
  }
};

struct Config {
  ModelConfig model;
  AdapterConfig adapter;
  DataConfig data;
  StepsConfig steps;
  DistributionConfig distribution;
  StateConfig state;
  ImageConfig image;

  std::string source;                          // the files it was read from, for messages
  std::map<std::string, std::string> origins;  // given key -> "c.yaml:14" or "command line"
  std::vector<std::string> notes;     // worth saying once: "lora_r is an alias of lora_rank"
  std::vector<std::string> warnings;  // keys without effect, words that mean less than they say

  /// Where `key` was written, or the file that could have held it: the `where` of messages about
  /// its value.
  std::string where(const std::string& key) const;

  /// Calls visit(group_name, group) for each group, in the order of the contract.
  template <class Visit>
  void each_group(Visit&& visit) {
    visit("model", model);
    visit("adapter", adapter);
    visit("data", data);
    visit("steps", steps);
    visit("distribution", distribution);
    visit("state", state);
    visit("image", image);
  }

  /// Calls field(key, member, rule, help) for each key of all groups.
  template <class Field>
  void each_field(Field&& field) {
    each_group([&](const char*, auto& group) { group.each_field(field); });
  }
};

/// The text of one config file and the name that messages give it.
struct ConfigText {
  std::string where;
  std::string yaml;
};

/// Limit of a config file; larger ones are data files given by mistake.
inline constexpr int64_t kConfigBytes = 1 << 20;

/// Reads config texts (a later one replaces keys of an earlier one) and overrides ("key=value",
/// value parsed as YAML; the last word), checks every value and the relations between keys, and
/// fills the defaults that depend on other keys (lora_alpha, output_name, log_dir, prepared_dir). A
/// key that is empty has its default.
///
/// Errors  ConfigError: file, line, key, what is wrong, nearest name, what to write; all mistakes
/// in one line.
Config parse_config(const std::vector<ConfigText>& texts,
                    const std::vector<std::string>& overrides);
Config parse_config(const std::string& yaml_text, const std::string& where,
                    const std::vector<std::string>& overrides);

/// What could be read, and everything that is wrong, in the order of the files. A key with a
/// mistake has its default; relations between keys are looked at once every key is right.
struct CheckedConfig {
  Config config;
  std::vector<ConfigError> mistakes;
};
CheckedConfig check_config(const std::vector<ConfigText>& texts,
                           const std::vector<std::string>& overrides);
/// All mistakes in one line, for a command that stops at them; there is at least one.
ConfigError in_one_line(const std::vector<ConfigError>& mistakes, const std::string& source);

/// One key as help, man page and completion show it.
struct KeyFacts {
  std::string group;
  std::string key;
  std::string help;
  std::string default_text;        // "" where it is unset or empty
  std::string allowed;             // in words: "1 to 1024"; "" for anything
  std::vector<std::string> words;  // of a key with a fixed choice
  bool is_built = true;            // else only the default is accepted
};
/// All keys in the order of the contract.
std::vector<KeyFacts> config_keys();
/// Our key that `name` is or is an alias of; "" for a name that is neither.
std::string key_named(const std::string& name);
/// What a key or value of other trainers is here, in sentences; "" for a name that no table has,
/// and for one that key_named() tells all about.
std::string about_foreign_name(const std::string& name);

/// The whole config as YAML that parse_config accepts and that gives the same Config.
std::string resolved_yaml(const Config& config);
/// JSON Schema (draft 2020-12) of the config, for editors.
std::string config_schema();
/// The key table for people: group headings, key, default, help, in 79 columns.
std::string config_help();
/// The key and alias tables of docs/configuration.md.
std::string config_markdown();

/// Keys that a command needs and a partial file may lack; `where` names the file.
/// Errors  ConfigError naming the first missing key.
void require_keys(const Config& config, const std::string& where,
                  const std::vector<std::string>& keys);
/// What training needs: a base, data (train_data_dir or metadata_path), a run folder. Errors
/// ConfigError.
void require_training_keys(const Config& config);
/// Errors  ConfigError: more ranks than global_batch_size has micro-batches.
void require_work_for_ranks(const Config& config, int world_size);

}  // namespace lora_dist
