// A micro-batch of texts between the trainer, to which it is columns, and a language model.
#pragma once

#include "core/models/decoder/text_batch.hpp"
#include "core/training/batch.hpp"

namespace lora_dist {

/// The columns of `batch` under these names; tensors are shared.
TextBatch text_batch_of(const Batch& batch);
/// The other way, with the counts of its samples.
Batch to_batch(const TextBatch& text, int64_t loss_terms, int64_t cost);

}  // namespace lora_dist
