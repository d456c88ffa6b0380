// The sum of the gradients beside the backward pass: the bits of one rank, whatever is final when,
// and wherever the base lies.
#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/tasks/text_batch.hpp"
#include "core/tasks/text_generation.hpp"
#include "core/training/trainer.hpp"
#include "data/weights/base_folder.hpp"
#include "dist/backends/backend.hpp"
#include "dist/reducers/reducer.hpp"
#include "dist/sharding/sharded_weights.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/vector_stream.hpp"

namespace lora_dist {
namespace {

const std::string kFolder = std::string(LORA_DIST_SOURCE_DIR) + "/tests/golden/models/llama";

/// In the order of the model, and in one in which no part of the flat gradient is final early.
const std::vector<std::string> kInOrder = {
    "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj",
    "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"};
const std::vector<std::string> kOutOfOrder = {kInOrder[2], kInOrder[1], kInOrder[3], kInOrder[0]};

std::vector<Batch> batches_of_uneven_lengths(int64_t count) {
  std::vector<Batch> batches;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t length = 6 + i % 3;
    const at::Tensor tokens = at::arange(length + 1, at::kLong).mul(7).add(3 + 5 * i).remainder(90);
    batches.push_back(to_batch({.tokens_BT = tokens.narrow(0, 0, length).view({1, length}),
                                .labels_BT = tokens.narrow(0, 1, length).clone().view({1, length})},
                               /*loss_terms=*/length, /*cost=*/length));
  }
  return batches;
}

struct Setting {
  int64_t num_slots = 7;
  bool cuts_base = false;
  std::vector<std::string> targets = kInOrder;
  int64_t bucket_elements = 100;
};

/// Everything of one rank, wired as a run is.
struct Wired {
  Wired(Communicator& communicator, const Setting& setting)
      : files(open_base_weights(kFolder)),
        spec(read_decoder_spec(read_model_config(kFolder), kFolder)) {
    if (setting.cuts_base)
      cut = make_sharded_weights(*files, weight_units(DecoderOutline(spec).table(), *files),
                                 communicator);
    decoder = std::make_unique<Decoder>(spec, cut ? *cut : *files, ModelOptions{});
    adapter = make_adapter(
        {.groups = decoder->linear_groups(), .config = {}, .targets = setting.targets});
    adapter->initialize(1);
    adapter->attach(1);
  }

  std::unique_ptr<WeightSource> files;
  DecoderSpec spec;
  std::unique_ptr<WeightSource> cut;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Adapter> adapter;
};

/// The adapter after three steps.
at::Tensor train(Communicator& world, const Setting& setting) {
  Wired rank(world, setting);
  TrainableParams& params = rank.adapter->params();
  const auto optimizer = optimizers().at("adamw")({.params = params.flat(), .config = {}});
  const auto task = make_text_generation_task(*rank.decoder);
  const auto reducer = reducers().at("tree")({.world = world,
                                              .num_elements = params.num_elements(),
                                              .bucket_elements = setting.bucket_elements});
  VectorStream stream(batches_of_uneven_lengths(setting.num_slots), /*num_steps=*/3);
  Trainer trainer({.world = world,
                   .task = *task,
                   .adapter = *rank.adapter,
                   .stream = stream,
                   .reducer = *reducer,
                   .optimizer = *optimizer,
                   .schedule = [](int64_t, const std::vector<double>&) { return 1e-2; }},
                  {.save_steps = 0});
  trainer.run();
  return params.flat().clone();
}

at::Tensor train_alone(Setting setting) {
  setting.cuts_base = false;
  return train(*make_local_world(1, 10)[0], setting);
}

void expect_the_bits_of_one_rank(const Setting& setting) {
  const at::Tensor expected = train_alone(setting);
  const std::vector<std::vector<std::string>> worlds = {
      {"a", "a"}, {"a", "a", "a"}, {"a", "a", "b", "b"}, {"a", "a", "a", "a", "a"}};
  for (const std::vector<std::string>& hosts : worlds)
    run_ranks(static_cast<int>(hosts.size()),
              [&](Communicator& world) {
                EXPECT_TRUE(at::equal(train(world, setting), expected))
                    << "rank " << world.rank() << " of " << hosts.size();
              },
              {.hosts = hosts});
}

TEST(SumBesideBackward, GivesTheBitsOfOneRankWhereSomeRanksHaveFewerSlots) {
  expect_the_bits_of_one_rank({.num_slots = 7});
}

TEST(SumBesideBackward, GivesTheBitsOfOneRankWhereSomeRanksHaveNoSlot) {
  expect_the_bits_of_one_rank({.num_slots = 2});
}

TEST(SumBesideBackward, GivesTheBitsOfOneRankBetweenTheGathersOfACutBase) {
  expect_the_bits_of_one_rank({.num_slots = 7, .cuts_base = true});
  expect_the_bits_of_one_rank({.num_slots = 2, .cuts_base = true});
}

TEST(SumBesideBackward, GivesTheBitsOfOneRankWhereTheAdapterIsNotInTheOrderOfTheModel) {
  expect_the_bits_of_one_rank({.targets = kOutOfOrder});
}

TEST(SumBesideBackward, TellsWhatIsFinalWithAndWithoutASlotAlike) {
  const auto world = make_local_world(1, 10);
  const auto told = [&](const Setting& setting) {
    Wired rank(*world[0], setting);
    std::vector<int64_t> with_slot, without;
    make_text_generation_task(*rank.decoder)
        ->forward_backward(batches_of_uneven_lengths(1)[0], {},
                           [&](int64_t first) { with_slot.push_back(first); });
    rank.decoder->accompany(/*with_gradients=*/true,
                            [&](int64_t first) { without.push_back(first); });
    rank.decoder->accompany(/*with_gradients=*/false,
                            [&](int64_t) { ADD_FAILURE() << "an evaluation has no gradient"; });
    EXPECT_EQ(with_slot, without);
    return with_slot;
  };
  // lora_rank 8; q_proj 32 -> 32, down_proj 56 -> 32.
  const int64_t q = 8 * (32 + 32), down = 8 * (56 + 32);
  EXPECT_EQ(told({}), (std::vector<int64_t>{q + down, 0}));
  EXPECT_EQ(told({.targets = kOutOfOrder}), (std::vector<int64_t>{2 * (q + down), 0}))
      << "a module of layer 0 comes last";
  EXPECT_EQ(told({.targets = {kInOrder[2], kInOrder[3]}}), (std::vector<int64_t>{0}))
      << "the backward pass ends with the lowest adapter";
}

}  // namespace
}  // namespace lora_dist
