// Environment variables as values, with errors that name them.
#pragma once

#include <optional>
#include <string>

#include "core/ranks/world.hpp"

namespace lora_dist {

/// Nothing where the variable is unset or empty.
std::optional<std::string> variable(const char* name);
/// Errors  ConfigError: not a whole number of at least 0.
std::optional<int> integer_variable(const char* name);
/// Errors  ConfigError: unset; `beside` is the variable whose presence makes this one necessary.
int required_integer(const char* name, const char* beside);

/// Errors  ConfigError: `rank` is not below `size` (museum 24). The names are those of the
/// variables.
void require_rank_below(const char* rank_name, int rank, const char* what, int size);

std::string host_name();

}  // namespace lora_dist
