#include "core/sockets/communicator.hpp"

#include <algorithm>
#include <cstring>

namespace lora_dist {

std::string broadcast_text(Communicator& world, std::string text, int root) {
  at::Tensor size = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  world.broadcast(size, root, {.name = "text size"}).wait();
  text.resize(size.item<int64_t>());
  at::Tensor bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  world.broadcast(bytes, root, {.name = "text"}).wait();
  std::memcpy(text.data(), bytes.data_ptr(), text.size());
  return text;
}

std::vector<std::string> all_gather_text(Communicator& world, const std::string& text) {
  const int64_t world_size = world.world_size();
  at::Tensor sizes = at::empty({world_size, 1}, at::kLong);
  world
      .all_gather(sizes, at::full({1}, static_cast<int64_t>(text.size()), at::kLong),
                  {.name = "text sizes"})
      .wait();
  // Rows are equally long on the wire; each text is cut back to its own size.
  at::Tensor row = at::zeros({sizes.max().item<int64_t>()}, at::kByte);
  std::memcpy(row.data_ptr(), text.data(), text.size());
  at::Tensor rows = at::empty({world_size, row.size(0)}, at::kByte);
  world.all_gather(rows, row, {.name = "texts"}).wait();
  std::vector<std::string> texts;
  for (int64_t rank = 0; rank < world_size; ++rank) {
    texts.emplace_back(
        reinterpret_cast<const char*>(rows.const_data_ptr<uint8_t>()) + rank * row.size(0),
        sizes[rank][0].item<int64_t>());
  }
  return texts;
}

}  // namespace lora_dist
