#include "data/samples/sample_view.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

using Ids = std::vector<TokenId>;

/// Text of ids [begin, end) where they stand: some tokenizers drop a blank at the start of a text,
/// so one id before is read along.
std::string text_of(const Ids& ids, size_t begin, size_t end, const Tokenizer* tokenizer) {
  const auto at = [&](size_t i) { return ids.begin() + static_cast<ptrdiff_t>(i); };
  if (tokenizer == nullptr) return fmt::format("{}", fmt::join(at(begin), at(end), " "));
  const auto decoded = [&](size_t from, size_t to) {
    return tokenizer->decode(Ids(at(from), at(to)), /*skip_special_tokens=*/false);
  };
  if (begin == 0) return decoded(0, end);
  const std::string before = decoded(begin - 1, begin), all = decoded(begin - 1, end);
  return all.starts_with(before) ? all.substr(before.size()) : decoded(begin, end);
}

}  // namespace

std::vector<Stretch> stretches_of(const Tokens& tokens, const Tokenizer* tokenizer) {
  std::vector<Stretch> stretches;
  for (size_t begin = 0; begin < tokens.ids.size();) {
    const auto first = tokens.loss_mask.begin() + static_cast<ptrdiff_t>(begin);
    const auto last = std::find_if(first, tokens.loss_mask.end(),
                                   [&](uint8_t learnt) { return (learnt != 0) != (*first != 0); });
    const size_t end = last - tokens.loss_mask.begin();
    stretches.push_back({.text = text_of(tokens.ids, begin, end, tokenizer),
                         .learnt = *first != 0,
                         .num_tokens = static_cast<int64_t>(end - begin)});
    begin = end;
  }
  return stretches;
}

std::vector<std::string> sample_lines(const Tokens& tokens, const Tokenizer* tokenizer,
                                      size_t columns) {
  constexpr size_t kMaxShown = 8;
  constexpr size_t kLabelColumns = 15;
  const std::vector<Stretch> stretches = stretches_of(tokens, tokenizer);
  const size_t num_left_out = stretches.size() - std::min(stretches.size(), kMaxShown);
  std::vector<std::string> lines;
  for (size_t i = 0; i < stretches.size(); ++i) {
    if (num_left_out > 0 && i == kMaxShown - 2) {
      lines.push_back(fmt::format("... {} more stretches ...", num_left_out));
      i += num_left_out;
    }
    const Stretch& stretch = stretches[i];
    lines.push_back(
        fmt::format("{:<7} {:>5}  {}", stretch.learnt ? "learnt" : "context", stretch.num_tokens,
                    one_line(stretch.text, std::max(columns, 3 * kLabelColumns) - kLabelColumns)));
  }
  return lines;
}

}  // namespace lora_dist
