#include "core/models/decoder/rope_spec.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/base/log.hpp"

namespace lora_dist {
namespace {

constexpr const char* kOldKey = "rope_scaling";     // transformers 4
constexpr const char* kNewKey = "rope_parameters";  // transformers 5

/// The numbers that each kind reads beside rope_theta; others have no effect with it.
const std::map<std::string, std::set<std::string>>& numbers_of_kinds() {
  static const std::map<std::string, std::set<std::string>> kinds = {
      {"default", {}},
      {"linear", {"factor"}},
      {"dynamic", {"factor"}},
      {"yarn",
       {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
        "mscale", "mscale_all_dim", "truncate"}},
      {"longrope",
       {"factor", "original_max_position_embeddings", "attention_factor", "short_factor",
        "long_factor"}},
      {"llama3",
       {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}}};
  return kinds;
}

bool has_members(const ConfigFields& config, const char* key) {
  return !config.object(key).json().empty();
}

/// Where the numbers of the rotation stand. A config that transformers 5 wrote and a user added
/// rope_scaling to has both, and the older key wins.
ConfigFields chosen_parameters(const ConfigFields& config) {
  if (!has_members(config, kOldKey)) return config.object(kNewKey);
  if (has_members(config, kNewKey) && config.json()[kOldKey] != config.json()[kNewKey]) {
    log_warning(fmt::format("{}: {} is used and {} is not, as transformers does with both",
                            config.where(), kOldKey, kNewKey));
  }
  return config.object(kOldKey);
}

void refuse_one_per_layer_type(const ConfigFields& parameters) {
  for (const char* key : {"full_attention", "sliding_attention"}) {
    if (!parameters.json().contains(key)) continue;
    throw ModelError({.where = parameters.where(),
                      .found = fmt::format("a rotation for '{}' layers of its own", key),
                      .expected = "one for all layers",
                      .fix = "choose a base model with one of these"});
  }
}

std::string read_kind(const ConfigFields& parameters, bool is_phi3) {
  std::string kind = parameters.text("rope_type", parameters.text("type", "default"));
  std::vector<std::string> known;
  for (const auto& [name, numbers] : numbers_of_kinds()) known.push_back(name);
  if (is_phi3) {
    if (kind == "su" || kind == "yarn") kind = "longrope";  // names of earlier releases
    known = {"default", "longrope"};
  }
  if (std::find(known.begin(), known.end(), kind) == known.end()) {
    throw ModelError({.where = parameters.where(),
                      .found = fmt::format("rope type '{}'", kind),
                      .expected = fmt::format("one of {}", fmt::join(known, ", ")),
                      .fix = "choose a base model with one of these"});
  }
  return kind;
}

void warn_of_unused_numbers(const ConfigFields& parameters, const std::string& kind) {
  std::vector<std::string> unused;
  for (const auto& [key, value] : parameters.json().items()) {
    static const std::set<std::string> kOfAllKinds = {"rope_type", "type", "rope_theta",
                                                      "partial_rotary_factor"};
    if (!kOfAllKinds.count(key) && !numbers_of_kinds().at(kind).count(key) && !value.is_null())
      unused.push_back(key.substr(0, 60));
  }
  if (unused.empty()) return;
  log_warning(fmt::format("{}: {} {} no effect with rope type '{}'", parameters.where(),
                          fmt::join(unused, ", "), unused.size() == 1 ? "has" : "have", kind));
}

/// Only Phi-3 rotates a share of a head. Elsewhere transformers ignores the key with the default
/// kind and fails with the others.
double read_rotary_share(const ConfigFields& config, const ConfigFields& parameters,
                         const RopeOfFamily& family, const std::string& kind) {
  constexpr const char* kKey = "partial_rotary_factor";
  const ConfigFields& place = parameters.has(kKey) ? parameters : config;
  const double share = place.positive(kKey, 1);
  if (share > 1) place.refuse(kKey, "a number above 0, at most 1");
  const auto rotary = static_cast<int64_t>(static_cast<double>(family.head_dim) * share);
  if (family.is_phi3) {
    if (rotary < 2 || rotary % 2 != 0)
      place.refuse(kKey, fmt::format("an even share of head_dim, {}", family.head_dim));
    return share;
  }
  if (rotary == family.head_dim) return 1;
  if (kind != "default") place.refuse(kKey, fmt::format("1 with rope type '{}'", kind));
  log_warning(fmt::format("{}: {} has no effect in this family, all of a head is rotated",
                          place.where(), kKey));
  return 1;
}

int64_t read_original_length(const ConfigFields& config, const ConfigFields& parameters,
                             const RopeOfFamily& family) {
  constexpr const char* kKey = "original_max_position_embeddings";
  if (config.has(kKey)) return config.count(kKey, 0);
  if (family.is_phi3) return 4096;  // Phi3Config's default hides what rope_scaling says
  return parameters.count(kKey, family.max_positions);
}

void require(const ConfigFields& parameters, const char* key, const std::string& kind) {
  if (!parameters.has(key))
    parameters.refuse(key, fmt::format("a number for rope type '{}'", kind));
}

void read_longrope(const ConfigFields& parameters, int64_t rotary, RopeSpec& rope) {
  for (const auto& [key, factors] : {std::pair{"short_factor", &rope.short_factors},
                                     std::pair{"long_factor", &rope.long_factors}}) {
    *factors = parameters.positives(key);
    if (static_cast<int64_t>(factors->size()) != rotary / 2)
      throw ModelError({.where = parameters.where(),
                        .found = fmt::format("{} has {} numbers", key, factors->size()),
                        .expected = fmt::format("one for each frequency, {}", rotary / 2),
                        .fix = ConfigFields::kOwnConfig});
  }
}

// The share of each frequency that keeps its trained value ("extrapolates"), by how often it turns
// in the pretraining length. Source  Peng et al. 2023, "YaRN", section 3.2; bounds as in
// transformers.
std::vector<float> yarn_kept_share(const RopeSpec& rope, int64_t dim) {
  const auto turning_dim = [&](double turns) {
    return static_cast<double>(dim) *
           std::log(static_cast<double>(rope.original_max_positions) / (turns * 2 * M_PI)) /
           (2 * std::log(rope.theta));
  };
  double low = turning_dim(rope.beta_fast), high = turning_dim(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  std::vector<float> kept(dim / 2);
  for (int64_t i = 0; i < dim / 2; ++i) {
    kept[i] =
        static_cast<float>(1 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0));
  }
  return kept;
}

double yarn_attention_factor(const RopeSpec& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  const auto mscale = [&](double weight) {
    return rope.factor <= 1 ? 1.0 : 0.1 * weight * std::log(rope.factor) + 1;
  };
  return rope.mscale != 0 && rope.mscale_all_dim != 0
             ? mscale(rope.mscale) / mscale(rope.mscale_all_dim)
             : mscale(1);
}

// Source  Ding et al. 2024, "LongRoPE", section 3.3.
double longrope_attention_factor(const RopeSpec& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  if (rope.factor <= 1) return 1;
  return std::sqrt(1 + std::log(rope.factor) /
                           std::log(static_cast<double>(rope.original_max_positions)));
}

// Long wavelengths are stretched by `factor`, short ones kept, those between blended. Source
// Llama 3.1's release.
float llama3_frequency(const RopeSpec& rope, float frequency) {
  const auto old_length = static_cast<double>(rope.original_max_positions);
  const double wavelength = 2 * M_PI / frequency;
  if (wavelength < old_length / rope.high_freq_factor) return frequency;
  if (wavelength > old_length / rope.low_freq_factor)
    return frequency / static_cast<float>(rope.factor);
  const double kept = (old_length / wavelength - rope.low_freq_factor) /
                      (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<float>((1 - kept) * frequency / rope.factor + kept * frequency);
}

// NTK: the base grows with the sequence once it exceeds the trained length.
double dynamic_theta(const RopeSpec& rope, int64_t dim, int64_t max_positions, int64_t tokens) {
  const auto trained = static_cast<double>(max_positions);
  const double length = std::max(static_cast<double>(tokens), trained);
  return rope.theta * std::pow(rope.factor * length / trained - (rope.factor - 1),
                               static_cast<double>(dim) / static_cast<double>(dim - 2));
}

}  // namespace

RopeSpec read_rope(const ConfigFields& config, const RopeOfFamily& family) {
  const ConfigFields parameters = chosen_parameters(config);
  refuse_one_per_layer_type(parameters);
  RopeSpec rope;
  rope.kind = read_kind(parameters, family.is_phi3);
  warn_of_unused_numbers(parameters, rope.kind);
  rope.theta = parameters.has("rope_theta") ? parameters.positive("rope_theta", 0)
                                            : config.positive("rope_theta", rope.theta);
  rope.rotary_share = read_rotary_share(config, parameters, family, rope.kind);
  const auto rotary =
      static_cast<int64_t>(static_cast<double>(family.head_dim) * rope.rotary_share);
  if (rope.kind == "default") return rope;

  const auto reads = [&](const char* number) {
    return numbers_of_kinds().at(rope.kind).count(number) > 0;
  };
  if (reads("original_max_position_embeddings"))
    rope.original_max_positions = read_original_length(config, parameters, family);
  const bool has_ratio = rope.kind == "yarn" || rope.kind == "longrope";
  if (!has_ratio) require(parameters, "factor", rope.kind);
  rope.factor =
      parameters.positive("factor", has_ratio ? static_cast<double>(family.max_positions) /
                                                    static_cast<double>(rope.original_max_positions)
                                              : 1);
  if (rope.kind == "dynamic" && (rotary <= 2 || rope.factor < 1))
    parameters.refuse("factor", "a number from 1 on, and heads of more than 2 features");
  if (rope.kind == "llama3") {
    for (const char* key : {"low_freq_factor", "high_freq_factor"})
      require(parameters, key, rope.kind);
    rope.low_freq_factor = parameters.positive("low_freq_factor", 1);
    rope.high_freq_factor = parameters.positive("high_freq_factor", 4);
    if (rope.high_freq_factor <= rope.low_freq_factor)
      parameters.refuse("high_freq_factor", "more than low_freq_factor");
  }
  if (rope.kind == "longrope") {
    read_longrope(parameters, rotary, rope);
    rope.rotates_cache_anew = family.is_phi3;
  }
  if (has_ratio) rope.attention_factor = parameters.positive("attention_factor", 0);
  if (rope.kind == "yarn") {
    const auto or_else = [](double number, double other) { return number != 0 ? number : other; };
    rope.beta_fast = or_else(parameters.number("beta_fast", 0), 32);
    rope.beta_slow = or_else(parameters.number("beta_slow", 0), 1);
    rope.mscale = parameters.number("mscale", 0);
    rope.mscale_all_dim = parameters.number("mscale_all_dim", 0);
    rope.truncate = parameters.flag("truncate", true);
    if (rope.beta_slow <= 0 || rope.beta_fast < rope.beta_slow)
      parameters.refuse("beta_fast", "at least beta_slow, which is above 0");
    if (rope.theta == 1) parameters.refuse("rope_theta", "another number than 1 for 'yarn'");
  }
  return rope;
}

RopeFrequencies rope_frequencies(const RopeSpec& rope, int64_t head_dim, int64_t max_positions,
                                 int64_t tokens) {
  const auto dim = static_cast<int64_t>(static_cast<double>(head_dim) * rope.rotary_share);
  const double theta =
      rope.kind == "dynamic" ? dynamic_theta(rope, dim, max_positions, tokens) : rope.theta;
  RopeFrequencies result;
  const std::vector<float> kept =
      rope.kind == "yarn" ? yarn_kept_share(rope, dim) : std::vector<float>();
  const std::vector<double>& longrope_factors =
      tokens > rope.original_max_positions ? rope.long_factors : rope.short_factors;
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double power = std::pow(theta, static_cast<double>(2 * i) / static_cast<double>(dim));
    auto frequency = static_cast<float>(1.0 / power);
    if (rope.kind == "linear") frequency /= static_cast<float>(rope.factor);
    if (rope.kind == "llama3") frequency = llama3_frequency(rope, frequency);
    if (rope.kind == "yarn") frequency *= kept[i] + (1 - kept[i]) / static_cast<float>(rope.factor);
    if (rope.kind == "longrope")
      frequency = static_cast<float>(1.0 / (longrope_factors[i] * power));
    result.inverse_frequencies.push_back(frequency);
  }
  if (rope.kind == "yarn") result.attention_factor = yarn_attention_factor(rope);
  if (rope.kind == "longrope") result.attention_factor = longrope_attention_factor(rope);
  return result;
}

int64_t most_positions(const RopeSpec& rope, int64_t max_positions) {
  const auto stretched = [&](int64_t length) {
    return static_cast<int64_t>(static_cast<double>(length) * std::max(1.0, rope.factor));
  };
  if (rope.kind == "linear" || rope.kind == "dynamic") return stretched(max_positions);
  if (rope.kind == "yarn") return std::max(max_positions, stretched(rope.original_max_positions));
  return max_positions;
}

}  // namespace lora_dist
