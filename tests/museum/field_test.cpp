// Inputs of the kind that public bug reports of LoRA trainers describe, each with its right value
// or its one line. Values are those of transformers 5.17, PEFT 0.21 and tokenizers for the same
// files.
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/io/files.hpp"
#include "data/shards/part_file.hpp"
#include "data/tokenizers/tokenizer.hpp"
#include "data/weights/safetensors.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

const std::string kTinyBase = std::string(LORA_DIST_SOURCE_DIR) + "/examples/base-tiny";
const std::string kField = std::string(LORA_DIST_SOURCE_DIR) + "/tests/museum/field/";

struct FieldCase {
  std::string name;
  std::string reported_as;  // where users met it
  std::function<void(const TempFolder&)> write = [](const TempFolder&) {};
  std::vector<std::string> command;  // base/ is the shipped base, changed by the case's own files
  std::function<void(const ProgramResult&, const TempFolder&)> check;
};

void PrintTo(const FieldCase& entry, std::ostream* out) { *out << entry.reported_as; }

// ---- What is written before the command runs.

auto file(const std::string& name, const std::string& content) {
  return [=](const TempFolder& folder) { folder.write(name, content); };
}

/// Eighteen small alpaca records and a config that trains on them.
void write_training(const TempFolder& folder) {
  std::string records;
  for (int i = 0; i < 18; ++i)
    records += fmt::format("{{\"instruction\": \"q{0}\", \"output\": \"a{0}\"}}\n", i);
  folder.write("data/a.jsonl", records);
}

/// The base's tokens plus `pieces`, as special tokens behind them.
void add_special_tokens(const TempFolder& folder, const std::vector<std::string>& pieces) {
  auto tokenizer = nlohmann::json::parse(read_file(folder.file("base/tokenizer.json")));
  for (const std::string& piece : pieces) {
    tokenizer["added_tokens"].push_back({{"id", 2042 + tokenizer["added_tokens"].size()},
                                         {"content", piece},
                                         {"single_word", false},
                                         {"lstrip", false},
                                         {"rstrip", false},
                                         {"normalized", false},
                                         {"special", true}});
  }
  folder.write("base/tokenizer.json", tokenizer.dump());
}

std::vector<std::string> evaluate(const std::string& ids) {
  return {"evaluate",      "--base",    "base",    "--data", ids,
          "--data-format", "tokenized", "--dtype", "fp32",   "--json"};
}

std::vector<std::string> lay_out() {
  return {"tokenize", "--base", "base", "--json", "--messages", "--file", "m.jsonl"};
}

// ---- What is expected of it.

auto loss_is(double expected) {
  return [=](const ProgramResult& result, const TempFolder&) {
    ASSERT_EQ(result.exit_code, 0) << result.standard_error;
    EXPECT_NEAR(nlohmann::json::parse(result.standard_output).at("loss"), expected, 2e-5);
  };
}

/// One error line with all of `parts`.
auto fails(int exit_code, std::vector<std::string> parts) {
  return [=](const ProgramResult& result, const TempFolder&) {
    EXPECT_EQ(result.exit_code, exit_code);
    const std::string& said = result.standard_error;
    const size_t line = said.find("error: ");
    ASSERT_NE(line, std::string::npos) << said;
    EXPECT_EQ(said.find("error: ", line + 1), std::string::npos) << said;
    for (const std::string& part : parts) EXPECT_THAT(said, HasSubstr(part));
  };
}

struct ShownSample {
  std::string text;
  std::string learnt;
};

/// What `prepare` put into its parts, decoded.
std::vector<ShownSample> prepared_samples(const TempFolder& folder) {
  const auto tokenizer = load_tokenizer(kTinyBase);
  std::vector<ShownSample> samples;
  for (const auto& entry : fs::recursive_directory_iterator(folder.file("out/prepared"))) {
    if (entry.path().extension() != ".h5") continue;
    const auto part = PartFile::open(entry.path().string());
    for (int64_t i = 0; i < part->num_samples(); ++i) {
      const auto [ids, mask] = tokens_of(part->read(i));
      std::vector<TokenId> learnt;
      for (size_t k = 0; k < ids.size(); ++k)
        if (mask[k]) learnt.push_back(ids[k]);
      samples.push_back({.text = tokenizer->decode(ids, /*skip_special_tokens=*/false),
                         .learnt = tokenizer->decode(learnt, /*skip_special_tokens=*/false)});
    }
  }
  return samples;
}

auto prepares(
    size_t num_samples, std::function<void(const std::vector<ShownSample>&)> check =
                            [](const std::vector<ShownSample>&) {}) {
  return [=](const ProgramResult& result, const TempFolder& folder) {
    ASSERT_EQ(result.exit_code, 0) << result.standard_error;
    const std::vector<ShownSample> samples = prepared_samples(folder);
    ASSERT_EQ(samples.size(), num_samples) << result.standard_error;
    check(samples);
  };
}

/// Ids as transformers' apply_chat_template gives them.
auto lays_out(std::vector<int> ids) {
  return [=](const ProgramResult& result, const TempFolder&) {
    ASSERT_EQ(result.exit_code, 0) << result.standard_error;
    EXPECT_EQ(nlohmann::json::parse(result.standard_output).at("ids").get<std::vector<int>>(), ids)
        << result.standard_error;
  };
}

// ---- Weights that are stored in another way than the shipped base's.

/// A copy of every tensor, so that the file may be replaced.
NamedTensors tensors_of(const std::string& path) {
  const auto weights = SafetensorsFile::open(path);
  NamedTensors tensors;
  for (size_t i = 0; i < weights->weights().size(); ++i)
    tensors.emplace_back(weights->weights()[i].name, weights->tensor(i).clone());
  return tensors;
}

/// Tensors of base/model.safetensors, written anew as `edit` leaves them.
void rewrite_weights(const TempFolder& folder, const std::function<void(NamedTensors&)>& edit) {
  NamedTensors tensors = tensors_of(folder.file("base/model.safetensors"));
  edit(tensors);
  fs::remove(folder.file("base/model.safetensors"));
  write_safetensors(folder.file("base/model.safetensors"), tensors, {{"format", "pt"}});
}

at::Tensor& tensor_named(NamedTensors& tensors, const std::string& name) {
  for (auto& [key, tensor] : tensors)
    if (key == name) return tensor;
  throw std::runtime_error("no tensor " + name);
}

void call_the_embedding_lm_head(const TempFolder& folder) {
  rewrite_weights(folder, [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors)
      if (name == "model.embed_tokens.weight") name = "lm_head.weight";
  });
}

/// A head whose row i is the embedding of token i + 1: as after a full tuning, it is not the
/// embedding although config.json says that they are tied.
void add_another_head(const TempFolder& folder) {
  rewrite_weights(folder, [](NamedTensors& tensors) {
    tensors.emplace_back("lm_head.weight",
                         tensor_named(tensors, "model.embed_tokens.weight").roll(-1, 0));
  });
}

/// Two shards; a negated copy of the embedding lies in the one that the index does not name.
void leave_a_stale_copy(const TempFolder& folder) {
  NamedTensors first = tensors_of(folder.file("base/model.safetensors"));
  fs::remove(folder.file("base/model.safetensors"));
  const size_t half = first.size() / 2;
  NamedTensors second(first.begin() + half, first.end());
  first.resize(half);
  auto* holder = &first;
  for (auto& entry : second)
    if (entry.first == "model.embed_tokens.weight") holder = &second;
  auto* other = holder == &first ? &second : &first;
  nlohmann::json index = {{"metadata", nlohmann::json::object()},
                          {"weight_map", nlohmann::json::object()}};
  for (const auto& [name, tensor] : first) index["weight_map"][name] = "a.safetensors";
  for (const auto& [name, tensor] : second) index["weight_map"][name] = "b.safetensors";
  other->emplace_back("model.embed_tokens.weight",
                      -tensor_named(*holder, "model.embed_tokens.weight"));
  write_safetensors(folder.file("base/a.safetensors"), first, {});
  write_safetensors(folder.file("base/b.safetensors"), second, {});
  folder.write("base/model.safetensors.index.json", index.dump());
}

// ---- The table.

const std::vector<std::string> kPrepare = {"prepare", "--config", "c.yaml"};

const std::vector<FieldCase> kFieldCases = {
    {.name = "act_gelu_llama",
     .reported_as = "huggingface/candle#3991, EleutherAI/gpt-neo#79",
     .command = evaluate("ids.jsonl"),
     .check = loss_is(13.29699)},
    {.name = "adapter_init_pissa",
     .reported_as = "huggingface/peft#2184, huggingface/transformers#34468",
     .command = {"evaluate", "--base", "base", "--adapter", "adapter", "--data", "ids.jsonl",
                 "--data-format", "tokenized", "--dtype", "fp32", "--json"},
     .check =
         [](const ProgramResult& result, const TempFolder& folder) {
           if (result.exit_code == 0) return loss_is(12.68092)(result, folder);  // rebuilt exactly
           fails(4, {"pissa"})(result, folder);
         }},
    {.name = "csv_comma_in_first_column",
     .reported_as = "RFC 4180, as pandas",
     .write = file("data/a.csv", "instruction,input,output\nWhat is 2, doubled?,none,4\n"),
     .command = kPrepare,
     .check = fails(3, {"a.csv:2", "4 fields", "3"})},
    {.name = "csv_field_over_1mib",
     .reported_as = "a quoted field of more than the limit",
     .write = file("data/a.csv",
                   "instruction,output\n\"" + std::string((1 << 20) + 100, 'x') + "\",a\n"),
     .command = kPrepare,
     .check = fails(3, {"a.csv:2", "1 MiB"})},
    {.name = "dynamic_rope_padding",
     .reported_as = "QwenLM/Qwen#401",
     .command = evaluate("ids.jsonl"),  // four samples of four lengths in one batch
     .check = loss_is(13.82956)},
    {.name = "folder_with_heldout",
     .reported_as = "OpenRLHF/OpenRLHF#367, Lightning-AI/litgpt#1054",
     .write =
         [](const TempFolder& folder) {
           folder.write("data/train.jsonl",
                        "{\"instruction\": \"q0\", \"output\": \"a0\"}\n"
                        "{\"instruction\": \"q1\", \"output\": \"a1\"}\n");
           folder.write("data/heldout.jsonl", R"({"instruction": "q2", "output": "a2"})");
           folder.write("data/test.jsonl", R"({"instruction": "q3", "output": "a3"})");
         },
     .command = {"train", "--config", "c.yaml", "max_steps=1"},
     .check =
         [](const ProgramResult& result, const TempFolder&) {
           ASSERT_EQ(result.exit_code, 0) << result.standard_error;
           EXPECT_THAT(
               result.standard_error,
               AllOf(HasSubstr("2 samples"), HasSubstr("heldout.jsonl"), HasSubstr("test.jsonl")));
         }},
    {.name = "gemma_hidden_activation_null",
     .reported_as = "huggingface/transformers#29995, unslothai/unsloth#214",
     .command = evaluate("ids.jsonl"),
     .check = loss_is(4.92038)},
    {.name = "generate_eos_list",
     .reported_as = "vllm-project/vllm#4182, oobabooga/textgen#5885",
     .write = file("base/generation_config.json", R"({"eos_token_id": [2047, 262]})"),
     .command = {"generate", "--base", "base", "--prompt", "Where is Oslo?", "--max-new-tokens",
                 "30", "--dtype", "fp32", "--json"},
     .check =
         [](const ProgramResult& result, const TempFolder&) {
           ASSERT_EQ(result.exit_code, 0) << result.standard_error;
           const auto said = nlohmann::json::parse(result.standard_output);
           EXPECT_EQ(said.at("ids")[1], 1808);  // of 1890, 1808, 262, 305, ...
           EXPECT_THAT(said.at("text"), Not(HasSubstr(" is")));
           EXPECT_EQ(said.at("finish_reason"), "stop");
         }},
    {.name = "h5_of_other_tokenizer",
     .reported_as = "axolotl-ai-cloud/axolotl#1265, #885",
     .write = [](const TempFolder& folder) { add_special_tokens(folder, {"<|tool|>"}); },
     .command = {"train", "--config", "c.yaml", "train_data_dir=part-0000.h5", "max_steps=1"},
     .check = fails(3, {"part-0000.h5", "tokenizer"})},
    {.name = "hostfile_crlf",
     .reported_as = "open-mpi/ompi#11136, pmodels/mpich#6719",
     .write =
         [](const TempFolder& folder) {
           write_training(folder);
           folder.write("hosts", "localhost slots=2\r\n");
         },
     .command = {"train", "--config", "c.yaml", "max_steps=1", "--hostfile", "hosts"},
     .check =
         [](const ProgramResult& result, const TempFolder& folder) {
           if (result.exit_code != 0) fails(2, {"hosts:1"})(result, folder);
         }},
    {.name = "json_array_one_line_17mb",
     .reported_as = "huggingface/datasets#2181, #629, #3227",
     .write =
         [](const TempFolder& folder) {
           auto records = nlohmann::json::array();
           std::string input;
           for (int i = 0; i < 960; ++i) input += "x ";
           for (int i = 0; i < 9000; ++i)
             records.push_back({{"instruction", fmt::format("q{}", i)},
                                {"input", input},
                                {"output", fmt::format("a{}", i)}});
           folder.write("data/a.json", records.dump());
         },
     .command = kPrepare,
     .check = prepares(9000)},
    {.name = "json_array_skip_quote",
     .reported_as = "huggingface/datasets#2573",
     .write =
         [](const TempFolder& folder) {
           std::string list = "[\n";
           for (int i = 0; i < 100; ++i)
             list +=
                 fmt::format("{{\"instruction\": \"{}\", \"output\": \"a{}\"}}{}\n",
                             i == 2 ? "say \"hi now" : fmt::format("q{}", i), i, i < 99 ? "," : "");
           folder.write("data/a.json", list + "]\n");
         },
     .command = {"prepare", "--config", "c.yaml", "data_errors=skip"},
     .check = prepares(99)},
    {.name = "json_lone_surrogate",
     .reported_as = "a cut emoji written by json.dumps",
     .write = file("data/a.jsonl", R"({"instruction":"q","output":"a \ud83d end"})"),
     .command = kPrepare,
     .check = fails(3, {"a.jsonl:1", "surrogate"})},
    {.name = "json_pretty_objects",
     .reported_as = "huggingface/datasets#2573",
     .write = file("data/a.jsonl",
                   "{\n \"instruction\": \"q0\",\n \"output\": \"a0\"\n}\n"
                   "{\n \"instruction\": \"q1\",\n \"output\": \"a1\"\n}\n"),
     .command = kPrepare,
     .check =
         [](const ProgramResult& result, const TempFolder& folder) {
           if (result.exit_code == 0) return prepares(2)(result, folder);  // read as what it is
           fails(3, {"one record per line"})(result, folder);
         }},
    {.name = "messages_weight_0",
     .reported_as = "axolotl-ai-cloud/axolotl#1703",
     .write = file("data/a.jsonl", R"({"messages": [{"role": "user", "content": "u"},)"
                                   R"( {"role": "assistant", "content": "bad", "weight": 0},)"
                                   R"( {"role": "user", "content": "v"},)"
                                   R"( {"role": "assistant", "content": "good", "weight": 1}]})"),
     .command = kPrepare,
     .check = prepares(1,
                       [](const std::vector<ShownSample>& samples) {
                         EXPECT_EQ(samples[0].learnt, "good<|eot_id|>");
                         EXPECT_THAT(samples[0].text, HasSubstr("bad"));
                       })},
    {.name = "partial_rotary_on_llama",
     .reported_as = "a field that the family does not know",
     .command = evaluate("ids.jsonl"),
     .check = loss_is(13.75045)},
    {.name = "record_system_prompt",
     .reported_as = "QwenLM/Qwen#1089",
     .write = file("data/a.jsonl",
                   R"({"id": "1", "system_prompt": "Speak like a pirate.", "question": "Hi?",)"
                   R"( "response": "Arr"})"),
     .command = kPrepare,
     .check = prepares(1,
                       [](const std::vector<ShownSample>& samples) {
                         EXPECT_THAT(samples[0].text, HasSubstr("Speak like a pirate."));
                         EXPECT_THAT(samples[0].learnt, Not(HasSubstr("pirate")));
                       })},
    {.name = "rope_scaling_added_to_v5",
     .reported_as = "sgl-project/sglang#26187, hiyouga/LLaMA-Factory#8664",
     .command = evaluate("ids.jsonl"),
     .check = loss_is(14.00487)},
    {.name = "seq_beyond_positions",
     .reported_as = "hiyouga/LLaMA-Factory#8664",
     .write =
         [](const TempFolder& folder) {
           std::string text;
           for (int i = 0; i < 900; ++i) text += " word";
           folder.write("data/a.jsonl", nlohmann::json{{"text", text}}.dump() + "\n");
         },
     .command = kPrepare,
     .check =
         [](const ProgramResult& result, const TempFolder&) {
           EXPECT_EQ(result.exit_code, 0);
           EXPECT_THAT(result.standard_error,
                       AllOf(HasSubstr("warning: "), HasSubstr("512"), HasSubstr("position")));
         }},
    {.name = "tensor_in_two_shards",
     .reported_as = "vllm-project/vllm#54230, JustVugg/colibri#1479",
     .write = leave_a_stale_copy,
     .command = evaluate("ids.jsonl"),
     .check = loss_is(13.75045)},
    {.name = "text_and_instruction_columns",
     .reported_as = "huggingface/trl#1512, #439",
     .write = file("data/a.jsonl",
                   R"({"instruction": "Name a colour.", "input": "", "output": "red",)"
                   R"( "text": "### Instruction:\nName a colour.\n\n### Response:\nred"})"),
     .command = kPrepare,
     .check = prepares(1,
                       [](const std::vector<ShownSample>& samples) {
                         EXPECT_EQ(samples[0].learnt, "red<|eot_id|>");
                       })},
    {.name = "text_prerendered",
     .reported_as = "ml-explore/mlx-examples#1095, OpenRLHF/OpenRLHF#393, unslothai/unsloth#10312",
     .write =
         file("data/a.jsonl",
              R"({"text": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi)"
              R"(<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"})"),
     .command = kPrepare,
     .check = prepares(1,
                       [](const std::vector<ShownSample>& samples) {
                         const std::string& text = samples[0].text;
                         EXPECT_EQ(text.rfind("<|begin_of_text|>"), 0U);  // once, at the start
                         EXPECT_TRUE(text.ends_with("Hello<|eot_id|>")) << text;
                         EXPECT_THAT(samples[0].learnt, Not(HasSubstr("<|begin_of_text|>")));
                       })},
    {.name = "tied_but_other_lm_head",
     .reported_as = "huggingface/transformers#45127, hiyouga/LLaMA-Factory#10832",
     .write = add_another_head,
     .command = evaluate("ids.jsonl"),
     .check = loss_is(13.62302)},
    {.name = "tied_only_lm_head",
     .reported_as = "huggingface/transformers#38870, #41038",
     .write = call_the_embedding_lm_head,
     .command = evaluate("ids.jsonl"),
     .check = loss_is(13.75045)},
    {.name = "tmpl_chatml_bos",
     .reported_as = "InternLM/lmdeploy#112",
     .write =
         [](const TempFolder& folder) {
           add_special_tokens(folder, {"<|im_start|>", "<|im_end|>"});
         },
     .command = lay_out(),
     .check = lays_out({2042, 2048, 274,  198, 39,   72,  2049, 198,  2048, 276, 198,
                        1588, 0,    2049, 198, 2048, 274, 198,  44,   286,  68,  30,
                        2049, 198,  2048, 276, 198,  915, 13,   2049, 198})},
    {.name = "tmpl_default_system",
     .reported_as = "paiml/aprender#3990, hiyouga/LLaMA-Factory#10772",
     .write =
         [](const TempFolder& folder) {
           add_special_tokens(folder, {"<|im_start|>", "<|im_end|>"});
         },
     .command = lay_out(),
     .check = lays_out({2048, 575,  198,  1769, 685,  13,  2049, 198,  2048, 274,  198, 39,
                        72,   1185, 2049, 198,  2048, 276, 198,  1588, 0,    2049, 198})},
    {.name = "tmpl_mistral_v1",
     .reported_as = "lm-sys/FastChat#2644, huggingface/transformers#26891",
     .command = lay_out(),
     .check = lays_out({2042, 58, 40,  45,   50, 51,   60, 388, 72, 220, 58,  14, 40,  45,
                        50,   51, 60,  1588, 0,  2047, 58, 40,  45, 50,  51,  60, 535, 286,
                        68,   30, 220, 58,   14, 40,   45, 50,  51, 60,  915, 13, 2047})},
    {.name = "tmpl_phi_nonl",
     .reported_as = "ggml-org/llama.cpp#12288",
     .write =
         [](const TempFolder& folder) {
           add_special_tokens(folder, {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"});
         },
     .command = lay_out(),
     .check = lays_out({2049, 39, 72, 2051, 2050, 1588, 0, 2051, 2049, 44, 286, 68, 30, 2051, 2050,
                        915, 13, 2051, 2047})},
    {.name = "tsv_file",
     .reported_as = "a table read as plain text",
     .write = file("data/a.tsv", "instruction\toutput\nq1\ta1\n"),
     .command = kPrepare,
     .check = prepares(1,
                       [](const std::vector<ShownSample>& samples) {
                         EXPECT_EQ(samples[0].learnt, "a1<|eot_id|>");
                       })},
};

void write_case(const FieldCase& entry, const TempFolder& folder) {
  fs::copy(kTinyBase, folder.file("base"));
  folder.write("c.yaml",
               "base_model: base\ntrain_data_dir: data\noutput_dir: out\nepochs: 1\nbatch_size: 2\n"
               "threads_per_rank: 1\nseed: 1\n");
  fs::copy_file(kField + "ids.jsonl", folder.file("ids.jsonl"));
  if (fs::exists(kField + entry.name))
    fs::copy(kField + entry.name, folder.path(),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  entry.write(folder);
}

class FieldMuseum : public testing::TestWithParam<FieldCase> {};

TEST_P(FieldMuseum, GivesTheRightValueOrOneClearLine) {
  const TempFolder folder;
  write_case(GetParam(), folder);
  std::vector<std::string> command = {LORA_DIST_BINARY};
  command.insert(command.end(), GetParam().command.begin(), GetParam().command.end());
  GetParam().check(run_program(command, folder.path()), folder);
}

INSTANTIATE_TEST_SUITE_P(Reports, FieldMuseum, testing::ValuesIn(kFieldCases),
                         [](const auto& info) { return info.param.name; });

// ---- Cases of two processes, or of two runs.

/// horovod/horovod#1756: the ranks of a launcher that is not ours would each train alone.
TEST(FieldMuseum, RefusesRanksOfAnotherMpiOnEachOfThem) {
  const TempFolder folder;
  write_case({.name = "pmi_environment"}, folder);
  write_training(folder);
  for (const char* rank : {"0", "1"}) {
    const ProgramResult result =
        run_program({"env", fmt::format("PMI_RANK={}", rank), "PMI_SIZE=2", LORA_DIST_BINARY,
                     "--config", "c.yaml", "max_steps=1"},
                    folder.path());
    fails(2, {"PMI_RANK"})(result, folder);
  }
  EXPECT_FALSE(fs::exists(folder.file("out")));
}

/// Lightning-AI/pytorch-lightning#4265: a requeued job that was done wrote zeros over its reports.
TEST(FieldMuseum, LeavesAFinishedRunAsItIsWhenItIsResumed) {
  const TempFolder folder;
  write_case({.name = "resume_finished_run"}, folder);
  write_training(folder);
  const std::vector<std::string> train = {LORA_DIST_BINARY, "--config", "c.yaml"};
  ASSERT_EQ(run_program(train, folder.path()).exit_code, 0);
  std::map<std::string, std::pair<std::string, fs::file_time_type>> before;
  for (const auto& entry : fs::recursive_directory_iterator(folder.file("out")))
    if (entry.is_regular_file())
      before[entry.path().string()] = {read_file(entry.path().string()), entry.last_write_time()};

  const ProgramResult result = run_program(train, folder.path());

  EXPECT_EQ(result.exit_code, 0) << result.standard_error;
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.file("out"))) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const auto known = before.find(entry.path().string());
    ASSERT_NE(known, before.end()) << entry.path() << " is new";
    EXPECT_EQ(known->second.second, entry.last_write_time()) << entry.path();
    EXPECT_EQ(known->second.first, read_file(entry.path().string())) << entry.path();
  }
  EXPECT_EQ(files, before.size());
}

/// meta-pytorch/torchtune#481, Lightning-AI/pytorch-lightning#12369
TEST(FieldMuseum, RefusesASecondLiveRunInOneFolder) {
  const TempFolder folder;
  write_case({.name = "two_runs_one_folder"}, folder);
  write_training(folder);
  RunningProgram first({LORA_DIST_BINARY, "--config", "c.yaml", "max_steps=100000"}, folder.path());
  while (!fs::exists(folder.file("out/metrics.jsonl")) ||
         fs::file_size(folder.file("out/metrics.jsonl")) == 0) {
  }
  const ProgramResult second = run_program(
      {LORA_DIST_BINARY, "--config", "c.yaml", "max_steps=60", "seed=2"}, folder.path());
  fails(9, {"out"})(second, folder);
  first.send(SIGTERM);
  EXPECT_EQ(first.wait().exit_code, 75);
}

}  // namespace
}  // namespace lora_dist
