// A conversation as the base model's chat template writes it.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "data/templates/jinja/syntax.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

class Rendering {
 public:
  /// Errors  jinja::Failure: the template cannot be read.
  explicit Rendering(const Tokenizer& tokenizer);

  /// `for_prompt`: with the header of the answer to be written. Errors  jinja::Failure.
  std::string text(const Conversation& record, bool for_prompt,
                   std::optional<std::time_t> now = std::nullopt) const;
  /// The same of data. Errors  DataError with the template's own words.
  std::string record_text(const Conversation& record, bool for_prompt,
                          std::optional<std::time_t> now = std::nullopt) const;

  const std::string& source() const { return source_; }
  const std::string& bos() const { return bos_; }
  const std::string& eos() const { return eos_; }

 private:
  std::string source_;
  jinja::Block block_;
  std::string bos_, eos_, pad_;
};

/// A private-use text that no data holds and no template changes.
std::string sentinel(size_t number);

}  // namespace lora_dist
