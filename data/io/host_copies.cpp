#include "data/io/host_copies.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>

#include "core/ranks/all_ranks.hpp"
#include "data/io/files.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kCopiedBytes = int64_t{16} << 20;  // of a file at once

struct NamedFile {
  std::string name;
  int64_t bytes = 0;
};

bool has_file(const std::string& folder, const NamedFile& file) {
  std::error_code problem;
  const auto bytes = fs::file_size(fs::path(folder) / file.name, problem);
  return !problem && static_cast<int64_t>(bytes) == file.bytes;
}

/// The first rank that wants copies in a folder of its host writes them.
bool writes(const HostCopies& copies, Communicator& world) {
  const std::vector<std::string> wants =
      all_gather_text(world, copies.wanted ? fmt::format("{} {}", world.hosts()[world.rank()],
                                                         fs::absolute(copies.to).string())
                                           : "");
  return copies.wanted &&
         std::ranges::find(wants, wants[world.rank()]) - wants.begin() == world.rank();
}

std::vector<NamedFile> files_of_rank_zero(const HostCopies& copies, Communicator& world) {
  const auto told = on_all_ranks(world, [&] {
    ordered_json files = ordered_json::array();
    if (world.rank() != 0) return files.dump();
    for (const std::string& name : copies.names)
      files.push_back({name, fs::file_size(fs::path(copies.from) / name)});
    return files.dump();
  });
  std::vector<NamedFile> files;
  for (const auto& file : ordered_json::parse(told.front())) files.push_back({file[0], file[1]});
  return files;
}

/// One file on its way: rank 0 reads, all join, those that miss it write. A failure here is kept
/// until all have come through: nobody is left in a broadcast.
class CopiedFile {
 public:
  CopiedFile(const NamedFile& file, const HostCopies& copies, bool sends, bool receives)
      : file_(file) {
    if (sends) input_.open(fs::path(copies.from) / file.name, std::ios::binary);
    if (!receives) return;
    path_ = (fs::path(copies.to) / file.name).string();
    attempt([&] {
      make_folders(copies.to);
      output_.emplace(temporary_name(path_));
    });
  }

  void send_all(Communicator& world) {
    const std::string label = fmt::format("file {}", file_.name);
    at::Tensor piece = at::empty({std::min(kCopiedBytes, file_.bytes)}, at::kByte);
    for (int64_t first = 0; first < file_.bytes; first += kCopiedBytes) {
      at::Tensor bytes = piece.narrow(0, 0, std::min(kCopiedBytes, file_.bytes - first));
      if (input_.is_open()) input_.read(static_cast<char*>(bytes.data_ptr()), bytes.numel());
      world.broadcast(bytes, /*root=*/0, {.name = label}).wait();
      if (output_) attempt([&] { output_->write(bytes.const_data_ptr(), bytes.numel()); });
    }
  }

  void finish() {
    if (failure_) std::rethrow_exception(failure_);
    if (input_.is_open() && !input_)
      throw StorageError({file_.name, "changed or cannot be read while it was copied", {}, {}});
    if (!output_) return;
    output_->close();
    rename_durably(output_->path(), path_);
  }

 private:
  template <class Step>
  void attempt(const Step& step) {
    if (failure_) return;
    try {
      step();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  const NamedFile& file_;
  std::ifstream input_;
  std::string path_;
  std::optional<NewFile> output_;
  std::exception_ptr failure_;
};

}  // namespace

std::vector<bool> ranks_that_share(const std::string& folder, Communicator& world) {
  std::string probe;
  const std::string name = on_all_ranks(world, [&] {
                             if (world.rank() != 0) return std::string();
                             make_folders(folder);
                             const std::string nonce = ".shared-" + random_nonce();
                             probe = (fs::path(folder) / nonce).string();
                             write_file_atomically(probe, "");
                             return nonce;
                           }).front();
  const auto seen = on_all_ranks(
      world, [&] { return std::string(fs::exists(fs::path(folder) / name) ? "yes" : "no"); });
  if (!probe.empty()) remove_file(probe);
  std::vector<bool> shares;
  for (const std::string& answer : seen) shares.push_back(answer == "yes");
  return shares;
}

void copy_to_hosts(const HostCopies& copies, Communicator& world) {
  const std::vector<NamedFile> files = files_of_rank_zero(copies, world);
  const bool is_writer = writes(copies, world);
  const auto missing = on_all_ranks(world, [&] {
    ordered_json names = ordered_json::array();
    for (const NamedFile& file : files)
      if (is_writer && !has_file(copies.to, file)) names.push_back(file.name);
    return names.dump();
  });
  std::set<std::string> wanted_somewhere;
  for (const std::string& names : missing)
    for (const auto& name : ordered_json::parse(names)) wanted_somewhere.insert(name);
  for (const NamedFile& file : files) {
    if (!wanted_somewhere.contains(file.name)) continue;
    CopiedFile copied(file, copies, world.rank() == 0, is_writer && !has_file(copies.to, file));
    copied.send_all(world);
    on_all_ranks(world, [&] {
      copied.finish();
      return std::string();
    });
  }
}

}  // namespace lora_dist
