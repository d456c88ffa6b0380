#include "data/sources/separators.hpp"

#include <algorithm>
#include <array>

#include "data/sources/line_reader.hpp"

namespace lora_dist {

bool is_rule(std::string_view text) {
  constexpr std::array<std::string_view, 13> kMarks = {"-",  "=",  "*", "_", "#", "+", "—",
                                                       "－", "＝", "─", "━", "═", "＊"};
  size_t num_marks = 0;
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    const auto mark =
        std::ranges::find_if(kMarks, [&](std::string_view one) { return text.starts_with(one); });
    if (mark == kMarks.end()) return false;
    text.remove_prefix(mark->size());
    ++num_marks;
  }
  return num_marks >= 3;
}

bool is_title(std::string_view text) {
  constexpr size_t kMaxTitleBytes = 72;  // 24 Chinese characters
  constexpr std::array<std::string_view, 13> kEnds = {"。", "！", "？", "；", "，", "…", "”",
                                                      ".",  "!",  "?",  ";",  ",",  "\""};
  text = trimmed(text);
  if (text.empty() || text.starts_with('#')) return !text.empty();
  const bool lists = text.starts_with("- ") || text.starts_with("•") || text.starts_with("* ") ||
                     (text[0] >= '0' && text[0] <= '9');
  return !lists && text.size() <= kMaxTitleBytes &&
         std::ranges::none_of(kEnds, [&](std::string_view end) { return text.ends_with(end); });
}

}  // namespace lora_dist
