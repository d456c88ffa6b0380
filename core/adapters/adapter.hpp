// What learns: an adapter attaches to named linear layers, adds its delta, and lists its tensors
// for training and export.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/registry.hpp"
#include "core/config/config.hpp"
#include "core/models/layers/linear.hpp"
#include "core/training/trainable_params.hpp"

namespace lora_dist {

/// The names of `linears` that the patterns choose (formats 2.5): suffix, full-match regex or
/// all-linear; excludes win. Errors  ConfigError with near misses: nothing matched, or an entry of
/// a list matches nothing.
std::vector<std::string> match_targets(const std::vector<std::string>& linears,
                                       const ModulePattern& targets, const ModulePattern& excluded,
                                       const std::string& model_type);

/// Whether the patterns choose the module `name`; `targets` that are empty choose all.
bool is_targeted(const std::string& name, const ModulePattern& targets,
                 const ModulePattern& excluded);

/// Errors  ConfigError: an entry of rank_pattern or alpha_pattern matches none of `targets`, which
/// a misspelling does.
void require_matching_patterns(const AdapterConfig& config,
                               const std::vector<std::string>& targets);

/// PEFT's pattern lookup: the value of the first pattern K with `^(.*\.)?(K)$` matching `name`,
/// else `otherwise`.
double pattern_value(const PatternMap& patterns, const std::string& name, double otherwise);

class Adapter {
 public:
  virtual ~Adapter() = default;
  virtual TrainableParams& params() = 0;
  /// Puts the branches on their layers, each scaled by `weight` (1 for training).
  virtual void attach(double weight) = 0;
  /// Fresh values as PEFT initialises them, from a counter-based stream.
  virtual void initialize(uint64_t seed) = 0;
  /// Called after the parameters changed, before the next forward: copies in the dtype of the
  /// activations are stale.
  virtual void refresh() = 0;
};

struct AdapterArgs {
  std::vector<LinearGroup*> groups;  // of the model; the adapter picks its targets
  AdapterConfig config;
  std::vector<std::string> targets;  // module paths, as match_targets gave them
  at::ScalarType compute = at::kFloat;
  at::Device device = at::kCPU;
};
using AdapterFactory = std::function<std::unique_ptr<Adapter>(AdapterArgs)>;
const Registry<AdapterFactory>& adapters();

}  // namespace lora_dist
