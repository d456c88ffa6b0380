// The loop over a task whose gradients are known: sums, denominator, clipping, evaluation,
// stopping, saving.

#include "core/training/trainer.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"
#include "dist/reducers/reducer.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/vector_stream.hpp"

namespace lora_dist {
namespace {

// Two parameters w; a batch with value x has loss x * (w0 + 2 w1) per label.
class LinearTask final : public Task {
 public:
  explicit LinearTask(TrainableParams& params) : params_(params) {}
  double forward_backward(const Batch& batch, const PassContext& pass,
                          const GradientProgress&) override {
    slots_seen.push_back(pass.slot);
    const double x = value(batch) * static_cast<double>(batch.loss_terms);
    params_.gradient().add_(at::tensor({x, 2 * x}).to(at::kFloat));
    return loss(batch, pass);
  }
  double loss(const Batch& batch, const PassContext&) override {
    const at::Tensor w = params_.flat();
    return poisoned ? std::numeric_limits<double>::quiet_NaN()
                    : value(batch) * static_cast<double>(batch.loss_terms) *
                          (w[0] + 2 * w[1]).item<double>();
  }
  bool poisoned = false;
  std::vector<uint32_t> slots_seen;

 private:
  static double value(const Batch& batch) {
    return static_cast<double>(batch.columns.at("value")[0].item<int64_t>());
  }
  TrainableParams& params_;
};

class TwoNumbers final : public Adapter {
 public:
  explicit TwoNumbers(bool gradient_stays) {
    params_.add({"layer", "w"}, {2});
    params_.allocate(at::kCPU, gradient_stays);
  }
  TrainableParams& params() override { return params_; }
  void attach(double, int) override {}
  void initialize(uint64_t) override { params_.flat().fill_(1); }
  void refresh() override {}

 private:
  TrainableParams params_;
};

// Plain gradient descent: what the trainer hands over is what changes the parameters.
class Descent final : public Optimizer {
 public:
  explicit Descent(at::Tensor params) : params_(std::move(params)) {}
  void step(const at::Tensor& gradient, double learning_rate) override {
    params_.sub_(gradient * learning_rate);
  }
  NamedTensors state() const override { return {}; }
  void restore(const NamedTensors&, const std::string&) override {}

 private:
  at::Tensor params_;
};

class Kept final : public CheckpointStore {
 public:
  void save(TrainingState state) override { steps.push_back(state.step); }
  void flush() override {}
  std::vector<int64_t> steps;
};

class Recorder final : public RunObserver {
 public:
  void on_step(const StepMetrics& metrics) override { steps.push_back(metrics); }
  void on_eval(const EvalMetrics& metrics) override { evals.push_back(metrics); }
  std::vector<StepMetrics> steps;
  std::vector<EvalMetrics> evals;
};

Batch batch_of(int64_t value, int64_t num_labels) {
  return {
      .columns = {{"value", at::full({1}, value, at::kLong)}}, .loss_terms = num_labels, .cost = 4};
}

Schedule constant_rate(double rate) {
  return [rate](int64_t, const std::vector<double>&) { return rate; };
}

// Flips the lowest bit of w[1] after a step, as a memory that forgets.
class Intruder final : public RunObserver {
 public:
  explicit Intruder(at::Tensor params) : params_(std::move(params)) {}
  void on_step(const StepMetrics& metrics) override {
    if (metrics.step == comes_after_step) params_.view(at::kInt)[1].bitwise_xor_(1);
  }
  int64_t comes_after_step = 0;

 private:
  at::Tensor params_;
};

struct Bench {
  explicit Bench(Communicator& communicator, std::vector<Batch> batches, int64_t num_steps = 1,
                 bool gradient_stays = false)
      : world(communicator),
        stream(std::move(batches), num_steps),
        adapter(gradient_stays),
        optimizer(adapter.params().flat()),
        task(adapter.params()),
        intruder(adapter.params().flat()),
        reducer(reducers().at("tree")({communicator, 2})) {
    adapter.initialize(0);
  }
  TrainingResult run(TrainerOptions options) {
    Trainer trainer({.world = world,
                     .task = task,
                     .adapter = adapter,
                     .stream = stream,
                     .held_out = held_out,
                     .reducer = *reducer,
                     .optimizer = optimizer,
                     .schedule = constant_rate(0.5),
                     .checkpoints = &store,
                     .observers = {&recorder, &intruder}},
                    options);
    if (so_far) trainer.resume_at(*so_far);
    return trainer.run();
  }
  Communicator& world;
  VectorStream stream;
  TwoNumbers adapter;
  Descent optimizer;
  LinearTask task;
  Intruder intruder;
  std::unique_ptr<GradientReducer> reducer;
  Kept store;
  Recorder recorder;
  std::vector<HeldOutSet> held_out;
  std::optional<RunSoFar> so_far;
};

TEST(Trainer, DividesTheSumOfSlotGradientsByTheLabelsOfTheWholeStep) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0],
              {batch_of(1, 1), batch_of(5, 3)});  // mean over labels: (1 + 3 * 5) / 4 = 4
  bench.run({.max_grad_norm = 0, .save_steps = 0});
  EXPECT_FLOAT_EQ(bench.recorder.steps[0].loss, 4 * 3);  // w0 + 2 w1 = 3 before the update
  EXPECT_FLOAT_EQ(bench.recorder.steps[0].grad_norm, 4 * std::sqrt(5.0));
  EXPECT_FLOAT_EQ(bench.adapter.params().flat()[0].item<float>(), 1 - 0.5 * 4);
  EXPECT_FLOAT_EQ(bench.adapter.params().flat()[1].item<float>(), 1 - 0.5 * 8);
}

TEST(Trainer, ScalesTheGradientDownToTheNorm) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(4, 1)});
  bench.run({.max_grad_norm = 1, .save_steps = 0});
  EXPECT_NEAR(bench.adapter.params().flat()[0].item<float>(), 1 - 0.5 / std::sqrt(5.0), 1e-6);
  EXPECT_FLOAT_EQ(bench.recorder.steps[0].grad_norm, 4 * std::sqrt(5.0))
      << "reported before clipping";
}

TEST(Trainer, StopsBeforeAnUpdateThatIsNotFinite) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(4, 1)});
  bench.task.poisoned = true;
  EXPECT_THROW(bench.run({}), NumericsError);
  EXPECT_FLOAT_EQ(bench.adapter.params().flat()[0].item<float>(), 1);
  EXPECT_TRUE(bench.store.steps.empty());
}

TEST(Trainer, SavesEachSaveStepsAndAtTheEnd) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/7);
  bench.run({.save_steps = 3});
  EXPECT_EQ(bench.store.steps, (std::vector<int64_t>{3, 6, 7}));
}

TEST(Trainer, EndsWhenEvaluationStopsImproving) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/50);
  VectorStream rising({batch_of(-1, 2)}, 1);  // what lowers the training loss raises this one
  bench.held_out = {{"", &rising}};
  const TrainingResult result =
      bench.run({.save_steps = 0, .eval_steps = 1, .early_stopping_patience = 2});
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(bench.recorder.evals.size(), 3u);
  EXPECT_LT(bench.recorder.evals[0].loss, bench.recorder.evals[2].loss);
}

TEST(Trainer, SavesTheStateOfEachBestEvaluationThatItIsToExport) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/4);
  VectorStream falling({batch_of(1, 2)}, 1);
  bench.held_out = {{"", &falling}};
  bench.run({.save_steps = 3, .eval_steps = 1, .load_best_model_at_end = true});
  EXPECT_EQ(bench.store.steps, (std::vector<int64_t>{1, 2, 3, 4}));
}

TEST(Trainer, ExportsTheBestStateOfAnEarlierLife) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/3);
  VectorStream rising({batch_of(-1, 2)}, 1);
  bench.held_out = {{"", &rising}};
  bench.so_far.emplace();
  bench.so_far->summary.steps = 1;
  bench.so_far->held_out.add(1, -1e9);
  bench.so_far->best_adapter = {{"layer.w", at::tensor({7.0f, 8.0f})}};
  const TrainingResult result =
      bench.run({.save_steps = 0, .eval_steps = 1, .load_best_model_at_end = true});
  EXPECT_EQ(result.exported_step, 1);
  EXPECT_TRUE(at::equal(bench.adapter.params().flat(), at::tensor({7.0f, 8.0f})));
}

TEST(Trainer, CountsEvaluationsWithoutImprovementOverALifeBefore) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/50);
  VectorStream rising({batch_of(-1, 2)}, 1);
  bench.held_out = {{"", &rising}};
  bench.so_far.emplace();
  bench.so_far->summary.steps = 3;
  bench.so_far->held_out.add(1, -1e9);
  bench.so_far->held_out.add(2, -1e8);
  const TrainingResult result =
      bench.run({.save_steps = 0, .eval_steps = 1, .early_stopping_patience = 2});
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.summary.steps, 4);
}

TEST(Trainer, TellsTheWholeRunAfterAResume) {
  const auto world = make_local_world(1, 10);
  Bench whole(*world[0], {batch_of(1, 1)}, /*num_steps=*/6);
  const RunSummary expected = whole.run({.save_steps = 0}).summary;
  Bench first(*world[0], {batch_of(1, 1)}, /*num_steps=*/2), second(*world[0], {batch_of(1, 1)}, 6);
  RunSoFar so_far{.summary = first.run({.save_steps = 0}).summary};
  so_far.summary.runtime_s = 1000;
  second.so_far = so_far;
  second.adapter.params().flat().copy_(first.adapter.params().flat());
  const RunSummary resumed = second.run({.save_steps = 0}).summary;
  EXPECT_EQ(resumed.steps, expected.steps);
  EXPECT_EQ(resumed.first_loss, expected.first_loss);
  EXPECT_EQ(resumed.last_loss, expected.last_loss);
  EXPECT_DOUBLE_EQ(resumed.mean_loss, expected.mean_loss);
  EXPECT_EQ(resumed.tokens, expected.tokens);
  EXPECT_EQ(resumed.samples, expected.samples);
  EXPECT_GE(resumed.runtime_s, 1000);
  EXPECT_TRUE(resumed.is_over);
}

TEST(Trainer, EvaluatesEverySetAndStopsByTheFirst) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/3);
  VectorStream falling({batch_of(1, 2)}, 1), rising({batch_of(-1, 2)}, 1);
  bench.held_out = {{"new", &falling}, {"old", &rising}};
  const TrainingResult result =
      bench.run({.save_steps = 0, .eval_steps = 1, .early_stopping_patience = 1});
  EXPECT_FALSE(result.stopped_early);
  ASSERT_EQ(bench.recorder.evals.size(), 6u);
  EXPECT_EQ(bench.recorder.evals[0].set, "new");
  EXPECT_TRUE(bench.recorder.evals[0].decides);
  EXPECT_EQ(bench.recorder.evals[1].set, "old");
  EXPECT_FALSE(bench.recorder.evals[1].decides);
}

TEST(HeldOutHistory, TellsOnceThatTheLossRises) {
  HeldOutHistory history;
  std::vector<size_t> told;
  for (const double loss : {3.0, 2.0, 2.1, 2.2, 1.9, 2.0, 2.1, 2.2, 2.3, 2.2, 2.3, 2.4, 2.5}) {
    history.add(static_cast<int64_t>(history.losses().size()) + 1, loss);
    if (history.begins_to_rise()) told.push_back(history.losses().size());
  }
  EXPECT_EQ(told, std::vector<size_t>{8});
  EXPECT_EQ(history.best_step(), 5);
  EXPECT_EQ(history.evaluations_since_best(), 8);
}

TEST(HeldOutHistory, NeverTakesALossThatIsNotFiniteForTheBest) {
  HeldOutHistory history;
  history.add(1, std::nan(""));
  EXPECT_EQ(history.best_step(), 0);
  history.add(2, 5);
  history.add(3, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(history.best_step(), 2);
  EXPECT_FALSE(history.last_is_best());
}

TEST(Trainer, SavesAndLeavesWhenAskedToStop) {
  const auto world = make_local_world(1, 10);
  Bench bench(*world[0], {batch_of(1, 1)}, /*num_steps=*/50);
  const std::atomic<bool> asked = true;
  const TrainingResult result = bench.run({.save_steps = 10, .stop_requested = &asked});
  EXPECT_TRUE(result.stopped_on_request);
  EXPECT_EQ(bench.store.steps, (std::vector<int64_t>{1}));
}

TEST(Trainer, StopsAllRanksWhenOneBitOfOneRankHasFlipped) {
  std::vector<Batch> batches(8, batch_of(1, 1));
  run_ranks(4, [&](Communicator& world) {
    Bench bench(world, batches, /*num_steps=*/9);
    if (world.rank() == 2) bench.intruder.comes_after_step = 5;
    try {
      bench.run({.save_steps = 5, .hash_check_steps = 3});  // compares after 3, and before a save
      ADD_FAILURE() << "rank 2 differs";
    } catch (const NumericsError& error) {
      EXPECT_STREQ(
          error.what(),
          "[rank 2/4 localhost step 5]: 'layer.w' differs from rank 0's, expected the same bits "
          "on all ranks; resume from the last checkpoint; if it comes again, test that "
          "host's memory");
    }
    EXPECT_EQ(bench.recorder.steps.size(), 5u);
    EXPECT_TRUE(bench.store.steps.empty()) << "what differs is not kept";
  });
}

TEST(Trainer, GivesTheSameBitsAtEveryWorldSize) {
  std::vector<Batch> batches;
  for (int64_t i = 0; i < 8; ++i) batches.push_back(batch_of(i + 1, 2 * i + 1));
  const auto train = [&](Communicator& world, bool gradient_stays) {
    Bench bench(world, batches, /*num_steps=*/3, gradient_stays);
    bench.run({.save_steps = 0});
    return std::pair(bench.adapter.params().flat().clone(), bench.recorder.steps.back().loss);
  };
  const auto alone = make_local_world(1, 10);
  const auto [expected, loss] = train(*alone[0], false);
  for (const int world_size : {1, 2, 3, 5, 8}) {
    for (const bool gradient_stays : {false, true}) {
      run_ranks(world_size, [&, &expected = expected, &loss = loss](Communicator& world) {
        const auto [params, last_loss] = train(world, gradient_stays);
        EXPECT_TRUE(at::equal(params, expected)) << world_size << " ranks";
        EXPECT_EQ(last_loss, loss) << world_size << " ranks";
      });
    }
  }
}

TEST(TrainableParams, StayWhereTheyAreWithTheirGradient) {
  TrainableParams params;
  params.add({"layer", "w"}, {3});
  params.allocate(at::kCPU, /*gradient_stays=*/true);
  const void* place = params.gradient().const_data_ptr();
  const at::Tensor slot = at::tensor({1.0f, 2.0f, 3.0f});
  params.gradient_view(0).add_(slot);
  const at::Tensor taken = params.take_gradient();
  params.gradient_view(0).add_(2 * slot);
  {
    GradientLoan loan(params);
    EXPECT_TRUE(at::equal(taken, slot));
    EXPECT_TRUE(at::equal(loan.gradient(), 2 * slot));
    loan.close(1);
    EXPECT_DEATH(params.gradient_view(0), "is being summed already");
  }
  EXPECT_TRUE(at::equal(params.gradient_view(0), at::zeros({3})));
  EXPECT_EQ(params.gradient().const_data_ptr(), place);
}

}  // namespace
}  // namespace lora_dist
