// The ranks of a run, brought together: backend chosen, configs and files compared.
#pragma once

#include <memory>

#include <nlohmann/json.hpp>

#include "core/config/config.hpp"
#include "core/sockets/communicator.hpp"

namespace lora_dist {

class Rendezvous;

/// `limits` are those known so far. Where ranks of several hosts hear from rank 0 before they know
/// their config; null on one host, whose ranks see the same files. Ranks that do not know their
/// neighbours find them here: `world` gains its local rank and size. Keep what comes until the
/// ranks have joined.
///
/// Ranks   collective. Errors  CommError.
std::unique_ptr<Rendezvous> meet_other_hosts(WorldInfo& world, const DistributionConfig& limits);

/// `device` is what this rank computes on; `backend: auto` is NCCL only where every rank of the
/// host has a GPU of its own, and all hosts are taken to be alike.
///
/// Ranks   collective. World size 1 never touches MPI.
/// Errors  ConfigError: the ranks' configs differ, the named backend is not to be had; CommError.
std::unique_ptr<Communicator> join_world(const Config& config, const WorldInfo& world,
                                         at::Device device);

/// Compares what the ranks found on their hosts: base, tokenizer, data. `fingerprints` has a text
/// under each of these keys that the run uses.
///
/// Ranks   collective. Errors  ConfigError, the same line on every rank: the odd rank is named.
void compare_fingerprints(const nlohmann::ordered_json& fingerprints, Communicator& world);

}  // namespace lora_dist
