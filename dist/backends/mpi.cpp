// Open MPI, on host memory. Non-blocking collectives polled against a deadline: a peer that does
// not come ends in an error and not in a hang. Own duplicate of MPI_COMM_WORLD, so that nobody
// else's messages meet ours.
//
// An operation that was given up stays with MPI, which cannot cancel a collective: its tensors are
// kept until the process leaves. There is no way to tell the peers in MPI 3; they hear of it when
// this process leaves with an error and mpirun ends the job, at the latest by their own limit.
#include "core/base/error.hpp"
#include "dist/backends/checked_communicator.hpp"
#include "dist/backends/meeting.hpp"
#include "dist/backends/mpi_session.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kLargestCount = 1 << 30;  // elements of one reduction; MPI 3 counts in int

/// Counts and offsets as MPI takes them, in rows.
struct MpiRows {
  explicit MpiRows(const std::vector<int64_t>& rows) {
    int64_t offset = 0;
    for (const int64_t count : rows) {
      counts.push_back(static_cast<int>(count));
      offsets.push_back(static_cast<int>(offset));
      offset += count;
    }
    LD_CHECK(offset < kLargestCount, "more rows than MPI 3 can count");
  }
  std::vector<int> counts, offsets;  // [rank]
};

class MpiPending final : public Pending {
 public:
  explicit MpiPending(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {}
  ~MpiPending() override {
    if (complete_) return;
    // MPI may still read and write these: they are given away for good and never freed.
    new std::vector<at::Tensor>(std::move(tensors_));
    new std::vector<std::unique_ptr<MpiRows>>(std::move(rows_));
    block_.release();
  }

  bool wait_until(Deadline deadline) override {
    complete_ = complete_ || wait_for_requests(requests_, deadline);
    return complete_;
  }
  MPI_Request* add_request() {
    requests_.push_back(mpi().request_null);
    return &requests_.back();
  }
  /// Kept as long as the operation: Open MPI's non-blocking collectives read the datatype while
  /// they run.
  const ByteBlock& block(int64_t bytes) {
    block_ = std::make_unique<ByteBlock>(bytes);
    return *block_;
  }
  const MpiRows& keep(const std::vector<int64_t>& rows) {
    rows_.push_back(std::make_unique<MpiRows>(rows));
    return *rows_.back();
  }

 private:
  std::vector<at::Tensor> tensors_;
  std::unique_ptr<ByteBlock> block_;
  std::vector<std::unique_ptr<MpiRows>> rows_;
  std::vector<MPI_Request> requests_;
  bool complete_ = false;
};

MPI_Datatype mpi_type(at::ScalarType dtype) {
  if (dtype == at::kFloat) return mpi().type_float;
  if (dtype == at::kDouble) return mpi().type_double;
  return mpi().type_int64;
}

class MpiTransport final : public Transport {
 public:
  /// `comm` is this transport's own.
  MpiTransport(std::shared_ptr<MpiSession> session, MPI_Comm comm)
      : session_(std::move(session)), comm_(comm) {
    mpi_check(mpi().comm_rank(comm_, &rank_), "MPI_Comm_rank");
  }

  std::string_view name() const override { return "mpi"; }

  std::unique_ptr<Pending> broadcast(at::Tensor tensor, int root, Deadline) override {
    auto pending = std::make_unique<MpiPending>(std::vector{tensor});
    const ByteBlock& block = pending->block(tensor.nbytes());
    mpi_check(mpi().ibcast(tensor.data_ptr(), 1, block.type(), root, comm_, pending->add_request()),
              "MPI_Ibcast");
    return pending;
  }

  std::unique_ptr<Pending> all_reduce(at::Tensor tensor, Deadline) override {
    auto pending = std::make_unique<MpiPending>(std::vector{tensor});
    char* data = static_cast<char*>(tensor.data_ptr());
    for (int64_t first = 0; first < tensor.numel(); first += kLargestCount) {
      const auto count = static_cast<int>(std::min(kLargestCount, tensor.numel() - first));
      mpi_check(mpi().iallreduce(MPI_IN_PLACE, data + first * tensor.element_size(), count,
                                 mpi_type(tensor.scalar_type()), mpi().sum, comm_,
                                 pending->add_request()),
                "MPI_Iallreduce");
    }
    return pending;
  }

  std::unique_ptr<Pending> all_gather(at::Tensor output, at::Tensor input, Deadline) override {
    auto pending = std::make_unique<MpiPending>(std::vector{output, input});
    const ByteBlock& row = pending->block(input.nbytes());
    mpi_check(mpi().iallgather(input.data_ptr(), 1, row.type(), output.data_ptr(), 1, row.type(),
                               comm_, pending->add_request()),
              "MPI_Iallgather");
    return pending;
  }

  std::unique_ptr<Pending> all_to_all(at::Tensor output, at::Tensor input, const RowCounts& rows,
                                      Deadline) override {
    auto pending = std::make_unique<MpiPending>(std::vector{output, input});
    const ByteBlock& row = pending->block(input.size(1));
    const MpiRows& sent = pending->keep(rows.input);
    const MpiRows& received = pending->keep(rows.output);
    mpi_check(mpi().ialltoallv(input.data_ptr(), sent.counts.data(), sent.offsets.data(),
                               row.type(), output.data_ptr(), received.counts.data(),
                               received.offsets.data(), row.type(), comm_, pending->add_request()),
              "MPI_Ialltoallv");
    return pending;
  }

  std::unique_ptr<Pending> barrier(Deadline) override {
    auto pending = std::make_unique<MpiPending>(std::vector<at::Tensor>{});
    mpi_check(mpi().ibarrier(comm_, pending->add_request()), "MPI_Ibarrier");
    return pending;
  }

  // MPI 3 has no split with a limit. All ranks are alive and come here at once: they have just told
  // each other their colours.
  std::unique_ptr<Transport> split(const std::vector<int64_t>& colours, Deadline) override {
    const std::vector<int> members = ranks_of_colour(colours, rank_);
    MPI_Comm group = mpi().comm_null;
    mpi_check(mpi().comm_split(comm_, /*color=*/members.front(), /*key=*/rank_, &group),
              "MPI_Comm_split");
    return std::make_unique<MpiTransport>(session_, group);
  }

  void abandon(const std::string&) override { session_->leave_without_finalizing(); }

 private:
  std::shared_ptr<MpiSession> session_;
  MPI_Comm comm_;  // lives as long as MPI
  int rank_ = 0;
};

MPI_Comm duplicate_of_world(Deadline deadline) {
  MPI_Comm comm = mpi().comm_null;
  std::vector<MPI_Request> request(1);
  mpi_check(mpi().comm_idup(mpi().comm_world, &comm, &request[0]), "MPI_Comm_idup");
  if (!wait_for_requests(request, deadline))
    throw TransportError("not all ranks came to MPI_Comm_idup");
  return comm;
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_backend(const BackendOptions& options) {
  try {
    std::shared_ptr<MpiSession> session =
        MpiSession::join(options.world, options.startup_timeout_s);
    const MPI_Comm comm = duplicate_of_world(deadline_in(options.startup_timeout_s));
    return std::make_unique<CheckedCommunicator>(
        std::make_unique<MpiTransport>(std::move(session), comm), options);
  } catch (const TransportError& error) {
    throw did_not_come_together(options, "mpi", error, "look at the other ranks' logs");
  }
}

}  // namespace lora_dist
