// Held-out losses: how one is computed, and what a run reads from their course.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/sockets/batch_stream.hpp"
#include "core/sockets/communicator.hpp"
#include "core/tasks/task.hpp"

namespace lora_dist {

/// Data that is not learnt, under the name that its losses are reported by.
struct HeldOutSet {
  std::string name;               // empty: the only one, given no name
  BatchStream* stream = nullptr;  // one epoch, unshuffled
};

/// Losses of one step's slots over all ranks.
struct SlotLosses {
  double sum = 0;
  bool stop_asked = false;  // of some rank
};

/// `losses` has a place for each slot of the step, filled by the rank that computed it. The ranks
/// also hear whether one of them was asked to stop, so that all of them stop after the same step.
///
/// Ranks   collective. The sum has the same bits at any world size.
SlotLosses sum_over_slots(Communicator& world, std::vector<double> losses, bool stop_asked);

/// Rounds of a step, each with at most one slot per rank.
size_t num_rounds(const StepPlan& plan, int world_size);

struct HeldOutLoss {
  double sum = 0;  // of the losses of `loss_terms`, for texts: of its labels
  int64_t loss_terms = 0, num_samples = 0;
  bool stop_asked = false;
  double mean() const { return sum / static_cast<double>(loss_terms); }
};

/// One pass over `stream`, nothing is learnt. What the task draws follows from `seed`, so that
/// evaluations of one run are of the same draws. `stop_requested` may be null.
///
/// Ranks   collective. Errors  DataError, StorageError, CommError from the sockets.
HeldOutLoss held_out_loss(Communicator& world, Task& task, BatchStream& stream, uint64_t seed,
                          const std::atomic<bool>* stop_requested = nullptr);

/// The losses of one held-out set in the order of their steps. A loss that is not finite is never
/// the best.
class HeldOutHistory {
 public:
  void add(int64_t step, double loss);

  const std::vector<double>& losses() const { return losses_; }
  /// 0 before the first finite loss.
  int64_t best_step() const { return best_step_; }
  double best_loss() const { return best_loss_; }
  bool last_is_best() const { return !losses_.empty() && evaluations_since_best_ == 0; }
  int64_t evaluations_since_best() const { return evaluations_since_best_; }
  /// The last loss ends the first row of kRisesOfMemorising rises: true once in a run.
  bool begins_to_rise() const;

  static constexpr int64_t kRisesOfMemorising = 3;  // fewer are the noise of a small set

 private:
  std::vector<double> losses_;
  int64_t best_step_ = 0;
  double best_loss_ = 0;
  int64_t evaluations_since_best_ = 0;
  int64_t rises_in_a_row_ = 0, longest_row_before_ = 0;
};

}  // namespace lora_dist
