// A sample as a person reads it: its text, and which stretches of it are learnt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/templates/template.hpp"

namespace lora_dist {

struct Stretch {
  std::string text;  // as the tokenizer writes it, special tokens spelt out
  bool learnt = false;
  int64_t num_tokens = 0;
};

/// The stretches of tokens that are learnt alike, in order. `tokenizer` may be null: then the text
/// is the ids.
std::vector<Stretch> stretches_of(const Tokens& tokens, const Tokenizer* tokenizer);

/// A line for each stretch, "learnt   4  in Norway<|eot_id|>", its middle left out where it has
/// more than `columns` of a terminal; of many stretches the first and the last.
std::vector<std::string> sample_lines(const Tokens& tokens, const Tokenizer* tokenizer,
                                      size_t columns);

}  // namespace lora_dist
