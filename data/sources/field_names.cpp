#include "data/sources/field_names.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

constexpr std::string_view kKnownFields[] = {
    // read
    "instruction", "question", "query", "prompt", "input", "context", "output", "answer",
    "response", "completion", "target", "messages", "conversations", "text", "input_ids",
    "attention_mask", "labels", "loss_mask", "completion_mask", "system", "system_prompt",
    "system_message", "history",
    // left out or refused, with a word
    "tools", "functions", "weight", "sample_weight", "loss_weight", "reasoning_content",
    "reasoning", "thinking", "label", "kto_tag", "chosen", "rejected", "rejected_response",
    "images", "image", "videos", "audios"};

/// Names that data of other origin have for fields of ours.
constexpr std::array<std::pair<std::string_view, std::string_view>, 42> kForeignFields = {
    {{"conversation", "messages"},
     {"dialogue", "messages"},
     {"dialog", "messages"},
     {"dialogs", "messages"},
     {"dialogues", "messages"},
     {"chat", "messages"},
     {"turns", "messages"},
     {"对话", "messages"},
     {"会话", "messages"},
     {"指令", "instruction"},
     {"问题", "instruction"},
     {"提问", "instruction"},
     {"问", "instruction"},
     {"用户", "instruction"},
     {"提示", "instruction"},
     {"task", "instruction"},
     {"request", "instruction"},
     {"user", "instruction"},
     {"human", "instruction"},

     {"source", "instruction"},
     {"src", "instruction"},
     {"输入", "input"},
     {"上下文", "input"},
     {"输出", "output"},
     {"回答", "output"},
     {"答案", "output"},
     {"答", "output"},
     {"回复", "output"},
     {"答复", "output"},
     {"助手", "output"},
     {"reply", "output"},
     {"assistant", "output"},
     {"bot", "output"},

     {"result", "output"},
     {"文本", "text"},
     {"内容", "text"},
     {"正文", "text"},
     {"content", "text"},
     {"document", "text"},
     {"article", "text"},
     {"body", "text"},
     {"sentence", "text"}}};

std::string in_small_letters(std::string_view name) {
  std::string lower(trimmed(name));
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

/// What the field `name` is called here; empty where nothing is like it.
std::string_view name_here(const std::string& name) {
  const std::string lower = in_small_letters(name);
  for (const auto& [theirs, ours] : kForeignFields)
    if (theirs == lower) return ours;
  const std::string near = nearest_name(lower, kKnownFields);
  const auto known = std::ranges::find(kKnownFields, near);
  return known == std::end(kKnownFields) ? std::string_view() : *known;
}

}  // namespace

bool is_known_field(std::string_view name) {
  return std::ranges::find(kKnownFields, name) != std::end(kKnownFields);
}

void mend_field_names(RawRecord& record) {
  std::vector<std::pair<std::string, std::string>> renamed;
  for (const auto& [name, value] : record.fields.items()) {
    std::string lower = in_small_letters(name);
    if (lower != name && is_known_field(lower)) renamed.emplace_back(name, std::move(lower));
  }
  for (const auto& [written, name] : renamed) {
    if (record.fields.contains(name)) {
      record.notes.push_back(fmt::format("'{}' is left out beside '{}'", printable(written), name));
      continue;
    }
    nlohmann::json value = std::move(record.fields[written]);
    record.fields.erase(written);
    record.fields[name] = std::move(value);
    record.written_as[name] = written;
    record.notes.push_back(fmt::format("'{}' is read as '{}'", printable(written), name));
  }
}

bool is_turn(const nlohmann::json& value) {
  return value.is_object() && ((value.contains("role") && value.contains("content")) ||
                               (value.contains("from") && value.contains("value")));
}

bool is_list_of_turns(const nlohmann::json& value) {
  return value.is_array() && !value.empty() && is_turn(value.front());
}

std::string renaming_hint(const nlohmann::json& fields) {
  std::vector<std::string> renamings;
  std::vector<std::string_view> taken;
  for (const auto& [name, value] : fields.items()) {
    if (is_list_of_turns(value)) return fmt::format("rename '{}' to 'messages'", printable(name));
    const std::string_view ours = name_here(name);
    const bool is_free = !ours.empty() && !fields.contains(std::string(ours)) &&
                         std::ranges::find(taken, ours) == taken.end();
    if (!is_free || is_known_field(name)) continue;
    if (ours == "messages")
      return fmt::format(
          "write '{}' as \"messages\": [{{\"role\": \"user\", \"content\": \"...\"}}, ...]",
          printable(name));
    taken.push_back(ours);
    renamings.push_back(fmt::format("'{}' to '{}'", printable(name), ours));
  }
  return renamings.empty() ? std::string()
                           : fmt::format("rename {}", fmt::join(renamings, " and "));
}

}  // namespace lora_dist
