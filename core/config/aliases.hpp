// Names and words of other tools, and what they are here (the tables of docs/configuration.md).
//
// An alias keeps its tool's meaning. A name whose meaning we do not have is reserved: it is known,
// and anything but "off" is refused with what to write instead.
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

struct ReservedKey {
  std::string_view theirs;
  std::string_view instead;  // what to do; may be empty
};

struct WordAlias {
  std::string_view key;  // ours
  std::string_view theirs;
  std::string_view ours;
};

const std::vector<KeyAlias>& key_aliases();
const std::vector<ReservedKey>& reserved_keys();
const std::vector<WordAlias>& word_aliases();

/// Our word for `word` as a value of our `key`; the word itself when it is no alias.
std::string canonical_word(std::string_view key, const std::string& word);

/// A key and value in our terms.
struct Meaning {
  std::string key;
  YamlPtr value;
};

/// What a key of another tool says in our terms (often one thing, sometimes nothing or several).
/// `where` is for messages. Errors  ConfigError: a word or a reserved key that we do not have.
/// Not for our own keys; answers `known = false` for a name that no table has.
struct Translation {
  bool known = false;
  bool same_value = false;  // a plain alias, worth telling the user about
  std::vector<Meaning> meanings = {};
};
Translation translate(const std::string& theirs, const YamlPtr& value, const std::string& where);

}  // namespace lora_dist::config
