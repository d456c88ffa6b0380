#include "core/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <sys/resource.h>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/replicas.hpp"
#include "core/trace.hpp"

namespace lora_dist {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double peak_memory_gib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);  // kB on Linux
}

std::string sample_range(const StepPlan& plan) {
  std::vector<int64_t> samples;
  for (const Slot& slot : plan.slots)
    samples.insert(samples.end(), slot.samples.begin(), slot.samples.end());
  const size_t shown = std::min<size_t>(samples.size(), 8);
  return fmt::format("{}{}", fmt::join(samples.begin(), samples.begin() + shown, ", "),
                     shown < samples.size() ? ", ..." : "");
}

}  // namespace

Trainer::Trainer(TrainerParts parts, TrainerOptions options)
    : parts_(std::move(parts)), options_(options) {}

void Trainer::resume_at(int64_t steps_done, std::vector<double> eval_losses) {
  steps_done_ = last_saved_ = steps_done;
  eval_losses_ = std::move(eval_losses);
}

TrainingResult Trainer::run() {
  const Stopwatch clock;
  TrainingResult result;
  const int64_t num_steps = parts_.stream.num_steps();
  for (RunObserver* observer : parts_.observers) observer->on_begin(steps_done_ + 1, num_steps);
  StepPlan plan;
  while (steps_done_ < num_steps && !result.stopped_on_request && !result.stopped_early) {
    plan = parts_.stream.plan(steps_done_ + 1);
    const StepMetrics metrics = train_step(plan);
    ++steps_done_;
    summary_.steps = steps_done_;
    summary_.epoch = plan.epoch;
    summary_.tokens += plan.num_tokens;
    summary_.samples += plan.num_samples;
    for (RunObserver* observer : parts_.observers) observer->on_step(metrics);

    if (options_.hash_check_steps > 0 && steps_done_ % options_.hash_check_steps == 0)
      check_replicas();
    const bool last = steps_done_ == num_steps;
    const bool save_due =
        options_.save_steps > 0 && (steps_done_ % options_.save_steps == 0 || last);
    const bool eval_due =
        options_.eval_steps > 0 ? steps_done_ % options_.eval_steps == 0 || last : save_due || last;
    if (eval_due) evaluate(plan);
    if (save_due) save(plan);
    result.stopped_on_request = stop_agreed_ && !last;
    result.stopped_early = options_.early_stopping_patience > 0 &&
                           evaluations_without_improvement_ >= options_.early_stopping_patience;
  }
  if (steps_done_ > last_saved_ &&
      (result.stopped_on_request || (result.stopped_early && options_.save_steps > 0)))
    save(plan);
  if (parts_.checkpoints) parts_.checkpoints->flush();
  if (options_.load_best_model_at_end && !best_adapter_.empty()) {
    parts_.adapter.params().assign(best_adapter_, "best adapter of this run");
    parts_.adapter.refresh();
  }
  summary_.runtime_s = clock.seconds();
  result.summary = summary_;
  for (RunObserver* observer : parts_.observers) observer->on_end(summary_);
  return result;
}

StepMetrics Trainer::train_step(const StepPlan& plan) {
  const trace::Span span("step");
  const Stopwatch step_clock;
  const TrafficCounters traffic_before = parts_.world.traffic();
  double data_time_s = 0;
  std::vector<double> losses(plan.slots.size(), 0.0);

  parts_.adapter.params().take_back_gradient();
  parts_.reducer.begin_step(static_cast<int64_t>(plan.slots.size()));
  const auto slots = plan.slots_of(parts_.world.rank(), parts_.world.world_size());
  for (size_t round = 0; round < slots.size(); ++round) {
    const Stopwatch data_clock;
    const Batch batch = parts_.stream.read(plan, slots[round]);
    data_time_s += data_clock.seconds();
    losses[slots[round].index] = run_slot(slots[round], batch, plan.step,
                                          /*in_last_round=*/round + 1 == num_rounds(plan));
  }
  accompany_others(plan, /*with_gradients=*/true);
  at::Tensor gradient = parts_.reducer.finalize();
  gradient.div_(static_cast<double>(plan.num_labels));  // one denominator, known before any forward
  const double loss = sum_over_slots(std::move(losses)) / static_cast<double>(plan.num_labels);
  const double grad_norm = std::sqrt(ops::sum_of_squares(gradient));
  require_finite(plan, loss, grad_norm);  // before the update; the numbers are equal on all ranks
  // As torch.nn.utils.clip_grad_norm_: the factor is at most 1 and has 1e-6 in its denominator.
  if (options_.max_grad_norm > 0)
    gradient.mul_(std::min(1.0, options_.max_grad_norm / (grad_norm + 1e-6)));
  const double learning_rate = parts_.schedule(steps_done_, eval_losses_);
  parts_.optimizer.step(gradient, learning_rate);
  parts_.adapter.refresh();

  if (summary_.steps_of_this_run == 0) summary_.first_loss = loss;
  summary_.last_loss = loss;
  const double steps_of_this_run = static_cast<double>(++summary_.steps_of_this_run);
  summary_.mean_loss += (loss - summary_.mean_loss) / steps_of_this_run;
  const TrafficCounters traffic = parts_.world.traffic();
  const int64_t other_host = traffic.bytes_other_host - traffic_before.bytes_other_host;
  return {.step = plan.step,
          .epoch = plan.epoch,
          .loss = loss,
          .learning_rate = learning_rate,
          .grad_norm = grad_norm,
          .tokens = plan.num_tokens,
          .samples = plan.num_samples,
          .step_time_s = step_clock.seconds(),
          .data_time_s = data_time_s,
          .comm_time_s = traffic.seconds - traffic_before.seconds,
          .comm_bytes = traffic.bytes_same_host - traffic_before.bytes_same_host + other_host,
          .comm_bytes_inter_node = other_host,
          .memory_gib = peak_memory_gib()};
}

// In the last round the sum goes on behind the backward pass. All ranks do so in the same round,
// with or without a slot: their collectives come in one order.
double Trainer::run_slot(const Slot& slot, const Batch& batch, int64_t step, bool in_last_round) {
  TrainableParams& params = parts_.adapter.params();
  const PassContext pass{.training = true,
                         .seed = static_cast<uint64_t>(options_.seed),
                         .step = static_cast<uint32_t>(step),
                         .slot = static_cast<uint32_t>(slot.index)};
  if (!in_last_round) {
    const double loss =
        parts_.task.forward_backward(batch, pass, {});  // the gradient of a *sum* of losses
    parts_.reducer.add(slot.index, params.take_gradient());
    return loss;
  }
  parts_.reducer.add_last(slot.index, params.gradient());
  const double loss = parts_.task.forward_backward(batch, pass, [&](int64_t first_final_element) {
    params.close_gradient(first_final_element);
    parts_.reducer.advance(first_final_element);
  });
  params.lend_gradient();  // the reducer has it to the end of the step
  return loss;
}

// Exact in any order of addition between ranks: each place is nonzero on one rank only. The place
// behind the losses counts the ranks that were asked to stop, so all of them stop after the same
// step.
double Trainer::sum_over_slots(std::vector<double> losses_of_slots) {
  const auto num_slots = static_cast<int64_t>(losses_of_slots.size());
  const bool asked = options_.stop_requested && options_.stop_requested->load();
  losses_of_slots.push_back(asked ? 1 : 0);
  at::Tensor places = at::tensor(losses_of_slots, at::kDouble);
  parts_.world.all_reduce(places, {.name = "losses"}).wait();
  const double* values = places.const_data_ptr<double>();
  stop_agreed_ = values[num_slots] > 0;
  double sum = 0;
  for (int64_t slot = 0; slot < num_slots; ++slot) sum += values[slot];
  return sum;
}

void Trainer::require_finite(const StepPlan& plan, double loss, double grad_norm) const {
  if (std::isfinite(loss) && std::isfinite(grad_norm)) return;
  throw NumericsError(
      {.where = fmt::format("step {}", plan.step),
       .found = fmt::format("{} is not finite, samples {}",
                            std::isfinite(loss) ? "gradient norm" : "loss", sample_range(plan)),
       .expected = {},
       .fix = "update not applied; lower learning_rate or inspect these samples"});
}

void Trainer::accompany_others(const StepPlan& plan, bool with_gradients) {
  const size_t rounds = num_rounds(plan);
  for (size_t round = plan.slots_of(parts_.world.rank(), parts_.world.world_size()).size();
       round < rounds; ++round) {
    GradientProgress progress;
    if (with_gradients && round + 1 == rounds)
      progress = [this](int64_t first_final) { parts_.reducer.advance(first_final); };
    parts_.task.accompany(with_gradients, progress);
  }
}

size_t Trainer::num_rounds(const StepPlan& plan) const {
  return plan.slots_of(/*rank=*/0, parts_.world.world_size()).size();  // no rank has more
}

void Trainer::check_replicas() {
  if (last_checked_ == steps_done_) return;
  last_checked_ = steps_done_;
  require_equal_replicas(parts_.world, parts_.adapter.params(), parts_.optimizer, steps_done_);
}

void Trainer::evaluate(const StepPlan& plan) {
  if (!parts_.eval_stream || last_evaluated_ == steps_done_) return;
  last_evaluated_ = steps_done_;
  const Stopwatch clock;
  double loss_sum = 0;
  int64_t labels = 0, samples = 0;
  for (int64_t step = 1; step <= parts_.eval_stream->steps_per_epoch(); ++step) {
    const StepPlan eval_plan = parts_.eval_stream->plan(step);
    std::vector<double> losses(eval_plan.slots.size(), 0.0);
    for (const Slot& slot : eval_plan.slots_of(parts_.world.rank(), parts_.world.world_size())) {
      losses[slot.index] = parts_.task.loss(parts_.eval_stream->read(eval_plan, slot));
    }
    accompany_others(eval_plan, /*with_gradients=*/false);
    loss_sum += sum_over_slots(std::move(losses));
    labels += eval_plan.num_labels;
    samples += eval_plan.num_samples;
  }
  const double loss = loss_sum / static_cast<double>(labels);
  const double best = eval_losses_.empty()
                          ? std::numeric_limits<double>::infinity()
                          : *std::min_element(eval_losses_.begin(), eval_losses_.end());
  eval_losses_.push_back(loss);
  if (loss < best) {
    evaluations_without_improvement_ = 0;
    if (options_.load_best_model_at_end) best_adapter_ = parts_.adapter.params().named_tensors();
  } else {
    ++evaluations_without_improvement_;
  }
  const EvalMetrics metrics{.step = plan.step,
                            .epoch = plan.epoch,
                            .loss = loss,
                            .tokens = labels,
                            .samples = samples,
                            .runtime_s = clock.seconds()};
  for (RunObserver* observer : parts_.observers) observer->on_eval(metrics);
}

void Trainer::save(const StepPlan& plan) {
  last_saved_ = steps_done_;
  if (options_.hash_check_steps > 0) check_replicas();  // before it is kept
  if (!parts_.checkpoints) return;
  TrainingState state{.step = steps_done_,
                      .epoch = plan.epoch,
                      .adapter = parts_.adapter.params().named_tensors(),
                      .optimizer = parts_.optimizer.state()};
  state.trainer = parts_.trainer_state ? parts_.trainer_state() : nlohmann::ordered_json::object();
  parts_.checkpoints->save(std::move(state));
}

}  // namespace lora_dist
