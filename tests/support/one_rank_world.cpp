#include "tests/support/one_rank_world.hpp"

namespace lora_dist {

Work OneRankWorld::broadcast(at::Tensor, int, CollectiveOptions) {
  ++collectives_;
  return Work();
}

Work OneRankWorld::all_reduce(at::Tensor, CollectiveOptions) {
  ++collectives_;
  return Work();
}

Work OneRankWorld::all_gather(at::Tensor output, at::Tensor input, CollectiveOptions) {
  ++collectives_;
  output.view_as(input.unsqueeze(0)).copy_(input.unsqueeze(0));
  return Work();
}

Work OneRankWorld::all_to_all(at::Tensor output, at::Tensor input, RowCounts, CollectiveOptions) {
  ++collectives_;
  output.copy_(input);
  return Work();
}

void OneRankWorld::barrier(CollectiveOptions) { ++collectives_; }

std::unique_ptr<Communicator> OneRankWorld::split(int64_t, CollectiveOptions) {
  return std::make_unique<OneRankWorld>();
}

void OneRankWorld::abort(const std::string&) {}

}  // namespace lora_dist
