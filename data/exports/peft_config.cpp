#include "data/exports/peft_config.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/adapters/lora.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPeftVersion = "0.21.0";  // whose set of keys this is
constexpr int64_t kMaxLoraRank = 1024;

/// What PEFT calls our methods and tasks.
constexpr std::pair<std::string_view, const char*> kMethods[] = {{"lora", "LORA"}};
constexpr std::pair<std::string_view, const char*> kTasks[] = {{"text-generation", "CAUSAL_LM"}};

template <class Table>
Json peft_word(const Table& table, std::string_view word) {
  for (const auto& [ours, theirs] : table)
    if (ours == word) return theirs;
  return nullptr;
}

/// Keys that must be absent, null, false or empty: each asks for something that the adapter's two
/// matrices lack.
constexpr const char* kUnsupported[] = {"use_dora",
                                        "modules_to_save",
                                        "lora_bias",
                                        "layer_replication",
                                        "trainable_token_indices",
                                        "use_qalora",
                                        "target_parameters",
                                        "use_bdlora",
                                        "alora_invocation_tokens",
                                        "megatron_config",
                                        "arrow_config",
                                        "velora_config",
                                        "monteclora_config",
                                        "kasa_config"};

/// Keys of PEFT 0.21 that say how an adapter was trained or stored and change nothing about what
/// its matrices do: their names, ranks and scales hold all there is.
constexpr const char* kWithoutEffect[] = {
    "fan_in_fan_out", "auto_mapping",      "corda_config",   "ensure_weight_tying", "eva_config",
    "inference_mode", "layers_pattern",    "lora_ga_config", "loftq_config",        "megatron_core",
    "peft_version",   "qalora_group_size", "revision",       "runtime_config",      "task_type"};

constexpr const char* kRead[] = {"alpha_pattern",
                                 "base_model_name_or_path",
                                 "bias",
                                 "exclude_modules",
                                 "init_lora_weights",
                                 "layers_to_transform",
                                 "lora_alpha",
                                 "lora_dropout",
                                 "peft_type",
                                 "r",
                                 "rank_pattern",
                                 "target_modules",
                                 "use_rslora"};

/// Of init_lora_weights: ways to start that take from the base what they put into A and B, so that
/// the matrices fit a base that is not the one on disk. Those that PEFT can convert, and LoftQ.
constexpr const char* kChangesBase[] = {"pissa", "corda", "olora", "lora_ga", "loftq"};
constexpr const char* kKeepsBase[] = {"gaussian", "eva", "orthogonal", "mica"};

/// Whole numbers without a fraction, as PEFT writes its int fields.
Json number(double value) {
  if (std::nearbyint(value) == value && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

Json pattern_map(const PatternMap& patterns) {
  Json object = Json::object();
  for (const auto& [pattern, value] : patterns) object[pattern] = number(value);
  return object;
}

std::set<std::string> last_names(const NamedTensors& tensors) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    const std::string module = ModuleRole::of(name).module;
    names.insert(module.substr(module.rfind('.') + 1));
  }
  return names;
}

Json module_pattern(const ModulePattern& pattern, const NamedTensors& tensors) {
  if (pattern.all_linear) return last_names(tensors);
  if (!pattern.suffixes.empty())
    return std::set<std::string>(pattern.suffixes.begin(), pattern.suffixes.end());
  if (!pattern.regex.empty()) return pattern.regex;
  return nullptr;
}

bool is_switched_off(const Json& value) {
  return value.is_null() || value == false ||
         ((value.is_array() || value.is_object()) && value.empty());
}

void check_initialisation(const Json& config, const std::string& where) {
  const auto value = config.find("init_lora_weights");
  if (value == config.end() || value->is_null() || value->is_boolean()) return;
  std::string name = value->is_string() ? value->get<std::string>() : value->dump();
  std::transform(name.begin(), name.end(), name.begin(), ::tolower);
  const auto is_one_of = [&](const auto& names) {
    return std::any_of(std::begin(names), std::end(names), [&](std::string_view known) {
      return name == known || (known == "pissa" && name.starts_with("pissa_niter_")) ||
             (known == "corda" && name.starts_with("corda"));
    });
  };
  if (is_one_of(kKeepsBase)) return;
  if (!is_one_of(kChangesBase))
    throw ModelError({where, fmt::format("init_lora_weights '{}' is not known", printable(name)),
                      fmt::format("true, false or one of {}", fmt::join(kKeepsBase, ", ")),
                      "use an adapter of the unchanged base"});
  const bool is_loftq = name == "loftq";
  throw ModelError(
      {where,
       fmt::format("init_lora_weights '{}' changed the base, these matrices do not fit the one on "
                   "disk",
                   printable(name)),
       "an adapter of the unchanged base",
       is_loftq ? "merge it in PEFT into the base that LoftQ left, and use the result as a base"
                : "save it in PEFT with save_pretrained(..., "
                  "path_initial_model_for_weight_conversion=...)"});
}

/// Keys that PEFT 0.21 does not have: of a later release or another program.
void warn_of_unknown_keys(const Json& config, const std::string& where) {
  std::set<std::string> known(std::begin(kRead), std::end(kRead));
  known.insert(std::begin(kUnsupported), std::end(kUnsupported));
  known.insert(std::begin(kWithoutEffect), std::end(kWithoutEffect));
  std::vector<std::string> unknown;
  for (const auto& [key, value] : config.items())
    if (!known.count(key) && !is_switched_off(value)) unknown.push_back(printable(key));
  if (!unknown.empty())
    log_warning(fmt::format("{}: {} {} not known and not used", where, fmt::join(unknown, ", "),
                            unknown.size() == 1 ? "is" : "are"));
}

/// PEFT's own rules about which layers of a stack have an adapter.
void check_choice_of_layers(const Json& config, const std::string& where) {
  const auto is_given = [&](const char* key) {
    return config.contains(key) && !config[key].is_null();
  };
  const bool has_regex = is_given("target_modules") && config["target_modules"].is_string();
  for (const char* key : {"layers_to_transform", "layers_pattern"})
    if (has_regex && is_given(key))
      throw ModelError({where, fmt::format("{} beside a target_modules that is a text", key),
                        "a list of names, as PEFT wants it there",
                        fmt::format("take {} out, the text chooses the layers", key)});
  const bool has_pattern = is_given("layers_pattern") && !config["layers_pattern"].empty() &&
                           config["layers_pattern"] != "";
  if (has_pattern && !is_given("layers_to_transform"))
    throw ModelError({where, "layers_pattern without layers_to_transform", "both, as PEFT does",
                      "take layers_pattern out, or say which layers"});
}

void refuse_unsupported(const Json& config, const std::string& where) {
  const auto refuse = [&](const std::string& key) {
    throw ModelError({where,
                      fmt::format("{} {} is not supported", key, printable(config[key].dump())),
                      {},
                      "use an adapter with plain LoRA matrices"});
  };
  const std::string type = json_text(config, "peft_type", where);
  if (type != "LORA")
    throw ModelError({where, fmt::format("peft_type '{}' is not supported", printable(type)),
                      "LORA", "train a LoRA adapter, or merge this one in PEFT"});
  for (const char* key : kUnsupported)
    if (config.contains(key) && !is_switched_off(config[key])) refuse(key);
  if (config.contains("bias") && !is_switched_off(config["bias"]) && config["bias"] != "none")
    refuse("bias");
  check_initialisation(config, where);
  check_choice_of_layers(config, where);
  if (config.contains("fan_in_fan_out") && !is_switched_off(config["fan_in_fan_out"]))
    log_warning(where + ": fan_in_fan_out is taken as false, as PEFT does for linear layers");
  warn_of_unknown_keys(config, where);
}

ModulePattern parse_pattern(const Json& config, const char* key, const std::string& where) {
  ModulePattern pattern;
  const auto value = config.find(key);
  if (value == config.end() || value->is_null()) return pattern;
  if (value->is_string()) {
    const auto text = value->get<std::string>();
    pattern.all_linear = text == "all-linear";
    if (!pattern.all_linear) pattern.regex = text;
    return pattern;
  }
  if (!value->is_array())
    throw ModelError(
        {where, fmt::format("{} is {}", key, json_kind(value->type())), "a list or a text", {}});
  for (const Json& item : *value) {
    if (!item.is_string())
      throw ModelError(
          {where, fmt::format("{} holds {}", key, json_kind(item.type())), "names", {}});
    pattern.suffixes.push_back(item.get<std::string>());
  }
  return pattern;
}

void require_expression(const std::string& pattern, const char* key, const std::string& where) {
  try {
    pattern_value({{pattern, 0}}, /*name=*/{}, 0);
  } catch (const ConfigError&) {
    throw ModelError(
        {where, fmt::format("{} '{}' is no regular expression", key, printable(pattern)), {}, {}});
  }
}

PatternMap parse_pattern_map(const Json& config, const char* key, const std::string& where) {
  PatternMap patterns;
  const auto value = config.find(key);
  if (value == config.end() || value->is_null()) return patterns;
  if (!value->is_object())
    throw ModelError(
        {where, fmt::format("{} is {}", key, json_kind(value->type())), "an object", {}});
  for (const auto& [pattern, item] : value->items()) {
    if (!item.is_number())
      throw ModelError(
          {where,
           fmt::format("{} '{}' is {}", key, printable(pattern), json_kind(item.type())),
           "a number",
           {}});
    require_expression(pattern, key, where);
    patterns.emplace_back(pattern, item.get<double>());
  }
  return patterns;
}

void check_rank(double lora_rank, const char* key, const std::string& where) {
  if (lora_rank >= 1 && lora_rank <= kMaxLoraRank) return;
  throw ModelError(
      {where, fmt::format("{} {}", key, lora_rank), fmt::format("1 to {}", kMaxLoraRank), {}});
}

}  // namespace

nlohmann::ordered_json peft_config(const AdapterDescription& description,
                                   const NamedTensors& tensors) {
  const AdapterConfig& settings = description.settings;
  return {{"alpha_pattern", pattern_map(settings.alpha_pattern)},
          {"base_model_name_or_path", description.base_model},
          {"bias", "none"},
          {"exclude_modules", module_pattern(settings.exclude_modules, {})},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"init_lora_weights", true},
          {"layers_pattern", nullptr},
          {"layers_to_transform", nullptr},
          {"lora_alpha",
           number(settings.lora_alpha.value_or(2.0 * static_cast<double>(settings.lora_rank)))},
          {"lora_bias", false},
          {"lora_dropout", settings.lora_dropout},
          {"modules_to_save", nullptr},
          {"peft_type", peft_word(kMethods, settings.method)},
          {"peft_version", kPeftVersion},
          {"r", settings.lora_rank},
          {"rank_pattern", pattern_map(settings.rank_pattern)},
          {"revision", nullptr},
          {"target_modules", module_pattern(settings.target_modules, tensors)},
          {"task_type", peft_word(kTasks, description.task)},
          {"use_dora", false},
          {"use_rslora", settings.use_rslora}};
}

AdapterDescription parse_peft_config(const nlohmann::ordered_json& config,
                                     const std::string& where) {
  refuse_unsupported(config, where);
  AdapterDescription description;
  AdapterConfig& settings = description.settings;
  if (config.contains("base_model_name_or_path") && config["base_model_name_or_path"].is_string())
    description.base_model = config["base_model_name_or_path"].get<std::string>();
  settings.lora_rank = json_integer(config, "r", where);
  settings.lora_alpha = json_number(config, "lora_alpha", where);
  if (config.contains("lora_dropout") && !config["lora_dropout"].is_null())
    settings.lora_dropout = json_number(config, "lora_dropout", where);
  if (config.contains("use_rslora") && !is_switched_off(config["use_rslora"])) {
    if (config["use_rslora"] != true)
      throw ModelError({where,
                        fmt::format("use_rslora is {}", json_kind(config["use_rslora"].type())),
                        "true or false",
                        {}});
    settings.use_rslora = true;
  }
  settings.target_modules = parse_pattern(config, "target_modules", where);
  settings.exclude_modules = parse_pattern(config, "exclude_modules", where);
  settings.rank_pattern = parse_pattern_map(config, "rank_pattern", where);
  settings.alpha_pattern = parse_pattern_map(config, "alpha_pattern", where);
  check_rank(static_cast<double>(settings.lora_rank), "r", where);
  for (const auto& [pattern, lora_rank] : settings.rank_pattern)
    check_rank(lora_rank, "rank_pattern", where);
  return description;
}

}  // namespace lora_dist
