// Files that hold data, but not in a form that is read here.
#pragma once

#include <string>

namespace lora_dist {

struct ForeignKind {
  std::string name;  // "a parquet file"; empty: a text, or HDF5
  std::string fix;   // how to make a readable one of it
};

/// What the file is by its first bytes, whatever its name: parquet, arrow, archives, office
/// documents, PDF, databases, UTF-16. Errors  StorageError.
ForeignKind foreign_kind(const std::string& path);

/// Whether the name ends like that of such a file.
bool named_as_foreign(const std::string& path);

}  // namespace lora_dist
