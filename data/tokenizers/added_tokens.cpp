#include "data/tokenizers/added_tokens.hpp"

#include <algorithm>

#include "data/tokenizers/pattern.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

bool is_word(std::string_view character) {
  static const Pattern word(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])", "added tokens");
  return word.spans(character).front().is_match;
}

bool inside_word(std::string_view text, size_t begin, size_t end) {
  const auto last_char_begin = [&] {
    size_t pos = begin - 1;
    while ((text[pos] & 0xC0) == 0x80) --pos;
    return pos;
  };
  if (begin > 0 && is_word(text.substr(last_char_begin(), begin - last_char_begin()))) return true;
  return end < text.size() && is_word(text.substr(end, char_bytes(text, end)));
}

}  // namespace

AddedToken read_added_token(const JsonView& spec, TokenId id) {
  return {.id = id,
          .content = spec.text("content"),
          .single_word = spec.boolean("single_word", false),
          .lstrip = spec.boolean("lstrip", false),
          .rstrip = spec.boolean("rstrip", false),
          .normalized = spec.boolean("normalized", true),
          .special = spec.boolean("special", false)};
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const Normalizer& normalizer) {
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    const AddedToken& kept = tokens_.emplace(token.id, token).first->second;
    std::string& form = forms_[token.id] = token.content;
    if (token.normalized && normalizer) normalizer(form);
    (token.normalized ? normalized_ : raw_).insert(form, token.id);
    index_.emplace(kept.content, token.id);
    if (token.special) special_.insert(token.content);
    end_id_ = std::max(end_id_, token.id + 1);
  }
}

void AddedTokens::Finder::insert(std::string_view form, TokenId id) {
  if (form.empty() || !ids.emplace(form, id).second) return;
  std::vector<size_t>& known = lengths[static_cast<unsigned char>(form[0])];
  if (std::find(known.begin(), known.end(), form.size()) != known.end()) return;
  known.push_back(form.size());
  std::sort(known.rbegin(), known.rend());
}

TokenId AddedTokens::Finder::match(std::string_view text, size_t pos, size_t& length) const {
  for (const size_t candidate : lengths[static_cast<unsigned char>(text[pos])]) {
    if (pos + candidate > text.size()) continue;
    const auto found = ids.find(text.substr(pos, candidate));
    if (found == ids.end()) continue;
    length = candidate;
    return found->second;
  }
  return kNoToken;
}

void AddedTokens::cut(const Piece& piece, const Finder& finder, std::vector<Piece>& result) const {
  const std::string_view text = piece.text;
  size_t covered = 0;
  const auto add_text = [&](size_t end) {
    if (covered < end)
      result.push_back({std::string(text.substr(covered, end - covered)), kNoToken,
                        piece.starts_text && covered == 0});
  };
  for (size_t pos = 0, length = 0; pos < text.size(); pos += length) {
    const TokenId id = finder.match(text, pos, length);
    if (id == kNoToken) {
      length = 1;
      continue;
    }
    const AddedToken& token = tokens_.at(id);
    size_t begin = pos, end = pos + length;
    if (token.single_word && inside_word(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(begin - trailing_space(text.substr(0, begin)), covered);
    if (token.rstrip) end += leading_space(text.substr(end));
    add_text(begin);
    result.push_back({std::string(text.substr(begin, end - begin)), id, false});
    covered = end;  // the search goes on behind the token itself, even inside white space that it
                    // swallowed
  }
  add_text(text.size());
}

std::vector<Piece> AddedTokens::extract(std::string text, const Normalizer& normalizer) const {
  std::vector<Piece> raw, pieces;
  cut({std::move(text), kNoToken, /*starts_text=*/true}, raw_, raw);
  for (Piece& piece : raw) {
    if (piece.id != kNoToken) {
      pieces.push_back(std::move(piece));
      continue;
    }
    if (normalizer) normalizer(piece.text);
    cut(piece, normalized_, pieces);
  }
  return pieces;
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

TokenId AddedTokens::id_of(std::string_view content) const {
  const auto found = index_.find(content);
  return found == index_.end() ? kNoToken : found->second;
}

const std::string& AddedTokens::decoded_form(const AddedToken& token) const {
  return forms_.at(token.id);
}

}  // namespace lora_dist
