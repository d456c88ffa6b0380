// Socket: who is told what happens in a run. Plugged by data/reports (metrics.jsonl, TensorBoard)
// and launcher (progress bar). Called from the training thread; most ranks have none.
#pragma once

#include <cstdint>
#include <string>

namespace lora_dist {

/// One optimiser step; the fields of a line of metrics.jsonl (design 1.4).
struct StepMetrics {
  int64_t step = 0;  // 1-based
  double epoch = 0;
  double loss = 0;  // sum of token losses / labels of the whole step, before the update
  double learning_rate = 0;
  double grad_norm = 0;  // before clipping
  int64_t tokens = 0;    // real tokens of this step over all ranks
  int64_t samples = 0;
  double step_time_s = 0;
  double data_time_s = 0;
  double comm_time_s = 0;
  int64_t comm_bytes = 0;  // sent by rank 0 in this step
  int64_t comm_bytes_inter_node = 0;
  double memory_gib = 0;  // peak resident memory of rank 0
};

/// One held-out set, evaluated after a step.
struct EvalMetrics {
  int64_t step = 0;
  double epoch = 0;
  double loss = 0;
  int64_t tokens = 0;  // labels
  int64_t samples = 0;
  double runtime_s = 0;
  std::string set{};    // its name; empty where the run has one set that was given none
  bool decides = true;  // early stopping and the best state go by this set
};

/// Numbers of the whole run: what a resumed run did before its checkpoint counts.
struct RunSummary {
  int64_t steps = 0;
  double epoch = 0;
  double first_loss = 0;
  double last_loss = 0;
  double mean_loss = 0;  // over the steps
  double runtime_s = 0;
  int64_t tokens = 0;
  int64_t samples = 0;
  bool is_over = false;  // no step is left to do: false after a stop on request
};

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_begin(int64_t first_step, int64_t num_steps) {
    (void)first_step, (void)num_steps;
  }
  virtual void on_step(const StepMetrics& metrics) = 0;
  virtual void on_eval(const EvalMetrics& metrics) { (void)metrics; }
  virtual void on_end(const RunSummary& summary) { (void)summary; }
};

}  // namespace lora_dist
