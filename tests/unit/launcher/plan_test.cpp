// lora-dist plan, without a process: options in, standard output out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "launcher/run/memory.hpp"
#include "tests/support/command_output.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

class PlanCommand : public testing::Test {
 protected:
  PlanCommand()
      : config_(folder_.write("c.yaml", "base_model: " LORA_DIST_SOURCE_DIR
                                        "/tests/golden/models/llama\nmax_seq_length: 256\n"
                                        "dtype: fp32\nmax_steps: 5\n")) {}

  std::string plan(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"--config", config_});
    return output_of_command("plan", std::move(arguments));
  }
  nlohmann::json plan_json(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "--json");
    return nlohmann::json::parse(plan(std::move(arguments)));
  }

  TempFolder folder_;
  std::string config_;
};

TEST_F(PlanCommand, ShowsNoTimeWithoutAMeasuredRate) {
  const nlohmann::json shown = plan_json({});
  EXPECT_GT(shown["per_rank"]["flops_per_step"], 0);
  EXPECT_FALSE(shown.contains("model"));
  EXPECT_THAT(plan({}), testing::Not(testing::HasSubstr("efficiency")));
}

TEST_F(PlanCommand, NamesTheRateThatIsMissing) {
  EXPECT_THAT(plan({"--ranks", "16", "--nodes", "2", "--tflops", "0.1"}),
              testing::HasSubstr("no step time without --link-gbs and --network-gbs"));
}

TEST_F(PlanCommand, PredictsTheTimeOfAStepFromMeasuredRates) {
  const nlohmann::json shown =
      plan_json({"--ranks", "64", "--nodes", "8", "--tflops", "0.5", "--link-gbs", "10",
                 "--network-gbs", "2", "--deviation", "5"});
  const nlohmann::json& model = shown["model"];
  const double flops = shown["per_rank"]["flops_per_step"];
  EXPECT_NEAR(model["compute_s"].get<double>(), flops / 0.5e12, 1e-9);
  EXPECT_NEAR(model["waiting_s"].get<double>(), 0.05 * 2.34 * model["compute_s"].get<double>(),
              0.001 * model["compute_s"].get<double>());
  // Nothing is gathered: what a rank sends in its host and what its host sends, in turn.
  const double other = shown["per_rank"]["comm_bytes_inter_node_per_step"];
  const double inside = shown["per_rank"]["comm_bytes_per_step"].get<double>() - other;
  const double across = shown["per_host"]["comm_bytes_inter_node_per_step"];
  EXPECT_NEAR(model["sums_s"].get<double>(), inside / 10e9 + across / 2e9, 0.05 * across / 2e9);
  EXPECT_NEAR(model["efficiency"].get<double>(),
              model["compute_s"].get<double>() / model["step_s"].get<double>(), 1e-12);
}

TEST_F(PlanCommand, TakesTheCheapestShardingThatFitsOnAGpu) {
  EXPECT_EQ(plan_json({"--gpu", "--memory", "80", "--ranks", "8"})["sharding"], "none");
  EXPECT_EQ(plan_json({"--ranks", "8"})["sharding"], "shared");
  EXPECT_EQ(plan_json({"--gpu", "--memory", "80", "--ranks", "8", "sharding=hybrid"})["sharding"],
            "hybrid");
}

TEST_F(PlanCommand, ProposesASettingThatFits) {
  std::vector<std::string> too_much = {"batch_size=512", "gradient_accumulation_steps=2",
                                       "gradient_checkpointing=true"};
  const nlohmann::json alone = plan_json(too_much);
  // Half of the batch is to fit.
  const double bytes = alone["fit"]["needed_bytes"].get<double>() -
                       alone["per_rank"]["memory_bytes"]["activations"].get<double>() / 4;
  const std::string memory = std::to_string(bytes / (1 << 30));
  too_much.insert(too_much.end(), {"--memory", memory});
  const nlohmann::json shown = plan_json(too_much);
  ASSERT_EQ(shown["fit"]["fits"], false);
  EXPECT_THAT(plan(too_much), testing::HasSubstr("no: this run needs"));
  std::vector<std::string> proposed = {"--memory", memory, "gradient_checkpointing=true"};
  int64_t global_batch = 1;
  for (const auto& [key, value] : shown["fit"]["proposal"]["keys"].items()) {
    proposed.push_back(key + "=" + value.get<std::string>());
    if (key != "gradient_checkpointing") global_batch *= std::stoll(value.get<std::string>());
  }
  EXPECT_EQ(global_batch, 512 * 2);
  const nlohmann::json again = plan_json(proposed);
  EXPECT_EQ(again["fit"]["fits"], true);
  // The program's own part is measured anew.
  EXPECT_NEAR(again["fit"]["needed_bytes"].get<double>(),
              shown["fit"]["proposal"]["needed_bytes"].get<double>(), 16 << 20);
}

TEST_F(PlanCommand, MeasuresTheProgramThatWillTrain) {
  const double other = plan_json({})["per_rank"]["memory_bytes"]["other"];
  EXPECT_GT(other, 100 << 20) << "LibTorch alone takes as much";
  EXPECT_LE(other, static_cast<double>(resident_bytes() + (64 << 20)));
}

TEST_F(PlanCommand, GivesTheSizesOfTheFilesAsTheyWillBeWritten) {
  const int64_t count = plan_json({})["trainable_parameters"];
  EXPECT_EQ(plan_json({})["adapter_file_bytes"], 4 * count);
  EXPECT_EQ(plan_json({"save_dtype=bf16"})["adapter_file_bytes"], 2 * count);
  EXPECT_THAT(plan({"save_dtype=bf16"}), testing::HasSubstr("as bf16 file"));
  EXPECT_EQ(plan_json({})["checkpoint_bytes"], 12 * count);
  EXPECT_EQ(plan_json({"optimizer=adamw8bit"})["checkpoint_bytes"], 6 * count);
  EXPECT_GT(plan_json({"rank_pattern={q_proj: 32}"})["adapter_file_bytes"], 4 * count);
}

TEST_F(PlanCommand, AsksForTheMemoryOfAGpu) { EXPECT_THROW(plan({"--gpu"}), ConfigError); }

}  // namespace
}  // namespace lora_dist
