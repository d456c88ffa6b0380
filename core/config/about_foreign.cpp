// What keys and words of other tools are here, for people who ask for one by its name.
#include <algorithm>

#include "core/config/aliases.hpp"
#include "core/config/config.hpp"
#include "core/config/values.hpp"

namespace lora_dist {
namespace {

using config::ForeignKey;
using config::KeyAlias;

bool allows_any(const ForeignKey& key) {
  return std::ranges::count(key.harmless, config::kAnyValue) > 0;
}

std::string about(const ForeignKey& key, const std::string& name) {
  if (allows_any(key))
    return fmt::format("{} of other trainers is ignored, since it changes nothing here: {}.", name,
                       key.why);
  std::vector<std::string> harmless;
  for (const std::string_view word : key.harmless)
    harmless.push_back(word == config::kOff ? "false, none, 0 and nothing" : std::string(word));
  return fmt::format(
      "{} of other trainers asks for what is not available yet ({}). Of its values {} {} ignored, "
      "any other is refused; {}.",
      name, key.why, fmt::join(harmless, ", "),
      harmless.size() == 1 && key.harmless[0] != config::kOff ? "is" : "are",
      key.instead.empty() ? "leave the key out" : key.instead);
}

std::string about(const KeyAlias& alias) {
  std::vector<std::string> meanings;
  for (const auto& [theirs, ours] : alias.words)
    meanings.push_back(fmt::format(
        "{} {}", theirs, ours.empty() ? "changes nothing" : fmt::format("means {}", ours)));
  return fmt::format("{} of other trainers: {}.", alias.theirs, fmt::join(meanings, ", "));
}

/// The values of other trainers' keys, and of ours, that are called so.
std::vector<std::string> about_word(const std::string& word) {
  std::vector<std::string> lines;
  for (const KeyAlias& alias : config::key_aliases())
    for (const auto& [theirs, ours] : alias.words)
      if (theirs == word && theirs != "true" && theirs != "false" && !ours.empty())
        lines.push_back(fmt::format("{}: {} means {}.", alias.theirs, word, ours));
  for (const config::WordAlias& alias : config::word_aliases())
    if (alias.theirs == word && alias.theirs != alias.ours)
      lines.push_back(
          fmt::format("{}: {} means {}{}.", alias.key, word, alias.ours,
                      alias.difference.empty() ? "" : fmt::format(" ({})", alias.difference)));
  for (const KeyFacts& key : config_keys())
    if (std::ranges::count(key.words, word) > 0)
      lines.push_back(
          fmt::format("{} is a value of {}; see `lora-dist help {}`.", word, key.key, key.key));
  return lines;
}

}  // namespace

std::string about_foreign_name(const std::string& name) {
  if (name == "datasets")
    return "datasets of Axolotl: a list with one map, whose path means train_data_dir, data_files "
           "metadata_path and type data_format.";
  for (const KeyAlias& alias : config::key_aliases())
    if (alias.theirs == name && !alias.words.empty()) return about(alias);
  for (const std::string& candidate : {name, name + "_"})  // "wandb" for "wandb_*"
    if (const ForeignKey* key = config::find_foreign(candidate)) return about(*key, name);
  return fmt::format("{}", fmt::join(about_word(config::lower_case(name)), "\n"));
}

}  // namespace lora_dist
