// Records of a user's data files, one format per file of this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/sources/folder_files.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

/// One entry of a source: exactly one of the first three is filled.
struct Record {
  std::vector<Message> messages;  // a conversation
  /// What the conversation gives a chat template besides; lists, or null.
  nlohmann::ordered_json tools, documents;
  std::string text;          // plain text, all of it learnt
  Tokens tokens;             // already tokenised
  std::string where;         // "train.jsonl:17", for messages
  bool is_document = false;  // a text that goes on in further samples instead of being cut
  /// What of the record is not used as it is written, a sentence each. Equal sentences are told
  /// once, with the number of records and the first of them.
  std::vector<std::string> notes;
};

/// Reads one file from its start.
class Source {
 public:
  virtual ~Source() = default;
  /// The next record, or nothing at the end. Errors  DataError with file and line; the broken
  /// record counts as read, and the next call goes on behind it.
  virtual std::optional<Record> next() = 0;
  /// Passes over one record, broken or not, as cheaply as the format allows. False at the end.
  virtual bool skip();
};

/// The files of a data set in a fixed order (sorted paths), and what each holds.
struct SourceFiles {
  std::vector<std::string> paths;
  std::vector<std::string> formats;  // [file] resolved: a name of sources.def, or hdf5
  std::vector<std::string> notes;    // a line for each kind of file that was left out

  bool needs_tokenizer() const;
  /// Prepared parts; they never stand beside other formats.
  bool is_prepared() const { return formats.front() == "hdf5"; }
};

/// Finds the files of `path` (a file or a folder) and resolves `format` ("auto" looks at the first
/// record of each). Prepared HDF5 parts are told by their content, whatever `format` says; a path
/// of a file is taken whatever its name. Errors  DataError: no such path, no data file in it, an
/// empty file, prepared parts beside records, a kind of file that is not read, unknown records.
SourceFiles find_sources(const std::string& path, const std::string& format,
                         DataUse use = DataUse::kTraining);

/// Errors  ConfigError: no such format. DataError, StorageError: the file cannot be read.
std::unique_ptr<Source> open_source(const std::string& path, const std::string& format);

}  // namespace lora_dist
