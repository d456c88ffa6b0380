// The training loop. It knows sockets only: where batches, gradients' sums and checkpoints come
// from or go to is wiring.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "core/adapters/adapter.hpp"
#include "core/batch_stream.hpp"
#include "core/communicator.hpp"
#include "core/gradient_reducer.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/run_observer.hpp"
#include "core/schedules/schedule.hpp"
#include "core/tasks/task.hpp"
#include "core/training_state.hpp"

namespace lora_dist {

/// What a run is made of; everything outlives the trainer.
struct TrainerParts {
  Communicator& world;
  Task& task;
  Adapter& adapter;
  BatchStream& stream;
  BatchStream* eval_stream = nullptr;  // one epoch, unshuffled; null: no evaluation
  GradientReducer& reducer;
  Optimizer& optimizer;
  Schedule schedule;
  CheckpointStore* checkpoints = nullptr;  // rank 0 only
  std::vector<RunObserver*> observers;     // rank 0 only
  /// Content of trainer_state.json at a save; rank 0 only.
  std::function<nlohmann::ordered_json()> trainer_state;
};

struct TrainerOptions {
  double max_grad_norm = 1;
  int64_t seed = 42;
  int64_t save_steps = 500;      // 0: none
  int64_t eval_steps = 0;        // 0: at each save and at the end
  int64_t hash_check_steps = 0;  // between comparisons of the ranks, and at each save; 0: none
  int64_t early_stopping_patience = 0;
  bool load_best_model_at_end = false;
  const std::atomic<bool>* stop_requested = nullptr;  // a signal came in on this rank
};

struct TrainingResult {
  RunSummary summary;
  bool stopped_on_request = false;
  bool stopped_early = false;  // early_stopping_patience
};

class Trainer {
 public:
  Trainer(TrainerParts parts, TrainerOptions options);

  /// Goes on from a checkpoint: the state of adapter and optimizer is the caller's to restore, this
  /// sets the counters.
  void resume_at(int64_t steps_done, std::vector<double> eval_losses);

  /// Ranks   collective. Errors  NumericsError naming the step and its samples: loss or gradient
  /// not finite, update not applied; naming a rank: its adapter is not the others'; CommError,
  /// DataError, StorageError from the sockets.
  TrainingResult run();

 private:
  StepMetrics train_step(const StepPlan& plan);
  /// One slot of this rank, its gradient to the reducer. Returns its loss.
  double run_slot(const Slot& slot, const Batch& batch, int64_t step, bool in_last_round);
  /// The rounds of a step in which other ranks have a slot and this one does not.
  void accompany_others(const StepPlan& plan, bool with_gradients);
  size_t num_rounds(const StepPlan& plan) const;
  void check_replicas();
  void evaluate(const StepPlan& plan);
  void save(const StepPlan& plan);
  /// Sum of the losses; also agrees on a stop request, which travels with them.
  double sum_over_slots(std::vector<double> losses_of_slots);
  void require_finite(const StepPlan& plan, double loss, double grad_norm) const;

  TrainerParts parts_;
  TrainerOptions options_;
  int64_t steps_done_ = 0, last_saved_ = 0, last_evaluated_ = 0, last_checked_ = 0;
  std::vector<double> eval_losses_;
  int64_t evaluations_without_improvement_ = 0;
  bool stop_agreed_ = false;  // some rank was asked to stop before the last step's reduction
  NamedTensors best_adapter_;
  RunSummary summary_;
};

}  // namespace lora_dist
