// What a process tells about itself, for run.json, checkpoints and the model card: a resumed run is
// several of them.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/config/config.hpp"
#include "core/ranks/world.hpp"

namespace lora_dist {

/// Date, the command that was typed, config files, version, world size, the host of each rank, and
/// the commit where the working directory or a config file lies in a git repository.
nlohmann::ordered_json describe_life(const Config& config, const WorldInfo& world,
                                     const std::vector<std::string>& hosts);

/// "2026-12-01T09:30:00Z"
std::string utc_now();

}  // namespace lora_dist
