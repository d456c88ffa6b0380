// Gloo over TCP, as c10d's ProcessGroupGloo in libtorch_cpu has it.
//
// LibTorch ships the code but not Gloo's own headers, which come from Debian's libgloo-dev and are
// older than the library: this is the one file that sees them, and the conformance suite guards the
// match. libgloo itself is never linked, its symbols are in libtorch_cpu already.
//
// Ranks find each other through a TCPStore: at MASTER_ADDR:MASTER_PORT where the environment names
// one (torchrun, srun), else rank 0 lets the kernel choose a port and MPI tells the others.
#include <algorithm>
#include <mutex>

#if __has_include(<gloo/context.h>)
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

#include "core/error.hpp"
#include "dist/backends/checked_communicator.hpp"
#include "dist/backends/gloo_address.hpp"
#include "dist/backends/mpi_session.hpp"

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

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(std::max<int64_t>(1, std::llround(seconds * 1000)));
}

/// The first line of a library's message without its stack.
std::string first_line(const std::exception& error) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text = c10_error ? c10_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

at::Tensor as_bytes(const at::Tensor& tensor) { return tensor.view({-1}).view(at::kByte); }

class GlooPending final : public Pending {
 public:
  explicit GlooPending(c10::intrusive_ptr<c10d::Work> work)
      : work_(std::move(work)) {}  // which holds the tensors

  bool wait_until(Deadline deadline) override {
    try {
      // Gloo's own limit is the same deadline; it is given a moment to say it first, and with the
      // peer's address.
      work_->wait(milliseconds(seconds_until(deadline) + 0.2));
    } catch (const std::exception& error) {
      if (seconds_until(deadline) <= 0) return false;
      throw TransportError(fmt::format("lost a peer [{}]", first_line(error)));
    }
    return true;
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
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
      return std::make_unique<GlooPending>(call());
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

c10::intrusive_ptr<c10d::TCPStore> open_store(const std::string& host, int port, bool serve,
                                              double timeout_s) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(port);
  options.isServer = serve;
  options.waitWorkers = false;
  options.timeout = milliseconds(timeout_s);
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

bool several_hosts(const WorldInfo& world) { return world.local_world_size < world.world_size; }

struct MeetingPoint {
  c10::intrusive_ptr<c10d::TCPStore> store;
  std::string address;  // of this host, as the peers reach it
};

/// Rank 0 lets the kernel choose a port; the others hear of it by MPI.
MeetingPoint meet_by_mpi(MpiSession& session, const BackendOptions& options) {
  const WorldInfo& world = options.world;
  MeetingPoint point;
  std::string where;
  if (world.rank == 0) {
    point.address = own_address(options.network_interface, several_hosts(world) ? "" : "127.0.0.1",
                                several_hosts(world));
    point.store = open_store(point.address, /*port=*/0, /*serve=*/true, options.startup_timeout_s);
    where = fmt::format("{} {}", point.address, point.store->getPort());
  }
  where = session.broadcast_text(where, deadline_in(options.startup_timeout_s));
  if (world.rank == 0) return point;
  const std::string host = where.substr(0, where.find(' '));
  const int port = std::stoi(where.substr(where.find(' ')));
  return {open_store(host, port, /*serve=*/false, options.startup_timeout_s),
          own_address(options.network_interface, host, several_hosts(world))};
}

MeetingPoint meet_at_master(const BackendOptions& options) {
  const WorldInfo& world = options.world;
  const bool serve = world.rank == 0 && !options.store_is_served;
  return {open_store(world.master_addr, world.master_port, serve, options.startup_timeout_s),
          own_address(options.network_interface, world.master_addr, several_hosts(world))};
}

std::unique_ptr<Communicator> come_together(const BackendOptions& options) {
  std::shared_ptr<MpiSession> session;
  if (options.world.master_addr.empty()) session = MpiSession::join(options.world);
  MeetingPoint point = session ? meet_by_mpi(*session, options) : meet_at_master(options);
  const auto store = c10::make_intrusive<c10d::PrefixStore>(options.store_prefix, point.store);
  return std::make_unique<CheckedCommunicator>(
      std::make_unique<GlooTransport>(store, session, point.address, options.world.rank,
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
    const WorldInfo& world = options.world;
    throw CommError(
        {.where = fmt::format("[rank {}/{} {}] gloo", world.rank, world.world_size, world.host),
         .found =
             fmt::format("the ranks did not come together within {:g} s (startup_timeout_s) [{}]",
                         options.startup_timeout_s, first_line(error)),
         .expected = {},
         .fix = "check that all hosts reach rank 0; GLOO_SOCKET_IFNAME chooses the interface"});
  }
}

#endif

}  // namespace lora_dist
