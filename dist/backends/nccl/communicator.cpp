#include "dist/backends/nccl/communicator.hpp"

#include <exception>
#include <thread>

#include <c10/core/DeviceGuard.h>

namespace lora_dist {
namespace {

constexpr double kFinalizeTimeoutS = 10;  // as for MPI: reliability 8

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

}  // namespace

NcclCommunicator::NcclCommunicator(const NcclLibrary& nccl, at::Device device)
    : nccl_(nccl), device_(device), exceptions_at_start_(std::uncaught_exceptions()) {}

std::shared_ptr<NcclCommunicator> NcclCommunicator::join(const NcclLibrary& nccl,
                                                         const ncclUniqueId& id, int rank,
                                                         int world_size, at::Device device,
                                                         Deadline deadline) {
  const std::shared_ptr<NcclCommunicator> joined(new NcclCommunicator(nccl, device));
  const c10::DeviceGuard guard(device);
  constexpr std::string_view kCall = "ncclCommInitRankConfig";
  ncclConfig_t config = non_blocking();
  nccl_check(nccl, nccl.comm_init_rank_config(&joined->comm_, world_size, id, rank, &config),
             kCall);
  if (!poll_until(deadline, [&] { return joined->is_ready(kCall); }))
    throw TransportError(fmt::format("not all ranks came to {}", kCall));
  return joined;
}

NcclCommunicator::~NcclCommunicator() {
  const std::lock_guard lock(mutex_);
  if (!comm_) return;
  const bool good_end = given_up_.empty() && std::uncaught_exceptions() == exceptions_at_start_;
  if (!good_end || !finalize()) abort_aside();
}

// After it nobody waits for this rank any more. The mutex is held: nobody else is left to ask.
bool NcclCommunicator::finalize() {
  const auto succeeded = [](ncclResult_t result) {
    return result == ncclSuccess || result == ncclInProgress;
  };
  if (!succeeded(nccl_.comm_finalize(comm_))) return false;
  ncclResult_t state = ncclInProgress;
  poll_until(deadline_in(kFinalizeTimeoutS), [&] {
    return nccl_.comm_get_async_error(comm_, &state) != ncclSuccess || state != ncclInProgress;
  });
  return state == ncclSuccess && succeeded(nccl_.comm_destroy(comm_));
}

std::shared_ptr<NcclCommunicator> NcclCommunicator::split(int colour, int rank, Deadline deadline) {
  const std::shared_ptr<NcclCommunicator> part(new NcclCommunicator(nccl_, device_));
  constexpr std::string_view kCall = "ncclCommSplit";
  ncclConfig_t config = non_blocking();
  const bool is_whole = queue(
      [&](ncclComm_t comm) { return nccl_.comm_split(comm, colour, rank, &part->comm_, &config); },
      kCall, deadline);
  const bool is_alone = colour == NCCL_SPLIT_NOCOLOR;
  if (!is_whole || (!is_alone && !poll_until(deadline, [&] { return part->is_ready(kCall); })))
    throw TransportError(fmt::format("not all ranks came to {}", kCall));
  return is_alone ? nullptr : part;
}

bool NcclCommunicator::queue(const std::function<ncclResult_t(ncclComm_t)>& call,
                             std::string_view name, Deadline deadline) {
  const auto ready = [&] { return is_ready(name); };
  if (!poll_until(deadline, ready)) return false;
  {
    const std::lock_guard lock(mutex_);
    if (!given_up_.empty()) throw TransportError(given_up_);
    const c10::DeviceGuard guard(device_);
    nccl_check(nccl_, call(comm_), name);
  }
  return poll_until(deadline, ready);
}

bool NcclCommunicator::is_ready(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (!given_up_.empty()) throw TransportError(given_up_);
  if (!comm_) return false;  // a part that is still being made
  ncclResult_t state = ncclSuccess;
  nccl_check(nccl_, nccl_.comm_get_async_error(comm_, &state), "ncclCommGetAsyncError");
  nccl_check(nccl_, state, name);
  return state == ncclSuccess;
}

void NcclCommunicator::require_whole() { is_ready("a collective"); }

void NcclCommunicator::require_not_given_up() {
  const std::lock_guard lock(mutex_);
  if (!given_up_.empty()) throw TransportError(given_up_);
}

void NcclCommunicator::give_up(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!given_up_.empty()) return;
  given_up_ = reason;
  if (comm_) abort_aside();
}

void NcclCommunicator::abort_aside() {
  std::thread([abort = nccl_.comm_abort, comm = comm_] { abort(comm); }).detach();
  comm_ = nullptr;
}

}  // namespace lora_dist
