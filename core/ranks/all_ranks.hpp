// Work that every rank does a share of, and that ends alike on all of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

/// Runs `work` here, waits until every rank has run it, and returns all results in rank order.
/// Where it failed on any rank, every rank throws the error of the lowest one that failed, of the
/// same kind and with the same parts: nobody is left in a collective.
///
/// Ranks   collective. `work` itself must not use `world`.
/// Errors  those of `work`; CommError.
std::vector<std::string> on_all_ranks(Communicator& world,
                                      const std::function<std::string()>& work);

}  // namespace lora_dist
