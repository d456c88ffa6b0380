#include <algorithm>
#include <map>

#include "data/exports/adapter_config.hpp"
#include "data/inspect/kinds.hpp"
#include "data/weights/base_folder.hpp"
#include "data/weights/dtypes.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

int64_t num_elements(const WeightInfo& info) { return c10::multiply_integers(info.shape); }

/// Sums over tensors: how many, how many values, bytes, and the types in use.
Json totals(const std::vector<WeightInfo>& weights) {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  std::map<std::string, int64_t> dtypes;
  for (const WeightInfo& info : weights) {
    parameters += num_elements(info);
    bytes += num_bytes(info);
    dtypes[std::string(dtype_name(info.dtype))] += num_elements(info);
  }
  return {{"num_tensors", weights.size()},
          {"parameters", parameters},
          {"bytes", bytes},
          {"dtypes", dtypes}};
}

Json tensor_list(const std::vector<WeightInfo>& weights) {
  Json list = Json::array();
  for (const WeightInfo& info : weights)
    list.push_back({{"name", info.name},
                    {"dtype", dtype_name(info.dtype)},
                    {"shape", info.shape},
                    {"bytes", num_bytes(info)}});
  return list;
}

double frobenius_norm(const at::Tensor& tensor) {
  return tensor.to(at::kDouble).norm().item<double>();
}

/// Rank, scale and Frobenius norms of every adapted layer; a zero B means that the layer has learnt
/// nothing.
Json module_list(const LoadedAdapter& adapter) {
  std::map<std::string, Json> modules;
  for (const auto& [name, tensor] : adapter.tensors) {
    const std::string module = module_of(name);
    Json& entry = modules[module];
    if (entry.is_null())
      entry = {{"name", module},
               {"lora_rank", adapter.description.rank_of(module)},
               {"scale", adapter.description.scale_of(module)}};
    entry[name.ends_with(".lora_A.weight") ? "norm_a" : "norm_b"] = frobenius_norm(tensor);
  }
  Json list = Json::array();
  for (auto& [module, entry] : modules) list.push_back(std::move(entry));
  return list;
}

}  // namespace

nlohmann::ordered_json inspect_safetensors(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  Json result = {{"kind", "safetensors"}, {"path", path}};
  result.update(totals(file->weights()));
  result["metadata"] = file->metadata();
  result["tensors"] = tensor_list(file->weights());
  return result;
}

nlohmann::ordered_json inspect_base_model(const std::string& model_dir) {
  const Json config = read_model_config(model_dir);
  const auto source = open_base_weights(model_dir);
  Json result = {{"kind", "base_model"}, {"path", model_dir}};
  for (const char* key :
       {"model_type", "architectures", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "vocab_size", "max_position_embeddings"})
    if (config.contains(key)) result[key] = config[key];
  result.update(totals(source->weights()));
  result["tensors"] = tensor_list(source->weights());
  return result;
}

nlohmann::ordered_json inspect_adapter(const std::string& path) {
  const LoadedAdapter adapter = load_adapter(path);
  int64_t parameters = 0;
  for (const auto& [name, tensor] : adapter.tensors) parameters += tensor.numel();
  const Json config = adapter_config(adapter.description, adapter.tensors);
  Json result = {
      {"kind", "adapter"}, {"path", path}, {"base_model", adapter.description.base_model}};
  for (const char* key : {"r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules",
                          "exclude_modules", "rank_pattern", "alpha_pattern"})
    result[key] = config[key];
  result["template"] = adapter.description.template_name;
  result["parameters"] = parameters;
  result["modules"] = module_list(adapter);
  return result;
}

}  // namespace lora_dist
