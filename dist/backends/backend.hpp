// The registry of communicators: local, mpi, gloo, nccl.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/registry.hpp"
#include "core/sockets/communicator.hpp"

namespace lora_dist {

struct BackendOptions {
  WorldInfo world;
  double timeout_s = 10;           // of one collective
  double startup_timeout_s = 300;  // for all ranks to join
  bool shared_memory = true;       // between ranks of one host, in place of the backend's own way

  at::Device device = at::kCPU;  // nccl only: this rank's GPU

  // gloo and nccl, until the ranks know each other
  std::string network_interface = {};  // "eth0"; empty: the one that leads to rank 0
  bool store_is_served =
      false;  // torchrun's agent listens at world.master_addr already, else rank 0 does
  bool names_come_late = false;  // that of rank 0's host may become known while the others wait
  std::string store_prefix = "/lora-dist";  // of this run's keys in a store that others use too
};

using BackendFactory = std::function<std::unique_ptr<Communicator>(const BackendOptions&)>;
/// Errors of a factory  ConfigError: not in this build, or not for this world; CommError: ranks did
/// not come together.
const Registry<BackendFactory>& backends();

/// Whether nccl is more than a name in this build.
bool is_built_with_nccl();

/// `count` communicators of one world whose ranks are threads of this process, in rank order
/// (backend "local"). `hosts`, if given, names the host that each rank pretends to be on.
std::vector<std::unique_ptr<Communicator>> make_local_world(
    int count, double timeout_s, const std::vector<std::string>& hosts = {});

}  // namespace lora_dist
