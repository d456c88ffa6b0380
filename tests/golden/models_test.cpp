// Numbers equal to PEFT's: logits, loss, every adapter gradient and 20 AdamW steps of one tiny
// model per family. The files come from make_models.py; README.md beside it says what they hold.

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "core/models/decoder/generation.hpp"
#include "core/tasks/text_batch.hpp"
#include "core/tasks/text_generation.hpp"
#include "core/training/trainer.hpp"
#include "data/exports/peft.hpp"
#include "data/io/files.hpp"
#include "data/weights/safetensors.hpp"
#include "dist/backends/backend.hpp"
#include "dist/reducers/reducer.hpp"
#include "launcher/run/base_model.hpp"
#include "tests/support/gpu.hpp"
#include "tests/support/text_passes.hpp"
#include "tests/support/vector_stream.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kModels = fs::path(LORA_DIST_SOURCE_DIR) / "tests/golden/models";

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kModels))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

Json read_json(const fs::path& path) { return Json::parse(read_file(path.string())); }

at::Tensor matrix(const Json& rows) {
  std::vector<int64_t> values;
  for (const Json& row : rows) values.insert(values.end(), row.begin(), row.end());
  return at::tensor(values, at::kLong).view({static_cast<int64_t>(rows.size()), -1});
}

// Labels of the files are unshifted: position t learns labels[t + 1].
TextBatch batch_of(const Json& micro_batch) {
  TextBatch batch;
  batch.tokens_BT = matrix(micro_batch.at("input_ids"));
  const at::Tensor unshifted = matrix(micro_batch.at("labels"));
  batch.labels_BT = at::full_like(unshifted, kIgnoredLabel);
  const int64_t last = unshifted.size(1) - 1;
  batch.labels_BT.narrow(1, 0, last).copy_(unshifted.narrow(1, 1, last));
  return batch;
}

int64_t labels_in(const TextBatch& batch) {
  return (batch.labels_BT != kIgnoredLabel).sum().item<int64_t>();
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.flatten().to(at::kDouble), y = b.flatten().to(at::kDouble);
  const double norms = (x.norm() * y.norm()).item<double>();
  return norms == 0 ? 1 : x.dot(y).item<double>() / norms;
}

class Losses final : public RunObserver {
 public:
  void on_step(const StepMetrics& metrics) override {
    losses.push_back(metrics.loss);
    grad_norms.push_back(metrics.grad_norm);
  }
  std::vector<double> losses, grad_norms;
};

class GoldenModel : public testing::TestWithParam<std::string> {
 protected:
  fs::path folder() const { return kModels / GetParam(); }

  OpenedModel open(const std::string& adapter, const std::string& dtype, bool recompute = false,
                   const std::string& device = "cpu") const {
    return open_model({.base = folder().string(),
                       .dtype = dtype,
                       .device = device,
                       .recompute_blocks = recompute,
                       .needs_tokenizer = false,
                       .adapters = {{(folder() / adapter).string(), 1}}});
  }

  std::vector<TextBatch> batches() const {
    std::vector<TextBatch> result;
    const Json file = read_json(folder() / "batch.json");
    for (const Json& micro_batch : file.at("micro_batches"))
      result.push_back(batch_of(micro_batch));
    return result;
  }

  // Loss and gradients of both micro-batches at adapter_random against the stored ones.
  void expect_same_gradients(const std::string& dtype, bool recompute, double loss_tolerance,
                             double least_cosine, const std::string& device = "cpu") {
    OpenedModel model = open("adapter_random", dtype, recompute, device);
    TrainableParams& params = model.adapters.front()->params();
    double loss = 0, labels = 0;
    for (const TextBatch& batch : batches()) {
      loss += forward_backward(model.decoder(), batch);
      labels += static_cast<double>(labels_in(batch));
    }
    const double expected = read_json(folder() / "expected.json").at("loss_" + dtype);
    EXPECT_NEAR(loss / labels, expected, loss_tolerance * expected);
    const auto stored = SafetensorsFile::open((folder() / "expected.safetensors").string());
    for (size_t i = 0; i < params.entries().size(); ++i) {
      const std::string name = peft_dialect().key_of(params.entries()[i]);
      const at::Tensor gradient = params.gradient_view(i).cpu() / labels;
      const at::Tensor reference = stored->tensor("grad_fp32." + name);
      EXPECT_GT(cosine(gradient, reference), least_cosine) << name;
      EXPECT_NEAR(gradient.norm().item<double>() / reference.norm().item<double>(), 1,
                  dtype == "fp32" ? 1e-4 : 3e-2)
          << name;
    }
  }

  void expect_same_training(const std::string& dtype, double tolerance) {
    OpenedModel model = open("adapter", dtype);
    const Json expected = read_json(folder() / "expected.json");
    const std::unique_ptr<Task> task = make_text_generation_task(model.decoder());
    Adapter& adapter = *model.adapters.front();
    StepsConfig steps;
    steps.scheduler = "constant";
    steps.learning_rate = expected.at("learning_rate");
    const auto world = make_local_world(1, 10);
    const auto reducer = reducers().at("tree")({*world[0], adapter.params().num_elements()});
    const auto optimizer = optimizers().at("adamw")({adapter.params().flat(), steps});
    std::vector<Batch> stream_batches;
    for (const TextBatch& batch : batches())
      stream_batches.push_back(to_batch(batch, labels_in(batch), batch.tokens_BT.numel()));
    VectorStream stream(std::move(stream_batches), 20);
    Losses seen;
    Trainer trainer({.world = *world[0],
                     .task = *task,
                     .adapter = adapter,
                     .stream = stream,
                     .reducer = *reducer,
                     .optimizer = *optimizer,
                     .schedule = make_schedule(steps, 20),
                     .observers = {&seen}},
                    {.max_grad_norm = expected.at("max_grad_norm"), .save_steps = 0});
    trainer.run();
    const std::vector<double> losses = expected.at("losses_" + dtype),
                              norms = expected.at("grad_norms_" + dtype);
    ASSERT_EQ(seen.losses.size(), losses.size());
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(seen.losses[i] / losses[i], 1, tolerance) << "step " << i + 1;
      if (dtype == "fp32") {
        EXPECT_NEAR(seen.grad_norms[i] / norms[i], 1, 1e-3) << "step " << i + 1;
      }
    }
  }
};

TEST_P(GoldenModel, GivesPackedSamplesTheLossAndGradientsTheyHaveApart) {
  OpenedModel model = open("adapter_random", "fp32");
  TrainableParams& params = model.adapters.front()->params();
  constexpr int64_t kLength = 8, kPadding = 3;
  const TextBatch given = batches().front();
  const int64_t count = given.tokens_BT.size(0);
  TextBatch apart;
  apart.tokens_BT = given.tokens_BT.narrow(1, 0, kLength).contiguous();
  apart.labels_BT = apart.tokens_BT.roll(-1, 1);
  apart.labels_BT.select(1, kLength - 1).fill_(kIgnoredLabel);
  const auto in_a_row = [](const at::Tensor& values, const at::Tensor& padding) {
    return at::cat({values.flatten(), padding}).unsqueeze(0);
  };
  TextBatch packed;
  packed.tokens_BT = in_a_row(apart.tokens_BT, at::zeros({kPadding}, at::kLong));
  packed.labels_BT = in_a_row(apart.labels_BT, at::full({kPadding}, kIgnoredLabel, at::kLong));
  packed.positions_BT =
      in_a_row(at::arange(kLength).repeat({count}), at::arange(kPadding, at::kLong));

  const double loss = forward_backward(model.decoder(), apart);
  const at::Tensor gradient = params.gradient().clone();
  params.gradient().zero_();
  ASSERT_GE(count, 2);
  EXPECT_NEAR(forward_backward(model.decoder(), packed), loss, 1e-6 * loss);
  EXPECT_LT((params.gradient() - gradient).abs().max().item<double>(),
            1e-5 * gradient.abs().max().item<double>());
  EXPECT_NEAR(loss_of(model.decoder(), packed), loss, 1e-6 * loss);
  packed.positions_BT.reset();  // the samples do see each other without it
  EXPECT_GT(std::abs(loss_of(model.decoder(), packed) - loss), 1e-4 * loss);
}

TEST_P(GoldenModel, GivesASampleTheLossItHasAloneWhateverPaddingAndNeighbours) {
  OpenedModel model = open("adapter_random", "fp32");
  const at::Tensor tokens = batches().front().tokens_BT[0];
  const std::vector<int64_t> lengths = {20, 17, 9};  // max_position_embeddings of some is 16
  constexpr int64_t kWidth = 24;
  const int64_t count = static_cast<int64_t>(lengths.size());
  ASSERT_GE(tokens.size(0), lengths.front());
  TextBatch padded{.tokens_BT = at::zeros({count, kWidth}, at::kLong),
                   .labels_BT = at::full({count, kWidth}, kIgnoredLabel, at::kLong),
                   .lengths = lengths};
  std::vector<at::Tensor> row_tokens, row_labels, row_positions;
  double alone = 0;
  for (int64_t row = 0; row < count; ++row) {
    const int64_t length = lengths[row];
    const at::Tensor sample = tokens.narrow(0, 0, length);
    at::Tensor labels = sample.roll(-1);
    labels[length - 1] = kIgnoredLabel;
    padded.tokens_BT[row].narrow(0, 0, length).copy_(sample);
    padded.labels_BT[row].narrow(0, 0, length).copy_(labels);
    row_tokens.push_back(sample);
    row_labels.push_back(labels);
    row_positions.push_back(at::arange(length, at::kLong));
    alone += loss_of(model.decoder(),
                     {.tokens_BT = sample.unsqueeze(0), .labels_BT = labels.unsqueeze(0)});
  }
  const TextBatch packed{.tokens_BT = at::cat(row_tokens).unsqueeze(0),
                         .labels_BT = at::cat(row_labels).unsqueeze(0),
                         .positions_BT = at::cat(row_positions).unsqueeze(0)};
  EXPECT_NEAR(loss_of(model.decoder(), padded), alone, 1e-6 * alone);
  EXPECT_NEAR(forward_backward(model.decoder(), padded), alone, 1e-6 * alone);
  EXPECT_NEAR(loss_of(model.decoder(), packed), alone, 1e-6 * alone);
}

TEST_P(GoldenModel, GeneratesBeyondTheOriginalLengthAsItReadsAll) {
  OpenedModel model = open("adapter_random", "fp32");
  const RopeSpec& rope = model.decoder().spec().rope;
  if (rope.depends_on_length() && !rope.rotates_cache_anew)
    GTEST_SKIP() << "the cache keeps older rotations, as in transformers";
  const std::vector<int64_t> ids =
      read_json(folder() / "batch.json")["micro_batches"][0]["input_ids"][0];
  const std::vector<int64_t> prompt(ids.begin(), ids.begin() + 14);
  std::vector<int64_t> seen = prompt;
  for (const int64_t id : generate(model.decoder(), prompt, {.max_new_tokens = 6}).ids) {
    const at::Tensor whole = model.decoder().logits(seen, nullptr, /*last_only=*/true)[0];
    EXPECT_EQ(id, whole.argmax().item<int64_t>()) << "behind " << seen.size() << " tokens";
    seen.push_back(id);
  }
}

TEST_P(GoldenModel, GivesTheLogitsOfTransformersAndPeft) {
  OpenedModel model = open("adapter_random", "fp32");
  const auto stored = SafetensorsFile::open((folder() / "expected.safetensors").string());
  const Json micro_batches = read_json(folder() / "batch.json").at("micro_batches");
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    const at::Tensor expected = stored->tensor(fmt::format("logits.{}", i));
    int64_t row = 0;
    // Dynamic rope looks at the padded length, so the whole row is run and padding is cut from the
    // result.
    for (size_t b = 0; b < micro_batches[i].at("input_ids").size(); ++b) {
      const std::vector<int64_t> ids = micro_batches[i]["input_ids"][b],
                                 mask = micro_batches[i]["attention_mask"][b];
      const auto valid = static_cast<int64_t>(std::count(mask.begin(), mask.end(), 1));
      const at::Tensor logits =
          model.decoder().logits(ids, nullptr, /*last_only=*/false).narrow(0, 0, valid);
      const at::Tensor wanted = expected.narrow(0, row, valid);
      EXPECT_LT((logits - wanted).abs().max().item<float>(),
                2e-5 * wanted.abs().max().item<float>())
          << "row " << b;
      row += valid;
    }
    EXPECT_EQ(row, expected.size(0));
  }
}

TEST_P(GoldenModel, GivesLossAndGradientsOfPeftInFp32) {
  expect_same_gradients("fp32", false, 1e-5, 0.999999);
}
TEST_P(GoldenModel, GivesTheSameGradientsWhenBlocksAreRebuilt) {
  expect_same_gradients("fp32", true, 1e-5, 0.999999);
}
TEST_P(GoldenModel, GivesLossAndGradientsOfPeftInBf16) {
  expect_same_gradients("bf16", false, 1e-2, 0.999);
}
TEST_P(GoldenModel, GivesLossAndGradientsOfPeftOnAGpu) {
  if (!this_machines_gpu()) GTEST_SKIP() << kNoGpu;
  expect_same_gradients("fp32", false, 1e-5, 0.999999, "cuda");
  expect_same_gradients("bf16", false, 1e-2, 0.999, "cuda");
}
TEST_P(GoldenModel, TakesTheTwentyStepsOfPeftInFp32) { expect_same_training("fp32", 1e-5); }
TEST_P(GoldenModel, TakesTheTwentyStepsOfPeftInBf16) { expect_same_training("bf16", 1e-2); }

TEST_P(GoldenModel, AnswersTheSameTokenByTokenThroughTheCache) {
  OpenedModel model = open("adapter_random", "fp32");
  if (model.decoder().spec().rope.depends_on_length())
    GTEST_SKIP() << "this rope depends on the length so far: a cache keeps older rotations, as in "
                    "transformers";
  const std::vector<int64_t> ids =
      read_json(folder() / "batch.json")["micro_batches"][0]["input_ids"][0];
  const at::Tensor whole = model.decoder().logits(ids, nullptr, false);
  KvCache cache = model.decoder().make_cache();
  for (size_t t = 0; t < ids.size(); ++t) {
    const at::Tensor step = model.decoder().logits({ids[t]}, &cache, true)[0];
    EXPECT_LT((step - whole[static_cast<int64_t>(t)]).abs().max().item<float>(),
              1e-4 * whole.abs().max().item<float>())
        << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenModel, testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lora_dist
