// Conversations: {"messages": [{"role", "content"}]}, ShareGPT's {"conversations": [{"from",
// "value"}]} with an optional "system", and {"prompt", "completion"} where both are lists of
// messages.
//
// Turns after the last answer are left out: nothing of them would be learnt.
#include <algorithm>
#include <array>
#include <utility>

#include "core/error.hpp"
#include "data/printable.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

bool is_conversation(const nlohmann::json& fields) {
  if (has_field(fields, {"messages", "conversations"})) return true;
  const nlohmann::json* prompt = find_field(fields, {"prompt"});
  return prompt != nullptr && prompt->is_array() && has_field(fields, {"completion"});
}

std::string role_of(const RawRecord& raw, const std::string& name) {
  static constexpr std::array<std::pair<std::string_view, const char*>, 9> kRoles = {
      {{"system", "system"},
       {"user", "user"},
       {"human", "user"},
       {"assistant", "assistant"},
       {"gpt", "assistant"},
       {"chatgpt", "assistant"},
       {"bot", "assistant"},
       {"chatbot", "assistant"},
       {"model", "assistant"}}};
  for (const auto& [known, role] : kRoles)
    if (known == name) return role;
  throw DataError({.where = raw.where,
                   .found = fmt::format("role '{}'", printable(name)),
                   .expected = "system, user or assistant",
                   .fix = "turns of tools are not supported"});
}

/// A string, or OpenAI's list of {"type": "text", "text": ...} parts.
std::string content_of(const RawRecord& raw, const nlohmann::json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) wrong_type(raw, "content", content, "a string");
  std::string text;
  for (const nlohmann::json& part : content) {
    const nlohmann::json* piece = part.is_object() ? find_field(part, {"text"}) : nullptr;
    if (piece == nullptr || !piece->is_string())
      wrong_type(raw, "content", content, "text parts only");
    text += piece->get<std::string>();
  }
  return text;
}

void add_turns(const RawRecord& raw, std::string_view field, const nlohmann::json& turns,
               std::vector<Message>& messages) {
  constexpr auto kExpected = "a list of turns with 'role' and 'content'";
  if (!turns.is_array()) wrong_type(raw, field, turns, kExpected);
  for (const nlohmann::json& turn : turns) {
    if (!turn.is_object()) wrong_type(raw, field, turns, kExpected);
    const nlohmann::json* role = find_field(turn, {"role", "from"});
    const nlohmann::json* content = find_field(turn, {"content", "value"});
    if (role == nullptr || !role->is_string() || content == nullptr)
      wrong_type(raw, field, turns, kExpected);
    messages.push_back({role_of(raw, role->get<std::string>()), content_of(raw, *content)});
  }
}

void require_answer(const RawRecord& raw, std::vector<Message>& messages) {
  while (!messages.empty() && messages.back().role != "assistant") messages.pop_back();
  if (!messages.empty()) return;
  throw DataError({.where = raw.where,
                   .found = "a conversation without an assistant turn",
                   .expected = "at least one answer to learn",
                   .fix = {}});
}

Record conversation_record(const RawRecord& raw) {
  Record record;
  if (const nlohmann::json* turns = find_field(raw.fields, {"messages", "conversations"})) {
    add_turns(raw, has_field(raw.fields, {"messages"}) ? "messages" : "conversations", *turns,
              record.messages);
  } else if (const nlohmann::json* prompt = find_field(raw.fields, {"prompt"})) {
    const nlohmann::json* completion = find_field(raw.fields, {"completion"});
    if (completion == nullptr) missing_field(raw, "completion");
    add_turns(raw, "prompt", *prompt, record.messages);
    add_turns(raw, "completion", *completion, record.messages);
  } else {
    missing_field(raw, "messages");
  }
  std::string system = optional_text(raw, {"system"});
  if (!system.empty() && (record.messages.empty() || record.messages.front().role != "system"))
    record.messages.insert(record.messages.begin(), {"system", std::move(system)});
  require_answer(raw, record.messages);
  return record;
}

}  // namespace

SourceFormat messages_source() { return structured_format(is_conversation, conversation_record); }

}  // namespace lora_dist
