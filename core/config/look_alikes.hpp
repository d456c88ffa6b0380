// Characters that look like those of YAML and are others: what an input method or a word processor
// puts where a colon, a comma, a quote or a digit was meant.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lora_dist::config {

struct LookAlike {
  std::string character;  // as written
  std::string meant;      // ASCII; empty for one that has no width
  std::string kind;       // "full-width", "curly", ...
};

/// The first look-alike in `text`, which is UTF-8.
std::optional<LookAlike> first_look_alike(std::string_view text);
/// The look-alike that `text` begins with.
std::optional<LookAlike> leading_look_alike(std::string_view text);
/// `text` with what was meant.
std::string without_look_alikes(std::string_view text);
/// "full-width '：'", for messages; invisible ones by their number, "no-break blank U+00A0".
std::string shown(const LookAlike& found);

}  // namespace lora_dist::config
