#include <map>
#include <set>

#include "data/inspect/kinds.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

int64_t num_elements(const WeightInfo& info) { return c10::multiply_integers(info.shape); }

/// "model.layers.*.mlp.up_proj.weight": the numbers between dots are left out.
std::string kind_of(const std::string& name) {
  std::string kind;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool is_number =
        !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    kind += (begin > 0 ? "." : "") + (is_number ? "*" : part);
    begin = end + 1;
  }
  return kind;
}

}  // namespace

nlohmann::ordered_json tensor_totals(const std::vector<WeightInfo>& weights) {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  std::map<std::string, int64_t> dtypes;
  for (const WeightInfo& info : weights) {
    parameters += num_elements(info);
    bytes += num_bytes(info);
    dtypes[std::string(info.format->name)] += num_elements(info);
  }
  return {{"num_tensors", weights.size()},
          {"parameters", parameters},
          {"bytes", bytes},
          {"dtypes", dtypes}};
}

nlohmann::ordered_json tensor_list(const std::vector<WeightInfo>& weights) {
  Json list = Json::array();
  for (const WeightInfo& info : weights)
    list.push_back({{"name", info.name},
                    {"dtype", info.format->name},
                    {"shape", info.shape},
                    {"bytes", num_bytes(info)}});
  return list;
}

nlohmann::ordered_json tensor_kinds(const std::vector<WeightInfo>& weights) {
  // Tensors of one kind, but of several types or shapes, have a line each.
  std::map<std::string, Json> kinds;
  for (const WeightInfo& info : weights) {
    const std::string name = kind_of(info.name), dtype(info.format->name);
    Json& kind = kinds[fmt::format("{} {} {}", name, dtype, fmt::join(info.shape, " "))];
    if (kind.is_null())
      kind = {{"name", name}, {"dtype", dtype}, {"shape", info.shape}, {"count", 0}};
    kind["count"] = kind["count"].get<int64_t>() + 1;
  }
  Json list = Json::array();
  for (auto& [key, kind] : kinds) list.push_back(std::move(kind));
  return list;
}

}  // namespace lora_dist
