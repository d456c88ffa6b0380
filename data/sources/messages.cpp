// Conversations: {"messages": [{"role", "content"}]}, ShareGPT's {"conversations": [{"from",
// "value"}]} with an optional "system", and {"prompt", "completion"} where both are lists of
// messages.
//
// An answer is not learnt where its turn says so (weight 0; train, loss or training false). Turns
// after the last answer are left out: nothing of them would be learnt.
#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"
#include "data/sources/openings.hpp"
#include "data/sources/roles.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

bool is_conversation(const nlohmann::json& fields) {
  if (has_field(fields, {"messages", "conversations"})) return true;
  const nlohmann::json* prompt = find_field(fields, {"prompt"});
  return prompt != nullptr && prompt->is_array() && has_field(fields, {"completion"});
}

std::string role_of(const RawRecord& raw, const std::string& name) {
  if (const std::optional<std::string> role = standard_role(name)) return *role;
  const std::string lower = lower_case(name);
  if (lower == "tool" || lower == "observation") return "tool";
  if (lower == "function_call") return "assistant";
  throw DataError({.where = raw.where,
                   .found = fmt::format("role '{}'", printable(name)),
                   .expected = "system, user, assistant or tool",
                   .fix = {}});
}

/// A string, or OpenAI's list of {"type": "text", "text": ...} parts.
std::string content_of(const RawRecord& raw, const nlohmann::json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array())
    wrong_type(raw, "content", content, "a string",
               content.is_null() ? "fill it, or take the turn out" : "put it into quotes");
  std::string text;
  for (const nlohmann::json& part : content) {
    const nlohmann::json* piece = part.is_object() ? find_field(part, {"text"}) : nullptr;
    if (piece == nullptr || !piece->is_string())
      wrong_type(raw, "content", content, "text parts only",
                 R"(write {"type": "text", "text": "..."}, or the text itself)");
    text += piece->get<std::string>();
  }
  return text;
}

/// Whether the turn's own keys leave it to be learnt.
bool is_learnt(const RawRecord& raw, const nlohmann::json& turn, Record& record) {
  bool learnt = true;
  for (const std::string_view name : {"weight", "train", "loss", "training", "train_on_turn"}) {
    const nlohmann::json* value = find_field(turn, {name});
    if (value == nullptr) continue;
    if (value->is_boolean()) {
      learnt = learnt && value->get<bool>();
    } else if (value->is_number() && *value >= 0) {
      learnt = learnt && *value != 0;
      if (*value != 0 && *value != 1)
        record.notes.push_back(
            fmt::format("'{}' of a turn is neither 0 nor 1: the turn is learnt as with 1", name));
    } else {
      wrong_type(raw, name, *value, "0 or 1, true or false", "write it without quotes");
    }
  }
  return learnt;
}

void note_keys_of_turn(const nlohmann::json& turn, const Message& message, Record& record) {
  for (const std::string_view name :
       {"train_detail", "training_detail", "loss_scale", "mask", "ignore", "prefix"})
    if (const auto* value = find_field(turn, {name}); value != nullptr && *value != false)
      record.notes.push_back(
          fmt::format("'{}' of a turn is not obeyed: a turn is learnt as a whole", name));
  if (message.role == "assistant") return;
  for (const std::string_view name : {"train", "loss", "training", "train_on_turn"})
    if (const auto* value = find_field(turn, {name}); value != nullptr && is_filled(*value))
      record.notes.push_back(fmt::format(
          "'{}' of a turn that is no answer is not obeyed: answers alone are learnt", name));
}

/// What OpenAI wrote before 'tool_calls'; no chat template knows it.
void refuse_old_call(const RawRecord& raw, const nlohmann::json& turn) {
  if (const auto* value = find_field(turn, {"function_call"});
      value != nullptr && is_filled(*value))
    throw DataError({.where = raw.where,
                     .found = "a turn with 'function_call'",
                     .expected = "'tool_calls'",
                     .fix = "rewrite the call, or take such conversations out"});
}

/// Keys by which a turn says more than its content; a chat template may look at them.
const FieldNames kKeysBesideContent = {"tool_calls",        "tool_call_id", "name",
                                       "reasoning_content", "reasoning",    "thinking"};

/// LLaMA-Factory writes a call as the content of its turn: {"name": ..., "arguments": ...}, or a
/// list of them.
nlohmann::ordered_json calls_of(const RawRecord& raw, const std::string& content) {
  auto calls = nlohmann::ordered_json::array();
  try {
    auto written = parse_json<nlohmann::ordered_json>(content);
    if (!written.is_array()) written = nlohmann::ordered_json::array({written});
    for (auto& call : written)
      calls.push_back({{"type", "function"}, {"function", std::move(call)}});
  } catch (const JsonFault&) {
    throw DataError({.where = raw.where,
                     .found = "a turn of 'function_call' that is no JSON",
                     .expected = R"({"name": ..., "arguments": ...})",
                     .fix = {}});
  }
  return calls;
}

/// The turn as a chat template is to see it, with 'role' and 'content' for its keys; null where
/// these are all that it has.
nlohmann::ordered_json as_written(const RawRecord& raw, std::string_view field, size_t index,
                                  const Message& message, bool is_call) {
  const nlohmann::json& turn = raw.fields.at(std::string(field)).at(index);
  if (is_call)
    return {
        {"role", message.role}, {"content", ""}, {"tool_calls", calls_of(raw, message.content)}};
  const bool says_more =
      message.role == "tool" || std::ranges::any_of(kKeysBesideContent, [&](std::string_view name) {
        const nlohmann::json* value = find_field(turn, {name});
        return value != nullptr && is_filled(*value);
      });
  if (!says_more) return nullptr;
  const auto ordered = raw.in_order()[std::string(field)][index];
  nlohmann::ordered_json written;
  for (const auto& [key, value] : ordered.items())
    written[key == "from" ? "role" : key == "value" ? "content" : key] = value;
  return written;
}

void add_turns(const RawRecord& raw, std::string_view field, const nlohmann::json& turns,
               Record& record) {
  constexpr auto kExpected = "a list of turns with 'role' and 'content'";
  const std::string fix =
      fmt::format(R"(write "{}": [{{"role": "user", "content": "..."}}, ...])", field) +
      (turns.is_string() ? ", a text to learn whole as \"text\"" : "");
  if (!turns.is_array()) wrong_type(raw, field, turns, kExpected, fix);
  for (size_t i = 0; i < turns.size(); ++i) {
    const nlohmann::json& turn = turns[i];
    if (!turn.is_object()) wrong_type(raw, field, turns, kExpected, fix);
    refuse_old_call(raw, turn);
    const nlohmann::json* role = find_field(turn, {"role", "from"});
    const auto content = turn.contains("content") ? turn.find("content") : turn.find("value");
    const bool calls = has_field(turn, {"tool_calls"}) && is_filled(turn["tool_calls"]);
    const bool is_absent = content == turn.end() || (calls && content->is_null());
    if (role == nullptr || !role->is_string() || (is_absent && !calls))
      wrong_type(raw, field, turns, kExpected, fix);
    const std::string name = role->get<std::string>();
    Message message{role_of(raw, name), is_absent ? "" : content_of(raw, *content)};
    message.as_written = as_written(raw, field, i, message, lower_case(name) == "function_call");
    if (lower_case(name) == "function_call") message.content.clear();
    note_keys_of_turn(turn, message, record);
    message.learn = is_learnt(raw, turn, record) || message.role != "assistant";
    record.messages.push_back(std::move(message));
  }
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

SourceFormat messages_source() { return structured_format(is_conversation, conversation_record); }

}  // namespace lora_dist
