#include "tests/support/lone_rank.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

int64_t sum_of(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

}  // namespace

LoneRank::LoneRank(int rank, std::vector<std::string> hosts, Groups groups)
    : hosts_(std::move(hosts)),
      groups_(std::move(groups)),
      counters_{std::make_shared<TrafficCounters>()} {
  world_.rank = rank;
  world_.world_size = static_cast<int>(hosts_.size());
  world_.host = hosts_.at(rank);
  world_.local_rank =
      static_cast<int>(std::count(hosts_.begin(), hosts_.begin() + rank, world_.host));
  world_.local_world_size = static_cast<int>(std::count(hosts_.begin(), hosts_.end(), world_.host));
}

Work LoneRank::broadcast(at::Tensor tensor, int root, CollectiveOptions) {
  count_call();
  if (next_rank() != root) count_sent(next_rank(), static_cast<int64_t>(tensor.nbytes()));
  return {};
}

Work LoneRank::all_reduce(at::Tensor tensor, CollectiveOptions) {
  count_call();
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  count_sent(next_rank(), 2 * (world_size() - 1) * bytes / world_size());
  tensor.mul_(world_size());
  return {};
}

Work LoneRank::all_gather(at::Tensor output, at::Tensor input, CollectiveOptions) {
  count_call();
  LD_CHECK(output.numel() == world_size() * input.numel(), "an output row for every rank");
  count_sent(next_rank(), (world_size() - 1) * static_cast<int64_t>(input.nbytes()));
  output.view({world_size(), -1}).copy_(input.view({1, -1}).expand({world_size(), -1}));
  return {};
}

Work LoneRank::all_to_all(at::Tensor output, at::Tensor input, RowCounts rows, CollectiveOptions) {
  count_call();
  LD_CHECK(sum_of(rows.input) == input.size(0) && sum_of(rows.output) == output.size(0) &&
               rows.input.size() == hosts_.size() && rows.output.size() == hosts_.size(),
           "row counts are of all ranks and all rows");
  const int64_t row_bytes =
      input.size(0) == 0 ? 0 : static_cast<int64_t>(input.nbytes()) / input.size(0);
  for (int to = 0; to < world_size(); ++to) count_sent(to, rows.input[to] * row_bytes);
  output.zero_();
  const auto first_of_own = [&](const std::vector<int64_t>& counts) {
    return std::accumulate(counts.begin(), counts.begin() + rank(), int64_t{0});
  };
  output.narrow(0, first_of_own(rows.output), rows.output[rank()])
      .copy_(input.narrow(0, first_of_own(rows.input), rows.input[rank()]));
  return {};
}

void LoneRank::barrier(CollectiveOptions) { count_call(); }

std::unique_ptr<Communicator> LoneRank::split(int64_t, CollectiveOptions options) {
  LD_CHECK(groups_ != nullptr, "a group of a lone rank is not split again");
  count_call();
  count_sent(next_rank(), (world_size() - 1) * static_cast<int64_t>(sizeof(int64_t)));
  const std::vector<int> members = groups_(options.name);
  const auto own = std::find(members.begin(), members.end(), rank());
  LD_CHECK(own != members.end(), "a rank is in its own group");
  std::vector<std::string> hosts;
  for (const int member : members) hosts.push_back(hosts_.at(member));
  auto group = std::make_unique<LoneRank>(static_cast<int>(own - members.begin()), std::move(hosts),
                                          nullptr);
  group->counters_.insert(group->counters_.end(), counters_.begin(), counters_.end());
  return group;
}

void LoneRank::count_call() {
  for (const std::shared_ptr<TrafficCounters>& counters : counters_) ++counters->collectives;
}

void LoneRank::count_sent(int to, int64_t bytes) {
  if (to == rank()) return;
  for (const std::shared_ptr<TrafficCounters>& counters : counters_)
    (hosts_[to] == world_.host ? counters->bytes_same_host : counters->bytes_other_host) += bytes;
}

}  // namespace lora_dist
