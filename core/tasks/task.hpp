// Socket: what a sample is and what its loss is. The trainer does not know whether it trains on
// text or pictures.
#pragma once

#include "core/batch.hpp"
#include "core/models/linear.hpp"

namespace lora_dist {

class Task {
 public:
  virtual ~Task() = default;
  /// Sum of the losses of the labels of a slot (fp64); its gradient is added to the adapter's
  /// buffers.
  virtual double forward_backward(const Batch& batch, const PassContext& pass) = 0;
  /// The same sum, nothing drawn, no gradient.
  virtual double loss(const Batch& batch) = 0;
  /// Stands in for forward_backward() (if `with_gradients`) or loss() on a rank that has no slot
  /// left in a round: where ranks share a sharded base, its weights reach the others only with this
  /// rank's part (core/weight_source.hpp). Computes nothing.
  virtual void accompany(bool with_gradients) { (void)with_gradients; }
};

}  // namespace lora_dist
