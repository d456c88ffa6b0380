#include "data/sources/marked_chat.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/roles.hpp"
#include "data/sources/separators.hpp"

namespace lora_dist {
namespace {

enum class Means : uint8_t { kRoleFollows, kSystem, kUser, kAssistant, kEndOfTurn, kStart };

struct Spelling {
  std::string_view text;
  Means means;
  std::string_view end_of_role;  // behind the role that follows; a line end does it too
};
constexpr std::array<Spelling, 20> kSpellings = {
    {{"<|im_start|>", Means::kRoleFollows, " "},
     {"<|start_header_id|>", Means::kRoleFollows, "<|end_header_id|>"},
     {"<start_of_turn>", Means::kRoleFollows, " "},
     {"<|system|>", Means::kSystem, ""},
     {"<|user|>", Means::kUser, ""},
     {"<|assistant|>", Means::kAssistant, ""},
     {"<<SYS>>", Means::kSystem, ""},
     {"<</SYS>>", Means::kUser, ""},
     {"[INST]", Means::kUser, ""},
     {"[/INST]", Means::kAssistant, ""},
     {"<|im_end|>", Means::kEndOfTurn, ""},
     {"<|eot_id|>", Means::kEndOfTurn, ""},
     {"<end_of_turn>", Means::kEndOfTurn, ""},
     {"<|end|>", Means::kEndOfTurn, ""},
     {"<|endoftext|>", Means::kEndOfTurn, ""},
     {"<|end_of_text|>", Means::kEndOfTurn, ""},
     {"</s>", Means::kEndOfTurn, ""},
     {"<s>", Means::kStart, ""},
     {"<bos>", Means::kStart, ""},
     {"<|begin_of_text|>", Means::kStart, ""}}};

struct Mark {
  Means means = Means::kEndOfTurn;
  std::string role;  // of the turn that it opens
  size_t begin = 0, end = 0;
};

std::optional<Mark> next_mark(std::string_view line, size_t from) {
  const Spelling* first = nullptr;
  size_t begin = std::string_view::npos;
  for (const Spelling& spelling : kSpellings)
    if (const size_t found = line.find(spelling.text, from); found < begin) {
      first = &spelling;
      begin = found;
    }
  if (first == nullptr) return std::nullopt;
  Mark mark{first->means, "", begin, begin + first->text.size()};
  if (mark.means == Means::kSystem) mark.role = "system";
  if (mark.means == Means::kUser) mark.role = "user";
  if (mark.means == Means::kAssistant) mark.role = "assistant";
  if (mark.means != Means::kRoleFollows) return mark;
  const size_t role_end = std::min(line.find(first->end_of_role, mark.end), line.size());
  mark.role = trimmed(line.substr(mark.end, role_end - mark.end));
  mark.end = std::min(role_end + first->end_of_role.size(), line.size());
  return mark;
}

bool opens(const Mark& mark, std::string_view role) {
  return !mark.role.empty() && standard_role(mark.role) == role;
}

bool holds_opening(std::string_view line, std::string_view role) {
  for (auto mark = next_mark(line, 0); mark; mark = next_mark(line, mark->end))
    if (opens(*mark, role)) return true;
  return false;
}

bool begins_with_mark(std::string_view line) {
  const std::optional<Mark> mark = next_mark(line, 0);
  return mark && mark->means != Means::kEndOfTurn && trimmed(line.substr(0, mark->begin)).empty();
}

class MarkedChatSource : public Source {
 public:
  explicit MarkedChatSource(const std::string& path) : lines_(path) {}

  std::optional<Record> next() override {
    while (done_.empty()) {
      const std::optional<Line> line = lines_.next();
      if (line) {
        take(*line);
      } else if (!record_.messages.empty()) {
        end_record();
      } else {
        return std::nullopt;
      }
    }
    Record record = std::move(done_.front());
    done_.pop_front();
    require_answer(record);
    return record;
  }

 private:
  bool is_answered() const {
    return !record_.messages.empty() && record_.messages.back().role == "assistant";
  }

  void take(const Line& line) {
    const std::string_view text = line.text;
    if (trimmed(text).empty() || (is_rule(text) && !in_turn_)) {
      behind_blank_ = true;
      if (in_turn_) add_text("\n");
      return;
    }
    size_t begin = 0;
    for (auto mark = next_mark(text, 0); mark; mark = next_mark(text, begin)) {
      add_text(text.substr(begin, mark->begin - begin));
      take(*mark, line, /*at_line_start=*/begin == 0);
      begin = mark->end;
    }
    add_text(text.substr(begin));
    if (in_turn_) add_text("\n");
    behind_blank_ = false;
  }

  void take(const Mark& mark, const Line& line, bool at_line_start) {
    if (mark.means == Means::kEndOfTurn) {
      in_turn_ = false;
      return;
    }
    // Within a line Llama 2 begins each exchange of a conversation so.
    if (mark.means == Means::kStart) {
      if (at_line_start && is_answered()) end_record();
      is_lost_ = false;
      return;
    }
    const std::optional<std::string> role = standard_role(mark.role);
    if (!role) {
      in_turn_ = false;
      record_ = {};
      is_lost_ = true;
      throw DataError({.where = lines_.where(line.number),
                       .found = fmt::format("role '{}'", printable(mark.role)),
                       .expected = "system, user or assistant",
                       .fix = "take such conversations out, or set data_format: lines"});
    }
    if (*role == "assistant" && behind_blank_ && at_line_start) blanks_part_turns_ = true;
    const bool begins = *role == "system" ||
                        (*role == "user" && behind_blank_ && at_line_start && !blanks_part_turns_);
    if (begins && is_answered()) end_record();
    is_lost_ = is_lost_ && !begins;
    in_turn_ = !is_lost_;
    if (is_lost_) return;
    if (record_.messages.empty()) record_.where = lines_.where(line.number);
    // "[INST] <<SYS>>" opens two turns: what is empty before a system text is none.
    if (*role == "system" && !record_.messages.empty() && is_blank(record_.messages.back()))
      record_.messages.pop_back();
    record_.messages.push_back({*role, ""});
  }

  static bool is_blank(const Message& message) { return trimmed(message.content).empty(); }

  void add_text(std::string_view text) {
    if (in_turn_)
      record_.messages.back().content += text;
    else if (!trimmed(text).empty())
      stray_ = true;
  }

  void end_record() {
    for (Message& message : record_.messages) message.content = trimmed(message.content);
    if (std::exchange(stray_, false)) record_.notes.push_back("text between the turns is left out");
    done_.push_back(std::exchange(record_, {}));
  }

  static void require_answer(const Record& record) {
    if (record.messages.back().role == "assistant" && !record.messages.back().content.empty())
      return;
    throw DataError({.where = record.where,
                     .found = "a question without an answer",
                     .expected = "a turn of the assistant behind it",
                     .fix = "write both, or take the question out"});
  }

  LineReader lines_;
  std::deque<Record> done_;
  Record record_;
  bool is_lost_ = false;  // inside a conversation with a turn that is not read
  bool in_turn_ = false, behind_blank_ = false, stray_ = false;
  bool blanks_part_turns_ = false;  // and not conversations
};

}  // namespace

bool is_marked_chat(const std::vector<std::string>& first_lines) {
  if (first_lines.empty() || !begins_with_mark(first_lines.front())) return false;
  const auto answers = [](const std::string& line) { return holds_opening(line, "assistant"); };
  const bool is_spread =
      !answers(first_lines.front()) || !std::ranges::all_of(first_lines, begins_with_mark);
  return is_spread && std::ranges::any_of(first_lines, answers);
}

std::unique_ptr<Source> open_marked_chat(const std::string& path) {
  return std::make_unique<MarkedChatSource>(path);
}

}  // namespace lora_dist
