#include "data/tokenizers/normalizers.hpp"

#include <utf8proc.h>

#include <cstdlib>

#include "data/tokenizers/pattern.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

/// `identity_below`: a text of smaller characters only is in this form already (Unicode 15,
/// quick-check tables).
Normalizer unicode_form(int options, char32_t identity_below) {
  return [=](std::string& text) {
    if (is_ascii(text)) return;
    bool is_identity = true;
    for (size_t pos = 0; pos < text.size() && is_identity; pos += char_bytes(text, pos))
      is_identity = char_at(text, pos) < identity_below;
    if (is_identity) return;
    utf8proc_uint8_t* mapped = nullptr;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const utf8proc_ssize_t size =
        utf8proc_map(bytes, static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
    LD_CHECK(size >= 0, "utf8proc refuses valid UTF-8");
    text.assign(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
    std::free(mapped);
  };
}

Normalizer make_nfc_normalizer(const JsonView&) { return unicode_form(UTF8PROC_COMPOSE, 0x300); }
Normalizer make_nfd_normalizer(const JsonView&) { return unicode_form(UTF8PROC_DECOMPOSE, 0x80); }
Normalizer make_nfkc_normalizer(const JsonView&) {
  return unicode_form(UTF8PROC_COMPOSE | UTF8PROC_COMPAT, 0x80);
}
Normalizer make_nfkd_normalizer(const JsonView&) {
  return unicode_form(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, 0x80);
}

Normalizer make_lowercase_normalizer(const JsonView&) {
  return [](std::string& text) {
    std::string lower;
    lower.reserve(text.size());
    for (size_t pos = 0; pos < text.size(); pos += char_bytes(text, pos)) {
      const char32_t c = char_at(text, pos);
      append_utf8(lower, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
      if (c == 0x130)
        append_utf8(lower, 0x307);  // the one character whose lower case is two (SpecialCasing.txt)
    }
    text = std::move(lower);
  };
}

Normalizer make_strip_normalizer(const JsonView& spec) {
  return
      [left = spec.boolean("strip_left"), right = spec.boolean("strip_right")](std::string& text) {
        if (right) text.resize(text.size() - trailing_space(text));
        if (left) text.erase(0, leading_space(text));
      };
}

Normalizer make_prepend_normalizer(const JsonView& spec) {
  return [prefix = spec.text("prepend")](std::string& text) {
    if (!text.empty()) text.insert(0, prefix);
  };
}

Normalizer make_replace_normalizer(const JsonView& spec) {
  return [pattern = read_pattern(spec), content = spec.text("content")](std::string& text) {
    std::string result;
    result.reserve(text.size());
    for (const Span& span : pattern.spans(text)) {
      if (span.is_match)
        result += content;
      else
        result.append(text, span.begin, span.end - span.begin);
    }
    text = std::move(result);
  };
}

Normalizer make_sequence_normalizer(const JsonView& spec) {
  std::vector<Normalizer> steps;
  for (const JsonView& step : spec.items("normalizers")) steps.push_back(make_normalizer(step));
  return [steps = std::move(steps)](std::string& text) {
    for (const Normalizer& step : steps) step(text);
  };
}

}  // namespace

Normalizer make_normalizer(const JsonView& spec) {
  static const Registry<Normalizer (*)(const JsonView&)> known(
      "normalizer", {{"Sequence", make_sequence_normalizer},
                     {"NFC", make_nfc_normalizer},
                     {"NFD", make_nfd_normalizer},
                     {"NFKC", make_nfkc_normalizer},
                     {"NFKD", make_nfkd_normalizer},
                     {"Prepend", make_prepend_normalizer},
                     {"Replace", make_replace_normalizer},
                     {"Lowercase", make_lowercase_normalizer},
                     {"Strip", make_strip_normalizer}});
  return component(known, "normalizer", spec)(spec);
}

}  // namespace lora_dist
