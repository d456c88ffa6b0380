#include "core/config/relations.hpp"

#include <cmath>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/config/values.hpp"

namespace lora_dist {
namespace {

[[noreturn]] void refuse(const Config& config, const char* key, const std::string& found,
                         const std::string& fix) {
  throw ConfigError({.where = config.where(key), .found = found, .fix = fix});
}

void check_batches(const Config& config) {
  const StepsConfig& steps = config.steps;
  if (!steps.global_batch_size) return;
  const int64_t global = *steps.global_batch_size, local = steps.batch_size;
  const int64_t below = global / local * local;
  if (below != global)
    refuse(config, "global_batch_size",
           fmt::format("global_batch_size {} is no multiple of batch_size {}", global, local),
           below == 0 ? fmt::format("use {}", local)
                      : fmt::format("use {} or {}", below, below + local));
}

void check_accumulation(const Config& config) {
  const StepsConfig& steps = config.steps;
  if (steps.global_batch_size && steps.gradient_accumulation_steps != 1)
    refuse(config, "gradient_accumulation_steps",
           fmt::format("gradient_accumulation_steps {} means nothing beside global_batch_size {}",
                       steps.gradient_accumulation_steps, *steps.global_batch_size),
           "keep one of the two");
}

void check_precision(const Config& config) {
  if (config.model.fp16 && config.model.dtype == "fp32")
    refuse(config, "fp16", "fp16 true and dtype fp32 contradict each other", "keep one of the two");
}

bool has_validation_data(const Config& config) {
  return config.data.val_size > 0 || !config.data.val_data_path.empty();
}

void check_validation_data(const Config& config) {
  const DataConfig& data = config.data;
  if (data.val_size > 1 && data.val_size != std::floor(data.val_size))
    refuse(config, "val_size",
           fmt::format("val_size {} is neither a share below 1 nor a number of samples",
                       config::print(data.val_size)),
           "write 0.1 or 20, for example");
  if (data.val_size > 0 && !data.val_data_path.empty())
    refuse(config, "val_size", "val_size and val_data_path both name validation data",
           "keep one of the two");
}

/// What follows from evaluations in the course of a run.
void require_evaluations(const Config& config, const char* key) {
  if (!has_validation_data(config))
    refuse(config, key, fmt::format("{} needs validation data", key),
           "set val_size or val_data_path");
  if (config.state.eval_steps == 0 && config.state.save_steps == 0)
    refuse(config, key,
           fmt::format("{} needs evaluations, and with save_steps 0 there is one, at the end", key),
           "set eval_steps");
}

void check_early_stopping(const Config& config) {
  if (config.state.early_stopping_patience > 0)
    require_evaluations(config, "early_stopping_patience");
}

void check_best_model(const Config& config) {
  if (config.state.load_best_model_at_end) require_evaluations(config, "load_best_model_at_end");
}

void check_plateau(const Config& config) {
  if (config.steps.scheduler != "reduce_lr_on_plateau") return;
  if (has_validation_data(config) && (config.state.eval_steps > 0 || config.state.save_steps > 0))
    return;
  refuse(config, "scheduler", "scheduler reduce_lr_on_plateau needs evaluations",
         "set val_size or val_data_path, and eval_steps");
}

/// A checkpoint that has to exist is where the run starts, whatever else is named.
void check_start(const Config& config) {
  const std::string& resume = config.state.resume_from_checkpoint;
  if (config.adapter.init_lora_from.empty() || resume == "false" || resume == "auto") return;
  refuse(config, "init_lora_from",
         fmt::format("init_lora_from and resume_from_checkpoint {} both name the start", resume),
         "keep one of the two");
}

void check_targets(const Config& config) {
  if (config.adapter.target_modules.empty())
    refuse(config, "target_modules", "target_modules is empty",
           "name a layer, or write all-linear");
}

void check_length_of_run(const Config& config) {
  if (config.steps.max_steps == 0)
    refuse(config, "max_steps", "max_steps 0 trains nothing", "write -1 to leave it to epochs");
}

/// One line for each key whose value is passed over.
class Warnings {
 public:
  Warnings(const Config& config, std::vector<std::string>& lines)
      : config_(config), lines_(lines) {}

  void without_effect(const char* key, const std::string& value, const std::string& why) {
    lines_.push_back(
        fmt::format("{}: {} {} has no effect: {}", config_.where(key), key, value, why));
  }

 private:
  const Config& config_;
  std::vector<std::string>& lines_;
};

void warn_of_steps(const Config& config, Warnings& warnings) {
  const StepsConfig& steps = config.steps;
  const bool has_warmup =
      steps.scheduler != "constant" && steps.scheduler != "reduce_lr_on_plateau";
  const std::string no_warmup =
      fmt::format("scheduler {} has no warm-up", steps.scheduler) +
      (steps.scheduler == "constant" ? "; write constant_with_warmup" : "");
  if (steps.warmup_steps > 0 && !has_warmup)
    warnings.without_effect("warmup_steps", config::print(steps.warmup_steps), no_warmup);
  if (steps.warmup_ratio > 0 && !has_warmup)
    warnings.without_effect("warmup_ratio", config::print(steps.warmup_ratio), no_warmup);
  if (steps.warmup_ratio > 0 && has_warmup && steps.warmup_steps > 0)
    warnings.without_effect("warmup_ratio", config::print(steps.warmup_ratio),
                            fmt::format("warmup_steps is {}", steps.warmup_steps));
  if (steps.max_steps > 0 && steps.epochs != StepsConfig().epochs)
    warnings.without_effect("epochs", config::print(steps.epochs),
                            fmt::format("max_steps is {}", steps.max_steps));
}

void warn_of_state(const Config& config, Warnings& warnings) {
  const StateConfig& state = config.state;
  if (state.save_steps == 0 && state.save_total_limit != StateConfig().save_total_limit)
    warnings.without_effect("save_total_limit", config::print(state.save_total_limit),
                            "save_steps 0 keeps no checkpoints");
  if (state.eval_steps > 0 && !has_validation_data(config))
    warnings.without_effect("eval_steps", config::print(state.eval_steps),
                            "there are no validation data; set val_size or val_data_path");
}

/// `path` lies in `folder`, as both are written.
bool is_inside(const std::string& path, const std::string& folder) {
  const auto plain = [](const std::string& text) {
    return std::filesystem::path(text).lexically_normal();
  };
  const std::string way = plain(path).lexically_relative(plain(folder)).string();
  return !way.empty() && !way.starts_with("..");
}

void warn_of_data(const Config& config, Warnings& warnings) {
  const DataConfig& data = config.data;
  if (!data.metadata_path.empty() && !data.train_data_dir.empty() &&
      !is_inside(data.metadata_path, data.train_data_dir))
    warnings.without_effect("train_data_dir", data.train_data_dir,
                            fmt::format("metadata_path {} names the data", data.metadata_path));
  const bool is_laid_out = data.data_format != "text" && data.data_format != "tokenized";
  if (!is_laid_out && data.chat_template != "auto")
    warnings.without_effect("template", data.chat_template,
                            fmt::format("data_format {} has no turns", data.data_format));
  if (!is_laid_out && data.train_on_prompt)
    warnings.without_effect("train_on_prompt", "true",
                            fmt::format("data_format {} has no prompts", data.data_format));
}

void warn_of_model(const Config& config, std::vector<std::string>& lines) {
  if (!config.model.fp16) return;
  const bool is_bf16 = config.model.dtype == "bf16";
  lines.push_back(
      fmt::format("{}: fp16 true computes in {}; there is no fp16 arithmetic", config.where("fp16"),
                  is_bf16 ? "bf16" : "bf16 where the hardware is fast in it, else fp32"));
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// The last part of the run folder as a file name ("out/my run/" -> "my_run").
std::string name_of(const std::string& output_dir) {
  std::string name = without_slashes(output_dir);
  name = name.substr(name.find_last_of('/') + 1);
  for (char& c : name)
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c)) &&
        c != '.' && c != '_' && c != '-')
      c = '_';
  return name.find_first_not_of('.') == std::string::npos ? "adapter" : name;
}

bool is_empty(const std::string& value) { return value.empty(); }
template <class T>
bool is_empty(const T&) {
  return false;
}

}  // namespace

namespace config {

std::vector<ConfigError> broken_relations(const Config& config) {
  std::vector<ConfigError> broken;
  for (const auto check : {check_batches, check_accumulation, check_precision,
                           check_validation_data, check_early_stopping, check_best_model,
                           check_plateau, check_start, check_targets, check_length_of_run}) {
    try {
      check(config);
    } catch (const ConfigError& relation) {
      broken.push_back(relation);
    }
  }
  return broken;
}

void warn_of_keys_without_effect(const Config& config, std::vector<std::string>& lines) {
  Warnings warnings(config, lines);
  warn_of_model(config, lines);
  warn_of_data(config, warnings);
  warn_of_steps(config, warnings);
  warn_of_state(config, warnings);
}

void fill_defaults(Config& config) {
  if (!config.adapter.lora_alpha)
    config.adapter.lora_alpha = 2.0 * static_cast<double>(config.adapter.lora_rank);
  const std::string folder = without_slashes(config.state.output_dir);
  if (folder.empty()) return;
  if (config.state.output_name.empty()) config.state.output_name = name_of(folder);
  if (config.state.log_dir.empty()) config.state.log_dir = folder + "/logs";
  if (config.data.prepared_dir.empty()) config.data.prepared_dir = folder + "/prepared";
}

}  // namespace config

void require_keys(const Config& config, const std::string& where,
                  const std::vector<std::string>& keys) {
  Config copy = config;
  for (const std::string& wanted : keys)
    copy.each_field([&](const char* key, auto& value, const FieldRule&, const char* help) {
      if (wanted == key && is_empty(value))
        throw ConfigError({.where = where,
                           .found = fmt::format("{} is missing", key),
                           .fix = fmt::format("add `{}: ...` ({})", key, help)});
    });
}

void require_training_keys(const Config& config) {
  require_keys(config, config.source, {"base_model"});
  if (config.data.metadata_path.empty()) require_keys(config, config.source, {"train_data_dir"});
  require_keys(config, config.source, {"output_dir"});
}

void require_work_for_ranks(const Config& config, int world_size) {
  if (!config.steps.global_batch_size) return;
  const int64_t global = *config.steps.global_batch_size, local = config.steps.batch_size;
  const int64_t num_micro_batches = global / local;
  if (world_size <= num_micro_batches) return;
  refuse(config, "global_batch_size",
         fmt::format("{} ranks, but global_batch_size {} / batch_size {} gives {} micro-batches",
                     world_size, global, local, num_micro_batches),
         fmt::format("use at most {} ranks", num_micro_batches));
}

}  // namespace lora_dist
