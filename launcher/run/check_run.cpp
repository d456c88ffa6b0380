#include "launcher/run/check_run.hpp"

#include <unistd.h>

#include <filesystem>
#include <optional>

#include "core/base/error.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "data/samples/sample_view.hpp"
#include "data/sources/source.hpp"
#include "dist/backends/backend.hpp"
#include "launcher/run/banner.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/ownership.hpp"
#include "launcher/run/run_data.hpp"
#include "launcher/run/scratch_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

void require_existing(const Config& config, const char* key, const std::string& path,
                      const char* what) {
  std::error_code problem;
  if (!path.empty() && !fs::exists(path, problem))
    throw ConfigError({.where = config.where(key),
                       .found = fmt::format("{} {} does not exist", key, path),
                       .expected = {},
                       .fix = fmt::format("name {}", what)});
}

/// The nearest folder above `path` that is there already.
fs::path existing_part(const std::string& path) {
  fs::path part = fs::absolute(path).lexically_normal();
  std::error_code problem;
  while (!fs::exists(part, problem) && part.has_relative_path()) part = part.parent_path();
  return part;
}

void require_writable(const Config& config, const char* key, const std::string& path) {
  const fs::path part = existing_part(path);
  std::error_code problem;
  if (!fs::is_directory(part, problem))
    throw StorageError({.where = config.where(key),
                        .found = fmt::format("{} {}: {} is a file", key, path, part.string()),
                        .expected = "a folder",
                        .fix = "choose another one"});
  if (access(part.c_str(), W_OK | X_OK) != 0)
    throw StorageError(
        {.where = config.where(key),
         .found = fmt::format("{} {}: no permission to write into {}", key, path, part.string()),
         .expected = {},
         .fix = "choose another one"});
}

void check_targets_of(const Config& config, OpenedModel& base, std::vector<Finding>& findings) {
  const AdapterConfig& adapter = config.adapter;
  std::vector<std::string> targets;
  const bool matched = collect_finding(findings, [&] {
    targets = match_targets(base.outline->table().linear_modules(), adapter.target_modules,
                            adapter.exclude_modules, base.outline->model_type());
  });
  if (matched) collect_finding(findings, [&] { require_matching_patterns(adapter, targets); });
}

void check_first_adapter(const Config& config) {
  const std::string& path = config.adapter.init_lora_from;
  if (path.empty()) return;
  require_existing(config, "init_lora_from", path, "a PEFT folder or a .safetensors file");
  const int64_t rank = load_adapter(path).description.settings.lora_rank;
  if (rank != config.adapter.lora_rank)
    throw ConfigError({.where = config.where("init_lora_from"),
                       .found = fmt::format("init_lora_from {} has rank {}", path, rank),
                       .expected = fmt::format("lora_rank {}", config.adapter.lora_rank),
                       .fix = fmt::format("set lora_rank: {}", rank)});
}

void check_resume_path(const Config& config) {
  const std::string& resume = config.state.resume_from_checkpoint;
  if (resume != "false" && resume != "auto" && resume != "true")
    require_existing(config, "resume_from_checkpoint", resume,
                     "a checkpoint-<step> folder, or write auto");
}

/// The base as headers and names, or nothing where it cannot be used.
std::optional<OpenedModel> open_headers(const Config& config, std::vector<Finding>& findings) {
  std::optional<OpenedModel> base;
  collect_finding(findings, [&] {
    base = open_model({.base = config.model.base_model,
                       .dtype = "fp32",
                       .device = "cpu",
                       .needs_tokenizer = false});
  });
  return base;
}

/// Whether the data that `key` names have to be tokenised; false too where they cannot be used.
bool tokenizes(const Config& config, const char* key, const std::string& path, DataUse use,
               std::vector<Finding>& findings) {
  bool needed = false;
  if (path.empty()) return needed;
  collect_finding(findings, [&] {
    require_existing(config, key, path, "a file or a folder with data");
    needed = find_sources(path, config.data.data_format, use).needs_tokenizer();
  });
  return needed;
}

void check_tokenizer(const Config& config, std::vector<Finding>& findings) {
  std::unique_ptr<Tokenizer> tokenizer;
  const bool loaded =
      collect_finding(findings, [&] { tokenizer = load_tokenizer(config.model.base_model); });
  if (loaded)
    collect_finding(findings, [&] { make_template(config.data.chat_template, *tokenizer); });
}

/// One file, read to its end.
struct FileReport {
  int64_t num_records = 0, num_broken = 0;
};

FileReport read_through(const std::string& path, const std::string& format,
                        std::vector<Finding>& findings) {
  constexpr int64_t kShown = 5;
  FileReport report;
  const std::unique_ptr<Source> source = open_source(path, format);
  for (;;) {
    try {
      if (!source->next()) break;
      ++report.num_records;
    } catch (const DataError& error) {
      if (report.num_broken++ < kShown) findings.push_back({error.exit_code(), error.what()});
    }
  }
  return report;
}

std::string report_on_file(const std::string& file, const std::string& format,
                           std::vector<Finding>& broken) {
  if (format == "hdf5") return fmt::format("#   {}: prepared part\n", file);
  const FileReport read = read_through(file, format, broken);
  return fmt::format("#   {}: {}, {} record{}, {} broken\n", file, format, read.num_records,
                     read.num_records == 1 ? "" : "s", read.num_broken);
}

/// Also the first sample, with what is learnt of it.
std::string report_on_tokens(const Config& config, const std::string& path,
                             const SourceFiles& sources) {
  const OpenedModel base =
      open_model({.base = config.model.base_model,
                  .dtype = "fp32",
                  .device = "cpu",
                  .template_name = config.data.chat_template,
                  .needs_tokenizer = needs_tokenizer(sources, config.model.base_model)});
  const ScratchFolder scratch("validate");
  const auto alone = make_local_world(1, /*timeout_s=*/60);
  const std::unique_ptr<Dataset> dataset =
      prepare_dataset({.path = path,
                       .format = config.data.data_format,
                       .max_seq_length = config.data.max_seq_length,
                       .train_on_prompt = config.data.train_on_prompt,
                       .skip_broken_records = true,
                       .prepared_dir = scratch.path(),
                       .vocab_size = base.decoder().spec().vocab_size},
                      base.tokenizer.get(), base.prompt_template.get(), *alone.front());
  const DatasetStats& stats = dataset->stats();
  std::string report =
      fmt::format("# {} samples, {} skipped, {} tokens, {} learnt, the longest {}, {} cut at {}\n",
                  stats.num_samples, stats.num_skipped, stats.cost, stats.loss_terms,
                  stats.largest_cost, stats.num_cut, config.data.max_seq_length);
  for (const std::string& line :
       sample_lines(tokens_of(dataset->read(0)), base.tokenizer.get(), terminal_columns() - 4))
    report += "#   " + line + "\n";
  return report;
}

}  // namespace

std::vector<Finding> check_run(const Config& config) {
  std::vector<Finding> findings;
  const auto collect = [&](auto&& work) { return collect_finding(findings, work); };
  std::optional<OpenedModel> base;
  if (!config.model.base_model.empty()) base = open_headers(config, findings);
  if (base) check_targets_of(config, *base, findings);

  const DataConfig& data = config.data;
  const bool names_file = !data.metadata_path.empty();
  if (names_file)
    collect([&] { require_existing(config, "train_data_dir", data.train_data_dir, "a folder"); });
  bool needs_tokenizer =
      names_file
          ? tokenizes(config, "metadata_path", data.metadata_path, DataUse::kTraining, findings)
          : tokenizes(config, "train_data_dir", data.train_data_dir, DataUse::kTraining, findings);
  for (const auto& [name, set] : data.val_data_path.sets)
    needs_tokenizer |= tokenizes(config, "val_data_path", set, DataUse::kEvaluation, findings);
  if (base && needs_tokenizer) check_tokenizer(config, findings);

  collect([&] { check_first_adapter(config); });
  collect([&] { check_resume_path(config); });
  if (!config.state.output_dir.empty() &&
      collect([&] { require_writable(config, "output_dir", config.state.output_dir); })) {
    collect([&] { require_writable(config, "log_dir", config.state.log_dir); });
    collect([&] { RunClaim(config, /*allowed_changes=*/{}).look(); });
  }
  return findings;
}

std::string report_on_data(const Config& config, std::vector<Finding>& findings) {
  std::string report;
  const std::string path = data_path(config.data);
  std::vector<Finding> broken;
  SourceFiles sources;
  const bool readable = collect_finding(findings, [&] {
    sources = find_sources(path, config.data.data_format);
    report += fmt::format("# data {}\n", path);
    for (size_t i = 0; i < sources.paths.size(); ++i)
      report += report_on_file(sources.paths[i], sources.formats[i], broken);
  });
  const bool skips = config.state.data_errors == "skip";
  if (!skips) findings.insert(findings.end(), broken.begin(), broken.end());
  if (readable && (skips || broken.empty()))
    collect_finding(findings, [&] { report += report_on_tokens(config, path, sources); });
  return report;
}

}  // namespace lora_dist
