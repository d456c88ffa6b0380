// Which files a data set consists of, and which format each holds.
#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <system_error>

#include "core/base/error.hpp"
#include "data/io/hdf5_signature.hpp"
#include "data/io/printable.hpp"
#include "data/sources/field_names.hpp"
#include "data/sources/file_kind.hpp"
#include "data/sources/file_names.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr int kRecordsToLookAt = 8;

[[noreturn]] void cannot_use(const std::string& path, const std::string& found,
                             const std::string& fix) {
  throw DataError({.where = path, .found = found, .expected = {}, .fix = fix});
}

FolderFiles files_of(const std::string& path, DataUse use) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) cannot_use(path, "no such file or folder", "check the path");
  if (fs::is_regular_file(status)) return {.paths = {path}, .notes = {}};
  if (!fs::is_directory(status)) cannot_use(path, "neither a file nor a folder", "check the path");
  return files_of_folder(path, use);
}

/// Texts that are the source of something else: their lines are nothing to learn.
void require_plain_text(const std::string& path, const std::string& first_line) {
  constexpr std::array<std::string_view, 7> kMarkup = {".xml", ".html", ".htm", ".yaml",
                                                       ".yml", ".rtf",  ".sql"};
  const std::string extension = lower_extension(path);
  if (std::ranges::count(kMarkup, extension) > 0)
    cannot_use(path, fmt::format("a {} file, which is not read here", extension),
               "write its records as .jsonl or its text as .txt, or set data_format: lines");
  const std::vector<std::string> columns = table_columns(first_line);
  if (!columns.empty())
    cannot_use(path, fmt::format("a table with columns {}", fmt::join(columns, ", ")),
               "call it .csv or .tsv");
}

std::string format_of_text(const std::string& path) {
  const std::vector<std::string> first = first_nonblank_lines(path);
  if (first.empty()) cannot_use(path, "no records", "fill it or take it away");
  require_plain_text(path, first.front());
  for (const std::string_view name : source_formats().names()) {
    const SourceFormat& format = source_formats().at(name);
    if (format.recognises_text && format.recognises_text(first)) return std::string(name);
  }
  cannot_use(path, "unknown text", {});
}

/// A short head and a colon, or a heading of a prompt layout: somebody may be speaking.
bool opens_like_a_turn(std::string_view line) {
  constexpr size_t kMaxHeadBytes = 40;
  if (line.starts_with("###") || line.starts_with("<|")) return true;
  const size_t half = line.find(':'), full = line.find("：");
  const size_t colon = std::min(half, full);
  return colon != std::string_view::npos && colon > 0 && colon <= kMaxHeadBytes &&
         line.substr(colon, 3) != "://";
}

/// Lines are learnt whole, heads and questions too: that is told where they may be turns.
bool may_be_a_dialogue(const std::vector<std::string>& first_lines) {
  const auto num_turns = std::ranges::count_if(first_lines, opens_like_a_turn);
  return num_turns >= 2 && 2 * num_turns >= std::ssize(first_lines);
}

/// What to do about a record of unknown keys.
std::string fix_of(const RawRecord& record, const std::string& path) {
  if (is_turn(record.fields))
    return R"(it is a turn: write each conversation as {"messages": [...]} on a line of its own)";
  for (const auto& [key, value] : record.fields.items())
    if (value.is_null() && is_known_field(key)) return fmt::format("'{}' is null: fill it", key);
  if (std::string hint = renaming_hint(record.fields); !hint.empty()) return hint;
  for (const auto& [key, value] : record.fields.items())
    if (value.is_array() && !value.empty() && value.front().is_object())
      return fmt::format("if the list '{}' holds the records, write that list alone into the file",
                         printable(key));
  return is_table(path) ? "rename the columns in the first line" : "rename the keys";
}

std::string format_of_record(const RawRecord& record, const std::string& path) {
  require_trainable(record);
  for (const std::string_view name : source_formats().names()) {
    const SourceFormat& format = source_formats().at(name);
    if (format.recognises_record && format.recognises_record(record.fields))
      return std::string(name);
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : record.fields.items()) keys.push_back(printable(key));
  throw DataError({.where = record.where,
                   .found = fmt::format("keys {}", fmt::join(keys, ", ")),
                   .expected = "instruction and output, messages, conversations, text or input_ids",
                   .fix = fix_of(record, path)});
}

/// The first record that can be read decides; broken ones before it are reported when the data is
/// read.
std::string format_of_records(const std::string& path) {
  const std::unique_ptr<RecordReader> records = open_records(path);
  std::exception_ptr first_error;
  for (int tries = 0; tries < kRecordsToLookAt; ++tries) {
    try {
      std::optional<RawRecord> record = records->next();
      if (!record) break;
      mend_field_names(*record);
      return format_of_record(*record, path);
    } catch (const DataError&) {
      if (!first_error) first_error = std::current_exception();
    }
  }
  if (first_error) std::rethrow_exception(first_error);
  cannot_use(path, "no records", "fill it or take it away");
}

std::string format_of_file(const std::string& path, const std::string& asked_for) {
  if (fs::file_size(path) == 0)
    cannot_use(path, "0 bytes, expected records", "fill it or take it away");
  if (is_hdf5(path)) return "hdf5";
  const ForeignKind kind = foreign_kind(path);
  if (!kind.name.empty()) cannot_use(path, kind.name + ", which is not read here", kind.fix);
  if (asked_for != "auto") return asked_for;
  const std::string extension = lower_extension(path);
  // A .jsonl that does not begin like one is broken, and no text.
  const bool called_json = extension.find("json") != std::string::npos;
  if (!looks_structured(path) && !called_json) return format_of_text(path);
  try {
    return format_of_records(path);
  } catch (const DataError&) {
    // A text may begin with a bracket, too.
    if (extension == ".txt") return format_of_text(path);
    throw;
  }
}

}  // namespace

bool SourceFiles::needs_tokenizer() const {
  return std::ranges::any_of(
      formats, [](const std::string& format) { return format != "tokenized" && format != "hdf5"; });
}

SourceFiles find_sources(const std::string& path, const std::string& format, DataUse use) {
  if (format != "auto") source_formats().at(format);
  FolderFiles files = files_of(path, use);
  SourceFiles found{
      .paths = std::move(files.paths), .formats = {}, .notes = std::move(files.notes)};
  for (const std::string& file : found.paths) {
    found.formats.push_back(format_of_file(file, format));
    if (format == "auto" && found.formats.back() == "lines" &&
        may_be_a_dialogue(first_nonblank_lines(file)))
      found.notes.push_back(file +
                            ": read as lines, each learnt whole, though its lines look like "
                            "turns; write `User: ...` and `Assistant: ...`, or set "
                            "data_format");
    if ((found.formats.back() == "hdf5") != found.is_prepared())
      throw DataError({.where = file,
                       .found = fmt::format("format {}, but {} is {}", found.formats.back(),
                                            found.paths.front(), found.formats.front()),
                       .expected = "prepared parts (hdf5) in a folder of their own",
                       .fix = "separate them"});
  }
  return found;
}

}  // namespace lora_dist
