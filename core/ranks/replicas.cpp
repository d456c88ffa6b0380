#include "core/ranks/replicas.hpp"

#include "core/base/error.hpp"
#include "core/base/sha256.hpp"
#include "core/ranks/odd_rank.hpp"

namespace lora_dist {
namespace {

constexpr size_t kHexDigits = 64;

/// Moments come as flat as the parameters; they are told apart by the tensors they belong to.
NamedTensors state_of_replica(const TrainableParams& params, const Optimizer& optimizer) {
  NamedTensors tensors = params.named_tensors();
  for (const auto& [name, tensor] : optimizer.state()) {
    if (tensor.numel() != params.num_elements()) {
      tensors.emplace_back(name, tensor);
      continue;
    }
    for (const TrainableParams::Entry& entry : params.entries())
      tensors.emplace_back(fmt::format("{} of {}", name, entry.name()),
                           tensor.flatten().narrow(0, entry.offset, entry.num_elements));
  }
  return tensors;
}

/// The digests of all tensors, one behind the other.
std::string digests_of(const NamedTensors& tensors) {
  std::string digests;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor bytes = tensor.contiguous();
    Sha256 hash;
    hash.update(bytes.const_data_ptr(), bytes.nbytes());
    digests += hash.hex();
  }
  return digests;
}

}  // namespace

void require_equal_replicas(Communicator& world, const TrainableParams& params,
                            const Optimizer& optimizer, int64_t step) {
  if (world.world_size() == 1) return;
  const NamedTensors tensors = state_of_replica(params, optimizer);
  const std::string digests = digests_of(tensors);
  const auto odd = find_odd_rank(all_gather_text(world, sha256_hex(digests)));
  if (!odd) return;
  const std::vector<std::string> all = all_gather_text(world, digests);
  const auto digest = [&](int rank, size_t index) {
    return std::string_view(all[rank]).substr(index * kHexDigits, kHexDigits);
  };
  size_t first = 0;
  while (first + 1 < tensors.size() && digest(odd->rank, first) == digest(odd->reference, first))
    ++first;
  throw NumericsError(
      {.where = fmt::format("[rank {}/{} {} step {}]", odd->rank, world.world_size(),
                            world.hosts()[odd->rank], step),
       .found = fmt::format("'{}' differs from rank {}'s", tensors[first].first, odd->reference),
       .expected = "the same bits on all ranks",
       .fix = "resume from the last checkpoint; if it comes again, test that host's memory"});
}

}  // namespace lora_dist
