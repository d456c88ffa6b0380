// The head of a base whose config ties it to the embedding, as its files have it.
#pragma once

#include "core/models/decoder/decoder_spec.hpp"
#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Settles embedding and head of `spec` by what `weights` hold, as transformers 5 does. Where
/// config.json ties them: one tensor alone, under either name, is both; two with the same values
/// are one; two that differ are used as they are, with a warning. Reads both tensors in the last
/// two cases.
void settle_head(DecoderSpec& spec, WeightSource& weights);

}  // namespace lora_dist
