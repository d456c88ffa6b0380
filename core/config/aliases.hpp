// Names and words of other tools, and what they are here (the tables of docs/configuration.md).
//
// An alias keeps its tool's meaning. A name whose meaning we do not have is foreign: its harmless
// values are named as ignored, any other is refused with the reason.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/yaml.hpp"

namespace lora_dist::config {

/// Their key is ours under another name. `words` translates values: "true" -> "dtype=bf16"; a word
/// that says nothing here translates to "". Without words the value is taken as it is.
struct KeyAlias {
  std::string_view theirs;
  std::string_view ours;
  std::vector<std::pair<std::string_view, std::string_view>> words = {};
};

/// A key of another tool that none of ours answers to.
struct ForeignKey {
  std::string_view theirs;  // "wandb_*" is every name that begins so
  std::string_view why;     // why it changes nothing here; of the others, what is not built
  /// Values that change nothing here, in small letters; of a list every item, of a map every key.
  /// kAnyValue: all. kOff: false, none, 0, and what is empty.
  std::vector<std::string_view> harmless;
  std::string_view instead = {};  // what to write for the others; empty: nothing
};
inline constexpr std::string_view kAnyValue = "*", kOff = "off";

struct WordAlias {
  std::string_view key;  // ours
  std::string_view theirs;
  std::string_view ours;
  std::string_view difference = {};  // what their word says and ours does not do
};

const std::vector<KeyAlias>& key_aliases();
const std::vector<ForeignKey>& foreign_keys();
const std::vector<WordAlias>& word_aliases();

/// The entry for `theirs`, by its whole name or by its beginning; null when there is none.
const ForeignKey* find_foreign(std::string_view theirs);
/// The alias that `word` is as a value of our `key`; null when it is none.
const WordAlias* find_word(std::string_view key, const std::string& word);
/// Our word for `word` as a value of our `key`; the word itself when it is no alias.
std::string canonical_word(std::string_view key, const std::string& word);
/// Our key that `theirs` is an alias of; "" when it is none.
std::string canonical_key(std::string_view theirs);

/// A key and value in our terms.
struct Meaning {
  std::string key;
  YamlPtr value;
};

/// What a key of another tool says in our terms (often one thing, sometimes nothing or several).
/// `where` is for messages. Errors  ConfigError: a word that we do not have, a foreign key with a
/// value that would change the run. Not for our own keys; answers `known = false` for a name that
/// no table has.
struct Translation {
  bool known = false;
  bool ignored = false;     // a foreign key that changes nothing
  bool same_value = false;  // a plain alias, worth telling the user about
  std::vector<Meaning> meanings = {};
};
Translation translate(const std::string& theirs, const YamlPtr& value, const std::string& where);

}  // namespace lora_dist::config
