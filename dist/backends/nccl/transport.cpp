#include "dist/backends/nccl/transport.hpp"

#include <algorithm>
#include <cstring>

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/base/error.hpp"
#include "dist/backends/meeting.hpp"
#include "dist/backends/nccl/communicator.hpp"
#include "dist/backends/stream_order.hpp"

namespace lora_dist {
namespace {

/// A failure of the GPU itself, told as one of the collective that met it.
template <class Call>
auto with_gpu_errors(const Call& call) {
  try {
    return call();
  } catch (const c10::Error& error) {
    throw TransportError(fmt::format("the GPU failed [{}]", first_line(error)));
  }
}

class NcclPending final : public Pending {
 public:
  /// `is_queued`: what ends with this collective is the last thing on `stream`.
  NcclPending(std::shared_ptr<NcclCommunicator> comm, const c10::Stream& stream,
              std::vector<at::Tensor> tensors, bool is_queued)
      : comm_(std::move(comm)),
        tensors_(std::move(tensors)),
        end_(stream.device_type()),
        is_queued_(is_queued) {
    if (is_queued_) end_.record(stream);
  }
  ~NcclPending() override {
    // NCCL may still write to these: they are given away for good and never freed.
    if (!is_complete_) new std::vector<at::Tensor>(std::move(tensors_));
  }

  bool wait_until(Deadline deadline) override {
    if (is_complete_) return true;
    if (!is_queued_) return false;  // its deadline had passed before
    // The end comes first: a peer that has its result may leave, and is then no loss.
    is_complete_ = with_gpu_errors([&] {
      return poll_until(deadline, [&] {
        if (end_.query()) return true;
        comm_->require_whole();
        return false;
      });
    });
    comm_->require_not_given_up();  // kernels of an aborted communicator come to an end as well
    return is_complete_;
  }

 private:
  std::shared_ptr<NcclCommunicator> comm_;
  std::vector<at::Tensor> tensors_;
  c10::Event end_;
  bool is_queued_;
  bool is_complete_ = false;
};

ncclDataType_t nccl_type(at::ScalarType dtype) {
  if (dtype == at::kFloat) return ncclFloat32;
  if (dtype == at::kDouble) return ncclFloat64;
  return ncclInt64;
}

class NcclTransport final : public Transport {
 public:
  NcclTransport(std::shared_ptr<NcclCommunicator> comm, c10::Stream stream, int rank,
                std::shared_ptr<MpiSession> session)
      : nccl_(nccl_library()),
        session_(std::move(session)),
        comm_(std::move(comm)),
        stream_(stream),
        rank_(rank),
        zero_(at::zeros({1}, at::TensorOptions(at::kFloat).device(stream.device()))) {}

  std::string_view name() const override { return "nccl"; }
  std::optional<at::Device> memory() const override { return stream_.device(); }

  std::unique_ptr<Pending> broadcast(at::Tensor tensor, int root, Deadline deadline) override {
    return start("ncclBroadcast", {tensor}, deadline, [&](ncclComm_t comm) {
      return nccl_.broadcast(tensor.const_data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8,
                             root, comm, cuda_stream());
    });
  }

  std::unique_ptr<Pending> all_reduce(at::Tensor tensor, Deadline deadline) override {
    return start("ncclAllReduce", {tensor}, deadline, [&](ncclComm_t comm) {
      return nccl_.all_reduce(tensor.const_data_ptr(), tensor.data_ptr(),
                              static_cast<size_t>(tensor.numel()), nccl_type(tensor.scalar_type()),
                              ncclSum, comm, cuda_stream());
    });
  }

  std::unique_ptr<Pending> all_gather(at::Tensor output, at::Tensor input,
                                      Deadline deadline) override {
    return start("ncclAllGather", {output, input}, deadline, [&](ncclComm_t comm) {
      return nccl_.all_gather(input.const_data_ptr(), output.data_ptr(), input.nbytes(), ncclUint8,
                              comm, cuda_stream());
    });
  }

  std::unique_ptr<Pending> all_to_all(at::Tensor output, at::Tensor input, const RowCounts& rows,
                                      Deadline deadline) override {
    return start("ncclSend and ncclRecv", {output, input}, deadline,
                 [&](ncclComm_t comm) { return exchange_rows(output, input, rows, comm); });
  }

  std::unique_ptr<Pending> barrier(Deadline deadline) override {
    return all_reduce(zero_, deadline);  // which stays zero
  }

  std::unique_ptr<Transport> split(const std::vector<int64_t>& colours,
                                   Deadline deadline) override {
    const std::vector<int> members = ranks_of_colour(colours, rank_);
    const int colour = members.size() == 1 ? NCCL_SPLIT_NOCOLOR : members.front();
    std::shared_ptr<NcclCommunicator> part = comm_->split(colour, rank_, deadline);
    if (!part) return nullptr;
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    return std::make_unique<NcclTransport>(std::move(part), stream_, static_cast<int>(place),
                                           session_);
  }

  void abandon(const std::string& reason) override {
    comm_->give_up(reason);
    if (session_) session_->leave_without_finalizing();
  }

 private:
  cudaStream_t cuda_stream() const { return static_cast<cudaStream_t>(stream_.native_handle()); }

  template <class Call>
  std::unique_ptr<Pending> start(std::string_view name, std::vector<at::Tensor> tensors,
                                 Deadline deadline, const Call& call) {
    return with_gpu_errors([&] {
      // The inputs are there, and nobody reads the outputs' memory any more, when what the caller
      // has queued so far is done.
      if (const auto queued_work = mark_queued_work(stream_.device())) queued_work->block(stream_);
      const bool is_queued = comm_->queue(call, name, deadline);
      return std::make_unique<NcclPending>(comm_, stream_, std::move(tensors), is_queued);
    });
  }

  /// One group of sends and receives; a pair of ranks without rows has no message.
  ncclResult_t exchange_rows(const at::Tensor& output, const at::Tensor& input,
                             const RowCounts& rows, ncclComm_t comm) const {
    const auto row_bytes = static_cast<size_t>(input.size(1));
    const auto* sent = static_cast<const char*>(input.const_data_ptr());
    auto* received = static_cast<char*>(output.data_ptr());
    // A group that was begun is ended, whatever failed inside it.
    ncclResult_t outcome = nccl_.group_start();
    const auto note = [&](ncclResult_t result) {
      if (outcome == ncclSuccess || outcome == ncclInProgress) outcome = result;
    };
    for (int peer = 0; peer < static_cast<int>(rows.input.size()); ++peer) {
      const size_t to_peer = rows.input[peer] * row_bytes,
                   from_peer = rows.output[peer] * row_bytes;
      if (to_peer > 0) note(nccl_.send(sent, to_peer, ncclUint8, peer, comm, cuda_stream()));
      if (from_peer > 0)
        note(nccl_.recv(received, from_peer, ncclUint8, peer, comm, cuda_stream()));
      sent += to_peer;
      received += from_peer;
    }
    note(nccl_.group_end());
    return outcome;
  }

  const NcclLibrary& nccl_;
  std::shared_ptr<MpiSession> session_;
  std::shared_ptr<NcclCommunicator> comm_;
  c10::Stream stream_;
  int rank_;
  at::Tensor zero_;  // (1), what a barrier sums
};

}  // namespace

std::string new_nccl_id() {
  const NcclLibrary& nccl = nccl_library();
  ncclUniqueId id;
  nccl_check(nccl, nccl.get_unique_id(&id), "ncclGetUniqueId");
  return std::string(id.internal, sizeof id.internal);
}

std::unique_ptr<Transport> make_nccl_transport(const NcclSeat& seat, Deadline deadline) {
  ncclUniqueId id;
  LD_CHECK(seat.id.size() == sizeof id.internal, "this is no id of NCCL");
  std::memcpy(id.internal, seat.id.data(), sizeof id.internal);
  std::shared_ptr<NcclCommunicator> comm =
      NcclCommunicator::join(nccl_library(), id, seat.rank, seat.world_size, seat.device, deadline);
  // Above the compute stream: a gather that is late holds up a whole layer.
  const c10::Stream stream = c10::impl::VirtualGuardImpl(seat.device.type())
                                 .getStreamFromGlobalPool(seat.device, /*isHighPriority=*/true);
  return std::make_unique<NcclTransport>(std::move(comm), stream, seat.rank, seat.session);
}

}  // namespace lora_dist
