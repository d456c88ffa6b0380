#include "core/config/relations.hpp"

#include <cmath>

#include "core/config/values.hpp"
#include "core/error.hpp"

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
  if (steps.gradient_accumulation_steps != 1)
    refuse(config, "gradient_accumulation_steps",
           fmt::format("gradient_accumulation_steps {} means nothing beside global_batch_size {}",
                       steps.gradient_accumulation_steps, global),
           "keep one of the two");
}

void check_precision(const Config& config) {
  if (config.model.fp16 && config.model.dtype == "fp32")
    refuse(config, "fp16", "fp16 true and dtype fp32 contradict each other", "keep one of the two");
}

void check_validation(const Config& config) {
  const DataConfig& data = config.data;
  if (data.val_size > 1 && data.val_size != std::floor(data.val_size))
    refuse(config, "val_size",
           fmt::format("val_size {} is neither a share below 1 nor a number of samples",
                       config::print(data.val_size)),
           "write 0.1 or 20, for example");
  if (data.val_size > 0 && !data.val_data_path.empty())
    refuse(config, "val_size", "val_size and val_data_path both name validation data",
           "keep one of the two");
  if (data.val_size > 0 || !data.val_data_path.empty()) return;
  const auto needs_validation = [&](const char* key) {
    refuse(config, key, fmt::format("{} needs validation data", key),
           "set val_size or val_data_path");
  };
  if (config.state.early_stopping_patience > 0) needs_validation("early_stopping_patience");
  if (config.state.load_best_model_at_end) needs_validation("load_best_model_at_end");
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

void check_relations(const Config& config) {
  check_batches(config);
  check_precision(config);
  check_validation(config);
  if (config.adapter.target_modules.empty())
    refuse(config, "target_modules", "target_modules is empty",
           "name a layer, or write all-linear");
  if (config.steps.max_steps == 0)
    refuse(config, "max_steps", "max_steps 0 trains nothing", "write -1 to leave it to epochs");
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
