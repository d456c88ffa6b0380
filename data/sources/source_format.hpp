// What a format of this folder contributes to the registry, and the helpers that the formats of
// structured records share.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/registry.hpp"
#include "data/sources/record_reader.hpp"
#include "data/sources/source.hpp"

namespace lora_dist {

struct SourceFormat {
  /// Whether `auto` takes a structured record (JSON object, CSV row) for this format. Empty: never.
  std::function<bool(const nlohmann::json& fields)> recognises_record;
  /// Whether `auto` takes a text that begins with these non-blank lines for this format. Empty:
  /// never.
  std::function<bool(const std::vector<std::string>& lines)> recognises_text;
  std::function<std::unique_ptr<Source>(const std::string& path)> open;
  int reading_version = 2;  // another one where the same files give other samples
};

const Registry<SourceFormat>& source_formats();

using FieldNames = std::initializer_list<std::string_view>;  // a field's name and its synonyms

inline const FieldNames kSystemFields = {"system", "system_prompt", "system_message"};

/// A format whose records are structured: `convert` makes a Record of the fields, `where` is filled
/// already.
SourceFormat structured_format(std::function<bool(const nlohmann::json&)> recognises,
                               std::function<Record(const RawRecord&)> convert);

/// The first of `names` that the record has with a value other than null; nullptr where there is
/// none.
const nlohmann::json* find_field(const nlohmann::json& fields, FieldNames names);
bool has_field(const nlohmann::json& fields, FieldNames names);
/// The first of the texts that is not empty. Errors  DataError: none of the names is there (the
/// first is named), or the value is not a string.
std::string required_text(const RawRecord& record, FieldNames names);
/// Empty where the field is absent or null. Errors  DataError: not a string.
std::string optional_text(const RawRecord& record, FieldNames names);

[[noreturn]] void wrong_type(const RawRecord& record, std::string_view field,
                             const nlohmann::json& value, const std::string& expected,
                             const std::string& fix);
[[noreturn]] void missing_field(const RawRecord& record, std::string_view field);
/// Whether a value says something: not null, false, or empty.
bool is_filled(const nlohmann::json& value);
/// Errors  DataError: an empty record, or one of another kind of training: a preference pair, a
/// judgement of an answer (KTO), pictures.
void require_trainable(const RawRecord& record);
/// `tools` and `documents` of a conversation, as lists or as JSON that spells them.
void take_lists(const RawRecord& raw, Record& record);
void note_empty_answers(Record& record);
/// A note for each of the record's keys that would change what is learnt and is not obeyed.
void note_unused_keys(const RawRecord& raw, Record& record);
/// A note for each filled field of `names`, except those of `used`, which say what is learnt.
void note_left_out(const RawRecord& raw, FieldNames names, FieldNames used, Record& record);

}  // namespace lora_dist
