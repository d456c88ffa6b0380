#include "data/sources/source_format.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "data/json.hpp"
#include "data/printable.hpp"

namespace lora_dist {
namespace {

class StructuredSource : public Source {
 public:
  StructuredSource(const std::string& path, std::function<Record(const RawRecord&)> convert)
      : records_(open_records(path)), convert_(std::move(convert)) {}

  std::optional<Record> next() override {
    const std::optional<RawRecord> raw = records_->next();
    if (!raw) return std::nullopt;
    refuse_preferences(*raw);
    Record record = convert_(*raw);
    record.where = raw->where;
    return record;
  }

  bool skip() override { return records_->skip(); }

 private:
  std::unique_ptr<RecordReader> records_;
  std::function<Record(const RawRecord&)> convert_;
};

/// Keys that a format knows are never a misspelling of another one.
constexpr std::string_view kKnownFields[] = {
    "instruction", "question",       "query",      "prompt", "input",    "context",       "output",
    "answer",      "response",       "completion", "target", "messages", "conversations", "text",
    "input_ids",   "attention_mask", "labels",     "system", "history"};

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
    if (field != fields.end()) return &*field;
  }
  return nullptr;
}

bool has_field(const nlohmann::json& fields, FieldNames names) {
  return find_field(fields, names) != nullptr;
}

std::string required_text(const RawRecord& record, FieldNames names) {
  const nlohmann::json* field = find_field(record.fields, names);
  if (field == nullptr) missing_field(record, *names.begin());
  if (!field->is_string()) wrong_type(record, *names.begin(), *field, "a string");
  return field->get<std::string>();
}

std::string optional_text(const RawRecord& record, FieldNames names) {
  const nlohmann::json* field = find_field(record.fields, names);
  if (field == nullptr || field->is_null()) return {};
  if (!field->is_string()) wrong_type(record, *names.begin(), *field, "a string");
  return field->get<std::string>();
}

void wrong_type(const RawRecord& record, std::string_view field, const nlohmann::json& value,
                const std::string& expected) {
  throw DataError({.where = record.where,
                   .found = fmt::format("'{}' is {}", field, json_kind(value.type())),
                   .expected = expected,
                   .fix = {}});
}

void missing_field(const RawRecord& record, std::string_view field) {
  std::vector<std::string> keys, unknown_keys;
  for (const auto& [key, value] : record.fields.items()) {
    keys.push_back(printable(key));
    if (std::ranges::find(kKnownFields, key) == std::end(kKnownFields))
      unknown_keys.push_back(printable(key));
  }
  const std::string near = nearest_name(std::string(field), unknown_keys);
  throw DataError(
      {.where = record.where,
       .found = fmt::format("keys {}; expected also '{}'", fmt::join(keys, ", "), field),
       .expected = {},
       .fix = near.empty() ? "" : fmt::format("is '{}' meant to be '{}'?", near, field)});
}

void refuse_preferences(const RawRecord& record) {
  if (!has_field(record.fields, {"chosen"}) || !has_field(record.fields, {"rejected"})) return;
  throw DataError({.where = record.where,
                   .found = "a preference record ('chosen', 'rejected')",
                   .expected = "one answer per record",
                   .fix = "lora-dist does not train on preferences; to imitate the chosen answers "
                          "write them as 'output'"});
}

}  // namespace lora_dist
