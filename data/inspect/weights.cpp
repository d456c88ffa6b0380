#include <algorithm>
#include <map>

#include "core/adapters/lora.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/exports/peft_config.hpp"
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
    const auto [module, role] = ModuleRole::of(name);
    Json& entry = modules[module];
    if (entry.is_null())
      entry = {{"name", module},
               {"lora_rank", lora_rank_of(adapter.description.settings, module)},
               {"scale", lora_scale_of(adapter.description.settings, module)}};
    entry[role == "lora_A" ? "norm_a" : "norm_b"] = frobenius_norm(tensor);
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
  const Json config = peft_config(adapter.description, adapter.tensors);
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
