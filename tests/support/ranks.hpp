// Many ranks in one process: a thread per rank over the `local` backend.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

struct RanksOptions {
  double timeout_s = 20;  // of one collective; its error names the operation and the missing ranks
  double limit_s = 300;   // of the whole body: the watchdog names the ranks that still run, and
                          // aborts the program
  std::vector<std::string> hosts = {};  // [rank] pretended host names; empty: one host
};

/// Runs `body` once per rank and waits for all. The first exception of any rank ends the others'
/// collectives and is thrown again here. In `body` use EXPECT, not ASSERT: a rank that returns
/// early leaves the others waiting.
void run_ranks(int world_size, const std::function<void(Communicator&)>& body,
               const RanksOptions& options = {});

/// The same with whatever communicators are given, one per thread.
void run_ranks(std::vector<std::function<std::unique_ptr<Communicator>()>> make_rank,
               const std::function<void(Communicator&)>& body, const RanksOptions& options = {});

/// World sizes that every distributed property is asked at: powers of two and not.
inline const std::vector<int> kWorldSizes = {1, 2, 3, 4, 5, 8};

}  // namespace lora_dist
