// The wiring of a training run: the only place where all rooms meet.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/ranks/world.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {

struct TrainOptions {
  std::vector<std::string>
      allowed_changes;  // keys that may differ from a checkpoint's (--allow-change)
  std::optional<BatchJob> job;
};

/// Trains as `config` says and leaves the run folder of design 1.4. Returns the exit code (0, or 75
/// when stopped on request). Ranks  every rank calls it.
int train(const Config& config, const WorldInfo& world, const TrainOptions& options);

/// The head of the same run: opens model and data, prints the banner, trains nothing.
int dry_run(const Config& config, const WorldInfo& world);

}  // namespace lora_dist
