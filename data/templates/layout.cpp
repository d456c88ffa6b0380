#include "data/templates/layout.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/sha256.hpp"
#include "data/printable.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

/// How many ids the tokenizer puts before and behind a text.
struct Frame {
  size_t before = 0, behind = 0;
};

Frame frame_of(const Tokenizer& tokenizer) {
  const std::vector<TokenId> ids = tokenizer.encode("", /*add_special_tokens=*/true);
  if (ids.empty()) return {};
  const bool has_bos = ids.front() == tokenizer.bos_id();
  return {.before = has_bos, .behind = ids.size() - has_bos};
}

std::vector<TokenId> encode_framed(const std::string& text, bool with_special_tokens,
                                   const Frame& frame, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids = tokenizer.encode(text, with_special_tokens);
  if (with_special_tokens)
    ids.resize(ids.size() - frame.behind);  // the template writes EOS where it belongs
  return ids;
}

size_t common_prefix(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

void append_chunk(const Chunk& chunk, bool train_on_prompt, const Tokenizer& tokenizer,
                  Tokens& result) {
  const Frame frame = chunk.with_special_tokens ? frame_of(tokenizer) : Frame{};
  std::string text;
  for (const Segment& segment : chunk.segments) text += segment.text;
  const std::vector<TokenId> ids = encode_framed(text, chunk.with_special_tokens, frame, tokenizer);

  std::vector<uint8_t> mask(ids.size());
  std::string so_far;
  size_t begin = frame.before;  // BOS is never learnt
  for (size_t i = 0; i < chunk.segments.size(); ++i) {
    const Segment& segment = chunk.segments[i];
    so_far += segment.text;
    const bool is_last = i + 1 == chunk.segments.size();
    const size_t end =
        is_last ? ids.size()
                : common_prefix(encode_framed(so_far, chunk.with_special_tokens, frame, tokenizer),
                                ids);
    const bool learn =
        segment.learn == Learn::kAnswer || (segment.learn == Learn::kPrompt && train_on_prompt);
    if (end > begin) std::fill(mask.begin() + begin, mask.begin() + end, learn);
    begin = std::max(begin, end);
  }
  result.ids.insert(result.ids.end(), ids.begin(), ids.end());
  result.loss_mask.insert(result.loss_mask.end(), mask.begin(), mask.end());
  if (!chunk.ends_with_eos || tokenizer.end_id() < 0) return;
  result.ids.push_back(tokenizer.end_id());
  result.loss_mask.push_back(chunk.segments.back().learn != Learn::kNever);
}

bool is_blank(TokenId id, const Tokenizer& tokenizer) {
  const std::string text = tokenizer.decode({id}, /*skip_special_tokens=*/false);
  return leading_space(text) == text.size();
}

/// A text that was laid out before it came here holds its BOS and its EOS already.
void drop_doubled_ends(Tokens& tokens, const Tokenizer& tokenizer) {
  const TokenId bos = tokenizer.bos_id(), eos = tokenizer.end_id();
  std::vector<TokenId>& ids = tokens.ids;
  const auto erase = [&](size_t at) {
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at));
    tokens.loss_mask.erase(tokens.loss_mask.begin() + static_cast<std::ptrdiff_t>(at));
  };
  if (bos >= 0) {
    while (ids.size() > 2 && ids[0] == bos && ids[1] == bos) erase(0);
    // A BOS inside opens the next conversation; where it is EOS too it closes the one before.
    for (size_t i = 0; i < ids.size(); ++i)
      if (ids[i] == bos && (bos != eos || i == 0)) tokens.loss_mask[i] = 0;
  }
  if (ids.empty() || ids.back() != eos) return;
  size_t before = ids.size() - 1;
  while (before > 0 && is_blank(ids[before - 1], tokenizer)) --before;
  if (before > 1 && tokenizer.ends_text(ids[before - 1])) erase(ids.size() - 1);
}

class FamilyTemplate : public PromptTemplate {
 public:
  explicit FamilyTemplate(TemplateFamily family) : family_(std::move(family)) {}

  std::string name() const override { return family_.name; }

  Tokens encode_training(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                         bool train_on_prompt) const override {
    return encode_chunks(lay_out(messages, /*for_prompt=*/false, tokenizer), train_on_prompt,
                         tokenizer);
  }

  std::vector<TokenId> encode_prompt(const std::vector<Message>& messages,
                                     const Tokenizer& tokenizer) const override {
    return encode_chunks(lay_out(messages, /*for_prompt=*/true, tokenizer),
                         /*train_on_prompt=*/false, tokenizer)
        .ids;
  }

  std::vector<TokenId> stop_ids(const Tokenizer& tokenizer) const override {
    std::vector<TokenId> ids;
    const TokenId end_of_turn =
        family_.end_of_turn.empty() ? -1 : tokenizer.id_of(family_.end_of_turn);
    for (const TokenId id : {tokenizer.eos_id(), tokenizer.end_id(), end_of_turn})
      if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    return ids;
  }

  /// Of the text of a conversation that shows every part of the template.
  std::string sha256() const override {
    const std::vector<Message> messages = {{"system", "S"},
                                           {"user", "U", "I"},
                                           {"assistant", " A "},
                                           {"user", " V "},
                                           {"assistant", "B"}};
    std::string text = family_.name;
    for (const Chunk& chunk : family_.layout(
             {.messages = messages, .for_prompt = false, .bos = "<bos>", .eos = "<eos>"})) {
      text += fmt::format("\n{}{}", chunk.with_special_tokens, chunk.ends_with_eos);
      for (const Segment& segment : chunk.segments)
        text += fmt::format("|{}{}", static_cast<int>(segment.learn), segment.text);
    }
    return sha256_hex(text);
  }

 private:
  std::vector<Chunk> lay_out(const std::vector<Message>& messages, bool for_prompt,
                             const Tokenizer& tokenizer) const {
    const std::vector<Message> turns = without_typed_ends(messages, stop_ids(tokenizer), tokenizer);
    return family_.layout({.messages = turns,
                           .for_prompt = for_prompt,
                           .bos = spelling(tokenizer.bos_id(), tokenizer),
                           .eos = spelling(tokenizer.eos_id(), tokenizer)});
  }

  TemplateFamily family_;
};

[[noreturn]] void fail_turn(size_t index, const std::string& found, const std::string& expected) {
  throw DataError({.where = fmt::format("messages[{}]", index),
                   .found = found,
                   .expected = expected,
                   .fix = {}});
}

}  // namespace

Learn learn_of(const Message& message) {
  if (message.role != "assistant") return Learn::kPrompt;
  return message.learn ? Learn::kAnswer : Learn::kNever;
}

std::unique_ptr<PromptTemplate> make_family_template(TemplateFamily family,
                                                     const Tokenizer& tokenizer) {
  for (const std::string& marker : family.markers)
    if (tokenizer.id_of(marker) < 0)
      log_warning(fmt::format(
          "template {}: '{}' is not a token of this base model and is learnt as plain text",
          family.name, marker));
  return std::make_unique<FamilyTemplate>(std::move(family));
}

Tokens encode_chunks(const std::vector<Chunk>& chunks, bool train_on_prompt,
                     const Tokenizer& tokenizer) {
  Tokens result;
  for (const Chunk& chunk : chunks) append_chunk(chunk, train_on_prompt, tokenizer, result);
  return result;
}

Tokens encode_text(const std::string& text, const Tokenizer& tokenizer) {
  Tokens tokens = encode_chunks(
      {{.segments = {{text, Learn::kAnswer}}, .with_special_tokens = true, .ends_with_eos = true}},
      /*train_on_prompt=*/false, tokenizer);
  drop_doubled_ends(tokens, tokenizer);
  return tokens;
}

std::vector<TokenId> encode_raw_prompt(const std::string& text, const Tokenizer& tokenizer) {
  Tokens tokens = encode_chunks(
      {{.segments = {{text, Learn::kPrompt}}, .with_special_tokens = true, .ends_with_eos = false}},
      /*train_on_prompt=*/false, tokenizer);
  drop_doubled_ends(tokens, tokenizer);
  return std::move(tokens.ids);
}

std::string spelling(TokenId id, const Tokenizer& tokenizer) {
  return id < 0 ? std::string() : tokenizer.piece(id);
}

bool is_special(TokenId id, const Tokenizer& tokenizer) {
  if (id == tokenizer.bos_id() || tokenizer.ends_text(id)) return true;
  return tokenizer.decode({id}, /*skip_special_tokens=*/true).empty() &&
         !tokenizer.decode({id}, /*skip_special_tokens=*/false).empty();
}

std::vector<Message> without_typed_ends(const std::vector<Message>& messages,
                                        const std::vector<TokenId>& end_ids,
                                        const Tokenizer& tokenizer) {
  std::vector<Message> turns = messages;
  const std::string bos = spelling(tokenizer.bos_id(), tokenizer);
  for (Message& turn : turns) {
    if (!bos.empty() && turn.content.starts_with(bos)) {
      turn.content.erase(0, bos.size());
      log_warning(fmt::format("turns begin with '{}' already; it is not doubled", printable(bos)));
    }
    if (turn.role != "assistant") continue;
    for (const TokenId id : end_ids) {
      const std::string end = spelling(id, tokenizer);
      const size_t blank = trailing_space(turn.content);
      const std::string_view said =
          std::string_view(turn.content).substr(0, turn.content.size() - blank);
      if (end.empty() || !said.ends_with(end)) continue;
      turn.content.resize(said.size() - end.size());
      log_warning(fmt::format("answers end with '{}' already; it is not doubled", printable(end)));
    }
  }
  return turns;
}

Dialogue as_dialogue(const LayoutRequest& request) {
  const std::vector<Message>& messages = request.messages;
  Dialogue dialogue;
  size_t i = 0;
  if (!messages.empty() && messages[0].role == "system") dialogue.system = messages[i++].content;
  for (; i < messages.size(); ++i) {
    const bool answers =
        !dialogue.exchanges.empty() && dialogue.exchanges.back().assistant == nullptr;
    const std::string expected = answers ? "assistant" : "user";
    if (messages[i].role != expected)
      fail_turn(i, fmt::format("a turn of '{}'", messages[i].role),
                fmt::format("a turn of '{}'", expected));
    if (answers)
      dialogue.exchanges.back().assistant = &messages[i];
    else
      dialogue.exchanges.push_back({.user = &messages[i]});
  }
  const bool open = !dialogue.exchanges.empty() && dialogue.exchanges.back().assistant == nullptr;
  if (dialogue.exchanges.empty() || open != request.for_prompt)
    fail_turn(messages.size(), "the conversation ends",
              request.for_prompt ? "a turn of 'user'" : "a turn of 'assistant'");
  return dialogue;
}

std::string full_content(const Message& message) {
  return message.input.empty() ? message.content : message.content + "\n" + message.input;
}

std::string trimmed(const std::string& text) {
  const size_t begin = leading_space(text);
  const size_t end = text.size() - trailing_space(text);
  return begin < end ? text.substr(begin, end - begin) : std::string();
}

}  // namespace lora_dist
