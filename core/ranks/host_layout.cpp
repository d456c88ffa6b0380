#include "core/ranks/host_layout.hpp"

namespace lora_dist {

HostLayout HostLayout::of(const std::vector<std::string>& hosts) {
  HostLayout layout;
  std::map<std::string, int> numbers;
  for (const std::string& host : hosts)
    layout.host_of.push_back(numbers.emplace(host, static_cast<int>(numbers.size())).first->second);
  layout.num_hosts = static_cast<int>(numbers.size());
  return layout;
}

HostLayout HostLayout::in_blocks(int world_size, int num_hosts) {
  HostLayout layout;
  layout.num_hosts = num_hosts;
  const int per_host = (world_size + num_hosts - 1) / num_hosts;
  for (int rank = 0; rank < world_size; ++rank) layout.host_of.push_back(rank / per_host);
  return layout;
}

int HostLayout::ranks_per_host() const {
  const int world_size = static_cast<int>(host_of.size());
  if (world_size % num_hosts != 0) return 0;
  const int per_host = world_size / num_hosts;
  for (int rank = 0; rank < world_size; ++rank)
    if (host_of[rank] != rank / per_host) return 0;
  return per_host;
}

}  // namespace lora_dist
