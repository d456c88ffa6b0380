// A base that is cut over ranks trains to the bits of one that is not, and sends what was planned.
#include <sstream>

#include <gtest/gtest.h>

#include "core/models/decoder/decoder_outline.hpp"
#include "data/io/files.hpp"
#include "data/weights/base_folder.hpp"
#include "dist/sharding/sharded_weights.hpp"
#include "launcher/environments/environment.hpp"
#include "tests/support/program.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/toy_format.hpp"

namespace lora_dist {
namespace {

const std::string kBase = std::string(LORA_DIST_SOURCE_DIR) + "/tests/golden/models/";

TEST(ShardedWeights, AreTheWeightsOfTheFileWhileTheirUnitRuns) {
  for (const char* family : {"llama", "llama3", "qwen2", "phi3"}) {
    for (const int world_size : {1, 2, 3, 4}) {
      run_ranks(world_size, [&](Communicator& world) {
        const auto files = open_base_weights(kBase + family);
        const DecoderSpec spec = read_decoder_spec(read_model_config(kBase + family), family);
        const WeightUnits units = weight_units(DecoderOutline(spec).table(), *files);
        const auto sharded = make_sharded_weights(*files, units, world);
        const std::vector<size_t> order = DecoderOutline(spec).units_of_pass(/*lowest_block=*/0);
        WeightPass pass(*sharded, order);
        for (const size_t unit : order) {
          pass.enter_next_unit();
          for (const size_t index : units[unit])
            EXPECT_TRUE(
                at::equal(sharded->acquire(index).as_tensor(), files->acquire(index).as_tensor()))
                << files->weights()[index].name << " over " << world_size << " ranks";
        }
      });
    }
  }
}

TEST(ShardedWeights, TravelAsTheyArePacked) {
  ToyFormat toy;
  at::manual_seed(3);
  ToyWeights weights(toy, 70, 96);
  const ToyMatrix& matrix = weights.matrix();
  for (const int world_size : {1, 2, 3}) {
    run_ranks(world_size, [&](Communicator& world) {
      const auto sharded =
          make_sharded_weights(weights, {{ToyWeights::kPacked, ToyWeights::kPlain}}, world);
      WeightPass pass(*sharded, {0});
      pass.enter_next_unit();
      const StoredWeight packed = sharded->acquire(ToyWeights::kPacked);
      EXPECT_TRUE(at::equal(packed.stored(), matrix.bytes_RB));
      EXPECT_TRUE(at::equal(packed.rows(60, 10, at::kFloat), matrix.values_RC.narrow(0, 60, 10)));
      EXPECT_TRUE(at::equal(sharded->acquire(ToyWeights::kPlain).as_tensor(), matrix.values_RC));
    });
  }
  EXPECT_EQ(toy.most_decoded(), 10 * 96);
}

/// Short runs of the real program. Each starts mpirun itself, so not under mpirun.
class ShardedRun : public testing::Test {
 protected:
  void SetUp() override {
    if (detect_world().launcher == "mpirun") GTEST_SKIP() << "starts mpirun itself";
    if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
    std::string records;
    for (int i = 0; i < 15; ++i)
      records += fmt::format("{{\"input_ids\": [{}]}}\n", fmt::join(sample(i), ", "));
    folder_.write("tokens.jsonl", records);
  }

  static std::vector<int> sample(int number) {
    std::vector<int> ids;
    for (int i = 0; i < 9 + number % 4; ++i) ids.push_back(3 + (7 * number + 5 * i) % 90);
    return ids;
  }

  // 7 slots: no world size but 1 deals them evenly.
  std::string config(const std::string& sharding, const std::string& backend) const {
    return folder_.write(
        fmt::format("{}-{}.yaml", sharding, backend),
        fmt::format("base_model: {}llama\ntrain_data_dir: .\nmetadata_path: tokens.jsonl\n"
                    "data_format: tokenized\ntarget_modules: [q_proj, v_proj]\nlora_dropout: 0.1\n"
                    "batch_size: 2\nglobal_batch_size: 14\nmax_steps: 3\nlearning_rate: 3e-3\n"
                    "device: cpu\nsave_steps: 0\nsharding: {}\nbackend: {}\n",
                    kBase, sharding, backend));
  }

  struct Outcome {
    std::string adapter;
    std::vector<double> losses;
    std::vector<int64_t> sent;  // per step by rank 0
    bool operator==(const Outcome& other) const {
      return adapter == other.adapter && losses == other.losses;
    }
  };

  Outcome train(int num_ranks, const std::string& sharding, const std::string& backend) const {
    const std::string output = fmt::format("out-{}-{}-{}", num_ranks, sharding, backend);
    std::vector<std::string> words = {LORA_DIST_BINARY, "train", "--config",
                                      config(sharding, backend), "output_dir=" + output};
    if (num_ranks > 1) words.insert(words.end(), {"--ranks", std::to_string(num_ranks)});
    const ProgramResult result = run_program(words, folder_.path());
    EXPECT_EQ(result.exit_code, 0) << result.standard_error;
    if (result.exit_code != 0) return {};
    Outcome outcome;
    outcome.adapter =
        nlohmann::json::parse(read_file(folder_.file(output + "/run.json"))).at("adapter_sha256");
    std::istringstream lines(read_file(folder_.file(output + "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const auto entry = nlohmann::json::parse(line);
      if (!entry.contains("comm_bytes")) continue;
      outcome.losses.push_back(entry.at("loss"));
      outcome.sent.push_back(entry.at("comm_bytes"));
    }
    EXPECT_EQ(outcome.losses.size(), 3u);
    return outcome;
  }

  TempFolder folder_;
};

TEST_F(ShardedRun, EndsWithTheBitsOfAnUncutBaseAtAnyWorldSizeAndBackend) {
  const Outcome expected = train(1, "none", "auto");
  EXPECT_EQ(train(1, "full", "auto"), expected);
  for (const char* backend : {"mpi", "gloo"})
    for (const int num_ranks : {2, 3, 4})
      EXPECT_EQ(train(num_ranks, "full", backend), expected) << num_ranks << " over " << backend;
  EXPECT_EQ(train(2, "hybrid", "mpi"), expected);
}

TEST_F(ShardedRun, SendsTheBytesOfTheFormulaAndOfThePlan) {
  // Of tests/golden/models/llama, bf16 or fp32 as stored: each matrix half to the other rank. Rank
  // 0 has 4 of the 7 slots; a pass runs embedding, 2 blocks, head, 2 blocks.
  const auto files = open_base_weights(kBase + "llama");
  int64_t blocks = 0, rest = 0;
  for (const WeightInfo& weight : files->weights())
    if (weight.shape.size() == 2)
      (weight.name.starts_with("model.layers.") ? blocks : rest) +=
          weight.shape[0] * weight.shape[1] *
          static_cast<int64_t>(c10::elementSize(*weight.format->plain));
  // The second step ends the epoch with one sample: one slot.
  const int64_t of_a_pass = (2 * blocks + rest) / 2, gathered = 4 * of_a_pass;
  const std::vector<int64_t> expected = {gathered, of_a_pass, gathered};

  const Outcome whole = train(2, "shared", "mpi"), cut = train(2, "full", "mpi");
  ASSERT_EQ(whole.sent.size(), 3u);
  ASSERT_EQ(cut.sent.size(), 3u);
  for (size_t step = 0; step < 3; ++step)
    EXPECT_NEAR(static_cast<double>(cut.sent[step] - whole.sent[step]),
                static_cast<double>(expected[step]), 0.01 * static_cast<double>(expected[step]));

  const ProgramResult plan = run_program(
      {LORA_DIST_BINARY, "plan", "--config", config("full", "mpi"), "--ranks", "2", "--json"},
      folder_.path());
  ASSERT_EQ(plan.exit_code, 0) << plan.standard_error;
  const auto per_rank = nlohmann::json::parse(plan.standard_output).at("per_rank");
  EXPECT_NEAR(per_rank.at("gather_bytes_per_step").get<double>(), gathered, 0.01 * gathered);
  EXPECT_NEAR(per_rank.at("comm_bytes_per_step").get<double>(), cut.sent[0], 0.01 * cut.sent[0]);
}

}  // namespace
}  // namespace lora_dist
