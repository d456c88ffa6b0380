#include "data/weights/generation_config.hpp"

#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

constexpr const char* kEosKey = "eos_token_id";

// Of one file; empty where the file or its key is missing. A negative id stands for "none" in some
// files (Llama 1).
std::vector<int64_t> eos_ids_of_file(const std::string& path) {
  if (!std::filesystem::exists(path)) return {};
  const auto file = read_json_file(path);
  const auto value = file.find(kEosKey);
  if (value == file.end() || value->is_null()) return {};
  const auto listed = value->is_array() ? *value : nlohmann::ordered_json::array({*value});
  std::vector<int64_t> ids;
  for (const auto& id : listed) {
    if (!id.is_number_integer())
      throw ModelError({path, fmt::format("{} is {}", kEosKey, printable(value->dump(), 80)),
                        "a token id or a list of them", "use the file that came with the model"});
    const auto number = id.get<int64_t>();
    if (number >= 0 && std::find(ids.begin(), ids.end(), number) == ids.end())
      ids.push_back(number);
  }
  return ids;
}

}  // namespace

std::vector<int64_t> read_eos_ids(const std::string& model_dir) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    std::vector<int64_t> ids = eos_ids_of_file((std::filesystem::path(model_dir) / name).string());
    if (!ids.empty()) return ids;
  }
  return {};
}

}  // namespace lora_dist
