// Collectives between GPUs over NCCL, on a stream of their own.
//
// What a collective reads was queued on the caller's stream before, so its stream waits for that;
// what comes after needs no order between streams, because a wait here is the host's: it polls the
// end of the collective until the deadline and sees a lost peer. The GPU meanwhile works on what
// was queued before the wait, which is how a gather overlaps with a layer; and since nothing is
// ever queued behind a collective that has not ended, no later synchronisation can hang on a peer.
//
// All communicators of a process use one stream, so collectives run in the order in which they were
// started, which is the same on all ranks.
#pragma once

#include <memory>
#include <string>

#include "dist/backends/mpi_session.hpp"
#include "dist/backends/transport.hpp"

namespace lora_dist {

struct NcclSeat {
  std::string id;  // new_nccl_id() of one rank
  int rank = 0;
  int world_size = 1;
  at::Device device = at::kCPU;         // a GPU that no other rank uses
  std::shared_ptr<MpiSession> session;  // under mpirun; else null
};

/// Bytes that rank 0 makes and all ranks have to know. Errors  ConfigError, TransportError.
std::string new_nccl_id();

/// Ranks   collective.
/// Errors  ConfigError: NCCL cannot be loaded; NcclRefusal; TransportError: not all ranks came.
std::unique_ptr<Transport> make_nccl_transport(const NcclSeat& seat, Deadline deadline);

}  // namespace lora_dist
