// The only place that reads the environment: where this rank is, and how ranks are started.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.hpp"
#include "core/world.hpp"

namespace lora_dist {

/// One way to be started: answers nothing where its variables are not set. Errors  ConfigError: set but inconsistent.
using EnvironmentDetector = std::function<std::optional<WorldInfo>()>;
const Registry<EnvironmentDetector>& environments();  // in the order of detection: mpirun, slurm, torchrun, alone

/// Design 1.6. The first detector that answers; alone always does.
WorldInfo detect_world();

struct LaunchRequest {
  int num_ranks = 1;
  std::string hosts;     // "a:8,b:8", empty: this host
  std::string hostfile;  // path, or empty
};
/// Runs this program's command line again under mpirun (without --ranks, --hosts, --hostfile), forwards signals as
/// USR1, waits and returns its exit code. Errors  ConfigError: mpirun not found, with what to install.
int run_under_mpirun(const LaunchRequest& request, const std::vector<std::string>& arguments);

}  // namespace lora_dist
