#include "core/base/columns.hpp"

#include <sstream>

namespace lora_dist {

std::string wrapped(const std::string& text, size_t indent) {
  std::istringstream words(text);
  std::string lines, word;
  size_t used = indent;
  while (words >> word) {
    const bool is_first = lines.empty();
    if (!is_first && used + 1 + word.size() > kHelpColumns) {
      lines += "\n" + std::string(indent, ' ');
      used = indent;
    } else if (!is_first) {
      lines += ' ';
      ++used;
    }
    lines += word;
    used += word.size();
  }
  return lines;
}

std::string entry_in_columns(const std::string& name, const std::string& text, size_t column) {
  std::string line = "  " + name;
  if (line.size() + 2 > column)
    line += "\n" + std::string(column, ' ');
  else
    line.resize(column, ' ');
  return line + wrapped(text, column) + "\n";
}

}  // namespace lora_dist
