// What learns: an adapter attaches to named linear layers, adds its delta, and lists its tensors
// for training and export.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/registry.hpp"
#include "core/config/config.hpp"
#include "core/models/layers/linear.hpp"
#include "core/models/profile.hpp"
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

class Adapter {
 public:
  virtual ~Adapter() = default;
  virtual TrainableParams& params() = 0;
  /// Puts the branches on their layers. Passes call for them by `id`, which no other adapter of the
  /// model has; those that name no adapters run them with `weight` (1 for training).
  virtual void attach(double weight, int id = 0) = 0;
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
/// One method: how its adapters are made, and what they will cost, asked before there is one.
struct AdapterKind {
  std::unique_ptr<Adapter> (*make)(AdapterArgs);
  /// Numbers that learn on the layer `target`, of `out` and `in` features.
  int64_t (*parameters)(const AdapterConfig& config, const std::string& target, int64_t out,
                        int64_t in);
  /// What its branch takes while a group runs; `targets` are its layers of the group, at least one,
  /// which read one input of `in_features`.
  AdapterLoad (*load)(const AdapterConfig& config, const std::vector<std::string>& targets,
                      int64_t in_features, const PassShape& shape);
};
const Registry<AdapterKind>& adapters();
/// By the method that the config names.
std::unique_ptr<Adapter> make_adapter(AdapterArgs args);

}  // namespace lora_dist
