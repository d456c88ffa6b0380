// What numbers an option of the command line may have, with messages that show the bound.
#pragma once

#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace lora_dist {

/// A number for which `holds` is true; `bound` says in words which.
inline CLI::Validator number_that(bool (*holds)(double), std::string bound) {
  const auto check = [holds, bound](const std::string& text) {
    double number = 0;
    const bool is_number = CLI::detail::lexical_cast(text, number);
    return is_number && holds(number) ? std::string()
                                      : fmt::format("'{}' is no number {}", text, bound);
  };
  return CLI::Validator(check, "");
}
inline CLI::Validator above_zero() {
  return number_that([](double number) { return number > 0; }, "above 0");
}
inline CLI::Validator at_least_zero() {
  return number_that([](double number) { return number >= 0; }, "of at least 0");
}

}  // namespace lora_dist
