#include "launcher/run/life.hpp"

#include <chrono>
#include <ctime>
#include <filesystem>

#include "data/reports/git_id.hpp"
#include "launcher/environments/typed_command.hpp"

namespace lora_dist {
namespace {

// The first of these places that lies in a repository: where the run is started, then its configs.
std::optional<GitId> find_git_id(const Config& config) {
  std::error_code problem;
  if (auto id = git_id_of(std::filesystem::current_path(problem).string())) return id;
  for (const auto& [key, origin] : config.origins) {
    const std::string file = origin.substr(0, origin.rfind(':'));
    if (!std::filesystem::is_regular_file(file, problem)) continue;
    return git_id_of(file);
  }
  return std::nullopt;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[sizeof "2026-12-01T09:30:00Z"] = "";
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

nlohmann::ordered_json describe_life(const Config& config, const WorldInfo& world,
                                     const std::vector<std::string>& hosts) {
  nlohmann::ordered_json life = {{"version", LORA_DIST_VERSION},
                                 {"started", utc_now()},
                                 {"command", typed_command(world)},
                                 {"config", config.source},
                                 {"launcher", world.launcher},
                                 {"world_size", world.world_size},
                                 {"hosts", hosts}};
  if (const std::optional<GitId> git = find_git_id(config)) {
    life["git"] = {{"commit", git->commit}};
    if (!git->branch.empty()) life["git"]["branch"] = git->branch;
  }
  return life;
}

}  // namespace lora_dist
