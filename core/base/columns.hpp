// Texts in columns, for help on a terminal.
#pragma once

#include <string>

namespace lora_dist {

inline constexpr size_t kHelpColumns = 79;

/// `text` in lines of at most kHelpColumns characters, broken at blanks; the second and later lines
/// begin with `indent` blanks, the first is taken to begin there already.
std::string wrapped(const std::string& text, size_t indent);
/// "  <name>  <text>", the text in a column of its own that begins at `column`; a longer name has a
/// line to itself. Ends with a newline.
std::string entry_in_columns(const std::string& name, const std::string& text, size_t column);

}  // namespace lora_dist
