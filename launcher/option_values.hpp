// What numbers an option of the command line may have, with messages that show the bound.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lora_dist {

/// A number for which `holds` is true; `bound` says in words which.
inline CLI::Validator number_that(bool (*holds)(double), std::string bound) {
  const auto check = [holds, bound](const std::string& text) {
    double number = 0;
    const bool is_number = CLI::detail::lexical_cast(text, number);
    return is_number && holds(number) ? std::string()
                                      : fmt::format("'{}', expected a number {}", text, bound);
  };
  return CLI::Validator(check, "");
}
inline CLI::Validator above_zero() {
  return number_that([](double number) { return number > 0; }, "above 0");
}
inline CLI::Validator count_from(int64_t low) {
  const auto check = [low](const std::string& text) {
    double number = 0;  // what is none is told by the option's own type
    const bool is_number = CLI::detail::lexical_cast(text, number);
    return is_number && number < static_cast<double>(low)
               ? fmt::format("'{}', expected a number of at least {}", text, low)
               : std::string();
  };
  return CLI::Validator(check, "");
}
/// A whole number from 1 on; `example` shows one.
inline CLI::Validator number_of_processes(std::string example) {
  const auto check = [example](const std::string& text) {
    int number = 0;
    const bool is_whole = CLI::detail::lexical_cast(text, number) && number > 0;
    return is_whole
               ? std::string()
               : fmt::format("'{}', expected a whole number of processes, as {}", text, example);
  };
  return CLI::Validator(check, "");
}
/// One of `words`, written as they are.
inline CLI::Validator one_of_words(std::vector<std::string> words) {
  const auto check = [words](const std::string& text) {
    const bool is_known = std::find(words.begin(), words.end(), text) != words.end();
    return is_known ? std::string()
                    : fmt::format("'{}', expected {}", text, fmt::join(words, ", "));
  };
  return CLI::Validator(check, "");
}
inline CLI::Validator at_least_zero() {
  return number_that([](double number) { return number >= 0; }, "of at least 0");
}

}  // namespace lora_dist
