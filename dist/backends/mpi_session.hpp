// MPI in this process: started once, left in good order or not at all.
//
// MPI_Finalize hangs when a peer has died, so it is called only on the clean path: when the last
// holder lets go, no exception is in flight and nobody called leave_without_finalizing(). Before
// it, all ranks meet with a limit.
//
// The only file beside it that calls MPI is mpi.cpp; other backends under mpirun borrow a session
// to agree on an address (meeting.hpp).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/ranks/world.hpp"
#include "dist/backends/mpi_library.hpp"
#include "dist/backends/transport.hpp"

namespace lora_dist {

/// Errors  TransportError with the name of the call and MPI's own words.
void mpi_check(int code, const char* call);

class MpiSession {
 public:
  /// The session of this process; the first call starts MPI and waits for all ranks, at most
  /// `timeout_s` seconds. Once the last holder has let go, MPI cannot start again.
  ///
  /// Ranks   collective.
  /// Errors  ConfigError: Open MPI is not here, or sees another world than `world` says (srun
  ///         without --mpi=pmix).
  ///         TransportError: a rank did not come in time.
  static std::shared_ptr<MpiSession> join(const WorldInfo& world, double timeout_s = 300);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  void leave_without_finalizing() { finalize_ = false; }

  /// `text` of rank 0 on every rank. Errors  TransportError, also when the deadline passed.
  std::string broadcast_text(std::string text, Deadline deadline);

  /// `text` of every rank on rank 0, in rank order; nothing on the others. Errors  as above.
  std::vector<std::string> gather_texts(const std::string& text, Deadline deadline);

 private:
  explicit MpiSession(double timeout_s);
  bool finalize_ = true;
  int exceptions_at_start_;
};

/// False when the deadline passed. Errors  TransportError.
bool wait_for_requests(std::vector<MPI_Request>& requests, Deadline deadline);

/// An MPI datatype for `bytes` bytes sent as one element, so that counts above 2^31 need no second
/// message.
class ByteBlock {
 public:
  /// `largest_count` is MPI's own limit; tests lower it.
  explicit ByteBlock(int64_t bytes, int64_t largest_count = 0x7fffffff);
  ~ByteBlock();
  ByteBlock(const ByteBlock&) = delete;
  ByteBlock& operator=(const ByteBlock&) = delete;

  MPI_Datatype type() const { return type_; }

 private:
  MPI_Datatype type_;
};

}  // namespace lora_dist
