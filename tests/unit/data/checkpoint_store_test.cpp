#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <gtest/gtest.h>

#include "data/checkpoints/store.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

StoreOptions options_for(const TempFolder& folder, int64_t save_total_limit = 0) {
  return {.output_dir = folder.path(),
          .save_total_limit = save_total_limit,
          .config_yaml = "lora_rank: 2\n",
          .description = {.base_model = "b",
                          .settings = {.lora_rank = 2, .target_modules = {{"q_proj"}, {}, false}}},
          .fingerprints = {{"dataset", "d1"}, {"base", "b1"}}};
}

TrainingState state_of(int64_t step) {
  const auto value = static_cast<double>(step);
  return {
      .step = step,
      .epoch = value / 3,
      .adapter = {{"q_proj.lora_A", at::linspace(value, value + 0.1, 6).reshape({2, 3})},
                  {"q_proj.lora_B", at::linspace(-1.0 / 3, value, 8).reshape({4, 2})}},
      .optimizer = {{"exp_avg", at::linspace(0, 1e-9, 14)}, {"exp_avg_sq", at::full({14}, 1e-40)}},
      .trainer = {{"global_step", step},
                  {"log_history", {{{"loss", 0.1 * value}, {"step", step}}}}}};
}

void save(const StoreOptions& options, std::initializer_list<int64_t> steps) {
  const auto store = make_checkpoint_store(options);
  for (const int64_t step : steps) store->save(state_of(step));
  store->flush();
}

bool same(const NamedTensors& a, const NamedTensors& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && x.second.scalar_type() == y.second.scalar_type() &&
                  at::equal(x.second, y.second);
         });
}

bool same(const TrainingState& a, const TrainingState& b) {
  return a.step == b.step && a.epoch == b.epoch && same(a.adapter, b.adapter) &&
         same(a.optimizer, b.optimizer) && nlohmann::json(a.trainer) == nlohmann::json(b.trainer);
}

std::vector<std::string> names_in(const TempFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path()))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// The folder is called out, as in the museum.
std::string museum_line(std::string text, const TempFolder& folder) {
  for (size_t at = text.find(folder.path()); at != std::string::npos; at = text.find(folder.path()))
    text.replace(at, folder.path().size(), "out");
  return text;
}

std::string load_error(const TempFolder& folder, const std::string& name) {
  return museum_line(error_text<ModelError>([&] { load_checkpoint(folder.file(name)); }), folder);
}

void change_manifest(const TempFolder& folder, const std::string& name,
                     const std::function<void(nlohmann::ordered_json&)>& change) {
  auto manifest = read_json_file(folder.file(name + "/manifest.json"));
  change(manifest);
  folder.write(name + "/manifest.json", manifest.dump());
}

void flip_a_byte(const std::string& path) {
  std::string content = read_file(path);
  content.back() ^= 1;
  write_file_atomically(path, content);
}

TEST(CheckpointStore, WhatIsSavedComesBackBitForBit) {
  const TempFolder folder;
  save(options_for(folder), {7});
  const LoadedCheckpoint loaded = load_checkpoint(folder.file("checkpoint-7"));
  EXPECT_TRUE(same(loaded.state, state_of(7)));
  EXPECT_EQ(loaded.path, folder.file("checkpoint-7"));
  EXPECT_EQ(loaded.fingerprints, options_for(folder).fingerprints);
}

TEST(CheckpointStore, HoldsTheFilesOfTheContractAndLoadsAsAnAdapter) {
  const TempFolder folder;
  save(options_for(folder), {7});
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.file("checkpoint-7")))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"adapter_config.json", "adapter_model.safetensors",
                                             "config.resolved.yaml", "manifest.json",
                                             "optimizer.safetensors", "trainer_state.json"}));
  EXPECT_TRUE(same(load_adapter(folder.file("checkpoint-7")).tensors, state_of(7).adapter));
  EXPECT_EQ(read_file(folder.file("checkpoint-7/config.resolved.yaml")), "lora_rank: 2\n");
}

TEST(CheckpointStore, EachHoldsTheTokenizerOfTheBaseAndGoesOnWithoutIt) {
  const TempFolder folder, base;
  base.write("tokenizer.json", "{}");
  base.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  base.write("chat_template.jinja", "{{ messages }}");
  base.write("model.safetensors", "weights");
  StoreOptions options = options_for(folder, /*save_total_limit=*/1);
  options.tokenizer_dir = base.path();
  save(options, {1, 2});
  EXPECT_EQ(names_in(folder), std::vector<std::string>{"checkpoint-2"});
  const fs::path saved = folder.file("checkpoint-2");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
    EXPECT_EQ(read_file((saved / name).string()), read_file(base.file(name))) << name;
  EXPECT_FALSE(fs::exists(saved / "model.safetensors"));
  EXPECT_TRUE(same(load_checkpoint(saved.string()).state, state_of(2)));
  fs::remove(saved / "tokenizer.json");
  EXPECT_TRUE(same(load_checkpoint(saved.string()).state, state_of(2)));
  options.with_chat_template = false;
  save(options, {3});
  EXPECT_FALSE(fs::exists(fs::path(folder.file("checkpoint-3")) / "chat_template.jinja"));
  fs::remove_all(base.path());
  save(options, {4});
  EXPECT_TRUE(same(load_checkpoint(folder.file("checkpoint-4")).state, state_of(4)))
      << "a base that is gone keeps no run from saving";
}

TEST(CheckpointStore, TheOldestGoBeyondTheLimit) {
  const TempFolder folder;
  save(options_for(folder, 2), {5, 10, 100});
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"checkpoint-10", "checkpoint-100"}));
  save(options_for(folder, 1), {105});
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"checkpoint-105"}));
}

TEST(CheckpointStore, RotationSparesTheBestWhenAsked) {
  const TempFolder folder;
  StoreOptions options = options_for(folder, 1);
  options.keep_best = true;
  const auto store = make_checkpoint_store(options);
  for (const int64_t step : {1, 2, 3}) {
    TrainingState state = state_of(step);
    state.trainer["best_model_checkpoint"] = "elsewhere/checkpoint-1";
    store->save(std::move(state));
  }
  store->flush();
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"checkpoint-1", "checkpoint-3"}));
}

TEST(CheckpointStore, DamagedOnesNeitherCountNorGo) {
  const TempFolder folder;
  save(options_for(folder), {1, 2});
  fs::remove(folder.file("checkpoint-2/manifest.json"));
  save(options_for(folder, 2), {3});
  EXPECT_EQ(names_in(folder),
            (std::vector<std::string>{"checkpoint-1", "checkpoint-2", "checkpoint-3"}));
}

StoreOptions options_of_run(const TempFolder& folder, const std::string& run_id,
                            int64_t steps_before) {
  StoreOptions options = options_for(folder, 1);
  options.run = {.run_id = run_id, .steps_before = steps_before};
  return options;
}

TEST(CheckpointStore, AnotherRunsCheckpointsAreNeitherRotatedNorReplacedNorResumed) {
  const TempFolder folder;
  save(options_of_run(folder, "a", 0), {2, 4});
  const StoreOptions options = options_of_run(folder, "b", 4);
  save(options, {1, 2});
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"checkpoint-4", "checkpoint-6"}));
  EXPECT_EQ(load_newest_checkpoint(folder.path(), options.run)->state.step, 2);
  EXPECT_EQ(load_newest_checkpoint(folder.path(), {.run_id = "a"})->state.step, 4);
  EXPECT_FALSE(load_newest_checkpoint(folder.path(), {.run_id = "c"}));

  const auto intruder = make_checkpoint_store(options_of_run(folder, "c", 0));
  intruder->save(state_of(4));
  const std::string text = error_text<LockedError>([&] { intruder->flush(); });
  EXPECT_NE(text.find("checkpoint-4: is a checkpoint of run 'a'"), std::string::npos) << text;
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"checkpoint-4", "checkpoint-6"}));
}

TEST(CheckpointStore, ALostLeaseEndsASaveWithoutACheckpoint) {
  for (const int good_looks : {0, 1}) {
    const TempFolder folder;
    StoreOptions options = options_for(folder);
    int looks = 0;
    options.require_lease = [&] {
      if (looks++ >= good_looks) throw LockedError({.where = "out/", .found = "taken over"});
    };
    const auto store = make_checkpoint_store(options);
    store->save(state_of(2));
    EXPECT_THROW(store->flush(), LockedError);
    EXPECT_TRUE(fs::is_empty(folder.path())) << good_looks;
  }
}

TEST(CheckpointStore, WhatAFormerHolderSavedAfterItsTimeIsNotResumed) {
  const TempFolder folder;
  StoreOptions former = options_for(folder);
  former.run = {.run_id = "a", .epoch = 1};
  save(former, {2, 4});
  save(former, {6});  // woke up after the next process had gone on from step 4
  const RunIdentity owner{.run_id = "a", .epoch = 2, .epoch_from_step = 4};
  EXPECT_EQ(load_newest_checkpoint(folder.path(), owner)->state.step, 4);
}

TEST(CheckpointStore, AStepReachedAgainReplacesItsCheckpoint) {
  const TempFolder folder;
  save(options_for(folder), {4});
  TrainingState other = state_of(4);
  other.epoch = 99;
  const auto store = make_checkpoint_store(options_for(folder));
  store->save(other);
  store->flush();
  EXPECT_EQ(load_checkpoint(folder.file("checkpoint-4")).state.epoch, 99);
  EXPECT_EQ(names_in(folder), std::vector<std::string>{"checkpoint-4"});
}

TEST(CheckpointStore, LeftoversOfDeadRunsGoAtTheStartAndNothingElseDoes) {
  const TempFolder folder;
  folder.write("checkpoint-5.tmp-0011/adapter_model.safetensors", "half");
  folder.write("checkpoint-3.del-0011/manifest.json", "{}");
  folder.write("notes.tmp-1/keep", "mine");
  make_checkpoint_store(options_for(folder));
  EXPECT_EQ(names_in(folder), std::vector<std::string>{"notes.tmp-1"});
}

TEST(CheckpointStore, AnErrorOfTheThreadIsThrownByTheNextCall) {
  const TempFolder folder;
  const auto store = make_checkpoint_store(options_for(folder));
  set_disk_hook([](std::string_view operation, const std::string&) {
    return operation == "write" ? ENOSPC : 0;
  });
  store->save(state_of(1));
  const std::string text = error_text<StorageError>([&] { store->flush(); });
  set_disk_hook({});
  EXPECT_NE(text.find("cannot write (no space left on device)"), std::string::npos) << text;
  EXPECT_TRUE(fs::is_empty(folder.path()));
  store->save(state_of(2));  // the disk has room again
  store->flush();
  EXPECT_EQ(names_in(folder), std::vector<std::string>{"checkpoint-2"});
}

// A kill is played by a disk on which nothing happens any more from operation `at` on: what is left
// then is what a killed process leaves.
TEST(CheckpointStore, AfterAKillAtAnyOperationTheNewestThatVerifiesIsOneThatWasSaved) {
  for (int at = 0;; ++at) {
    const TempFolder folder;
    save(options_for(folder, 1), {1});
    int count = 0;
    set_disk_hook([&](std::string_view, const std::string&) { return count++ >= at ? EIO : 0; });
    try {
      save(options_for(folder, 1), {2});
    } catch (const StorageError&) {
      // The save that the kill cut off.
    }
    set_disk_hook({});
    const auto loaded = load_newest_checkpoint(folder.path());
    ASSERT_TRUE(loaded) << at;
    EXPECT_TRUE(same(loaded->state, state_of(loaded->state.step))) << at;
    make_checkpoint_store(options_for(folder));  // the next start cleans up
    for (const std::string& name : names_in(folder))
      EXPECT_TRUE(name == "checkpoint-1" || name == "checkpoint-2") << at << name;
    if (count <= at) {
      EXPECT_EQ(loaded->state.step, 2);
      EXPECT_GT(at, 30);  // six files of four operations each, folders, renames, rotation
      break;
    }
  }
}

TEST(LoadCheckpoint, FindsEveryFlippedByte) {
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors",
                           "optimizer.safetensors", "trainer_state.json", "config.resolved.yaml"}) {
    const TempFolder folder;
    save(options_for(folder), {900});
    flip_a_byte(folder.file(std::string("checkpoint-900/") + name));
    EXPECT_EQ(load_error(folder, "checkpoint-900"),
              fmt::format("out/checkpoint-900: {} hash differs", name));
  }
}

TEST(LoadCheckpoint, FindsATruncatedAndAMissingFile) {
  const TempFolder folder;
  save(options_for(folder), {5});
  folder.write("checkpoint-5/config.resolved.yaml", "lora");
  EXPECT_EQ(load_error(folder, "checkpoint-5"),
            "out/checkpoint-5: config.resolved.yaml has 4 bytes instead of 13");
  fs::remove(folder.file("checkpoint-5/config.resolved.yaml"));
  EXPECT_EQ(load_error(folder, "checkpoint-5"),
            "out/checkpoint-5: config.resolved.yaml is missing");
}

// Museum 36. This build knows one format, so the range is one number.
TEST(LoadCheckpoint, RefusesANewerFormat) {
  const TempFolder folder;
  save(options_for(folder), {500});
  change_manifest(folder, "checkpoint-500", [](auto& manifest) { manifest["format"] = 3; });
  EXPECT_EQ(load_error(folder, "checkpoint-500"),
            "out/checkpoint-500/manifest.json: format 3, this build reads 1; update lora-dist");
}

// Museum 37.
TEST(LoadCheckpoint, SaysWhichOneToUseInsteadOfAnUnfinishedOne) {
  const TempFolder folder;
  save(options_for(folder), {600, 650});
  folder.write("checkpoint-700/adapter_model.safetensors", "");
  EXPECT_EQ(load_error(folder, "checkpoint-700"),
            "out/checkpoint-700: no manifest.json, the save was not finished; use checkpoint-650");
}

// Museum 39.
TEST(LoadCheckpoint, RefusesAManifestThatLeavesTheFolder) {
  const TempFolder folder;
  save(options_for(folder), {500});
  change_manifest(folder, "checkpoint-500",
                  [](auto& manifest) { manifest["files"][0]["name"] = "../x"; });
  EXPECT_EQ(load_error(folder, "checkpoint-500"),
            "out/checkpoint-500/manifest.json: file name '../x' leaves the checkpoint");
}

TEST(LoadCheckpoint, RefusesAManifestOfAnotherStepOrWithoutAFile) {
  const TempFolder folder;
  save(options_for(folder), {5});
  fs::rename(folder.file("checkpoint-5"), folder.file("checkpoint-6"));
  EXPECT_EQ(load_error(folder, "checkpoint-6"),
            "out/checkpoint-6/manifest.json: step 5 in a folder of step 6");
  change_manifest(folder, "checkpoint-6",
                  [](auto& manifest) { manifest["files"].erase(2), manifest["step"] = 6; });
  EXPECT_EQ(load_error(folder, "checkpoint-6"),
            "out/checkpoint-6/manifest.json: lists no optimizer.safetensors");
}

TEST(LoadNewest, IsNothingWhereThereIsNoCheckpoint) {
  const TempFolder folder;
  EXPECT_FALSE(load_newest_checkpoint(folder.path()));
  EXPECT_FALSE(load_newest_checkpoint(folder.file("none")));
  folder.write("checkpoint-final/a", "");
  EXPECT_FALSE(load_newest_checkpoint(folder.path()));
}

TEST(LoadNewest, GoesByTheNumberAndSkipsWhatDoesNotVerify) {
  const TempFolder folder;
  save(options_for(folder), {9, 10, 100});
  EXPECT_EQ(load_newest_checkpoint(folder.path())->state.step, 100);
  flip_a_byte(folder.file("checkpoint-100/optimizer.safetensors"));
  EXPECT_EQ(load_newest_checkpoint(folder.path())->state.step, 10);
}

// Museum 38.
TEST(LoadNewest, SaysSoWhenNoneVerifies) {
  const TempFolder folder;
  save(options_for(folder), {700, 800, 900});
  for (const char* name : {"checkpoint-700", "checkpoint-800", "checkpoint-900"})
    flip_a_byte(folder.file(std::string(name) + "/adapter_model.safetensors"));
  EXPECT_EQ(
      museum_line(error_text<ModelError>([&] { load_newest_checkpoint(folder.path()); }), folder),
      "out/: none of 3 checkpoints verifies (checkpoint-900: adapter_model.safetensors hash "
      "differs); start anew or restore");
}

}  // namespace
}  // namespace lora_dist
