// {"text": ...}: plain text, all of it learnt. A record that holds a question and its answer beside
// the text is alpaca's: there the answer alone is learnt.
#include "core/base/error.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

bool is_text(const nlohmann::json& fields) {
  const bool has_question =
      has_field(fields, {"instruction", "question", "query", "prompt", "input"});
  const bool has_answer =
      has_field(fields, {"output", "answer", "response", "completion", "target"});
  return has_field(fields, {"text"}) && !(has_question && has_answer);
}

Record text_record(const RawRecord& raw) {
  Record record;
  record.text = required_text(raw, {"text"});
  if (record.text.empty())
    throw DataError({.where = raw.where,
                     .found = "'text' is empty",
                     .expected = "a text to learn",
                     .fix = "fill it or take the record out"});
  note_left_out(raw,
                {"instruction", "question", "query", "prompt", "input", "output", "answer",
                 "response", "completion", "system", "system_prompt"},
                {"text"}, record);
  return record;
}

}  // namespace

SourceFormat text_source() { return structured_format(is_text, text_record); }

}  // namespace lora_dist
