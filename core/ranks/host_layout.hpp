// Which ranks share a host.
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

struct HostLayout {
  std::vector<int> host_of;  // [rank]; hosts are numbered in the order of their first rank
  int num_hosts = 1;

  /// `hosts` is the host name of every rank.
  static HostLayout of(const std::vector<std::string>& hosts);
  /// As launchers fill hosts: ranks in order, each host as many as the others where that goes.
  static HostLayout in_blocks(int world_size, int num_hosts);

  /// The ranks of each host, where all have as many and a host's ranks follow one another; else 0.
  int ranks_per_host() const;
};

}  // namespace lora_dist
