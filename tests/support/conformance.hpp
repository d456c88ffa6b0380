// What every Communicator promises, asked of the one that is given. The same body runs over threads
// (unit/dist) and over processes (ranks). Inputs are arithmetic, so every answer is a formula of
// rank and world size.
#pragma once

#include "core/sockets/communicator.hpp"

namespace lora_dist {

/// Every collective at sizes 0, 1, odd and large, in every dtype it takes. Ranks  collective.
void check_collectives(Communicator& world);
/// The same with tensors on `device`.
void check_collectives_on(Communicator& world, at::Device device);
/// An all_to_all in which every pair of ranks exchanges another number of rows, many none at all.
/// Ranks  collective.
void check_uneven_rows(Communicator& world);
/// The same with tensors on `device`.
void check_uneven_rows_on(Communicator& world, at::Device device);
/// Parts of the world, and parts of parts: who is in them, and that each is a communicator like
/// any other. Ranks  collective.
void check_split(Communicator& world);
/// Several operations under way at once, awaited in another order. Ranks  collective.
void check_overlapping_work(Communicator& world);
/// Bytes by formula, operations by number. Ranks  collective.
void check_traffic(Communicator& world);

}  // namespace lora_dist
