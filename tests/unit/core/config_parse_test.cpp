#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/config/config.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Config parse(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return parse_config(yaml, "c.yaml", overrides);
}

std::string error_of(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  try {
    parse(yaml, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(ParseConfig, AcceptsEverySpellingOfTheLearningRatesOfTheBrief) {
  EXPECT_EQ(parse("learning_rate: 1e-4").steps.learning_rate, 1e-4);
  EXPECT_EQ(parse("learning_rate: 1.0e-4").steps.learning_rate, 1e-4);
  EXPECT_EQ(parse("learning_rate: 1.5e-4 # 微调常用学习率范围").steps.learning_rate, 1.5e-4);
  EXPECT_EQ(parse("learning_rate: \"2e-4\"").steps.learning_rate, 2e-4);
  EXPECT_EQ(parse("learning_rate: .5").steps.learning_rate, 0.5);
  EXPECT_EQ(parse("learning_rate: +1E-3").steps.learning_rate, 1e-3);
}

TEST(ParseConfig, GivesAnEmptyTextEveryDefault) {
  const Config config = parse("");
  EXPECT_EQ(config.adapter.lora_rank, 8);
  EXPECT_EQ(config.adapter.lora_alpha, 16);
  EXPECT_THAT(config.adapter.target_modules.suffixes, ElementsAre("q_proj", "v_proj"));
  EXPECT_EQ(config.steps.batch_size, 4);
  EXPECT_EQ(config.steps.epochs, 3);
  EXPECT_EQ(config.steps.max_steps, -1);
  EXPECT_EQ(config.steps.learning_rate, 1e-4);
  EXPECT_EQ(config.state.save_steps, 500);
  EXPECT_EQ(config.state.output_name, "");
}

TEST(ParseConfig, TreatsNullAndEmptyTextAsAbsent) {
  for (const char* empty : {"", "~", "null", "\"\""})
    EXPECT_EQ(parse(std::string("metadata_path: ") + empty).data.metadata_path, "") << empty;
  EXPECT_EQ(parse("lora_rank: 16\nlora_alpha:").adapter.lora_alpha, 32);
  EXPECT_EQ(parse("dtype: \"\"").model.dtype, "auto");
}

TEST(ParseConfig, KeepsPathsAndCommentsInUtf8) {
  const Config config = parse("\xEF\xBB\xBF# 训练\ntrain_data_dir: ./数据/law\r\nepochs: 2\r\n");
  EXPECT_EQ(config.data.train_data_dir, "./数据/law");
  EXPECT_EQ(config.steps.epochs, 2);
}

TEST(ParseConfig, KnowsTheTruthValuesOfYaml) {
  for (const char* word : {"true", "True", "yes", "on", "YES"})
    EXPECT_TRUE(parse(std::string("fp16: ") + word).model.fp16) << word;
  for (const char* word : {"false", "no", "off", "Off"})
    EXPECT_FALSE(parse(std::string("shuffle: ") + word).data.shuffle) << word;
  EXPECT_EQ(error_of("fp16: maybe"), "c.yaml:1: fp16 'maybe' is not true or false");
}

TEST(ParseConfig, ReadsWordsInAnyCase) {
  EXPECT_EQ(parse("optimizer: AdamW").steps.optimizer, "adamw");
  EXPECT_EQ(parse("optimizer: ADAMW_TORCH_FUSED").steps.optimizer, "adamw");
  EXPECT_EQ(parse("scheduler: Cosine").steps.scheduler, "cosine");
  EXPECT_EQ(parse("device: CUDA").distribution.device, "cuda");
  EXPECT_EQ(parse("task_type: CAUSAL_LM").model.task_type, "text-generation");
}

TEST(ParseConfig, ReadsLayersAsListNamesOrRegularExpression) {
  const auto targets = [](const std::string& value) {
    return parse("target_modules: " + value).adapter.target_modules;
  };
  EXPECT_THAT(targets("[q_proj, k_proj]").suffixes, ElementsAre("q_proj", "k_proj"));
  EXPECT_THAT(targets("\n  - q_proj\n  - v_proj").suffixes, ElementsAre("q_proj", "v_proj"));
  EXPECT_THAT(targets("q_proj, v_proj").suffixes, ElementsAre("q_proj", "v_proj"));
  EXPECT_THAT(targets("self_attn.q_proj").suffixes, ElementsAre("self_attn.q_proj"));
  EXPECT_TRUE(targets("all-linear").all_linear);
  EXPECT_TRUE(targets("[all-linear]").all_linear);
  EXPECT_EQ(targets("'.*\\.(q|v)_proj'").regex, ".*\\.(q|v)_proj");
  EXPECT_EQ(error_of("target_modules: []"),
            "c.yaml:1: target_modules is empty; name a layer, or write all-linear");
}

TEST(ParseConfig, KeepsTheOrderOfPatterns) {
  const Config config = parse("rank_pattern: {z: 4, 'a.*': 16}\nalpha_pattern:\n  z: 8.5\n");
  EXPECT_THAT(config.adapter.rank_pattern, ElementsAre(Pair("z", 4), Pair("a.*", 16)));
  EXPECT_THAT(config.adapter.alpha_pattern, ElementsAre(Pair("z", 8.5)));
  EXPECT_EQ(error_of("rank_pattern: {z: 4.5}"),
            "c.yaml:1: rank_pattern of 'z' '4.5' is not an integer (1 to 1024)");
  EXPECT_EQ(error_of("rank_pattern: 4"),
            "c.yaml:1: rank_pattern '4', expected a map from layer names to numbers, {q_proj: 16}");
}

TEST(ParseConfig, NormalisesTheWordsOfResuming) {
  const auto resume = [](const std::string& value) {
    return parse("resume_from_checkpoint: " + value).state.resume_from_checkpoint;
  };
  EXPECT_EQ(resume("true"), "true");
  EXPECT_EQ(resume("yes"), "true");
  EXPECT_EQ(resume("no"), "false");
  EXPECT_EQ(resume("latest"), "auto");
  EXPECT_EQ(resume("enable"), "auto");
  EXPECT_EQ(resume("./output/law_lora/checkpoint-500"), "./output/law_lora/checkpoint-500");
}

TEST(ParseConfig, TakesThreadsAsCountOrAuto) {
  EXPECT_EQ(parse("threads_per_rank: 2").distribution.threads_per_rank, "2");
  EXPECT_EQ(parse("threads_per_rank: AUTO").distribution.threads_per_rank, "auto");
  EXPECT_EQ(error_of("threads_per_rank: 0"),
            "c.yaml:1: threads_per_rank 0, expected a number at least 1");
}

TEST(ParseConfig, SaysOnceThatANameIsAnAlias) {
  const Config config = parse("lora_r: 16\nper_device_train_batch_size: 2\nnum_train_epochs: 5");
  EXPECT_EQ(config.adapter.lora_rank, 16);
  EXPECT_EQ(config.steps.batch_size, 2);
  EXPECT_EQ(config.steps.epochs, 5);
  EXPECT_THAT(config.notes, ElementsAre("lora_r is an alias of lora_rank",
                                        "per_device_train_batch_size is an alias of batch_size",
                                        "num_train_epochs is an alias of epochs"));
}

TEST(ParseConfig, TurnsInverseAliasesAround) {
  EXPECT_TRUE(parse("completion_only_loss: false").data.train_on_prompt);
  EXPECT_FALSE(parse("completion_only_loss: true").data.train_on_prompt);
  EXPECT_EQ(parse("disable_gradient_checkpointing: yes").steps.gradient_checkpointing, "false");
  EXPECT_EQ(parse("use_cpu: true").distribution.device, "cpu");
  EXPECT_EQ(parse("use_cpu: false").distribution.device, "auto");
  EXPECT_EQ(parse("mixed_precision: bf16").model.dtype, "bf16");
  EXPECT_TRUE(parse("mixed_precision: fp16").model.fp16);
  EXPECT_EQ(parse("mixed_precision: no").model.dtype, "fp32");
  EXPECT_EQ(parse("bf16: true").model.dtype, "bf16");
  EXPECT_TRUE(parse("lora_target_linear: true").adapter.target_modules.all_linear);
  EXPECT_EQ(parse("auto_resume_from_checkpoints: on").state.resume_from_checkpoint, "auto");
}

TEST(ParseConfig, ReadsOneDatasetOfAxolotl) {
  const Config config = parse("datasets:\n  - path: ./data\n    type: alpaca\nadapter: lora\n");
  EXPECT_EQ(config.data.train_data_dir, "./data");
  EXPECT_EQ(config.data.data_format, "alpaca");
  EXPECT_THAT(error_of("datasets: [{path: a}, {path: b}]"),
              HasSubstr("put all data into one folder"));
}

TEST(ParseConfig, LetsTwoSpellingsAgree) {
  EXPECT_EQ(parse("sequence_length: 512\nmax_seq_length: 512").data.max_seq_length, 512);
  EXPECT_EQ(parse("optim: adamw_torch\noptimizer: AdamW").steps.optimizer, "adamw");
  EXPECT_EQ(parse("lora_r:\nlora_rank: 4").adapter.lora_rank, 4);
  EXPECT_EQ(error_of("lora_rank: 4\nr: 8"),
            "c.yaml:2: r 8 and lora_rank 4 (line 1) are one key; keep one");
}

TEST(ParseConfig, LetsTheCommandLineReplaceAKeyInAnySpelling) {
  const Config config = parse("sequence_length: 512\nmetadata_path: a.jsonl",
                              {"max_seq_length=64", "cutoff_len=128", "metadata_path="});
  EXPECT_EQ(config.data.max_seq_length, 128);
  EXPECT_EQ(config.data.metadata_path, "");
  EXPECT_THAT(parse("", {"target_modules=[q_proj, o_proj]"}).adapter.target_modules.suffixes,
              ElementsAre("q_proj", "o_proj"));
}

TEST(ParseConfig, LetsALaterFileReplaceKeysOfAnEarlierOne) {
  const Config config =
      parse_config({{.where = "template.yaml", .yaml = "epochs: 10\nlora_rank: 8"},
                    {.where = "mine.yaml", .yaml = "\nepochs: 15"}},
                   {});
  EXPECT_EQ(config.steps.epochs, 15);
  EXPECT_EQ(config.adapter.lora_rank, 8);
  EXPECT_EQ(config.where("epochs"), "mine.yaml:2");
  EXPECT_EQ(config.where("lora_rank"), "template.yaml:2");
}

TEST(ParseConfig, RemembersWhereEachKeyWasWritten) {
  const Config config = parse("# a\nr: 8\n", {"epochs=2"});
  EXPECT_EQ(config.where("lora_rank"), "c.yaml:2");
  EXPECT_EQ(config.where("epochs"), "command line");
  EXPECT_EQ(config.where("seed"), "c.yaml");
}

TEST(ParseConfig, ReportsAllMistakesInOneLine) {
  EXPECT_EQ(error_of("seed: x\nadam_beta1: 2\nlora_rnk: 8\nepocs: 3"),
            "c.yaml: 4 mistakes: "
            "(1) c.yaml:3: unknown key 'lora_rnk'; did you mean 'lora_rank'? "
            "(2) c.yaml:4: unknown key 'epocs'; did you mean 'epochs'? "
            "(3) c.yaml:1: seed 'x' is not an integer (at least 0) "
            "(4) c.yaml:2: adam_beta1 2, expected a number 0 to below 1");
}

TEST(CheckConfig, GoesOnBehindAMistake) {
  const CheckedConfig checked =
      check_config({{.where = "c.yaml", .yaml = "lora_rnk: 8\nseed: x\nepochs: 7\nepoch: 2"}},
                   {"lora_dropout=3"});
  EXPECT_EQ(checked.mistakes.size(), 4u);
  EXPECT_EQ(checked.config.steps.epochs, 7);
  EXPECT_EQ(checked.config.steps.seed, 42);
}

TEST(CheckConfig, ReportsEveryBrokenRelation) {
  const CheckedConfig checked =
      check_config({{.where = "c.yaml",
                     .yaml = "global_batch_size: 10\nmax_steps: 0\neval_steps: 5\n"
                             "early_stopping_patience: 2\nload_best_model_at_end: true"}},
                   {});
  EXPECT_EQ(checked.mistakes.size(), 4u);
}

TEST(ParseConfig, NamesCharactersThatOnlyLookLikeYaml) {
  EXPECT_EQ(error_of("epochs: 3\nlora_rank：16\nseed: 1"),
            "c.yaml:2: full-width '：' after 'lora_rank'; write `lora_rank: 16`");
  EXPECT_EQ(error_of("lora_rank ： 16"),
            "c.yaml:1: full-width '：' after 'lora_rank'; write `lora_rank: 16`");
  EXPECT_EQ(error_of("epochs: 3\nlora_rank:16\n"),
            "c.yaml:2: no blank after 'lora_rank:'; write `lora_rank: 16`");
  EXPECT_EQ(error_of("lora_rank:　16"),
            "c.yaml:1: no blank after 'lora_rank:'; write `lora_rank: 16`");
  EXPECT_EQ(error_of("lora_rank: １６"), "c.yaml:1: full-width '１' in lora_rank '１６'; write 16");
  EXPECT_EQ(error_of("learning_rate: 1e−4"),
            "c.yaml:1: minus sign '−' in learning_rate '1e−4'; write 1e-4");
  EXPECT_EQ(error_of("target_modules: q_proj，v_proj"),
            "c.yaml:1: full-width '，' in target_modules 'q_proj，v_proj'; write q_proj,v_proj");
  EXPECT_EQ(
      error_of("target_modules: [q_proj， v_proj]"),
      "c.yaml:1: full-width '，' in target_modules '[q_proj， v_proj]'; write [q_proj, v_proj]");
  EXPECT_EQ(error_of("output_dir: “./out”"),
            "c.yaml:1: curly '“' in output_dir '“./out”'; write \"./out\"");
  EXPECT_EQ(error_of("epochs: 3 ＃ 轮"),
            "c.yaml:1: full-width '＃' in epochs '3 ＃ 轮'; write 3 # 轮");
  EXPECT_EQ(error_of("＃ 训练\nepochs: 3"),
            "c.yaml:1: full-width '＃' begins the line; write `# 训练`");
  EXPECT_EQ(error_of("target_modules:\n　- q_proj"),
            "c.yaml:2: full-width blank U+3000 in indentation; use spaces");
  EXPECT_EQ(error_of("base_model: ./m\xC2\xA0"),
            "c.yaml:1: no-break blank U+00A0 in base_model './m\xC2\xA0'; write ./m ");
  EXPECT_EQ(error_of("", {"epochs＝3"}),
            "command line: 'epochs＝3', expected key=value; write epochs=3");
  EXPECT_EQ(parse("train_data_dir: ./数据：甲，乙").data.train_data_dir, "./数据：甲，乙");
  EXPECT_EQ(parse("# 轮数：三\nepochs: 3").steps.epochs, 3);
}

TEST(ParseConfig, NamesEveryLineOfAnInputMethodAtOnce) {
  const CheckedConfig checked = check_config({{"c.yaml",
                                               "base_model：./b\n"
                                               "lora_rank:16\n"
                                               "target_modules: [q_proj，v_proj]\n"
                                               "output_dir: “out”\n"
                                               "epochs: ３\n"
                                               "ＬＲ: 1\n"
                                               "epocs: 1\n"}},
                                             {});
  std::vector<std::string> lines;
  for (const ConfigError& mistake : checked.mistakes) lines.emplace_back(mistake.what());
  EXPECT_THAT(
      lines,
      testing::UnorderedElementsAre(
          "c.yaml:1: full-width '：' after 'base_model'; write `base_model: ./b`",
          "c.yaml:2: no blank after 'lora_rank:'; write `lora_rank: 16`",
          "c.yaml:3: full-width '，' in target_modules '[q_proj，v_proj]'; write [q_proj,v_proj]",
          testing::HasSubstr("c.yaml:4: curly '“' in output_dir"),
          "c.yaml:5: full-width '３' in epochs '３'; write 3",
          testing::HasSubstr("c.yaml:6: full-width 'Ｌ' begins the line; write `LR: 1`"),
          testing::HasSubstr("c.yaml:6: unknown key 'LR'"),
          "c.yaml:7: unknown key 'epocs'; did you mean 'epochs'?"));
}

TEST(ParseConfig, NamesThemWhereAnotherLineIsNoYamlEither) {
  const CheckedConfig checked = check_config(
      {{"c.yaml", "epochs：3\n  lora_alpha: 4\ntarget_modules: [q_proj，v_proj]\n"}}, {});
  std::vector<std::string> lines;
  for (const ConfigError& mistake : checked.mistakes) lines.emplace_back(mistake.what());
  EXPECT_THAT(lines, testing::Contains(HasSubstr("c.yaml:1: full-width '：'")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr("c.yaml:3: full-width '，'")));
}

TEST(ParseConfig, ReadsLinesThatEndWithACarriageReturnAlone) {
  EXPECT_EQ(parse_config("epochs: 7\rlora_rank: 4\r", "c.yaml", {}).adapter.lora_rank, 4);
}

TEST(ParseConfig, GuessesAKeyOnlyWhereItIsNear) {
  EXPECT_EQ(error_of("foo: 1"), "c.yaml:1: unknown key 'foo'; `lora-dist help keys` lists them");
  EXPECT_EQ(error_of("sede: 1"), "c.yaml:1: unknown key 'sede'; did you mean 'seed'?");
}

TEST(ParseConfig, ListsKeysThatChangeNothingInOneLine) {
  const Config config = parse(
      "do_train: true\nplot_loss: true\nddp_timeout: 180000000\nreport_to: wandb\n"
      "wandb_project: x\npreprocessing_num_workers: 16\noverwrite_cache: true\n"
      "push_to_hub: false\nepochs: 2\ndeepspeed:\nspecial_tokens:\n  pad_token: <pad>\n");
  EXPECT_EQ(config.steps.epochs, 2);
  EXPECT_THAT(config.notes,
              ElementsAre("ignored, since they change nothing here: do_train, plot_loss, "
                          "ddp_timeout, report_to, wandb_project, preprocessing_num_workers, "
                          "overwrite_cache, push_to_hub, special_tokens"));
}

TEST(ParseConfig, RefusesKeysThatWouldChangeTheRun) {
  EXPECT_EQ(error_of("neftune_noise_alpha: 5"),
            "c.yaml:1: neftune_noise_alpha 5 is not available yet (noise on the embeddings); leave "
            "it out");
  EXPECT_EQ(error_of("max_samples: 1000"),
            "c.yaml:1: max_samples 1000 is not available yet (a limit of records); put fewer "
            "records into train_data_dir");
  EXPECT_THAT(error_of("stage: dpo"), HasSubstr("stage 'dpo' is not available yet"));
  EXPECT_THAT(error_of("finetuning_type: full"), HasSubstr("known: lora"));
  EXPECT_THAT(error_of("adapter: qlora"), HasSubstr("'qlora' is not available yet; use lora"));
  EXPECT_THAT(error_of("do_train: false"), HasSubstr("do_train false is not available yet"));
  EXPECT_THAT(error_of("special_tokens: {eos_token: x}"), HasSubstr("other special tokens"));
  EXPECT_THAT(error_of("init_lora_weights: pissa"), HasSubstr("another initialisation"));
}

TEST(ParseConfig, SaysWhatAnOptimizerOfAnotherToolMeansHere) {
  EXPECT_EQ(parse("optim: paged_adamw_32bit").steps.optimizer, "adamw");
  EXPECT_EQ(parse("optimizer_type: PagedAdamW8bit").steps.optimizer, "adamw8bit");
  EXPECT_THAT(parse("optim: paged_adamw_32bit").warnings,
              ElementsAre("optim paged_adamw_32bit means adamw: its state stays in the memory of "
                          "the device, unpaged"));
  EXPECT_TRUE(parse("optim: adamw_torch").warnings.empty());
  for (const char* later : {"paged_lion_8bit", "SGDNesterov", "galore_adamw", "Prodigy", "muon",
                            "adafactor", "schedule_free_adamw", "DAdaptAdam"})
    EXPECT_EQ(
        error_of(std::string("optim: ") + later),
        fmt::format("c.yaml:1: optim '{}' is not available yet; use adamw or adamw8bit", later));
}

TEST(ParseConfig, WarnsOfValuesThatOthersLeaveWithoutEffect) {
  const auto warning = [](const std::string& yaml) {
    const std::vector<std::string> warnings = parse(yaml).warnings;
    return warnings.empty() ? "(none)" : warnings.front();
  };
  EXPECT_EQ(warning("scheduler: constant\nwarmup_steps: 10"),
            "c.yaml:2: warmup_steps 10 has no effect: scheduler constant has no warm-up; write "
            "constant_with_warmup");
  EXPECT_EQ(warning("warmup_ratio: 0.1\nwarmup_steps: 10"),
            "c.yaml:1: warmup_ratio 0.1 has no effect: warmup_steps is 10");
  EXPECT_EQ(warning("max_steps: 10\nepochs: 5"),
            "c.yaml:2: epochs 5 has no effect: max_steps is 10");
  EXPECT_EQ(warning("eval_steps: 10"),
            "c.yaml:1: eval_steps 10 has no effect: there are no validation data; set val_size or "
            "val_data_path");
  EXPECT_EQ(warning("save_steps: 0\nsave_total_limit: 5"),
            "c.yaml:2: save_total_limit 5 has no effect: save_steps 0 keeps no checkpoints");
  EXPECT_EQ(warning("train_data_dir: a\nmetadata_path: b/c.jsonl"),
            "c.yaml:1: train_data_dir a has no effect: metadata_path b/c.jsonl names the data");
  EXPECT_EQ(warning("train_data_dir: ./a/\nmetadata_path: a/c.jsonl"), "(none)");
  EXPECT_EQ(warning("train_data_dir: .\nmetadata_path: c.jsonl"), "(none)");
  EXPECT_EQ(warning("data_format: text\ntemplate: chatml"),
            "c.yaml:2: template chatml has no effect: data_format text has no turns");
  EXPECT_EQ(warning("fp16: true"),
            "c.yaml:1: fp16 true computes in bf16 where the hardware is fast in it, else fp32; "
            "there is no fp16 arithmetic");
}

TEST(ParseConfig, RefusesWhatNeedsEvaluationsWithoutThem) {
  EXPECT_THAT(error_of("val_size: 0.1\nsave_steps: 0\nearly_stopping_patience: 2"),
              HasSubstr("c.yaml:3: early_stopping_patience needs evaluations"));
  EXPECT_THAT(error_of("scheduler: reduce_lr_on_plateau"), HasSubstr("needs evaluations"));
  EXPECT_THAT(error_of("init_lora_from: a\nresume_from_checkpoint: b/checkpoint-5"),
              HasSubstr("both name the start"));
}

TEST(ParseConfig, AsksForTheAlphaThatKohyaWouldTake) {
  EXPECT_THAT(error_of("network_dim: 32"),
              HasSubstr("c.yaml:1: network_dim 32 without network_alpha"));
  EXPECT_EQ(parse("network_dim: 32\nnetwork_alpha: 16").adapter.lora_alpha, 16);
  EXPECT_THAT(parse("r: 16").warnings,
              ElementsAre("c.yaml:1: r 16 without lora_alpha, which is 8 to PEFT and 2 x lora_rank "
                          "here"));
}

TEST(ParseConfig, NamesTheBoundThatANumberBreaks) {
  EXPECT_EQ(error_of("learning_rate: 0"), "c.yaml:1: learning_rate 0, expected a number above 0");
  EXPECT_EQ(error_of("lora_dropout: 1"),
            "c.yaml:1: lora_dropout 1, expected a number 0 to below 1");
  EXPECT_EQ(error_of("seed: 99999999999999999999"),
            "c.yaml:1: seed '99999999999999999999' is too large for a number");
  EXPECT_EQ(error_of("learning_rate: 1e-999"),
            "c.yaml:1: learning_rate 1e-999, expected a number above 0");
  EXPECT_EQ(error_of("lora_rank: 09"),
            "c.yaml:1: lora_rank '09' has a leading zero; write it without");
}

TEST(ParseConfig, RefusesLaterFeaturesOnlyWhenTheyAreAskedFor) {
  EXPECT_EQ(parse("resolution: 512\nuse_dora: false\nquantization: none\npii: off").data.pii,
            "off");
  EXPECT_EQ(parse("load_in_4bit: false\nsample_packing: no\nneftune_noise_alpha: 0").steps.epochs,
            3);
  EXPECT_EQ(error_of("resolution: [512, 768]"),
            "c.yaml:1: resolution [512, 768] is not available yet (Stable Diffusion training); "
            "leave the key out");
  EXPECT_EQ(
      error_of("load_in_4bit: true"),
      "c.yaml:1: load_in_4bit true is not available yet (quantised bases); leave the key out");
  EXPECT_EQ(error_of("quantization: nf5"),
            "c.yaml:1: quantization 'nf5'; did you mean 'nf4'? known: none, nf4, int8");
  EXPECT_EQ(error_of("optimizer: prodigy"),
            "c.yaml:1: optimizer 'prodigy' is not available yet; use adamw or adamw8bit");
}

TEST(ParseConfig, RefusesKeysThatContradictEachOther) {
  EXPECT_EQ(error_of("global_batch_size: 2"),
            "c.yaml:1: global_batch_size 2 is no multiple of batch_size 4; use 4");
  EXPECT_THAT(error_of("global_batch_size: 8\ngradient_accumulation_steps: 2"),
              HasSubstr("c.yaml:2: gradient_accumulation_steps 2 means nothing"));
  EXPECT_THAT(error_of("fp16: true\ndtype: fp32"), HasSubstr("contradict"));
  EXPECT_THAT(error_of("val_size: 2.5"), HasSubstr("neither a share below 1 nor a number"));
  EXPECT_THAT(error_of("load_best_model_at_end: true"), HasSubstr("needs validation data"));
  EXPECT_THAT(error_of("max_steps: 0"), HasSubstr("trains nothing"));
}

TEST(ParseConfig, TakesOneValidationSetOrSeveral) {
  using Sets = std::vector<std::pair<std::string, std::string>>;
  const auto sets = [](const std::string& value) {
    return parse_config("val_data_path: " + value, "c.yaml", {}).data.val_data_path.sets;
  };
  EXPECT_EQ(sets("data/old.jsonl"), (Sets{{"", "data/old.jsonl"}}));
  EXPECT_EQ(sets("[data/old.jsonl]"), (Sets{{"", "data/old.jsonl"}}));
  EXPECT_EQ(sets("[a/old.jsonl, b/old.json, new set/]"),
            (Sets{{"old", "a/old.jsonl"}, {"old_2", "b/old.json"}, {"new_set", "new set/"}}));
  EXPECT_EQ(sets("{new: n.jsonl, old: o}"), (Sets{{"new", "n.jsonl"}, {"old", "o"}}));
  for (const char* wrong : {"[[a]]", "{a: }", "{a/b: c}", "[]", "{a: [b]}"})
    EXPECT_THROW(sets(wrong), ConfigError) << wrong;
}

TEST(ParseConfig, DerivesNamesFromTheRunFolder) {
  const Config config = parse("output_dir: ./output/my run/");
  EXPECT_EQ(config.state.output_name, "my_run");
  EXPECT_EQ(config.state.log_dir, "./output/my run/logs");
  EXPECT_EQ(config.data.prepared_dir, "./output/my run/prepared");
  EXPECT_EQ(parse("output_dir: ./输出/法律").state.output_name, "法律");
  EXPECT_EQ(parse("output_dir: .").state.output_name, "adapter");
}

TEST(RequireKeys, NamesTheFirstThatIsMissing) {
  const Config config = parse("base_model: m\nmetadata_path: a.jsonl");
  try {
    require_training_keys(config);
    FAIL() << "output_dir was not missed";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "c.yaml: output_dir is missing; add `output_dir: ...` (the run folder)");
  }
  require_training_keys(parse("base_model: m\nmetadata_path: a.jsonl\noutput_dir: o"));
}

TEST(RequireWorkForRanks, RefusesMoreRanksThanMicroBatches) {
  const Config config = parse("# a\n\n\n\nglobal_batch_size: 16");
  require_work_for_ranks(config, 4);
  try {
    require_work_for_ranks(config, 8);
    FAIL() << "8 ranks were accepted for 4 micro-batches";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(
        error.what(),
        "c.yaml:5: 8 ranks, but global_batch_size 16 / batch_size 4 gives 4 micro-batches; "
        "use at most 4 ranks");
  }
}

}  // namespace
}  // namespace lora_dist
