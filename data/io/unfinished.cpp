#include "data/io/unfinished.hpp"

#include <filesystem>
#include <mutex>
#include <set>

namespace lora_dist {
namespace {

std::mutex unfinished_mutex;

std::set<std::string>& unfinished() {
  static std::set<std::string> paths;
  return paths;
}

}  // namespace

void note_unfinished(const std::string& path) {
  const std::lock_guard lock(unfinished_mutex);
  unfinished().insert(path);
}

void note_finished(const std::string& path) {
  const std::lock_guard lock(unfinished_mutex);
  unfinished().erase(path);
}

void remove_unfinished() {
  const std::lock_guard lock(unfinished_mutex);
  std::error_code ignored;  // who leaves has nobody to tell
  for (const std::string& path : unfinished()) std::filesystem::remove_all(path, ignored);
  unfinished().clear();
}

}  // namespace lora_dist
