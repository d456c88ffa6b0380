// The parts of the flat buffer by the rate at which they learn.
#pragma once

#include <utility>
#include <vector>

#include "core/training/trainable_params.hpp"

namespace lora_dist {

/// All that learns at one rate.
struct RateShare {
  double factor = 1;                                // of the learning rate
  std::vector<std::pair<int64_t, int64_t>> ranges;  // [first, end)

  /// Views of these elements of a flat tensor (P).
  std::vector<at::Tensor> parts_of(const at::Tensor& flat_P) const;
};

/// One share for each factor, in the order in which they come. Without groups all P elements learn
/// at the learning rate itself.
std::vector<RateShare> shares_by_rate(const std::vector<ParameterGroup>& groups,
                                      int64_t num_elements);

}  // namespace lora_dist
