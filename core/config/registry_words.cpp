// The registries whose names are words of a key.
#include <map>

#include "core/adapters/adapter.hpp"
#include "core/config/words.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/planning/sharding.hpp"
#include "core/schedules/schedule.hpp"
#include "core/tasks/task_kind.hpp"

namespace lora_dist {
namespace {

std::map<std::string, std::vector<Word>>& words_by_key() {
  static std::map<std::string, std::vector<Word>> words = {
      {"task_type", config::words_of(tasks())},
      {"adapter", config::words_of(adapters())},
      {"scheduler", config::words_of(schedules())},
      {"optimizer", config::words_of(optimizers())},
      {"sharding", config::words_of(shardings())}};
  return words;
}

}  // namespace

FieldRule named_in_registry(const char* key, std::vector<std::string> also,
                            std::vector<std::string> later) {
  const auto known = words_by_key().find(key);
  if (known == words_by_key().end()) return {.later = std::move(later)};
  FieldRule rule = one_of(std::move(also), std::move(later));
  for (const Word& word : known->second) {
    rule.one_of.push_back(word.name);
    if (!word.meaning.empty()) rule.meanings.push_back(word);
  }
  return rule;
}

void config::learn_words(const std::string& key, std::vector<Word> words) {
  words_by_key()[key] = std::move(words);
}

}  // namespace lora_dist
