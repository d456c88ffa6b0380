// Records of a user's data files, one format per file of this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/templates/template.hpp"

namespace lora_dist {

/// One entry of a source: exactly one of the three is filled.
struct Record {
  std::vector<Message> messages;  // a conversation
  std::string text;               // plain text, all of it learnt
  Tokens tokens;                  // already tokenised
  std::string where;              // "train.jsonl:17", for messages
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

/// The files of a data set in a fixed order (sorted names), and what they hold.
struct SourceFiles {
  std::vector<std::string> paths;
  std::string format;  // resolved: a name of sources.def, or hdf5 for prepared parts
  bool needs_tokenizer() const { return format != "tokenized" && format != "hdf5"; }
};

/// Finds the files of `path` (a file or a folder; hidden files are left out) and resolves `format`
/// ("auto" looks at the first record of each). Prepared HDF5 parts are told by their content,
/// whatever `format` says. Errors  DataError: no such path, no data file in it, an empty file,
/// files of different formats, unknown records.
SourceFiles find_sources(const std::string& path, const std::string& format);

/// Errors  ConfigError: no such format. DataError, StorageError: the file cannot be read.
std::unique_ptr<Source> open_source(const std::string& path, const std::string& format);

}  // namespace lora_dist
