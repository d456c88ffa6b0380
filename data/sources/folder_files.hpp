// The data files of a folder, and what of it is left out.
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

enum class DataUse : uint8_t {
  kTraining,   // files and folders named as evaluation data are left out
  kEvaluation  // every data file counts
};

struct FolderFiles {
  std::vector<std::string> paths;  // sorted
  /// A line for each kind of file that was left out and may be data.
  std::vector<std::string> notes;
};

/// Folders below are searched too, except hidden ones and those that a run or a model lives in.
/// Errors  StorageError: cannot be listed. DataError: no data file.
FolderFiles files_of_folder(const std::string& folder, DataUse use);

}  // namespace lora_dist
