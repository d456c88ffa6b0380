// A dry run of one rank of 64, and of 1,024, in one process: the real trainer, reducer and cut base
// over a communicator that has no peers, its bytes and memory against the plan's.
#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/planning/plan.hpp"
#include "core/ranks/replicas.hpp"
#include "core/tasks/text_batch.hpp"
#include "core/tasks/text_generation.hpp"
#include "core/training/trainer.hpp"
#include "dist/reducers/reducer.hpp"
#include "dist/sharding/sharded_weights.hpp"
#include "tests/support/lone_rank.hpp"
#include "tests/support/paper_weights.hpp"
#include "tests/support/tensor_memory.hpp"
#include "tests/support/vector_stream.hpp"

namespace lora_dist {
namespace {

constexpr int kRanksPerHost = 8;
constexpr LlamaShape kShape = {3, 256, 704, 8, 4, 2000};
// Parameters of one block's matrices, of embedding or head, of all norms; of the adapter: lora_rank
// 8 on q_proj (256 -> 256) and v_proj (256 -> 128) of each block.
constexpr int64_t kBlock = 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 704, kTable = 2000 * 256;
constexpr int64_t kNorms = (2 * 3 + 1) * 256;
constexpr int64_t kAdapter = 3 * 8 * ((256 + 256) + (256 + 128));
// Bytes of a pass in bf16: embedding, blocks, head, blocks again.
constexpr int64_t kPass = 2 * (2 * 3 * kBlock + 2 * kTable);

std::vector<std::string> names_of_hosts(int num_hosts) {
  std::vector<std::string> hosts;  // [rank]
  for (int rank = 0; rank < num_hosts * kRanksPerHost; ++rank)
    hosts.push_back(fmt::format("host{}", rank / kRanksPerHost));
  return hosts;
}

/// The rank's host, or the ranks of its place on all hosts.
std::vector<int> group_of(int rank, int num_hosts, std::string_view name) {
  std::vector<int> group;
  for (int other = 0; other < num_hosts * kRanksPerHost; ++other)
    if (name == "host" ? other / kRanksPerHost == rank / kRanksPerHost
                       : other % kRanksPerHost == rank % kRanksPerHost)
      group.push_back(other);
  return group;
}

class Recorder final : public RunObserver {
 public:
  void on_step(const StepMetrics& metrics) override { last = metrics; }
  StepMetrics last;
};

std::vector<Batch> batches(int64_t count) {
  std::vector<Batch> result;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor tokens = at::arange(i, i + 17, at::kLong).remainder(2000);
    result.push_back(to_batch({.tokens_BT = tokens.narrow(0, 0, 16).view({1, 16}),
                               .labels_BT = tokens.narrow(0, 1, 16).clone().view({1, 16})},
                              /*loss_terms=*/16, /*cost=*/16));
  }
  return result;
}

/// Everything of one rank, wired as a run is.
struct DryRank {
  DryRank(int rank, int num_hosts, Sharding sharding, const AdapterConfig& config = {})
      : world(rank, names_of_hosts(num_hosts),
              [=](std::string_view name) { return group_of(rank, num_hosts, name); }) {
    if (sharding == Sharding::hybrid) host = world.split(rank / kRanksPerHost, {.name = "host"});
    if (is_gathered(sharding))
      cut = make_sharded_weights(files, weight_units(DecoderOutline(spec).table(), files),
                                 host ? *host : world);
    decoder = std::make_unique<Decoder>(spec, cut ? *cut : files, ModelOptions{});
    adapter = make_adapter({.groups = decoder->linear_groups(),
                            .config = config,
                            .targets = modules_of_every_block(spec, {"q_proj", "v_proj"})});
    adapter->initialize(1);
    adapter->attach(1);
    optimizer = optimizers().at("adamw")({.params = adapter->params().flat(), .config = {}});
  }

  StepMetrics step(int64_t num_slots) {
    const std::unique_ptr<Task> task = make_text_generation_task(*decoder);
    const auto reducer =
        reducers().at("tree")({.world = world, .num_elements = adapter->params().num_elements()});
    VectorStream stream(batches(num_slots), /*num_steps=*/1);
    Recorder recorder;
    Trainer trainer({.world = world,
                     .task = *task,
                     .adapter = *adapter,
                     .stream = stream,
                     .reducer = *reducer,
                     .optimizer = *optimizer,
                     .schedule = [](int64_t, const std::vector<double>&) { return 1e-4; },
                     .observers = {&recorder}},
                    {.save_steps = 0});
    trainer.run();
    return recorder.last;
  }

  DecoderSpec spec = paper_llama(kShape);
  PaperWeights files{spec};
  LoneRank world;
  std::unique_ptr<Communicator> host;
  std::unique_ptr<WeightSource> cut;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Adapter> adapter;
  std::unique_ptr<Optimizer> optimizer;
};

RunPlan plan_of(int rank, int num_hosts, Sharding sharding, int64_t num_slots,
                const AdapterConfig& config = {}) {
  const DecoderSpec spec = paper_llama(kShape);
  const PaperWeights files(spec);
  const DecoderOutline model(spec);
  return plan_run({.model = model,
                   .targets = modules_of_every_block(spec, {"q_proj", "v_proj"}),
                   .adapter = config,
                   .batch_size = 1,
                   .tokens = 16,
                   .base = files,
                   .ranks = HostLayout::in_blocks(num_hosts * kRanksPerHost, num_hosts),
                   .slots_per_step = num_slots,
                   .sharding = sharding,
                   .rank = rank});
}

void expect_within_a_percent(int64_t found, double expected, const std::string& what) {
  EXPECT_NEAR(static_cast<double>(found), expected, 0.01 * expected) << what;
}

TEST(DryRun, SendsTheBytesOfTheFormulaAt64Ranks) {
  // One slot each. The gradient, G bytes: 2 * 7/8 G inside the host, 2 * 7/8 of G/8 to the peers on
  // the seven others. Of 65 losses and requests in fp64 2 * 63/64 to the next rank; slices to the
  // next rank of the group, which for the last rank of a host is on another one where all ranks are
  // one group.
  const double gradient = 4.0 * kAdapter, losses = 2.0 * 63 / 64 * 8 * 65;
  for (const Sharding sharding : {Sharding::shared, Sharding::hybrid, Sharding::full}) {
    for (const int rank : {0, 7, 8, 63}) {
      const StepMetrics step = DryRank(rank, /*num_hosts=*/8, sharding).step(/*num_slots=*/64);
      const bool last_of_host = rank % 8 == 7;
      const double slices = sharding == Sharding::hybrid ? kPass * 7.0 / 8
                            : sharding == Sharding::full ? kPass * 63.0 / 64
                                                         : 0;
      const double all = 2 * 7.0 / 8 * (gradient + gradient / 8) + losses + slices;
      double other = 2 * 7.0 / 8 * gradient / 8;
      if (last_of_host) other += losses;
      if (last_of_host && sharding == Sharding::full) other += slices;
      const std::string what = fmt::format("rank {}, {}", rank, sharding_name(sharding));
      expect_within_a_percent(step.comm_bytes, all, what);
      expect_within_a_percent(step.comm_bytes_inter_node, other, what);
    }
  }
}

TEST(DryRun, SendsTheBytesOfThePlanAt64And1024Ranks) {
  for (const int num_hosts : {8, 128}) {
    const int num_ranks = num_hosts * kRanksPerHost;
    for (const Sharding sharding : {Sharding::shared, Sharding::hybrid, Sharding::full}) {
      for (const int rank : {0, 7, 8, num_ranks - 1}) {
        for (const int64_t num_slots : {num_ranks, num_ranks + num_ranks / 2 + 4}) {
          const StepMetrics step = DryRank(rank, num_hosts, sharding).step(num_slots);
          const RunPlan plan = plan_of(rank, num_hosts, sharding, num_slots);
          const std::string what = fmt::format("rank {} of {}, {}, {} slots", rank, num_ranks,
                                               sharding_name(sharding), num_slots);
          expect_within_a_percent(step.comm_bytes, static_cast<double>(plan.comm_bytes_per_step),
                                  what);
          expect_within_a_percent(step.comm_bytes_inter_node,
                                  static_cast<double>(plan.comm_bytes_inter_node_per_step), what);
        }
      }
    }
  }
}

TEST(DryRun, SendsTheBytesOfThePlanInBuckets) {
  AdapterConfig config;
  config.lora_rank = 1700;
  const int64_t num_parameters = 3 * 1700 * ((256 + 256) + (256 + 128));
  ASSERT_EQ(gradient_buckets(num_parameters, 64).size(), 3u);
  for (const Sharding sharding : {Sharding::shared, Sharding::full}) {
    const StepMetrics step = DryRank(/*rank=*/7, /*num_hosts=*/8, sharding, config).step(96);
    const RunPlan plan = plan_of(7, 8, sharding, 96, config);
    EXPECT_EQ(plan.trainable_parameters, num_parameters);
    expect_within_a_percent(step.comm_bytes, static_cast<double>(plan.comm_bytes_per_step),
                            sharding_name(sharding));
    expect_within_a_percent(step.comm_bytes_inter_node,
                            static_cast<double>(plan.comm_bytes_inter_node_per_step),
                            sharding_name(sharding));
  }
}

TEST(DryRun, SendsFromAHostWhatThePlanSays) {
  for (const Sharding sharding : {Sharding::shared, Sharding::hybrid, Sharding::full}) {
    int64_t sent = 0;
    for (int rank = 8; rank < 16; ++rank)
      sent += DryRank(rank, /*num_hosts=*/8, sharding).step(/*num_slots=*/64).comm_bytes_inter_node;
    const RunPlan plan = plan_of(/*rank=*/0, 8, sharding, 64);
    expect_within_a_percent(sent, static_cast<double>(plan.host_bytes_inter_node_per_step),
                            sharding_name(sharding));
  }
}

TEST(DryRun, ComparesReplicasByTheirHashesAlone) {
  DryRank rank(/*rank=*/7, /*num_hosts=*/8, Sharding::shared);
  require_equal_replicas(rank.world, rank.adapter->params(), *rank.optimizer, /*step=*/1);
  // 64 digits and their number, to the next rank.
  EXPECT_EQ(rank.world.traffic().bytes_other_host, 63 * (64 + 8));
  EXPECT_EQ(rank.world.traffic().bytes_same_host, 0);
}

/// The most that the cut base of a rank takes, from its making to the end of a pass.
int64_t memory_of_cut_base(int rank, Sharding sharding) {
  const DecoderSpec spec = paper_llama(kShape);
  PaperWeights files(spec);
  LoneRank world(rank, names_of_hosts(8),
                 [=](std::string_view name) { return group_of(rank, 8, name); });
  std::unique_ptr<Communicator> host;
  if (sharding == Sharding::hybrid) host = world.split(rank / kRanksPerHost, {.name = "host"});
  const TensorMemory memory;
  const auto cut = make_sharded_weights(files, weight_units(DecoderOutline(spec).table(), files),
                                        host ? *host : world);
  const std::vector<size_t> order = DecoderOutline(spec).units_of_pass(/*lowest_block=*/0);
  WeightPass pass(*cut, order);
  for (size_t unit = 0; unit < order.size(); ++unit) pass.enter_next_unit();
  return memory.peak_bytes();
}

TEST(DryRun, HoldsASliceOfTheBaseAndTwoUnits) {
  for (const Sharding sharding : {Sharding::hybrid, Sharding::full}) {
    const double ranks = sharding == Sharding::hybrid ? 8 : 64;
    const double expected = 2 * (kNorms + (3 * kBlock + 2 * kTable) / ranks + 2 * kBlock);
    for (const int rank : {0, 7, 8, 63}) {
      const int64_t held = memory_of_cut_base(rank, sharding);
      const std::string what = fmt::format("rank {}, {}", rank, sharding_name(sharding));
      expect_within_a_percent(held, expected, what);
      expect_within_a_percent(
          held, static_cast<double>(plan_of(rank, 8, sharding, 64).memory.weights), what);
    }
  }
}

}  // namespace
}  // namespace lora_dist
