#include "data/tokenizers/decoders.hpp"

#include <charconv>
#include <numeric>

#include "data/io/printable.hpp"
#include "data/tokenizers/byte_level.hpp"
#include "data/tokenizers/pattern.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

std::string joined(const std::vector<std::string>& parts) {
  return std::accumulate(parts.begin(), parts.end(), std::string());
}

PartDecoder make_byte_level_decoder(const JsonView&) {
  return [](std::vector<std::string>& parts) {
    std::string bytes;
    for (const std::string& part : parts) bytes += bytes_of_spelling(part).value_or(part);
    parts = {lossy_utf8(bytes)};
  };
}

/// "<0x0A>" -> 10; -1 for anything else.
int byte_of(const std::string& part) {
  if (part.size() != 6 || !part.starts_with("<0x") || part.back() != '>') return -1;
  int byte = -1;
  const auto [end, error] = std::from_chars(part.data() + 3, part.data() + 5, byte, 16);
  return error == std::errc() && end == part.data() + 5 ? byte : -1;
}

/// A run of byte tokens is the text that its bytes spell, or one U+FFFD for each of them.
PartDecoder make_byte_fallback_decoder(const JsonView&) {
  return [](std::vector<std::string>& parts) {
    std::vector<std::string> result;
    std::string run;
    const auto end_run = [&] {
      if (first_invalid_utf8(run) == std::string::npos) {
        if (!run.empty()) result.push_back(run);
      } else {
        for (size_t i = 0; i < run.size(); ++i) result.emplace_back("\uFFFD");
      }
      run.clear();
    };
    for (std::string& part : parts) {
      if (const int byte = byte_of(part); byte >= 0) {
        run += static_cast<char>(byte);
        continue;
      }
      end_run();
      result.push_back(std::move(part));
    }
    end_run();
    parts = std::move(result);
  };
}

PartDecoder make_fuse_decoder(const JsonView&) {
  return [](std::vector<std::string>& parts) { parts = {joined(parts)}; };
}

PartDecoder make_replace_decoder(const JsonView& spec) {
  return [pattern = read_pattern(spec),
          content = spec.text("content")](std::vector<std::string>& parts) {
    for (std::string& part : parts) {
      std::string result;
      for (const Span& span : pattern.spans(part))
        result += span.is_match ? content : part.substr(span.begin, span.end - span.begin);
      part = std::move(result);
    }
  };
}

/// Takes up to `start` and `stop` of one character off the two ends of each part.
PartDecoder make_strip_decoder(const JsonView& spec) {
  return [content = spec.text("content"), start = spec.integer("start"),
          stop = spec.integer("stop")](std::vector<std::string>& parts) {
    for (std::string& part : parts) {
      size_t begin = 0, end = part.size();
      for (int64_t i = 0; i < start && part.compare(begin, content.size(), content) == 0; ++i)
        begin += content.size();
      for (int64_t i = 0; i < stop && end >= begin + content.size() &&
                          std::string_view(part).substr(0, end).ends_with(content);
           ++i)
        end -= content.size();
      part = part.substr(begin, end - begin);
    }
  };
}

PartDecoder make_metaspace_decoder(const JsonView& spec) {
  const bool prepends = spec.has("prepend_scheme") ? spec.text("prepend_scheme") != "never"
                                                   : spec.boolean("add_prefix_space", true);
  return [space = spec.text("replacement"), prepends](std::vector<std::string>& parts) {
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string blank = i == 0 && prepends ? "" : " ";
      for (size_t pos = 0; (pos = parts[i].find(space, pos)) != std::string::npos;
           pos += blank.size())
        parts[i].replace(pos, space.size(), blank);
    }
  };
}

PartDecoder make_sequence_decoder(const JsonView& spec) {
  std::vector<PartDecoder> steps;
  for (const JsonView& step : spec.items("decoders")) steps.push_back(make_decoder(step));
  return [steps = std::move(steps)](std::vector<std::string>& parts) {
    for (const PartDecoder& step : steps) step(parts);
  };
}

}  // namespace

PartDecoder make_decoder(const JsonView& spec) {
  static const Registry<PartDecoder (*)(const JsonView&)> known(
      "decoder", {{"Sequence", make_sequence_decoder},
                  {"Replace", make_replace_decoder},
                  {"ByteFallback", make_byte_fallback_decoder},
                  {"Fuse", make_fuse_decoder},
                  {"Strip", make_strip_decoder},
                  {"ByteLevel", make_byte_level_decoder},
                  {"Metaspace", make_metaspace_decoder}});
  return component(known, "decoder", spec)(spec);
}

}  // namespace lora_dist
