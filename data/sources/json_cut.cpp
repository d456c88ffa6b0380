#include "data/sources/json_cut.hpp"

#include <cctype>
#include <cstring>
#include <string>

namespace lora_dist {
namespace {

constexpr size_t kMaxOpenBrackets = 4096;  // the parser allows far fewer, and says so

class JsonCutter {
 public:
  JsonCutter(ByteWindow& bytes, size_t begin, size_t max_bytes)
      : bytes_(bytes), position_(begin), limit_(begin + max_bytes) {}

  JsonCut cut() {
    do {
      position_ = bytes_.next_nonblank(position_);
      if (position_ > limit_) return {JsonCut::kTooLong, position_};
      if (!step(bytes_.at(position_))) {
        const bool too_long = position_ > limit_;
        return {too_long ? JsonCut::kTooLong : JsonCut::kBroken, position_};
      }
    } while (!open_.empty());
    return {JsonCut::kWhole, position_};
  }

 private:
  /// What may stand at the position.
  enum class Next : uint8_t { kValue, kValueOrEnd, kKey, kKeyOrEnd, kColon, kCommaOrEnd };

  /// Passes over one piece: a bracket, comma, colon, string or literal. False where it cannot stand
  /// here.
  bool step(int c) {
    const bool value_fits = next_ == Next::kValue || next_ == Next::kValueOrEnd;
    if (c == '{' || c == '[') return value_fits && open(static_cast<char>(c));
    if (c == '}' || c == ']') return close(static_cast<char>(c));
    if (c == ',' || c == ':') return separate(c);
    if (c == '"') {
      const bool is_key = next_ == Next::kKey || next_ == Next::kKeyOrEnd;
      if (!value_fits && !is_key) return false;
      next_ = is_key ? Next::kColon : Next::kCommaOrEnd;
      return pass_string();
    }
    if (!value_fits || c == ByteWindow::kEnd || c == 0 ||
        std::strchr("-0123456789tfnNI", c) == nullptr)
      return false;
    next_ = Next::kCommaOrEnd;
    while (c != ByteWindow::kEnd && (std::isalnum(c) || c == '+' || c == '-' || c == '.'))
      c = bytes_.at(++position_);
    return true;
  }

  bool open(char bracket) {
    if (open_.size() == kMaxOpenBrackets) return false;
    open_ += bracket;
    next_ = bracket == '{' ? Next::kKeyOrEnd : Next::kValueOrEnd;
    ++position_;
    return true;
  }

  bool close(char bracket) {
    const bool is_object = bracket == '}';
    const Next empty = is_object ? Next::kKeyOrEnd : Next::kValueOrEnd;
    const bool fits = !open_.empty() && (open_.back() == '{') == is_object &&
                      (next_ == Next::kCommaOrEnd || next_ == empty);
    if (!fits) return false;
    open_.pop_back();
    next_ = Next::kCommaOrEnd;
    ++position_;
    return true;
  }

  bool separate(int c) {
    if (next_ != (c == ',' ? Next::kCommaOrEnd : Next::kColon)) return false;
    const bool before_key = c == ',' && open_.back() == '{';
    next_ = before_key ? Next::kKey : Next::kValue;
    ++position_;
    return true;
  }

  bool pass_string() {
    for (int c = bytes_.at(++position_); c != '"'; c = bytes_.at(++position_)) {
      if (c == '\\') c = bytes_.at(++position_);
      if (c < 0x20 || position_ > limit_) return false;  // the end of the file is below too
    }
    ++position_;
    return true;
  }

  ByteWindow& bytes_;
  size_t position_, limit_;
  std::string open_;  // brackets that wait for their end, the outermost first
  Next next_ = Next::kValue;
};

}  // namespace

JsonCut cut_json_value(ByteWindow& bytes, size_t begin, size_t max_bytes) {
  return JsonCutter(bytes, begin, max_bytes).cut();
}

}  // namespace lora_dist
