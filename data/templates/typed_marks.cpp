#include "data/templates/typed_marks.hpp"

#include <algorithm>

#include "core/base/log.hpp"
#include "data/io/printable.hpp"
#include "data/templates/layout.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

bool is_blank(TokenId id, const Tokenizer& tokenizer) {
  const std::string text = tokenizer.decode({id}, /*skip_special_tokens=*/false);
  return leading_space(text) == text.size();
}

struct TypedToken {
  TokenId id = -1;
  size_t begin = 0, end = 0;
};

/// The tokens of `text` that are spelt in brackets of any kind: "<|eot_id|>", "</s>", "[INST]".
std::vector<TypedToken> bracketed_tokens(const std::string& text, const Tokenizer& tokenizer) {
  constexpr size_t kMaxBytes = 48;
  std::vector<TypedToken> tokens;
  for (size_t begin = text.find_first_of("<["); begin != std::string::npos;
       begin = text.find_first_of("<[", begin + 1)) {
    const size_t end = text.find(text[begin] == '<' ? '>' : ']', begin);
    if (end == std::string::npos || end - begin > kMaxBytes) continue;
    const TokenId id = tokenizer.id_of(std::string_view(text).substr(begin, end + 1 - begin));
    if (id >= 0 && is_special(id, tokenizer)) tokens.push_back({id, begin, end + 1});
  }
  return tokens;
}

/// The end token behind which nothing but white space comes; its id is -1 where there is none.
TypedToken end_typed_behind(const std::string& content, const TurnMarks& marks,
                            const Tokenizer& tokenizer) {
  const size_t end = content.size() - trailing_space(content);
  const std::string_view said = std::string_view(content).substr(0, end);
  for (const TokenId id : marks.end_ids) {
    const std::string text = spelling(id, tokenizer);
    if (!text.empty() && said.ends_with(text)) return {id, end - text.size(), end};
  }
  const std::vector<TypedToken> tokens = bracketed_tokens(content, tokenizer);
  const bool is_end =
      !tokens.empty() && tokens.back().end == end && tokenizer.ends_text(tokens.back().id);
  return is_end ? tokens.back() : TypedToken{};
}

/// Bytes of the answer's header at the start of `content`, in whole or from one of its lines or
/// tokens on.
size_t header_bytes(std::string_view content, std::string_view before_answer) {
  const size_t blank = leading_space(content);
  for (size_t begin = 0; begin < before_answer.size(); ++begin) {
    const bool may_begin =
        begin == 0 || before_answer[begin - 1] == '\n' || before_answer[begin] == '<';
    if (!may_begin) continue;
    const std::string header = stripped(std::string(before_answer.substr(begin)));
    if (header.empty() || !content.substr(blank).starts_with(header)) continue;
    const size_t end = blank + header.size();
    return end + leading_space(content.substr(end));
  }
  return 0;
}

void drop_marks_of(Message& turn, const TurnMarks& marks, const Tokenizer& tokenizer) {
  const std::string bos = spelling(tokenizer.bos_id(), tokenizer);
  const size_t blank = leading_space(turn.content);
  if (!bos.empty() && std::string_view(turn.content).substr(blank).starts_with(bos)) {
    turn.content.erase(0, blank + bos.size());
    log_warning(fmt::format("turns begin with '{}' already; it is not doubled", printable(bos)));
  }
  if (turn.role != "assistant") return;
  if (const size_t header = header_bytes(turn.content, marks.before_answer); header > 0) {
    log_warning(fmt::format("answers begin with '{}' already; it is not doubled",
                            printable(stripped(turn.content.substr(0, header)))));
    turn.content.erase(0, header);
  }
  for (TypedToken end; (end = end_typed_behind(turn.content, marks, tokenizer)).id >= 0;) {
    turn.content.resize(end.begin);
    log_warning(fmt::format("answers end with '{}' already; it is not doubled",
                            printable(spelling(end.id, tokenizer))));
  }
}

}  // namespace

std::vector<Message> without_typed_marks(const std::vector<Message>& messages,
                                         const TurnMarks& marks, const Tokenizer& tokenizer) {
  std::vector<Message> turns = messages;
  for (Message& turn : turns) {
    drop_marks_of(turn, marks, tokenizer);
    for (const TypedToken& token : bracketed_tokens(full_content(turn), tokenizer))
      log_warning(
          fmt::format("turns hold '{}', which is a special token of this base model and is encoded "
                      "as that token; write it otherwise if it is meant as text",
                      printable(spelling(token.id, tokenizer))));
  }
  return turns;
}

void drop_doubled_ends(Tokens& tokens, const Tokenizer& tokenizer) {
  const TokenId bos = tokenizer.bos_id(), eos = tokenizer.end_id();
  std::vector<TokenId>& ids = tokens.ids;
  const auto erase = [&](size_t begin, size_t end) {
    const auto first = static_cast<std::ptrdiff_t>(begin), last = static_cast<std::ptrdiff_t>(end);
    ids.erase(ids.begin() + first, ids.begin() + last);
    tokens.loss_mask.erase(tokens.loss_mask.begin() + first, tokens.loss_mask.begin() + last);
  };
  if (bos >= 0) {
    while (ids.size() > 2 && ids[0] == bos) {
      size_t second = 1;
      while (second < ids.size() && ids[second] != bos && is_blank(ids[second], tokenizer))
        ++second;
      if (second + 1 >= ids.size() || ids[second] != bos) break;
      erase(0, second);
    }
    // A BOS inside opens the next conversation; where it is EOS too it closes the one before.
    for (size_t i = 0; i < ids.size(); ++i)
      if (ids[i] == bos && (bos != eos || i == 0)) tokens.loss_mask[i] = 0;
  }
  if (ids.empty() || ids.back() != eos) return;
  size_t before = ids.size() - 1;
  while (before > 0 && is_blank(ids[before - 1], tokenizer)) --before;
  if (before > 1 && tokenizer.ends_text(ids[before - 1])) erase(ids.size() - 1, ids.size());
}

}  // namespace lora_dist
