// Conversations: {"messages": [{"role", "content"}]}, ShareGPT's {"conversations": [{"from",
// "value"}]} with an optional "system", and {"prompt", "completion"} where both are lists of
// messages.
//
// An answer is not learnt where its turn says so (weight 0; train, loss or training false). Turns
// after the last answer are left out: nothing of them would be learnt.
#include <algorithm>
#include <utility>

#include "core/base/error.hpp"
#include "data/sources/conversation.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

bool is_conversation(const nlohmann::json& fields) {
  if (has_field(fields, {"messages", "conversations"})) return true;
  const nlohmann::json* prompt = find_field(fields, {"prompt"});
  return prompt != nullptr && prompt->is_array() && has_field(fields, {"completion"});
}

void require_answer(const RawRecord& raw, std::vector<Message>& messages) {
  const auto fail = [&](const std::string& found) {
    throw DataError({.where = raw.where,
                     .found = found,
                     .expected = "at least one answer to learn",
                     .fix = "add the answer, or take the conversation out"});
  };
  while (!messages.empty() && messages.back().role != "assistant") messages.pop_back();
  if (messages.empty()) fail("a conversation without an assistant turn");
  if (std::ranges::none_of(messages, [](const Message& message) {
        return message.role == "assistant" && message.learn;
      }))
    fail("a conversation whose answers all say that they are not learnt");
}

/// The record's own system text goes before turns that have none.
void add_system(const RawRecord& raw, Record& record) {
  std::string system = optional_text(raw, kSystemFields);
  if (system.empty()) return;
  std::vector<Message>& messages = record.messages;
  if (messages.empty() || messages.front().role != "system")
    messages.insert(messages.begin(), {"system", std::move(system)});
  else if (messages.front().content != system)
    record.notes.push_back("'system' of a record is left out: its turns have a system text");
}

/// Some exports repeat the first question as "prompt"; anything else beside the turns is lost.
void note_what_stands_beside(const RawRecord& raw, Record& record) {
  const nlohmann::json* prompt = find_field(raw.fields, {"prompt"});
  const bool repeated = prompt != nullptr && prompt->is_string() &&
                        std::ranges::any_of(record.messages, [&](const Message& message) {
                          return *prompt == message.content;
                        });
  if (!repeated) note_left_out(raw, {"prompt"}, {"messages"}, record);
  note_left_out(raw, {"text", "instruction", "input", "output", "answer", "response", "history"},
                {"messages"}, record);
}

Record conversation_record(const RawRecord& raw) {
  Record record;
  if (const nlohmann::json* turns = find_field(raw.fields, {"messages", "conversations"})) {
    add_turns(raw, has_field(raw.fields, {"messages"}) ? "messages" : "conversations", *turns,
              record);
    note_what_stands_beside(raw, record);
  } else if (const nlohmann::json* prompt = find_field(raw.fields, {"prompt"})) {
    const nlohmann::json* completion = find_field(raw.fields, {"completion"});
    if (completion == nullptr) missing_field(raw, "completion");
    add_turns(raw, "prompt", *prompt, record);
    add_turns(raw, "completion", *completion, record);
  } else {
    missing_field(raw, "messages");
  }
  add_system(raw, record);
  require_answer(raw, record.messages);
  return record;
}

}  // namespace

SourceFormat messages_source() {
  SourceFormat format = structured_format(is_conversation, conversation_record);
  format.reading_version = 3;  // calls of tools and reasoning reach the template
  return format;
}

}  // namespace lora_dist
