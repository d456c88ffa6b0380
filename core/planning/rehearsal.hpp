// A training step of next to nothing, for what stays of it: the kernels' pages that LibTorch and
// its libraries have read, the buffers that products keep, the threads.
//
// How many bytes those are depends on the processor, the kernel of the system and how it has the
// libraries in its cache: a plan that has rehearsed measures them (launcher/run/memory).
#pragma once

#include "core/models/decoder/decoder_spec.hpp"

namespace lora_dist {

/// Trains one step of a small model of the family of `spec` on the CPU, with activations of
/// `compute`. Nothing of it is kept, and no later result depends on it.
void rehearse_training(const DecoderSpec& spec, at::ScalarType compute);

}  // namespace lora_dist
