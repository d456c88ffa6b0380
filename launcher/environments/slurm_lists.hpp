// Slurm's short forms of lists.
#pragma once

#include <optional>
#include <string>

namespace lora_dist {

/// The first host of "gpu[03-05,9],login1": gpu03. What `scontrol show hostnames` would print
/// first.
std::string first_host(const std::string& node_list);

/// Tasks on the host with this index, out of "4(x2),3" (4, 4, 3). Nothing where the list is shorter
/// or of another form.
std::optional<int> tasks_on_host(const std::string& tasks_per_node, int host);

}  // namespace lora_dist
