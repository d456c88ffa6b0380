// The training loop. It knows sockets only: where batches, gradients' sums and checkpoints come
// from or go to is wiring.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/adapters/adapter.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/schedules/schedule.hpp"
#include "core/sockets/batch_stream.hpp"
#include "core/sockets/checkpoint_store.hpp"
#include "core/sockets/communicator.hpp"
#include "core/sockets/gradient_reducer.hpp"
#include "core/sockets/run_observer.hpp"
#include "core/tasks/task.hpp"
#include "core/training/held_out.hpp"

namespace lora_dist {

/// What a run is made of; everything outlives the trainer.
struct TrainerParts {
  Communicator& world;
  Task& task;
  Adapter& adapter;
  BatchStream& stream;
  /// The first decides early stopping and the best state. Empty: no evaluation.
  std::vector<HeldOutSet> held_out;
  GradientReducer& reducer;
  Optimizer& optimizer;
  Schedule schedule;
  CheckpointStore* checkpoints = nullptr;  // rank 0 only
  std::vector<RunObserver*> observers;     // rank 0 only
  /// Content of trainer_state.json at a save, given the run up to it; rank 0 only.
  std::function<nlohmann::ordered_json(const RunSummary&)> trainer_state;
};

struct TrainerOptions {
  double max_grad_norm = 1;
  int64_t seed = 42;
  int64_t save_steps = 500;      // 0: none
  int64_t eval_steps = 0;        // 0: at each save and at the end
  int64_t hash_check_steps = 0;  // between comparisons of the ranks, and at each save; 0: none
  int64_t early_stopping_patience = 0;
  bool load_best_model_at_end = false;  // and a save whenever an evaluation is the best so far
  const std::atomic<bool>* stop_requested = nullptr;  // a signal came in on this rank
};

/// What a resumed run has behind it.
struct RunSoFar {
  RunSummary summary;         // `steps` are done
  HeldOutHistory held_out;    // of the set that decides
  NamedTensors best_adapter;  // with load_best_model_at_end, where it is still to be had; rank 0
};

struct TrainingResult {
  RunSummary summary;
  int64_t exported_step = 0;  // whose adapter is the final one: the last, or the best
  bool stopped_on_request = false;
  bool stopped_early = false;  // early_stopping_patience
};

class Trainer {
 public:
  Trainer(TrainerParts parts, TrainerOptions options);

  /// Goes on from a checkpoint: the state of adapter and optimizer is the caller's to restore, this
  /// sets the counters.
  void resume_at(RunSoFar so_far);

  /// Afterwards the adapter of rank 0 is the one to export; with load_best_model_at_end the other
  /// ranks keep their last.
  ///
  /// Ranks   collective. Errors  NumericsError naming the step and its samples: loss or gradient
  /// not finite, update not applied; naming a rank: its adapter is not the others'; CommError,
  /// DataError, StorageError from the sockets.
  TrainingResult run();

 private:
  StepMetrics train_step(const StepPlan& plan);
  /// One slot of this rank: its gradient, that of a *sum* of losses, to the reducer. Returns that
  /// sum. The last one is lent to the reducer to the end of the step.
  double run_slot(const Slot& slot, const Batch& batch, int64_t step);
  double run_last_slot(const Slot& slot, const Batch& batch, int64_t step, GradientLoan& loan);
  PassContext pass_of(const Slot& slot, int64_t step) const;
  /// The rounds of a step in which other ranks have a slot and this one does not.
  void accompany_others(const StepPlan& plan);
  void check_replicas();
  void evaluate(const StepPlan& plan);
  /// What follows from the loss of the set that decides.
  void judge(double held_out_loss);
  void save();
  bool stops_early() const;
  bool saves_best() const { return options_.load_best_model_at_end && options_.save_steps > 0; }
  void take_best(TrainingResult& result);
  RunSummary summary_now() const;
  void require_finite(const StepPlan& plan, double loss, double grad_norm) const;

  TrainerParts parts_;
  TrainerOptions options_;
  int64_t steps_done_ = 0, last_saved_ = 0, last_evaluated_ = 0, last_checked_ = 0;
  HeldOutHistory held_out_;
  bool stop_agreed_ = false;   // some rank was asked to stop before the last step's reduction
  NamedTensors best_adapter_;  // rank 0
  RunSummary summary_;
  double earlier_runtime_s_ = 0;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace lora_dist
