// The table of keys that other tools have and ours do not answer to.
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/config/aliases.hpp"
#include "core/config/config.hpp"

namespace lora_dist {
namespace {

std::vector<std::string> foreign_names() {
  std::vector<std::string> names;
  for (const config::ForeignKey& key : config::foreign_keys()) names.emplace_back(key.theirs);
  return names;
}

const config::ForeignKey& foreign_key(const std::string& theirs) {
  for (const config::ForeignKey& key : config::foreign_keys())
    if (key.theirs == theirs) return key;
  throw std::logic_error(theirs);
}

/// A name that the row is for.
std::string written_name(const config::ForeignKey& key) {
  std::string name(key.theirs);
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, "some_key");
  return name;
}

bool is_refused(const std::string& yaml) {
  try {
    parse_config(yaml, "c.yaml", {});
    return false;
  } catch (const ConfigError&) {
    return true;
  }
}

class EveryForeignKey : public testing::TestWithParam<std::string> {};

TEST_P(EveryForeignKey, SaysWhy) {
  EXPECT_FALSE(foreign_key(GetParam()).why.empty());
  EXPECT_FALSE(foreign_key(GetParam()).harmless.empty());
}

TEST_P(EveryForeignKey, IsIgnoredWithAHarmlessValueAndElseRefused) {
  const config::ForeignKey& key = foreign_key(GetParam());
  const std::string name = written_name(key);
  for (const std::string_view word : key.harmless) {
    const std::string value(word == config::kOff        ? "false"
                            : word == config::kAnyValue ? "x"
                                                        : word);
    const Config config = parse_config(fmt::format("{}: {}", name, value), "c.yaml", {});
    EXPECT_THAT(config.notes,
                testing::ElementsAre("ignored, since it changes nothing here: " + name));
  }
  const bool takes_all = key.harmless.front() == config::kAnyValue;
  EXPECT_EQ(is_refused(name + ": some-other-value"), !takes_all);
  EXPECT_FALSE(is_refused(name + ":")) << "an empty key is absent";
}

TEST_P(EveryForeignKey, IsNeitherOursNorAnAlias) { EXPECT_EQ(key_named(GetParam()), ""); }

INSTANTIATE_TEST_SUITE_P(Table, EveryForeignKey, testing::ValuesIn(foreign_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           if (name.ends_with('*')) name.replace(name.size() - 1, 1, "prefix");
                           return name;
                         });

TEST(ForeignKeys, StandInTheTableOnce) {
  const std::vector<std::string> names = foreign_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST(ForeignKeys, LetTheExampleOfLlamaFactoryTrain) {
  const Config config = parse_config(R"(
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
trust_remote_code: true
### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
### dataset
dataset: ./data/alpaca_en_demo.json
template: llama3
cutoff_len: 2048
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4
### output
output_dir: saves/llama3-8b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
save_only_model: false
report_to: none
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
### eval
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
)",
                                     "llama3_lora_sft.yaml", {});
  EXPECT_TRUE(config.adapter.target_modules.all_linear);
  EXPECT_EQ(config.steps.gradient_accumulation_steps, 8);
  EXPECT_EQ(config.data.val_size, 0.1);
  EXPECT_TRUE(config.warnings.empty());
}

TEST(ForeignKeys, LetTheExampleOfAxolotlTrainButForItsWholeLayers) {
  const std::string example = R"(
base_model: NousResearch/Meta-Llama-3-8B
model_type: LlamaForCausalLM
tokenizer_type: AutoTokenizer
load_in_8bit: false
load_in_4bit: false
strict: false
datasets:
  - path: ./data/alpaca_2k_test
    type: alpaca
dataset_prepared_path: last_run_prepared
val_set_size: 0.05
output_dir: ./outputs/lora-out
sequence_len: 4096
sample_packing: true
eval_sample_packing: false
pad_to_sequence_len: true
adapter: lora
lora_model_dir:
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
lora_fan_in_fan_out:
wandb_project:
wandb_entity:
wandb_watch:
wandb_name:
wandb_log_model:
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 4
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 0.0002
train_on_inputs: false
group_by_length: false
bf16: auto
fp16:
tf32: false
gradient_checkpointing: true
early_stopping_patience:
resume_from_checkpoint:
local_rank:
logging_steps: 1
xformers_attention:
flash_attention: true
s2_attention:
warmup_steps: 10
eval_table_size:
eval_max_new_tokens: 128
debug:
deepspeed:
weight_decay: 0.0
fsdp:
fsdp_config:
special_tokens:
  pad_token: <|end_of_text|>
)";
  const Config config = parse_config(example, "lora-8b.yml", {});
  EXPECT_EQ(config.steps.optimizer, "adamw8bit");
  EXPECT_TRUE(config.data.packing);
  EXPECT_TRUE(is_refused(example + "lora_modules_to_save: [embed_tokens, lm_head]\n"));
  EXPECT_TRUE(is_refused(example + "saves_per_epoch: 1\n"));
}

}  // namespace
}  // namespace lora_dist
