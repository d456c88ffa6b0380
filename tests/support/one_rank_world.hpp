// The world of one rank: every collective gives back what went in.
#pragma once

#include <string>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

class OneRankWorld : public Communicator {
 public:
  const WorldInfo& world() const override { return world_; }
  std::string_view backend() const override { return "one rank"; }
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
  TrafficCounters traffic() const override { return {.collectives = collectives_}; }

 private:
  WorldInfo world_;
  std::vector<std::string> hosts_ = {world_.host};
  int64_t collectives_ = 0;
};

}  // namespace lora_dist
