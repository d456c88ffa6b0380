// Which bytes of a rendered conversation an answer is.
//
// A conversation is rendered twice, once as it is and once with a sentinel in place of each answer;
// what stands between the sentinels is the template's, what replaces them is the answer. Where a
// template makes more of an answer than its text (it moves reasoning about), the answers are
// replaced one at a time.
#pragma once

#include <string>
#include <vector>

#include "data/templates/layout.hpp"
#include "data/templates/rendering.hpp"

namespace lora_dist {

struct Answer {
  size_t begin = 0, end = 0;  // bytes of the rendered text
  Learn learn = Learn::kAnswer;
};

/// What a template writes around an answer.
struct AnswerMarks {
  std::string lead;                   // white space before it that a prompt does not end with
  std::string closing, last_closing;  // behind any answer, behind the last one
  const std::string& closing_of(bool is_last) const { return is_last ? last_closing : closing; }
};

/// The answers of `record`, whose text is `text`, in their order. Errors  DataError.
std::vector<Answer> answers_of(const Conversation& record, const std::string& text,
                               const Rendering& rendering, const AnswerMarks& marks);

std::string common_start(const std::string& a, const std::string& b);

}  // namespace lora_dist
