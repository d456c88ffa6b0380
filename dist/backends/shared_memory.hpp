// Ranks of one host, exchanging through memory that they share.
//
// The ranks find each other over a backend that they have already (mpi, gloo) and leave it alone
// from then on. Sums are made in rank order, so they are the same every time. A rank that waits
// watches for some microseconds and then sleeps: with as many ranks as cores, a core that spins is
// one that a peer needs. Nothing with a name is made, so nothing is left in /dev/shm by whatever
// end.
//
// Work is done in start and in wait, never behind the caller's back: a short message is there for
// the peers as soon as its operation starts, a long one moves while all of them wait.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "dist/backends/shared_segment.hpp"
#include "dist/backends/transport.hpp"

namespace lora_dist {

/// Transports of the ranks that share a colour (null for one that is alone); nothing, on all ranks,
/// where some of them cannot share memory. `exchange` is asked twice for a small all_gather;
/// `beneath` is kept as long as the transport, and splits where memory cannot be shared.
///
/// Ranks   collective, every rank of `exchange`. Errors  TransportError of `exchange`, also when
/// the deadline passed.
std::optional<std::unique_ptr<Transport>> share_memory(Transport& exchange,
                                                       std::shared_ptr<Transport> beneath, int rank,
                                                       const std::vector<int64_t>& colours,
                                                       Deadline deadline);

/// The bytes of a segment for `world_size` ranks, and the transport over one: each rank makes its
/// own over its own mapping. Not a collective.
size_t shared_memory_bytes(int world_size);
std::unique_ptr<Transport> make_shared_memory_transport(SharedSegment segment,
                                                        std::shared_ptr<Transport> beneath,
                                                        int rank, int world_size);

}  // namespace lora_dist
