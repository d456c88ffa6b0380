// The registry of communicators: local, mpi, gloo (nccl with the CUDA module).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/communicator.hpp"
#include "core/registry.hpp"

namespace lora_dist {

struct BackendOptions {
  WorldInfo world;
  double timeout_s = 10;          // of one collective
  double startup_timeout_s = 300;  // for all ranks to join
};

using BackendFactory = std::function<std::unique_ptr<Communicator>(const BackendOptions&)>;
/// Errors of a factory  ConfigError: not in this build; CommError: ranks did not come together.
const Registry<BackendFactory>& backends();

/// `count` communicators of one world whose ranks are threads of this process, in rank order (backend "local").
std::vector<std::unique_ptr<Communicator>> make_local_world(int count, double timeout_s);

}  // namespace lora_dist
