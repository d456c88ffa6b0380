// Which files a data set consists of, and which format they hold.
#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/error.hpp"
#include "data/printable.hpp"
#include "data/shards/part_file.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 6> kDataExtensions = {".jsonl", ".json", ".csv",
                                                             ".txt",   ".h5",   ".hdf5"};
constexpr int kRecordsToLookAt = 8;

[[noreturn]] void cannot_use(const std::string& path, const std::string& found,
                             const std::string& fix) {
  throw DataError({.where = path, .found = found, .expected = {}, .fix = fix});
}

bool is_data_file(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  // LLaMA-Factory's description of a data folder and our own manifest lie beside data without being
  // any.
  if (name.starts_with('.') || name == "dataset_info.json" || name == "manifest.json") return false;
  return entry.is_regular_file() &&
         std::ranges::count(kDataExtensions, entry.path().extension().string()) > 0;
}

std::vector<std::string> files_of(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) cannot_use(path, "no such file or folder", "check train_data_dir");
  if (fs::is_regular_file(status)) return {path};
  if (!fs::is_directory(status))
    cannot_use(path, "neither a file nor a folder", "check train_data_dir");
  std::vector<std::string> paths;
  fs::directory_iterator entries(path, error);
  if (error)
    throw StorageError({.where = path,
                        .found = fmt::format("cannot be listed ({})", error.message()),
                        .expected = {},
                        .fix = "check its permissions"});
  for (const fs::directory_entry& entry : entries)
    if (is_data_file(entry)) paths.push_back(entry.path().string());
  if (paths.empty())
    cannot_use(path.ends_with('/') ? path : path + "/",
               "no .jsonl, .json, .csv, .txt, .h5 or image files", "check train_data_dir");
  std::ranges::sort(paths);
  return paths;
}

std::string format_of_text(const std::string& path) {
  const std::vector<std::string> first = first_nonblank_lines(path);
  for (const std::string_view name : source_formats().names()) {
    const SourceFormat& format = source_formats().at(name);
    if (format.recognises_text && format.recognises_text(first)) return std::string(name);
  }
  cannot_use(path, "unknown text", {});
}

std::string format_of_record(const RawRecord& record) {
  refuse_preferences(record);
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
                   .fix = "rename the keys"});
}

/// The first record that can be read decides; broken ones before it are reported when the data is
/// read.
std::string format_of_records(const std::string& path) {
  const std::unique_ptr<RecordReader> records = open_records(path);
  std::exception_ptr first_error;
  for (int tries = 0; tries < kRecordsToLookAt; ++tries) {
    try {
      const std::optional<RawRecord> record = records->next();
      if (!record) break;
      return format_of_record(*record);
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
  if (asked_for != "auto") return asked_for;
  if (!looks_structured(path)) return format_of_text(path);
  try {
    return format_of_records(path);
  } catch (const DataError&) {
    // A text may begin with a bracket, too.
    if (fs::path(path).extension() == ".txt") return format_of_text(path);
    throw;
  }
}

}  // namespace

SourceFiles find_sources(const std::string& path, const std::string& format) {
  if (format != "auto") source_formats().at(format);
  SourceFiles found{.paths = files_of(path), .format = {}};
  for (const std::string& file : found.paths) {
    const std::string here = format_of_file(file, format);
    if (found.format.empty()) found.format = here;
    if (here != found.format) {
      throw DataError(
          {.where = file,
           .found = fmt::format("format {}, but {} is {}", here, found.paths.front(), found.format),
           .expected = "one format per data set",
           .fix = "separate them, or set data_format"});
    }
  }
  return found;
}

}  // namespace lora_dist
