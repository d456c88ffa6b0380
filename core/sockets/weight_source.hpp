// Socket: frozen weights by name. Plugged by data/weights (mapped files), core (copies on a device)
// and dist (gathered shards).
//
// A sharded source has a weight only while its unit runs, so the model announces its passes: which
// units it will run, in order, and when it enters the next one. A source can then fetch one unit
// ahead and drop the one before. With a sharded source a pass is a collective of the ranks that
// share the base: all of them walk through the same units in the same order, pass by pass. A rank
// that has nothing to compute while another one of them does walks all the same and computes
// nothing (Task::accompany). Other sources ignore passes.
#pragma once

#include <string>
#include <vector>

#include "core/weights/stored_weight.hpp"

namespace lora_dist {

/// Weights that run together, and so travel together where the base is sharded: [unit] indices in
/// weights().
using WeightUnits = std::vector<std::vector<size_t>>;

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// Where the weights come from, for messages: a file or folder.
  virtual const std::string& location() const = 0;
  virtual const std::vector<WeightInfo>& weights() const = 0;

  /// The weight as stored, read-only, valid as long as it is held. A mapped file answers
  /// without copying, a sharded source only while a unit that holds the weight runs. `index` counts
  /// in weights(). Not a collective.
  virtual StoredWeight acquire(size_t index) = 0;
  /// This rank will not need the weight soon: a mapped file takes its pages out of the process's
  /// resident memory, and reads them again should it be acquired again.
  virtual void release(size_t index) { (void)index; }

  /// A pass over `units` (numbers in the WeightUnits of the source) begins, in this order.
  virtual void begin_pass(std::vector<size_t> units) { (void)units; }
  /// The next unit of the pass runs from here on; nothing of the one before is acquired any more.
  /// Errors  CommError: its weights did not arrive.
  virtual void enter_next_unit() {}
  /// Also after an error, in the middle of a pass.
  virtual void end_pass() noexcept {}
};

/// A pass that ends with its scope.
class WeightPass {
 public:
  WeightPass(WeightSource& source, std::vector<size_t> units) : source_(source) {
    source_.begin_pass(std::move(units));
  }
  ~WeightPass() { source_.end_pass(); }
  WeightPass(const WeightPass&) = delete;
  WeightPass& operator=(const WeightPass&) = delete;
  void enter_next_unit() { source_.enter_next_unit(); }

 private:
  WeightSource& source_;
};

/// Bytes of all weights as stored.
inline int64_t stored_bytes(const WeightSource& source) {
  int64_t total = 0;
  for (const WeightInfo& weight : source.weights()) total += stored_bytes(weight);
  return total;
}

}  // namespace lora_dist
