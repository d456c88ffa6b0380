// Blocks as recorded graphs, with a recorder for the host: the bits of the plain path whatever
// micro-batches come, and what is recorded when.

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/ops/cuda/rows.hpp"
#include "data/weights/base_folder.hpp"
#include "tests/support/gpu.hpp"
#include "tests/support/host_recorder.hpp"
#include "tests/support/text_passes.hpp"

namespace lora_dist {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

struct PassSetting {
  std::string family = "llama";
  double dropout = 0.2;
  bool recompute = false;
  bool upper_layer_only = false;  // nothing learns below it
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};

void PrintTo(const PassSetting& setting, std::ostream* out) { *out << setting.family; }

/// All of a base on one device and in one number format: nothing moves, nothing is converted.
class PlacedWeights final : public WeightSource {
 public:
  PlacedWeights(WeightSource& files, at::Device device, at::ScalarType dtype)
      : location_(files.location()), weights_(files.weights()) {
    for (size_t i = 0; i < weights_.size(); ++i) {
      weights_[i].format = &plain_format(dtype);
      values_.push_back(files.acquire(i).as_tensor().to(at::TensorOptions(device).dtype(dtype),
                                                        /*non_blocking=*/false, /*copy=*/true));
    }
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override { return values_[index]; }
  /// Other memory, the same values.
  void move() {
    before_ = values_;
    for (at::Tensor& value : values_) value = value.clone();
  }

 private:
  std::string location_;
  std::vector<WeightInfo> weights_;
  std::vector<at::Tensor> values_, before_;
};

/// A small base with an adapter, whose values are changed as an optimizer would.
class SmallModel {
 public:
  explicit SmallModel(const PassSetting& setting)
      : folder_(LORA_DIST_SOURCE_DIR "/tests/golden/models/" + setting.family),
        files_(open_base_weights(folder_)),
        weights(*files_, setting.device, setting.dtype),
        decoder(read_decoder_spec(read_model_config(folder_), folder_), weights,
                {.compute = setting.dtype,
                 .device = setting.device,
                 .recompute_blocks = setting.recompute}) {
    adapter = make_adapter({.groups = decoder.linear_groups(),
                            .config = {.lora_dropout = setting.dropout},
                            .targets = targets(setting),
                            .compute = setting.dtype,
                            .device = setting.device});
    params().allocate(setting.device, /*gradient_stays=*/true);
    const at::Tensor places = at::arange(params().num_elements(), at::kFloat);
    params().flat().copy_(at::sin(places * 1.7) * 0.1);
    adapter->attach(1);
  }

  TrainableParams& params() { return adapter->params(); }

  /// Loss and gradient of one micro-batch; then the parameters move on.
  std::pair<double, at::Tensor> step(const TextBatch& batch, const PassContext& pass) {
    const double loss = forward_backward(decoder, batch, pass);
    at::Tensor gradient = params().take_gradient();
    params().flat().sub_(gradient * 0.01);
    adapter->refresh();
    return {loss, gradient};
  }

 private:
  std::vector<std::string> targets(const PassSetting& setting) {
    std::vector<std::string> names;
    const std::string last = fmt::format(".{}.", decoder.spec().num_blocks() - 1);
    for (const LinearGroup* group : decoder.linear_groups())
      for (const Linear& linear : group->linears())
        if (!setting.upper_layer_only || linear.name().find(last) != std::string::npos)
          names.push_back(linear.name());
    return names;
  }

  std::string folder_;
  std::unique_ptr<WeightSource> files_;

 public:
  PlacedWeights weights;
  Decoder decoder;
  std::unique_ptr<Adapter> adapter;
};

TextBatch batch_of_shape(int64_t rows, int64_t tokens, int64_t seed) {
  const at::Tensor ids =
      at::arange(rows * (tokens + 1), at::kLong).mul(7 + seed).add(3 * seed).remainder(90);
  const at::Tensor row = ids.view({rows, tokens + 1});
  TextBatch batch{.tokens_BT = row.narrow(1, 0, tokens).clone(),
                  .labels_BT = row.narrow(1, 1, tokens).clone()};
  batch.labels_BT.narrow(1, 0, 1 + seed % 3).fill_(kIgnoredLabel);  // another number of labels
  return batch;
}

/// One row of samples that end at `ends`.
TextBatch packed_batch(std::vector<int64_t> ends, int64_t seed) {
  TextBatch batch = batch_of_shape(1, ends.back(), seed);
  std::vector<at::Tensor> positions;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    positions.push_back(at::arange(end - begin, at::kLong));
    begin = end;
  }
  batch.positions_BT = at::cat(positions).unsqueeze(0);
  return batch;
}

/// Three shapes in turns, each often enough to be rehearsed, recorded and replayed; longer than the
/// 16 tokens from which on the rotation of llama_dynamic follows the length.
std::vector<TextBatch> mixed_batches() {
  return {batch_of_shape(2, 8, 1),     batch_of_shape(1, 20, 2), packed_batch({5, 20}, 3),
          batch_of_shape(2, 8, 4),     packed_batch({2, 20}, 5), batch_of_shape(2, 8, 6),
          batch_of_shape(1, 20, 7),    packed_batch({9, 20}, 8), batch_of_shape(1, 20, 9),
          packed_batch({4, 7, 20}, 1), packed_batch({20}, 2),    batch_of_shape(2, 8, 3),
          packed_batch({5, 20}, 4),    batch_of_shape(1, 20, 5)};
}

PassContext pass_number(int64_t number) {
  return {.training = true,
          .seed = 11,
          .step = static_cast<uint32_t>(number / 3),
          .slot = static_cast<uint32_t>(number % 3)};
}

class RecordedBlocks : public testing::TestWithParam<PassSetting> {};

void expect_the_bits_of_the_plain_path(const PassSetting& setting,
                                       std::shared_ptr<ops::cuda::GraphRecorder> recorder) {
  SmallModel plain(setting), recorded(setting);
  recorded.decoder.record_blocks(std::move(recorder));
  const std::vector<TextBatch> batches = mixed_batches();
  for (size_t i = 0; i < batches.size(); ++i) {
    const PassContext pass = pass_number(static_cast<int64_t>(i));
    const auto [wanted_loss, wanted] = plain.step(batches[i], pass);
    const auto [loss, gradient] = recorded.step(batches[i], pass);
    EXPECT_EQ(loss, wanted_loss) << "micro-batch " << i;
    EXPECT_TRUE(at::equal(gradient, wanted)) << "micro-batch " << i;
    EXPECT_GT(wanted.abs().max().item<float>(), 0) << "micro-batch " << i;
  }
  EXPECT_EQ(loss_of(recorded.decoder, batches[0]), loss_of(plain.decoder, batches[0]));
}

TEST_P(RecordedBlocks, GiveTheBitsOfThePlainPathWhateverComesInTurn) {
  const auto recorder = std::make_shared<HostRecorder>();
  expect_the_bits_of_the_plain_path(GetParam(), recorder);
  EXPECT_THAT(recorder->moved, IsEmpty());
}

TEST_P(RecordedBlocks, GiveTheBitsOfThePlainPathOnAGpu) {
  const std::optional<at::Device> gpu = this_machines_gpu();
  if (!gpu) GTEST_SKIP() << kNoGpu;
  if (ops::cuda::compute_capability(*gpu) < 80)
    GTEST_SKIP() << "no kernels of our own for this GPU";
  PassSetting setting = GetParam();
  setting.device = *gpu;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat}) {
    setting.dtype = dtype;
    expect_the_bits_of_the_plain_path(setting, ops::cuda::make_graph_recorder(*gpu));
  }
}

TEST_P(RecordedBlocks, DrawAnotherMaskInEachStepAndSlot) {
  PassSetting setting = GetParam();
  setting.dropout = 0.5;
  SmallModel model(setting);
  model.decoder.record_blocks(std::make_shared<HostRecorder>());
  const TextBatch batch = batch_of_shape(2, 8, 1);
  std::vector<double> losses;
  for (const auto& [step, slot] :
       std::vector<std::pair<uint32_t, uint32_t>>{{1, 0}, {1, 0}, {1, 0}, {2, 0}, {1, 1}, {1, 0}})
    losses.push_back(forward_backward(model.decoder, batch,
                                      {.training = true, .seed = 11, .step = step, .slot = slot}));
  for (const size_t same : {1, 2, 5}) EXPECT_EQ(losses[same], losses[0]);
  EXPECT_NE(losses[3], losses[0]);
  EXPECT_NE(losses[4], losses[0]);
  EXPECT_NE(losses[4], losses[3]);
}

INSTANTIATE_TEST_SUITE_P(
    Settings, RecordedBlocks,
    testing::Values(PassSetting{}, PassSetting{.dropout = 0}, PassSetting{.recompute = true},
                    PassSetting{.upper_layer_only = true},
                    PassSetting{.recompute = true, .upper_layer_only = true},
                    PassSetting{.family = "gemma2"}, PassSetting{.family = "qwen3"},
                    PassSetting{.family = "phi3"}, PassSetting{.family = "llama_dynamic"}),
    [](const auto& info) {
      const PassSetting& setting = info.param;
      return fmt::format("{}{}{}{}", setting.family, setting.dropout > 0 ? "" : "_no_dropout",
                         setting.recompute ? "_rebuilt" : "",
                         setting.upper_layer_only ? "_upper_layer" : "");
    });

TEST(Recording, RehearsesThenRecordsThenReplaysInTheOrderOfAPass) {
  SmallModel model({});
  ASSERT_EQ(model.decoder.spec().num_blocks(), 2);
  const auto recorder = std::make_shared<HostRecorder>();
  model.decoder.record_blocks(recorder);
  const auto events_of = [&](const TextBatch& batch) {
    recorder->events.clear();
    model.step(batch, pass_number(1));
    return recorder->events;
  };
  const std::vector<std::string> rehearsal = {"room", "rehearse", "rehearse", "rehearse",
                                              "rehearse"};
  EXPECT_EQ(events_of(batch_of_shape(2, 8, 1)), rehearsal);
  EXPECT_THAT(events_of(batch_of_shape(2, 8, 2)),
              ElementsAre("room", "record 0", "replay 0", "record 1", "replay 1", "record 2",
                          "replay 2", "record 3", "replay 3"));
  EXPECT_THAT(events_of(batch_of_shape(2, 8, 3)),
              ElementsAre("replay 0", "replay 1", "replay 2", "replay 3"));
  EXPECT_EQ(events_of(batch_of_shape(2, 9, 3)), rehearsal) << "another shape";
  EXPECT_EQ(events_of(packed_batch({3, 8}, 3)), rehearsal);
  EXPECT_THAT(events_of(batch_of_shape(2, 8, 4)), Contains("replay 3"));
}

TEST(Recording, GivesUpTheShapeThatWasNotUsedForLongest) {
  SmallModel model({});
  const auto recorder = std::make_shared<HostRecorder>();
  model.decoder.record_blocks(recorder);
  const auto run = [&](int64_t tokens) { model.step(batch_of_shape(1, tokens, 1), {}); };
  run(6), run(6);  // recorded, graphs 0 to 3
  run(7), run(7);  // recorded, graphs 4 to 7
  run(6);          // used later than 7
  const auto others = static_cast<int64_t>(RecordedPasses::kMostShapes) - 1;
  for (int64_t i = 0; i < others; ++i) run(10 + i);
  EXPECT_THAT(recorder->events, Contains("forget 7"));
  EXPECT_THAT(recorder->events, Not(Contains("forget 3")));
  recorder->events.clear();
  run(6);
  EXPECT_THAT(recorder->events, ElementsAre("replay 0", "replay 1", "replay 2", "replay 3"));
}

// Kernels were recorded with the adapters of their pass.
TEST(Recording, KeepsPassesWithOtherAdaptersApart) {
  SmallModel plain({}), recorded({});
  recorded.decoder.record_blocks(std::make_shared<HostRecorder>());
  const std::vector<std::optional<std::vector<ActiveAdapter>>> sets = {
      std::nullopt, {{}}, {{{.weight = 0.5}}}, {{{.first_row = 2, .end_row = 5}}}};
  std::vector<double> losses;
  for (size_t i = 0; i < 4 * sets.size(); ++i) {
    PassContext pass = pass_number(1);
    pass.adapters = sets[i % sets.size()];
    const TextBatch batch = batch_of_shape(2, 8, 1);
    losses.push_back(forward_backward(recorded.decoder, batch, pass));
    EXPECT_EQ(losses.back(), forward_backward(plain.decoder, batch, pass)) << "pass " << i;
    EXPECT_TRUE(at::equal(recorded.params().take_gradient(), plain.params().take_gradient()));
  }
  EXPECT_EQ(std::set<double>(losses.begin(), losses.end()).size(), sets.size());
}

TEST(AdaptersOfAPass, AreNoneForTheBaseAlone) {
  SmallModel model({});
  Decoder bare(model.decoder.spec(), model.weights, model.decoder.options());
  const TextBatch batch = batch_of_shape(2, 8, 1);
  EXPECT_EQ(forward_backward(model.decoder, batch, {.adapters = {{}}}),
            forward_backward(bare, batch, {}));
  EXPECT_EQ(model.params().gradient().abs().max().item<float>(), 0);
  EXPECT_NE(forward_backward(model.decoder, batch, {}), forward_backward(bare, batch, {}));
}

TEST(AdaptersOfAPass, AnswerOneRequestAndNotTheNext) {
  SmallModel model({});
  Decoder bare(model.decoder.spec(), model.weights, model.decoder.options());
  const std::vector<int64_t> tokens = {3, 5, 7, 4};
  const auto logits = [&](const PassContext& pass) {
    return model.decoder.logits(tokens, nullptr, /*last_only=*/false, pass);
  };
  const at::Tensor of_base = bare.logits(tokens, nullptr, /*last_only=*/false);
  EXPECT_FALSE(at::equal(logits({}), of_base));
  EXPECT_TRUE(at::equal(logits({.adapters = {{}}}), of_base));
  EXPECT_TRUE(at::equal(logits({.adapters = {{{.weight = 1}}}}), logits({})));
}

TEST(AdaptersOfAPass, SitOnTheModel) {
  SmallModel model({});
  EXPECT_DEATH(
      forward_backward(model.decoder, batch_of_shape(1, 4, 1), {.adapters = {{{.id = 7}}}}),
      "adapter 7 is not attached");
}

// The watch over addresses is able to fail.
TEST(Recording, IsSeenToReadWhatHasMoved) {
  SmallModel model({});
  const auto recorder = std::make_shared<HostRecorder>();
  model.decoder.record_blocks(recorder);
  for (int64_t i = 0; i < 4; ++i) model.step(batch_of_shape(1, 8, i), {});
  EXPECT_THAT(recorder->moved, IsEmpty());
  model.weights.move();
  model.step(batch_of_shape(1, 8, 4), {});
  EXPECT_THAT(recorder->moved, Not(IsEmpty()));
}

}  // namespace
}  // namespace lora_dist
