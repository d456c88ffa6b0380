#include "launcher/run/require_fit.hpp"

#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/units.hpp"
#include "core/ranks/all_ranks.hpp"
#include "launcher/run/memory.hpp"

namespace lora_dist {

Fit require_fit(FitRequest request, at::Device device, Communicator& world) {
  std::vector<int64_t> available;  // [rank]
  for (const std::string& bytes : on_all_ranks(world, [&] {
         return std::to_string(available_memory_bytes(device, world.world().local_world_size));
       }))
    available.push_back(std::stoll(bytes));
  const auto least = std::min_element(available.begin(), available.end());
  request.available_bytes = *least;
  const bool several_hosts = request.plan.ranks.num_hosts > 1;
  const std::string host = several_hosts ? world.hosts()[least - available.begin()] : "";
  Fit fit;
  on_all_ranks(world, [&] {
    fit = find_fit(request);
    if (!fit.fits) throw MemoryError(memory_fault(request, fit, host));
    return std::string();
  });
  if (!fit.keeps_base && world.rank() == 0)
    log_warning(fmt::format(
        "memory: the mapped base ({}) does not stay in memory beside the {} that each rank needs; "
        "parts of it are read again in every step",
        gib_text(fit.plan.mapped_bytes), gib_text(fit.plan.held_bytes())));
  return fit;
}

}  // namespace lora_dist
