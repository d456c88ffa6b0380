// {"instruction", "input", "output"} with the synonyms of other tools, optional "system" (or
// "system_prompt") and "history" [[question, answer], ...]. {"input", "output"} alone is a question
// and its answer.
//
// Instruction and input stay apart in one user turn: the alpaca template prints them as two blocks,
// chat templates join them by a line break as LLaMA-Factory does. Of several synonyms in one record
// the first that holds a text is taken; the others are noted.
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

const FieldNames kInstruction = {"instruction", "question", "query", "prompt"};
const FieldNames kInput = {"input", "context"};
const FieldNames kOutput = {"output", "answer", "response", "completion", "target"};

bool is_alpaca(const nlohmann::json& fields) {
  return has_field(fields, kInstruction) || has_field(fields, kOutput);
}

void add_history(const RawRecord& raw, std::vector<Message>& messages) {
  const nlohmann::json* history = find_field(raw.fields, {"history"});
  if (history == nullptr) return;
  constexpr auto kExpected = "a list of [question, answer] pairs";
  constexpr auto kFix = R"(write "history": [["question", "answer"], ...])";
  if (!history->is_array()) wrong_type(raw, "history", *history, kExpected, kFix);
  for (const nlohmann::json& pair : *history) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      wrong_type(raw, "history", *history, kExpected, kFix);
    messages.push_back({"user", pair[0]});
    messages.push_back({"assistant", pair[1]});
  }
}

/// Notes the filled fields of `names` whose text is another than `taken`.
void note_rivals(const RawRecord& raw, FieldNames names, const std::string& taken, Record& record) {
  std::string_view used;
  for (const std::string_view name : names) {
    const nlohmann::json* field = find_field(raw.fields, {name});
    if (field == nullptr || !is_filled(*field)) continue;
    if (used.empty())
      used = name;
    else if (*field != taken)
      record.notes.push_back(fmt::format("'{}' is left out: '{}' is used", name, used));
  }
}

Message question_of(const RawRecord& raw, Record& record) {
  const bool only_input = !has_field(raw.fields, kInstruction) && has_field(raw.fields, kInput) &&
                          has_field(raw.fields, kOutput);
  Message question{"user", only_input ? "" : required_text(raw, kInstruction),
                   optional_text(raw, kInput)};
  note_rivals(raw, kInstruction, question.content, record);
  note_rivals(raw, kInput, question.input, record);
  if (question.content.empty()) std::swap(question.content, question.input);
  return question;
}

Record alpaca_record(const RawRecord& raw) {
  Record record;
  if (std::string system = optional_text(raw, kSystemFields); !system.empty())
    record.messages.push_back({"system", std::move(system)});
  add_history(raw, record.messages);
  record.messages.push_back(question_of(raw, record));
  record.messages.push_back({"assistant", required_text(raw, kOutput)});
  note_rivals(raw, kOutput, record.messages.back().content, record);
  note_left_out(raw, {"text"}, {"instruction", "output"}, record);
  return record;
}

}  // namespace

SourceFormat alpaca_source() { return structured_format(is_alpaca, alpaca_record); }

}  // namespace lora_dist
