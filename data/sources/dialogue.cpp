// Plain dialogues: "用户：..." and "客服：..." as turns, on lines of their own or both on one line.
//
// The first speaker of the file is the user. A record begins with a turn of the user once there is
// an answer, or behind a blank line. Lines without a speaker continue the turn before, also behind
// a blank line where they are no title; titles are skipped with a note. Full-width and ASCII colons
// are alike; a file that leaves them out is read with a warning.
#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/printable.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/source_format.hpp"
#include "data/sources/speakers.hpp"

namespace lora_dist {
namespace {

bool is_blank(const Line& line) { return trimmed(line.text).empty(); }

/// Dashes and the like between dialogues.
bool is_rule(std::string_view text) {
  return text.find_first_not_of("-=*_~#+ ") == std::string_view::npos;
}

/// Whether a line behind a blank one stands between two dialogues and is no further paragraph of an
/// answer: short, and not ended like a sentence.
bool is_title(std::string_view text) {
  constexpr size_t kMaxTitleBytes = 72;  // 24 Chinese characters
  constexpr std::array<std::string_view, 13> kEnds = {"。", "！", "？", "；", "，", "…", "”",
                                                      ".",  "!",  "?",  ";",  ",",  "\""};
  text = trimmed(text);
  if (is_rule(text) || text.starts_with('#')) return true;
  const bool lists = text.starts_with("- ") || text.starts_with("•") || text.starts_with("* ") ||
                     (text[0] >= '0' && text[0] <= '9');
  return !lists && text.size() <= kMaxTitleBytes &&
         std::ranges::none_of(kEnds, [&](std::string_view end) { return text.ends_with(end); });
}

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
        skipped_title_ = skipped_title_ || !is_rule(piece->text);
        continue;
      }
      if (piece->kind == Piece::kUser && !turns.empty()) {
        pieces_.push_front(std::move(*piece));
        return complete(std::move(record));
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
    enum Kind : uint8_t { kUser, kAssistant, kContinuation, kTitle, kEnd };  // kEnd: of a record
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

  /// The next line that is not blank, which stays to be read; null at the end of the file.
  const Line* peek_nonblank() {
    for (const Line& line : ahead_)
      if (!is_blank(line)) return &line;
    while (std::optional<Line> line = lines_.next()) {
      ahead_.push_back(std::move(*line));
      if (!is_blank(ahead_.back())) return &ahead_.back();
    }
    return nullptr;
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
    return next != nullptr && !is_title(next->text) &&
           !speakers_.mark_at_start(next->text, {.awaits_answer = false, .at_start = true});
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
    const bool asks = marks.empty() ? users_turn : marks.front().speaker == Speaker::kUser;
    if (asks && !answer_follows())
      std::ranges::copy(
          speakers_.marks_inside(text, marks.empty() ? 0 : marks.front().end, Speaker::kAssistant),
          std::back_inserter(marks));
    const size_t first = marks.empty() ? text.size() : marks.front().begin;
    if (!trimmed(text.substr(0, first)).empty())
      push(turns.empty() ? Piece::kTitle : Piece::kContinuation, 0, first);
    for (size_t i = 0; i < marks.size(); ++i) {
      const size_t end = i + 1 < marks.size() ? marks[i + 1].begin : text.size();
      push(marks[i].speaker == Speaker::kUser ? Piece::kUser : Piece::kAssistant, marks[i].end,
           end);
    }
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
      turns.push_back({piece.kind == Piece::kUser ? "user" : "assistant", piece.text});
    } else if (turns.empty()) {
      throw DataError({.where = lines_.where(piece.line_number),
                       .found = "an answer without a question",
                       .expected = fmt::format("a turn of the user, as in '{}：...'",
                                               printable(speakers_.user())),
                       .fix = "set data_format: lines if this is plain text"});
    } else {
      std::string& content = turns.back().content;
      const char* gap = content.empty() ? "" : piece.begins_paragraph ? "\n\n" : "\n";
      content += gap + piece.text;
    }
  }

  std::optional<Record> complete(Record record) {
    if (std::exchange(skipped_title_, false))
      record.notes.push_back("a line without a speaker before it is skipped as a title");
    if (is_answered(record.messages)) return record;
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
};

}  // namespace

SourceFormat dialogue_source() {
  return {.recognises_record = {},
          .recognises_text = Speakers::recognises,
          .open = [](const std::string& path) -> std::unique_ptr<Source> {
            return std::make_unique<DialogueSource>(path);
          }};
}

}  // namespace lora_dist
