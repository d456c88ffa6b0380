#include "dist/backends/shared_memory.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>

#include <sys/syscall.h>

#include "core/base/error.hpp"
#include "dist/backends/doorbell.hpp"
#include "dist/backends/rounds.hpp"

namespace lora_dist {
namespace {

// Two slots of this size for each rank: those of two ranks fit a second-level cache. 128 and 512
// KiB measured alike with two ranks on Zen 4 (bench/exchange.cpp).
constexpr int64_t kSlotBytes = 128 << 10;
// Longer than a chunk takes to copy, shorter than a slice of the scheduler.
constexpr auto kWatch = std::chrono::microseconds(50);
// How often a rank that sleeps asks whether its peers are alive.
constexpr auto kCheckPeers = std::chrono::milliseconds(100);

int64_t slot_bytes_for(int world_size) {
  const int64_t unit = 64 * int64_t{world_size};
  return (kSlotBytes + unit - 1) / unit * unit;
}

// ---- what lies in the segment, in this order: Common, RankState [rank], slots [rank][2] ----

// All of it begins as zeros, which is how the segment comes.

struct Common {
  enum { kWhole, kBreaking, kBroken };
  std::atomic<int32_t> state;
  char reason[244];  // readable when broken
};

/// Written by its rank alone, but for the bell.
struct alignas(64) RankState {
  std::atomic<uint64_t> deposited;  // rounds
  std::atomic<uint64_t> collected;  // rounds
  std::atomic<int64_t> started;     // operations
  std::atomic<int32_t> pid;
  std::atomic<int32_t> left;  // it went in good order
  Doorbell bell;
};

struct alignas(64) SlotHead {
  int64_t operation;
  RoundsOperation::Signature signature;
  int64_t num_rounds;
};

static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared between processes");

constexpr size_t kCommonBytes = 256;
static_assert(sizeof(Common) <= kCommonBytes);

/// The processes behind the pids of a host; ranks that are threads of this process are always
/// there.
bool process_is_gone(pid_t pid) {
  if (pid == 0 || pid == getpid()) return false;  // 0: it has not come yet
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno == ESRCH;
  pollfd ended{fd, POLLIN, 0};
  const bool gone = poll(&ended, 1, 0) > 0;
  close(fd);
  return gone;
}

class SharedMemoryTransport final : public Transport {
 public:
  SharedMemoryTransport(SharedSegment segment, std::shared_ptr<Transport> beneath, int rank,
                        int world_size)
      : segment_(std::move(segment)),
        beneath_(std::move(beneath)),
        name_(beneath_ ? fmt::format("{} over shared memory", beneath_->name()) : "shared memory"),
        layout_{rank, world_size, slot_bytes_for(world_size)},
        watch_(sysconf(_SC_NPROCESSORS_ONLN) >= world_size ? kWatch : std::chrono::microseconds(0)),
        slots_(world_size) {
    state(rank).pid.store(getpid());
  }
  ~SharedMemoryTransport() override {
    state(layout_.rank).left.store(1);
    ring_all();
  }

  std::string_view name() const override { return name_; }
  bool shares_memory() const override { return true; }

  std::unique_ptr<Pending> broadcast(at::Tensor tensor, int root, Deadline) override {
    return start(broadcast_in_rounds(layout_, std::move(tensor), root));
  }
  std::unique_ptr<Pending> all_reduce(at::Tensor tensor, Deadline) override {
    return start(all_reduce_in_rounds(layout_, std::move(tensor)));
  }
  std::unique_ptr<Pending> all_gather(at::Tensor output, at::Tensor input, Deadline) override {
    return start(all_gather_in_rounds(layout_, std::move(output), std::move(input)));
  }
  std::unique_ptr<Pending> all_to_all(at::Tensor output, at::Tensor input, const RowCounts& rows,
                                      Deadline) override {
    return start(all_to_all_in_rounds(layout_, std::move(output), std::move(input), rows));
  }
  std::unique_ptr<Pending> barrier(Deadline) override { return start(barrier_in_rounds()); }

  std::vector<int> missing_ranks() const override { return missing_; }

  std::unique_ptr<Transport> split(const std::vector<int64_t>& colours,
                                   Deadline deadline) override {
    auto parts = share_memory(*this, beneath_, layout_.rank, colours, deadline);
    if (parts) return std::move(*parts);
    return beneath_->split(colours, deadline);
  }

  void abandon(const std::string& reason) override {
    int32_t whole = Common::kWhole;
    if (!common().state.compare_exchange_strong(whole, Common::kBreaking)) return;
    const size_t size = std::min(reason.size(), sizeof(Common::reason) - 1);
    std::memcpy(common().reason, reason.data(), size);
    common().reason[size] = 0;
    common().state.store(Common::kBroken);
    ring_all();
  }

 private:
  struct Operation {
    Rounds rounds;
    int64_t number = 0;
    int64_t num_rounds = 0;  // known for sure after round 0
    int64_t round = 0;
    bool complete = false;
  };

  class SharedMemoryPending final : public Pending {
   public:
    SharedMemoryPending(SharedMemoryTransport& owner, std::shared_ptr<Operation> operation)
        : owner_(owner), operation_(std::move(operation)) {}
    bool wait_until(Deadline deadline) override { return owner_.wait(*operation_, deadline); }

   private:
    SharedMemoryTransport& owner_;
    std::shared_ptr<Operation> operation_;
  };

  std::unique_ptr<Pending> start(Rounds rounds) {
    require_whole();
    auto operation = std::make_shared<Operation>();
    operation->rounds = std::move(rounds);
    operation->number = ++last_number_;
    queue_.push_back(operation);
    state(layout_.rank).started.store(operation->number);
    advance();
    return std::make_unique<SharedMemoryPending>(*this, std::move(operation));
  }

  bool wait(const Operation& operation, Deadline deadline) {
    // Operations go in the order of their start, whichever of them is waited for.
    while (!operation.complete) {
      if (advance()) continue;
      require_whole();
      const auto now = std::chrono::steady_clock::now();
      if (now >= deadline) {
        note_missing(operation);
        return false;
      }
      const bool moved = state(layout_.rank)
                             .bell.wait([this] { return can_move() || is_broken(); },
                                        std::min(deadline, now + kCheckPeers), watch_);
      if (!moved) require_peers();
    }
    return true;
  }

  /// Goes on with the queue as far as that goes without waiting; false when it did not move at all.
  bool advance() {
    bool moved = false;
    while (!queue_.empty() && can_move()) {
      Operation& operation = *queue_.front();
      if (!deposited_) {
        deposit(operation);
      } else {
        collect(operation);
      }
      deposited_ = !deposited_;
      moved = true;
      if (operation.complete) queue_.pop_front();
    }
    return moved;
  }

  bool can_move() const {
    if (queue_.empty()) return false;
    for (int peer = 0; peer < layout_.world_size; ++peer)
      if (holds_up(peer)) return false;
    return true;
  }

  /// Whether this rank cannot go on before `peer` does.
  bool holds_up(int peer) const {
    if (deposited_)
      return queue_.front()->rounds->reads_from(peer) && state(peer).deposited.load() <= round_;
    return state(peer).collected.load() + 1 < round_;  // it reads what the slot held two rounds ago
  }

  void deposit(Operation& operation) {
    if (operation.round == 0) operation.num_rounds = operation.rounds->num_rounds();
    SlotHead& head = *head_of(layout_.rank);
    head = {operation.number, operation.rounds->signature(), operation.num_rounds};
    operation.rounds->deposit(operation.round, data_of(layout_.rank));
    state(layout_.rank).deposited.store(round_ + 1);
    ring_all();
  }

  void collect(Operation& operation) {
    for (int peer = 0; peer < layout_.world_size; ++peer) {
      if (!operation.rounds->reads_from(peer)) continue;
      const SlotHead& head = *head_of(peer);
      LD_CHECK(
          head.operation == operation.number && head.signature == operation.rounds->signature(),
          "ranks are in different collectives, or differ in the size of one");
      if (operation.round == 0)
        operation.num_rounds = std::max(operation.num_rounds, head.num_rounds);
      slots_[peer] = data_of(peer);
    }
    operation.rounds->collect(operation.round, slots_);
    operation.complete = ++operation.round == operation.num_rounds;
    state(layout_.rank).collected.store(++round_);
    ring_all();
  }

  // A peer that is gone matters only to who still needs something of it.
  void require_peers() const {
    for (int peer = 0; peer < layout_.world_size; ++peer) {
      const pid_t pid = state(peer).pid.load();
      const bool left = state(peer).left.load() != 0;
      if (!left && !process_is_gone(pid)) continue;
      if (holds_up(peer))  // asked last: what it did before it went counts
        throw LostPeer(
            peer, fmt::format("process {} of this host {}", pid, left ? "has left" : "is gone"));
    }
  }

  void require_whole() const {
    if (is_broken()) throw TransportError(common().reason);
  }
  bool is_broken() const { return common().state.load() == Common::kBroken; }

  void note_missing(const Operation& operation) {
    missing_.clear();
    for (int peer = 0; peer < layout_.world_size; ++peer)
      if (state(peer).started.load() < operation.number) missing_.push_back(peer);
  }

  void ring_all() {
    for (int peer = 0; peer < layout_.world_size; ++peer)
      if (peer != layout_.rank) state(peer).bell.ring();
  }

  Common& common() const { return *reinterpret_cast<Common*>(segment_.data()); }
  RankState* ranks() const { return reinterpret_cast<RankState*>(segment_.data() + kCommonBytes); }
  RankState& state(int rank) const { return ranks()[rank]; }
  /// The slot of `rank` in this round.
  SlotHead* head_of(int rank) const {
    const int64_t stride = static_cast<int64_t>(sizeof(SlotHead)) + layout_.slot_bytes;
    std::byte* slots = reinterpret_cast<std::byte*>(ranks() + layout_.world_size);
    return reinterpret_cast<SlotHead*>(slots + (2 * rank + static_cast<int>(round_ % 2)) * stride);
  }
  std::byte* data_of(int rank) const { return reinterpret_cast<std::byte*>(head_of(rank) + 1); }

  SharedSegment segment_;
  std::shared_ptr<Transport> beneath_;
  const std::string name_;
  const RoundsLayout layout_;
  const std::chrono::microseconds watch_;
  std::deque<std::shared_ptr<Operation>> queue_;  // not complete, in the order of their start
  int64_t last_number_ = 0;
  uint64_t round_ = 0;      // over all operations; the same one on all ranks at the same point
  bool deposited_ = false;  // in this round
  std::vector<const std::byte*> slots_;  // [rank]
  std::vector<int> missing_;
};

/// Rows of text over a transport that is bare of everything but collectives.
std::vector<std::string> exchange_texts(Transport& exchange, int world_size,
                                        const std::string& text, Deadline deadline) {
  constexpr int64_t kRowBytes = 128;
  LD_CHECK(static_cast<int64_t>(text.size()) < kRowBytes, "a ticket is short");
  at::Tensor row = at::zeros({kRowBytes}, at::kByte);
  std::memcpy(row.data_ptr(), text.data(), text.size());
  at::Tensor rows = at::empty({world_size, kRowBytes}, at::kByte);
  if (!exchange.all_gather(rows, row, deadline)->wait_until(deadline))
    throw TransportError("not all ranks came to share memory");
  std::vector<std::string> texts;
  for (int rank = 0; rank < world_size; ++rank)
    texts.emplace_back(reinterpret_cast<const char*>(rows[rank].const_data_ptr<uint8_t>()));
  return texts;
}

}  // namespace

size_t shared_memory_bytes(int world_size) {
  const auto num_ranks = static_cast<size_t>(world_size);
  const size_t slot = sizeof(SlotHead) + static_cast<size_t>(slot_bytes_for(world_size));
  return kCommonBytes + num_ranks * (sizeof(RankState) + 2 * slot);
}

std::unique_ptr<Transport> make_shared_memory_transport(SharedSegment segment,
                                                        std::shared_ptr<Transport> beneath,
                                                        int rank, int world_size) {
  LD_CHECK(segment.size() == shared_memory_bytes(world_size), "a segment for another world size");
  return std::make_unique<SharedMemoryTransport>(std::move(segment), std::move(beneath), rank,
                                                 world_size);
}

std::optional<std::unique_ptr<Transport>> share_memory(Transport& exchange,
                                                       std::shared_ptr<Transport> beneath, int rank,
                                                       const std::vector<int64_t>& colours,
                                                       Deadline deadline) {
  const int num_ranks = static_cast<int>(colours.size());
  const std::vector<int> members = ranks_of_colour(colours, rank);
  const int size = static_cast<int>(members.size());
  std::optional<SharedSegment> segment;
  // A rank that fails goes on to the end all the same, so that all of them learn of it.
  const auto attempt = [&](const auto& make) {
    try {
      segment.emplace(make());
    } catch (const TransportError&) {
    }
  };
  const bool makes_it = size > 1 && rank == members.front();
  if (makes_it) attempt([&] { return SharedSegment::create(shared_memory_bytes(size)); });
  const std::vector<std::string> tickets =
      exchange_texts(exchange, num_ranks, segment ? segment->ticket() : "", deadline);
  if (size > 1 && !makes_it) attempt([&] { return SharedSegment::open(tickets[members.front()]); });
  const bool good = size == 1 || segment;
  const std::vector<std::string> answers =
      exchange_texts(exchange, num_ranks, good ? "good" : "bad", deadline);
  if (std::count(answers.begin(), answers.end(), "good") != num_ranks) return std::nullopt;
  if (size == 1) return std::unique_ptr<Transport>();
  segment->close_door();
  const auto place = std::find(members.begin(), members.end(), rank) - members.begin();
  return make_shared_memory_transport(std::move(*segment), std::move(beneath),
                                      static_cast<int>(place), size);
}

}  // namespace lora_dist
