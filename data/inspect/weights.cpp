#include <algorithm>
#include <map>

#include "data/exports/adapter_config.hpp"
#include "data/inspect/kinds.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

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
  result.update(tensor_totals(file->weights()));
  result["metadata"] = file->metadata();
  result["tensors"] = tensor_list(file->weights());
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
