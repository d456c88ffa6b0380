#include "launcher/environments/variables.hpp"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "core/base/error.hpp"

namespace lora_dist {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return value;
}

std::optional<int> integer_variable(const char* name) {
  const std::optional<std::string> text = variable(name);
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value >= 0) return value;
  throw ConfigError({.where = "environment",
                     .found = fmt::format("{} '{}'", name, *text),
                     .expected = "a whole number",
                     .fix = "unset it or start again under one launcher"});
}

int required_integer(const char* name, const char* beside) {
  if (const std::optional<int> value = integer_variable(name)) return *value;
  throw ConfigError({.where = "environment",
                     .found = fmt::format("{} is set but {} is not", beside, name),
                     .expected = {},
                     .fix = "start again under one launcher"});
}

void require_rank_below(const char* rank_name, int rank, const char* what, int size) {
  if (rank < size) return;
  throw ConfigError({.where = "environment",
                     .found = fmt::format("{} {} with {} {}", rank_name, rank, what, size),
                     .expected = {},
                     .fix = "start again under one launcher"});
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace lora_dist
