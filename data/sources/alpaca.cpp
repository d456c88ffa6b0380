// {"instruction", "input", "output"} with the synonyms of other tools, optional "system" and
// "history" [[question, answer], ...].
//
// Instruction and input stay apart in one user turn: the alpaca template prints them as two blocks,
// chat templates join them by a line break as LLaMA-Factory does.
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
  if (history == nullptr || history->is_null()) return;
  constexpr auto kExpected = "a list of [question, answer] pairs";
  if (!history->is_array()) wrong_type(raw, "history", *history, kExpected);
  for (const nlohmann::json& pair : *history) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      wrong_type(raw, "history", *history, kExpected);
    messages.push_back({"user", pair[0]});
    messages.push_back({"assistant", pair[1]});
  }
}

Record alpaca_record(const RawRecord& raw) {
  Record record;
  if (std::string system = optional_text(raw, {"system"}); !system.empty())
    record.messages.push_back({"system", std::move(system)});
  add_history(raw, record.messages);
  Message question{"user", required_text(raw, kInstruction), optional_text(raw, kInput)};
  if (question.content.empty()) std::swap(question.content, question.input);
  record.messages.push_back(std::move(question));
  record.messages.push_back({"assistant", required_text(raw, kOutput)});
  return record;
}

}  // namespace

SourceFormat alpaca_source() { return structured_format(is_alpaca, alpaca_record); }

}  // namespace lora_dist
