#include "data/templates/rendering.hpp"

#include <utility>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

jinja::Value as_value(const nlohmann::ordered_json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    jinja::List list;
    for (const auto& entry : json) list.push_back(as_value(entry));
    return list;
  }
  if (!json.is_object()) return {};
  jinja::Dict dict;
  for (const auto& [key, value] : json.items()) dict.emplace_back(key, as_value(value));
  return dict;
}

jinja::Value as_value(const Message& message) {
  if (message.as_written.is_null())
    return jinja::Dict{{"role", message.role}, {"content", full_content(message)}};
  jinja::Dict dict;
  for (const auto& [key, value] : message.as_written.items()) {
    if (key == "role")
      dict.emplace_back(key, message.role);
    else if (key == "content" && !value.is_null())
      dict.emplace_back(key, full_content(message));
    else
      dict.emplace_back(key, as_value(value));
  }
  return dict;
}

jinja::Value as_value(const std::vector<Message>& messages) {
  jinja::List list;
  for (const Message& message : messages) list.push_back(as_value(message));
  return list;
}

}  // namespace

Rendering::Rendering(const Tokenizer& tokenizer)
    : source_(tokenizer.chat_template()),
      block_(jinja::parse(source_)),
      bos_(spelling(tokenizer.bos_id(), tokenizer)),
      eos_(spelling(tokenizer.eos_id(), tokenizer)),
      pad_(spelling(tokenizer.pad_id(), tokenizer)) {}

std::string Rendering::text(const Conversation& record, bool for_prompt,
                            std::optional<std::time_t> now) const {
  jinja::Dict variables = {{"messages", as_value(record.messages)},
                           {"tools", as_value(record.tools)},
                           {"documents", as_value(record.documents)},
                           {"add_generation_prompt", for_prompt}};
  const auto add_token = [&](const char* key, const std::string& token) {
    if (!token.empty()) variables.emplace_back(key, token);
  };
  add_token("bos_token", bos_);
  add_token("eos_token", eos_);
  add_token("pad_token", pad_);
  jinja::Scope scope(std::move(variables), now);
  jinja::run(block_, scope);
  return scope.take_text();
}

std::string Rendering::record_text(const Conversation& record, bool for_prompt,
                                   std::optional<std::time_t> now) const {
  try {
    return text(record, for_prompt, now);
  } catch (const jinja::Failure& failure) {
    const bool refused = failure.kind() == jinja::Failure::Kind::kRefused;
    throw DataError({.where = fmt::format("{} messages", record.messages.size()),
                     .found = fmt::format("the chat template of the base model {}: {}",
                                          refused ? "refuses them" : "cannot lay them out",
                                          printable(failure.what(), 200)),
                     .expected = refused ? "turns as that template wants them" : "",
                     .fix = "change the record, or choose another layout with template: chatml"});
  }
}

std::string sentinel(size_t number) { return fmt::format("\uE000{}\uE001", number); }

}  // namespace lora_dist
