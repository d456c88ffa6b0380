#include "data/exports/adapter_files.hpp"

#include <filesystem>

#include "core/adapters/lora.hpp"
#include "core/base/sha256.hpp"
#include "data/exports/dialect.hpp"
#include "data/exports/peft.hpp"

namespace lora_dist {

AdapterDescription describe_adapter(const Config& config, const std::string& template_name) {
  AdapterDescription description{.base_model = config.model.base_model,
                                 .settings = config.adapter,
                                 .template_name = template_name};
  if (config.model.task_type != "auto") description.task = config.model.task_type;
  return description;
}

LoadedAdapter load_adapter(const std::string& path) {
  const AdapterDialect* dialect = find_dialect(path);
  if (!dialect) dialect = &exports().at(exports().names().front())();
  return dialect->read(path);
}

void write_llm_exports(const std::string& output_dir, const AdapterDescription& description,
                       const NamedTensors& tensors, const std::string& save_dtype) {
  peft_dialect().write(output_dir, description, tensors, save_dtype);
  write_peft_file((std::filesystem::path(output_dir) / "pytorch_lora_weights.safetensors").string(),
                  description, tensors, save_dtype);
}

std::string adapter_sha256(const NamedTensors& tensors) {
  Sha256 hash;
  for (const auto& [key, tensor] : in_dialect(peft_dialect(), tensors)) {
    const at::Tensor values = tensor.to(at::kCPU, at::kFloat).contiguous();
    hash.update(key);
    hash.update(std::string_view("\0", 1));
    hash.update(fmt::format("{}", fmt::join(values.sizes(), ",")));
    hash.update(std::string_view("\0", 1));
    hash.update(values.const_data_ptr(), values.nbytes());
  }
  return hash.hex();
}

}  // namespace lora_dist
