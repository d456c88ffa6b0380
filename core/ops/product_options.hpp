// What a product y (+)= scale * x b does beside multiplying.
#pragma once

#include "core/ops/dropout.hpp"

namespace lora_dist::ops {

struct ProductOptions {
  double scale = 1;
  bool accumulate = false;             // y is added to
  const Dropout* of_input = nullptr;   // applied to x as it is read
  const Dropout* of_result = nullptr;  // applied to x b before it is added or stored
};

}  // namespace lora_dist::ops
