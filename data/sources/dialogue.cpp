// Plain dialogues: "用户：..." and "客服：..." as turns, on lines of their own or both on one line.
//
// A record begins behind a blank line or with a new turn of the user once there is an answer. Lines
// without a speaker continue the turn before. Full-width and ASCII colons are alike; a file that
// leaves them out is read with a warning.
#include <deque>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/source_format.hpp"
#include "data/sources/speakers.hpp"

namespace lora_dist {
namespace {

class DialogueSource : public Source {
 public:
  explicit DialogueSource(const std::string& path)
      : lines_(path), speakers_(first_nonblank_lines(path)) {
    if (speakers_.bare_word().empty()) return;
    log_warning(fmt::format("{}: '{}' without a colon is read as the speaker; write '{}：'", path,
                            speakers_.bare_word(), speakers_.bare_word()));
  }

  std::optional<Record> next() override {
    Record record;
    std::vector<Message>& turns = record.messages;
    const auto answered = [&] {
      return !turns.empty() && turns.back().role == "assistant" && !turns.back().content.empty();
    };
    while (std::optional<Piece> piece = next_piece()) {
      if (piece->kind == Piece::kBlank) {
        if (answered()) return record;
        continue;
      }
      if (turns.empty()) record.where = lines_.where(piece->line_number);
      if (piece->kind == Piece::kUser && !turns.empty()) {
        pieces_.push_front(std::move(*piece));
        return complete(std::move(record));
      }
      add(*piece, turns);
    }
    if (turns.empty()) return std::nullopt;
    return complete(std::move(record));
  }

 private:
  struct Piece {
    enum Kind : uint8_t { kBlank, kUser, kAssistant, kContinuation };
    Kind kind = kBlank;
    std::string text;
    int64_t line_number = 0;
  };

  /// Lines come apart into pieces first, so that turns on one line and on several read alike.
  std::optional<Piece> next_piece() {
    if (pieces_.empty()) {
      const std::optional<Line> line = lines_.next();
      if (!line) return std::nullopt;
      cut(*line);
    }
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }

  void cut(const Line& line) {
    const std::string_view text = line.text;
    const auto push = [&](Piece::Kind kind, size_t begin, size_t end) {
      pieces_.push_back({kind, std::string(trimmed(text.substr(begin, end - begin))), line.number});
    };
    if (trimmed(text).empty()) return push(Piece::kBlank, 0, 0);
    const std::vector<SpeakerMark> marks = speakers_.marks(text);
    const size_t first = marks.empty() ? text.size() : marks.front().begin;
    if (!trimmed(text.substr(0, first)).empty()) push(Piece::kContinuation, 0, first);
    for (size_t i = 0; i < marks.size(); ++i) {
      const size_t end = i + 1 < marks.size() ? marks[i + 1].begin : text.size();
      push(marks[i].speaker == Speaker::kUser ? Piece::kUser : Piece::kAssistant, marks[i].end,
           end);
    }
  }

  void add(const Piece& piece, std::vector<Message>& turns) {
    const bool opens_turn =
        piece.kind == Piece::kUser ||
        (piece.kind == Piece::kAssistant && !turns.empty() && turns.back().role == "user");
    if (opens_turn) {
      turns.push_back({piece.kind == Piece::kUser ? "user" : "assistant", piece.text});
    } else if (turns.empty()) {
      throw DataError({.where = lines_.where(piece.line_number),
                       .found = piece.kind == Piece::kAssistant ? "an answer without a question"
                                                                : "a line without a speaker",
                       .expected = "a turn of the user, as in '用户：...'",
                       .fix = "set data_format: lines if this is plain text"});
    } else {
      std::string& content = turns.back().content;
      content += (content.empty() ? "" : "\n") + piece.text;
    }
  }

  std::optional<Record> complete(Record record) {
    if (record.messages.back().role == "assistant" && !record.messages.back().content.empty())
      return record;
    throw DataError({.where = record.where,
                     .found = "a question without an answer",
                     .expected = "a turn of the other speaker behind it",
                     .fix = "write both, or take the question out"});
  }

  LineReader lines_;
  Speakers speakers_;
  std::deque<Piece> pieces_;
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
