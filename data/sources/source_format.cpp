#include "data/sources/source_format.hpp"

#include <algorithm>
#include <utility>

#include "core/base/error.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"
#include "data/sources/field_names.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

class StructuredSource : public Source {
 public:
  StructuredSource(const std::string& path, std::function<Record(const RawRecord&)> convert)
      : records_(open_records(path)), convert_(std::move(convert)) {}

  std::optional<Record> next() override {
    std::optional<RawRecord> raw = records_->next();
    if (!raw) return std::nullopt;
    mend_field_names(*raw);
    require_trainable(*raw);
    Record record = convert_(*raw);
    record.where = raw->where;
    take_lists(*raw, record);
    note_unused_keys(*raw, record);
    note_empty_answers(record);
    record.notes.insert(record.notes.end(), raw->notes.begin(), raw->notes.end());
    return record;
  }

  bool skip() override { return records_->skip(); }

 private:
  std::unique_ptr<RecordReader> records_;
  std::function<Record(const RawRecord&)> convert_;
};

/// The list that `value` is or, in a string, spells; null where it is neither.
nlohmann::ordered_json list_of(nlohmann::ordered_json value) {
  if (value.is_string()) {
    try {
      value = parse_json<nlohmann::ordered_json>(value.get_ref<const std::string&>());
    } catch (const JsonFault&) {
      return nullptr;
    }
  }
  return value.is_array() ? value : nullptr;
}

/// Keys by which other trainers change what is learnt, and what becomes of them here.
struct UnusedKey {
  std::string_view name;
  const char* consequence;
};
constexpr auto kNotInPrompt = "is left out of the prompt";
constexpr auto kNoReasoning = "is left out: the answer is learnt without it";
constexpr auto kAlikeRecords = "of a record is not obeyed: all records are learnt alike";
constexpr UnusedKey kUnusedKeys[] = {
    {"functions", kNotInPrompt},
    {"completion_mask", "is not obeyed: answers are learnt whole"},
    {"weight", kAlikeRecords},
    {"sample_weight", kAlikeRecords},
    {"loss_weight", kAlikeRecords},
    {"reasoning_content", kNoReasoning},
    {"reasoning", kNoReasoning},
    {"thinking", kNoReasoning},
    {"label", "is left out"},
    {"chat_template_kwargs", "is not obeyed: the chat template runs without arguments"}};

}  // namespace

SourceFormat structured_format(std::function<bool(const nlohmann::json&)> recognises,
                               std::function<Record(const RawRecord&)> convert) {
  return {
      .recognises_record = std::move(recognises),
      .recognises_text = {},
      .open = [convert = std::move(convert)](const std::string& path) -> std::unique_ptr<Source> {
        return std::make_unique<StructuredSource>(path, convert);
      }};
}

const nlohmann::json* find_field(const nlohmann::json& fields, FieldNames names) {
  for (const std::string_view name : names) {
    const auto field = fields.find(std::string(name));
    if (field != fields.end() && !field->is_null()) return &*field;
  }
  return nullptr;
}

bool has_field(const nlohmann::json& fields, FieldNames names) {
  return find_field(fields, names) != nullptr;
}

namespace {

/// How a value that should be a text becomes one.
std::string as_text(const nlohmann::json& value) {
  if (value.is_null()) return "fill it, or take the record out";
  if (is_list_of_turns(value)) return "turns stand under 'messages'";
  return value.is_structured() ? "write it as one text in quotes" : "put it into quotes";
}

}  // namespace

std::string required_text(const RawRecord& record, FieldNames names) {
  bool found = false;
  for (const std::string_view name : names) {
    const auto field = record.fields.find(std::string(name));
    if (field == record.fields.end()) continue;
    if (!field->is_string()) {
      // null is absence where another name has the text.
      if (field->is_null() && has_field(record.fields, names)) continue;
      wrong_type(record, name, *field, "a string", as_text(*field));
    }
    if (!field->get_ref<const std::string&>().empty()) return field->get<std::string>();
    found = true;
  }
  if (!found) missing_field(record, *names.begin());
  return {};
}

std::string optional_text(const RawRecord& record, FieldNames names) {
  for (const std::string_view name : names) {
    const nlohmann::json* field = find_field(record.fields, {name});
    if (field == nullptr) continue;
    if (!field->is_string()) wrong_type(record, name, *field, "a string", as_text(*field));
    if (!field->get_ref<const std::string&>().empty()) return field->get<std::string>();
  }
  return {};
}

void wrong_type(const RawRecord& record, std::string_view field, const nlohmann::json& value,
                const std::string& expected, const std::string& fix) {
  throw DataError({.where = record.where,
                   .found = fmt::format("'{}' is {}", field, json_kind(value.type())),
                   .expected = expected,
                   .fix = fix});
}

void missing_field(const RawRecord& record, std::string_view field) {
  std::vector<std::string> keys, unknown_keys;
  for (const auto& [key, value] : record.fields.items()) {
    keys.push_back(printable(key));
    if (!is_known_field(key)) unknown_keys.push_back(printable(key));
  }
  const std::string near = nearest_name(std::string(field), unknown_keys);
  const std::string hint = near.empty() ? renaming_hint(record.fields) : std::string();
  throw DataError(
      {.where = record.where,
       .found = fmt::format("keys {}; expected also '{}'", fmt::join(keys, ", "), field),
       .expected = {},
       .fix = !near.empty()  ? fmt::format("is '{}' meant to be '{}'?", near, field)
              : hint.empty() ? "add it, or take the record out"
                             : hint});
}

bool is_filled(const nlohmann::json& value) {
  if (value.is_string() || value.is_array() || value.is_object())
    return !value.empty() && value != "";
  return !value.is_null() && value != false;
}

void take_lists(const RawRecord& raw, Record& record) {
  for (const auto& [key, list] :
       {std::pair("tools", &record.tools), std::pair("documents", &record.documents)}) {
    const nlohmann::json* field = find_field(raw.fields, {key});
    if (field == nullptr || !is_filled(*field)) continue;
    if (!record.messages.empty()) *list = list_of(raw.in_order(key));
    if (list->is_null()) record.notes.push_back(fmt::format("'{}' {}", key, kNotInPrompt));
    if (list->empty()) *list = nullptr;
  }
}

void note_empty_answers(Record& record) {
  for (const Message& turn : record.messages)
    if (turn.role == "assistant" && turn.learn && trimmed(turn.content).empty() &&
        turn.as_written.is_null())
      record.notes.emplace_back("an answer is empty: only the token that ends it is learnt");
}

namespace {

bool has_filled(const nlohmann::json& fields, std::string_view name) {
  const nlohmann::json* field = find_field(fields, {name});
  return field != nullptr && is_filled(*field);
}

[[noreturn]] void refuse(const RawRecord& record, const std::string& found,
                         const std::string& expected, const std::string& fix) {
  throw DataError({.where = record.where, .found = found, .expected = expected, .fix = fix});
}

/// KTO marks each answer as wanted or not; without that mark the unwanted ones would be learnt.
bool is_judged(const nlohmann::json& fields) {
  const auto is_judgement = [](const nlohmann::json* label) {
    if (label == nullptr) return false;
    return label->is_boolean() || *label == "true" || *label == "false" || *label == "True" ||
           *label == "False";
  };
  if (is_judgement(find_field(fields, {"kto_tag"}))) return true;
  return is_judgement(find_field(fields, {"label"})) &&
         has_field(fields,
                   {"completion", "output", "response", "answer", "messages", "conversations"});
}

}  // namespace

void require_trainable(const RawRecord& record) {
  if (record.fields.empty())
    refuse(record, "a record without keys", "fields to learn", "fill it or take it out");
  const bool is_preference =
      has_filled(record.fields, "rejected") || has_filled(record.fields, "rejected_response");
  if (is_preference)
    refuse(record, "a preference record (an answer that is rejected)", "one answer per record",
           "lora-dist does not train on preferences; to imitate the chosen answers write them as "
           "'output'");
  if (is_judged(record.fields))
    refuse(record, "a judged answer ('label' or 'kto_tag' is true or false)",
           "answers to imitate, without a judgement",
           "lora-dist does not train on judgements; keep the good answers and take the key out");
  for (const std::string_view name : {"images", "image", "videos", "audios"})
    if (has_filled(record.fields, name))
      refuse(record, fmt::format("'{}' beside a text", name), "text alone",
             "text is trained without pictures and sounds; take such records out");
}

void note_unused_keys(const RawRecord& raw, Record& record) {
  for (const UnusedKey& key : kUnusedKeys) {
    if (!has_filled(raw.fields, key.name)) continue;
    if (key.name == "completion_mask" && !record.tokens.ids.empty()) continue;  // obeyed there
    const nlohmann::json& value = raw.fields.at(std::string(key.name));
    if (value == 1 && std::string_view(key.consequence) == kAlikeRecords) continue;
    record.notes.push_back(fmt::format("'{}' {}", key.name, key.consequence));
  }
}

void note_left_out(const RawRecord& raw, FieldNames names, FieldNames used, Record& record) {
  for (const std::string_view name : names) {
    if (std::ranges::count(used, name) > 0 || !has_filled(raw.fields, name)) continue;
    record.notes.push_back(fmt::format("'{}' is left out: {} learnt", name,
                                       used.size() == 1
                                           ? fmt::format("'{}' is", *used.begin())
                                           : fmt::format("'{}' are", fmt::join(used, "', '"))));
  }
}

}  // namespace lora_dist
