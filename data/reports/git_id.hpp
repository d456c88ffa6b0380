// Which commit a folder is at, read from the files of its git repository.
#pragma once

#include <optional>
#include <string>

namespace lora_dist {

struct GitId {
  std::string commit;  // hexadecimal
  std::string branch;  // empty where HEAD is detached
};

/// Of the repository that `path` (a file or folder) lies in; nothing where there is none, where it
/// has no commit yet, or where its files say it in a form that is not known here. Never throws:
/// this is a note in a report.
std::optional<GitId> git_id_of(const std::string& path);

}  // namespace lora_dist
