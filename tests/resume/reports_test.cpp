// What a run tells of itself is the same whether one process did it or two, times aside.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

bool tells_of_times(const std::string& key) {
  static const std::set<std::string> kNames = {"time", "lives", "memory_gib", "comm_bytes",
                                               "comm_bytes_inter_node"};
  return kNames.contains(key) || key.ends_with("runtime") || key.ends_with("_per_second") ||
         key.ends_with("_s");
}

/// Objects without the members that tell of times and of the processes.
void drop_times(Json& value) {
  if (value.is_object()) {
    for (auto entry = value.begin(); entry != value.end();)
      entry = tells_of_times(entry.key()) ? value.erase(entry) : std::next(entry);
  }
  if (value.is_structured())
    for (auto& member : value) drop_times(member);
}

Json without_times(Json value) {
  drop_times(value);
  return value;
}

/// A card without what differs between two runs of the same training.
std::string card_without_times(std::string card) {
  const size_t lives = card.find("\nIt was continued");
  if (lives != std::string::npos) card.erase(lives, card.find("\n## ", lives) - lives);
  std::string kept, line;
  std::istringstream lines(card);
  while (std::getline(lines, line))
    if (!line.starts_with("| Training time |") && !line.starts_with("| Date |") &&
        !line.starts_with("| Command |"))
      kept += line + "\n";
  return kept;
}

/// The fields of a protobuf message: number and, of counted bytes, their text, else the integer.
std::vector<std::tuple<uint64_t, std::string, uint64_t>> fields_of(const std::string& bytes) {
  std::vector<std::tuple<uint64_t, std::string, uint64_t>> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; at < bytes.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes[at++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < bytes.size()) {
    const uint64_t key = varint();
    const auto wire_type = key & 7;
    if (wire_type == 0) {
      const uint64_t value = varint();
      fields.emplace_back(key >> 3, "", value);
      continue;
    }
    const size_t size = wire_type == 1 ? 8 : wire_type == 5 ? 4 : varint();
    fields.emplace_back(key >> 3, bytes.substr(at, size), 0);
    at += size;
  }
  return fields;
}

/// The curves that TensorBoard draws of a folder: tag to (step, value), files in the order of their
/// names, points dropped where a session starts.
std::map<std::string, std::vector<std::pair<uint64_t, float>>> curves_of(const std::string& logs) {
  std::map<std::string, std::vector<std::pair<uint64_t, float>>> curves;
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(logs))
    if (entry.path().filename().string().starts_with("events.")) files.insert(entry.path());
  for (const std::string& file : files) {
    const std::string bytes = read_file(file);
    for (size_t at = 0; at < bytes.size();) {
      uint64_t length = 0, step = 0;
      std::memcpy(&length, bytes.data() + at, 8);
      for (const auto& [number, text, value] : fields_of(bytes.substr(at + 12, length))) {
        if (number == 2) step = value;
        if (number == 7)
          for (auto& [tag, points] : curves)
            std::erase_if(points, [&](const auto& point) { return point.first >= step; });
        if (number != 5) continue;
        for (const auto& [kind, scalar, ignored] : fields_of(text)) {
          const auto tag_and_value = fields_of(scalar);
          float shown = 0;
          std::memcpy(&shown, std::get<1>(tag_and_value.at(1)).data(), 4);
          curves[std::get<1>(tag_and_value.at(0))].emplace_back(step, shown);
        }
      }
      at += 16 + length;
    }
  }
  return curves;
}

class TwoLives : public testing::TestWithParam<int> {
 protected:
  TwoLives() {
    copy_lines("train.jsonl", "train.jsonl", 24);
    copy_lines("heldout.jsonl", "new.jsonl", 4);
    copy_lines("train.jsonl", "old.jsonl", 3);
    folder_.write("config.yaml", fmt::format("base_model: {}/examples/base-tiny\n"
                                             "train_data_dir: train.jsonl\n"
                                             "val_data_path: {{new: new.jsonl, old: old.jsonl}}\n"
                                             "batch_size: 2\n"
                                             "global_batch_size: 8\n"
                                             "max_steps: 24\n"
                                             "save_steps: 4\n"
                                             "eval_steps: 2\n"
                                             "load_best_model_at_end: true\n"
                                             "learning_rate: 3e-2\n",
                                             kSource));
  }

  void copy_lines(const char* from, const char* to, int count) const {
    std::ifstream source(kSource + "/examples/quickstart/" + from);
    std::string records, line;
    for (int i = 0; i < count && std::getline(source, line); ++i) records += line + "\n";
    folder_.write(to, records);
  }

  std::vector<std::string> command(const std::string& output) const {
    std::vector<std::string> words = {LORA_DIST_BINARY,
                                      "train",
                                      "--config",
                                      "config.yaml",
                                      "output_dir=" + output,
                                      "resume_from_checkpoint=auto"};
    if (GetParam() > 1) words.insert(words.end(), {"--ranks", std::to_string(GetParam())});
    return words;
  }

  /// One run without an interruption, and one that was interrupted behind its first checkpoint.
  void run_both() {
    const ProgramResult whole = run_program(command("whole"), folder_.path());
    ASSERT_EQ(whole.exit_code, 0) << whole.standard_error;
    last_line_of_whole_ = whole.standard_output;
    // Ranks under mpirun are asked, a lone process is killed: its reports go beyond its checkpoint.
    const int signal = GetParam() > 1 ? SIGUSR1 : SIGKILL;
    RunningProgram running(command("twice"), folder_.path());
    const std::string manifest = folder_.file("twice/checkpoint-4/manifest.json");
    for (int tries = 0; tries < 6000 && !fs::exists(manifest); ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    running.send(signal);
    running.wait();
    const ProgramResult second = run_program(command("twice"), folder_.path());
    ASSERT_EQ(second.exit_code, 0) << second.standard_error;
    last_line_ = second.standard_output;
  }

  std::string content(const std::string& name) const { return read_file(folder_.file(name)); }

  std::vector<Json> metrics(const std::string& output) const {
    std::vector<Json> lines;
    std::istringstream text(content(output + "/metrics.jsonl"));
    for (std::string line; std::getline(text, line);)
      lines.push_back(without_times(Json::parse(line)));
    return lines;
  }

  static inline const std::string kSource = LORA_DIST_SOURCE_DIR;
  TempFolder folder_;
  std::string last_line_, last_line_of_whole_;
};

TEST_P(TwoLives, TellWhatOneLifeTells) {
  ASSERT_NO_FATAL_FAILURE(run_both());
  EXPECT_EQ(metrics("twice"), metrics("whole"));
  EXPECT_EQ(metrics("whole").size(), 24u + 2 * 12);
  EXPECT_EQ(curves_of(folder_.file("twice/logs"))["train/loss"],
            curves_of(folder_.file("whole/logs"))["train/loss"]);
  EXPECT_EQ(curves_of(folder_.file("twice/logs"))["eval/new_loss"],
            curves_of(folder_.file("whole/logs"))["eval/new_loss"]);
  EXPECT_EQ(curves_of(folder_.file("twice/logs"))["train/train_loss"].size(), 1u);

  const auto in_whole = [](std::string text) {  // paths apart
    for (size_t at = 0; (at = text.find("twice", at)) != std::string::npos;)
      text.replace(at, 5, "whole");
    return text;
  };
  for (const char* name : {"trainer_state.json", "train_results.json"})
    EXPECT_EQ(without_times(Json::parse(in_whole(content(std::string("twice/") + name)))),
              without_times(Json::parse(content(std::string("whole/") + name))))
        << name;
  const Json run = Json::parse(in_whole(content("twice/run.json"))),
             expected = Json::parse(content("whole/run.json"));
  for (const char* key : {"steps", "epoch", "tokens", "samples", "first_loss", "last_loss",
                          "best_step", "best_held_out_loss", "best_checkpoint", "exported_step",
                          "adapter_sha256", "data", "world_size", "hosts", "exit"})
    EXPECT_EQ(run.at(key), expected.at(key)) << key;
  EXPECT_DOUBLE_EQ(run.at("mean_loss").get<double>(), expected.at("mean_loss").get<double>());
  EXPECT_NE(content("twice/README.md").find("It was continued from a checkpoint"),
            std::string::npos);
  EXPECT_EQ(card_without_times(in_whole(content("twice/README.md"))),
            card_without_times(content("whole/README.md")));
  const auto up_to_steps = [](const std::string& line) {  // the speed stands behind them
    return line.substr(0, line.find("  ", line.find("steps")));
  };
  EXPECT_EQ(up_to_steps(in_whole(last_line_)), up_to_steps(last_line_of_whole_));
  const std::string log = content("twice/logs/rank-0.log");
  EXPECT_NE(log.find("committed"), std::string::npos) << log;
}

INSTANTIATE_TEST_SUITE_P(Ranks, TwoLives, testing::Values(1, 2),
                         [](const auto& info) { return fmt::format("{}", info.param); });

}  // namespace
}  // namespace lora_dist
