#include "launcher/run/mathematics.hpp"

#include "core/config/values.hpp"
#include "launcher/run/run_files.hpp"

namespace lora_dist {
namespace {

/// The rule of a key; that of a key which nobody declared is the cautious one.
FieldRule rule_of(std::string_view wanted) {
  FieldRule found;
  Config().each_field([&](const char* key, auto&, const FieldRule& rule, const char*) {
    if (wanted == key) found = rule;
  });
  return found;
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

KeyEffect effect_of(std::string_view key) { return rule_of(key).effect; }

bool state_fits_after_change_of(std::string_view key) { return !rule_of(key).shapes_state; }

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
  copy.each_field([&](const char* key, auto& value, const FieldRule& rule, const char*) {
    if (rule.effect == KeyEffect::mathematics || (rule.effect == KeyEffect::steering && steered))
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
