// Socket: bytes between ranks. Plugged by dist/backends.
//
// Every operation is a collective: all ranks call it, in the same order, with the same shape and
// dtype. Tensors are contiguous and live on the host or on this rank's GPU; an operation comes
// after what its thread has queued there, and what the thread queues after wait() sees the result.
// Operations are numbered, carry a limit, and a failure names the operation, its number and the
// peer. Operations of one communicator come from one thread.
//
// An operation may need every rank in a wait() of the same communicator before it moves on. So
// where several communicators are in use at once, all ranks wait for their operations in one order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/ranks/world.hpp"

namespace lora_dist {

/// A collective under way. Until wait() returns the caller keeps its tensors alive and does not
/// touch them.
class [[nodiscard]] Work {
 public:
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;
  };
  Work() = default;  // already complete
  explicit Work(std::unique_ptr<State> state) : state_(std::move(state)) {}
  /// Errors  CommError: limit passed or peer lost.
  void wait() {
    if (state_) state_->wait();
    state_.reset();
  }

 private:
  std::unique_ptr<State> state_;
};

struct CollectiveOptions {
  std::string_view name = {};  // what travels, for messages: "adapter gradient"
  double timeout_s = 0;        // 0: the communicator's own limit
};

/// How many rows of an all_to_all go to each rank and come from it.
struct RowCounts {
  std::vector<int64_t> output;  // [from]
  std::vector<int64_t> input;   // [to]
};

/// What this rank sent since the communicator was made, through it and through those split from it.
struct TrafficCounters {
  int64_t collectives = 0;
  int64_t bytes_same_host = 0;
  int64_t bytes_other_host = 0;
  double seconds = 0;  // spent inside collectives
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual const WorldInfo& world() const = 0;
  virtual std::string_view backend() const = 0;
  int rank() const { return world().rank; }
  int world_size() const { return world().world_size; }
  /// The host of every rank, in rank order.
  virtual const std::vector<std::string>& hosts() const = 0;

  /// `tensor` of rank `root` replaces everyone's.
  virtual Work broadcast(at::Tensor tensor, int root, CollectiveOptions options = {}) = 0;
  /// Sums `tensor` over all ranks, in place, in the backend's own order.
  virtual Work all_reduce(at::Tensor tensor, CollectiveOptions options = {}) = 0;
  /// `output` (world_size, ...input shape) receives every rank's `input` in rank order.
  virtual Work all_gather(at::Tensor output, at::Tensor input, CollectiveOptions options = {}) = 0;
  /// The first rows.input[0] rows of `input` go to rank 0, the next rows.input[1] to rank 1, and so
  /// on; `output` is filled in the same way with rows.output[j] rows from rank j. All rows of all
  /// ranks have one size and dtype; what i sends to j is what j expects from i.
  virtual Work all_to_all(at::Tensor output, at::Tensor input, RowCounts rows,
                          CollectiveOptions options = {}) = 0;
  /// Row j of `input` (world_size, ...) goes to rank j; row j of `output` comes from rank j.
  Work all_to_all(at::Tensor output, at::Tensor input, CollectiveOptions options = {}) {
    const std::vector<int64_t> one_each(world_size(), 1);
    return all_to_all(std::move(output), std::move(input), RowCounts{one_each, one_each}, options);
  }
  virtual void barrier(CollectiveOptions options = {}) = 0;

  /// A communicator of the ranks that give the same `colour`, in the order of their ranks here; its
  /// errors still name ranks as this one does. options.name says what the group is: "host". The new
  /// one may outlive this one. Whichever of the two fails first, the other fails too.
  ///
  /// Ranks   collective: every rank of this communicator, whatever its colour.
  virtual std::unique_ptr<Communicator> split(int64_t colour, CollectiveOptions options = {}) = 0;

  /// Makes every pending and later operation of all ranks fail soon, here and in whatever was split
  /// off; never blocks.
  virtual void abort(const std::string& reason) = 0;

  virtual TrafficCounters traffic() const = 0;
};

/// `text` of rank `root` on every rank; any length.
std::string broadcast_text(Communicator& world, std::string text, int root);
/// Every rank's text, in rank order.
std::vector<std::string> all_gather_text(Communicator& world, const std::string& text);

}  // namespace lora_dist
