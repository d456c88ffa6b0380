#include "data/weights/base_view.hpp"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/base/error.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/io/files.hpp"
#include "data/io/host_copies.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr uint64_t kSmallFileBytes = uint64_t{256} << 20;  // vocabularies reach tens of megabytes

bool holds_weights(const std::string& name) { return name.ends_with(".safetensors"); }

/// Files a run reads: weights, and JSON, vocabularies and templates.
std::vector<std::string> files_of_base(const std::string& model_dir) {
  std::vector<std::string> names;
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(model_dir, problem)) {
    const std::string name = entry.path().filename().string();
    const std::string extension = entry.path().extension().string();
    const bool small = (extension == ".json" || extension == ".model" || extension == ".jinja" ||
                        extension == ".txt") &&
                       entry.file_size(problem) <= kSmallFileBytes;
    if (entry.is_regular_file(problem) && (small || holds_weights(name))) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

[[noreturn]] void fail_on_host(const std::string& model_dir, const std::string& found,
                               const Communicator& world) {
  const bool is_relative = fs::path(model_dir).is_relative();
  throw ModelError(
      {.where = fmt::format("rank {} ({})", world.rank(), world.hosts()[world.rank()]),
       .found = fmt::format(
           "base_model '{}': {}{}", model_dir, found,
           is_relative ? fmt::format(" (started in {})", fs::current_path().string()) : ""),
       .expected = {},
       .fix = fmt::format("copy the base model's weights to that host, or share the "
                          "folder{}",
                          is_relative ? ", or write an absolute path" : "")});
}

/// True where this host lacks a small file. Errors  ModelError: it lacks weights.
bool lacks_small_files(const std::string& model_dir, const std::vector<std::string>& names,
                       const Communicator& world) {
  if (!fs::is_directory(model_dir)) fail_on_host(model_dir, "no such folder", world);
  bool lacks = false;
  for (const std::string& name : names) {
    if (fs::exists(fs::path(model_dir) / name)) continue;
    if (holds_weights(name)) fail_on_host(model_dir, fmt::format("'{}' is missing", name), world);
    lacks = true;
  }
  return lacks;
}

/// Empties `to` of what an earlier run left and links what this host has. Ranks that share the
/// folder do the same at the same time: each of them ends with making the links.
void link_files(const std::string& from, const std::string& to) {
  make_folders(to);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(to, ignored)) fs::remove(entry.path(), ignored);
  for (const std::string& name : files_of_base(from)) {
    const fs::path link = fs::path(to) / name;
    std::error_code problem;
    fs::create_symlink(fs::absolute(fs::path(from) / name), link, problem);
    if (problem && problem != std::errc::file_exists)
      throw StorageError({link.string(),
                          fmt::format("cannot link ({})", problem.message()),
                          {},
                          "choose an output_dir on another file system"});
  }
}

}  // namespace

std::string open_base_view(const std::string& model_dir, const std::string& view_dir,
                           Communicator& world) {
  if (world.world_size() == 1) return model_dir;
  std::vector<std::string> names;
  const std::string listed =
      on_all_ranks(world, [&] {
        return ordered_json(world.rank() == 0 ? files_of_base(model_dir) : names).dump();
      }).front();
  names = ordered_json::parse(listed).get<std::vector<std::string>>();
  if (names.empty()) return model_dir;  // rank 0 says why when it opens the folder
  bool lacks = false;
  const auto answers = on_all_ranks(world, [&] {
    lacks = lacks_small_files(model_dir, names, world);
    return std::string(lacks ? "lacks" : "");
  });
  if (std::all_of(answers.begin(), answers.end(), [](const auto& text) { return text.empty(); }))
    return model_dir;
  on_all_ranks(world, [&] {
    if (lacks) link_files(model_dir, view_dir);
    return std::string();
  });
  std::erase_if(names, holds_weights);
  copy_to_hosts({.names = names, .from = model_dir, .to = view_dir, .wanted = lacks}, world);
  return lacks ? view_dir : model_dir;
}

}  // namespace lora_dist
