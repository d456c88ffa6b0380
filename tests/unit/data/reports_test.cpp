#include "data/reports/reports.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <sstream>

#include <gtest/gtest.h>

#include "data/exports/tokenizer_files.hpp"
#include "data/io/files.hpp"
#include "data/reports/event_records.hpp"
#include "data/reports/git_id.hpp"
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

TEST(MetricsFile, HasALineForEachEvaluation) {
  const TempFolder folder;
  const auto observer = make_metrics_file(folder.file("m"), 10);
  observer->on_begin(1, 20);
  observer->on_eval({.step = 4, .epoch = 0.5, .loss = 2.0 / 3, .runtime_s = 1});
  observer->on_eval({.step = 4, .epoch = 0.5, .loss = 1.5, .set = "old", .decides = false});
  const auto lines = lines_of(folder.file("m"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["step"], 4);
  EXPECT_EQ(lines[0]["epoch"], 0.5);
  EXPECT_EQ(lines[0]["eval_loss"], 0.666666667);
  EXPECT_TRUE(lines[0].contains("time"));
  EXPECT_EQ(lines[1]["eval_old_loss"], 1.5);
  EXPECT_FALSE(lines[1].contains("eval_loss"));
}

TEST(MetricsFile, AResumeDropsTheEvaluationsBeyondItsCheckpointToo) {
  const TempFolder folder;
  const std::string path = folder.file("m");
  const auto killed = make_metrics_file(path, 1);
  run(*killed, 1, 2, 8);
  killed->on_eval({.step = 2, .loss = 1});
  killed->on_step(metrics_of(3));
  killed->on_eval({.step = 3, .loss = 2});
  run(*make_metrics_file(path, 1), 3, 3, 8);
  EXPECT_EQ(steps_of(path), (std::vector<int64_t>{1, 2, 2, 3}));
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
  // Event(wall_time=2.5, step=300, session_log=SessionLog(status=SessionLog.START))
  EXPECT_EQ(hex(session_start_event(2.5, 300)), "09000000000000044010ac023a020801");
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
  EXPECT_EQ(num_records, 5);  // the version, the start of the session, and three steps
}

TEST(TensorboardWriter, NamesAResumedRunsFileBehindAllBeforeIt) {
  const TempFolder folder;
  fs::create_directory(folder.file("logs"));
  const std::string before = "events.out.tfevents.9000000000.z.999999.9";
  folder.write("logs/" + before, "");
  run(*make_tensorboard_writer(folder.file("logs"), 1), 1, 1, 1);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.file("logs")))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[0], before);
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
  const auto state = log->state_to_save({.steps = 4});
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
  resumed->restore(nlohmann::ordered_json::parse(whole->state_to_save({}).dump()));
  run(*resumed, 5, 9, 9);
  for (int64_t step = 5; step <= 9; ++step) whole->on_step(metrics_of(step));
  EXPECT_EQ(resumed->state_to_save({}), whole->state_to_save({}));
}

TEST(TrainerLog, ASavedStateTellsTheRunBeforeIt) {
  TrainerLogOptions options = log_options();
  options.life = {{"command", "lora-dist train"}};
  const auto first = make_trainer_log(options);
  run(*first, 1, 4, 9);
  first->on_eval({.step = 4, .loss = 0.5, .samples = 1, .runtime_s = 1});
  first->on_eval({.step = 4, .loss = 7, .samples = 1, .set = "old", .decides = false});
  const RunSummary so_far{.steps = 4,
                          .epoch = 1,
                          .first_loss = 3,
                          .last_loss = 2,
                          .mean_loss = 2.5,
                          .runtime_s = 60,
                          .tokens = 1200,
                          .samples = 32};
  const auto state = nlohmann::ordered_json::parse(first->state_to_save(so_far).dump());
  const RunSoFar read = run_so_far(state, "");
  EXPECT_EQ(read.summary.steps, 4);
  EXPECT_EQ(read.summary.first_loss, 3);
  EXPECT_EQ(read.summary.last_loss, 2);
  EXPECT_EQ(read.summary.mean_loss, 2.5);
  EXPECT_EQ(read.summary.runtime_s, 60);
  EXPECT_EQ(read.summary.tokens, 1200);
  EXPECT_EQ(read.summary.samples, 32);
  EXPECT_EQ(read.held_out.losses(), std::vector<double>{0.5});
  EXPECT_EQ(run_so_far(state, "old").held_out.losses(), std::vector<double>{7});

  const auto second = make_trainer_log(options);
  second->restore(state);
  run(*second, 5, 5, 9);
  const auto lives = lives_of(second->state());
  ASSERT_EQ(lives.size(), 2u);
  EXPECT_EQ(lives[0]["first_step"], 1);
  EXPECT_EQ(lives[1]["first_step"], 5);
  EXPECT_EQ(lives[1]["command"], "lora-dist train");
}

TEST(TrainerLog, TheStateOfAnotherProgramGivesTheLossesThatItLogged) {
  const RunSoFar read =
      run_so_far(nlohmann::ordered_json::parse(
                     R"({"global_step": 4, "epoch": 1.0, "log_history": [{"loss": 3.0, "step": 2},
              {"eval_loss": 2.5, "step": 2}, {"loss": 2.0, "step": 4}]})"),
                 "");
  EXPECT_EQ(read.summary.first_loss, 3);
  EXPECT_EQ(read.summary.mean_loss, 2.5);
  EXPECT_EQ(read.held_out.best_step(), 2);
}

TEST(TrainerLog, NamesTheBestCheckpointWhileItExists) {
  const TempFolder folder;
  TrainerLogOptions options = log_options();
  options.output_dir = folder.path();
  const auto log = make_trainer_log(options);
  log->on_begin(1, 9);
  log->on_step(metrics_of(4));
  log->on_eval({.step = 4, .loss = 0.5, .samples = 1, .runtime_s = 1});
  const std::string best = folder.file("checkpoint-4");
  EXPECT_EQ(log->state_to_save({})["best_model_checkpoint"], best);
  EXPECT_TRUE(log->state()["best_model_checkpoint"].is_null());
  fs::create_directory(best);
  EXPECT_EQ(log->state()["best_model_checkpoint"], best);
  EXPECT_EQ(log->state()["best_global_step"], 4);
}

TEST(TrainerLog, ResultsHaveTheNamesOfTrainResults) {
  const auto log = make_trainer_log(log_options());
  run(*log, 1, 9, 9);
  log->on_end({.steps = 9,
               .epoch = 2.25,
               .mean_loss = 1.5,
               .runtime_s = 3,
               .samples = 72,
               .is_over = true});
  EXPECT_EQ(
      log->results().dump(),
      R"({"epoch":2.25,"total_flos":0.0,"train_loss":1.5,"train_runtime":3.0,"train_samples_per_second":24.0,"train_steps_per_second":3.0})");
  EXPECT_EQ(log->state()["log_history"].back()["train_loss"], 1.5);
}

TEST(TrainerLog, ARunThatWasStoppedHasNoTotalsInItsHistoryYet) {
  const auto log = make_trainer_log(log_options());
  run(*log, 1, 4, 9);
  log->on_end({.steps = 4, .mean_loss = 1.5, .runtime_s = 3, .samples = 72});
  EXPECT_FALSE(log->state()["log_history"].back().contains("train_loss"));
  EXPECT_EQ(log->results()["train_loss"], 1.5);
}

ModelCard card_of_a_run() {
  return {.name = "law",
          .base_model = "models/llama \"2\"",
          .config_yaml = "lora_rank: 8",
          .data = "data/law",
          .num_samples = 40,
          .num_cut = 3,
          .num_held_out = 5,
          .template_name = "alpaca",
          .example_question = "Why?",
          .example_prompt = "### Instruction:\nWhy?\n```\n\n### Response:\n",
          .trainable_parameters = 1234,
          .summary = {.steps = 20, .epoch = 2, .first_loss = 2.5, .last_loss = 0.25},
          .exported_step = 10,
          .held_out = {{10, "", 0.75}},
          .lives = {{{"first_step", 1}, {"started", "2026-12-01T09:30:00Z"}, {"hosts", {"a"}}},
                    {{"first_step", 11},
                     {"started", "2026-12-02T09:30:00Z"},
                     {"hosts", {"a", "a", "b"}},
                     {"command", "lora-dist train --config law.yaml"},
                     {"git", {{"commit", "0123abcd"}, {"branch", "main"}}}}}};
}

TEST(ModelCard, OpensWithTheFrontMatterOfTheHub) {
  const std::string card = model_card_markdown(card_of_a_run());
  EXPECT_TRUE(card.starts_with("---\nbase_model: \"models/llama \\\"2\\\"\"\nlibrary_name: peft\n"))
      << card;
  EXPECT_NE(card.find("\n---\n\n# law\n"), std::string::npos);
  EXPECT_NE(card.find("2.5000 to 0.2500"), std::string::npos);
  EXPECT_NE(card.find("| 10 | 0.7500 |"), std::string::npos);
  EXPECT_NE(card.find("```yaml\nlora_rank: 8\n```\n"), std::string::npos);
}

TEST(ModelCard, TellsTheWholeRun) {
  const std::string card = model_card_markdown(card_of_a_run());
  for (const char* line :
       {"| Training data | `data/law`, 40 samples, 3 cut to max_seq_length; 5 held out |",
        "| Exported state | step 10, the best on held-out data |",
        "| Hosts | 3 ranks: 2 on a, 1 on b |", "| Date | 2026-12-02T09:30:00Z |",
        "| Git commit | `0123abcd` (main) |", "| Command | `lora-dist train --config law.yaml` |",
        "| 1 | 2026-12-01T09:30:00Z | 1 rank on a |", "| 11 | 2026-12-02T09:30:00Z |"})
    EXPECT_NE(card.find(line), std::string::npos) << line << "\n" << card;
}

TEST(ModelCard, ShowsHowAPromptIsLaidOutWhateverItHolds) {
  ModelCard facts = card_of_a_run();
  facts.is_layout_of_base = false;
  const std::string card = model_card_markdown(facts);
  EXPECT_NE(card.find("````text\n### Instruction:\nWhy?\n```\n\n### Response:\n````\n"),
            std::string::npos)
      << card;
  EXPECT_NE(card.find("prompt = \"### Instruction:\\nWhy?\\n```\\n\\n### Response:\\n\"\n"),
            std::string::npos)
      << card;
  EXPECT_NE(card.find("not the base model's own chat template"), std::string::npos);
}

TEST(TokenizerFiles, AreCopiedByteForByteWithoutThoseOfAnotherBase) {
  const TempFolder folder;
  const std::string config = "{\"chat_template\": \"{{ x }}\",   \"eos_token\": \"</s>\"}";
  folder.write("base/tokenizer.json", "{ }\n");
  folder.write("base/tokenizer_config.json", config);
  folder.write("base/chat_template.jinja", "{{ y }}");
  folder.write("out/merges.txt", "of another base");
  copy_tokenizer_files(folder.file("base"), folder.file("out"), /*with_chat_template=*/true);
  EXPECT_EQ(read_file(folder.file("out/tokenizer.json")), "{ }\n");
  EXPECT_EQ(read_file(folder.file("out/tokenizer_config.json")), config);
  EXPECT_EQ(read_file(folder.file("out/chat_template.jinja")), "{{ y }}");
  EXPECT_FALSE(fs::exists(folder.file("out/merges.txt")));

  copy_tokenizer_files(folder.file("base"), folder.file("out"), /*with_chat_template=*/false);
  const auto without = nlohmann::json::parse(read_file(folder.file("out/tokenizer_config.json")));
  EXPECT_EQ(without, nlohmann::json({{"eos_token", "</s>"}}));
  EXPECT_FALSE(fs::exists(folder.file("out/chat_template.jinja")));
}

class GitFolder : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { folder_.write(name, text); }
  std::string commit_at(const std::string& name) const {
    const auto id = git_id_of(folder_.file(name));
    return id ? id->commit + " " + id->branch : "none";
  }
  TempFolder folder_;
  const std::string a_ = std::string(40, 'a'), b_ = std::string(40, 'b');
};

TEST_F(GitFolder, IsReadThroughBranchPackedReferenceAndDetachedHead) {
  write("r/.git/HEAD", "ref: refs/heads/feature/x\n");
  write("r/config/c.yaml", "");
  EXPECT_EQ(commit_at("r"), "none") << "no commit yet";
  write("r/.git/packed-refs", "# pack-refs with: peeled\n" + b_ + " refs/heads/feature/x\n");
  EXPECT_EQ(commit_at("r/config/c.yaml"), b_ + " feature/x");
  write("r/.git/refs/heads/feature/x", a_ + "\n");
  EXPECT_EQ(commit_at("r"), a_ + " feature/x");
  write("r/.git/HEAD", b_ + "\n");
  EXPECT_EQ(commit_at("r/config"), b_ + " ");
}

TEST_F(GitFolder, OfAWorktreeIsTheRepositoryItBelongsTo) {
  write("r/.git/refs/heads/main", a_ + "\n");
  write("r/.git/worktrees/w/HEAD", "ref: refs/heads/main\n");
  write("r/.git/worktrees/w/commondir", "../..\n");
  write("w/.git", "gitdir: " + folder_.file("r/.git/worktrees/w") + "\n");
  EXPECT_EQ(commit_at("w"), a_ + " main");
}

TEST_F(GitFolder, ThatSaysItInAnUnknownFormSaysNothing) {
  write("r/.git/HEAD", std::string(100000, 'x'));
  EXPECT_EQ(commit_at("r"), "none");
  EXPECT_EQ(commit_at("nowhere"), "none");
}

}  // namespace
}  // namespace lora_dist
