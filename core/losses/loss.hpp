// Socket: what rows of logits cost. A task chooses the loss and the weight of each row.
//
// Shapes: C rows of a chunk, V classes.
#pragma once

#include <functional>
#include <memory>

#include "core/base/registry.hpp"

namespace lora_dist {

/// Which class each row of logits should name, on the device of the logits.
struct RowTargets {
  at::Tensor labels_C;        // int64
  at::Tensor weights_C = {};  // fp32: the row's share of the sum; undefined: 1 each

  RowTargets narrow(int64_t first, int64_t count) const {
    return {labels_C.narrow(0, first, count),
            weights_C.defined() ? weights_C.narrow(0, first, count) : at::Tensor()};
  }
};

class Loss {
 public:
  virtual ~Loss() = default;
  /// The loss of each row (C), fp64, before its weight. With `gradient`, logits_CV becomes the
  /// gradient of the weighted sum of them. softcap > 0: logits are first
  /// softcap * tanh(logits / softcap).
  virtual at::Tensor of_rows(at::Tensor logits_CV, const RowTargets& targets, double softcap,
                             bool gradient) const = 0;
  /// What it takes beside logits of so many bytes.
  virtual int64_t temporary_bytes(int64_t logits_bytes) const {
    (void)logits_bytes;
    return 0;
  }
};

using LossFactory = std::function<std::unique_ptr<Loss>()>;
const Registry<LossFactory>& losses();

}  // namespace lora_dist
