#include "data/streams/batch_stream.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/samples/tokens.hpp"
#include "core/tasks/task_kind.hpp"
#include "core/tasks/text_batch.hpp"
#include "data/streams/permutation.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;

/// Sample s has s % 13 + 2 tokens: s, s + 1, ...; every second one of them is learnt.
class ArithmeticDataset : public Dataset {
 public:
  explicit ArithmeticDataset(int64_t num_samples) {
    for (int64_t sample = 0; sample < num_samples; ++sample) {
      const int64_t length = sample % 13 + 2;
      measures_.add({.cost = length, .loss_terms = length / 2});  // positions 1, 3, 5, ...
    }
  }
  const SampleSchema& schema() const override { return schema_; }
  int64_t num_samples() const override { return std::ssize(measures_.costs); }
  const SampleMeasures& measures() const override { return measures_; }
  const DatasetStats& stats() const override { return stats_; }
  const std::string& fingerprint() const override { return fingerprint_; }
  Sample read(int64_t sample) override {
    ++num_read;
    if (sample == broken_sample)
      throw DataError({.where = "part", .found = "broken", .expected = {}, .fix = {}});
    Tokens tokens;
    for (int32_t i = 0; i < measures_.costs[sample]; ++i) {
      tokens.ids.push_back(static_cast<TokenId>(sample + i));
      tokens.loss_mask.push_back(i % 2 == 1);
    }
    return to_sample(tokens);
  }

  std::atomic<int64_t> num_read = 0;
  int64_t broken_sample = -1;

 private:
  SampleSchema schema_ = tasks().at(kTextGeneration).schema({});
  SampleMeasures measures_;
  DatasetStats stats_;
  std::string fingerprint_;
};

std::vector<int64_t> samples_of(const StepPlan& plan) {
  std::vector<int64_t> samples;
  for (const Slot& slot : plan.slots)
    samples.insert(samples.end(), slot.samples.begin(), slot.samples.end());
  return samples;
}

bool equal(const Batch& a, const Batch& b) {
  return a.loss_terms == b.loss_terms && a.cost == b.cost &&
         std::ranges::equal(a.columns, b.columns, [](const auto& x, const auto& y) {
           return x.first == y.first && at::equal(x.second, y.second);
         });
}

TEST(BatchStream, KeepsTheLastShortBatchOfAnEpoch) {
  ArithmeticDataset dataset(150);  // the brief: 150 pairs, batch 4, 15 epochs
  const auto stream =
      make_batch_stream(dataset, {.batch_size = 4, .slots_per_step = 1, .epochs = 15});
  EXPECT_EQ(stream->steps_per_epoch(), 38);
  EXPECT_EQ(stream->num_steps(), 570);
  EXPECT_EQ(stream->plan(38).slots.at(0).samples.size(), 2u);
  EXPECT_EQ(stream->plan(38).epoch, 1.0);
  EXPECT_EQ(stream->plan(39).slots.at(0).samples.size(), 4u);
}

TEST(BatchStream, CountsStepsOfFractionalEpochsAndOfMaxSteps) {
  ArithmeticDataset dataset(100);
  StreamOptions options{.batch_size = 4, .slots_per_step = 3};
  const auto steps = [&](double epochs, int64_t max_steps) {
    options.epochs = epochs;
    options.max_steps = max_steps;
    return make_batch_stream(dataset, options)->num_steps();
  };
  EXPECT_EQ(steps(1, -1), 9);  // 25 slots in steps of 3
  EXPECT_EQ(steps(0.5, -1), 5);
  EXPECT_EQ(steps(0.001, -1), 1);
  EXPECT_EQ(steps(3, 7), 7);
  EXPECT_EQ(steps(0.1 * 30, -1), 27) << "0.1 * 30 is a little more than 3";
}

TEST(BatchStream, VisitsEverySampleOnceInEachEpoch) {
  ArithmeticDataset dataset(101);
  const auto stream = make_batch_stream(dataset, {.batch_size = 4, .slots_per_step = 3});
  std::vector<int64_t> everything(101);
  std::iota(everything.begin(), everything.end(), int64_t{0});
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> seen;
    for (int64_t step = 1; step <= stream->steps_per_epoch(); ++step)
      for (const int64_t sample :
           samples_of(stream->plan(epoch * stream->steps_per_epoch() + step)))
        seen.push_back(sample);
    orders.push_back(seen);
    EXPECT_NE(seen, everything) << "not shuffled";
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, everything);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST(BatchStream, PlansTheSameOnEveryRankOfEveryWorld) {
  ArithmeticDataset dataset(50);
  const auto alone = make_batch_stream(dataset, {.batch_size = 3, .slots_per_step = 8});
  for (const int world_size : {2, 3, 8}) {
    for (int rank = 0; rank < world_size; ++rank) {
      const auto stream = make_batch_stream(
          dataset, {.batch_size = 3, .slots_per_step = 8, .rank = rank, .world_size = world_size});
      for (int64_t step = alone->num_steps(); step >= 1; --step) {
        EXPECT_EQ(samples_of(stream->plan(step)), samples_of(alone->plan(step)));
        EXPECT_EQ(stream->plan(step).loss_terms, alone->plan(step).loss_terms);
      }
    }
  }
}

TEST(BatchStream, OrdersByTheSeedOrNotAtAll) {
  ArithmeticDataset dataset(20);
  const auto first_step = [&](bool shuffle, int64_t seed) {
    return samples_of(
        make_batch_stream(dataset, {.batch_size = 20, .shuffle = shuffle, .seed = seed})->plan(1));
  };
  EXPECT_EQ(first_step(true, 1), first_step(true, 1));
  EXPECT_NE(first_step(true, 1), first_step(true, 2));
  EXPECT_NE(first_step(true, 1), first_step(true, 1 + (int64_t{1} << 32)))
      << "all 64 bits of the seed count";
  std::vector<int64_t> ascending(20);
  std::iota(ascending.begin(), ascending.end(), int64_t{0});
  EXPECT_EQ(first_step(false, 1), ascending);
}

TEST(BatchStream, TakesTheGivenSamplesOnly) {
  ArithmeticDataset dataset(20);
  const auto stream =
      make_batch_stream(dataset, {.samples = {3, 5, 17}, .batch_size = 2, .shuffle = false});
  EXPECT_EQ(stream->num_samples(), 3);
  EXPECT_THAT(samples_of(stream->plan(1)), ElementsAre(3, 5));
  EXPECT_THAT(samples_of(stream->plan(2)), ElementsAre(17));
}

TEST(BatchStream, ShiftsLabelsAndPadsToAMultipleOfEight) {
  ArithmeticDataset dataset(20);
  const auto stream =
      make_batch_stream(dataset, {.samples = {2, 7}, .batch_size = 2, .shuffle = false});
  const StepPlan plan = stream->plan(1);
  EXPECT_EQ(plan.slots[0].padded_length, 16);  // samples of 4 and 9 tokens
  const Batch read = stream->read(plan, plan.slots[0]);
  const TextBatch batch = text_batch_of(read);
  const at::Tensor tokens = at::tensor({2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, at::kLong);
  const at::Tensor labels = at::full({16}, -100, at::kLong);
  labels[0] = 3;
  labels[2] = 5;
  EXPECT_TRUE(at::equal(batch.tokens_BT[0], tokens)) << batch.tokens_BT;
  EXPECT_TRUE(at::equal(batch.labels_BT[0], labels)) << batch.labels_BT;
  EXPECT_THAT(batch.lengths, ElementsAre(4, 9));
  EXPECT_EQ(read.cost, 13);
  EXPECT_EQ(read.loss_terms, 2 + 4);
}

TEST(BatchStream, StopsPaddingAtTheLongestSequenceAllowed) {
  ArithmeticDataset dataset(20);
  const auto padded = [&](int64_t max_seq_length) {
    return make_batch_stream(dataset,
                             {.samples = {7}, .batch_size = 1, .max_seq_length = max_seq_length})
        ->plan(1)
        .slots[0]
        .padded_length;
  };
  EXPECT_EQ(padded(0), 16);
  EXPECT_EQ(padded(12), 12);
  EXPECT_EQ(padded(64), 16);
}

TEST(BatchStream, PlansExactlyTheLabelsThatTheBatchesHold) {
  ArithmeticDataset dataset(57);
  for (const bool packing : {false, true}) {
    const auto stream = make_batch_stream(dataset, {.batch_size = 4,
                                                    .slots_per_step = 5,
                                                    .epochs = 2,
                                                    .max_seq_length = 20,
                                                    .packing = packing});
    for (int64_t step = 1; step <= stream->num_steps(); ++step) {
      const StepPlan plan = stream->plan(step);
      int64_t labels = 0, counted = 0, tokens = 0, samples = 0;
      for (const Slot& slot : plan.slots) {
        const Batch batch = stream->read(plan, slot);
        labels += batch.loss_terms;
        counted += text_batch_of(batch).labels_BT.ne(kIgnoredLabel).sum().item<int64_t>();
        tokens += batch.cost;
        samples += static_cast<int64_t>(slot.samples.size());
        EXPECT_EQ(text_batch_of(batch).tokens_BT.size(0), slot.num_rows());
      }
      EXPECT_EQ(labels, plan.loss_terms);
      EXPECT_EQ(counted, plan.loss_terms);
      EXPECT_EQ(tokens, plan.cost);
      EXPECT_EQ(samples, plan.num_samples);
    }
  }
}

TEST(BatchStream, PacksSamplesIntoRowsThatRestartTheirPositions) {
  ArithmeticDataset dataset(20);
  const auto stream = make_batch_stream(dataset, {.samples = {2, 3, 7},
                                                  .batch_size = 1,
                                                  .max_seq_length = 12,
                                                  .packing = true,
                                                  .shuffle = false});
  EXPECT_EQ(stream->num_samples(), 3);
  EXPECT_EQ(stream->num_rows(), 2);  // samples of 4 and 5 tokens, and one of 9
  const StepPlan plan = stream->plan(1);
  EXPECT_EQ(plan.num_samples, 2);
  EXPECT_EQ(plan.cost, 9);
  const TextBatch batch = text_batch_of(stream->read(plan, plan.slots[0]));
  const int64_t ignored = kIgnoredLabel;
  EXPECT_TRUE(
      at::equal(batch.tokens_BT[0], at::tensor({2, 3, 4, 5, 3, 4, 5, 6, 7, 0, 0, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.positions_BT[0],
                        at::tensor({0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.labels_BT[0],
                        at::tensor({int64_t{3}, ignored, int64_t{5}, ignored, int64_t{4}, ignored,
                                    int64_t{6}, ignored, ignored, ignored, ignored, ignored})));
}

TEST(BatchStream, PacksEveryEpochAnewIntoAsManyRows) {
  ArithmeticDataset dataset(100);
  const auto stream = make_batch_stream(
      dataset, {.batch_size = 3, .slots_per_step = 100, .max_seq_length = 32, .packing = true});
  EXPECT_EQ(stream->steps_per_epoch(), 1);
  const StepPlan first = stream->plan(1), second = stream->plan(2);
  EXPECT_EQ(first.slots.size(), second.slots.size());
  EXPECT_NE(samples_of(first), samples_of(second));
  EXPECT_THAT(samples_of(first), testing::UnorderedElementsAreArray(samples_of(second)));
}

TEST(BatchStream, GivesTheSameBatchesAheadOfTimeAndWhenAsked) {
  ArithmeticDataset dataset(57);
  for (int rank = 0; rank < 3; ++rank) {
    StreamOptions options{.batch_size = 2,
                          .slots_per_step = 4,
                          .epochs = 2,
                          .max_seq_length = 16,
                          .packing = rank == 2,
                          .rank = rank,
                          .world_size = 3};
    const auto ahead = make_batch_stream(dataset, options);
    options.prefetch = false;
    const auto asked = make_batch_stream(dataset, options);
    for (int64_t step = 1; step <= ahead->num_steps() + 1; ++step) {  // one beyond the end, too
      const StepPlan plan = ahead->plan(step);
      for (const Slot& slot : plan.slots_of(rank, 3))
        EXPECT_TRUE(equal(ahead->read(plan, slot), asked->read(plan, slot)));
    }
  }
}

TEST(BatchStream, GoesOnFromAnyStepAsIfItHadNeverStopped) {
  ArithmeticDataset dataset(57);
  StreamOptions options{.batch_size = 2, .slots_per_step = 3, .epochs = 2};
  const auto whole = make_batch_stream(dataset, options);
  for (const int64_t resumed_at : {1, 2, 7, 10, 11, 20}) {
    const auto resumed = make_batch_stream(dataset, options);
    for (int64_t step = resumed_at; step < resumed_at + 3 && step <= whole->num_steps(); ++step) {
      const StepPlan plan = resumed->plan(step);
      for (const Slot& slot : plan.slots)
        EXPECT_TRUE(equal(resumed->read(plan, slot), whole->read(whole->plan(step), slot)));
    }
  }
}

TEST(BatchStream, ReadsASlotOfAnotherRankWithoutLosingItsPlace) {
  ArithmeticDataset dataset(40);
  const auto stream = make_batch_stream(
      dataset, {.batch_size = 2, .slots_per_step = 4, .rank = 1, .world_size = 2});
  const StepPlan plan = stream->plan(1);
  for (const Slot& slot : plan.slots) {
    const TextBatch batch = text_batch_of(stream->read(plan, slot));
    EXPECT_EQ(batch.tokens_BT[0][0].item<int64_t>(), slot.samples[0]);
  }
}

TEST(BatchStream, ThrowsWhatReadingThrewAtTheSlotConcernedAndReadsOn) {
  ArithmeticDataset dataset(20);
  dataset.broken_sample = 5;
  const auto stream = make_batch_stream(dataset, {.batch_size = 2, .shuffle = false});
  for (int64_t step = 1; step <= 5; ++step) {
    const StepPlan plan = stream->plan(step);
    if (step == 3)
      EXPECT_THROW(stream->read(plan, plan.slots[0]), DataError);
    else
      EXPECT_EQ(stream->read(plan, plan.slots[0]).cost, plan.cost);
  }
}

TEST(BatchStream, ReadsAFewBatchesAheadAndNoMore) {
  ArithmeticDataset dataset(1000);
  {
    const auto stream = make_batch_stream(dataset, {.batch_size = 1, .shuffle = false});
    EXPECT_EQ(dataset.num_read, 0) << "nothing is read before the first batch is asked for";
    stream->read(stream->plan(1), stream->plan(1).slots[0]);
  }
  EXPECT_LE(dataset.num_read, 1 + 4 + 1) << "the queue is bounded";
}

TEST(RandomPermutation, FindsEveryOrderAboutEquallyOften) {
  std::map<std::vector<int64_t>, int> counts;
  constexpr int kDraws = 24000;
  for (int64_t epoch = 0; epoch < kDraws; ++epoch)
    ++counts[random_permutation(4, 42, DrawPurpose::kEpochOrder, epoch)];
  EXPECT_EQ(counts.size(), 24u);
  // 1000 expected of each, standard deviation 31: six of them leave nothing to chance.
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 186);
}

TEST(RandomPermutation, KeepsThePurposesOfASeedApart) {
  EXPECT_NE(random_permutation(30, 42, DrawPurpose::kEpochOrder, 0),
            random_permutation(30, 42, DrawPurpose::kValidationSplit, 0));
  EXPECT_TRUE(random_permutation(0, 42, DrawPurpose::kEpochOrder, 0).empty());
  EXPECT_THAT(random_permutation(1, 42, DrawPurpose::kEpochOrder, 0), ElementsAre(0));
}

}  // namespace
}  // namespace lora_dist
