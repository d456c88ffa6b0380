#include "core/samples/tokens.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

template <class Number>
at::Tensor tensor_of(const std::vector<Number>& numbers, at::ScalarType dtype) {
  at::Tensor tensor = at::empty({std::ssize(numbers)}, dtype);
  if (!numbers.empty())
    std::memcpy(tensor.mutable_data_ptr(), numbers.data(), numbers.size() * sizeof(Number));
  return tensor;
}

}  // namespace

int64_t count_labels(std::span<const uint8_t> loss_mask) {
  if (loss_mask.empty()) return 0;
  return std::count_if(loss_mask.begin() + 1, loss_mask.end(),
                       [](uint8_t learnt) { return learnt != 0; });
}

Sample to_sample(const Tokens& tokens) {
  LD_CHECK(tokens.ids.size() == tokens.loss_mask.size(), "one mask entry per token");
  return {{tensor_of(tokens.ids, at::kInt), tensor_of(tokens.loss_mask, at::kByte)}};
}

Tokens tokens_of(const Sample& sample) {
  LD_CHECK(sample.values.size() == 2, "a sample of text");
  const auto* ids = sample.values[0].const_data_ptr<TokenId>();
  const auto* mask = sample.values[1].const_data_ptr<uint8_t>();
  return {{ids, ids + sample.values[0].numel()}, {mask, mask + sample.values[1].numel()}};
}

}  // namespace lora_dist
