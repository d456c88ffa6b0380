#include "data/templates/answer_spans.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/error.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

class AnswerFinder {
 public:
  AnswerFinder(const Rendering& rendering, const AnswerMarks& marks)
      : rendering_(rendering), marks_(marks) {}

  std::vector<Answer> answers_of(const Conversation& record, const std::string& text) const {
    const bool says_more = std::ranges::any_of(record.messages, [](const Message& turn) {
      return turn.role == "assistant" && !turn.as_written.is_null();
    });
    if (!says_more)
      if (std::optional<std::vector<Answer>> answers = answers_by_sentinels(record, text))
        return *std::move(answers);
    std::vector<Answer> answers;
    for (size_t i = 0; i < record.messages.size(); ++i) {
      const Message& turn = record.messages[i];
      if (turn.role != "assistant") continue;
      std::optional<Answer> answer;
      if (!turn.as_written.is_null()) answer = answer_by_prefix(record, text, i);
      answers.push_back(answer ? *answer : answer_by_sentinel(record, text, i));
    }
    return answers;
  }

 private:
  /// An answer that is more than its content (calls of tools, reasoning) reaches from the end of
  /// the prompt that asks for it to the mark that closes it. Nothing where the turns behind it
  /// change how it is laid out.
  std::optional<Answer> answer_by_prefix(const Conversation& record, const std::string& text,
                                         size_t index) const {
    Conversation part = record;
    part.messages.resize(index);
    const std::optional<size_t> same = begin_by_sentinel(text, around(record, index), index);
    const size_t begin =
        same ? *same : common_start(text, rendering_.record_text(part, /*for_prompt=*/true)).size();
    part.messages.push_back(record.messages[index]);
    const std::string whole = trimmed_right(rendering_.record_text(part, /*for_prompt=*/false));
    if (!text.starts_with(whole) || whole.size() < begin) return std::nullopt;
    const std::string mark = trimmed_right(marks_.closing_of(index + 1 == record.messages.size()));
    const bool is_closed =
        !mark.empty() && whole.ends_with(mark) && whole.size() - mark.size() >= begin;
    return Answer{begin, whole.size() - (is_closed ? mark.size() : 0),
                  learn_of(record.messages[index])};
  }

  /// The record's text with a sentinel in place of the answer, its calls and its reasoning.
  std::string around(const Conversation& record, size_t index) const {
    Conversation marked = record;
    marked.messages[index].content = sentinel(index);
    marked.messages[index].as_written = nullptr;
    try {
      return rendering_.text(marked, /*for_prompt=*/false);
    } catch (const jinja::Failure&) {
      return {};  // results of calls that it does not find
    }
  }

  /// Where the template writes the same before whatever is said. Nothing where it does not.
  std::optional<size_t> begin_by_sentinel(const std::string& text, const std::string& around,
                                          size_t index) const {
    const size_t mark = around.find(sentinel(index));
    if (mark == std::string::npos || text.compare(0, mark, around, 0, mark) != 0)
      return std::nullopt;
    const bool is_led = std::string_view(text).substr(0, mark).ends_with(marks_.lead);
    return mark - (is_led ? marks_.lead.size() : 0);
  }

  static std::string trimmed_right(const std::string& text) {
    return text.substr(0, text.size() - trailing_space(text));
  }

  [[noreturn]] static void fail_answer(size_t index) {
    throw DataError(
        {.where = fmt::format("messages[{}]", index),
         .found = "the chat template of the base model lays the other turns out otherwise for this "
                  "answer, so it cannot be told from them",
         .expected = {},
         .fix = "split the conversation into some of one answer, or choose another layout with "
                "template: chatml"});
  }

  /// Nothing where the text around the answers depends on what they say.
  std::optional<std::vector<Answer>> answers_by_sentinels(const Conversation& record,
                                                          const std::string& text) const {
    const std::vector<Message>& turns = record.messages;
    Conversation marked = record;
    for (size_t i = 0; i < turns.size(); ++i)
      if (turns[i].role == "assistant") marked.messages[i].content = sentinel(i);
    const std::string around = rendering_.record_text(marked, /*for_prompt=*/false);
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
        const bool is_led = std::string_view(text).substr(0, pos).ends_with(marks_.lead);
        answers.push_back(
            {pos - (is_led ? marks_.lead.size() : 0), pos + form.size(), learn_of(turns[i])});
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
    std::vector<std::string> forms = {content, stripped(content)};
    forms.push_back(content.substr(leading_space(content)));
    forms.push_back(content.substr(0, content.size() - trailing_space(content)));
    constexpr std::string_view kEndOfThought = "</think>";
    if (const size_t thought = content.rfind(kEndOfThought); thought != std::string::npos) {
      const std::string said = content.substr(thought + kEndOfThought.size());
      forms.push_back(said.substr(std::min(said.find_first_not_of('\n'), said.size())));
      forms.push_back(stripped(said));
      forms.push_back(said);
    }
    return forms;
  }

  /// The answer gives way to a sentinel: what stays before and behind it is not the answer's.
  Answer answer_by_sentinel(const Conversation& record, const std::string& text,
                            size_t index) const {
    const std::string around = this->around(record, index);
    const size_t mark = around.find(sentinel(index));
    if (mark == std::string::npos) fail_answer(index);
    const std::string_view behind = std::string_view(around).substr(mark + sentinel(index).size());
    size_t begin = std::min(mark, common_start(text, around).size());
    if (const std::optional<size_t> same = begin_by_sentinel(text, around, index)) {
      begin = *same;
    } else {
      Conversation before = record;
      before.messages.resize(index);
      const std::string prompt = rendering_.record_text(before, /*for_prompt=*/true);
      if (text.starts_with(prompt)) begin = prompt.size();
    }
    if (!text.ends_with(behind) || begin + behind.size() > text.size()) fail_answer(index);
    const Answer answer = {begin, text.size() - behind.size(), learn_of(record.messages[index])};
    if (!record.messages[index].as_written.is_null() &&
        holds_later_turns(record, text, index, answer))
      fail_answer(index);
    return answer;
  }

  /// Gemma 4 writes the results of calls into the answer: they are not the model's to learn.
  bool holds_later_turns(const Conversation& record, const std::string& text, size_t index,
                         const Answer& answer) const {
    Conversation marked = record;
    for (size_t i = index + 1; i < marked.messages.size(); ++i)
      marked.messages[i].content = sentinel(i);
    try {
      return !rendering_.text(marked, /*for_prompt=*/false).starts_with(text.substr(0, answer.end));
    } catch (const jinja::Failure&) {
      return true;
    }
  }

  const Rendering& rendering_;
  const AnswerMarks& marks_;
};

}  // namespace

std::vector<Answer> answers_of(const Conversation& record, const std::string& text,
                               const Rendering& rendering, const AnswerMarks& marks) {
  return AnswerFinder(rendering, marks).answers_of(record, text);
}

std::string common_start(const std::string& a, const std::string& b) {
  return {a.begin(), std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first};
}

}  // namespace lora_dist
