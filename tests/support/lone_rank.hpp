// One rank of many, without the others: a dry run at any world size in one process.
//
// Every collective is answered at once as if all ranks had given what this one gives, and its bytes
// are counted as communicators count (dist/backends/checked_communicator.hpp), written here once
// more so that the two can be compared. Rows of an all_to_all from other ranks are zeros. So
// shapes, bytes and the order of the calls are those of a real run, and numbers are not.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

class LoneRank final : public Communicator {
 public:
  /// The ranks of this rank's group, ascending, in a split of this name: what the peers' colours
  /// would say.
  using Groups = std::function<std::vector<int>(std::string_view name)>;

  /// `hosts` is [rank].
  LoneRank(int rank, std::vector<std::string> hosts, Groups groups);

  const WorldInfo& world() const override { return world_; }
  std::string_view backend() const override { return "lone rank"; }
  const std::vector<std::string>& hosts() const override { return hosts_; }
  Work broadcast(at::Tensor tensor, int root, CollectiveOptions options) override;
  Work all_reduce(at::Tensor tensor, CollectiveOptions options) override;
  Work all_gather(at::Tensor output, at::Tensor input, CollectiveOptions options) override;
  using Communicator::all_to_all;
  Work all_to_all(at::Tensor output, at::Tensor input, RowCounts rows,
                  CollectiveOptions options) override;
  void barrier(CollectiveOptions options) override;
  std::unique_ptr<Communicator> split(int64_t colour, CollectiveOptions options) override;
  void abort(const std::string&) override {}
  TrafficCounters traffic() const override { return *counters_.front(); }

 private:
  void count_call();
  void count_sent(int to, int64_t bytes);
  int next_rank() const { return (rank() + 1) % world_size(); }

  WorldInfo world_;
  std::vector<std::string> hosts_;
  Groups groups_;  // empty in a group: groups are not split again
  std::vector<std::shared_ptr<TrafficCounters>> counters_;  // own, then that of the world
};

}  // namespace lora_dist
