// The base model's own chat template, executed: ids are those of transformers' apply_chat_template.
//
// What is learnt is found without marks in the template. A conversation is rendered twice, once as
// it is and once with a sentinel in place of each answer; what stands between the sentinels is the
// template's, what replaces them is the answer. Where a template makes more of an answer than its
// text (it moves reasoning about), the answers are replaced one at a time. The token that closes an
// answer is what follows a sentinel whether or not another question comes.
#include "data/templates/chat_template.hpp"

#include <algorithm>
#include <ctime>
#include <optional>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/sha256.hpp"
#include "data/printable.hpp"
#include "data/templates/layout.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

/// A private-use text that no data holds and no template changes.
std::string sentinel(size_t number) { return fmt::format("\uE000{}\uE001", number); }

struct Answer {
  size_t begin = 0, end = 0;  // bytes of the rendered text
  Learn learn = Learn::kAnswer;
};

std::string common_start(const std::string& a, const std::string& b) {
  return {a.begin(), std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first};
}

/// Up to the end of the first special token of `text`, and whether there is one.
std::pair<std::string, bool> through_special(const std::string& text, const Tokenizer& tokenizer) {
  for (const TokenId id : tokenizer.encode(text, /*add_special_tokens=*/false)) {
    if (!is_special(id, tokenizer)) continue;
    const std::string piece = tokenizer.piece(id);
    const size_t found = text.find(piece);
    if (found != std::string::npos) return {text.substr(0, found + piece.size()), true};
  }
  return {text, false};
}

jinja::Value as_value(const std::vector<Message>& messages) {
  jinja::List list;
  for (const Message& message : messages)
    list.emplace_back(jinja::Dict{{"role", message.role}, {"content", full_content(message)}});
  return list;
}

class ChatTemplate final : public PromptTemplate {
 public:
  explicit ChatTemplate(const Tokenizer& tokenizer)
      : text_(tokenizer.chat_template()),
        block_(jinja::parse(text_)),
        bos_(spelling(tokenizer.bos_id(), tokenizer)),
        eos_(spelling(tokenizer.eos_id(), tokenizer)),
        pad_(spelling(tokenizer.pad_id(), tokenizer)) {
    look_at_endings(tokenizer);
    look_at_beginnings();
    training_takes_system_ = takes_system(/*for_prompt=*/false);
    prompt_takes_system_ = takes_system(/*for_prompt=*/true);
    if (text_.find("strftime_now") != std::string::npos)
      log_warning(
          "the chat template of the base model writes the day's date; training data get the date "
          "that the template holds for it, or 26 Jul 2024, so that their ids stay the same");
  }

  std::string name() const override { return "chat_template"; }

  Tokens encode_training(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                         bool train_on_prompt) const override {
    const std::vector<Message> turns = adapted(messages, training_takes_system_, tokenizer);
    const std::string text = rendered_record(turns, /*for_prompt=*/false);
    const std::vector<Answer> answers = answers_of(turns, text);
    const std::vector<TokenId> ids = tokenizer.encode(text, /*add_special_tokens=*/false);
    Tokens tokens =
        encode_chunks(chunks_of(text, answers, /*in_pieces=*/true), train_on_prompt, tokenizer);
    if (tokens.ids != ids)  // a tokenizer that looks across its special tokens
      tokens =
          encode_chunks(chunks_of(text, answers, /*in_pieces=*/false), train_on_prompt, tokenizer);
    if (last_closing_.empty() && !answers.empty() && tokenizer.end_id() >= 0) {
      tokens.ids.push_back(tokenizer.end_id());
      tokens.loss_mask.push_back(answers.back().learn == Learn::kAnswer);
    }
    return tokens;
  }

  std::vector<TokenId> encode_prompt(const std::vector<Message>& messages,
                                     const Tokenizer& tokenizer) const override {
    // Training data must have the same ids tomorrow; who asks a question today is told the date.
    const std::string text = rendered_record(adapted(messages, prompt_takes_system_, tokenizer),
                                             /*for_prompt=*/true, std::time(nullptr));
    return tokenizer.encode(text, /*add_special_tokens=*/false);
  }

  std::vector<TokenId> stop_ids(const Tokenizer& tokenizer) const override {
    std::vector<TokenId> ids;
    for (const std::string& mark : {closing_, last_closing_}) {
      const TokenId end = mark.empty() ? -1 : tokenizer.id_of(trimmed(mark));
      for (const TokenId id : {tokenizer.eos_id(), tokenizer.end_id(), end})
        if (id >= 0 && std::ranges::count(ids, id) == 0) ids.push_back(id);
    }
    return ids;
  }

  std::string sha256() const override {
    return sha256_hex(fmt::format("chat_template\n{}\n{}\n{}", bos_, eos_, text_));
  }

 private:
  /// Errors  jinja::Failure.
  std::string rendered(const std::vector<Message>& turns, bool for_prompt,
                       std::optional<std::time_t> now = std::nullopt) const {
    jinja::Dict variables = {{"messages", as_value(turns)},
                             {"tools", jinja::Value()},
                             {"documents", jinja::Value()},
                             {"add_generation_prompt", for_prompt}};
    const auto add_token = [&](const char* key, const std::string& token) {
      if (!token.empty()) variables.emplace_back(key, token);
    };
    add_token("bos_token", bos_);
    add_token("eos_token", eos_);
    add_token("pad_token", pad_);
    jinja::Scope scope(std::move(variables), now);
    jinja::run(block_, scope);
    return scope.take_text();
  }

  /// Errors  DataError with the template's own words.
  std::string rendered_record(const std::vector<Message>& turns, bool for_prompt,
                              std::optional<std::time_t> now = std::nullopt) const {
    try {
      return rendered(turns, for_prompt, now);
    } catch (const jinja::Failure& failure) {
      const bool refused = failure.kind() == jinja::Failure::Kind::kRefused;
      throw DataError({.where = fmt::format("{} messages", turns.size()),
                       .found = fmt::format("the chat template of the base model {}: {}",
                                            refused ? "refuses them" : "cannot lay them out",
                                            printable(failure.what(), 200)),
                       .expected = refused ? "turns as that template wants them" : "",
                       .fix = "change the record, or choose another layout with template: chatml"});
    }
  }

  /// The turns as the template can take them: no end token typed twice, a system text before the
  /// first question where the template has no turn for it.
  std::vector<Message> adapted(const std::vector<Message>& messages, bool takes_system,
                               const Tokenizer& tokenizer) const {
    std::vector<Message> turns = without_typed_ends(messages, stop_ids(tokenizer), tokenizer);
    if (takes_system || turns.size() < 2 || turns[0].role != "system" || turns[1].role != "user")
      return turns;
    log_warning(
        "the chat template of the base model leaves system texts out here; they stand before the "
        "first question, with a blank line between");
    if (!turns[0].content.empty()) turns[1].content = turns[0].content + "\n\n" + turns[1].content;
    turns.erase(turns.begin());
    return turns;
  }

  /// White space that stands before an answer and is not part of the prompt that asks for it: the
  /// model writes it. A longer text there, such as an empty block of thought, is the template's.
  void look_at_beginnings() {
    const std::string prompt = rendered({{"user", sentinel(0)}}, /*for_prompt=*/true);
    const std::string text =
        rendered({{"user", sentinel(0)}, {"assistant", sentinel(1)}}, /*for_prompt=*/false);
    if (!text.starts_with(prompt)) return;
    const std::string between =
        text.substr(prompt.size(), text.find(sentinel(1), prompt.size()) - prompt.size());
    if (leading_space(between) == between.size()) lead_ = between;
  }

  /// What the template writes behind an answer: behind any (closing_), behind the last one.
  void look_at_endings(const Tokenizer& tokenizer) {
    const auto behind = [&](bool goes_on) {
      std::vector<Message> turns = {{"user", sentinel(0)}, {"assistant", sentinel(1)}};
      if (goes_on) {
        turns.push_back({"user", sentinel(2)});
        turns.push_back({"assistant", sentinel(3)});
      }
      const std::string text = rendered(turns, /*for_prompt=*/false);
      const size_t found = text.find(sentinel(1));
      if (found == std::string::npos) jinja::fault("it leaves out what the assistant says");
      const size_t begin = found + sentinel(1).size();
      return text.substr(begin, goes_on ? text.find(sentinel(2)) - begin : std::string::npos);
    };
    const std::string last = behind(false), middle = behind(true);
    const auto [common, has_special] = through_special(common_start(last, middle), tokenizer);
    closing_ = common;
    closes_with_token_ = has_special;
    if (!has_special) {  // a mark of plain text: its first line
      const size_t begin = leading_space(common);
      closing_ = trimmed(common.substr(begin, common.find('\n', begin) - begin));
      if (!closing_.empty())
        log_warning(fmt::format(
            "the chat template of the base model ends an answer with '{}', which is not a token of "
            "this base model and is learnt as plain text",
            printable(closing_)));
    }
    last_closing_ = closing_;
    if (closing_.empty()) {
      const auto [mark, is_token] = through_special(last, tokenizer);
      last_closing_ = is_token ? mark : "";
      closes_with_token_ = is_token;
    }
    if (!last_closing_.empty() || tokenizer.end_id() < 0) return;
    // Where the next speaker's mark ends an answer (GLM), it is what a model has to learn.
    const auto [next_mark, is_token] = through_special(middle, tokenizer);
    const std::string mark = trimmed(next_mark);
    if (is_token && tokenizer.ends_text(tokenizer.id_of(mark))) {
      closing_ = next_mark;
      closes_with_token_ = true;
    }
    log_warning(fmt::format(
        "the chat template of the base model writes no end token behind the last answer; '{}' is "
        "put there and learnt",
        printable(spelling(tokenizer.end_id(), tokenizer))));
  }

  /// Asked apart for both: Mistral-7B-Instruct-v0.3 writes a system text only into a prompt.
  bool takes_system(bool for_prompt) const {
    std::vector<Message> turns = {{"system", sentinel(0)}, {"user", "U"}};
    if (!for_prompt) turns.push_back({"assistant", "A"});
    try {
      return rendered(turns, for_prompt).find(sentinel(0)) != std::string::npos;
    } catch (const jinja::Failure&) {
      return false;
    }
  }

  std::vector<Answer> answers_of(const std::vector<Message>& turns, const std::string& text) const {
    if (std::optional<std::vector<Answer>> answers = answers_by_sentinels(turns, text))
      return *std::move(answers);
    return answers_one_by_one(turns, text);
  }

  /// Nothing where the text around the answers depends on what they say.
  std::optional<std::vector<Answer>> answers_by_sentinels(const std::vector<Message>& turns,
                                                          const std::string& text) const {
    std::vector<Message> marked = turns;
    for (size_t i = 0; i < turns.size(); ++i)
      if (turns[i].role == "assistant") marked[i].content = sentinel(i);
    const std::string around = rendered_record(marked, /*for_prompt=*/false);
    std::vector<Answer> answers;
    size_t pos = 0, around_pos = 0;  // read so far of the text and of what is around the answers
    const auto follows = [&](size_t at, size_t begin, size_t end) {
      return text.compare(at, end - begin, around, begin, end - begin) == 0;
    };
    for (size_t i = 0; i < turns.size(); ++i) {
      if (turns[i].role != "assistant") continue;
      const size_t mark = around.find(sentinel(i), around_pos);
      if (mark == std::string::npos || !follows(pos, around_pos, mark)) return std::nullopt;
      pos += mark - around_pos;
      around_pos = mark + sentinel(i).size();
      const size_t next = std::min(around.find("\uE000", around_pos), around.size());
      bool found = false;
      for (const std::string& form : forms_of(turns[i].content)) {
        found = text.compare(pos, form.size(), form) == 0 &&
                follows(pos + form.size(), around_pos, next);
        if (!found) continue;
        const bool is_led = std::string_view(text).substr(0, pos).ends_with(lead_);
        answers.push_back(
            {pos - (is_led ? lead_.size() : 0), pos + form.size(), learn_of(turns[i])});
        pos += form.size();
        break;
      }
      if (!found) return std::nullopt;
    }
    if (!follows(pos, around_pos, around.size()) || pos + around.size() - around_pos != text.size())
      return std::nullopt;
    return answers;
  }

  /// What templates make of an answer: itself, without white space at its ends, without reasoning.
  static std::vector<std::string> forms_of(const std::string& content) {
    std::vector<std::string> forms = {content, trimmed(content)};
    forms.push_back(content.substr(leading_space(content)));
    forms.push_back(content.substr(0, content.size() - trailing_space(content)));
    constexpr std::string_view kEndOfThought = "</think>";
    if (const size_t thought = content.rfind(kEndOfThought); thought != std::string::npos) {
      const std::string said = content.substr(thought + kEndOfThought.size());
      forms.push_back(said.substr(std::min(said.find_first_not_of('\n'), said.size())));
      forms.push_back(trimmed(said));
      forms.push_back(said);
    }
    return forms;
  }

  /// Each answer alone gives way to a sentinel: what stays before and behind it is not the
  /// answer's.
  std::vector<Answer> answers_one_by_one(const std::vector<Message>& turns,
                                         const std::string& text) const {
    std::vector<Answer> answers;
    for (size_t i = 0; i < turns.size(); ++i) {
      if (turns[i].role != "assistant") continue;
      std::vector<Message> marked = turns;
      marked[i].content = sentinel(i);
      const std::string around = rendered_record(marked, /*for_prompt=*/false);
      const size_t mark = around.find(sentinel(i));
      const size_t num_behind =
          mark == std::string::npos ? 0 : around.size() - mark - sentinel(i).size();
      const std::string_view behind = std::string_view(around).substr(around.size() - num_behind);
      size_t begin = std::min(mark, common_start(text, around).size());
      const std::string prompt = rendered_record(
          {turns.begin(), turns.begin() + static_cast<std::ptrdiff_t>(i)}, /*for_prompt=*/true);
      if (text.starts_with(prompt)) begin = prompt.size();
      if (mark == std::string::npos || !text.ends_with(behind) || begin + num_behind > text.size())
        throw DataError(
            {.where = fmt::format("messages[{}]", i),
             .found = "the chat template of the base model lays the other turns out otherwise for "
                      "this answer, so it cannot be told from them",
             .expected = {},
             .fix = "split the conversation into some of one answer, or choose another layout with "
                    "template: chatml"});
      answers.push_back({begin, text.size() - num_behind, learn_of(turns[i])});
    }
    return answers;
  }

  const std::string& closing_of(bool is_last) const { return is_last ? last_closing_ : closing_; }

  /// `in_pieces`: cut before each end token, so that a long conversation is tokenised once and not
  /// once per turn.
  std::vector<Chunk> chunks_of(const std::string& text, const std::vector<Answer>& answers,
                               bool in_pieces) const {
    std::vector<Chunk> chunks(1);
    size_t pos = 0;
    const auto add = [&](size_t end, Learn learn) {
      if (end > pos) chunks.back().segments.push_back({text.substr(pos, end - pos), learn});
      pos = std::max(pos, end);
    };
    if (!bos_.empty() && text.starts_with(bos_)) add(bos_.size(), Learn::kNever);
    for (size_t i = 0; i < answers.size(); ++i) {
      const std::string& mark = closing_of(i + 1 == answers.size());
      add(answers[i].begin, Learn::kPrompt);
      add(answers[i].end, answers[i].learn);
      if (mark.empty() || text.compare(pos, mark.size(), mark) != 0) continue;
      add(pos + leading_space(mark), answers[i].learn);
      if (in_pieces && closes_with_token_) chunks.emplace_back();
      add(answers[i].end + mark.size(), answers[i].learn);
    }
    add(text.size(), Learn::kPrompt);
    return chunks;
  }

  std::string text_;
  jinja::Block block_;
  std::string bos_, eos_, pad_;
  std::string lead_, closing_, last_closing_;
  bool closes_with_token_ = false;
  bool training_takes_system_ = true, prompt_takes_system_ = true;
};

}  // namespace

std::unique_ptr<PromptTemplate> execute_chat_template(const Tokenizer& tokenizer) {
  return std::make_unique<ChatTemplate>(tokenizer);
}

std::unique_ptr<PromptTemplate> make_chat_template_template(const Tokenizer& tokenizer) {
  if (tokenizer.chat_template().empty())
    throw ConfigError({.where = "template",
                       .found = "chat_template, but the base model has none",
                       .expected = {},
                       .fix = "set template: alpaca, or give the base a chat_template.jinja"});
  try {
    return execute_chat_template(tokenizer);
  } catch (const jinja::Failure& failure) {
    throw ModelError({.where = "chat template of the base model",
                      .found = printable(failure.what(), 200),
                      .expected = {},
                      .fix = "choose a layout, such as template: chatml"});
  }
}

}  // namespace lora_dist
