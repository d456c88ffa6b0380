// A sample of text: token ids, and which of them are learnt.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/samples/sample.hpp"

namespace lora_dist {

using TokenId = int32_t;

/// loss_mask[i] is 1 where token i is to be predicted by the position before it.
struct Tokens {
  std::vector<TokenId> ids;
  std::vector<uint8_t> loss_mask;
};

/// Labels of a sample once shifted: the first token is never predicted.
int64_t count_labels(std::span<const uint8_t> loss_mask);

/// As the columns `tokens` and `loss_mask` of text generation, and back.
Sample to_sample(const Tokens& tokens);
Tokens tokens_of(const Sample& sample);

}  // namespace lora_dist
