#include "data/tokenizers/pre_tokenizers.hpp"

#include <algorithm>

#include "data/tokenizers/byte_level.hpp"
#include "data/tokenizers/pattern.hpp"

namespace lora_dist {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// \w of the regular expressions that Hugging Face's `Whitespace` uses (Unicode TR18, annex C), in
// Oniguruma's words.
constexpr const char* kWordsPattern =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|)"
    R"([^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+)";

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior read_behavior(const JsonView& spec) {
  static const Registry<Behavior> known("behavior",
                                        {{"Removed", Behavior::kRemoved},
                                         {"Isolated", Behavior::kIsolated},
                                         {"MergedWithPrevious", Behavior::kMergedWithPrevious},
                                         {"MergedWithNext", Behavior::kMergedWithNext},
                                         {"Contiguous", Behavior::kContiguous}});
  const std::string name = spec.text("behavior");
  if (const Behavior* behavior = known.find(name)) return *behavior;
  spec.fail(fmt::format("behavior '{}' is not supported", name), {},
            fmt::format("known: {}", fmt::join(known.names(), ", ")));
}

/// Joins a span to the one before it where `joins(span, previous)` says so.
template <class Joins>
std::vector<Span> joined(const std::vector<Span>& spans, Joins joins) {
  std::vector<Span> result;
  bool previous_is_match = false;
  for (const Span& span : spans) {
    if (!result.empty() && joins(span.is_match, previous_is_match)) {
      result.back().begin = std::min(result.back().begin, span.begin);
      result.back().end = std::max(result.back().end, span.end);
    } else {
      result.push_back(span);
    }
    previous_is_match = span.is_match;
  }
  return result;
}

std::vector<Span> arranged(std::vector<Span> spans, Behavior behavior) {
  const auto match_joins_other = [](bool is_match, bool previous_is_match) {
    return is_match && !previous_is_match;
  };
  switch (behavior) {
    case Behavior::kIsolated:
      break;
    case Behavior::kRemoved:
      std::erase_if(spans, [](const Span& span) { return span.is_match; });
      break;
    case Behavior::kContiguous:
      return joined(spans, [](bool is_match, bool previous_is_match) {
        return is_match == previous_is_match;
      });
    case Behavior::kMergedWithPrevious:
      return joined(spans, match_joins_other);
    case Behavior::kMergedWithNext:
      std::reverse(spans.begin(), spans.end());
      spans = joined(spans, match_joins_other);
      std::reverse(spans.begin(), spans.end());
      break;
  }
  return spans;
}

/// Replaces every piece that is not a token yet by the pieces that `cut` makes of it.
template <class Cut>
void cut_pieces(std::vector<Piece>& pieces, Cut cut) {
  std::vector<Piece> result;
  result.reserve(pieces.size() * 4);
  for (Piece& piece : pieces) {
    if (piece.id != kNoToken) {
      result.push_back(std::move(piece));
      continue;
    }
    for (const Span& span : cut(piece))
      if (span.begin < span.end)
        result.push_back({.text = piece.text.substr(span.begin, span.end - span.begin),
                          .id = kNoToken,
                          .starts_text = piece.starts_text && span.begin == 0});
  }
  pieces = std::move(result);
}

PreTokenizer split(const Pattern& pattern, Behavior behavior, bool invert = false) {
  return [=](std::vector<Piece>& pieces) {
    cut_pieces(pieces, [&](const Piece& piece) {
      std::vector<Span> spans = pattern.spans(piece.text);
      if (invert)
        for (Span& span : spans) span.is_match = !span.is_match;
      return arranged(std::move(spans), behavior);
    });
  };
}

PreTokenizer make_split_pre_tokenizer(const JsonView& spec) {
  return split(read_pattern(spec), read_behavior(spec), spec.boolean("invert", false));
}

PreTokenizer make_digits_pre_tokenizer(const JsonView& spec) {
  const bool individual = spec.boolean("individual_digits");
  return split({R"(\p{N})", spec.file()}, individual ? Behavior::kIsolated : Behavior::kContiguous);
}

PreTokenizer make_punctuation_pre_tokenizer(const JsonView& spec) {
  // ASCII's symbols count as punctuation too, though Unicode calls them symbols.
  return split({R"([\p{P}$+<=>^`|~])", spec.file()},
               spec.has("behavior") ? read_behavior(spec) : Behavior::kIsolated);
}

PreTokenizer make_whitespace_pre_tokenizer(const JsonView& spec) {
  return split({kWordsPattern, spec.file()}, Behavior::kRemoved, /*invert=*/true);
}

PreTokenizer make_whitespace_split_pre_tokenizer(const JsonView& spec) {
  return split({R"(\p{White_Space})", spec.file()}, Behavior::kRemoved);
}

PreTokenizer make_byte_level_pre_tokenizer(const JsonView& spec) {
  PreTokenizer cut = spec.boolean("use_regex", true)
                         ? split({kGpt2Pattern, spec.file()}, Behavior::kIsolated)
                         : nullptr;
  return [cut, add_prefix_space = spec.boolean("add_prefix_space")](std::vector<Piece>& pieces) {
    if (add_prefix_space)
      for (Piece& piece : pieces)
        if (piece.id == kNoToken && !piece.text.starts_with(' ')) piece.text.insert(0, 1, ' ');
    if (cut) cut(pieces);
    for (Piece& piece : pieces)
      if (piece.id == kNoToken) piece.text = spell_bytes(piece.text);
  };
}

PreTokenizer make_metaspace_pre_tokenizer(const JsonView& spec) {
  const std::string space = spec.text("replacement");
  // Files written before prepend_scheme existed have add_prefix_space.
  const std::string scheme = spec.has("prepend_scheme")               ? spec.text("prepend_scheme")
                             : spec.boolean("add_prefix_space", true) ? "always"
                                                                      : "never";
  if (scheme != "always" && scheme != "first" && scheme != "never")
    spec.fail(fmt::format("prepend_scheme '{}'", scheme), "always, first or never");
  PreTokenizer cut = spec.boolean("split", true)
                         ? split(Pattern::literal(space, spec.file()), Behavior::kMergedWithNext)
                         : nullptr;
  return [=](std::vector<Piece>& pieces) {
    for (Piece& piece : pieces) {
      if (piece.id != kNoToken) continue;
      for (size_t pos = 0; (pos = piece.text.find(' ', pos)) != std::string::npos;
           pos += space.size())
        piece.text.replace(pos, 1, space);
      const bool prepends = scheme == "always" || (scheme == "first" && piece.starts_text);
      if (prepends && !piece.text.starts_with(space)) piece.text.insert(0, space);
    }
    if (cut) cut(pieces);
  };
}

PreTokenizer make_sequence_pre_tokenizer(const JsonView& spec) {
  std::vector<PreTokenizer> steps;
  for (const JsonView& step : spec.items("pretokenizers"))
    steps.push_back(make_pre_tokenizer(step));
  return [steps = std::move(steps)](std::vector<Piece>& pieces) {
    for (const PreTokenizer& step : steps) step(pieces);
  };
}

}  // namespace

PreTokenizer make_pre_tokenizer(const JsonView& spec) {
  static const Registry<PreTokenizer (*)(const JsonView&)> known(
      "pre_tokenizer", {{"Sequence", make_sequence_pre_tokenizer},
                        {"Split", make_split_pre_tokenizer},
                        {"ByteLevel", make_byte_level_pre_tokenizer},
                        {"Metaspace", make_metaspace_pre_tokenizer},
                        {"Digits", make_digits_pre_tokenizer},
                        {"Whitespace", make_whitespace_pre_tokenizer},
                        {"WhitespaceSplit", make_whitespace_split_pre_tokenizer},
                        {"Punctuation", make_punctuation_pre_tokenizer}});
  return component(known, "pre_tokenizer", spec)(spec);
}

}  // namespace lora_dist
