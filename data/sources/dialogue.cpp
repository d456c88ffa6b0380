// Plain dialogues: "用户：..." and "客服：..." as turns, on lines of their own or both on one line.
//
// The first speaker of the file is the user. A record begins with a turn of the user once there is
// an answer, or behind a blank line. Lines without a speaker continue the turn before, also behind
// a blank line where they are no title; titles are skipped with a note. A rule before a speaker or
// at the end is nobody's, anywhere else it is text. "System:" heads the dialogues below it.
// Full-width and ASCII colons are alike; a file that leaves them out is read with a warning.
//
// A text of a chat template's marks (`<|im_start|>user`) is read by data/sources/marked_chat.
#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/printable.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/marked_chat.hpp"
#include "data/sources/separators.hpp"
#include "data/sources/source_format.hpp"
#include "data/sources/speakers.hpp"

namespace lora_dist {
namespace {

bool is_blank(const Line& line) { return trimmed(line.text).empty(); }

class DialogueSource : public Source {
 public:
  explicit DialogueSource(const std::string& path)
      : lines_(path), speakers_(first_nonblank_lines(path)) {
    require_both();
    if (speakers_.are_bare())
      log_warning(fmt::format("{}: '{}' without a colon is read as the speaker; write '{}：'", path,
                              speakers_.user(), speakers_.user()));
    if (speakers_.are_reversed())
      log_warning(
          fmt::format("{}: '{}' speaks first and is taken for the user, what '{}' says is "
                      "learnt; begin the file with '{}' if that is wrong",
                      path, speakers_.user(), speakers_.assistant(), speakers_.assistant()));
  }

  std::optional<Record> next() override {
    Record record;
    std::vector<Message>& turns = record.messages;
    while (std::optional<Piece> piece = next_piece(turns)) {
      if (piece->kind == Piece::kEnd) {
        if (!turns.empty()) return complete(std::move(record));
        continue;
      }
      if (piece->kind == Piece::kTitle) {
        take_title(*piece);
        continue;
      }
      const bool begins = piece->kind == Piece::kUser || piece->kind == Piece::kSystem;
      if (begins && !turns.empty()) {
        pieces_.push_front(std::move(*piece));
        return complete(std::move(record));
      }
      if (piece->kind == Piece::kSystem) {
        system_ = std::move(piece->text);
        in_system_ = true;
        continue;
      }
      if (turns.empty()) record.where = lines_.where(piece->line_number);
      add(*piece, turns);
    }
    if (!turns.empty()) return complete(std::move(record));
    if (std::exchange(skipped_title_, false))
      log_warning(lines_.path() + ": a line without a speaker at the end is skipped");
    return std::nullopt;
  }

 private:
  struct Piece {
    /// kInput: what the user's instruction works on; kEnd: of a record.
    enum Kind : uint8_t { kUser, kAssistant, kSystem, kInput, kContinuation, kTitle, kEnd };
    Kind kind = kEnd;
    std::string text;
    int64_t line_number = 0;
    bool begins_paragraph = false;  // a blank line stands before it
  };

  void require_both() const {
    if (!speakers_.user().empty() && !speakers_.assistant().empty()) return;
    throw DataError(
        {.where = lines_.path(),
         .found = speakers_.user().empty()
                      ? "no line begins with a speaker"
                      : fmt::format("half of a dialogue: only '{}' speaks", speakers_.user()),
         .expected = "two speakers, as in '用户：...' and '律师：...'",
         .fix = "write who answers too, or set data_format: lines if this is plain text"});
  }

  std::optional<Line> take_line() {
    if (ahead_.empty()) return lines_.next();
    Line line = std::move(ahead_.front());
    ahead_.pop_front();
    return line;
  }

  /// The line that comes behind `num_passed` others, blank ones not counted; all of them stay to be
  /// read. Null at the end of the file.
  const Line* peek_nonblank(size_t num_passed = 0) {
    for (size_t i = 0;; ++i) {
      if (i == ahead_.size()) {
        std::optional<Line> line = lines_.next();
        if (!line) return nullptr;
        ahead_.push_back(std::move(*line));
      }
      if (!is_blank(ahead_[i]) && num_passed-- == 0) return &ahead_[i];
    }
  }

  std::optional<SpeakerMark> mark_of(const Line& line) const {
    return speakers_.mark_at_start(line.text, {.awaits_answer = false, .at_start = true});
  }

  /// Whether a rule before the line behind `num_passed` others parts two dialogues: a speaker
  /// follows who may begin or answer, perhaps behind titles, or nothing at all.
  bool parts_dialogues(bool answered, size_t num_passed = 0) {
    constexpr size_t kMaxTitles = 3;
    size_t num_titles = 0;
    for (const Line* line = peek_nonblank(num_passed); line != nullptr;
         line = peek_nonblank(++num_passed)) {
      if (is_rule(line->text)) continue;
      if (const std::optional<SpeakerMark> mark = mark_of(*line))
        return !answered || mark->speaker != Speaker::kAssistant;
      if (!is_title(line->text) || ++num_titles > kMaxTitles) return false;
    }
    return num_titles == 0;
  }

  static bool is_answered(const std::vector<Message>& turns) {
    return !turns.empty() && turns.back().role == "assistant" && !turns.back().content.empty();
  }

  /// Lines come apart into pieces first, so that turns on one line and on several read alike.
  std::optional<Piece> next_piece(const std::vector<Message>& turns) {
    while (pieces_.empty()) {
      const std::optional<Line> line = take_line();
      if (!line) return std::nullopt;
      if (is_blank(*line)) {
        behind_blank_ = true;
        if (is_answered(turns) && !answer_goes_on()) pieces_.push_back({});
      } else if (is_rule(line->text) && parts_dialogues(is_answered(turns))) {
        behind_blank_ = true;
        if (is_answered(turns)) pieces_.push_back({});
      } else if (is_answered(turns) && is_head(trimmed(line->text))) {
        ahead_.push_front(*line);
        pieces_.push_back({});
      } else {
        cut(*line, turns);
        behind_blank_ = false;
      }
    }
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }

  bool answer_goes_on() {
    const Line* next = peek_nonblank();
    if (next == nullptr) return false;
    if (is_rule(next->text)) return !parts_dialogues(/*answered=*/true, /*num_passed=*/1);
    const std::optional<SpeakerMark> mark = mark_of(*next);
    if (!mark) return !is_title(next->text);
    if (mark->speaker != Speaker::kSystem || speakers_.has_system_head()) return false;
    // A heading such as "System: 8 GB" belongs to the answer unless a question follows.
    const Line* behind = peek_nonblank(1);
    const std::optional<SpeakerMark> asks = behind == nullptr ? std::nullopt : mark_of(*behind);
    return !asks || asks->speaker != Speaker::kUser;
  }

  /// A text that stood before the first question already, or as Stanford's Alpaca begins a prompt.
  bool is_head(std::string_view text) const {
    return text.starts_with("Below is an instruction that describes a task") ||
           heads_.contains(text);
  }

  /// The lines before a question: titles, or what a system text says further on.
  void take_title(const Piece& piece) {
    if (in_system_) {
      append(piece, system_);
      return;
    }
    skipped_title_ = true;
    if (num_records_ == 0) heads_.insert(piece.text);
  }

  void cut(const Line& line, const std::vector<Message>& turns) {
    const std::string_view text = line.text;
    const auto push = [&](Piece::Kind kind, size_t begin, size_t end) {
      pieces_.push_back({kind, std::string(trimmed(text.substr(begin, end - begin))), line.number,
                         behind_blank_});
    };
    const bool users_turn = !turns.empty() && turns.back().role == "user";
    std::vector<SpeakerMark> marks;
    if (const auto mark =
            speakers_.mark_at_start(text, {.awaits_answer = users_turn, .at_start = turns.empty()}))
      marks.push_back(*mark);
    const Speaker speaker = marks.empty() ? Speaker::kUser : marks.front().speaker;
    const bool asks = marks.empty() ? users_turn : speaker != Speaker::kAssistant;
    if (asks && (speaker == Speaker::kSystem || !answer_follows()))
      std::ranges::copy(speakers_.marks_inside(
                            text, marks.empty() ? 0 : marks.front().end,
                            speaker == Speaker::kSystem ? Speaker::kUser : Speaker::kAssistant),
                        std::back_inserter(marks));
    const size_t first = marks.empty() ? text.size() : marks.front().begin;
    if (!trimmed(text.substr(0, first)).empty())
      push(turns.empty() ? Piece::kTitle : Piece::kContinuation, 0, first);
    for (size_t i = 0; i < marks.size(); ++i) {
      const size_t end = i + 1 < marks.size() ? marks[i + 1].begin : text.size();
      push(kind_of(marks[i].speaker), marks[i].end, end);
    }
  }

  static Piece::Kind kind_of(Speaker speaker) {
    switch (speaker) {
      case Speaker::kUser:
        return Piece::kUser;
      case Speaker::kAssistant:
        return Piece::kAssistant;
      case Speaker::kSystem:
        return Piece::kSystem;
      case Speaker::kInput:
        return Piece::kInput;
    }
    LD_CHECK(false, "every speaker has a piece");
  }

  /// Where the answer has a line of its own, a speaker's word inside the question is part of it.
  bool answer_follows() {
    const Line* next = peek_nonblank();
    if (next == nullptr) return false;
    const auto mark =
        speakers_.mark_at_start(next->text, {.awaits_answer = true, .at_start = false});
    return mark && mark->speaker == Speaker::kAssistant;
  }

  void add(const Piece& piece, std::vector<Message>& turns) {
    const bool opens_turn =
        piece.kind == Piece::kUser ||
        (piece.kind == Piece::kAssistant && !turns.empty() && turns.back().role == "user");
    if (opens_turn) {
      in_input_ = in_system_ = false;
      turns.push_back({piece.kind == Piece::kUser ? "user" : "assistant", piece.text});
    } else if (turns.empty()) {
      throw DataError({.where = lines_.where(piece.line_number),
                       .found = "an answer without a question",
                       .expected = fmt::format("a turn of the user, as in '{}：...'",
                                               printable(speakers_.user())),
                       .fix = "set data_format: lines if this is plain text"});
    } else {
      Message& turn = turns.back();
      if (piece.kind == Piece::kInput) in_input_ = true;
      append(piece, in_input_ ? turn.input : turn.content);
    }
  }

  static void append(const Piece& piece, std::string& content) {
    const char* gap = content.empty() ? "" : piece.begins_paragraph ? "\n\n" : "\n";
    content += gap + piece.text;
  }

  std::optional<Record> complete(Record record) {
    ++num_records_;
    if (std::exchange(skipped_title_, false))
      record.notes.push_back("a line without a speaker before it is skipped as a title");
    const bool answered = is_answered(record.messages);
    if (!system_.empty()) record.messages.insert(record.messages.begin(), {"system", system_});
    if (answered) return record;
    throw DataError({.where = record.where,
                     .found = "a question without an answer",
                     .expected = "a turn of the other speaker behind it",
                     .fix = "write both, or take the question out"});
  }

  LineReader lines_;
  Speakers speakers_;
  std::deque<Line> ahead_;  // read, but not taken yet
  std::deque<Piece> pieces_;
  bool behind_blank_ = false, skipped_title_ = false;
  std::set<std::string, std::less<>>
      heads_;           // lines before the first question: they may stand before others
  std::string system_;  // in force from its line on
  bool in_system_ = false, in_input_ = false;  // what a line without a speaker belongs to
  int64_t num_records_ = 0;
};

}  // namespace

SourceFormat dialogue_source() {
  return {.recognises_record = {},
          .recognises_text =
              [](const std::vector<std::string>& lines) {
                return is_marked_chat(lines) || Speakers::recognises(lines);
              },
          .open = [](const std::string& path) -> std::unique_ptr<Source> {
            if (is_marked_chat(first_nonblank_lines(path))) return open_marked_chat(path);
            return std::make_unique<DialogueSource>(path);
          },
          .reading_version = 3};
}

}  // namespace lora_dist
