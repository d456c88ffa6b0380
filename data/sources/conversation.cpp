#include "data/sources/conversation.hpp"

#include <algorithm>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"
#include "data/sources/openings.hpp"
#include "data/sources/roles.hpp"

namespace lora_dist {
namespace {

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
  const auto ordered = raw.in_order(std::string(field))[index];
  nlohmann::ordered_json written;
  for (const auto& [key, value] : ordered.items())
    written[key == "from" ? "role" : key == "value" ? "content" : key] = value;
  return written;
}

}  // namespace

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

std::vector<Message> read_conversation(const std::string& text, const std::string& where) {
  const auto fail = [&](const std::string& found) {
    throw DataError({.where = where,
                     .found = found,
                     .expected = R"([{"role": "user", "content": "..."}, ...])",
                     .fix = {}});
  };
  RawRecord raw{.where = where};
  try {
    raw.fields = parse_json<nlohmann::json>(text);
  } catch (const JsonFault& fault) {
    fail(fmt::format("byte {}: {}", fault.byte, fault.found));
  }
  raw.text = text;
  if (raw.fields.is_array()) {
    raw.fields = nlohmann::json{{"messages", std::move(raw.fields)}};
    raw.text = R"({"messages": )" + text + "}";
  }
  if (!raw.fields.is_object()) fail("no list of messages");
  const char* field = has_field(raw.fields, {"messages"}) ? "messages" : "conversations";
  const nlohmann::json* turns = find_field(raw.fields, {field});
  if (turns == nullptr || !turns->is_array() || turns->empty()) fail("no list of messages");
  Record record;
  add_turns(raw, field, *turns, record);
  for (const std::string& note : record.notes) log_warning(where + ": " + note);
  return std::move(record.messages);
}

}  // namespace lora_dist
