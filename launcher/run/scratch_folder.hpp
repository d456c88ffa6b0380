// A folder for prepared parts that nobody keeps; it lives as long as the object.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "data/io/unfinished.hpp"

namespace lora_dist {

class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& purpose)
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("lora-dist-{}-{}", purpose, getpid())) {
    note_unfinished(path());
  }
  ~ScratchFolder() {
    note_finished(path());
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace lora_dist
