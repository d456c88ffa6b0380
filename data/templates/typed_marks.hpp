// What the data spell out of a template's own marks: it is not written twice.
#pragma once

#include <string>
#include <vector>

#include "data/templates/template.hpp"

namespace lora_dist {

/// The marks that a template writes around an answer.
struct TurnMarks {
  std::vector<TokenId> end_ids;  // that end an answer, beside those that end any text
  std::string before_answer;     // between a question and its answer
};

/// The turns without end tokens that are typed behind an answer, without the header of the answer
/// typed before it, and without a BOS typed before a turn: the template writes them. Other special
/// tokens stay and are told, once each.
std::vector<Message> without_typed_marks(const std::vector<Message>& messages,
                                         const TurnMarks& marks, const Tokenizer& tokenizer);

/// A text that was laid out before it came here holds its BOS and its EOS already.
void drop_doubled_ends(Tokens& tokens, const Tokenizer& tokenizer);

}  // namespace lora_dist
