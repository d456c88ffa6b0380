// Runs of the shipped base on its first records, eight steps each, in a folder of their own.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {

inline constexpr int kNumSteps = 8;

class SmallRun : public testing::Test {
 protected:
  SmallRun() {
    write_records("train.jsonl", 24);
    folder_.write("config.yaml", fmt::format("base_model: {}/examples/base-tiny\n"
                                             "train_data_dir: train.jsonl\n"
                                             "target_modules: [q_proj, v_proj]\n"
                                             "lora_dropout: 0.1\n"
                                             "batch_size: 2\n"
                                             "global_batch_size: 8\n"
                                             "max_steps: {}\n"
                                             "save_steps: 2\n"
                                             "save_total_limit: 0\n"
                                             "learning_rate: 3e-3\n",
                                             kSource, kNumSteps));
  }

  void write_records(const std::string& name, int count) {
    std::ifstream source(kSource + "/examples/quickstart/train.jsonl");
    std::string records, line;
    for (int i = 0; i < count && std::getline(source, line); ++i) records += line + "\n";
    folder_.write(name, records);
  }

  std::vector<std::string> command(const std::string& output, int num_ranks,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {LORA_DIST_BINARY, "train", "--config", "config.yaml",
                                      "output_dir=" + output};
    if (num_ranks > 1) words.insert(words.end(), {"--ranks", std::to_string(num_ranks)});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  ProgramResult train(const std::string& output, int num_ranks,
                      const std::vector<std::string>& more = {}) const {
    return run_program(command(output, num_ranks, more), folder_.path());
  }

  nlohmann::json run_json(const std::string& output) const {
    const std::string path = folder_.file(output + "/run.json");
    return std::filesystem::exists(path) ? nlohmann::json::parse(read_file(path))
                                         : nlohmann::json::object();
  }

  /// Of a run that ended well; "" and a failure of the test otherwise.
  std::string adapter_sha256(const std::string& output, const ProgramResult& result) const {
    EXPECT_EQ(result.exit_code, 0) << result.standard_error;
    return run_json(output).value("adapter_sha256", "");
  }

  /// Waits until the file is there.
  void await_file(const std::string& name) const {
    for (int tenths = 0; tenths < 600 && !std::filesystem::exists(folder_.file(name)); ++tenths)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(std::filesystem::exists(folder_.file(name)));
  }
  void await_checkpoint(const std::string& output, int step) const {
    await_file(fmt::format("{}/checkpoint-{}/manifest.json", output, step));
  }

  static inline const std::string kSource = LORA_DIST_SOURCE_DIR;
  TempFolder folder_;
};

}  // namespace lora_dist
