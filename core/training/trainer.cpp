#include "core/training/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <sys/resource.h>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/trace.hpp"
#include "core/ranks/replicas.hpp"

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

void Trainer::resume_at(RunSoFar so_far) {
  steps_done_ = last_saved_ = so_far.summary.steps;
  summary_ = so_far.summary;
  earlier_runtime_s_ = so_far.summary.runtime_s;
  held_out_ = std::move(so_far.held_out);
  best_adapter_ = std::move(so_far.best_adapter);
}

TrainingResult Trainer::run() {
  begin_ = std::chrono::steady_clock::now();
  TrainingResult result;
  const int64_t num_steps = parts_.stream.num_steps();
  for (RunObserver* observer : parts_.observers) observer->on_begin(steps_done_ + 1, num_steps);
  // A run may have been killed between its last evaluation and its end.
  result.stopped_early = stops_early();
  while (steps_done_ < num_steps && !result.stopped_on_request && !result.stopped_early) {
    const StepPlan plan = parts_.stream.plan(steps_done_ + 1);
    const StepMetrics metrics = train_step(plan);
    ++steps_done_;
    for (RunObserver* observer : parts_.observers) observer->on_step(metrics);

    if (options_.hash_check_steps > 0 && steps_done_ % options_.hash_check_steps == 0)
      check_replicas();
    const bool last = steps_done_ == num_steps;
    const bool save_due =
        options_.save_steps > 0 && (steps_done_ % options_.save_steps == 0 || last);
    const bool eval_due =
        options_.eval_steps > 0 ? steps_done_ % options_.eval_steps == 0 || last : save_due || last;
    if (eval_due) evaluate(plan);
    // The best state must outlive this process, or a resumed run would export another one.
    if (save_due || (saves_best() && held_out_.best_step() == steps_done_)) save();
    result.stopped_on_request = stop_agreed_ && !last;
    result.stopped_early = stops_early();
  }
  if (steps_done_ > last_saved_ &&
      (result.stopped_on_request || (result.stopped_early && options_.save_steps > 0)))
    save();
  if (parts_.checkpoints) parts_.checkpoints->flush();
  summary_ = summary_now();
  summary_.is_over = steps_done_ == num_steps || result.stopped_early;
  result.summary = summary_;
  result.exported_step = steps_done_;
  for (RunObserver* observer : parts_.observers) observer->on_end(summary_);
  if (result.stopped_early)
    log_info(fmt::format(
        "stopped early at step {} of {}: {} evaluations without a held-out loss below the {:.4f} "
        "of step {} (early_stopping_patience)",
        steps_done_, num_steps, held_out_.evaluations_since_best(), held_out_.best_loss(),
        held_out_.best_step()));
  if (options_.load_best_model_at_end && held_out_.best_step() > 0) take_best(result);
  return result;
}

bool Trainer::stops_early() const {
  return options_.early_stopping_patience > 0 &&
         held_out_.evaluations_since_best() >= options_.early_stopping_patience;
}

void Trainer::take_best(TrainingResult& result) {
  if (held_out_.best_step() != steps_done_ && parts_.world.rank() == 0) {
    if (best_adapter_.empty()) {
      log_warning(fmt::format(
          "the best held-out loss, {:.4f}, was that of step {}, whose checkpoint is gone; the "
          "adapter of step {} is exported",
          held_out_.best_loss(), held_out_.best_step(), steps_done_));
      return;
    }
    parts_.adapter.params().assign(best_adapter_, "best adapter of this run");
    parts_.adapter.refresh();
  }
  result.exported_step = held_out_.best_step();
  log_info(
      fmt::format("exported is the adapter of step {}: held-out loss {:.4f}, the best of {} "
                  "(load_best_model_at_end)",
                  held_out_.best_step(), held_out_.best_loss(), held_out_.losses().size()));
}

RunSummary Trainer::summary_now() const {
  RunSummary summary = summary_;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin_;
  summary.runtime_s = earlier_runtime_s_ + elapsed.count();
  return summary;
}

StepMetrics Trainer::train_step(const StepPlan& plan) {
  const trace::Span span("step");
  const Stopwatch step_clock;
  const TrafficCounters traffic_before = parts_.world.traffic();
  double data_time_s = 0;
  std::vector<double> losses(plan.slots.size(), 0.0);

  std::optional<GradientLoan> loan;  // of this rank's last slot, to the end of the step
  parts_.reducer.begin_step(static_cast<int64_t>(plan.slots.size()));
  const auto slots = plan.slots_of(parts_.world.rank(), parts_.world.world_size());
  const size_t rounds = num_rounds(plan, parts_.world.world_size());
  for (size_t round = 0; round < slots.size(); ++round) {
    const Stopwatch data_clock;
    const Batch batch = parts_.stream.read(plan, slots[round]);
    data_time_s += data_clock.seconds();
    double& loss = losses[slots[round].index];
    if (round + 1 == rounds) {
      loan.emplace(parts_.adapter.params());
      loss = run_last_slot(slots[round], batch, plan.step, *loan);
    } else {
      loss = run_slot(slots[round], batch, plan.step);
    }
  }
  accompany_others(plan);
  at::Tensor gradient = parts_.reducer.finalize();
  gradient.div_(static_cast<double>(plan.loss_terms));  // one denominator, known before any forward
  const SlotLosses step_losses = sum_over_slots(
      parts_.world, std::move(losses), options_.stop_requested && options_.stop_requested->load());
  stop_agreed_ = step_losses.stop_asked;
  const double loss = step_losses.sum / static_cast<double>(plan.loss_terms);
  const double grad_norm = std::sqrt(ops::sum_of_squares(gradient));
  require_finite(plan, loss, grad_norm);  // before the update; the numbers are equal on all ranks
  // As torch.nn.utils.clip_grad_norm_: the factor is at most 1 and has 1e-6 in its denominator.
  if (options_.max_grad_norm > 0)
    gradient.mul_(std::min(1.0, options_.max_grad_norm / (grad_norm + 1e-6)));
  const double learning_rate = parts_.schedule(steps_done_, held_out_.losses());
  parts_.optimizer.step(gradient, learning_rate);
  parts_.adapter.refresh();

  if (summary_.steps == 0) summary_.first_loss = loss;
  summary_.last_loss = loss;
  summary_.steps = plan.step;
  summary_.epoch = plan.epoch;
  summary_.tokens += plan.cost;
  summary_.samples += plan.num_samples;
  summary_.mean_loss += (loss - summary_.mean_loss) / static_cast<double>(plan.step);
  const TrafficCounters traffic = parts_.world.traffic();
  const int64_t other_host = traffic.bytes_other_host - traffic_before.bytes_other_host;
  return {.step = plan.step,
          .epoch = plan.epoch,
          .loss = loss,
          .learning_rate = learning_rate,
          .grad_norm = grad_norm,
          .tokens = plan.cost,
          .samples = plan.num_samples,
          .step_time_s = step_clock.seconds(),
          .data_time_s = data_time_s,
          .comm_time_s = traffic.seconds - traffic_before.seconds,
          .comm_bytes = traffic.bytes_same_host - traffic_before.bytes_same_host + other_host,
          .comm_bytes_inter_node = other_host,
          .memory_gib = peak_memory_gib()};
}

PassContext Trainer::pass_of(const Slot& slot, int64_t step) const {
  return {.training = true,
          .seed = static_cast<uint64_t>(options_.seed),
          .step = static_cast<uint32_t>(step),
          .slot = static_cast<uint32_t>(slot.index)};
}

double Trainer::run_slot(const Slot& slot, const Batch& batch, int64_t step) {
  const double loss = parts_.task.forward_backward(batch, pass_of(slot, step), {});
  parts_.reducer.add(slot.index, parts_.adapter.params().take_gradient());
  return loss;
}

// The sum goes on behind the backward pass. All ranks do so in the same round, with or without a
// slot: their collectives come in one order.
double Trainer::run_last_slot(const Slot& slot, const Batch& batch, int64_t step,
                              GradientLoan& loan) {
  parts_.reducer.add_last(slot.index, loan.gradient());
  const double loss =
      parts_.task.forward_backward(batch, pass_of(slot, step), [&](int64_t first_final_element) {
        loan.close(first_final_element);
        parts_.reducer.advance(first_final_element);
      });
  loan.close(0);
  return loss;
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

void Trainer::accompany_others(const StepPlan& plan) {
  const size_t rounds = num_rounds(plan, parts_.world.world_size());
  for (size_t round = plan.slots_of(parts_.world.rank(), parts_.world.world_size()).size();
       round < rounds; ++round) {
    GradientProgress progress;
    if (round + 1 == rounds)
      progress = [this](int64_t first_final) { parts_.reducer.advance(first_final); };
    parts_.task.accompany(/*with_gradients=*/true, progress);
  }
}

void Trainer::check_replicas() {
  if (last_checked_ == steps_done_) return;
  last_checked_ = steps_done_;
  require_equal_replicas(parts_.world, parts_.adapter.params(), parts_.optimizer, steps_done_);
}

void Trainer::evaluate(const StepPlan& plan) {
  if (last_evaluated_ == steps_done_) return;
  last_evaluated_ = steps_done_;
  for (size_t i = 0; i < parts_.held_out.size(); ++i) {
    const HeldOutSet& set = parts_.held_out[i];
    const Stopwatch clock;
    const HeldOutLoss found =
        held_out_loss(parts_.world, parts_.task, *set.stream, static_cast<uint64_t>(options_.seed),
                      options_.stop_requested);
    stop_agreed_ = stop_agreed_ || found.stop_asked;
    const EvalMetrics metrics{.step = plan.step,
                              .epoch = plan.epoch,
                              .loss = found.mean(),
                              .tokens = found.loss_terms,
                              .samples = found.num_samples,
                              .runtime_s = clock.seconds(),
                              .set = set.name,
                              .decides = i == 0};
    for (RunObserver* observer : parts_.observers) observer->on_eval(metrics);
    if (metrics.decides) judge(metrics.loss);
  }
}

void Trainer::judge(double held_out_loss) {
  held_out_.add(steps_done_, held_out_loss);
  if (options_.load_best_model_at_end && held_out_.last_is_best() && parts_.world.rank() == 0)
    best_adapter_ = parts_.adapter.params().named_tensors();
  if (!held_out_.begins_to_rise()) return;
  log_warning(fmt::format(
      "step {}: the held-out loss has risen in {} evaluations in a row, to {:.4f} (best {:.4f} at "
      "step {}): the adapter is likely memorising; {}",
      steps_done_, HeldOutHistory::kRisesOfMemorising, held_out_loss, held_out_.best_loss(),
      held_out_.best_step(),
      options_.load_best_model_at_end
          ? "use fewer epochs, a lower learning_rate or more data (the best state is kept)"
          : "use fewer epochs, a lower learning_rate, more data, or load_best_model_at_end: true"));
}

void Trainer::save() {
  if (last_saved_ == steps_done_) return;
  last_saved_ = steps_done_;
  if (options_.hash_check_steps > 0) check_replicas();  // before it is kept
  if (!parts_.checkpoints) return;
  TrainingState state{.step = steps_done_,
                      .epoch = summary_.epoch,
                      .adapter = parts_.adapter.params().named_tensors(),
                      .optimizer = parts_.optimizer.state()};
  state.trainer =
      parts_.trainer_state ? parts_.trainer_state(summary_now()) : nlohmann::ordered_json::object();
  parts_.checkpoints->save(std::move(state));
}

}  // namespace lora_dist
