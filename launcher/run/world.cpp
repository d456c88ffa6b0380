#include "launcher/run/world.hpp"

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/ranks/odd_rank.hpp"
#include "dist/backends/backend.hpp"
#include "dist/backends/rendezvous.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"
#include "launcher/run/device.hpp"

namespace lora_dist {
namespace {

// Every rank must run the same thing, and ranks of different backends would wait for each other in
// vain. Of the first key that differs rank 0 makes the verdict, which all ranks throw.
void compare_configs(const Config& config, Rendezvous& rendezvous) {
  const std::vector<std::string> all = rendezvous.at_rank_zero(resolved_yaml(config));
  std::string verdict;
  if (const auto odd = find_odd_rank(all)) {
    const std::string &theirs = all[odd->rank], &ours = all[odd->reference];
    size_t place = 0;
    while (place < ours.size() && place < theirs.size() && ours[place] == theirs[place]) ++place;
    const auto line_at = [place](const std::string& text) {
      const size_t begin = text.rfind('\n', place == 0 ? 0 : place - 1) + 1;
      return text.substr(begin, text.find('\n', place) - begin);
    };
    verdict = fmt::format("rank {} has '{}', rank {} has '{}'", odd->rank, line_at(theirs),
                          odd->reference, line_at(ours));
  }
  verdict = rendezvous.from_rank_zero(verdict);
  if (verdict.empty()) return;
  throw ConfigError({.where = "config",
                     .found = verdict,
                     .expected = {},
                     .fix = "start all ranks with one config"});
}

struct SharedInput {
  const char *key, *what, *keys_of_config;
};
constexpr SharedInput kSharedInputs[] = {{"base", "base model", "base_model"},
                                         {"tokenizer", "tokenizer", "base_model"},
                                         {"data", "data", "train_data_dir or metadata_path"}};

/// A local rank that the environment named stays where it can be one of this host's.
void find_neighbours(WorldInfo& world, Rendezvous& rendezvous) {
  const nlohmann::ordered_json told = rendezvous.at_rank_zero(world.host);
  const auto hosts = nlohmann::ordered_json::parse(rendezvous.from_rank_zero(told.dump()));
  int before = 0, all = 0;
  for (int rank = 0; rank < world.world_size; ++rank) {
    if (hosts.at(rank).get<std::string>() != world.host) continue;
    ++all;
    if (rank < world.rank) ++before;
  }
  const bool is_named = integer_variable("LOCAL_RANK").has_value() && world.local_rank < all;
  if (!is_named) world.local_rank = before;
  world.local_world_size = all;
  world.knows_neighbours = true;
}

}  // namespace

std::unique_ptr<Rendezvous> meet_other_hosts(WorldInfo& world, const DistributionConfig& limits) {
  const bool one_host = world.local_world_size == world.world_size;
  if (one_host && world.knows_neighbours) return nullptr;
  std::unique_ptr<Rendezvous> rendezvous = join_rendezvous(rendezvous_options(world, limits));
  if (!world.knows_neighbours) find_neighbours(world, *rendezvous);
  return rendezvous;
}

std::unique_ptr<Communicator> join_world(const Config& config, const WorldInfo& world,
                                         at::Device device) {
  const bool nccl_can_be_had =
      is_built_with_nccl() && device.is_cuda() && has_gpu_for_each_rank(world.local_world_size);
  const std::string backend = choose_backend(world, config.distribution.backend, nccl_can_be_had);
  BackendOptions options = backend_options(world, config.distribution);
  options.device = device;
  std::unique_ptr<Rendezvous> rendezvous;  // until the ranks have joined
  if (world.world_size > 1) {
    BackendOptions meeting = rendezvous_options(world, config.distribution);
    meeting.store_prefix += "/configs";  // apart from what meet_other_hosts told
    rendezvous = join_rendezvous(meeting);
    Config chosen = config;  // `auto` may stand for another backend on another host
    chosen.distribution.backend = backend;
    compare_configs(chosen, *rendezvous);
  }
  return backends().at(backend)(options);
}

void compare_fingerprints(const nlohmann::ordered_json& fingerprints, Communicator& world) {
  const std::vector<std::string> all = all_gather_text(world, fingerprints.dump());
  for (const SharedInput& input : kSharedInputs) {
    std::vector<std::string> found;  // [rank]
    for (const std::string& text : all)
      found.push_back(nlohmann::ordered_json::parse(text).value(input.key, ""));
    const auto odd = find_odd_rank(found);
    if (!odd) continue;
    throw ConfigError(
        {.where = fmt::format("rank {} ({})", odd->rank, world.hosts()[odd->rank]),
         .found = fmt::format("its {} is not that of rank {} ({})", input.what, odd->reference,
                              world.hosts()[odd->reference]),
         .expected = fmt::format("the same {} on every host", input.what),
         .fix = fmt::format("give all hosts the same files under {}", input.keys_of_config)});
  }
}

}  // namespace lora_dist
