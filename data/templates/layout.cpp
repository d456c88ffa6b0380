#include "data/templates/layout.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/sha256.hpp"
#include "data/io/printable.hpp"
#include "data/templates/typed_marks.hpp"
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

class FamilyTemplate : public PromptTemplate {
 public:
  FamilyTemplate(TemplateFamily family, const Tokenizer& tokenizer)
      : family_(std::move(family)),
        marks_{.end_ids = stop_ids(tokenizer), .before_answer = before_answer(tokenizer)} {}

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
    const std::vector<Message> turns = without_typed_marks(messages, marks_, tokenizer);
    return family_.layout({.messages = turns,
                           .for_prompt = for_prompt,
                           .bos = spelling(tokenizer.bos_id(), tokenizer),
                           .eos = spelling(tokenizer.eos_id(), tokenizer)});
  }

  std::string before_answer(const Tokenizer& tokenizer) const {
    const std::vector<Message> question = {{"user", "\uE000"}};
    std::string text;
    for (const Chunk& chunk : family_.layout({.messages = question,
                              .for_prompt = true,
                              .bos = spelling(tokenizer.bos_id(), tokenizer),
                              .eos = spelling(tokenizer.eos_id(), tokenizer)}))
      for (const Segment& segment : chunk.segments) text += segment.text;
    return text.substr(text.find(question[0].content) + question[0].content.size());
  }

  TemplateFamily family_;
  TurnMarks marks_;
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
  return std::make_unique<FamilyTemplate>(std::move(family), tokenizer);
}

Tokens PromptTemplate::encode_record(const Conversation& record, const Tokenizer& tokenizer,
                                     bool train_on_prompt, std::vector<std::string>& notes) const {
  for (const Message& turn : record.messages) {
    const bool calls = is_said(turn.as_written, "tool_calls");
    if (!calls && turn.role != "tool") continue;
    throw DataError({.where = {},
                     .found = calls ? "a turn with 'tool_calls'" : "a turn of 'tool'",
                     .expected = "turns of text alone with this layout",
                     .fix = "take such conversations out, or train a base whose chat template lays "
                            "out calls of tools, with template: auto"});
  }
  for (const std::string& key : keys_beside_text(record)) notes.push_back(left_out_note(key));
  return encode_training(record.messages, tokenizer, train_on_prompt);
}

bool is_said(const nlohmann::ordered_json& turn, const std::string& key) {
  return turn.is_object() && turn.contains(key) && !turn[key].is_null() && turn[key] != "" &&
         !(turn[key].is_structured() && turn[key].empty());
}

std::vector<std::string> keys_beside_text(const Conversation& record) {
  std::vector<std::string> keys;
  if (!record.tools.is_null()) keys.emplace_back("tools");
  if (!record.documents.is_null()) keys.emplace_back("documents");
  for (const char* key : {"tool_calls", "reasoning_content", "reasoning", "thinking"})
    if (std::ranges::any_of(record.messages,
                            [&](const Message& turn) { return is_said(turn.as_written, key); }))
      keys.emplace_back(key);
  return keys;
}

std::string left_out_note(const std::string& key) {
  if (key == "tools" || key == "documents")
    return fmt::format("'{}' is left out of the prompt", key);
  return fmt::format("'{}' of a turn is left out: the answer is learnt without it", key);
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

std::string stripped(const std::string& text) {
  const size_t begin = leading_space(text);
  const size_t end = text.size() - trailing_space(text);
  return begin < end ? text.substr(begin, end - begin) : std::string();
}

}  // namespace lora_dist
