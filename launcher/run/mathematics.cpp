#include "launcher/run/mathematics.hpp"

#include <algorithm>

#include "core/config/values.hpp"
#include "launcher/run/run_files.hpp"

namespace lora_dist {
namespace {

struct SortedKey {
  std::string_view key;
  KeyEffect effect;
};

constexpr KeyEffect kMathematics = KeyEffect::mathematics, kData = KeyEffect::data,
                    kBase = KeyEffect::base, kSteering = KeyEffect::steering,
                    kFree = KeyEffect::free;

// Every key of core/config/config.hpp stands here once, in its order.
constexpr SortedKey kSortedKeys[] = {
    {"base_model", kBase},
    {"task_type", kBase},
    {"dtype", kMathematics},
    {"fp16", kMathematics},
    {"quantization", kMathematics},

    {"adapter", kMathematics},
    {"lora_rank", kMathematics},
    {"lora_alpha", kMathematics},
    {"lora_dropout", kMathematics},
    {"target_modules", kMathematics},
    {"exclude_modules", kMathematics},
    {"rank_pattern", kMathematics},
    {"alpha_pattern", kMathematics},
    {"use_rslora", kMathematics},
    {"use_dora", kMathematics},
    {"loraplus_lr_ratio", kMathematics},
    {"init_lora_from", kMathematics},
    {"bias", kMathematics},

    {"train_data_dir", kData},
    {"metadata_path", kData},
    {"data_format", kData},
    {"template", kData},
    {"max_seq_length", kMathematics},
    {"packing", kMathematics},
    {"train_on_prompt", kData},
    {"val_size", kMathematics},
    {"val_data_path", kSteering},
    {"shuffle", kMathematics},
    {"prepared_dir", kFree},
    {"pii", kData},

    {"batch_size", kMathematics},
    {"gradient_accumulation_steps", kMathematics},
    {"global_batch_size", kMathematics},
    {"epochs", kMathematics},
    {"max_steps", kMathematics},
    {"learning_rate", kMathematics},
    {"scheduler", kMathematics},
    {"warmup_steps", kMathematics},
    {"warmup_ratio", kMathematics},
    {"optimizer", kMathematics},
    {"weight_decay", kMathematics},
    {"adam_beta1", kMathematics},
    {"adam_beta2", kMathematics},
    {"adam_epsilon", kMathematics},
    {"max_grad_norm", kMathematics},
    {"seed", kMathematics},
    {"gradient_checkpointing", kFree},

    {"sharding", kFree},
    {"backend", kFree},
    {"deterministic", kFree},
    {"comm_timeout_s", kFree},
    {"hang_timeout_s", kFree},
    {"startup_timeout_s", kFree},
    {"hash_check_steps", kFree},
    {"threads_per_rank", kFree},
    {"device", kFree},
    {"cuda_graphs", kFree},

    {"output_dir", kFree},
    {"output_name", kFree},
    {"save_steps", kSteering},
    {"save_total_limit", kFree},
    {"save_dtype", kFree},
    {"resume_from_checkpoint", kFree},
    {"overwrite_output_dir", kFree},
    {"logging_steps", kFree},
    {"log_dir", kFree},
    {"eval_steps", kSteering},
    {"early_stopping_patience", kMathematics},
    {"load_best_model_at_end", kMathematics},
    {"restarts", kFree},
    {"data_errors", kData},
    {"profile", kFree},

    {"resolution", kMathematics},
    {"enable_bucket", kMathematics},
    {"train_text_encoder", kMathematics},
    {"unet_lr", kMathematics},
    {"text_encoder_lr", kMathematics},
    {"clip_skip", kMathematics},
    {"noise_offset", kMathematics},
    {"min_snr_gamma", kMathematics},
    {"v_parameterization", kMathematics},
    {"cache_latents", kFree},
    {"shuffle_caption", kMathematics},
    {"keep_tokens", kMathematics},
    {"caption_dropout_rate", kMathematics},
    {"sample_prompts", kFree},
    {"sample_every_n_steps", kFree},
};

const SortedKey* find_key(std::string_view key) {
  const auto* found = std::find_if(std::begin(kSortedKeys), std::end(kSortedKeys),
                                   [&](const SortedKey& entry) { return entry.key == key; });
  return found == std::end(kSortedKeys) ? nullptr : found;
}

bool evaluations_steer(const Config& config) {
  return config.state.early_stopping_patience > 0 || config.state.load_best_model_at_end ||
         config.steps.scheduler == "reduce_lr_on_plateau";
}

std::string text_of(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// Whether the learning rate of a step, or what follows from it, depends on how many there will be.
bool steps_depend_on_their_number(const nlohmann::ordered_json& mathematics) {
  const auto value = [&](const char* key) {
    return mathematics.contains(key) ? text_of(mathematics[key]) : std::string("?");
  };
  const std::string schedule = value("scheduler");
  const bool knows_no_end =
      schedule == "constant" || schedule == "constant_with_warmup" || schedule == "inverse_sqrt";
  const bool has_fixed_warmup =
      schedule == "constant" || value("warmup_steps") != "0" || value("warmup_ratio") == "0";
  const bool is_steered =
      value("early_stopping_patience") != "0" || value("load_best_model_at_end") != "false";
  return !knows_no_end || !has_fixed_warmup || is_steered;
}

}  // namespace

KeyEffect effect_of(std::string_view key) {
  const SortedKey* found = find_key(key);
  return found ? found->effect : KeyEffect::mathematics;
}

bool is_sorted(std::string_view key) { return find_key(key) != nullptr; }

bool state_fits_after_change_of(std::string_view key) {
  constexpr std::string_view kShapes[] = {"adapter",        "lora_rank",       "rank_pattern",
                                          "target_modules", "exclude_modules", "use_dora",
                                          "bias",           "optimizer",       "init_lora_from"};
  return std::find(std::begin(kShapes), std::end(kShapes), key) == std::end(kShapes);
}

nlohmann::ordered_json fingerprints_of(const nlohmann::ordered_json& record) {
  return record.contains("fingerprints") && record["fingerprints"].is_object()
             ? record["fingerprints"]
             : nlohmann::ordered_json::object();
}

const nlohmann::ordered_json& mathematics_in(const nlohmann::ordered_json& fingerprints) {
  static const nlohmann::ordered_json none = nlohmann::ordered_json::object();
  const auto found = fingerprints.find("mathematics");
  return found == fingerprints.end() ? none : *found;
}

bool has_same(const char* key, const nlohmann::ordered_json& saved,
              const nlohmann::ordered_json& asked) {
  const std::string before = text_in(saved, key), now = text_in(asked, key);
  return before.empty() || now.empty() || before == now;
}

nlohmann::ordered_json mathematics_of(const Config& config, int64_t slots_per_step) {
  nlohmann::ordered_json mathematics;
  Config copy = config;
  auto& sets = copy.data.val_data_path.sets;
  if (sets.size() > 1) sets.resize(1);
  const bool steered = evaluations_steer(config);
  copy.each_field([&](const char* key, auto& value, const FieldRule&, const char*) {
    const KeyEffect effect = effect_of(key);
    if (effect == KeyEffect::mathematics || (effect == KeyEffect::steering && steered))
      mathematics[key] = config::print(value);
  });
  mathematics["global_batch_size"] = fmt::format("{}", config.steps.batch_size * slots_per_step);
  if (config.steps.global_batch_size) mathematics.erase("gradient_accumulation_steps");
  if (config.steps.max_steps > 0) mathematics.erase("epochs");  // it decides alone
  return mathematics;
}

std::vector<ChangedKey> changed_keys(const nlohmann::ordered_json& saved,
                                     const nlohmann::ordered_json& asked) {
  const bool length_counts =
      steps_depend_on_their_number(saved) || steps_depend_on_their_number(asked);
  std::vector<ChangedKey> changed;
  for (const auto& [key, value] : asked.items()) {
    // Another number of ranks takes other rounds to the same global batch, which is what counts.
    if (!saved.contains(key) || key == "gradient_accumulation_steps") continue;
    const std::string before = text_of(saved[key]), now = text_of(value);
    const bool is_length = key == "max_steps" || key == "epochs";
    if (before != now && (length_counts || !is_length)) changed.push_back({key, before, now});
  }
  return changed;
}

std::string why_it_counts(std::string_view key) {
  if (key == "max_steps" || key == "epochs")
    return "the learning rate of each step depends on how many there are";
  if (effect_of(key) == KeyEffect::steering)
    return "held-out losses decide here when to stop, what is exported or the learning rate";
  return {};
}

}  // namespace lora_dist
