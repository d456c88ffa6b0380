// The Communicator that all backends share: a Transport, with every operation checked, numbered,
// named, timed and counted, and every failure told in one form.
//
// Bytes are counted as a ring would send them, whatever algorithm the library picks, so that they
// can be planned and compared between backends: rank r sends to rank r+1, which is on the same host
// or on another. With n bytes and W ranks a rank sends 2 (W-1)/W n for all_reduce, (W-1) rows for
// all_gather, n for broadcast (the rank before the root: nothing); all_to_all sends each row to its
// own rank. A world of one sends nothing and never calls the transport.
//
// After a failure the communicator stays failed: every later operation repeats the first cause.
#pragma once

#include "core/communicator.hpp"
#include "dist/backends/backend.hpp"
#include "dist/backends/transport.hpp"

namespace lora_dist {

class CheckedCommunicator final : public Communicator {
 public:
  /// Ranks   collective: learns every rank's host name.
  CheckedCommunicator(std::unique_ptr<Transport> transport, const BackendOptions& options);

  const WorldInfo& world() const override { return world_; }
  std::string_view backend() const override { return transport_->name(); }
  Work broadcast(at::Tensor tensor, int root, CollectiveOptions options) override;
  Work all_reduce(at::Tensor tensor, CollectiveOptions options) override;
  Work all_gather(at::Tensor output, at::Tensor input, CollectiveOptions options) override;
  Work all_to_all(at::Tensor output, at::Tensor input, CollectiveOptions options) override;
  void barrier(CollectiveOptions options) override;
  void abort(const std::string& reason) override;
  TrafficCounters traffic() const override { return traffic_; }

 private:
  struct Operation;
  class State;
  using Start = std::function<std::unique_ptr<Pending>(Deadline)>;

  Operation describe(const char* kind, const at::Tensor& tensor, const CollectiveOptions& options);
  Work start(Operation operation, const Start& start);
  void finish(const Operation& operation, Pending& pending);
  [[noreturn]] void fail(const Operation& operation, const std::string& found,
                         const std::string& cause);
  void require_usable(const Operation& operation);
  std::string name_ranks(const std::vector<int>& ranks) const;
  void count_sent(int to, int64_t bytes);
  int next_rank() const { return (rank() + 1) % world_size(); }

  std::unique_ptr<Transport> transport_;
  WorldInfo world_;
  double timeout_s_;
  std::vector<std::string> hosts_;  // [rank]
  TrafficCounters traffic_;
  int64_t last_complete_ = 0;
  std::string failure_;  // the first cause; empty while all is well
};

}  // namespace lora_dist
