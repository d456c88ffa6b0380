#include "data/inspect/text_parts.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/units.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

std::string words_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_structured()) return utf8_dump(value);
  std::vector<std::string> words;
  for (const auto& [name, item] : value.items())
    words.push_back((value.is_object() ? name + " " : "") + words_of(item));
  return fmt::format("{}", fmt::join(words, ", "));
}

constexpr size_t kPageWidth = 80;
constexpr size_t kLabelWidth = 15;  // with the indentation

}  // namespace

std::string plain(const Json& value) { return printable(words_of(value), /*max_bytes=*/200); }

std::string field(const std::string& name, const std::string& value) {
  return fmt::format("  {:<25} {}\n", name, value);
}

std::string fields(const Json& object, std::initializer_list<std::string_view> hidden) {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    const bool is_hidden = std::find(hidden.begin(), hidden.end(), name) != hidden.end();
    const bool is_empty = value.is_null() || value == "" ||
                          ((value.is_array() || value.is_object()) && value.empty());
    if (!is_hidden && !is_empty)
      text += field(name, name == "bytes" ? bytes_text(value.get<uint64_t>()) : plain(value));
  }
  return text;
}

std::string tensor_table(const Json& tensors) {
  std::string text;
  for (const Json& tensor : tensors)
    text +=
        fmt::format("  {:<70} {:<5} {:<16} {}\n", printable(tensor["name"].get<std::string>(), 256),
                    tensor["dtype"].get<std::string>(), tensor["shape"].dump(),
                    bytes_text(tensor["bytes"].get<uint64_t>()));
  return text;
}

std::string paragraph(const std::string& label, const std::string& text) {
  std::string result, line = fmt::format("  {:<{}}", label, kLabelWidth - 2);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (line.size() + word.size() > kPageWidth && line.size() > kLabelWidth) {
      result += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
      line = std::string(kLabelWidth, ' ');
    }
    line += word + " ";
    begin = end + 1;
  }
  return result + line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace lora_dist
