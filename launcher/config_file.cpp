#include "launcher/config_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/inspect/inspect.hpp"
#include "data/io/files.hpp"
#include "data/sources/file_names.hpp"
#include "dist/backends/rendezvous.hpp"

namespace lora_dist {
namespace {

bool names_config(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path.string());
  return extension == ".yaml" || extension == ".yml";
}

/// What a folder is that stands where a config file should, and what it is for.
ConfigError folder_for_config(const std::string& name, const std::string& folder) {
  const auto fault = [&](const std::string& found, const std::string& fix) {
    return ConfigError(
        {.where = folder_label(folder), .found = found, .expected = "a YAML file", .fix = fix});
  };
  const std::string inspect = fmt::format("`lora-dist inspect {}` shows it", folder);
  const std::string kind = kind_of_folder(folder);
  if (kind == "run")
    return fault(
        "a run folder",
        fmt::format("its config is {}; {}",
                    (std::filesystem::path(folder) / "config.resolved.yaml").string(), inspect));
  if (kind == "checkpoint")
    return fault("a checkpoint", "name it as resume_from_checkpoint in a config; " + inspect);
  if (kind == "adapter")
    return fault("an adapter", "name it as init_lora_from in a config; " + inspect);
  if (kind == "base_model")
    return fault("a base model", "name it as base_model in a config; " + inspect);
  std::vector<std::string> configs;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_regular_file() && names_config(entry.path()))
      configs.push_back(entry.path().string());
  if (!configs.empty())
    return fault("a folder", fmt::format("write `{} {}`", name, std::ranges::min(configs)));
  return fault("a folder", "if it holds data, name it as train_data_dir in a config; " + inspect);
}

/// Data and weights, which somebody gave in a config's place.
void require_config(const std::string& path) {
  static const std::set<std::string> others = {".jsonl", ".ndjson", ".csv",  ".tsv", ".safetensors",
                                               ".h5",    ".hdf5",   ".gguf", ".bin", ".parquet"};
  if (others.contains(lower_extension(path)))
    throw ConfigError(
        {.where = path,
         .found = "no config, by its name",
         .expected = "a YAML file",
         .fix = fmt::format("name data as train_data_dir in a config; `lora-dist inspect "
                            "{}` shows what it holds",
                            path)});
}

void require_file(const std::string& path) {
  if (path.empty())
    throw ConfigError({.where = "command line",
                       .found = "--config has no value",
                       .fix = "write `--config FILE`"});
  std::error_code problem;
  const auto status = std::filesystem::status(path, problem);
  if (status.type() == std::filesystem::file_type::not_found)
    throw ConfigError(
        {.where = path, .found = "no such file", .fix = "give --config an existing YAML file"});
  if (std::filesystem::is_directory(status)) throw folder_for_config("lora-dist --config", path);
  if (!std::filesystem::is_regular_file(status)) return;  // a pipe: `--config <(...)`
  require_config(path);
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path, problem));
  if (!problem && bytes > kConfigBytes)
    throw ConfigError({.where = path,
                       .found = fmt::format("{} bytes, limit {}", bytes, kConfigBytes),
                       .fix = "is this the data file?"});
}

ConfigText read_text(const std::string& path) {
  require_file(path);
  std::ifstream file(path, std::ios::binary);
  // One byte more than allowed, so that parse_config sees when a pipe holds too much.
  std::string text(static_cast<size_t>(kConfigBytes) + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file && !file.eof())
    throw ConfigError({.where = path,
                       .found = fmt::format("cannot be read ({})", std::strerror(errno)),
                       .fix = "give --config a readable YAML file"});
  text.resize(static_cast<size_t>(file.gcount()));
  return {.where = path, .yaml = std::move(text)};
}

std::vector<ConfigText> read_texts(const std::vector<std::string>& paths) {
  std::vector<ConfigText> texts;
  for (const std::string& path : paths) texts.push_back(read_text(path));
  return texts;
}

/// Rank 0's files for ranks that lack them; a file of a rank's own counts, and configs are compared
/// later.
std::vector<ConfigText> read_own_or_lent(const std::vector<std::string>& paths,
                                         Rendezvous& rendezvous) {
  using nlohmann::ordered_json;
  if (rendezvous.rank() == 0) {
    ordered_json told;  // null: nobody waits for a config that cannot be read
    std::vector<ConfigText> texts;
    try {
      texts = read_texts(paths);
    } catch (const ConfigError&) {
      rendezvous.from_rank_zero(told.dump());
      throw;
    }
    for (const ConfigText& text : texts) told.push_back(text.yaml);
    rendezvous.from_rank_zero(told.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
    return texts;
  }
  const auto lent = ordered_json::parse(rendezvous.from_rank_zero(""));
  if (lent.is_null())
    throw ConfigError({.where = "rank 0",
                       .found = "its config cannot be read",
                       .expected = {},
                       .fix = "see its own message"});
  std::vector<ConfigText> texts;
  for (size_t i = 0; i < paths.size(); ++i) {
    const bool is_lent = !std::filesystem::exists(paths[i]) && i < lent.size();
    texts.push_back(is_lent ? ConfigText{.where = paths[i], .yaml = lent[i]} : read_text(paths[i]));
  }
  return texts;
}

void say_notes(const Config& config) {
  for (const std::string& note : config.notes) log_info(note);
  for (const std::string& warning : config.warnings) log_warning(warning);
}

Config config_of(const std::vector<ConfigText>& texts, const std::vector<std::string>& overrides) {
  Config config = parse_config(texts, overrides);
  say_notes(config);
  return config;
}

}  // namespace

Config read_config(const std::vector<std::string>& paths,
                   const std::vector<std::string>& overrides) {
  return config_of(read_texts(paths), overrides);
}

Config read_config(const std::string& path, const std::vector<std::string>& overrides) {
  return read_config(std::vector<std::string>{path}, overrides);
}

DistributionConfig ConfigOptions::known_limits() const {
  std::vector<ConfigText> texts;
  for (const std::string& path : paths) {
    std::error_code ignored;  // a pipe can be read once, and is read later
    if (!std::filesystem::is_regular_file(path, ignored)) continue;
    try {
      texts.push_back(read_text(path));
    } catch (const ConfigError&) {
      continue;  // told when all have met
    }
  }
  return check_config(texts, overrides).config.distribution;
}

Config ConfigOptions::read(Rendezvous* rendezvous) const {
  return rendezvous ? config_of(read_own_or_lent(paths, *rendezvous), overrides) : read();
}

CheckedConfig ConfigOptions::check() const {
  CheckedConfig checked = check_config(read_texts(paths), overrides);
  if (checked.mistakes.empty()) say_notes(checked.config);
  return checked;
}

bool names_config_file(const std::string& word) {
  std::error_code problem;
  if (std::filesystem::is_regular_file(word, problem)) return true;
  return word.find('=') == std::string::npos && names_config(word);
}

namespace {

/// Of a command line without a config: the word that may be meant as one is told.
ConfigError no_config(const std::string& name, const std::vector<std::string>& words) {
  const std::string ways = fmt::format("write `{} FILE`, or see `{} --help`", name, name);
  for (const std::string& word : words) {
    if (word.find('=') != std::string::npos) continue;
    if (std::filesystem::is_directory(word)) return folder_for_config(name, word);
    return ConfigError({.where = word, .found = "no such file", .fix = ways});
  }
  return ConfigError({.where = "command line", .found = "no config file", .fix = ways});
}

}  // namespace

void ConfigOptions::declare(CLI::App& app) {
  app.add_option("--config", paths,
                 "YAML file, as FILE without the option; given again, a later file replaces keys")
      ->allow_extra_args(false)
      ->type_name("FILE");
  app.add_option("overrides", overrides,
                 "the config file; key=value replaces a key of it: lora_rank=16")
      ->type_name("FILE [key=value ...]");
  app.footer(
      "`lora-dist help keys` lists the keys of the config file, `lora-dist help lora_rank` tells "
      "of "
      "one.");
  app.callback([this, name = app.get_name()] {
    const auto first_file =
        std::stable_partition(overrides.begin(), overrides.end(),
                              [](const std::string& word) { return !names_config_file(word); });
    paths.insert(paths.end(), first_file, overrides.end());
    overrides.erase(first_file, overrides.end());
    if (paths.empty()) throw no_config(name, overrides);
  });
}

}  // namespace lora_dist
