// {"text": ...}: plain text, all of it learnt.
#include "core/error.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

bool is_text(const nlohmann::json& fields) { return has_field(fields, {"text"}); }

Record text_record(const RawRecord& raw) {
  Record record;
  record.text = required_text(raw, {"text"});
  if (record.text.empty())
    throw DataError(
        {.where = raw.where, .found = "'text' is empty", .expected = "a text to learn", .fix = {}});
  return record;
}

}  // namespace

SourceFormat text_source() { return structured_format(is_text, text_record); }

}  // namespace lora_dist
