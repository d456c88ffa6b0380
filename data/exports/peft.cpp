// PEFT's names and files. A file on its own carries its description in its header, as
// {"config": <adapter_config.json>, "template": <name>}.
#include "data/exports/peft.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "core/adapters/adapter.hpp"
#include "core/adapters/lora.hpp"
#include "core/base/error.hpp"
#include "core/base/shape_text.hpp"
#include "data/exports/peft_config.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// Key in the header of a safetensors file.
constexpr const char* kAdapterMetadataKey = "lora_dist.adapter";

constexpr std::string_view kPrefix = "base_model.model.";
/// Our roles and how PEFT ends the keys of their tensors.
constexpr std::pair<const char*, std::string_view> kEndings[] = {{"lora_A", ".lora_A.weight"},
                                                                 {"lora_B", ".lora_B.weight"}};

std::optional<ModuleRole> parse_key(const std::string& key) {
  for (const auto& [role, ending] : kEndings)
    if (key.starts_with(kPrefix) && key.ends_with(ending) &&
        key.size() > kPrefix.size() + ending.size())
      return ModuleRole{key.substr(kPrefix.size(), key.size() - kPrefix.size() - ending.size()),
                        role};
  return std::nullopt;
}

std::string key_of_tensor(const ModuleRole& tensor) {
  for (const auto& [role, ending] : kEndings)
    if (tensor.role == role) return fmt::format("{}{}{}", kPrefix, tensor.module, ending);
  LD_CHECK(false, "a role that PEFT has no name for: " + tensor.role);
  return {};
}

std::string module_of_key(const std::string& key) {
  const std::optional<ModuleRole> place = parse_key(key);
  return place ? place->module : std::string();
}

// --- reading
// ----------------------------------------------------------------------------------------------------------

/// Our own description in the header of the file, if it is there.
std::optional<AdapterDescription> header_description(const SafetensorsFile& file) {
  const auto entry = file.metadata().find(kAdapterMetadataKey);
  if (entry == file.metadata().end()) return std::nullopt;
  const std::string where = file.path() + ": " + kAdapterMetadataKey;
  try {
    const auto value = parse_json<nlohmann::ordered_json>(entry->second);
    AdapterDescription description = parse_peft_config(json_member(value, "config", where), where);
    description.template_name = json_text(value, "template", where);
    return description;
  } catch (const JsonFault& fault) {
    throw ModelError({where, fault.found, fault.expected, "give the PEFT folder"});
  }
}

/// The layer that a module of a decoder belongs to; -1 where its path names none.
int64_t layer_of(const std::string& module) {
  constexpr std::string_view kMark = "layers.";
  const size_t at = module.find(kMark);
  if (at == std::string::npos) return -1;
  int64_t layer = -1;
  std::from_chars(module.data() + at + kMark.size(), module.data() + module.size(), layer);
  return layer;
}

/// PEFT leaves out tensors of modules that its config does not choose; here the two have to fit.
void require_chosen(const SafetensorsFile& file, const AdapterDescription& description,
                    const nlohmann::ordered_json& config, const std::string& where) {
  const auto found = config.find("layers_to_transform");
  const bool has_layers = found != config.end() && !found->is_null();
  const auto layers = !has_layers         ? nlohmann::ordered_json::array()
                      : found->is_array() ? *found
                                          : nlohmann::ordered_json::array({*found});
  for (const WeightInfo& info : file.weights()) {
    const std::string module = module_of_key(info.name);
    if (module.empty()) continue;  // named by check_tensors
    const bool is_in_layers =
        !has_layers || std::find(layers.begin(), layers.end(), layer_of(module)) != layers.end();
    const bool is_chosen = is_targeted(module, description.settings.target_modules,
                                       description.settings.exclude_modules);
    if (is_in_layers && is_chosen) continue;
    throw ModelError(
        {where,
         fmt::format("{} does not choose '{}', for which the file has tensors",
                     is_in_layers ? "target_modules or exclude_modules" : "layers_to_transform",
                     printable(module, 256)),
         "a config that fits the tensors", "mend the config, or take those tensors out"});
  }
}

/// The folder is PEFT's format, so there adapter_config.json is what counts; a file on its own may
/// lie beside the configuration of another adapter, so there the header is.
AdapterDescription read_description(const std::string& path, const SafetensorsFile& file) {
  const bool is_folder = fs::is_directory(path);
  const std::string folder = is_folder ? path : fs::path(path).parent_path().string();
  const std::string config_path = path_in(folder, kAdapterConfigFile);
  const bool has_config = fs::exists(config_path);
  if (is_folder && !has_config)
    throw ModelError({folder_label(path),
                      fmt::format("no {} beside {}", kAdapterConfigFile, kAdapterModelFile),
                      {},
                      {}});

  const auto from_header = header_description(file);
  if (!is_folder && from_header) return *from_header;
  if (!has_config)
    throw ModelError(
        {path,
         fmt::format("no {} beside it and none in its header, so lora_alpha is unknown",
                     kAdapterConfigFile),
         {},
         "give the PEFT folder of this adapter"});
  const auto config = read_json_file(config_path, size_t{1} << 20);
  AdapterDescription description = parse_peft_config(config, config_path);
  require_chosen(file, description, config, config_path);
  if (from_header) description.template_name = from_header->template_name;
  if (config.contains("layers_to_transform") && !config["layers_to_transform"].is_null()) {
    // The layers that were chosen are the ones that have tensors: name them in full instead.
    std::set<std::string> modules;
    for (const WeightInfo& info : file.weights()) modules.insert(module_of_key(info.name));
    description.settings.target_modules = {{modules.begin(), modules.end()}, {}, false};
  }
  return description;
}

[[noreturn]] void fail_rank(const std::string& label, const std::string& module,
                            const std::string& matrix, int64_t found, int64_t described) {
  throw ModelError({label,
                    fmt::format("{} of '{}' has rank {}, {} says r {}", matrix,
                                printable(module.substr(module.rfind('.') + 1)), found,
                                kAdapterConfigFile, described),
                    {},
                    {}});
}

/// Every tensor is an A or B of a linear layer, has its partner and the rank of the description.
void check_tensors(const SafetensorsFile& file, const AdapterDescription& description,
                   const std::string& label) {
  for (const WeightInfo& info : file.weights()) {
    const std::optional<ModuleRole> place = parse_key(info.name);
    if (!place || info.shape.size() != 2)
      throw ModelError({label,
                        fmt::format("tensor '{}' {} is not supported", printable(info.name, 256),
                                    shape_text(info.shape)),
                        "lora_A and lora_B of linear layers",
                        {}});
    const bool is_a = place->role == "lora_A";
    const std::string partner = key_of_tensor({place->module, is_a ? "lora_B" : "lora_A"});
    if (!file.contains(partner))
      throw ModelError({label,
                        fmt::format("tensor '{}' has no '{}'", printable(info.name, 256),
                                    printable(partner, 256)),
                        {},
                        {}});
    const int64_t lora_rank = info.shape[is_a ? 0 : 1];
    const int64_t described = lora_rank_of(description.settings, place->module);
    if (lora_rank != described) fail_rank(label, place->module, place->role, lora_rank, described);
  }
  if (file.weights().empty())
    throw ModelError({label, "no tensors", "lora_A and lora_B of linear layers", {}});
}

std::string adapter_file_of(const std::string& path) {
  if (!fs::exists(path))
    throw ModelError({path, "no such adapter", "a PEFT folder or a .safetensors file", {}});
  if (!fs::is_directory(path)) return path;
  const std::string file = path_in(path, kAdapterModelFile);
  if (fs::exists(file)) return file;
  if (fs::exists(path_in(path, "adapter_model.bin")))
    throw ModelError({folder_label(path),
                      "only adapter_model.bin",
                      {},
                      "pickles are never read, save it again with safetensors"});
  throw ModelError({folder_label(path), fmt::format("no {}", kAdapterModelFile), {}, {}});
}

// --- writing
// ----------------------------------------------------------------------------------------------------------

at::ScalarType dtype_of(const std::string& save_dtype) {
  if (save_dtype == "fp32") return at::kFloat;
  if (save_dtype == "bf16") return at::kBFloat16;
  LD_CHECK(save_dtype == "fp16", "save_dtype '" + save_dtype + "'");
  return at::kHalf;
}

NamedTensors converted(const NamedTensors& tensors, at::ScalarType dtype, const std::string& path) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) {
    at::Tensor value = tensor.to(at::kCPU, dtype).contiguous();
    if (tensor.isfinite().all().item<bool>() && !value.isfinite().all().item<bool>())
      throw ModelError({path,
                        fmt::format("tensor '{}' holds {}, too large for the type of save_dtype",
                                    name, tensor.abs().max().item<double>()),
                        {},
                        "set save_dtype to bf16 or fp32"});
    result.emplace_back(name, std::move(value));
  }
  return result;
}

void require_same(const NamedTensors& tensors, const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  LD_CHECK(file->weights().size() == tensors.size(), "tensors in " + path);
  const std::map<std::string, at::Tensor> written(tensors.begin(), tensors.end());
  for (size_t index = 0; index < tensors.size(); ++index) {
    const std::string& name = file->weights()[index].name;
    const auto found = written.find(name);
    const at::Tensor read = file->tensor(index);
    if (found == written.end() || read.scalar_type() != found->second.scalar_type() ||
        read.sizes() != found->second.sizes() ||
        std::memcmp(read.const_data_ptr(), found->second.const_data_ptr(), read.nbytes()) != 0)
      throw ModelError({path,
                        fmt::format("tensor '{}' reads back differently", name),
                        {},
                        "the disk is not to be trusted"});
    file->release(index);  // a second copy of the adapter would be the peak of a small run
  }
}

void write_verified(const std::string& path, const NamedTensors& tensors,
                    const TensorMetadata& metadata) {
  write_safetensors(path, tensors, metadata);
  require_same(tensors, path);
}

LoadedAdapter read_adapter(const std::string& path) {
  const auto file = SafetensorsFile::open(adapter_file_of(path));
  const std::string label = fs::is_directory(path) ? folder_label(path) : path;
  LoadedAdapter adapter{read_description(path, *file), {}, path};
  check_tensors(*file, adapter.description, label);
  for (size_t i = 0; i < file->weights().size(); ++i) {
    const std::string& name = file->weights()[i].name;
    at::Tensor tensor = file->tensor(i);
    if (!at::isFloatingType(tensor.scalar_type()))
      throw ModelError({label,
                        fmt::format("tensor '{}' is {}", printable(name, 256),
                                    plain_format(tensor.scalar_type()).name),
                        "F32, BF16 or F16",
                        {}});
    tensor = tensor.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    require_finite(label, name, tensor);
    adapter.tensors.emplace_back(name, std::move(tensor));
  }
  adapter.tensors = from_dialect(peft_dialect(), adapter.tensors, label);
  return adapter;
}

class PeftDialect final : public AdapterDialect {
 public:
  std::string key_of(const ModuleRole& tensor) const override { return key_of_tensor(tensor); }
  std::optional<ModuleRole> parse(const std::string& key) const override { return parse_key(key); }

  bool recognises(const std::string& path) const override {
    if (fs::is_directory(path))
      return fs::exists(path_in(path, kAdapterConfigFile)) ||
             fs::exists(path_in(path, kAdapterModelFile));
    if (!fs::exists(path)) return false;
    const auto file = SafetensorsFile::open(path);
    const auto& weights = file->weights();
    return !weights.empty() && std::all_of(weights.begin(), weights.end(), [](const auto& info) {
      return parse_key(info.name).has_value();
    });
  }

  LoadedAdapter read(const std::string& path) const override { return read_adapter(path); }

  void write(const std::string& folder, const AdapterDescription& description,
             const NamedTensors& tensors, const std::string& save_dtype) const override {
    make_folders(folder);
    write_peft_file(path_in(folder, kAdapterModelFile), description, tensors, save_dtype);
    write_file_atomically(path_in(folder, kAdapterConfigFile),
                          adapter_config_json(description, tensors));
  }
};

}  // namespace

const AdapterDialect& peft_dialect() {
  static const PeftDialect dialect;
  return dialect;
}

std::string adapter_config_json(const AdapterDescription& description,
                                const NamedTensors& tensors) {
  return utf8_dump(peft_config(description, tensors), /*indent=*/2) + "\n";
}

std::map<std::string, std::string> adapter_metadata(const AdapterDescription& description,
                                                    const NamedTensors& tensors) {
  const nlohmann::ordered_json value = {{"config", peft_config(description, tensors)},
                                        {"template", description.template_name}};
  return {{"format", "pt"}, {kAdapterMetadataKey, utf8_dump(value)}};
}

void write_peft_file(const std::string& path, const AdapterDescription& description,
                     const NamedTensors& tensors, const std::string& save_dtype) {
  write_verified(path, converted(in_dialect(peft_dialect(), tensors), dtype_of(save_dtype), path),
                 adapter_metadata(description, tensors));
}

}  // namespace lora_dist
