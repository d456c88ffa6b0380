// A base model: what its config.json makes of it, and what its folder holds.
#include <algorithm>
#include <filesystem>
#include <set>

#include "core/base/error.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/models/model_families.hpp"
#include "data/inspect/kinds.hpp"
#include "data/templates/template.hpp"
#include "data/weights/base_folder.hpp"
#include "data/weights/generation_config.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const char* activation_name(kernels::Activation activation) {
  switch (activation) {
    case kernels::Activation::silu:
      return "silu";
    case kernels::Activation::gelu:
      return "gelu";
    case kernels::Activation::gelu_tanh:
      return "gelu_pytorch_tanh";
    case kernels::Activation::relu:
      return "relu";
  }
  LD_CHECK(false, "an activation without a name");
}

/// The last names of the linear layers, in the order of the model: what target_modules may name.
std::vector<std::string> linear_layers(const WeightTable& table) {
  std::vector<std::string> names;
  for (const std::string& module : table.linear_modules()) {
    const std::string name = module.substr(module.rfind('.') + 1);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

Json model_json(const ModelOutline& model) {
  const DecoderSpec& spec = decoder_spec_of(model);
  const BlockSpec& block = spec.blocks.front();  // others differ in the window alone
  std::set<int64_t> windows;
  for (const BlockSpec& one : spec.blocks) windows.insert(one.attention.window);
  return {{"num_layers", spec.num_blocks()},
          {"width", spec.hidden_size},
          {"feed_forward", block.mlp.feed_forward},
          {"heads", block.attention.num_heads},
          {"kv_heads", block.attention.num_kv_heads},
          {"head_dim", block.attention.head_dim},
          {"activation", activation_name(block.mlp.activation)},
          {"windows", windows},  // 0: all tokens before
          {"positions", spec.max_positions},
          {"rope", spec.rope.kind},
          {"rope_theta", spec.rope.theta},
          {"rope_factor", spec.rope.factor},
          {"rope_positions", most_positions(spec.rope, spec.max_positions)},
          {"tied_head", spec.tied_embeddings},
          {"linear_layers", linear_layers(model.table())}};
}

/// Of the files that hold weights.
Json file_list(const std::string& model_dir) {
  Json list = Json::array();
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(model_dir))
    if (entry.path().extension() == ".safetensors") names.insert(entry.path().filename());
  for (const std::string& name : names)
    list.push_back({{"name", name}, {"bytes", fs::file_size(fs::path(model_dir) / name)}});
  return list;
}

Json tokenizer_json(const std::string& model_dir) {
  const auto tokenizer = load_tokenizer(model_dir);
  const bool has_template = !tokenizer->chat_template().empty();
  return {{"vocab_size", tokenizer->vocab_size()},
          {"bos", tokenizer->bos_id()},
          {"eos", tokenizer->eos_id()},
          {"pad", tokenizer->pad_id()},
          {"chat_template", has_template},
          {"template", has_template ? make_template("auto", *tokenizer)->name() : ""}};
}

/// What `describe` answers, or what kept it from answering: the rest of a folder is told all the
/// same.
template <class Describe>
Json answer_or_reason(const Describe& describe) {
  try {
    return describe();
  } catch (const Error& error) {
    return {{"reason", error.what()}};
  }
}

}  // namespace

nlohmann::ordered_json inspect_base_model(const std::string& model_dir) {
  const Json config = read_model_config(model_dir);
  const auto source = open_base_weights(model_dir);
  Json result = {{"kind", "base_model"}, {"path", model_dir}};
  for (const char* key :
       {"model_type", "architectures", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "vocab_size", "max_position_embeddings"})
    if (config.contains(key)) result[key] = config[key];
  result.update(tensor_totals(source->weights()));
  result["model"] = answer_or_reason([&] {
    const auto model = read_model_outline(config, (fs::path(model_dir) / "config.json").string());
    model->settle(*source);
    return model_json(*model);
  });
  result["files"] = file_list(model_dir);
  result["tokenizer"] = answer_or_reason([&] { return tokenizer_json(model_dir); });
  result["eos_ids"] = answer_or_reason([&] { return Json(read_eos_ids(model_dir)); });
  result["tensor_kinds"] = tensor_kinds(source->weights());
  result["tensors"] = tensor_list(source->weights());
  return result;
}

}  // namespace lora_dist
