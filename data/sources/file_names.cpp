#include "data/sources/file_names.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <vector>

namespace lora_dist {
namespace {

constexpr std::array<std::string_view, 23> kEvaluationWords = {
    "test",    "tests",    "testing",  "testset",  "val",        "vals",     "valid",  "validation",
    "valset",  "validset", "eval",     "evals",    "evaluation", "dev",      "devset", "heldout",
    "holdout", "evalset",  "validate", "testdata", "valdata",    "evaldata", "devdata"};
// Chinese words stand without a blank between them.
constexpr std::array<std::string_view, 4> kEvaluationParts = {"测试", "验证", "评估", "评测"};
constexpr std::array<std::string_view, 3> kTrainingWords = {"train", "training", "trainset"};

/// The words of a name in lower case: cut at what is no letter, and where a capital follows a small
/// letter.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  char before = 0;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_letter = byte >= 0x80 || std::isalpha(byte) != 0;
    const bool begins_word =
        byte < 0x80 && std::isupper(byte) != 0 && before >= 'a' && before <= 'z';
    if ((!is_letter || begins_word) && !words.back().empty()) words.emplace_back();
    if (is_letter) words.back() += static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte);
    before = c;
  }
  return words;
}

}  // namespace

std::string lower_extension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return std::tolower(c); });
  return extension;
}

bool named_as_evaluation(std::string_view name) {
  const std::vector<std::string> words = words_of(name);
  const auto has = [&](const auto& known) {
    return std::ranges::any_of(
        words, [&](const std::string& word) { return std::ranges::count(known, word) > 0; });
  };
  const auto held = std::ranges::find(words, "held");
  const bool held_out = held != words.end() && held + 1 != words.end() && *(held + 1) == "out";
  const bool has_part = std::ranges::any_of(kEvaluationParts, [&](std::string_view part) {
    return name.find(part) != std::string_view::npos;
  });
  const bool is_for_training = has(kTrainingWords) || name.find("训练") != std::string_view::npos;
  return (has(kEvaluationWords) || held_out || has_part) && !is_for_training;
}

}  // namespace lora_dist
