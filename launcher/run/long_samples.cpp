#include "launcher/run/long_samples.hpp"

#include <algorithm>

#include "core/base/log.hpp"

namespace lora_dist {

void warn_of_long_samples(const Dataset& dataset, const DecoderSpec& spec) {
  const int64_t most = most_positions(spec.rope, spec.max_positions);
  int64_t num_longer = 0, longest = 0;
  for (const int64_t length : dataset.measures().costs) {
    num_longer += length > most;
    longest = std::max<int64_t>(longest, length);
  }
  if (num_longer == 0) return;
  log_warning(fmt::format(
      "{} of {} samples are longer than the {} tokens that the base was made for "
      "(max_position_embeddings {}, rope type {}), up to {}; lower max_seq_length",
      num_longer, dataset.num_samples(), most, spec.max_positions, spec.rope.kind, longest));
}

}  // namespace lora_dist
