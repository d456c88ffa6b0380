// One result at any number of ranks, over any backend, with any number of threads: the real program
// on the shipped base. scripts/equality_table.py prints the long form.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "data/io/files.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

const std::string kSource = LORA_DIST_SOURCE_DIR;

struct Way {
  int num_ranks;
  std::string backend;
  int threads;
};

/// What must not depend on the way: the adapter's hash and every loss, as text.
struct Outcome {
  std::string adapter_sha256;
  std::vector<std::string> losses;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const std::string& output) {
  Outcome outcome;
  outcome.adapter_sha256 =
      nlohmann::json::parse(read_file(output + "/run.json")).at("adapter_sha256");
  std::ifstream metrics(output + "/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const auto entry = nlohmann::json::parse(line);
    for (const char* key : {"loss", "eval_loss"})
      if (entry.contains(key)) outcome.losses.push_back(entry[key].dump());
  }
  return outcome;
}

/// 40 records: steps of 16, 16 and 8 (a short one at the end of the epoch), and on in the next.
void write_run(const TempFolder& folder) {
  std::ifstream source(kSource + "/examples/quickstart/train.jsonl");
  std::string records, line;
  for (int i = 0; i < 40 && std::getline(source, line); ++i) records += line + "\n";
  folder.write("train.jsonl", records);
  folder.write("config.yaml", fmt::format("base_model: {}/examples/base-tiny\n"
                                          "train_data_dir: train.jsonl\n"
                                          "batch_size: 2\n"
                                          "global_batch_size: 16\n"
                                          "lora_dropout: 0.1\n"
                                          "max_steps: 4\n"
                                          "save_steps: 0\n"
                                          "learning_rate: 3e-3\n",
                                          kSource));
}

TEST(AnyNumberOfRanks, GivesTheSameAdapterAndLossesOverAnyBackendWithAnyNumberOfThreads) {
  const TempFolder folder;
  write_run(folder);
  Outcome expected;
  for (const Way& way : {Way{1, "auto", 1}, Way{1, "auto", 2}, Way{2, "mpi", 1}, Way{2, "gloo", 1},
                         Way{3, "mpi", 1}, Way{3, "gloo", 2}, Way{5, "mpi", 1}}) {
    if (way.num_ranks > 1 && !is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
    const std::string name =
        fmt::format("{}-ranks-{}-{}-threads", way.num_ranks, way.backend, way.threads);
    std::vector<std::string> command = {LORA_DIST_BINARY,
                                        "--config",
                                        "config.yaml",
                                        "output_dir=" + name,
                                        "backend=" + way.backend,
                                        fmt::format("threads_per_rank={}", way.threads)};
    if (way.num_ranks > 1)
      command.insert(command.end(), {"--ranks", std::to_string(way.num_ranks)});
    const ProgramResult result = run_program(command, folder.path());
    ASSERT_EQ(result.exit_code, 0) << name << ": " << result.standard_error;
    const Outcome outcome = outcome_of(folder.file(name));
    EXPECT_EQ(outcome.losses.size(), 4u) << name;
    if (expected.losses.empty()) expected = outcome;
    EXPECT_EQ(outcome.adapter_sha256, expected.adapter_sha256) << name;
    EXPECT_EQ(outcome.losses, expected.losses) << name;
  }
}

}  // namespace
}  // namespace lora_dist
