// Rotary position embedding: what config.json says about it, and the frequencies that follow.
#pragma once

#include <string>
#include <vector>

#include "core/models/config_fields.hpp"

namespace lora_dist {

/// transformers' ROPE_INIT_FUNCTIONS name the kinds.
struct RopeSpec {
  std::string kind = "default";  // default | linear | dynamic | yarn | longrope | llama3
  double theta = 10000;
  double factor = 1;
  double rotary_share = 1;  // of a head's features; partial_rotary_factor
  int64_t original_max_positions = 0;
  // llama3
  double low_freq_factor = 1, high_freq_factor = 4;
  // yarn; attention_factor of longrope too, where it is never 0
  double beta_fast = 32, beta_slow = 1, mscale = 0, mscale_all_dim = 0, attention_factor = 0;
  bool truncate = true;
  // longrope: a divisor for each frequency, up to the original length and beyond it
  std::vector<double> short_factors, long_factors;
  /// Phi-3: keys that were rotated by the short factors are not kept beyond the original length.
  bool rotates_cache_anew = false;

  bool operator==(const RopeSpec&) const = default;

  /// Whether a sample's frequencies follow from its own length.
  bool depends_on_length() const { return kind == "dynamic" || kind == "longrope"; }
};

/// What a family adds to the common reading.
struct RopeOfFamily {
  int64_t max_positions = 0;  // max_position_embeddings
  int64_t head_dim = 0;
  /// Phi-3: a share of each head may be rotated, only default and longrope (also spelt su and
  /// yarn) are known, and original_max_position_embeddings has a default of its own.
  bool is_phi3 = false;
};

/// From rope_scaling if that has members, else from rope_parameters, as transformers 5 chooses.
/// Errors  ModelError: a kind that is not known or lacks its numbers; impossible numbers.
RopeSpec read_rope(const ConfigFields& config, const RopeOfFamily& family);

/// Inverse frequencies (rotary / 2, fp32) for sequences of `tokens`, and the factor on cos and sin.
struct RopeFrequencies {
  std::vector<float> inverse_frequencies;
  double attention_factor = 1;
};
RopeFrequencies rope_frequencies(const RopeSpec& rope, int64_t head_dim, int64_t max_positions,
                                 int64_t tokens);

/// Tokens of the longest sample that the base was made for: max_position_embeddings, times what
/// linear, dynamic and yarn stretch it by where that number is the unstretched one.
int64_t most_positions(const RopeSpec& rope, int64_t max_positions);

}  // namespace lora_dist
