// The table of a model's weights: every tensor that its checkpoint holds, and what it is there for.
//
// One table answers for all names: which tensors a file must have, which of them run together and
// travel together (units), which are layers that an adapter may sit on.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

enum class WeightRole { embedding, norm, linear, bias, head };

struct WeightRow {
  std::string name;  // in the checkpoint
  std::vector<int64_t> shape;
  WeightRole role = WeightRole::linear;
  size_t unit = 0;
  int64_t depth = -1;  // the block it belongs to, counted from the input; -1: none

  /// The path of the module that has it: "model.layers.0.self_attn.q_proj".
  std::string module() const { return name.substr(0, name.rfind('.')); }
};

class WeightTable {
 public:
  void add(WeightRow row);
  /// Tensors whose names end so may lie in a checkpoint and are nobody's.
  void ignore(std::string ending) { ignored_.push_back(std::move(ending)); }

  const std::vector<WeightRow>& rows() const { return rows_; }
  const WeightRow* find(const std::string& name) const;
  bool ignores(const std::string& name) const;
  size_t num_units() const { return num_units_; }
  int64_t num_parameters() const;

  /// The frozen layer `module`, a row of role linear. Null: there is none.
  const WeightRow* linear(const std::string& module) const { return find(module + ".weight"); }
  /// Paths of the layers that adapters may sit on, in the order of the model.
  std::vector<std::string> linear_modules() const;
  /// The least depth of `modules`; `none` where they are empty.
  int64_t lowest_depth(const std::vector<std::string>& modules, int64_t none) const;

 private:
  std::vector<WeightRow> rows_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::string> ignored_;
  size_t num_units_ = 0;
};

/// Adds the rows of one part of a model: below one path, of one unit and depth.
class TableScope {
 public:
  TableScope(WeightTable& table, std::string path, size_t unit, int64_t depth)
      : table_(table), path_(std::move(path)), unit_(unit), depth_(depth) {}

  TableScope within(const std::string& part) const {
    return {table_, path_ + "." + part, unit_, depth_};
  }
  void linear(const std::string& part, int64_t out, int64_t in, bool bias) const;
  void norm(const std::string& part, int64_t width) const;

 private:
  WeightTable& table_;
  std::string path_;
  size_t unit_;
  int64_t depth_;
};

/// [name] where `source` has it. Of tensors that no row names, a warning tells, as transformers'
/// does. Errors  ModelError naming missing or misshaped tensors.
std::unordered_map<std::string, size_t> match_weights(const WeightTable& table,
                                                      const WeightSource& source,
                                                      const std::string& model_type);

/// The units of `source`; tensors that no row names are in none.
WeightUnits weight_units(const WeightTable& table, const WeightSource& source);

}  // namespace lora_dist
