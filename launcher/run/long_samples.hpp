// Samples that are longer than the base was made for.
#pragma once

#include "core/models/decoder/decoder_spec.hpp"
#include "data/samples/dataset.hpp"

namespace lora_dist {

/// One warning where samples, as they are cut, go beyond max_position_embeddings and what the
/// base's rope scaling adds to it. Such tokens are learnt at positions that the base has never
/// seen.
void warn_of_long_samples(const Dataset& dataset, const DecoderSpec& spec);

}  // namespace lora_dist
