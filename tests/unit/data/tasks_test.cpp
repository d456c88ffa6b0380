// Every task of tasks.def from its samples to a part and back and to a batch; and the same ways
// with tasks whose samples are nothing like texts (tests/support/toy_tasks.hpp).
#include <algorithm>
#include <filesystem>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "data/streams/batch_stream.hpp"
#include "tests/support/one_rank_world.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/text_parts.hpp"
#include "tests/support/toy_tasks.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;

/// Any sample of a schema; columns with common offsets have equally many elements.
Sample some_sample(const SampleSchema& schema, int64_t number) {
  Sample sample;
  for (const Column& column : schema.columns) {
    std::vector<int64_t> shape = column.element;
    if (!column.offsets.empty())
      shape.insert(shape.begin(), 1 + (number + std::ssize(column.offsets)) % 4);
    const int64_t count =
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    const int64_t values = column.num_values > 0 ? std::min<int64_t>(column.num_values, 90) : 90;
    sample.values.push_back(at::arange(count, at::kLong)
                                .mul(7)
                                .add(number)
                                .remainder(values)
                                .to(column.dtype)
                                .view(shape));
  }
  return sample;
}

bool equal(const Sample& a, const Sample& b) {
  return std::ranges::equal(a.values, b.values, [](const at::Tensor& x, const at::Tensor& y) {
    return x.scalar_type() == y.scalar_type() && at::equal(x, y);
  });
}

void expect_to_read_back(const SampleSchema& schema) {
  SCOPED_TRACE(schema.task);
  const TempFolder folder;
  const std::string path = folder.file("part.h5");
  PartContent content(schema);
  PartAttributes attributes{.source_sha256 = "s", .num_records = 9};
  for (const std::string& name : schema.origins) attributes.origins[name] = "of " + name;
  for (int64_t i = 0; i < 9; ++i) content.add(some_sample(schema, i));
  write_part(path, attributes, content);
  const auto part = PartFile::open(path, schema);
  EXPECT_EQ(part->attributes(), attributes);
  ASSERT_EQ(part->num_samples(), 9);
  const std::vector<SampleMeasure> measures = part->measure();
  for (int64_t i = 0; i < 9; ++i) {
    const Sample sample = some_sample(schema, i);
    EXPECT_TRUE(equal(part->read(i), sample)) << "sample " << i;
    const SampleMeasure expected = schema.measure(view_of(sample));
    EXPECT_EQ(measures[i].cost, expected.cost);
    EXPECT_EQ(measures[i].loss_terms, expected.loss_terms);
    EXPECT_EQ(measures[i].bucket, expected.bucket);
  }
}

TEST(Tasks, NameTheirSamplesAndHaveAnEncoder) {
  for (const std::string_view name : tasks().names()) {
    SCOPED_TRACE(name);
    const SampleSchema schema = tasks().at(name).schema({});
    EXPECT_EQ(schema.task, name);
    EXPECT_FALSE(schema.columns.empty());
    EXPECT_NE(schema.measure, nullptr);
    EXPECT_NE(schema.collate, nullptr);
    EXPECT_NE(tasks().at(name).make, nullptr);
    std::set<std::string> names;
    for (const Column& column : schema.columns) {
      EXPECT_TRUE(names.insert(column.name).second) << column.name;
      EXPECT_FALSE(names.contains(column.offsets)) << column.offsets;
    }
    const auto encoder = sample_encoders().at(name)({.limits = {.vocab_size = 259}});
    EXPECT_EQ(encoder->schema().task, name);
    nlohmann::ordered_json made_from;
    encoder->describe(made_from);
    for (const std::string& origin : schema.origins) EXPECT_TRUE(made_from.contains(origin));
  }
  EXPECT_EQ(sample_encoders().names(), tasks().names());
}

TEST(Tasks, ReadTheirSamplesBackFromAPart) {
  for (const std::string_view name : tasks().names())
    expect_to_read_back(tasks().at(name).schema({.vocab_size = 259, .max_seq_length = 100}));
  expect_to_read_back(picture_schema());
  expect_to_read_back(pair_schema(259));
}

TEST(Tasks, CollateAsManyLossTermsAndAsMuchCostAsTheyMeasured) {
  for (const std::string_view name : tasks().names()) {
    SCOPED_TRACE(name);
    const SampleSchema schema = tasks().at(name).schema({.vocab_size = 259});
    std::vector<Sample> samples;
    Slot slot;
    int64_t loss_terms = 0, cost = 0;
    for (int64_t i = 0; i < 4; ++i) {
      samples.push_back(some_sample(schema, i));
      const SampleMeasure measure = schema.measure(view_of(samples.back()));
      slot.samples.push_back(i);
      slot.padded_length = std::max(slot.padded_length, measure.cost);
      loss_terms += measure.loss_terms;
      cost += measure.cost;
    }
    const Batch batch = schema.collate(samples, slot);
    EXPECT_FALSE(batch.columns.empty());
    EXPECT_EQ(batch.loss_terms, loss_terms);
    EXPECT_EQ(batch.cost, cost);
  }
}

TEST(Parts, OfShapedElementsSayWhichShapeTheyWant) {
  const TempFolder folder;
  SampleSchema schema = picture_schema();
  PartContent content(schema);
  content.add(some_sample(schema, 1));
  write_part(folder.file("part.h5"), {}, content);
  schema.columns[kSize].element = {3};
  try {
    PartFile::open(folder.file("part.h5"), schema);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()),
              folder.file("part.h5") +
                  ": elements of /size are (2), expected (3); write it with `lora-dist prepare`");
  }
}

TEST(Pairs, StandSideBySideInABatch) {
  const SampleSchema schema = pair_schema(259);
  const Sample chosen = to_sample({{1, 2, 3}, {0, 1, 1}}), rejected = to_sample({{1, 4}, {0, 1}});
  const Sample pair{{chosen.values[0], chosen.values[1], rejected.values[0], rejected.values[1]}};
  const SampleMeasure measure = schema.measure(view_of(pair));
  EXPECT_EQ(measure.cost, 5);
  EXPECT_EQ(measure.loss_terms, 1);
  const Batch batch = schema.collate({pair}, {.samples = {0}, .padded_length = 3});
  EXPECT_TRUE(at::equal(batch.columns.at("tokens"),
                        at::tensor({1, 2, 3, 1, 4, 0}, at::kLong).view({2, 3})));
}

class Pictures : public testing::Test {
 protected:
  /// 23 pictures of 3x2 and of 1x4, one after the other.
  std::unique_ptr<Dataset> prepare() {
    std::string records;
    for (int i = 0; i < 23; ++i)
      records += i % 3 == 0 ? "{\"text\": \"1x4\"}\n" : "{\"text\": \"3x2\"}\n";
    return prepare_dataset(
        {.path = folder.write("pictures.jsonl", records), .prepared_dir = folder.file("prepared")},
        encoder, world);
  }
  static std::vector<std::vector<int64_t>> slots_of(const StepPlan& plan) {
    std::vector<std::vector<int64_t>> slots;
    for (const Slot& slot : plan.slots) slots.push_back(slot.samples);
    return slots;
  }

  TempFolder folder;
  OneRankWorld world;
  PictureEncoder encoder;
};

TEST_F(Pictures, ArePreparedOnceIntoPartsThatNameTheirTask) {
  const auto dataset = prepare();
  EXPECT_EQ(dataset->num_samples(), 23);
  EXPECT_EQ(dataset->stats().loss_terms, 23);
  EXPECT_EQ(encoder.num_encoded, 23);
  prepare();
  EXPECT_EQ(encoder.num_encoded, 23) << "found as they were made";
  const std::string part =
      std::filesystem::directory_iterator(folder.file("prepared"))->path().string() +
      "/part-0000.h5";
  EXPECT_EQ(PartFile::open(part, picture_schema())->format_version(), 2);
  EXPECT_THAT(dataset->read(1).values[kLatents].sizes(), ElementsAre(3 * 2 * 2));
}

TEST_F(Pictures, OfASlotHaveOneShapeAndEachComesOnceInAnEpoch) {
  const auto dataset = prepare();
  for (const bool shuffle : {true, false}) {
    const auto stream = make_batch_stream(
        *dataset, {.batch_size = 4, .slots_per_step = 3, .epochs = 2, .shuffle = shuffle});
    EXPECT_EQ(stream->steps_per_epoch(), 2) << "2 slots of 1x4, 4 of 3x2";
    std::vector<std::vector<int64_t>> orders;
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      std::vector<int64_t> seen;
      for (int64_t step = 1; step <= 2; ++step) {
        const StepPlan plan = stream->plan(epoch * 2 + step);
        int64_t loss_terms = 0;
        for (const Slot& slot : plan.slots) {
          const Batch batch = stream->read(plan, slot);
          loss_terms += batch.loss_terms;
          const at::Tensor& latents = batch.columns.at("latents");
          ASSERT_EQ(latents.size(0), std::ssize(slot.samples));
          for (const int64_t sample : slot.samples) {
            EXPECT_EQ(latents.size(1), sample % 3 == 0 ? 1 : 3);
            seen.push_back(sample);
          }
        }
        EXPECT_EQ(loss_terms, plan.loss_terms);
      }
      orders.push_back(seen);
      std::ranges::sort(seen);
      std::vector<int64_t> all(23);
      std::iota(all.begin(), all.end(), int64_t{0});
      EXPECT_EQ(seen, all);
    }
    EXPECT_EQ(orders[0] != orders[1], shuffle);
  }
}

TEST_F(Pictures, MixTheShapesOfSlots) {
  const auto dataset = prepare();
  const auto stream =
      make_batch_stream(*dataset, {.batch_size = 1, .slots_per_step = 23, .prefetch = false});
  std::vector<int64_t> places;  // of pictures of 1x4
  const std::vector<std::vector<int64_t>> slots = slots_of(stream->plan(1));
  for (size_t place = 0; place < slots.size(); ++place)
    if (slots[place][0] % 3 == 0) places.push_back(static_cast<int64_t>(place));
  ASSERT_EQ(places.size(), 8u);
  EXPECT_GT(places.back() - places.front(), 7) << "one shape after the other";
}

TEST_F(Pictures, StandInTheSameSlotsAtEveryWorldSize) {
  const auto dataset = prepare();
  const auto alone = make_batch_stream(*dataset, {.batch_size = 3, .slots_per_step = 4});
  for (const int world_size : {2, 3, 5}) {
    for (int rank = 0; rank < world_size; ++rank) {
      const auto stream = make_batch_stream(
          *dataset, {.batch_size = 3, .slots_per_step = 4, .rank = rank, .world_size = world_size});
      ASSERT_EQ(stream->num_steps(), alone->num_steps());
      for (int64_t step = 1; step <= alone->num_steps(); ++step)
        EXPECT_EQ(slots_of(stream->plan(step)), slots_of(alone->plan(step)));
    }
  }
}

}  // namespace
}  // namespace lora_dist
