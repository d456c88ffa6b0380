// Ranks that are threads of one process, for tests and for the world of one.
//
// The threads share a Rendezvous. Each deposits its tensors under the number of the operation; the
// last to arrive does the work for all and wakes them, so an operation never waits for a peer's
// wait(), whatever order they wait in. Sums are taken in rank order. Ranks that call different
// operations under one number are our own bug and abort.
//
// Tensors may lie on a GPU, where each thread has a stream of its own: the work for all is queued
// behind what every rank had queued when it arrived, and a rank's wait() queues the rest behind
// that work.
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <thread>

#include "core/base/error.hpp"
#include "dist/backends/checked_communicator.hpp"
#include "dist/backends/stream_order.hpp"

namespace lora_dist {
namespace {

enum class Kind { kBroadcast, kAllReduce, kAllGather, kAllToAll, kBarrier };

struct Deposit {
  at::Tensor output, input;  // handles: the memory outlives a rank that gave up
  RowCounts rows;            // of an all_to_all
  bool arrived = false;
  std::optional<c10::Event> ready = {};  // for tensors on a GPU: what its rank had queued before
};

at::Device device_of(const Deposit& deposit) {
  return deposit.output.defined() ? deposit.output.device() : at::Device(at::kCPU);
}

struct Meeting {
  Kind kind;
  int root;
  std::vector<Deposit> deposits;  // [rank]
  int num_arrived = 0;
  bool complete = false;
  bool given_up = false;  // a rank stopped waiting: its tensors are its own again
  std::vector<std::optional<c10::Event>> done = {};  // [rank] on a GPU: the end of the work for it
};

at::Tensor row(const at::Tensor& rows, int rank) { return rows.select(0, rank).view({-1}); }

/// The part of `rows` that belongs to `rank`.
at::Tensor rows_of(const at::Tensor& rows, const std::vector<int64_t>& counts, int rank) {
  const int64_t first = std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
  return rows.narrow(0, first, counts[rank]);
}

void hand_over(const Deposit& sender, int from, const Deposit& receiver, int to) {
  LD_CHECK(sender.rows.input[to] == receiver.rows.output[from],
           "a rank sends another number of rows than its peer expects");
  rows_of(receiver.output, receiver.rows.output, from)
      .copy_(rows_of(sender.input, sender.rows.input, to));
}

void carry_out_on_host(const Meeting& meeting) {
  const std::vector<Deposit>& deposits = meeting.deposits;
  const int world_size = static_cast<int>(deposits.size());
  switch (meeting.kind) {
    case Kind::kBroadcast:
      for (int to = 0; to < world_size; ++to)
        if (to != meeting.root) deposits[to].output.copy_(deposits[meeting.root].output);
      break;
    case Kind::kAllReduce:
      for (int from = 1; from < world_size; ++from) deposits[0].output.add_(deposits[from].output);
      for (int to = 1; to < world_size; ++to) deposits[to].output.copy_(deposits[0].output);
      break;
    case Kind::kAllGather:
      for (int to = 0; to < world_size; ++to)
        for (int from = 0; from < world_size; ++from)
          row(deposits[to].output, from).copy_(deposits[from].input.view({-1}));
      break;
    case Kind::kAllToAll:
      for (int to = 0; to < world_size; ++to)
        for (int from = 0; from < world_size; ++from)
          hand_over(deposits[from], from, deposits[to], to);
      break;
    case Kind::kBarrier:
      break;
  }
}

void carry_out(Meeting& meeting) {
  for (const Deposit& deposit : meeting.deposits)
    if (deposit.ready) queue_behind(*deposit.ready, device_of(deposit));
  carry_out_on_host(meeting);
  for (const Deposit& deposit : meeting.deposits)
    meeting.done.push_back(mark_queued_work(device_of(deposit)));
}

class Rendezvous {
 public:
  explicit Rendezvous(int world_size) : world_size_(world_size) {}

  std::shared_ptr<Meeting> arrive(int64_t number, int rank, Kind kind, int root, Deposit deposit) {
    std::unique_lock lock(mutex_);
    require_whole();
    std::shared_ptr<Meeting>& entry = meetings_[number];
    if (!entry)
      entry = std::make_shared<Meeting>(Meeting{kind, root, std::vector<Deposit>(world_size_)});
    const std::shared_ptr<Meeting> meeting = entry;
    if (meeting->given_up) throw TransportError("a peer gave up waiting for this operation");
    check_alike(*meeting, kind, root, deposit);
    meeting->deposits[rank] = std::move(deposit);
    meeting->deposits[rank].arrived = true;
    if (++meeting->num_arrived < world_size_) return meeting;
    meetings_.erase(number);
    lock.unlock();
    carry_out(*meeting);
    lock.lock();
    meeting->complete = true;
    changed_.notify_all();
    return meeting;
  }

  /// False when the deadline passed first; the ranks that had not arrived are then in `missing`.
  bool wait(Meeting& meeting, int rank, Deadline deadline, std::vector<int>& missing) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [&] { return meeting.complete || !broken_.empty(); });
    if (meeting.complete) {
      if (meeting.done[rank]) queue_behind(*meeting.done[rank], device_of(meeting.deposits[rank]));
      return true;
    }
    require_whole();
    meeting.given_up = true;
    missing.clear();
    for (int rank = 0; rank < world_size_; ++rank)
      if (!meeting.deposits[rank].arrived) missing.push_back(rank);
    return false;
  }

  /// The rendezvous of the ranks that follow `leader` in split number `number`; whoever asks first
  /// makes it.
  std::shared_ptr<Rendezvous> part(int64_t number, int leader, int world_size) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Rendezvous>& part = parts_[{number, leader}];
    require_whole();
    if (!part) part = std::make_shared<Rendezvous>(world_size);
    return part;
  }

  void abandon(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (broken_.empty()) broken_ = reason;
    changed_.notify_all();
    for (const auto& [key, part] : parts_) part->abandon(reason);
  }

 private:
  void require_whole() const {
    if (!broken_.empty()) throw TransportError(broken_);
  }

  static void check_alike(const Meeting& meeting, Kind kind, int root, const Deposit& deposit) {
    LD_CHECK(meeting.kind == kind && meeting.root == root, "ranks are in different collectives");
    for (const Deposit& other : meeting.deposits) {
      if (!other.arrived || !deposit.output.defined()) continue;
      const bool alike = kind == Kind::kAllToAll
                             ? other.input.size(1) == deposit.input.size(1)
                             : other.output.numel() == deposit.output.numel() &&
                                   other.output.scalar_type() == deposit.output.scalar_type();
      LD_CHECK(alike, "ranks differ in the size or dtype of one collective");
    }
  }

  const int world_size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, std::shared_ptr<Meeting>>
      meetings_;  // by number of the operation, not complete
  std::map<std::pair<int64_t, int>, std::shared_ptr<Rendezvous>> parts_;  // by split and leader
  std::string broken_;  // why, once a rank gave up
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(std::shared_ptr<Rendezvous> rendezvous, int rank)
      : rendezvous_(std::move(rendezvous)), rank_(rank) {}

  std::string_view name() const override { return "local"; }
  bool shares_memory() const override { return true; }
  std::optional<at::Device> memory() const override { return std::nullopt; }
  std::unique_ptr<Pending> broadcast(at::Tensor tensor, int root, Deadline) override {
    return arrive(Kind::kBroadcast, root, {tensor, {}, {}});
  }
  std::unique_ptr<Pending> all_reduce(at::Tensor tensor, Deadline) override {
    return arrive(Kind::kAllReduce, 0, {tensor, {}, {}});
  }
  std::unique_ptr<Pending> all_gather(at::Tensor output, at::Tensor input, Deadline) override {
    return arrive(Kind::kAllGather, 0, {output, input, {}});
  }
  std::unique_ptr<Pending> all_to_all(at::Tensor output, at::Tensor input, const RowCounts& rows,
                                      Deadline) override {
    return arrive(Kind::kAllToAll, 0, {output, input, rows});
  }
  std::unique_ptr<Pending> barrier(Deadline) override { return arrive(Kind::kBarrier, 0, {}); }
  std::vector<int> missing_ranks() const override { return missing_; }
  std::unique_ptr<Transport> split(const std::vector<int64_t>& colours, Deadline) override {
    const std::vector<int> members = ranks_of_colour(colours, rank_);
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    return std::make_unique<LocalTransport>(
        rendezvous_->part(++num_splits_, members.front(), static_cast<int>(members.size())),
        static_cast<int>(place));
  }
  void abandon(const std::string& reason) override { rendezvous_->abandon(reason); }

 private:
  class LocalPending final : public Pending {
   public:
    LocalPending(LocalTransport& owner, std::shared_ptr<Meeting> meeting)
        : owner_(owner), meeting_(std::move(meeting)) {}
    bool wait_until(Deadline deadline) override {
      return owner_.rendezvous_->wait(*meeting_, owner_.rank_, deadline, owner_.missing_);
    }

   private:
    LocalTransport& owner_;
    std::shared_ptr<Meeting> meeting_;
  };

  std::unique_ptr<Pending> arrive(Kind kind, int root, Deposit deposit) {
    deposit.ready = mark_queued_work(device_of(deposit));
    return std::make_unique<LocalPending>(
        *this, rendezvous_->arrive(++number_, rank_, kind, root, std::move(deposit)));
  }

  std::shared_ptr<Rendezvous> rendezvous_;
  int rank_;
  int64_t number_ = 0, num_splits_ = 0;
  std::vector<int> missing_;
};

WorldInfo local_rank_of(int rank, int world_size, const std::string& host) {
  WorldInfo world;
  world.rank = world.local_rank = rank;
  world.world_size = world.local_world_size = world_size;
  world.host = host;
  return world;
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_world(int count, double timeout_s,
                                                            const std::vector<std::string>& hosts) {
  const auto rendezvous = std::make_shared<Rendezvous>(count);
  std::vector<std::unique_ptr<Communicator>> world(count);
  // Each constructor is a collective, so each runs in a thread of its own.
  std::vector<std::thread> threads;
  for (int rank = 0; rank < count; ++rank) {
    threads.emplace_back([&, rank] {
      const WorldInfo info = local_rank_of(rank, count, hosts.empty() ? "localhost" : hosts[rank]);
      world[rank] = std::make_unique<CheckedCommunicator>(
          std::make_unique<LocalTransport>(rendezvous, rank),
          BackendOptions{.world = info, .timeout_s = timeout_s});
    });
  }
  for (std::thread& thread : threads) thread.join();
  return world;
}

std::unique_ptr<Communicator> make_local_backend(const BackendOptions& options) {
  if (options.world.world_size != 1)
    throw ConfigError({.where = "backend",
                       .found = fmt::format("'local' with {} processes", options.world.world_size),
                       .expected = "one process",
                       .fix = "use backend: auto, mpi or gloo"});
  return std::make_unique<CheckedCommunicator>(
      std::make_unique<LocalTransport>(std::make_shared<Rendezvous>(1), 0), options);
}

}  // namespace lora_dist
