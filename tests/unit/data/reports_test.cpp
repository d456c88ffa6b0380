#include "data/reports/reports.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <sstream>

#include <gtest/gtest.h>

#include "data/files.hpp"
#include "data/reports/event_records.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

StepMetrics metrics_of(int64_t step) {
  return {.step = step,
          .epoch = 0.25 * static_cast<double>(step),
          .loss = 2.0 / 3,
          .learning_rate = 1e-4,
          .grad_norm = 1234.56789012,
          .tokens = 300,
          .samples = 8,
          .step_time_s = 0.5,
          .data_time_s = 0.001,
          .comm_time_s = 0.01,
          .comm_bytes = 4096,
          .comm_bytes_inter_node = 7,
          .memory_gib = 1.5};
}

std::vector<nlohmann::ordered_json> lines_of(const std::string& path) {
  std::vector<nlohmann::ordered_json> lines;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);)
    lines.push_back(nlohmann::ordered_json::parse(line));
  return lines;
}

std::vector<int64_t> steps_of(const std::string& path) {
  std::vector<int64_t> steps;
  for (const auto& line : lines_of(path)) steps.push_back(line["step"]);
  return steps;
}

void run(RunObserver& observer, int64_t first_step, int64_t last_step, int64_t num_steps) {
  observer.on_begin(first_step, num_steps);
  for (int64_t step = first_step; step <= last_step; ++step) observer.on_step(metrics_of(step));
}

TEST(MetricsFile, HasTheFieldsOfTheContractInTheirOrder) {
  const TempFolder folder;
  run(*make_metrics_file(folder.file("m"), 1), 1, 1, 1);
  const auto line = lines_of(folder.file("m")).at(0);
  std::vector<std::string> names;
  for (const auto& [name, value] : line.items()) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "samples",
                "tokens_per_second", "samples_per_second", "step_time_s", "data_time_s",
                "comm_time_s", "comm_bytes", "comm_bytes_inter_node", "memory_gib", "time"}));
  EXPECT_EQ(line["tokens_per_second"], 600);
  EXPECT_EQ(line["samples_per_second"], 16);
  EXPECT_EQ(line["comm_bytes"], 4096);
  const std::string text = read_file(folder.file("m"));
  EXPECT_NE(text.find("\"loss\": 0.666666667,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"grad_norm\": 1234.56789,"), std::string::npos) << text;
}

TEST(MetricsFile, NineDigitsTellAnyTwoFp32ValuesApart) {
  const TempFolder folder;
  StepMetrics metrics = metrics_of(1);
  const float value = 2.7182818f, next = std::nextafter(value, 3.0f);
  const auto observer = make_metrics_file(folder.file("m"), 1);
  observer->on_begin(1, 2);
  metrics.loss = value;
  observer->on_step(metrics);
  metrics.loss = next;
  observer->on_step(metrics);
  const auto lines = lines_of(folder.file("m"));
  EXPECT_EQ(static_cast<float>(lines[0]["loss"].get<double>()), value);
  EXPECT_EQ(static_cast<float>(lines[1]["loss"].get<double>()), next);
}

TEST(MetricsFile, ValuesThatAreNotFiniteAreNull) {
  const TempFolder folder;
  const auto observer = make_metrics_file(folder.file("m"), 1);
  observer->on_begin(1, 1);
  StepMetrics metrics = metrics_of(1);
  metrics.loss = std::nan("");
  metrics.grad_norm = std::numeric_limits<double>::infinity();
  metrics.memory_gib = std::nan("");
  observer->on_step(metrics);
  const auto line = lines_of(folder.file("m")).at(0);
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["grad_norm"].is_null());
  EXPECT_TRUE(line["memory_gib"].is_null());
}

TEST(MetricsFile, LogsEverySoManyStepsAndTheLast) {
  const TempFolder folder;
  run(*make_metrics_file(folder.file("m"), 3), 1, 8, 8);
  EXPECT_EQ(steps_of(folder.file("m")), (std::vector<int64_t>{3, 6, 8}));
}

TEST(MetricsFile, AResumeDropsWhatTheKilledRunLoggedBeyondItsCheckpoint) {
  const TempFolder folder;
  const std::string path = folder.file("m");
  run(*make_metrics_file(path, 1), 1, 5, 8);
  write_file_atomically(path, read_file(path) + "{\"step\": 6, \"lo");
  run(*make_metrics_file(path, 1), 4, 6, 8);
  EXPECT_EQ(steps_of(path), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  run(*make_metrics_file(path, 1), 1, 2, 8);
  EXPECT_EQ(steps_of(path), (std::vector<int64_t>{1, 2}));
}

TEST(MetricsFile, ThatCannotBeWrittenDoesNotStopTheRun) {
  const TempFolder folder;
  run(*make_metrics_file(folder.file("no/such/folder/m"), 1), 1, 2, 2);
  run(*make_tensorboard_writer(folder.write("file", "") + "/logs", 1), 1, 2, 2);
}

TEST(Crc32c, IsTheOneOfTheStandard) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);            // check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(EventRecords, AreTheBytesOfTensorboardsOwnWriter) {
  // tensorboard 2.21: Event(wall_time=1.5, file_version="brain.Event:2"), and
  // Event(wall_time=2.5, step=300, summary=Summary(value=[Value(tag="train/loss",
  // simple_value=0.5)]))
  const auto hex = [](const std::string& bytes) {
    std::string text;
    for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    return text;
  };
  EXPECT_EQ(hex(file_version_event(1.5)), "09000000000000f83f1a0d627261696e2e4576656e743a32");
  EXPECT_EQ(hex(scalars_event(2.5, 300, {{"train/loss", 0.5}})),
            "09000000000000044010ac022a130a110a0a747261696e2f6c6f7373150000003f");
}

uint64_t little_endian_at(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i)
    value |= uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

uint32_t unmasked(uint64_t masked) {
  const auto rotated = static_cast<uint32_t>(masked) - 0xa282ead8u;
  return rotated >> 17 | rotated << 15;
}

TEST(TensorboardWriter, WritesRecordsWhoseChecksumsHold) {
  const TempFolder folder;
  run(*make_tensorboard_writer(folder.file("logs"), 1), 1, 3, 3);
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(folder.file("logs")))
    paths.push_back(entry.path().string());
  ASSERT_EQ(paths.size(), 1u);
  EXPECT_TRUE(fs::path(paths[0]).filename().string().starts_with("events.out.tfevents."))
      << paths[0];
  const std::string bytes = read_file(paths[0]);
  int num_records = 0;
  for (size_t at = 0; at < bytes.size(); ++num_records) {
    const uint64_t length = little_endian_at(bytes, at, 8);
    ASSERT_LE(at + 16 + length, bytes.size());
    EXPECT_EQ(unmasked(little_endian_at(bytes, at + 8, 4)),
              crc32c(std::string_view(bytes).substr(at, 8)));
    EXPECT_EQ(unmasked(little_endian_at(bytes, at + 12 + length, 4)),
              crc32c(std::string_view(bytes).substr(at + 12, length)));
    at += 16 + length;
  }
  EXPECT_EQ(num_records, 4);  // the version and three steps
}

TrainerLogOptions log_options() {
  return {.logging_steps = 2,
          .eval_steps = 4,
          .save_steps = 4,
          .max_steps = 9,
          .batch_size = 4,
          .num_epochs = 2.5,
          .output_dir = "out"};
}

TEST(TrainerLog, StateHasTheFieldsOfTheHuggingFaceTrainerSorted) {
  const auto log = make_trainer_log(log_options());
  run(*log, 1, 4, 9);
  log->on_eval({.step = 4, .epoch = 1, .loss = 0.5, .tokens = 100, .samples = 10, .runtime_s = 2});
  const auto state = log->state();
  std::vector<std::string> names;
  for (const auto& [name, value] : state.items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"best_global_step",
                                             "best_metric",
                                             "best_model_checkpoint",
                                             "epoch",
                                             "eval_steps",
                                             "global_step",
                                             "is_hyper_param_search",
                                             "is_local_process_zero",
                                             "is_world_process_zero",
                                             "log_history",
                                             "logging_steps",
                                             "max_steps",
                                             "num_input_tokens_seen",
                                             "num_train_epochs",
                                             "save_steps",
                                             "stateful_callbacks",
                                             "total_flos",
                                             "train_batch_size",
                                             "trial_name",
                                             "trial_params"}));
  EXPECT_EQ(state["global_step"], 4);
  EXPECT_EQ(state["epoch"], 1.0);
  EXPECT_EQ(state["max_steps"], 9);
  EXPECT_EQ(state["num_train_epochs"], 3);
  EXPECT_EQ(state["num_input_tokens_seen"], 4 * 300);
  EXPECT_EQ(state["best_metric"], 0.5);
  EXPECT_EQ(state["best_model_checkpoint"], "out/checkpoint-4");
  ASSERT_EQ(state["log_history"].size(), 3u);  // steps 2 and 4, and the evaluation
  EXPECT_EQ(
      state["log_history"][0].dump(),
      R"({"epoch":0.5,"grad_norm":1234.56789012,"learning_rate":0.0001,"loss":0.6666666666666666,"step":2})");
  EXPECT_EQ(
      state["log_history"][2].dump(),
      R"({"epoch":1.0,"eval_loss":0.5,"eval_runtime":2.0,"eval_samples_per_second":5.0,"eval_steps_per_second":1.5,"step":4})");
}

TEST(TrainerLog, TheBestIsTheLowestEvaluationLoss) {
  const auto log = make_trainer_log(log_options());
  for (const auto& [step, loss] :
       {std::pair{1, 0.9}, std::pair{2, 0.7}, std::pair{3, 0.8}, std::pair{5, 0.7}})
    log->on_eval({.step = step, .loss = loss, .samples = 1, .runtime_s = 1});
  EXPECT_EQ(log->state()["best_metric"], 0.7);
  EXPECT_EQ(log->state()["best_global_step"], 2);
  EXPECT_TRUE(log->state()["best_model_checkpoint"].is_null());  // no checkpoint at step 2
}

TEST(TrainerLog, StopAndGoOnGivesTheStateOfARunThatNeverStopped) {
  const auto whole = make_trainer_log(log_options());
  run(*whole, 1, 4, 9);
  whole->on_eval({.step = 4, .epoch = 1, .loss = 0.5, .samples = 10, .runtime_s = 2});
  const auto resumed = make_trainer_log(log_options());
  resumed->restore(nlohmann::ordered_json::parse(whole->state().dump()));
  run(*resumed, 5, 9, 9);
  for (int64_t step = 5; step <= 9; ++step) whole->on_step(metrics_of(step));
  EXPECT_EQ(resumed->state(), whole->state());
}

TEST(TrainerLog, ResultsHaveTheNamesOfTrainResults) {
  const auto log = make_trainer_log(log_options());
  run(*log, 1, 9, 9);
  log->on_end({.steps = 9, .epoch = 2.25, .mean_loss = 1.5, .runtime_s = 3, .samples = 72});
  EXPECT_EQ(
      log->results().dump(),
      R"({"epoch":2.25,"total_flos":0.0,"train_loss":1.5,"train_runtime":3.0,"train_samples_per_second":24.0,"train_steps_per_second":3.0})");
  EXPECT_EQ(log->state()["log_history"].back()["train_loss"], 1.5);
}

TEST(ModelCard, OpensWithTheFrontMatterOfTheHub) {
  const std::string card = model_card_markdown({.name = "law",
                                                .base_model = "models/llama \"2\"",
                                                .data = "data/law",
                                                .template_name = "alpaca",
                                                .config_yaml = "lora_rank: 8",
                                                .trainable_parameters = 1234,
                                                .steps = 20,
                                                .first_loss = 2.5,
                                                .last_loss = 0.25,
                                                .eval_losses = {{10, 0.75}}});
  EXPECT_TRUE(card.starts_with("---\nbase_model: \"models/llama \\\"2\\\"\"\nlibrary_name: peft\n"))
      << card;
  EXPECT_NE(card.find("\n---\n\n# law\n"), std::string::npos);
  EXPECT_NE(card.find("2.5000 to 0.2500"), std::string::npos);
  EXPECT_NE(card.find("| 10 | 0.7500 |"), std::string::npos);
  EXPECT_NE(card.find("```yaml\nlora_rank: 8\n```\n"), std::string::npos);
}

}  // namespace
}  // namespace lora_dist
