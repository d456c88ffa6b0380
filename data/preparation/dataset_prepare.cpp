// A data set on every rank: the ranks that see the sources make its parts, those that share no
// folder with rank 0 get copies.
#include "data/preparation/dataset_prepare.hpp"

#include <algorithm>
#include <filesystem>

#include <sys/stat.h>

#include "core/base/error.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/encoders/sample_encoder.hpp"
#include "data/io/files.hpp"
#include "data/io/host_copies.hpp"
#include "data/preparation/prepare_parts.hpp"
#include "data/samples/dataset.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// What each rank sees of the files of rank 0, by rank.
struct Sight {
  std::vector<bool> shares_folder;   // prepared_dir
  std::vector<std::string> sources;  // which file or folder of which host; "" where there is none

  bool builds(int rank) const { return shares_folder[rank] && !sources[rank].empty(); }
  bool all_build() const {
    for (size_t rank = 0; rank < sources.size(); ++rank)
      if (!builds(static_cast<int>(rank))) return false;
    return true;
  }
  /// The lowest rank of those that see the same sources.
  bool is_first_to_see(int rank) const {
    return !sources[rank].empty() &&
           std::ranges::find(sources, sources[rank]) - sources.begin() == rank;
  }
};

/// What tells a file from all others of this host; empty where there is none.
std::string identity_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};
  return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

Sight look_around(const PrepareRequest& request, Communicator& world) {
  const std::string own = identity_of(request.path);
  // That rank 0 has none is an error, and prepare_parts says which.
  const bool is_there = world.rank() == 0 || !own.empty();
  Sight sight;
  sight.sources = all_gather_text(
      world, is_there ? fmt::format("{} {}", world.hosts()[world.rank()], own) : "");
  sight.shares_folder = ranks_that_share(request.prepared_dir, world);
  return sight;
}

/// Ranks of one host that were started in one folder, as nearly all are.
bool see_the_same(const PrepareRequest& request, Communicator& world) {
  const std::vector<std::string> seen = all_gather_text(
      world, fmt::format("{} {} {}", world.hosts()[world.rank()], identity_of(request.path),
                         fs::absolute(request.prepared_dir).string()));
  return std::ranges::count(seen, seen.front()) == std::ssize(seen);
}

ordered_json to_json(const PartsRequest& parts) {
  ordered_json names = ordered_json::array();
  for (const std::string& path : parts.paths) names.push_back(fs::path(path).filename().string());
  return {{"folder", fs::path(parts.paths.front()).parent_path().string()},
          {"names", names},
          {"fingerprint", parts.fingerprint},
          {"num_records", parts.counted.num_records},
          {"num_cut", parts.counted.num_cut},
          {"num_skipped", parts.counted.num_skipped},
          {"skip_without_labels", parts.skip_without_labels}};
}

/// The same parts in `folder`.
PartsRequest from_json(const ordered_json& told, const std::string& folder,
                       const SampleSchema& schema) {
  PartsRequest parts{.fingerprint = told.at("fingerprint"),
                     .schema = schema,
                     .skip_without_labels = told.at("skip_without_labels")};
  parts.counted.num_records = told.at("num_records");
  parts.counted.num_cut = told.at("num_cut");
  parts.counted.num_skipped = told.at("num_skipped");
  for (const auto& name : told.at("names"))
    parts.paths.push_back((fs::path(folder) / name.get<std::string>()).string());
  return parts;
}

std::string hashes_of_sources(const PrepareRequest& request) {
  ordered_json hashes = ordered_json::array();
  for (const std::string& path : find_sources(request.path, request.format, request.use).paths)
    hashes.push_back(file_sha256(path));
  return hashes.dump();
}

/// Who has data of its own must have the same data: the content decides, wherever it lies.
void require_same_sources(const PrepareRequest& request, const Sight& sight, Communicator& world) {
  bool anyone = false;
  for (int rank = 1; rank < world.world_size(); ++rank)
    anyone = anyone || sight.is_first_to_see(rank);
  if (!anyone) return;
  const auto hashes = on_all_ranks(world, [&] {
    return sight.is_first_to_see(world.rank()) ? hashes_of_sources(request) : std::string();
  });
  const auto folders = all_gather_text(world, fs::current_path().string());
  const bool is_validation = request.use == DataUse::kEvaluation;
  for (int rank = 1; rank < world.world_size(); ++rank) {
    if (hashes[rank].empty() || hashes[rank] == hashes[0]) continue;
    throw ConfigError(
        {.where = fmt::format("rank {} ({})", rank, world.hosts()[rank]),
         .found = fmt::format("its {}data is not that of rank 0 ({}){}",
                              is_validation ? "validation " : "", world.hosts()[0],
                              folders[rank] == folders[0] ? ""
                                                          : fmt::format(", started in {} and {}",
                                                                        folders[rank], folders[0])),
         .expected = "the same data for all ranks",
         .fix = fmt::format("give all hosts the same files under {} '{}', or none but the first",
                            is_validation ? "val_data_path" : "train_data_dir", request.path)});
  }
}

PartsRequest prepare_for_other_hosts(const PrepareRequest& request, const Sight& sight,
                                     const SampleEncoder& encoder, Communicator& world) {
  const bool builds = sight.builds(world.rank());
  const auto builders = world.split(builds ? 0 : 1, {.name = "ranks with the data"});
  PartsRequest mine;
  const auto told = on_all_ranks(world, [&] {
    if (!builds) return std::string();
    mine = prepare_parts(request, encoder, *builders);
    return to_json(mine).dump();
  });
  const auto parts = ordered_json::parse(told.front());
  // The user's own parts lie where the sources do.
  const std::string made =
      folder_of_parts(request.prepared_dir, parts.at("fingerprint").get<std::string>());
  const std::string from = parts.at("folder");
  const bool sees_them = builds || (sight.shares_folder[world.rank()] && from == made);
  copy_to_hosts({.names = parts.at("names"), .from = from, .to = made, .wanted = !sees_them},
                world);
  return builds ? mine : from_json(parts, made, encoder.schema());
}

}  // namespace

std::unique_ptr<Dataset> prepare_dataset(const PrepareRequest& request, const Tokenizer* tokenizer,
                                         const PromptTemplate* prompt_template,
                                         Communicator& world) {
  const auto encoder = sample_encoders().at(request.task)(
      {.tokenizer = tokenizer,
       .prompt_template = prompt_template,
       .limits = {.vocab_size = request.vocab_size, .max_seq_length = request.max_seq_length},
       .train_on_prompt = request.train_on_prompt,
       .skip_broken_records = request.skip_broken_records});
  return prepare_dataset(request, *encoder, world);
}

std::unique_ptr<Dataset> prepare_dataset(const PrepareRequest& request,
                                         const SampleEncoder& encoder, Communicator& world) {
  const bool all_alike = see_the_same(request, world);
  const Sight sight = all_alike ? Sight{} : look_around(request, world);
  if (!all_alike) require_same_sources(request, sight, world);
  const PartsRequest parts = all_alike || sight.all_build()
                                 ? prepare_parts(request, encoder, world)
                                 : prepare_for_other_hosts(request, sight, encoder, world);
  std::unique_ptr<Dataset> dataset;
  on_all_ranks(world, [&] {
    dataset = open_parts(parts);
    if (dataset->num_samples() == 0)
      throw DataError({.where = request.path,
                       .found = "no samples",
                       .expected = {},
                       .fix = "check train_data_dir"});
    return std::string();
  });
  return dataset;
}

}  // namespace lora_dist
