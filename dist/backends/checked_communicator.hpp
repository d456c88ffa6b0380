// The Communicator that all backends share: a Transport, with every operation checked, numbered,
// named, timed and counted, and every failure told in one form.
//
// Bytes are counted as a ring would send them, whatever algorithm the library picks, so that they
// can be planned and compared between backends: rank r sends to rank r+1, which is on the same host
// or on another. With n bytes and W ranks a rank sends 2 (W-1)/W n for all_reduce, (W-1) rows for
// all_gather, n for broadcast (the rank before the root: nothing); all_to_all sends each row to its
// own rank; split asks for every rank's colour and counts that alone. A world of one sends nothing
// and never calls the transport.
//
// Where ranks are processes of one host, their transport gives way to shared memory, for the whole
// world or for a part that was split off.
//
// After a failure the communicator stays failed: every later operation repeats the first cause. It
// shares that with its family, the communicators that were split from it or that it was split from.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/sockets/communicator.hpp"
#include "dist/backends/backend.hpp"
#include "dist/backends/transport.hpp"

namespace lora_dist {

class CheckedCommunicator final : public Communicator {
 public:
  /// Ranks   collective: learns every rank's host name, and shares memory where that is one host.
  CheckedCommunicator(std::unique_ptr<Transport> transport, const BackendOptions& options);

  const WorldInfo& world() const override { return world_; }
  std::string_view backend() const override { return backend_; }
  const std::vector<std::string>& hosts() const override { return hosts_; }
  Work broadcast(at::Tensor tensor, int root, CollectiveOptions options) override;
  Work all_reduce(at::Tensor tensor, CollectiveOptions options) override;
  Work all_gather(at::Tensor output, at::Tensor input, CollectiveOptions options) override;
  using Communicator::all_to_all;
  Work all_to_all(at::Tensor output, at::Tensor input, RowCounts rows,
                  CollectiveOptions options) override;
  void barrier(CollectiveOptions options) override;
  std::unique_ptr<Communicator> split(int64_t colour, CollectiveOptions options) override;
  void abort(const std::string& reason) override;
  TrafficCounters traffic() const override;

 private:
  struct Family;
  class Stopwatch;
  struct Operation;
  class State;
  using Start = std::function<std::unique_ptr<Pending>(Deadline)>;

  /// The part of `parent` that `members` name, ranks of the parent. `transport` may be null for
  /// one.
  CheckedCommunicator(const CheckedCommunicator& parent, const std::vector<int>& members,
                      std::shared_ptr<Transport> transport, std::string_view group);

  bool may_share_memory(const std::vector<int64_t>& colours) const;
  std::shared_ptr<Transport> split_transport(const std::vector<int64_t>& colours,
                                             Deadline deadline);
  Operation describe(const char* kind, const at::Tensor& tensor, const CollectiveOptions& options);
  Work start(Operation operation, const Start& start);
  void finish(const Operation& operation, Pending& pending);
  [[noreturn]] void fail(const Operation& operation, const std::string& found,
                         const std::string& cause);
  [[noreturn]] void fail(const Operation& operation, const TransportError& error);
  void require_usable(const Operation& operation);
  std::string name_ranks(const std::vector<int>& ranks) const;
  void count(const std::function<void(TrafficCounters&)>& add);
  void count_sent(int to, int64_t bytes);
  int next_rank() const { return (rank() + 1) % world_size(); }

  std::shared_ptr<Transport> transport_;
  bool shared_memory_wanted_;
  std::string backend_;
  WorldInfo world_;
  double timeout_s_;
  std::vector<std::string> hosts_;  // [rank]
  std::shared_ptr<Family> family_;
  std::vector<int> names_;  // [rank] its rank in the run, which messages name
  int num_ranks_of_run_;
  std::string group_;  // "host" for a part of the run; empty for the whole
  std::vector<std::shared_ptr<TrafficCounters>> traffic_;  // own, then those it was split from
  int64_t last_number_ = 0, last_complete_ = 0;
};

}  // namespace lora_dist
