// Files of runs, models and people that hold neither weights nor data.
#include <algorithm>
#include <array>
#include <filesystem>

#include "data/inspect/kinds.hpp"
#include "data/sources/file_names.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

struct NamedFile {
  std::string_view name;  // "config.json"; ".yaml" of every file that is called so
  std::string_view what;
  std::string_view command;  // that shows more; "" where none does
  bool of_folder = false;    // the command takes the file's folder
};

constexpr std::string_view kInspect = "lora-dist inspect";
constexpr std::array<NamedFile, 22> kNamedFiles = {
    {{"config.json", "description of a base model", kInspect, true},
     {"generation_config.json", "end tokens and sampling of a base model", kInspect, true},
     {"model.safetensors.index.json", "list of a base model's tensors", kInspect, true},
     {"tokenizer.json", "tokenizer", kInspect, true},
     {"tokenizer_config.json", "settings of a tokenizer", kInspect, true},
     {"special_tokens_map.json", "special tokens of a tokenizer", kInspect, true},
     {"added_tokens.json", "added tokens of a tokenizer", kInspect, true},
     {"vocab.json", "vocabulary of a tokenizer", kInspect, true},
     {"merges.txt", "merges of a tokenizer", kInspect, true},
     {"chat_template.jinja", "chat template of a base model", kInspect, true},
     {"adapter_config.json", "description of an adapter", kInspect, true},
     {"manifest.json", "list of a folder's files", kInspect, true},
     {"trainer_state.json", "losses of a run, as transformers writes them", kInspect, true},
     {"train_results.json", "result of a run, as transformers writes it", kInspect, true},
     {".yaml", "YAML, as a config of a run is", "lora-dist validate"},
     {".yml", "YAML, as a config of a run is", "lora-dist validate"},
     {".log", "log of a run", ""},
     {".md", "text for people", ""},
     {".rst", "text for people", ""},
     {".py", "program", ""},
     {".sh", "program", ""},
     {".ipynb", "notebook", ""}}};

}  // namespace

Json inspect_named_file(const std::string& path) {
  const std::filesystem::path file(path);
  const std::string name = file.filename().string(), extension = lower_extension(path);
  const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
  if (name == "run.json") return inspect_run_file(path);
  if (name == "metrics.jsonl") return inspect_metrics(path);
  if (name.starts_with("events.out.tfevents"))
    return {{"kind", "file"},
            {"path", path},
            {"what", "curves of a run for TensorBoard"},
            {"next", "tensorboard --logdir " + folder}};
  const auto known = std::ranges::find_if(
      kNamedFiles, [&](const NamedFile& it) { return it.name == name || it.name == extension; });
  if (known == kNamedFiles.end()) return nullptr;
  Json result = {{"kind", "file"}, {"path", path}, {"what", known->what}};
  if (!known->command.empty())
    result["next"] = std::string(known->command) + " " + (known->of_folder ? folder : path);
  return result;
}

}  // namespace lora_dist
