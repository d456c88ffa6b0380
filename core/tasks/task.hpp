// Socket: what a sample is and what its loss is. The trainer does not know whether it trains on
// text or pictures.
#pragma once

#include "core/training/batch.hpp"
#include "core/training/pass.hpp"

namespace lora_dist {

class Task {
 public:
  virtual ~Task() = default;
  /// Sum of the losses of the labels of a slot (fp64); its gradient is added to the adapter's
  /// buffers. Calls `progress`, if any, as often as the backward pass has something final to tell,
  /// with the same numbers on every rank.
  virtual double forward_backward(const Batch& batch, const PassContext& pass,
                                  const GradientProgress& progress) = 0;
  /// The same sum without a gradient. With `pass.training` false nothing is drawn that training
  /// alone draws; what an evaluation draws is a function of its seed, step and slot.
  virtual double loss(const Batch& batch, const PassContext& pass) = 0;
  /// Stands in for forward_backward() (if `with_gradients`) or loss() on a rank that has no slot
  /// left in a round: where ranks share a sharded base, its weights reach the others only with this
  /// rank's part (core/sockets/weight_source.hpp), and so do the sums that begin during a backward
  /// pass. Computes nothing, and calls `progress` as forward_backward() does.
  virtual void accompany(bool with_gradients, const GradientProgress& progress) {
    (void)with_gradients, (void)progress;
  }
};

}  // namespace lora_dist
