// Gloo over TCP, as c10d's ProcessGroupGloo in libtorch_cpu has it.
//
// LibTorch ships the code but not Gloo's own headers, which come from Debian's libgloo-dev and are
// older than the library: this is the one file that sees them, and the conformance suite guards the
// match. libgloo itself is never linked, its symbols are in libtorch_cpu already.
#include <algorithm>
#include <mutex>

#if __has_include(<gloo/context.h>)
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif

#include "core/base/error.hpp"
#include "dist/backends/checked_communicator.hpp"
#include "dist/backends/meeting.hpp"

namespace lora_dist {

#ifndef USE_C10D_GLOO

std::unique_ptr<Communicator> make_gloo_backend(const BackendOptions&) {
  throw ConfigError({.where = "backend",
                     .found = "'gloo' is not in this build",
                     .expected = {},
                     .fix = "`apt install libgloo-dev` and build again, or use backend: mpi"});
}

#else

namespace {

at::Tensor as_bytes(const at::Tensor& tensor) { return tensor.view({-1}).view(at::kByte); }

class GlooPending final : public Pending {
 public:
  /// `limit` is Gloo's own.
  GlooPending(c10::intrusive_ptr<c10d::Work> work, Deadline limit)
      : work_(std::move(work)), limit_(limit) {}  // the work holds the tensors

  bool wait_until(Deadline deadline) override {
    try {
      // Gloo's own limit begins with the operation and so ends first; it is given a moment to say
      // so, and with the peer's address.
      work_->wait(milliseconds(seconds_until(deadline) + 0.2));
    } catch (const std::exception& error) {
      if (seconds_until(std::min(limit_, deadline)) <= 0) return false;
      throw TransportError(fmt::format("lost a peer [{}]", first_line(error)));
    }
    return true;
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
  Deadline limit_;
};

class GlooTransport final : public Transport {
 public:
  /// `address` is this host's, as the peers reach it.
  GlooTransport(c10::intrusive_ptr<c10d::Store> store, std::shared_ptr<MpiSession> session,
                std::string address, int rank, int world_size, double timeout_s)
      : store_(std::move(store)),
        session_(std::move(session)),
        address_(std::move(address)),
        rank_(rank) {
    auto gloo = c10d::ProcessGroupGloo::Options::create(milliseconds(timeout_s));
    gloo->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(address_));
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store_, rank, world_size, gloo);
  }
  ~GlooTransport() override {
    // Its destructor joins threads that may wait for a peer that is gone; the process is about to
    // leave.
    if (abandoned_) group_.release();
  }

  std::string_view name() const override { return "gloo"; }

  std::unique_ptr<Pending> broadcast(at::Tensor tensor, int root, Deadline deadline) override {
    std::vector<at::Tensor> tensors{as_bytes(tensor)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return start(options, deadline, [&] { return group_->broadcast(tensors, options); });
  }

  std::unique_ptr<Pending> all_reduce(at::Tensor tensor, Deadline deadline) override {
    std::vector<at::Tensor> tensors{tensor.view({-1})};
    c10d::AllreduceOptions options;
    return start(options, deadline, [&] { return group_->allreduce(tensors, options); });
  }

  std::unique_ptr<Pending> all_gather(at::Tensor output, at::Tensor input,
                                      Deadline deadline) override {
    at::Tensor rows = as_bytes(output), row = as_bytes(input);
    c10d::AllgatherOptions options;
    return start(options, deadline, [&] { return group_->_allgather_base(rows, row, options); });
  }

  std::unique_ptr<Pending> all_to_all(at::Tensor output, at::Tensor input, const RowCounts& rows,
                                      Deadline deadline) override {
    std::vector<int64_t> received = rows.output, sent = rows.input;
    c10d::AllToAllOptions options;
    return start(options, deadline,
                 [&] { return group_->alltoall_base(output, input, received, sent, options); });
  }

  std::unique_ptr<Pending> barrier(Deadline deadline) override {
    c10d::BarrierOptions options;
    return start(options, deadline, [&] { return group_->barrier(options); });
  }

  std::unique_ptr<Transport> split(const std::vector<int64_t>& colours,
                                   Deadline deadline) override {
    const std::vector<int> members = ranks_of_colour(colours, rank_);
    const std::string prefix = fmt::format("/split-{}-{}", ++num_splits_, members.front());
    if (members.size() == 1) return nullptr;
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    try {
      return std::make_unique<GlooTransport>(
          c10::make_intrusive<c10d::PrefixStore>(prefix, store_), session_, address_,
          static_cast<int>(place), static_cast<int>(members.size()), seconds_until(deadline));
    } catch (const std::exception& error) {
      throw TransportError(fmt::format("lost a peer [{}]", first_line(error)));
    }
  }

  void abandon(const std::string&) override {
    abandoned_ = true;
    if (session_) session_->leave_without_finalizing();
  }

 private:
  template <class Options, class Call>
  std::unique_ptr<Pending> start(Options& options, Deadline deadline, const Call& call) {
    options.timeout = milliseconds(seconds_until(deadline));
    // c10d enters each group into a table of the process (FlightRecorder) without a lock of its
    // own, and ranks may be threads.
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    try {
      return std::make_unique<GlooPending>(call(), deadline);
    } catch (const std::exception& error) {
      throw TransportError(fmt::format("lost a peer [{}]", first_line(error)));
    }
  }

  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<MpiSession> session_;  // under mpirun MPI has to be left in good order
  std::string address_;
  int rank_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  int num_splits_ = 0;
  bool abandoned_ = false;
};

std::unique_ptr<Communicator> come_together(const BackendOptions& options) {
  MeetingPoint point = meet(options);
  return std::make_unique<CheckedCommunicator>(
      std::make_unique<GlooTransport>(point.store, point.session, point.address, options.world.rank,
                                      options.world.world_size, options.startup_timeout_s),
      options);
}

}  // namespace

std::unique_ptr<Communicator> make_gloo_backend(const BackendOptions& options) {
  try {
    return come_together(options);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw did_not_come_together(
        options, "gloo", error,
        "check that all hosts reach rank 0; GLOO_SOCKET_IFNAME chooses the interface");
  }
}

#endif

}  // namespace lora_dist
