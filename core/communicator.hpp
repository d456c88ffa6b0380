// Socket: bytes between ranks. Plugged by dist/backends.
//
// Every operation is a collective: all ranks call it, in the same order, with the same shape and
// dtype. Tensors are contiguous and live on the host unless the backend says otherwise. Operations
// are numbered, carry a limit, and a failure names the operation, its number and the peer.
// Operations of one communicator come from one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/world.hpp"

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

/// Bytes this rank sent since it was made, by link class.
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

  /// `tensor` of rank `root` replaces everyone's.
  virtual Work broadcast(at::Tensor tensor, int root, CollectiveOptions options = {}) = 0;
  /// Sums `tensor` over all ranks, in place, in the backend's own order.
  virtual Work all_reduce(at::Tensor tensor, CollectiveOptions options = {}) = 0;
  /// `output` (world_size, ...input shape) receives every rank's `input` in rank order.
  virtual Work all_gather(at::Tensor output, at::Tensor input, CollectiveOptions options = {}) = 0;
  /// Row j of `input` (world_size, ...) goes to rank j; row j of `output` comes from rank j.
  virtual Work all_to_all(at::Tensor output, at::Tensor input, CollectiveOptions options = {}) = 0;
  virtual void barrier(CollectiveOptions options = {}) = 0;

  /// Makes every pending and later operation of all ranks fail soon; never blocks.
  virtual void abort(const std::string& reason) = 0;

  virtual TrafficCounters traffic() const = 0;
};

/// `text` of rank `root` on every rank; any length.
std::string broadcast_text(Communicator& world, std::string text, int root);
/// Every rank's text, in rank order.
std::vector<std::string> all_gather_text(Communicator& world, const std::string& text);

}  // namespace lora_dist
