// The units of a decoder's frozen weights and the order in which its passes run them.
//
// Unit 0 is the embedding, unit 1 + n block n; behind the blocks comes the head with the final
// norm. A head that is tied to the embedding is unit 0 again.
#pragma once

#include <cstddef>
#include <vector>

#include "core/models/decoder_spec.hpp"
#include "core/weight_source.hpp"

namespace lora_dist {

/// The units of `source`; tensors that belong to no layer are in none.
WeightUnits decoder_units(const DecoderSpec& spec, const WeightSource& source);

/// One pass: embedding, blocks upwards, head, and for gradients the blocks from the last down to
/// `lowest_layer`. num_layers: forward only.
std::vector<size_t> units_of_pass(const DecoderSpec& spec, int64_t lowest_layer);

}  // namespace lora_dist
