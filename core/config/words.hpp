// The words of keys that name an entry of a registry: `optimizer`, `backend`, `template`.
//
// The registries of core are asked; data and dist lie above core, so the launcher says their names
// at the start of the program.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/registry.hpp"
#include "core/config/config.hpp"

namespace lora_dist::config {

/// The names of a registry in its order, with the `help` of its entries where they have one.
template <class Entry>
std::vector<Word> words_of(const Registry<Entry>& registry) {
  std::vector<Word> words;
  for (const std::string_view name : registry.names()) {
    Word word{.name = std::string(name)};
    if constexpr (requires { registry.at(name).help; }) word.meaning = registry.at(name).help;
    words.push_back(std::move(word));
  }
  return words;
}

/// From now on `key` takes these words. Called before any other thread is there.
void learn_words(const std::string& key, std::vector<Word> words);

}  // namespace lora_dist::config
