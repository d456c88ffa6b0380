#include "launcher/config_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "core/log.hpp"
#include "dist/backends/rendezvous.hpp"

namespace lora_dist {
namespace {

void require_file(const std::string& path) {
  std::error_code problem;
  const auto status = std::filesystem::status(path, problem);
  if (status.type() == std::filesystem::file_type::not_found)
    throw ConfigError(
        {.where = path, .found = "no such file", .fix = "give --config an existing YAML file"});
  if (std::filesystem::is_directory(status))
    throw ConfigError({.where = path, .found = "is a folder", .expected = "a YAML file"});
  if (!std::filesystem::is_regular_file(status)) return;  // a pipe: `--config <(...)`
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
  if (word.find('=') != std::string::npos) return false;
  const std::string extension = std::filesystem::path(word).extension().string();
  return extension == ".yaml" || extension == ".yml" || extension == ".YAML" || extension == ".YML";
}

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
    if (paths.empty())
      throw ConfigError({.where = "command line",
                         .found = "no config file",
                         .expected = {},
                         .fix = fmt::format("write `{} FILE`, or see `{} --help`", name, name)});
  });
}

}  // namespace lora_dist
