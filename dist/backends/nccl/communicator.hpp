// One communicator of NCCL, non-blocking, and what has to be kept in mind around it.
//
// A call returns before NCCL has queued anything on the stream, so it is polled until it has;
// nothing may be asked of the communicator in between. A rank that gives up aborts the
// communicator: the kernels that wait for a peer leave the GPU, with whatever they have. Abort may
// block, so it has a thread of its own. A communicator that came to a good end is finalized, which
// all its ranks do together, with a limit.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "dist/backends/nccl/library.hpp"

namespace lora_dist {

class NcclCommunicator {
 public:
  /// Ranks   collective. `id` is ncclGetUniqueId() of one of them.
  /// Errors  TransportError, also when the deadline passed.
  static std::shared_ptr<NcclCommunicator> join(const NcclLibrary& nccl, const ncclUniqueId& id,
                                                int rank, int world_size, at::Device device,
                                                Deadline deadline);
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// The ranks that give the same `colour`, in the order of their ranks here. A rank that is alone
  /// gives NCCL_SPLIT_NOCOLOR and gets null.
  ///
  /// Ranks   collective. Errors  TransportError, also when the deadline passed.
  std::shared_ptr<NcclCommunicator> split(int colour, int rank, Deadline deadline);

  /// Makes `call`, which `name` names, and waits until its work lies on the stream. False when the
  /// deadline passed first: a peer has not come to set up a connection. Errors  TransportError.
  bool queue(const std::function<ncclResult_t(ncclComm_t)>& call, std::string_view name,
             Deadline deadline);

  /// Errors  TransportError: NCCL lost a peer, or this communicator was given up.
  void require_whole();
  /// Errors  TransportError: results that a kernel left behind are not to be used.
  void require_not_given_up();

  /// Never blocks. `reason` is not empty.
  void give_up(const std::string& reason);

 private:
  NcclCommunicator(const NcclLibrary& nccl, at::Device device);

  bool is_ready(std::string_view name);  // for the next call
  bool finalize();
  void abort_aside();

  const NcclLibrary& nccl_;
  const at::Device device_;
  const int exceptions_at_start_;
  std::mutex mutex_;  // of the two below: another thread may give up
  ncclComm_t comm_ = nullptr;
  std::string given_up_;  // why; empty while all is well
};

}  // namespace lora_dist
