// What rank 0 and the others tell each other before there is a communicator: the backend is chosen
// by the config, and the config may lie on rank 0's host alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dist/backends/backend.hpp"

namespace lora_dist {

class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  virtual int rank() const = 0;
  /// `text` of rank 0 on every rank.
  ///
  /// Ranks   collective.
  /// Errors  CommError: rank 0 was not heard within startup_timeout_s.
  virtual std::string from_rank_zero(const std::string& text) = 0;
  /// `text` of every rank on rank 0, in rank order; nothing on the others.
  ///
  /// Ranks   collective.
  /// Errors  CommError: not every rank was heard within startup_timeout_s.
  virtual std::vector<std::string> at_rank_zero(const std::string& text) = 0;
};

/// By MPI where options.world names no master, else by the store at the master. MPI and a store
/// that this rank serves last as long as the object, so it is kept until the ranks have joined.
///
/// Ranks   collective.
/// Errors  ConfigError, CommError.
std::unique_ptr<Rendezvous> join_rendezvous(const BackendOptions& options);

}  // namespace lora_dist
