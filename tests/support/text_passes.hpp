// Passes of one micro-batch of texts, as a training or an evaluation runs them.
#pragma once

#include "core/tasks/text_batch.hpp"
#include "core/tasks/text_generation.hpp"

namespace lora_dist {

/// The sum of the losses; gradients are added to the adapters' buffers.
inline double forward_backward(Decoder& model, const TextBatch& batch,
                               const PassContext& pass = {}) {
  return make_text_generation_task(model)->forward_backward(to_batch(batch, 0, 0), pass, {});
}

/// The same sum, nothing drawn.
inline double loss_of(Decoder& model, const TextBatch& batch) {
  return make_text_generation_task(model)->loss(to_batch(batch, 0, 0), {});
}

}  // namespace lora_dist
