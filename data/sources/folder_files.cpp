#include "data/sources/folder_files.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/sources/file_kind.hpp"
#include "data/sources/file_names.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 11> kDataExtensions = {
    ".jsonl", ".json", ".ndjson", ".jsonlines", ".csv", ".tsv",
    ".tab",   ".txt",  ".text",   ".h5",        ".hdf5"};
/// Companions of data that nobody means to train on.
constexpr std::array<std::string_view, 21> kQuietExtensions = {
    "",     ".md",   ".rst",  ".yaml", ".yml",  ".toml", ".ini",  ".cfg", ".py",  ".ipynb", ".sh",
    ".log", ".lock", ".html", ".jpg",  ".jpeg", ".png",  ".webp", ".gif", ".bmp", ".svg"};
/// Files that tell the folder of a run or a model, where nothing is data.
constexpr std::array<std::string_view, 4> kForeignFolderMarks = {
    "adapter_config.json", "run.json", "trainer_state.json", "config.json"};
constexpr std::array<std::string_view, 5> kDescriptions = {
    "dataset_info.json", "dataset_infos.json", "manifest.json", "LICENSE.txt", "README.txt"};

class FolderSearch {
 public:
  FolderSearch(std::string folder, DataUse use) : folder_(std::move(folder)), use_(use) {}

  FolderFiles run() {
    search(folder_, /*depth=*/0);
    if (found_.empty()) nothing_found();
    std::ranges::sort(found_);
    return {found_, notes()};
  }

 private:
  void search(const fs::path& folder, int depth) {
    constexpr int kMaxDepth = 8;
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    if (error)
      throw StorageError({.where = folder.string(),
                          .found = fmt::format("cannot be listed ({})", error.message()),
                          .expected = {},
                          .fix = "check its permissions"});
    if (!seen_.insert(fs::canonical(folder).string()).second) return;
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with('.') || name.starts_with("__")) continue;
      if (entry.is_directory(error)) {
        if (depth < kMaxDepth && is_data_folder(entry.path())) take_folder(entry.path(), depth + 1);
      } else if (entry.is_regular_file(error)) {
        take_file(entry.path());
      }
    }
  }

  static bool is_data_folder(const fs::path& folder) {
    return std::ranges::none_of(kForeignFolderMarks, [&](std::string_view mark) {
      std::error_code ignored;
      return fs::exists(folder / mark, ignored);
    });
  }

  void take_folder(const fs::path& folder, int depth) {
    const size_t found_before = found_.size();
    search(folder, depth);
    if (use_ != DataUse::kTraining || !named_as_evaluation(folder.filename().string())) return;
    if (found_.size() == found_before) return;
    found_.resize(found_before);
    evaluation_.push_back(folder.string() + "/");
  }

  void take_file(const fs::path& path) {
    const std::string name = path.filename().string();
    const std::string extension = lower_extension(path.string());
    if (std::ranges::count(kDescriptions, name) > 0) return;
    if (named_as_foreign(name)) {
      foreign_.push_back(path.string());
    } else if (std::ranges::count(kDataExtensions, extension) == 0) {
      if (std::ranges::count(kQuietExtensions, extension) == 0) unknown_.push_back(path.string());
    } else if (use_ == DataUse::kTraining && named_as_evaluation(path.stem().string())) {
      evaluation_.push_back(path.string());
    } else {
      found_.push_back(path.string());
    }
  }

  /// "a.parquet, b.xlsx and 3 more", sorted.
  static std::string names(std::vector<std::string> paths) {
    constexpr size_t kShown = 3;
    std::ranges::sort(paths);
    const size_t shown = std::min(paths.size(), kShown);
    std::vector<std::string> first;
    for (size_t i = 0; i < shown; ++i) first.push_back(printable(paths[i], /*max_bytes=*/256));
    std::string text = fmt::format("{}", fmt::join(first, ", "));
    if (paths.size() > shown) text += fmt::format(" and {} more", paths.size() - shown);
    return text;
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> lines;
    if (!evaluation_.empty())
      lines.push_back(
          fmt::format("{}: not trained on, named as evaluation data; hold it out with "
                      "val_data_path, or give its own path to train on it",
                      names(evaluation_)));
    std::map<std::string, std::vector<std::string>> by_fix;
    for (const std::string& path : foreign_) {
      const std::string fix = foreign_kind(path).fix;
      by_fix[fix.empty() ? "write it as JSON lines" : fix].push_back(path);
    }
    for (const auto& [fix, paths] : by_fix)
      lines.push_back(fmt::format("{}: not read; {}", names(paths), fix));
    if (!unknown_.empty())
      lines.push_back(fmt::format(
          "{}: not read, no known kind of data file; rename it if it is .jsonl, .csv or .txt",
          names(unknown_)));
    return lines;
  }

  [[noreturn]] void nothing_found() const {
    const std::string label = folder_.ends_with('/') ? folder_ : folder_ + "/";
    if (!evaluation_.empty())
      fail(label, fmt::format("only files named as evaluation data ({})", names(evaluation_)),
           "give the path of one to train on it");
    if (!foreign_.empty()) {
      const std::string first = *std::ranges::min_element(foreign_);
      const ForeignKind kind = foreign_kind(first);
      if (!kind.name.empty()) fail(first, kind.name + ", which is not read here", kind.fix);
    }
    fail(label, "no .jsonl, .json, .csv, .tsv, .txt or .h5 files", "check the path");
  }

  [[noreturn]] static void fail(const std::string& where, const std::string& found,
                                const std::string& fix) {
    throw DataError({.where = where, .found = found, .expected = {}, .fix = fix});
  }

  std::string folder_;
  DataUse use_;
  std::set<std::string> seen_;  // folders, so that a circle of links ends
  std::vector<std::string> found_, evaluation_, foreign_, unknown_;
};

}  // namespace

FolderFiles files_of_folder(const std::string& folder, DataUse use) {
  return FolderSearch(folder, use).run();
}

}  // namespace lora_dist
