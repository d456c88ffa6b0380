// {"input_ids", "labels", "attention_mask"} as Hugging Face data sets hold them; the last two are
// optional. `loss_mask` (as `tokenize --json` shows it) or `completion_mask` (as TRL has it) may
// stand for the labels: 1 is learnt.
//
// Labels stand at the position of their token (they are shifted when a batch is made); -100 is not
// learnt. Positions with attention 0 are padding and left out.
#include <algorithm>

#include "core/base/error.hpp"
#include "core/models/decoder/text_batch.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

bool is_tokenized(const nlohmann::json& fields) { return has_field(fields, {"input_ids"}); }

constexpr auto kIntegers = "write whole numbers without quotes: [1, 2, 3]";

std::vector<int64_t> integers(const RawRecord& raw, std::string_view field, size_t expected_size) {
  const nlohmann::json& list = raw.fields.at(std::string(field));
  if (!list.is_array()) wrong_type(raw, field, list, "a list of integers", kIntegers);
  std::vector<int64_t> values;
  values.reserve(list.size());
  for (const nlohmann::json& value : list) {
    if (!value.is_number_integer()) wrong_type(raw, field, value, "a list of integers", kIntegers);
    values.push_back(value.get<int64_t>());
  }
  if (expected_size > 0 && values.size() != expected_size) {
    throw DataError({.where = raw.where,
                     .found = fmt::format("'{}' has {} entries", field, values.size()),
                     .expected = fmt::format("{}, as 'input_ids' has", expected_size),
                     .fix = "write one for each id"});
  }
  return values;
}

[[noreturn]] void wrong_entry(const RawRecord& raw, const std::string& found,
                              const std::string& expected, const std::string& fix) {
  throw DataError({.where = raw.where, .found = found, .expected = expected, .fix = fix});
}

Record tokenized_record(const RawRecord& raw) {
  if (!is_tokenized(raw.fields)) missing_field(raw, "input_ids");
  const std::vector<int64_t> ids = integers(raw, "input_ids", 0);
  if (ids.empty())
    wrong_entry(raw, "'input_ids' is empty", "at least two ids", "fill it or take the record out");
  std::vector<int64_t> labels = ids;
  if (has_field(raw.fields, {"labels"})) {
    labels = integers(raw, "labels", ids.size());
  } else {
    for (const std::string_view name : {"loss_mask", "completion_mask"}) {
      if (!has_field(raw.fields, {name})) continue;
      const std::vector<int64_t> learnt = integers(raw, name, ids.size());
      for (size_t i = 0; i < ids.size(); ++i)
        if (learnt[i] == 0) labels[i] = kIgnoredLabel;
    }
  }
  std::vector<int64_t> attended(ids.size(), 1);
  if (has_field(raw.fields, {"attention_mask"}))
    attended = integers(raw, "attention_mask", ids.size());

  Record record;
  note_left_out(raw, {"text", "messages", "instruction", "prompt", "position_ids"}, {"input_ids"},
                record);
  const auto first_seen =
      std::find_if(attended.begin(), attended.end(), [](int64_t a) { return a != 0; });
  const auto padding = std::find(first_seen, attended.end(), 0);
  if (std::any_of(padding, attended.end(), [](int64_t a) { return a != 0; }))
    wrong_entry(
        raw, fmt::format("attention_mask[{}] = 0 inside the sample", padding - attended.begin()),
        "zeros at its ends, where padding is", "write each sample of a packed row by itself");
  for (size_t i = 0; i < ids.size(); ++i) {
    if (attended[i] == 0) continue;
    if (ids[i] < 0 || ids[i] > std::numeric_limits<TokenId>::max())
      wrong_entry(raw, fmt::format("input_ids[{}] = {}", i, ids[i]), "a token id",
                  "write ids of the base's tokenizer");
    if (labels[i] != kIgnoredLabel && labels[i] != ids[i])
      wrong_entry(raw, fmt::format("labels[{}] = {}", i, labels[i]),
                  fmt::format("{} (the id there) or -100", ids[i]), "labels are not shifted");
    record.tokens.ids.push_back(static_cast<TokenId>(ids[i]));
    record.tokens.loss_mask.push_back(labels[i] != kIgnoredLabel);
  }
  return record;
}

}  // namespace

SourceFormat tokenized_source() { return structured_format(is_tokenized, tokenized_record); }

}  // namespace lora_dist
