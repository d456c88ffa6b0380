// Text from a causal language model: greedy or sampled decoding with a key/value cache.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/models/decoder/decoder.hpp"

namespace lora_dist {

struct GenerationOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0;  // 0: greedy
  double top_p = 1;        // nucleus; this and top_k only with temperature > 0
  int64_t top_k = 0;       // the most probable tokens that are drawn from; 0: all
  uint64_t seed =
      42;  // a draw is a function of (seed, position): the same call gives the same text
  std::vector<int64_t> stop_ids;  // each of them ends the text
};

struct Generation {
  std::vector<int64_t> ids;   // new tokens; the one that ended the text is the last of them
  std::string finish_reason;  // "stop" | "length"

  /// The tokens of the text: without the one that ended it.
  std::vector<int64_t> text_ids() const {
    return {ids.begin(), ids.end() - (finish_reason == "stop" ? 1 : 0)};
  }
};

/// `on_token` sees each token of the text as it comes; may be empty.
Generation generate(Decoder& model, const std::vector<int64_t>& prompt,
                    const GenerationOptions& options,
                    const std::function<void(int64_t)>& on_token = {});

}  // namespace lora_dist
